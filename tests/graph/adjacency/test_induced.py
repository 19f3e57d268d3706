"""Edges among slots that come bit by bit are those among all of them."""

from __future__ import annotations

import numpy as np
import pytest

from hoptrail.errors import InputError
from hoptrail.graph.adjacency import induced as among_module
from hoptrail.graph.graph import Graph
from hoptrail.graph.view import KINDS, GraphView
from hoptrail.types import Link, Passage


@pytest.fixture
def view(graph: Graph) -> GraphView:
    """Forty passages that name, share and link at random."""
    rng = np.random.default_rng(3)
    names = [f"Quorl{chr(97 + i)} Ven" for i in range(20)]
    passages = []
    for i in range(40):
        said = [names[j] for j in rng.choice(20, size=rng.integers(0, 4), replace=False)]
        linked = rng.choice(40, size=rng.integers(0, 3), replace=False)
        links = [Link(str(j), kind) for j in linked for kind in ("cites", "adopts")[: 1 + j % 2]]
        title = names[i] if i < 15 else None
        text = "It says " + " and then ".join([*said, "nothing"]) + "."
        passages.append(Passage(str(i), text, title, links=tuple(links)))
    graph.store.add(passages)
    return graph.view(graph.store.view())


def listed(index, kind, weight) -> list[tuple[float, ...]]:
    return sorted(zip(kind.tolist(), *index.tolist(), weight.round(5).tolist(), strict=True))


@pytest.mark.parametrize("dense", [among_module.DENSE, 0], ids=["full", "sparse"])
@pytest.mark.parametrize("seed", range(4))
def test_the_edges_that_come_add_up_to_all_there_are(view, monkeypatch, seed, dense) -> None:
    monkeypatch.setattr(among_module, "DENSE", dense)
    rng = np.random.default_rng(seed)
    slots = rng.permutation(40)[:30]
    among, parts = view.among(), []
    for part in np.split(slots, np.sort(rng.integers(0, 30, size=4))):
        found = among.add(part)
        parts.append((found.index, found.kind, found.weight))
    index, kind, weight = (np.concatenate(columns, axis=-1) for columns in zip(*parts, strict=True))
    whole = view.edges(slots)
    assert listed(index, kind, weight) == listed(whole.index, whole.kind, whole.weight)
    assert set(whole.kind.tolist()) == set(range(len(KINDS)))


def test_a_slot_comes_once(view) -> None:
    among = view.among()
    among.add(np.asarray([3, 5]))
    with pytest.raises(InputError, match="twice"):
        among.add(np.asarray([4, 3]))
