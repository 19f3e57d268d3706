"""Whatever is done in whatever order, a store is what a dict says and what a fresh one would be."""

from __future__ import annotations

import math
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

from hoptrail.errors import DuplicateId, InputError
from hoptrail.graph import maintenance as graph_upkeep
from hoptrail.graph.graph import Graph
from hoptrail.memory.filters import Filter
from hoptrail.memory.index import snapshot
from hoptrail.memory.maintenance import checks, export, merging, near_duplicates
from hoptrail.memory.passages import versions
from hoptrail.memory.search import hybrid_search
from hoptrail.memory.storage.namespaces import Scope, ScopeLike
from hoptrail.memory.storage.validity import holds
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
EVERYTHING = Scope.parse(()).at("ever")


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

    def over(self, passage: Passage, *, ended: bool) -> Passage:
        """A passage as it is written over what is there: what that knows of its past stays."""
        old = self.model.get((passage.namespace, passage.id))
        past = versions.history_links(old.links) if old else ()
        times = {"valid_from": old.valid_from} if old and past else {}
        succeeded = any(
            link.target == passage.id and link.kind in versions.KINDS
            for (space, _), other in self.model.items()
            for link in other.links
            if space == passage.namespace
        )
        stays = old and ended and succeeded and old.content == passage.content
        if passage.valid_from is not None or passage.valid_until is not None:
            times = {}
        elif stays and old.valid_until is not None:
            times = {"valid_from": old.valid_from, "valid_until": old.valid_until}
        return replace(passage, links=passage.links + past, **times)

    def valid(self, at: float | None = None) -> dict[Key, Passage]:
        """What is read as of a time."""
        at = self.now if at is None else at
        return {key: passage for key, passage in self.model.items() if holds(passage, at)}

    def drop(self, keys: list[Key]) -> int:
        """Take passages out, with what they said before; how many."""
        before = len(self.model)
        for space, id_ in keys:
            self.model = {
                (s, i): p
                for (s, i), p in self.model.items()
                if s != space or (i != id_ and not (i.startswith(f"{id_}@") and "@" not in id_))
            }
        return before - len(self.model)

    @rule(batch=st.lists(passages, max_size=6), replacing=st.booleans(), ttl=lives)
    def add(self, batch: list[Passage], replacing: bool, ttl: float | None) -> None:
        self.store.add(batch, on_duplicate="replace" if replacing else "skip", ttl=ttl)
        for passage in batch:
            key = (passage.namespace, passage.id)
            if replacing or key not in self.model:
                self.model[key] = self.written(self.over(passage, ended=False), ttl)

    @rule(batch=st.lists(passages, max_size=6), data=st.data())
    def upsert(self, batch: list[Passage], data: st.DataObject) -> None:
        if self.model:  # some of them as they are
            held = sorted(self.model)
            again = data.draw(st.lists(st.sampled_from(held), max_size=3, unique=True))
            batch += [self.model[key] for key in again]
        last = {(p.namespace, p.id): p for p in batch}
        for key, passage in last.items():
            links = [x for x in passage.links if x.kind not in versions.KINDS]
            last[key] = self.over(replace(passage, links=tuple(links)), ended=True)
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
        keys = [key for key, gone in zip(inside, held, strict=True) if gone]
        assert self.store.forget(filter, namespace=scope) == self.drop(keys)

    @rule(seconds=st.integers(1, 20))
    def wait(self, seconds: int) -> None:
        self.now += seconds
        self.store.sweep()
        self.drop([k for k, p in self.model.items() if (p.expires_at or math.inf) <= self.now])

    @precondition(lambda self: self.model)
    @rule(data=st.data(), new=passages, after=st.none() | st.integers(-5, 5))
    def supersede(self, data: st.DataObject, new: Passage, after: int | None) -> None:
        """Another takes a passage's place; what cannot be said changes nothing."""
        space, id_ = key = data.draw(st.sampled_from(sorted(self.model)))
        at = None if after is None else self.now + after
        try:
            done = self.store.supersede(id_, replace(new, namespace=space), at=at, namespace=space)
        except (InputError, DuplicateId):
            return
        old, at = self.model[key], self.now if at is None else at
        until = at if old.valid_until is None else min(at, old.valid_until)
        self.model[key] = replace(old, valid_until=until)
        assert Link(id_, versions.SUPERSEDES) in done.links
        self.model[space, done.id] = done

    @precondition(lambda self: self.model)
    @rule(data=st.data(), text=texts)
    def revise(self, data: st.DataObject, text: str) -> None:
        """What a passage said before stays beside it."""
        space, id_ = key = data.draw(st.sampled_from(sorted(self.model)))
        old = self.model[key]
        try:
            done = self.store.update(id_, text=text, keep_history=True, namespace=space)
        except InputError:
            return
        self.model[key] = done
        if text != old.text:
            [earlier] = [x.target for x in done.links if x.kind == versions.REVISES]
            until = self.now if old.valid_until is None else min(old.valid_until, self.now)
            links = tuple(x for x in old.links if x.kind != versions.SUPERSEDES)
            before = replace(old, id=earlier, valid_until=until, links=links)
            self.model[space, earlier] = before
            assert (done.text, done.valid_from) == (text, self.now)

    @precondition(lambda self: self.model)
    @rule(data=st.data(), ends=st.tuples(*[st.none() | st.integers(-9, 9)] * 2))
    def limit(self, data: st.DataObject, ends: tuple[int | None, int | None]) -> None:
        space, id_ = key = data.draw(st.sampled_from(sorted(self.model)))
        first, last = (None if end is None else self.now + end for end in ends)
        if first is None or last is None or first < last:
            self.model[key] = self.store.update(
                id_, valid_from=first, valid_until=last, namespace=space
            )

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
        new = replace(old, text=text or old.text, title=title, written_at=self.now)
        new = replace(new, links=versions.with_history(links, old.links))
        self.model[key] = new
        assert new == self.store.update(id_, text=text, title=title, links=links, namespace=space)

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        space = data.draw(st.sampled_from(sorted({space for space, _ in self.model})))
        held = sorted(id_ for s, id_ in self.model if s == space)
        gone = data.draw(st.lists(st.sampled_from(held), min_size=1, unique=True))
        assert self.store.delete(gone, space) == self.drop([(space, id_) for id_ in gone])

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
                place = Scope.parse(last.namespace).at("ever")
                self.model[key] = self.store.get(last.id, place)
                assert Link(gone, "cites") in self.model[key].links

    @rule(batch=st.lists(passages, max_size=5, unique_by=lambda p: (p.namespace, p.id)))
    def at_once(self, batch: list[Passage]) -> None:
        """From several threads, into two open stores of one file."""

        def write(number: int) -> None:
            (self.store, self.other)[number % 2].add([batch[number]], on_duplicate="replace")

        with ThreadPoolExecutor(4) as threads:
            list(threads.map(write, range(len(batch))))
        for p in batch:
            self.model[p.namespace, p.id] = self.written(self.over(p, ended=False))

    @rule(near=st.sampled_from([0.97, 2.0]), scope=st.sampled_from(SCOPES))
    def merge(self, near: float, scope: Namespace) -> None:
        """What that keeps is for others to test: here it is that no index misses it."""
        found = merging.merge_duplicates(
            self.store, namespace=scope, similarity_threshold=near, dry_run=False
        )
        for merged in (one for merge in found.merges for one in merge.merged):
            assert merged.namespace[: len(scope)] == scope
            self.drop([(merged.namespace, merged.id)])
        held = {(p.namespace, p.id): p for p in self.store.passages(EVERYTHING)}
        assert held.keys() == self.model.keys()
        self.model = held

    @rule(batch=st.lists(passages, max_size=4, unique_by=lambda p: (p.namespace, p.id)))
    def add_distinct(self, batch: list[Passage]) -> None:
        new = [p for p in batch if (p.namespace, p.id) not in self.model]
        found = near_duplicates.add_distinct(self.store, new, then="skip", similarity_threshold=2)
        doubled = {(d.namespace, d.id) for d in found.duplicates}
        held = {(p.namespace, p.content) for p in self.valid().values()}
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
        ever = {(p.namespace, p.id): p for p in self.store.passages(EVERYTHING)}
        assert ever == self.model
        assert self.store.count(EVERYTHING) == len(self.model)
        assert self.store.namespaces() == sorted({space for space, _ in self.valid()})
        for at in (None, self.now - 4, self.now + 3):
            self.compare_as_of(at)

    def compare_as_of(self, at: float | None) -> None:
        """What is not valid then leaves no trace: all is as if nobody had ever written it."""
        everything, valid = Scope.parse(()).at(at), self.valid(at)
        assert {(p.namespace, p.id): p for p in self.store.passages(everything)} == valid
        assert self.store.count(everything) == len(valid)
        path, clock = Path(tempfile.mkdtemp(dir=self.folder)) / "fresh.db", lambda: self.now
        with Store(path, encoder=HashEncoder(), clock=clock) as fresh:
            shuffled = [replace(p, valid_from=None, valid_until=None) for p in valid.values()]
            random.Random(len(shuffled)).shuffle(shuffled)
            fresh.add(shuffled)
            built = Graph(fresh)
            # A name that only what is not valid bears hides a shorter one inside of it.
            named = any(p.title for key, p in self.model.items() if key not in valid)
            for scope in SCOPES[: 3 if at is None else 1]:
                of_then = Scope.parse(scope).at(at)
                if not named:
                    assert edges(self.graph, self.store, of_then) == edges(built, fresh, scope)
                self.compare_scope(fresh, scope, of_then, valid)

    def compare_scope(
        self, fresh: Store, scope: Namespace, of_then: Scope, valid: dict[Key, Passage]
    ) -> None:
        view, built = self.store.view(of_then), fresh.view(scope)
        alive = np.flatnonzero(view.alive)
        expected = {k: p for k, p in valid.items() if k[0][: len(scope)] == scope}
        found = {(p.namespace, p.id): p for p in view.passages(alive)}
        assert found == expected
        assert view.size == built.size == len(alive) == self.store.count(of_then)
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


def edges(graph: Graph, store: Store, scope: ScopeLike) -> dict[Key, list]:
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
