"""Whatever is done in whatever order, a store is what a dict says and what a fresh one would be."""

from __future__ import annotations

import random
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from hoptrail.graph import maintenance as graph_upkeep
from hoptrail.graph.graph import Graph
from hoptrail.memory.filters import Filter
from hoptrail.memory.index import snapshot
from hoptrail.memory.maintenance import checks, export, merging, near_duplicates
from hoptrail.memory.search import hybrid_search
from hoptrail.memory.store import Store
from hoptrail.memory.testing.hash_encoder import HashEncoder
from hoptrail.memory.views.view import View
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
    metadata=st.dictionaries(
        st.sampled_from(["speaker", "n"]), texts | st.integers(0, 3) | st.booleans(), max_size=1
    ),
    namespace=spaces,
    links=links,
)
lives = st.none() | st.integers(1, 30).map(float)
conditions = st.sampled_from(
    [
        {"n": {"$gte": 1}},
        {"n": {"$in": [0, "river"]}},
        {"speaker": {"$exists": True}, "n": None},
        {"$or": [{"$title": None}, {"$id": {"$lt": "p3"}}]},
        {"$not": {"$written_at": {"$gt": 1010.0}}},
        {"$expires_at": {"$exists": True}},
    ]
)


Key = tuple[Namespace, str]


class Undone(Exception):
    """Ends a transaction."""


class Machine(RuleBasedStateMachine):
    """The model is a dict of passages by key, as they should be read.

    Two stores have the file open; any of them may be the one that does what comes next.
    """

    @initialize()
    def open(self) -> None:
        self.before, snapshot.MINIMUM = snapshot.MINIMUM, 3
        self.folder = Path(tempfile.mkdtemp())
        self.now = 1000.0
        self.model: dict[Key, Passage] = {}
        self.start()

    def start(self) -> None:
        self.store, self.other = (
            Store(self.folder / "a.db", encoder=HashEncoder(), clock=lambda: self.now)
            for _ in range(2)
        )
        self.graph, self.other_graph = Graph(self.store), Graph(self.other)

    @rule()
    def turn(self) -> None:
        self.store, self.other = self.other, self.store
        self.graph, self.other_graph = self.other_graph, self.graph

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.compare()
            self.turn()
            self.compare()
            assert checks.verify(self.store) == graph_upkeep.verify_graph(self.store) == []
            self.stop()
            shutil.rmtree(self.folder)
            snapshot.MINIMUM = self.before

    def stop(self) -> None:
        self.store.close()
        self.other.close()

    def written(self, passage: Passage, ttl: float | None = None) -> Passage:
        expires_at = None if ttl is None else self.now + ttl
        return replace(passage, written_at=self.now, expires_at=expires_at)

    @rule(batch=st.lists(passages, max_size=6), replacing=st.booleans(), ttl=lives)
    def add(self, batch: list[Passage], replacing: bool, ttl: float | None) -> None:
        self.store.add(batch, on_duplicate="replace" if replacing else "skip", ttl=ttl)
        for passage in batch:
            key = (passage.namespace, passage.id)
            if replacing or key not in self.model:
                self.model[key] = self.written(passage, ttl)

    @rule(batch=st.lists(passages, max_size=6), data=st.data())
    def upsert(self, batch: list[Passage], data: st.DataObject) -> None:
        if self.model:  # some of them as they are
            held = sorted(self.model)
            again = data.draw(st.lists(st.sampled_from(held), max_size=3, unique=True))
            batch += [self.model[key] for key in again]
        last = {(p.namespace, p.id): p for p in batch}
        found = self.store.upsert(batch)
        new = [key for key in last if key not in self.model]
        same = [key for key in last if key not in new and alike(self.model[key], last[key])]
        assert sorted(found.added) == sorted(id_ for _, id_ in new)
        assert sorted(found.unchanged) == sorted(id_ for _, id_ in same)
        assert len(found.updated) == len(last) - len(new) - len(same)
        for key in last.keys() - same:
            self.model[key] = replace(last[key], written_at=self.now)

    @rule(filter=conditions, scope=st.sampled_from(SCOPES))
    def forget(self, filter: dict, scope: Namespace) -> None:
        inside = [key for key in self.model if key[0][: len(scope)] == scope]
        held = Filter.parse(filter).passages_mask([self.model[key] for key in inside])
        assert self.store.forget(filter, namespace=scope) == held.sum()
        for key, gone in zip(inside, held, strict=True):
            if gone:
                del self.model[key]

    @rule(seconds=st.integers(1, 20))
    def wait(self, seconds: int) -> None:
        self.now += seconds
        self.model = {
            key: passage
            for key, passage in self.model.items()
            if passage.expires_at is None or passage.expires_at > self.now
        }

    @precondition(lambda self: self.model)
    @rule(data=st.data(), to=ids, kind=st.sampled_from(["link", "cites"]), weight=st.just(2.0))
    def link(self, data: st.DataObject, to: str, kind: str, weight: float) -> None:
        space, id_ = key = data.draw(st.sampled_from(sorted(self.model)))
        old = self.model[key]
        by_key = {(link.target, link.kind): link for link in old.links}
        by_key[to, kind] = Link(to, kind, weight)
        self.model[key] = replace(old, links=tuple(by_key.values()))
        assert self.store.link(id_, Link(to, kind, weight), namespace=space) == self.model[key]

    @precondition(lambda self: self.model)
    @rule(data=st.data(), to=ids, kind=st.sampled_from([None, "link", "cites"]))
    def unlink(self, data: st.DataObject, to: str, kind: str | None) -> None:
        space, id_ = key = data.draw(st.sampled_from(sorted(self.model)))
        old = self.model[key]
        kept = [x for x in old.links if x.target != to or (kind and x.kind != kind)]
        self.model[key] = replace(old, links=tuple(kept))
        assert self.store.unlink(id_, to, kind, namespace=space) == self.model[key]

    @precondition(lambda self: self.model)
    @rule(data=st.data(), text=st.none() | texts, title=st.none() | texts, links=links)
    def update(self, data: st.DataObject, text: str | None, title: str | None, links) -> None:
        space, id_ = key = data.draw(st.sampled_from(sorted(self.model)))
        old = self.model[key]
        new = replace(old, text=text or old.text, title=title, links=links, written_at=self.now)
        self.model[key] = new
        assert new == self.store.update(id_, text=text, title=title, links=links, namespace=space)

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        space = data.draw(st.sampled_from(sorted({space for space, _ in self.model})))
        held = sorted(id_ for s, id_ in self.model if s == space)
        gone = data.draw(st.lists(st.sampled_from(held), min_size=1, unique=True))
        assert self.store.delete(gone, space) == len(gone)
        for id_ in gone:
            del self.model[space, id_]

    @precondition(lambda self: self.model)
    @rule(data=st.data(), metadata=st.just({}) | st.just({"n": 2}), ttl=lives)
    def tag(self, data: st.DataObject, metadata: dict, ttl: float | None) -> None:
        space, id_ = key = data.draw(st.sampled_from(sorted(self.model)))
        expires_at = None if ttl is None else self.now + ttl
        changed = {"metadata": metadata, "expires_at": expires_at}
        self.model[key] = replace(self.model[key], **changed, written_at=self.now)
        assert self.store.update(id_, **changed, namespace=space) == self.model[key]

    @rule(batch=st.lists(passages, min_size=1, max_size=4), gone=ids, undone=st.booleans())
    def together(self, batch: list[Passage], gone: str, undone: bool) -> None:
        """Several calls in one transaction, which is undone or not."""
        before = dict(self.model)
        try:
            with self.store.transaction():
                self.add(batch, True, None)
                last = batch[-1]
                self.store.link(last.id, Link(gone, "cites"), namespace=last.namespace)
                self.forget({"$id": gone}, ())
                if undone:
                    raise Undone
        except Undone:
            self.model = before
        else:
            key = (last.namespace, last.id)
            if key in self.model:
                self.model[key] = self.store.get(last.id, last.namespace)
                assert Link(gone, "cites") in self.model[key].links

    @rule(batch=st.lists(passages, max_size=5, unique_by=lambda p: (p.namespace, p.id)))
    def at_once(self, batch: list[Passage]) -> None:
        """From several threads, into two open stores of one file."""

        def write(number: int) -> None:
            (self.store, self.other)[number % 2].add([batch[number]], on_duplicate="replace")

        with ThreadPoolExecutor(4) as threads:
            list(threads.map(write, range(len(batch))))
        self.model |= {(p.namespace, p.id): self.written(p) for p in batch}

    @rule(near=st.sampled_from([0.97, 2.0]), scope=st.sampled_from(SCOPES))
    def merge(self, near: float, scope: Namespace) -> None:
        """What that keeps is for others to test: here it is that no index misses it."""
        found = merging.merge_duplicates(
            self.store, namespace=scope, similarity_threshold=near, dry_run=False
        )
        for merged in (one for merge in found.merges for one in merge.merged):
            assert merged.namespace[: len(scope)] == scope
            del self.model[merged.namespace, merged.id]
        held = {(p.namespace, p.id): p for p in self.store.passages()}
        assert held.keys() == self.model.keys()
        self.model = held

    @rule(batch=st.lists(passages, max_size=4, unique_by=lambda p: (p.namespace, p.id)))
    def add_distinct(self, batch: list[Passage]) -> None:
        new = [p for p in batch if (p.namespace, p.id) not in self.model]
        found = near_duplicates.add_distinct(self.store, new, then="skip", similarity_threshold=2)
        doubled = {(d.namespace, d.id) for d in found.duplicates}
        held = {(p.namespace, p.content) for p in self.model.values()}
        for p in new:
            key = (p.namespace, p.id)
            assert (key in doubled) == ((p.namespace, p.content) in held)
            held.add((p.namespace, p.content))
            if key not in doubled:
                self.model[key] = self.written(p)

    @rule(vectors=st.booleans(), scope=st.sampled_from(SCOPES))
    def export(self, vectors: bool, scope: Namespace) -> None:
        export.export(self.store, self.folder / "x.jsonl", namespace=scope, vectors=vectors)
        self.exported = {k: p for k, p in self.model.items() if k[0][: len(scope)] == scope}

    @precondition(lambda self: hasattr(self, "exported"))
    @rule()
    def restore(self) -> None:
        export.import_file(self.store, self.folder / "x.jsonl", on_duplicate="replace")
        self.model |= self.exported
        self.wait(0)

    @rule()
    def purge(self) -> None:
        self.graph.sync()
        checks.purge(self.store, cache=self.folder)

    @rule(scope=st.sampled_from(SCOPES))
    def refresh(self, scope: Namespace) -> None:
        self.store.view(scope)

    @rule(scope=st.sampled_from(SCOPES))
    def save(self, scope: Namespace) -> None:
        assert self.store.view(scope).save()

    @rule()
    def reopen(self) -> None:
        self.stop()
        self.start()

    @rule()
    def sync(self) -> None:
        self.graph.sync()

    def compare(self) -> None:
        assert {(p.namespace, p.id): p for p in self.store.passages()} == self.model
        assert self.store.count() == len(self.model)
        assert self.store.namespaces() == sorted({space for space, _ in self.model})
        path, clock = Path(tempfile.mkdtemp(dir=self.folder)) / "fresh.db", lambda: self.now
        with Store(path, encoder=HashEncoder(), clock=clock) as fresh:
            shuffled = list(self.model.values())
            random.Random(len(shuffled)).shuffle(shuffled)
            fresh.add(shuffled)
            built = Graph(fresh)
            for scope in SCOPES:
                assert edges(self.graph, self.store, scope) == edges(built, fresh, scope)
                self.compare_scope(fresh, scope)

    def compare_scope(self, fresh: Store, scope: Namespace) -> None:
        view, built = self.store.view(scope), fresh.view(scope)
        alive = np.flatnonzero(view.alive)
        expected = {k: p for k, p in self.model.items() if k[0][: len(scope)] == scope}
        found = {(p.namespace, p.id): p for p in view.passages(alive)}
        assert found == expected
        assert view.size == built.size == len(alive) == self.store.count(scope)
        slots = [built.slot_of(p.id, p.namespace) for p in view.passages(alive)]
        if view.size:  # a view that never held one has no width yet
            assert np.array_equal(view.dense.vectors(alive), built.dense.vectors(slots))
        for query in ("old bridge river", "museum boat canal nantes", "zebra"):
            vector = fresh.encode_queries([query])
            ours, theirs = view.sparse.scores(query), built.sparse.scores(query)
            assert np.array_equal(ours[alive], theirs[slots])
            assert not ours[~view.alive].any()
            assert np.allclose(view.sparse.moments(query), built.sparse.moments(query))
            assert np.allclose(view.dense.moments(vector), built.dense.moments(vector), atol=1e-7)
            for mode in ("hybrid", "dense", "sparse"):
                self.compare_filtered(view, query, vector[0], mode)
                a = hybrid_search.search(view, query, vector[0], 10, mode)
                b = hybrid_search.search(built, query, vector[0], 10, mode)
                assert np.allclose(a[0], b[0], atol=1e-5)
                assert [p.content for p in view.passages(a[1])] == [
                    p.content for p in built.passages(b[1])
                ]

    def compare_filtered(self, view: View, query: str, vector: np.ndarray, mode: str) -> None:
        """A filtered ranking is the whole ranking, filtered."""
        scores, slots = hybrid_search.search(view, query, vector, view.capacity + 1, mode)
        for filter in ({"n": {"$gte": 1}}, {"$title": None}, {"$not": {"speaker": None}}):
            allowed = view.allowed(Filter.parse_optional(filter))
            found = hybrid_search.search(view, query, vector, 3, mode, allowed=allowed)
            kept = Filter.parse(filter).passages_mask(view.passages(slots))
            assert found[1].tolist() == slots[kept][:3].tolist()
            assert np.array_equal(found[0], scores[kept][:3])


def alike(old: Passage, new: Passage) -> bool:
    """Equal, but for when they were written; True and 1 are not."""
    return replace(old, written_at=0.0) == replace(new, written_at=0.0) and repr(
        old.metadata
    ) == repr(new.metadata)


def edges(graph: Graph, store: Store, scope: Namespace) -> dict[Key, list]:
    """What a graph holds of each passage, named by keys."""
    view = store.view(scope)
    seen = graph.view(view)
    slots = np.flatnonzero(view.alive).tolist()
    key = {slot: (p.namespace, p.id) for slot, p in zip(slots, view.passages(slots), strict=True)}
    return {
        key[slot]: [
            sorted((key[m.target], m.start, m.end) for m in seen.out_mentions(slot)),
            sorted((key[m.source], m.start, m.end) for m in seen.in_mentions(slot)),
            sorted((key[target], *rest) for target, *rest in seen.links(slot)),
            sorted((key[source], *rest) for source, *rest in seen.back_links(slot)),
            sorted(seen.entities(slot)),
        ]
        for slot in slots
    }


TestStore = Machine.TestCase
TestStore.settings = settings(
    max_examples=30,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
