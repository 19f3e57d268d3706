"""What stands next to a passage counts for it, and is not a link like others."""

from __future__ import annotations

import random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hoptrail.graph.adjacency.adjacency import STEP
from hoptrail.graph.graph import Graph
from hoptrail.graph.ranking.sequence import NEIGHBOUR_WEIGHT, SequenceLinks
from hoptrail.memory.store import Store
from hoptrail.memory.testing.hash_encoder import HashEncoder
from hoptrail.types import Link, Passage

SLOTS = 6
WORDS = "oak elm ash fir yew box fig may".split()


@given(
    st.lists(
        st.tuples(st.integers(0, SLOTS - 1), st.integers(0, SLOTS - 1)), max_size=10, unique=True
    ),
    st.lists(st.floats(0, 30), min_size=SLOTS, max_size=SLOTS),
)
def test_each_hears_the_mean_of_those_before_and_of_those_after(pairs, given_scores) -> None:
    scores = np.asarray(given_scores)
    links = np.asarray([(a, b, STEP, 0) for a, b in pairs], dtype=np.int32).reshape(-1, 4)
    found = SequenceLinks(links, SLOTS).smooth_scores(scores)
    for slot in range(SLOTS):
        before = [scores[a] for a, b in pairs if b == slot]
        after = [scores[b] for a, b in pairs if a == slot]
        around = sum(float(np.mean(side)) for side in (before, after) if side)
        np.testing.assert_allclose(found[slot], scores[slot] + NEIGHBOUR_WEIGHT * around, atol=1e-4)


def talk(count: int = 8) -> list[Passage]:
    """Turns one after another, one of them linked otherwise as well."""
    return [
        Passage(
            f"t{i}",
            f"Turn of it says {WORDS[i]}.",
            links=(
                *([Link(f"t{i + 1}", "next")] if i + 1 < count else []),
                *([Link("t0", "cites")] if i == 5 else []),
            ),
        )
        for i in range(count)
    ]


def heard(view, graph, text: str) -> dict[str, float]:
    """The scores in context, by id."""
    scores = graph.sequence().smooth_scores(view.sparse.scores(text))
    slots = np.flatnonzero(view.alive).tolist()
    return {p.id: float(scores[s]) for s, p in zip(slots, view.passages(slots), strict=True)}


def test_steps_are_no_edges(store, graph) -> None:
    """What is there besides `next` links is as if those were not."""
    store.add(talk())
    view = store.view()
    seen = graph.view(view)
    slots = [view.slot_of(f"t{i}") for i in range(8)]
    assert len(seen.sequence()) == 7
    kinds = [kind for _, kind, _ in seen.links(slots[5])]
    assert sorted(kinds) == ["cites", "next"]
    with Store(store.path.with_name("bare.db"), encoder=HashEncoder(8)) as bare:
        bare.add([p.__class__(p.id, p.text, links=p.links[1:]) for p in talk() if p.id == "t5"])
        bare.add([p.__class__(p.id, p.text) for p in talk() if p.id != "t5"])
        other_view = bare.view()
        other = Graph(bare).view(other_view)
        others = [other_view.slot_of(f"t{i}") for i in range(8)]
        assert not len(other.sequence())
        edges, same = seen.edges(slots), other.edges(others)
        assert sorted(zip(*edges.index.tolist(), edges.kind.tolist(), strict=True)) == sorted(
            zip(*same.index.tolist(), same.kind.tolist(), strict=True)
        )
        visits, again = seen.pagerank({slots[5]: 1.0}), other.pagerank({others[5]: 1.0})
        np.testing.assert_allclose(visits[slots], again[others], atol=1e-6)


def test_it_follows_what_is_written_and_deleted(store, graph) -> None:
    store.add(talk())
    view = store.view()
    seen = graph.view(view)
    alone = heard(view, seen, "fir")
    assert alone["t3"] > alone["t2"] == alone["t4"] > 0 == alone["t1"]
    store.delete(["t3"])
    seen.refresh()
    assert heard(view, seen, "ash")["t4"] == 0
    assert len(seen.sequence()) == 5
    store.link("t2", Link("t4", "next"))
    seen.refresh()
    now = heard(view, seen, "ash")
    assert now["t4"] > 0
    opened = store.view()
    assert heard(opened, Graph(store).view(opened), "ash") == now


def test_the_order_of_writing_changes_nothing(tmp_path) -> None:
    found = []
    for seed in range(2):
        passages = [
            *talk(),
            *(
                Passage(f"m{i}", f"Many say word{i}.", links=(Link("t4", "next"),))
                for i in range(5)
            ),
        ]
        random.Random(seed).shuffle(passages)
        with Store(tmp_path / f"{seed}.db", encoder=HashEncoder(8)) as opened:
            opened.add(passages)
            view = opened.view()
            found.append(heard(view, Graph(opened).view(view), "elm ash fir many turn"))
    assert found[0] == found[1]
