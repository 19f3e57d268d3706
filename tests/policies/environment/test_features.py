"""Features that are kept up to date are those of the pool looked at once."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from hoptrail.policies.environment.features import FeatureTable, features
from hoptrail.policies.environment.state import state_input
from hoptrail.types import Link, Passage


def assert_as_new(table: FeatureTable, pool) -> None:
    kept, new = table.now(), features(pool)
    assert kept.rows == new.rows
    for column in fields(new):
        if column.name != "rows":
            one, other = getattr(kept, column.name), getattr(new, column.name)
            assert one.dtype == other.dtype
            np.testing.assert_allclose(one, other, atol=1e-5, err_msg=column.name)


@pytest.fixture
def linked(world, demo_passages):
    """The demo corpus, with links of two kinds between some passages."""
    rng = np.random.default_rng(5)
    some = [p.id for p in demo_passages]
    return world(
        [
            Passage(
                p.id,
                p.text,
                p.title if rng.random() < 0.8 else None,
                links=tuple(
                    Link(some[j], kind, float(rng.integers(1, 4)))
                    for j in rng.choice(len(some), size=rng.integers(0, 3), replace=False)
                    for kind in ("cites", "adopts")[: rng.integers(1, 3)]
                ),
            )
            for p in demo_passages
        ]
    )


@pytest.mark.parametrize("filtered", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_a_table_follows_a_random_walk(linked, demo_questions, seed, filtered) -> None:
    rng = np.random.default_rng(seed)
    allowed = rng.random(linked.view.capacity) < 0.6 if filtered else None
    pool = linked.pool(demo_questions[seed].text, allowed=allowed)
    table, before = FeatureTable(pool), None
    assert_as_new(table, pool)
    for _ in range(8):
        unread = [slot for slot in pool.slots if slot not in pool.reads]
        if rng.random() < 0.25 and before:
            pool.forget(*before)
        else:
            before = len(pool.reads), len(pool.queries), len(pool.slots)
            some = rng.choice(unread, size=min(len(unread), rng.integers(1, 4)), replace=False)
            linked.enter(pool, some.tolist(), reencode=bool(rng.random() < 0.5))
        if rng.random() < 0.8:
            assert_as_new(table, pool)
    assert_as_new(table, pool)


def test_prefixes_that_read_apart_see_what_they_would_alone(linked, demo_questions) -> None:
    pool = linked.pool(demo_questions[1].text)
    table, start = FeatureTable(pool), pool.slots[:3]
    states = []
    for slot in start:
        linked.enter(pool, [slot])
        states.append((slot, state_input(pool, table.now(), (slot,))))
    for slot, crowded in states:
        own = linked.pool(demo_questions[1].text)
        alone = linked.state(own, [slot])
        one, other = np.argsort(crowded.slots), np.argsort(alone.slots)
        np.testing.assert_array_equal(crowded.slots[one], alone.slots[other])
        np.testing.assert_allclose(crowded.x[one], alone.x[other], atol=2e-5)


def test_what_was_found_before_is_not_written_to(demo, demo_questions) -> None:
    pool = demo.pool(demo_questions[0].text)
    table = FeatureTable(pool)
    first = table.now()
    was = {c.name: np.copy(getattr(first, c.name)) for c in fields(first) if c.name != "rows"}
    demo.enter(pool, pool.slots[:3])
    table.now()
    for name, value in was.items():
        np.testing.assert_array_equal(getattr(first, name), value)
