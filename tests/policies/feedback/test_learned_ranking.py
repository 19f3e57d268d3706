"""A ranking learned from feedback: what it learns, what it orders anew, and what it leaves."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from hoptrail import Memory
from hoptrail.errors import ConfigError, InputError, PolicyError
from hoptrail.memory.feedback import Feedback, FeedbackLog, LoggedRecall
from hoptrail.memory.testing.hash_encoder import HashEncoder
from hoptrail.metrics.ranking import recall_at
from hoptrail.policies.card import readme
from hoptrail.policies.feedback.learned_ranking import (
    JudgedPassages,
    RankingConfig,
    fit_ranking,
    judged_passages,
    learn_ranking,
    rank_again,
)
from hoptrail.policies.feedback.store_walkers import StoreWalkers
from hoptrail.policies.networks.feedback_ranking import (
    DEPTH,
    LOG_SCORE,
    RANKING_FEATURES,
    FeedbackRanking,
)
from hoptrail.policies.networks.frozen_policy import FrozenPolicy
from hoptrail.policies.networks.score_calibration import LogisticModel
from hoptrail.policies.policy import Policy
from hoptrail.types import Passage

BY_MEANING = FeedbackRanking(LogisticModel({"z-score by meaning of the question": 1.0}, 0.0))
QUESTION = "Who wrote the captain's letters?"


def clicked(place, question: str, ids: dict[str, float], **changes: object) -> Feedback:
    rows = {int(place.view.rowids[place.view.slot_of(id)]): said for id, said in ids.items()}
    recall = LoggedRecall(
        id=question,
        question=question,
        namespace=(),
        filter=None,
        effort="fast",
        explore=1,
        policy="0",
        version=place.store.version,
        asked_at=0.0,
        returned=tuple(rows),
        trails=(),
    )
    return Feedback(replace(recall, **changes), None, rows)


def judgements(wrong: float, planted: np.ndarray, *, rows: int = 6000) -> JudgedPassages:
    """Random features, and judgements by planted weights of which a share is wrong."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, len(RANKING_FEATURES)))
    useful = rng.random(rows) < 1 / (1 + np.exp(1.5 - x @ planted))
    columns = dict(zip(RANKING_FEATURES, x.T, strict=True))
    return JudgedPassages(columns, useful ^ (rng.random(rows) < wrong), 600, 0)


def test_planted_weights_are_found_although_one_judgement_in_ten_is_wrong() -> None:
    planted = np.linspace(-2.0, 2.0, len(RANKING_FEATURES))

    def off(wrong: float, most_noise: float) -> tuple[float, float]:
        config = RankingConfig(ridge=1e-5, most_noise=most_noise)
        ranking = fit_ranking(judgements(wrong, planted), config)
        weights = np.asarray(list(ranking.useful.weights.values()))
        return float(np.linalg.norm(weights - planted) / np.linalg.norm(planted)), ranking.noise

    expected, noise = off(0.1, 0.45)
    plain, none = off(0.1, 0.0)
    assert expected < 0.15 < 0.35 < plain
    assert (noise, none) == (pytest.approx(0.1, abs=0.03), 0.0)
    assert off(0.0, 0.45)[0] < 0.15


def test_what_feedback_does_not_speak_of_stays_as_it_is() -> None:
    """With a strong pull the order is that of the scores, whatever was said."""
    ranking = fit_ranking(
        judgements(0.0, np.full(len(RANKING_FEATURES), -1.0)), RankingConfig(ridge=1e4)
    )
    weights = dict(ranking.useful.weights)
    assert weights.pop(LOG_SCORE) == pytest.approx(1, abs=0.02)
    assert max(map(abs, weights.values())) < 1e-3


@pytest.fixture
def taught(demo, demo_questions, random_policy):
    """A policy of random weights, one that learned from clicks on it, and questions for both."""
    policy = random_policy(2, spread=1.0)
    walker = demo.walker(policy, "fast")
    feedback = []
    for question in demo_questions[:40]:
        ids = demo.ids(walker.retrieve([question.text], 10)[0].slots)
        said = {id: float(id in question.supporting_ids) for id in ids}
        feedback.append(clicked(demo, question.text, said))
    walkers = StoreWalkers(demo.store, demo.encoder, policy)
    return (
        policy,
        learn_ranking(policy, rank_again(walkers, feedback)),
        demo_questions[40:60],
        feedback,
    )


def test_clicks_improve_the_ranking_of_questions_that_nobody_asked(demo, taught) -> None:
    policy, learned, unseen, _ = taught

    def recall(one: Policy) -> float:
        walks = demo.walker(one, "fast").retrieve([q.text for q in unseen], 5)
        pairs = zip(walks, unseen, strict=True)
        return float(np.mean([recall_at(demo.ids(w.slots), q.supporting_ids, 5) for w, q in pairs]))

    assert recall(learned) > recall(policy) + 0.02
    assert policy.feedback_ranking is None
    assert learned.feedback_ranking.fit["recalls"] == 40
    assert learned.feedback_ranking.fit["judged"] == 400


def test_it_is_learned_anew_from_the_ranking_without_it(demo, taught) -> None:
    _, learned, _, feedback = taught
    walkers = StoreWalkers(demo.store, demo.encoder, learned)
    again = learn_ranking(learned, rank_again(walkers, feedback))
    assert again.feedback_ranking == learned.feedback_ranking


def test_saved_and_read_it_ranks_the_same_and_without_it_as_before(demo, taught, tmp_path) -> None:
    policy, learned, unseen, _ = taught
    learned.save(tmp_path / "p", readme=readme(learned))
    texts = [question.text for question in unseen]

    def ranked(one: Policy | FrozenPolicy) -> list[list[int]]:
        return [walk.slots.tolist() for walk in demo.walker(one, "fast").retrieve(texts, 20)]

    read = Policy.load(tmp_path / "p")
    assert read.feedback_ranking == learned.feedback_ranking
    assert ranked(read) == ranked(FrozenPolicy.load(tmp_path / "p")) == ranked(learned)
    assert read.fingerprint == FrozenPolicy.load(tmp_path / "p").fingerprint
    assert read.fingerprint == learned.fingerprint != policy.fingerprint
    assert read.first(1).feedback_ranking == learned.feedback_ranking
    assert FrozenPolicy.load(tmp_path / "p").first(1).feedback_ranking is not None
    assert "learned from 40 recalls" in (tmp_path / "p/README.md").read_text("utf-8")
    learned.feedback_ranking = None
    assert ranked(learned) == ranked(policy) != ranked(read)
    learned.save(tmp_path / "p")
    assert "feedback_ranking" not in json.loads((tmp_path / "p/policy.json").read_text())


@pytest.mark.parametrize("effort", ["fast", "thorough"])
def test_the_first_passages_change_places_and_nothing_else(
    demo, demo_questions, random_policy, effort
) -> None:
    policy, texts = random_policy(), [question.text for question in demo_questions[:5]]
    plain = demo.walker(policy, effort).retrieve(texts, 40)
    policy.feedback_ranking = BY_MEANING
    walker = demo.walker(policy, effort)
    anew = walker.retrieve(texts, 40)
    for before, after, text in zip(plain, anew, texts, strict=True):
        assert before.slots[:DEPTH].tolist() != after.slots[:DEPTH].tolist()
        assert sorted(before.slots[:DEPTH].tolist()) == sorted(after.slots[:DEPTH].tolist())
        assert before.slots[DEPTH:].tolist() == after.slots[DEPTH:].tolist()
        assert before.scores.tolist() == after.scores.tolist()
        assert before.trails == after.trails
        pool = demo.pool(text)
        _, dense, _ = pool.z_scores(after.slots[:DEPTH].tolist())
        assert (np.diff(dense) <= 1e-4).all()
        [alone] = walker.retrieve([text], 40)
        assert alone.slots.tolist() == after.slots.tolist()
        np.testing.assert_allclose(alone.scores, after.scores, rtol=5e-4)


def test_a_recall_that_explores_stays_as_it_is(demo, demo_questions, random_policy) -> None:
    policy, texts = random_policy(), [question.text for question in demo_questions[:3]]
    plain = demo.walker(policy, "fast").retrieve(texts, 20, explore=3)
    policy.feedback_ranking = BY_MEANING
    drawn = demo.walker(policy, "fast").retrieve(texts, 20, explore=3)
    assert [walk.slots.tolist() for walk in plain] == [walk.slots.tolist() for walk in drawn]


def test_what_is_gone_or_filtered_is_left_out_and_counted(small, random_policy) -> None:
    all_ids = small.ids(np.flatnonzero(small.view.alive))
    said = {id: float(number < 3) for number, id in enumerate(all_ids)}
    entry = clicked(small, QUESTION, said)
    narrow = clicked(small, QUESTION, said, filter={"$id": {"$in": all_ids[:5]}})
    whole = replace(entry, passages={}, reward=1.0)
    small.store.delete([all_ids[0]])
    walkers = StoreWalkers(small.store, small.encoder, random_policy())
    judged = judged_passages(rank_again(walkers, [entry, narrow, whole]))
    assert (judged.recalls, judged.left_out) == (2, 1 + 8)
    assert len(judged.useful) == 11 + 4
    assert judged.useful.sum() == 2 + 2
    assert {len(values) for values in judged.columns.values()} == {15}


def test_a_namespace_is_walked_as_it_was_asked(tmp_path, random_policy) -> None:
    with Memory(tmp_path / "a.db", encoder=HashEncoder(), policy=random_policy()) as memory:
        for name in ("ann", "bo"):
            passages = [Passage(f"p{i}", f"bridge {i} of the river {name}") for i in range(15)]
            memory.add(passages, namespace=(name,))
        recall = memory.recall("Which bridge is old?", 10, namespace=("ann",), effort="fast")
        for passage in recall.passages:
            recall.feedback(float(passage.id in ("p1", "p2")), passages=[passage])
        walkers = StoreWalkers(memory.store, memory.store.encoder, random_policy())
        judged = judged_passages(rank_again(walkers, FeedbackLog(memory.store).entries()))
        assert (judged.recalls, judged.left_out, len(judged.useful)) == (1, 0, 10)
        assert list(walkers._known) == [(("ann",), "fast")]


def test_where_there_is_too_little_to_learn_it_says_so(small, random_policy) -> None:
    walkers = StoreWalkers(small.store, small.encoder, random_policy())
    ids = small.ids(np.flatnonzero(small.view.alive))
    entry = clicked(small, QUESTION, dict.fromkeys(ids, 1.0))
    whole = replace(entry, passages={}, reward=1.0)
    with pytest.raises(InputError, match="not from recalls judged as a whole"):
        learn_ranking(walkers.policy, rank_again(walkers, [whole]))
    with pytest.raises(InputError, match="12 were useful and 0 were not, and it takes 10 of each"):
        learn_ranking(walkers.policy, rank_again(walkers, [entry]))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"ridge": -1.0}, "ridge must be a number from 0 on"),
        ({"most_noise": 0.5}, r"most_noise must lie in \[0, 0.5\)"),
    ],
)
def test_settings_of_a_ranking_are_checked(wrong, message) -> None:
    with pytest.raises(ConfigError, match=message):
        RankingConfig(**wrong)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"version": 2}, "of version 1"),
        ({"noise": 0.7}, r"wrong judgements should lie in \[0, 0.5\)"),
        ({"useful": {"weights": {"the weather": 1.0}, "intercept": 0.0}}, "the weather"),
        ({"useful": {"weights": {LOG_SCORE: "much"}, "intercept": 0.0}}, "finite"),
        ({"fit": [1]}, "should be an object"),
    ],
)
def test_a_ranking_that_is_none_is_refused(tmp_path, random_policy, change, complaint) -> None:
    policy = random_policy()
    policy.feedback_ranking = BY_MEANING
    policy.save(tmp_path)
    settings = json.loads((tmp_path / "policy.json").read_text())
    settings["feedback_ranking"].update(change)
    (tmp_path / "policy.json").write_text(json.dumps(settings))
    with pytest.raises(PolicyError, match=complaint):
        Policy.load(tmp_path)
