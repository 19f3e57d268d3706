"""Whatever is done in whatever order, a store is what a dict says and what a fresh one would be."""

from __future__ import annotations

import random
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from hoptrail.memory import fusion, snapshot
from hoptrail.memory.store import Store
from hoptrail.memory.testing import HashEncoder
from hoptrail.types import Link, Namespace, Passage

WORDS = "river bridge canal delft nantes loire old stone boat museum".split()
SPACES: list[Namespace] = [(), ("a",), ("a", "b"), ("c",)]
SCOPES: list[Namespace] = [(), ("a",), ("c",)]

ids = st.sampled_from([f"p{i}" for i in range(8)])
spaces = st.sampled_from(SPACES)
texts = st.lists(st.sampled_from(WORDS), min_size=1, max_size=6).map(" ".join)
links = st.lists(ids, max_size=2, unique=True).map(lambda to: tuple(Link(t) for t in to))
passages = st.builds(
    Passage,
    id=ids,
    text=texts,
    title=st.none() | texts,
    metadata=st.dictionaries(st.sampled_from(["speaker", "n"]), texts, max_size=1),
    namespace=spaces,
    links=links,
)


class Machine(RuleBasedStateMachine):
    """The model is a dict of passages by key."""

    @initialize()
    def open(self) -> None:
        self.before, snapshot.MINIMUM = snapshot.MINIMUM, 3
        self.folder = Path(tempfile.mkdtemp())
        self.store = Store(self.folder / "a.db", encoder=HashEncoder())
        self.model: dict[tuple[Namespace, str], Passage] = {}

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.compare()
            self.store.close()
            shutil.rmtree(self.folder)
            snapshot.MINIMUM = self.before

    @rule(batch=st.lists(passages, max_size=6), replacing=st.booleans())
    def add(self, batch: list[Passage], replacing: bool) -> None:
        self.store.add(batch, on_duplicate="replace" if replacing else "skip")
        for passage in batch:
            key = (passage.namespace, passage.id)
            if replacing or key not in self.model:
                self.model[key] = passage

    @precondition(lambda self: self.model)
    @rule(data=st.data(), text=st.none() | texts, title=st.none() | texts, links=links)
    def update(self, data: st.DataObject, text: str | None, title: str | None, links) -> None:
        space, id_ = key = data.draw(st.sampled_from(sorted(self.model)))
        self.store.update(id_, text=text, title=title, links=links, namespace=space)
        old = self.model[key]
        self.model[key] = replace(old, text=text or old.text, title=title, links=links)

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        space = data.draw(st.sampled_from(sorted({space for space, _ in self.model})))
        held = sorted(id_ for s, id_ in self.model if s == space)
        gone = data.draw(st.lists(st.sampled_from(held), min_size=1, unique=True))
        assert self.store.delete(gone, space) == len(gone)
        for id_ in gone:
            del self.model[space, id_]

    @rule(scope=st.sampled_from(SCOPES))
    def refresh(self, scope: Namespace) -> None:
        self.store.view(scope)

    @rule(scope=st.sampled_from(SCOPES))
    def save(self, scope: Namespace) -> None:
        assert self.store.view(scope).save()

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = Store(self.folder / "a.db", encoder=HashEncoder())

    def compare(self) -> None:
        held = {(p.namespace, p.id): replace(p, written_at=0.0) for p in self.store.passages()}
        assert held == self.model
        with Store(self.folder / "fresh.db", encoder=HashEncoder()) as fresh:
            shuffled = list(self.model.values())
            random.Random(len(shuffled)).shuffle(shuffled)
            fresh.add(shuffled)
            for scope in SCOPES:
                self.compare_scope(fresh, scope)

    def compare_scope(self, fresh: Store, scope: Namespace) -> None:
        view, built = self.store.view(scope), fresh.view(scope)
        alive = np.flatnonzero(view.alive)
        expected = {k: p for k, p in self.model.items() if k[0][: len(scope)] == scope}
        found = {(p.namespace, p.id): p for p in view.passages(alive)}
        assert {k: replace(p, written_at=0.0) for k, p in found.items()} == expected
        assert view.size == built.size == len(alive) == self.store.count(scope)
        slots = [built.slot_of(p.id, p.namespace) for p in view.passages(alive)]
        if view.size:  # a view that never held one has no width yet
            assert np.array_equal(view.dense.vectors(alive), built.dense.vectors(slots))
        for query in ("old bridge river", "museum boat canal nantes", "zebra"):
            vector = fresh.encode_queries([query])
            ours, theirs = view.sparse.scores(query), built.sparse.scores(query)
            assert np.array_equal(ours[alive], theirs[slots])
            assert not ours[~view.alive].any()
            assert np.allclose(view.sparse.moments(ours), built.sparse.moments(theirs))
            assert np.allclose(view.dense.moments(vector), built.dense.moments(vector), atol=1e-7)
            for mode in ("hybrid", "dense", "sparse"):
                a = fusion.search(view, query, vector[0], 10, mode)
                b = fusion.search(built, query, vector[0], 10, mode)
                assert np.allclose(a[0], b[0], atol=1e-5)
                assert [p.content for p in view.passages(a[1])] == [
                    p.content for p in built.passages(b[1])
                ]


TestStore = Machine.TestCase
TestStore.settings = settings(
    max_examples=30,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
