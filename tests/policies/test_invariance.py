"""Shuffle a corpus and rename every id: the same is recalled, with the same scores."""

from __future__ import annotations

import numpy as np
import pytest

from hoptrail.api.memory import Memory
from hoptrail.metrics.ranking import recall_at
from hoptrail.policies.environment.efforts import EFFORTS
from hoptrail.types import Link, Passage


@pytest.fixture
def renamed(demo_passages):
    """The demo's passages in another order under other ids, and the way back."""
    rng = np.random.default_rng(3)
    new = {p.id: f"x{rng.integers(10**9)}-{i}" for i, p in enumerate(demo_passages)}
    passages = [
        Passage(
            new[p.id],
            p.text,
            p.title,
            p.metadata,
            links=tuple(Link(new[link.target], link.kind, link.weight) for link in p.links),
        )
        for p in (demo_passages[i] for i in rng.permutation(len(demo_passages)))
    ]
    return passages, {ours: theirs for theirs, ours in new.items()}


@pytest.mark.parametrize("name", EFFORTS)
def test_the_walk_does_not_know_the_names(
    world, demo, demo_questions, renamed, random_policy, name
) -> None:
    passages, back = renamed
    other = world(passages)
    policy = random_policy(2)
    ours, theirs = demo.walker(policy, name), other.walker(policy, name)
    for question in demo_questions[:20]:
        [a], [b] = ours.retrieve([question.text], 150), theirs.retrieve([question.text], 150)
        assert demo.ids(a.slots) == [back[i] for i in other.ids(b.slots)]
        np.testing.assert_allclose(a.scores, b.scores, rtol=5e-4)
        assert len(a.trails) == len(b.trails)
        for mine, other_trail in zip(a.trails, b.trails, strict=True):
            assert [h.id for h in mine.hops] == [back[h.id] for h in other_trail.hops]
            assert [h.link for h in mine.hops] == [h.link for h in other_trail.hops]
            assert mine.probability == pytest.approx(other_trail.probability, rel=1e-3)


def test_a_memory_recalls_the_same(
    tmp_path, demo_passages, demo_questions, renamed, random_policy, hash_encoder
) -> None:
    passages, back = renamed
    policy = random_policy()
    found = []
    for file, given in (("a", demo_passages), ("b", passages)):
        with Memory(tmp_path / f"{file}.db", encoder=hash_encoder, policy=policy) as memory:
            memory.add(given)
            found.append([memory.recall(question.text, 10) for question in demo_questions])
    recalls = []
    for question, a, b in zip(demo_questions, *found, strict=True):
        ids = [hit.passage.id for hit in a.hits]
        assert ids == [back[hit.passage.id] for hit in b.hits]
        assert [h.score for h in a.hits] == pytest.approx([h.score for h in b.hits], rel=5e-4)
        recalls.append(recall_at(ids, question.supporting_ids, 10))
    assert np.mean(recalls) > 0
