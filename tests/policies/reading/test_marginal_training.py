"""Reader and policy by the marginal likelihood: the sum, its gradients, what comes out."""

from __future__ import annotations

import itertools
import json
import math
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from hoptrail.errors import ConfigError, FormatError, InputError, PolicyError
from hoptrail.learning.answering.answer_network import MAX_SPAN, NO_ANSWER
from hoptrail.learning.answering.extractive_reader import WEIGHTS, ExtractiveReader
from hoptrail.learning.answering.trail_windows import pad_windows
from hoptrail.learning.reader.answers import normalize_answer
from hoptrail.memory.encoders.transformer import TransformerEncoder
from hoptrail.memory.encoders.windows import tokenizer_of
from hoptrail.policies.data.training_data import TrainingData, TrainingSet
from hoptrail.policies.environment.efforts import Effort
from hoptrail.policies.networks.frozen_policy import WEIGHTS as POLICY_WEIGHTS
from hoptrail.policies.objectives.rollout import trail_log_probs
from hoptrail.policies.policy import Policy
from hoptrail.policies.reading.marginal_run import MarginalRun, train_on_trails
from hoptrail.policies.reading.marginal_training import (
    MarginalConfig,
    MarginalTraining,
    says_answer,
)
from hoptrail.policies.reading.policy_trails import TrailWalk, WalkedQuestion
from hoptrail.policies.reading.reading_data import ReadingCorpus, answered_questions
from hoptrail.policies.reading.trail_sampling import trail_of
from hoptrail.policies.reading.trainable_reader import TrainableReader
from hoptrail.policies.training.next_queries import NextQueries
from hoptrail.policies.training.preparation import open_corpora
from hoptrail.values.progress import silent

WORDS = "old bridge river city under built".split()
EVERYTHING = Effort("everything", 1000, 3, max_reads=100, reencode=True, prune_below=1e-300)
SUM_ALONE = MarginalConfig(none_weight=0.0, evidence_weight=0.0)


@pytest.fixture
def base(tiny_bert: Path) -> TransformerEncoder:
    return TransformerEncoder(tiny_bert, device="cpu")


@pytest.fixture
def start(base: TransformerEncoder) -> ExtractiveReader:
    """A reader that has learned nothing, but has opinions."""
    network = TrainableReader(base, rank=2, layers=1, window=64, seed=0)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(1)
        for weight in network.weights:
            weight.add_(torch.randn(weight.shape) / 4)
    return network.reader()


@pytest.fixture
def make_set(tmp_path: Path):
    """Writes passages, and questions with an answer and the passages that they need."""

    def make(texts: dict[str, str], questions: list[tuple[str, str, list[str]]]) -> TrainingSet:
        corpus, file = tmp_path / "corpus.jsonl", tmp_path / "questions.jsonl"
        passages = [{"id": id_, "text": text} for id_, text in texts.items()]
        lines = [
            {"id": f"q{i}", "question": text, "answers": [answer], "supporting_ids": gold}
            for i, (text, answer, gold) in enumerate(questions)
        ]
        corpus.write_text("\n".join(map(json.dumps, passages)))
        file.write_text("\n".join(map(json.dumps, lines)))
        return TrainingSet(corpus, file)

    return make


@pytest.fixture
def toy(make_set) -> TrainingSet:
    """Three passages, of which two say the answer."""
    texts = {"a": "the city who built . the city", "b": "old river built it", "c": "under a bridge"}
    return make_set(texts, [("the city who", "built", ["a", "b"])])


@pytest.fixture
def pairs(make_set) -> TrainingSet:
    """Passages in which a word stands behind "who", and questions after that word."""
    words = list(itertools.permutations(WORDS, 2))
    texts = {f"{one}-{other}": f"the {one} who {other} . the {one}" for one, other in words}
    return make_set(
        texts, [(f"the {one} who", other, [f"{one}-{other}"]) for one, other in words[::2]]
    )


@pytest.fixture
def walk(base: TransformerEncoder):
    """Walks for the questions of a set; the stores stay open until the test is over."""
    with ExitStack() as stack:

        def run(
            one: TrainingSet, policy: Policy, *, learns: bool = True, trails: int = 1000
        ) -> list[WalkedQuestion]:
            corpus = ReadingCorpus(one.corpus, tokenizer_of(base.model.tokenizer), base)
            corpus = corpus.with_questions(answered_questions(corpus, one.questions, latent=True))
            [opened] = open_corpora([one.corpus], base, silent, stack)
            walks = TrailWalk(policy, NextQueries(base), EVERYTHING, trails, policy_learns=learns)
            return walks.run(corpus, opened, silent)

        yield run


def in_evaluation(training: MarginalTraining) -> MarginalTraining:
    """The training, whose reader drops nothing out and computes in single precision."""
    training.network.network.eval()
    return training


def read(base: TransformerEncoder, start: ExtractiveReader, walked: WalkedQuestion, places):
    """p of each outcome of a trail by a loop over all its spans: of the answer, and of none."""
    trail = trail_of(walked.corpus, walked.question, places)
    [window] = TrainableReader(base, rank=2, layers=1, window=64, seed=0).layout.windows(
        trail.question, trail.passages
    )
    scores = start.network(pad_windows([[window]]))
    weights = {"none": scores.classes[0, NO_ANSWER].exp()}
    other = scores.classes[0].exp().sum() - weights["none"]
    for first in range(len(window.ids)):
        for length in range(min(MAX_SPAN, len(window.ids) - first)):
            score = scores.spans[0, first, length]
            if score == -math.inf:
                continue
            text = tokenizer_of(base.model.tokenizer).decode(window.ids[first : first + length + 1])
            if normalize_answer(text) == walked.question.answers[0]:
                weights["answer"] = weights.get("answer", 0.0) + score.exp()
            else:
                other = other + score.exp()
    total = other + sum(weights.values())
    return {name: weight / total for name, weight in weights.items()}


def enumerated(base, start, walked: WalkedQuestion, policy: Policy) -> torch.Tensor:
    """log Σ p(y | z, q) π(z | q) over every set of passages, each by all orders."""
    slots = walked.example.pool.slots
    terms = []
    for size in range(len(slots) + 1):
        for chosen in itertools.combinations(slots, size):
            ways = [(walked.example, order) for order in itertools.permutations(chosen)]
            log_probs = trail_log_probs(policy, ways)
            likeliest = ways[int(log_probs.argmax())][1]
            passages = walked.example.pool.scope.view.passages(list(likeliest))
            places = [walked.corpus.place[p.namespace, p.id] for p in passages]
            if "answer" in (outcomes := read(base, start, walked, places)):
                terms.append(outcomes["answer"] * log_probs.exp().sum())
    return torch.stack(terms).sum().log()


def test_the_loss_is_the_sum_over_every_trail(toy, base, start, walk, random_policy) -> None:
    policy = random_policy(spread=2.0)
    [walked] = walk(toy, policy)
    training = in_evaluation(MarginalTraining([walked], base, SUM_ALONE, start, policy))
    loss, figures = training.loss([walked])
    expected = enumerated(base, start, walked, policy)
    torch.testing.assert_close(-loss, expected, atol=1e-4, rtol=1e-4)
    assert figures["prior mass covered"] == pytest.approx(1, abs=1e-4)
    assert figures["log likelihood"] == pytest.approx(float(expected.detach()), abs=1e-4)


def test_evidence_that_nobody_named_is_summed_over(
    make_set, base, start, walk, random_policy
) -> None:
    texts = {"a": "the city who built . the city", "b": "old river built it", "c": "under a bridge"}
    policy = random_policy(spread=2.0)
    [walked] = walk(make_set(texts, [("the city who", "built", [])]), policy)
    assert walked.question.gold == ()
    config = replace(SUM_ALONE, evidence_weight=0.3)  # of nothing: what is evidence is not known
    training = in_evaluation(MarginalTraining([walked], base, config, start, policy))
    loss, _ = training.loss([walked])
    expected = enumerated(base, start, walked, policy)
    torch.testing.assert_close(-loss, expected, atol=1e-4, rtol=1e-4)


def test_its_gradient_reaches_reader_and_policy(toy, base, start, walk, random_policy) -> None:
    policy = random_policy(members=2, spread=2.0)
    [walked] = walk(toy, policy)
    training = in_evaluation(MarginalTraining([walked], base, SUM_ALONE, start, policy))
    loss, _ = training.loss([walked])
    loss.backward()
    for module in training.network.modules.values():
        if any(weight.requires_grad for weight in module.parameters()):
            assert any(
                weight.grad is not None and bool((weight.grad != 0).any())
                for weight in module.parameters()
            )
    theirs = torch.autograd.grad(
        -enumerated(base, start, walked, policy), list(policy.parameters())
    )
    ours = [weight.grad for weight in training.policy.parameters()]
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-2)
    for network in training.policy.members:
        assert any(bool((weight.grad != 0).any()) for weight in network.parameters())


def test_a_policy_that_stays_gets_no_gradient(toy, base, start, walk, random_policy) -> None:
    policy = random_policy(spread=2.0)
    [walked] = walk(toy, policy, learns=False)
    assert walked.example is None
    training = in_evaluation(MarginalTraining([walked], base, SUM_ALONE, start, None))
    loss, _ = training.loss([walked])
    loss.backward()
    assert all(weight.grad is None for weight in policy.parameters())
    assert bool((training.network.network.head.ends.weight.grad != 0).any())
    [again] = walk(toy, policy)
    other = in_evaluation(MarginalTraining([again], base, SUM_ALONE, start, policy))
    torch.testing.assert_close(loss, other.loss([again])[0], atol=1e-4, rtol=1e-4)


def test_fewer_trails_give_a_lower_bound(toy, base, start, walk, random_policy) -> None:
    policy = random_policy(spread=1.0)
    bounds = []
    for trails in (1, 3, 1000):
        [walked] = walk(toy, policy, learns=False, trails=trails)
        training = in_evaluation(MarginalTraining([walked], base, SUM_ALONE, start, None))
        bounds.append(training.loss([walked])[1]["log likelihood"])
    assert bounds == sorted(bounds)
    assert bounds[0] < bounds[-1]


def test_trails_without_the_answer_are_to_say_so(toy, base, start, walk, random_policy) -> None:
    policy = random_policy(spread=2.0)
    [walked] = walk(toy, policy, learns=False)
    losses = [
        in_evaluation(
            MarginalTraining([walked], base, replace(SUM_ALONE, none_weight=w), start, None)
        ).loss([walked])[0]
        for w in (0.0, 0.5)
    ]
    silent_trails = [
        trail.places
        for trail in walked.trails
        if "answer" not in read(base, start, walked, trail.places)
    ]
    nones = [read(base, start, walked, places)["none"].log() for places in silent_trails]
    assert len(nones) == 2  # nothing read, and the third passage alone
    expected = -0.5 * torch.stack(nones).mean()
    torch.testing.assert_close(losses[1] - losses[0], expected, atol=1e-4, rtol=1e-4)


def trained(pairs, out, base, start, policy, config=None, **options):
    config = config or MarginalConfig(epochs=2, trails=3, batch=8, learning_rate=1e-2)
    return train_on_trails(
        TrainingData([pairs]), out, config, encoder=base, run=MarginalRun(start, policy, **options)
    )


def test_a_run_makes_the_answers_likelier(pairs, base, start, random_policy, tmp_path) -> None:
    policy = random_policy(spread=2.0)
    before = policy.fingerprint
    config = MarginalConfig(epochs=12, trails=3, batch=4, learning_rate=1e-2, policy_rate=1e-2)
    out, policy_out = tmp_path / "reader", tmp_path / "policy"
    reader = trained(pairs, out, base, start, policy, config, policy_out=policy_out, command="x")
    curve = [one["log likelihood"] for one in reader.made_of["curve"]]
    assert curve[-1] > curve[0] + 0.5
    assert reader.made_of["start"]["weights"] == start.fingerprint != reader.fingerprint
    assert reader.made_of["held_out"][0]["count"] == 1
    again = ExtractiveReader.load(out, encoder=base)
    assert again.fingerprint == reader.fingerprint
    assert not (out / "checkpoint.safetensors").exists()
    learned = Policy.load(policy_out)
    assert learned.fingerprint != before == policy.fingerprint
    assert learned.card["marginal"]["policy"] == before
    assert "marginal with a reader" in (policy_out / "README.md").read_text()


def test_a_policy_learns_from_answers_alone(
    make_set, base, start, random_policy, walk, tmp_path
) -> None:
    words = list(itertools.permutations(WORDS, 2))
    texts = {f"{one}-{other}": f"the {one} who {other} . the {one}" for one, other in words}
    answered = make_set(texts, [(f"the {one} who", other, []) for one, other in words[::2]])
    policy, out = random_policy(spread=2.0), tmp_path / "policy"
    config = MarginalConfig(epochs=12, trails=3, batch=4, learning_rate=1e-2, policy_rate=1e-2)
    reader = trained(answered, tmp_path / "r", base, start, policy, config, policy_out=out)
    assert reader.made_of["held_out"][0].get("count") is None  # of no evidence it is measured with

    def to_answer(walker: Policy) -> float:
        """The mean probability of the trails that say the answer."""
        shares = []
        for one in walk(answered, walker, trails=3):
            says = [
                t for t in one.trails if says_answer(trail_of(one.corpus, one.question, t.places))
            ]
            shares.append(sum(math.exp(trail.log_prob) for trail in says))
        return sum(shares) / len(shares)

    assert to_answer(Policy.load(out)) > to_answer(policy) + 0.1


def test_a_policy_that_stays_is_as_it_was(pairs, base, start, random_policy, tmp_path) -> None:
    policy = random_policy(spread=2.0)
    before = policy.fingerprint
    reader = trained(pairs, tmp_path / "reader", base, start, policy)
    assert policy.fingerprint == before
    assert reader.made_of["policy"] == {"weights": before, "learns": False}
    assert sorted(one.name for one in tmp_path.iterdir()) == [
        "corpus.jsonl",
        "questions.jsonl",
        "reader",
    ]


def test_a_run_goes_on_where_it_was_stopped(pairs, base, start, random_policy, tmp_path) -> None:
    class Stopped(Exception):
        pass

    def stop(stage: str, done: int, total: int, figures: object) -> None:
        if stage == "marginal, epoch 2" and done == total:
            raise Stopped

    policy = random_policy(spread=2.0)
    one = {"policy_out": tmp_path / "policy"}
    other = {"policy_out": tmp_path / "policy-in-parts"}
    trained(pairs, tmp_path / "whole", base, start, policy, **one)
    with pytest.raises(Stopped):
        trained(pairs, tmp_path / "parts", base, start, policy, progress=stop, **other)
    with pytest.raises(PolicyError, match="other settings or data"):
        trained(pairs, tmp_path / "parts", base, start, policy, resume=True)
    stages = []
    trained(
        pairs,
        tmp_path / "parts",
        base,
        start,
        policy,
        resume=True,
        progress=lambda stage, *_: stages.append(stage),
        **other,
    )
    assert "marginal, epoch 1" not in stages
    assert "marginal, epoch 2" in stages
    for whole, parts, file in (
        ("whole", "parts", WEIGHTS),
        ("policy", "policy-in-parts", POLICY_WEIGHTS),
    ):
        assert (tmp_path / whole / file).read_bytes() == (tmp_path / parts / file).read_bytes()


def test_trails_are_kept_for_another_run(pairs, base, start, random_policy, tmp_path) -> None:
    policy, file = random_policy(spread=2.0), tmp_path / "trails.jsonl"
    stages: list[str] = []
    options = {"trails_file": file, "progress": lambda stage, *_: stages.append(stage)}
    first = trained(pairs, tmp_path / "first", base, start, policy, **options)
    assert any(stage.startswith("walk") for stage in stages)
    stages.clear()
    second = trained(pairs, tmp_path / "second", base, start, policy, **options)
    assert not any(stage.startswith("walk") for stage in stages)
    assert second.fingerprint == first.fingerprint
    with pytest.raises(FormatError, match="another policy"):
        trained(pairs, tmp_path / "third", base, start, random_policy(seed=1), **options)
    file.write_text("notes\n")
    with pytest.raises(FormatError, match="holds no trails"):
        trained(pairs, tmp_path / "third", base, start, policy, **options)
    assert file.read_text() == "notes\n"


def test_what_cannot_be_trained_is_refused(
    pairs, make_set, base, start, random_policy, tmp_path
) -> None:
    policy, out = random_policy(), tmp_path / "out"
    with pytest.raises(InputError, match="trails are kept for a policy that stays"):
        options = {"policy_out": tmp_path / "p", "trails_file": tmp_path / "t"}
        trained(pairs, out, base, start, policy, **options)
    with pytest.raises(InputError, match="need a folder each"):
        trained(pairs, out, base, start, policy, policy_out=out)
    silent_set = make_set({"a": "old river"}, [("the city who", "built", ["a"])])
    with pytest.raises(InputError, match="no trail says the answer"):
        trained(silent_set, out, base, start, policy)


@pytest.mark.parametrize(
    "setting",
    [
        {"epochs": 0},
        {"trails": 0},
        {"questions": -1},
        {"learning_rate": 0.0},
        {"policy_rate": -1.0},
        {"none_weight": 2.0},
        {"effort": "none"},
    ],
)
def test_settings_that_cannot_be_are_refused(setting: dict) -> None:
    with pytest.raises(ConfigError, match=next(iter(setting))):
        MarginalConfig(**setting)
