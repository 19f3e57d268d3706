"""Updates are let through only where they do no harm, and the figure is what it says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from hoptrail.api.memory import Memory
from hoptrail.cli.main import main
from hoptrail.errors import InputError
from hoptrail.evaluation import gate
from hoptrail.evaluation.use import learn_from_use
from hoptrail.formats.jsonl import question_record, read_corpus, read_questions, write_jsonl
from hoptrail.memory.encoders import transformer as encoders
from hoptrail.memory.feedback import Feedback, LoggedRecall, LoggedTrail
from hoptrail.memory.store import Store
from hoptrail.memory.testing.hash_encoder import HashEncoder
from hoptrail.policies.feedback.learned_ranking import RankedRecall, RankingConfig
from hoptrail.policies.feedback.off_policy import TuneConfig
from hoptrail.policies.networks.feedback_ranking import LOG_SCORE, RANKING_FEATURES
from hoptrail.policies.networks.network_config import NetworkConfig
from hoptrail.policies.networks.policy_network import PolicyNetwork
from hoptrail.policies.policy import Policy
from hoptrail.types import Question

SOURCE = Path(__file__).resolve().parents[2] / "src" / "hoptrail"


def said(number: int, *, rewards: dict[int, float] | None = None, text: str = "") -> Feedback:
    recall = LoggedRecall(
        id=f"r{number}",
        question=text or f"What is number {number}?",
        namespace=(),
        filter=None,
        effort="fast",
        explore=None,
        policy="0",
        version=1,
        asked_at=float(number),
        returned=(1, 2, 3),
        trails=(LoggedTrail(0, (1,), True, -0.1),),
    )
    return Feedback(recall, None, {1: 1.0, 2: 0.0} if rewards is None else rewards)


def test_what_is_held_back_depends_on_the_question_alone() -> None:
    given = [said(i) for i in range(600)]
    learn, held = gate.hold_back(given)
    assert len(held) == 120
    assert len(learn) == 480
    texts = {f.recall.question for f in held}
    assert not texts & {f.recall.question for f in learn}
    again, more = gate.hold_back([*reversed(given), *(said(i) for i in range(600, 650))])
    assert len(texts & {f.recall.question for f in more}) >= 110
    assert len(again) + len(more) == 650
    assert len(gate.hold_back(given[:150])[1]) == 100  # a fifth would be too few


def test_a_question_asked_twice_is_on_one_side_and_judges_once() -> None:
    given = [said(i) for i in range(130)]
    twice = [said(1000 + i, text=f"what  is NUMBER {i}?") for i in range(130)]
    learn, held = gate.hold_back([*given, *twice])
    assert len(held) == 100
    assert {f.recall.id[:2] for f in held} == {"r1"}
    assert all(f.recall.asked_at >= 1000 for f in held)  # the latest
    assert len(learn) == 60


def test_too_little_feedback_is_refused_with_the_numbers() -> None:
    given = [said(i) for i in range(99)] + [said(i, rewards={1: 0.0}) for i in range(99, 150)]
    with pytest.raises(InputError, match=r"at least 100 questions, and of the 150 .* 99 say"):
        gate.hold_back(given)


def test_what_tells_useful_from_useless() -> None:
    assert gate.tells(said(0))
    assert not gate.tells(said(0, rewards={1: 0.0}))
    assert not gate.tells(said(0, rewards={1: 1.0, 2: 1.0, 3: 0.5}))
    whole = replace(said(0), passages={}, reward=1.0)
    assert gate.tells(whole)  # its first trail read one of the three
    asked = [Question("q", "WHAT is number 0?")]
    assert gate.without([said(0), said(1)], asked) == [said(1)]


def test_average_precision_is_over_what_was_returned() -> None:
    feedback = said(0, rewards={1: 1.0, 3: 1.0, 2: 0.0})
    assert gate._precision({9: 0, 1: 1, 3: 2, 2: 3}, feedback) == 1.0
    assert gate._precision({1: 0, 2: 1, 3: 2}, feedback) == pytest.approx((1 + 2 / 3) / 2)
    assert gate._precision({2: 0, 1: 1, 3: 2}, feedback) == pytest.approx((1 / 2 + 2 / 3) / 2)
    # Of what is not ranked at all the useless comes first.
    assert gate._precision({1: 0}, feedback) == pytest.approx((1 + 2 / 3) / 2)


@pytest.fixture(scope="module")
def policy() -> Policy:
    torch.manual_seed(1)
    return Policy([PolicyNetwork(NetworkConfig(width=8, layers=1))]).eval()


@pytest.fixture(scope="module")
def asked() -> list[Question]:
    return read_questions(SOURCE / "demo/questions.jsonl")[:14]


@pytest.fixture(scope="module")
def file(tmp_path_factory, policy, asked) -> Path:
    """The demo's passages and what an agent without mistakes said of fourteen recalls."""
    path = tmp_path_factory.mktemp("used") / "agent.db"
    with Memory(path, encoder=HashEncoder(), policy=policy) as memory:
        memory.add(read_corpus(SOURCE / "demo/corpus.jsonl"))
        for question in asked:
            recall = memory.recall(question.text, 10, effort="fast")
            for passage in recall.passages:
                reward = float(passage.id in question.supporting_ids)
                recall.feedback(reward, passages=[passage])
    return path


@pytest.fixture(autouse=True)
def _fewer(monkeypatch) -> None:
    """Fourteen questions are enough for the way; the bound itself is tested above."""
    monkeypatch.setattr(encoders, "minilm", lambda **_: HashEncoder())


@pytest.fixture
def few(monkeypatch) -> None:
    monkeypatch.setattr(gate, "LEAST", 6)


@pytest.mark.usefixtures("few")
def test_an_update_that_helps_is_let_through_and_written(file, policy, tmp_path) -> None:
    with Store(file, encoder=HashEncoder()) as store:
        update = learn_from_use(
            store, policy, tmp_path / "new", encoder=HashEncoder(), command="train feedback"
        )
    verdict = update.verdict
    assert verdict.accepted
    assert verdict.measure == "average precision"
    assert (update.learned, verdict.questions) == (14, 14)  # every one judges, and teaches others
    assert verdict.after - verdict.before == pytest.approx(verdict.difference.mean)
    assert verdict.difference.low > -1.0
    written = Policy.load(tmp_path / "new")
    assert written.fingerprint == update.policy.fingerprint != policy.fingerprint
    said = written.card["feedback"]
    assert said["started from"]["fingerprint"] == policy.fingerprint
    assert said["gate"]["verdict"] == str(verdict)
    assert written.feedback_ranking.fit["recalls"] == update.learned
    for name, weights in policy.state_dict().items():  # the networks are the same
        assert torch.equal(written.state_dict()[name], weights)
    card = (tmp_path / "new" / "README.md").read_text("utf-8")
    assert f"learned from {update.learned} recalls" in card
    assert "`train feedback`" in card
    assert str(verdict) in card


@pytest.mark.usefixtures("few")
def test_networks_are_tuned_where_that_is_asked_for(file, policy, tmp_path) -> None:
    config = TuneConfig(epochs=3, batch=4, learning_rate=3e-3)
    with Store(file, encoder=HashEncoder()) as store:
        update = learn_from_use(
            store, policy, tmp_path / "new", encoder=HashEncoder(), config=config
        )
    assert update.verdict.accepted
    assert 6 <= update.verdict.questions <= 14 - update.learned
    written = Policy.load(tmp_path / "new")
    assert written.feedback_ranking is None
    assert written.fingerprint == update.policy.fingerprint != policy.fingerprint
    assert written.card["started from"]["fingerprint"] == policy.fingerprint
    assert written.card["gate"]["verdict"] == str(update.verdict)
    assert "objective: feedback" in (tmp_path / "new" / "README.md").read_text("utf-8")


def ranked_by_rank(number: int, useful: int) -> RankedRecall:
    """Three passages of which one feature tells: what was useful has it."""
    rewards = {row: float(row == useful) for row in (1, 2, 3)}
    columns = {name: np.zeros(3) for name in RANKING_FEATURES}
    columns[LOG_SCORE] = np.asarray([0.0, -1.0, -2.0])
    columns["log number of terms"] = np.asarray([float(row == useful) for row in (1, 2, 3)])
    return RankedRecall(said(number, rewards=rewards), (1, 2, 3), columns)


def test_no_question_judges_a_ranking_that_it_taught() -> None:
    """What one question alone says of a feature does not help that question."""
    recalls = [ranked_by_rank(number, 1 + number % 3) for number in range(120)]
    learnable = gate.judge_in_turn(recalls, RankingConfig())
    assert (learnable.questions, learnable.after) == (120, 100.0)
    assert learnable.accepted
    once = [ranked_by_rank(number, 1) for number in range(120)]
    for recall in once:
        recall.columns["log number of terms"][:] = 0.0
    once[7] = ranked_by_rank(7, 3)
    assert gate.judge_in_turn(once, RankingConfig()).difference.mean == 0.0
    with pytest.raises(InputError, match="at least 100 questions"):
        gate.judge_in_turn(recalls[:99], RankingConfig())


@pytest.mark.usefixtures("few")
def test_a_policy_that_forgets_is_refused_by_known_questions(file, policy, asked) -> None:
    """Of two networks of opposite opinions the better one, and then the other."""
    other = Policy([PolicyNetwork(policy.config)]).eval()
    other.load_state_dict(policy.state_dict())
    with torch.no_grad():
        other.members[0].score[-1].weight.mul_(-30.0)
    with Store(file, encoder=HashEncoder()) as store:
        pairs = (other, policy), (policy, other)
        both = [gate.judge_by_questions(store, HashEncoder(), *pair, asked) for pair in pairs]
        worse = min(both, key=lambda verdict: verdict.difference.mean)
        same = gate.judge_by_questions(store, HashEncoder(), policy, policy, asked)
        with pytest.raises(InputError, match="at least 6 questions, got 3"):
            gate.judge_by_questions(store, HashEncoder(), policy, policy, asked[:3])
        lost = [replace(asked[0], supporting_ids=("nobody",)), *asked[1:]]
        with pytest.raises(InputError, match="needs passage 'nobody'"):
            gate.judge_by_questions(store, HashEncoder(), policy, policy, lost)
        bare = [replace(asked[0], supporting_ids=()), *asked[1:]]
        with pytest.raises(InputError, match="names no supporting_ids"):
            gate.judge_by_questions(store, HashEncoder(), policy, policy, bare)
    assert not worse.accepted
    assert worse.difference.mean < 0
    assert same.accepted
    assert (same.difference.low, same.difference.high) == (0.0, 0.0)
    assert "which must lie above -1" in str(worse)


@pytest.mark.usefixtures("few")
def test_the_command_says_what_it_did(file, policy, asked, tmp_path, capsys, monkeypatch) -> None:
    policy.save(tmp_path / "old")
    write_jsonl(tmp_path / "held.jsonl", [question_record(q) for q in asked[:7]])
    train = ["train", "--from-feedback", str(file), "--policy", str(tmp_path / "old")]
    held = ["--questions", str(tmp_path / "held.jsonl")]
    monkeypatch.setattr(gate, "MARGIN", 1000.0)
    assert main([*train, *held, "--out", str(tmp_path / "no")]) == 3
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "the update was refused and nothing was written: recall@5" in shown.err
    assert not (tmp_path / "no").exists()
    monkeypatch.setattr(gate, "MARGIN", -1000.0)
    assert main([*train, *held, "--out", str(tmp_path / "yes")]) == 0
    assert "learned from 7 recalls" in capsys.readouterr().out
    learned = Policy.load(tmp_path / "yes")
    assert learned.card["feedback"]["gate"]["held back"] == "held.jsonl"
    assert learned.feedback_ranking is not None
    tuning = [*train, *held, "--tune-networks", "--epochs", "1", "--out", str(tmp_path / "tuned")]
    assert main(tuning) == 0
    assert Policy.load(tmp_path / "tuned").card["gate"]["held back"] == "held.jsonl"
    assert Policy.load(tmp_path / "tuned").card["config"]["epochs"] == 1
    assert main([*train, *held, "--epochs", "1", "--out", str(tmp_path / "no")]) == 1
    assert "--seed and --epochs with --tune-networks alone" in capsys.readouterr().err
    assert main([*train, "--namespace", "ann", "--out", str(tmp_path / "no")]) == 1
    assert "there is no feedback in" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--from-feedback", "no.db"], "there is no store at no.db"),
        (["--from-feedback", "no.db", "--resume"], "No such option: --resume"),
        (["--set", "a", "b", "--policy", "p"], "No such option: --policy"),
    ],
)
def test_options_that_do_not_fit_are_refused(given, message, tmp_path, capsys) -> None:
    assert main(["train", *given, "--out", str(tmp_path / "new")]) in (1, 2)
    assert message in capsys.readouterr().err


def test_too_few_held_back_questions_are_refused_at_the_door(file, tmp_path, capsys, policy):
    policy.save(tmp_path / "old")
    train = ["train", "--from-feedback", str(file), "--policy", str(tmp_path / "old")]
    assert main([*train, "--out", str(tmp_path / "new")]) == 1
    assert "an update is judged on at least 100 questions" in capsys.readouterr().err
