"""Memory stays flat over rounds of filling, updating and emptying."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hoptrail.graph.graph import Graph
from hoptrail.memory.store import Store
from hoptrail.memory.testing.hash_encoder import HashEncoder
from hoptrail.memory.views import view
from hoptrail.types import Passage


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setattr(view, "MOST_DEAD", 50)
    return Store(tmp_path / "a.db", encoder=HashEncoder())


def batch(first: int, count: int = 60) -> list[Passage]:
    """Passages of ever new words."""
    return [
        Passage(
            f"p{i}", f"Ada Lind{first + i} saw word{first + i} near the river.", f"Varn{first + i}"
        )
        for i in range(count)
    ]


def size(store: Store) -> int:
    """Slots, and terms that the scope's indexes know."""
    found = store.view()
    return found.capacity + len(found.sparse._ids)  # type: ignore[attr-defined]


@pytest.mark.parametrize("how", ["replaced", "emptied", "updated"])
def test_slots_and_terms_of_what_is_gone_are_reclaimed(store: Store, how: str) -> None:
    sizes = []
    for turn in range(12):
        new = batch(1000 * turn)
        if how == "replaced":
            store.add(new, on_duplicate="replace")
        elif how == "emptied":
            store.add(new)
            store.search("river", 3)
            store.delete([p.id for p in new])
        else:
            store.upsert(new)
        sizes.append(size(store))
    assert max(sizes) <= 2 * max(sizes[:3]) + 200


def test_answers_are_the_same_after_slots_were_reclaimed(store: Store, tmp_path: Path) -> None:
    before = None
    for turn in range(6):
        store.add(batch(1000 * turn), on_duplicate="replace")
        now = store.view()
        before = before or now
        graph = Graph(store).view(now)
        assert graph.view is now
    assert now is not before
    with Store(tmp_path / "new.db", encoder=HashEncoder()) as fresh:
        fresh.add(batch(5000))
        for mode in ("hybrid", "dense", "sparse"):
            one, two = (s.search("word5003 river", 9, mode=mode) for s in (store, fresh))
            assert [h.passage.id for h in one] == [h.passage.id for h in two]
            assert np.allclose([h.score for h in one], [h.score for h in two], atol=1e-5)
        assert store.search("Lind5004", 1, filter={"$title": "Varn5004"})
