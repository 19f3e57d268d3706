"""What a score is made of, and what brought a passage in: nothing is made up or changed."""

from __future__ import annotations

import math
from dataclasses import asdict

import numpy as np
import pytest

from hoptrail import Memory
from hoptrail.memory.testing.hash_encoder import HashEncoder
from hoptrail.policies.environment.efforts import EFFORTS
from hoptrail.policies.networks.feedback_ranking import FeedbackRanking
from hoptrail.policies.networks.score_calibration import LogisticModel
from hoptrail.policies.search.explanation import sources_of
from hoptrail.types import HitSource, Link, Passage, Shares

SHOWN = 12


def product(shares: Shares) -> float:
    """Of all that is a factor; the part over links is none."""
    return math.prod(value for name, value in asdict(shares).items() if name != "links")


@pytest.fixture
def walks_at(demo, demo_questions, random_policy):
    """Walks at an effort, with the scores of the best explained; lengths as they are or given."""

    def walk(effort: str, *, lengths: bool = False, explained: int = SHOWN, feedback: bool = False):
        policy = random_policy()
        if feedback:
            by_words = LogisticModel({"z-score by words of the question": 1.0}, 0.0)
            policy.feedback_ranking = FeedbackRanking(by_words)
        walker = demo.walker(policy, effort)
        if lengths:
            walker._log_lengths = np.log(np.linspace(6, 600, len(demo.view.alive)))
        return walker.retrieve([q.text for q in demo_questions[:3]], 40, explained=explained)

    return walk


@pytest.mark.parametrize("feedback", [False, True])
@pytest.mark.parametrize("lengths", [False, True])
@pytest.mark.parametrize("effort", EFFORTS)
def test_the_product_of_the_shares_is_the_score(walks_at, effort, lengths, feedback) -> None:
    results = walks_at(effort, lengths=lengths, feedback=feedback)
    for result in results:
        assert list(result.explanations) == result.slots[:SHOWN].tolist()
        for slot, score in zip(result.slots[:SHOWN].tolist(), result.scores, strict=False):
            shares = result.explanations[slot].shares
            assert product(shares) == pytest.approx(score, rel=1e-3)
            assert 0 <= shares.links <= 1 + 1e-9
            assert min(asdict(shares).values()) >= 0
            if not lengths:
                assert shares.policy <= 1 + 1e-4
                assert (shares.length, shares.total) == (1, 1)
            if effort != "thorough":
                assert shares.judge == 1
            if not feedback:
                assert shares.feedback == 1
    parts = [asdict(one.shares) for one in result.explanations.values()]
    moved = {"policy", "links", "lexical", "dense"}
    moved |= {"length", "total"} if lengths else {"likeness"}
    moved |= {"judge"} if effort == "thorough" else set()
    moved |= {"feedback"} if feedback else set()
    for name in moved:
        assert any(abs(part[name] - 1) > 1e-3 for part in parts), name


@pytest.mark.parametrize("effort", EFFORTS)
def test_to_say_why_changes_nothing(walks_at, effort) -> None:
    for plain, said in zip(walks_at(effort, explained=0), walks_at(effort), strict=True):
        assert plain.slots.tolist() == said.slots.tolist()
        assert plain.scores.tolist() == said.scores.tolist()
        assert plain.trails == said.trails
        assert (len(plain.explanations), len(said.explanations)) == (0, SHOWN)


def test_what_brought_a_passage_in(world) -> None:
    filler = [Passage(f"f{i}", f"stone {i} of the wall") for i in range(150)]
    place = world(
        [
            Passage("gull", "The gull is a vessel near Benta.", links=(Link("port", "in"),)),
            Passage("port", "Zzz qqq."),
            Passage("b", "Nothing.", title="Benta"),
            *filler,
        ]
    )
    pool = place.pool("gull vessel")
    gull, port, benta = place.slots("gull", "port", "b")
    assert {one.ranking: one.rank for one in sources_of(pool, gull)}["lexical"] == 1
    assert all(one.link is None for one in sources_of(pool, port))
    place.enter(pool, [gull])
    assert HitSource(None, link="in", id="gull") in sources_of(pool, port)
    assert HitSource(None, link="mentions", id="gull") in sources_of(pool, benta)
    assert "lexical" not in {one.ranking for one in sources_of(pool, port)}
    assert all(sources_of(pool, slot) for slot in pool.slots)
    outside = set(range(153)) - set(pool.slots)
    assert outside
    assert not any(sources_of(pool, slot) for slot in outside)


def test_hits_say_it_where_a_recall_follows_the_likeliest(tmp_path, twelve) -> None:
    question = "Into which lake flows the river of the town where Ada Lind was born?"
    with Memory(tmp_path / "a.db", encoder=HashEncoder()) as memory:
        memory.add(twelve)
        for hit in memory.recall(question, 12).hits:
            assert hit.shares is not None
            assert product(hit.shares) == pytest.approx(hit.score, rel=1e-3)
            assert hit.sources
        assert max(hit.shares.links for hit in memory.recall(question, 12).hits) > 0.5
        drawn = memory.recall(question, 3, explore=1)
        assert all(hit.shares is None and hit.sources == () for hit in drawn.hits)
