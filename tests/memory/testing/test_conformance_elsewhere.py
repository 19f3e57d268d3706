"""A store that shares nothing with ours but values, errors and filters passes the same suite."""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import replace
from threading import RLock

import numpy as np

from hoptrail.errors import DuplicateId, InputError, StoreError, UnknownId
from hoptrail.memory.filters import Filter
from hoptrail.memory.passages.reads import Changes
from hoptrail.memory.storage import records
from hoptrail.memory.storage.namespaces import checked_namespace
from hoptrail.memory.store import Upserted
from hoptrail.memory.testing.hash_encoder import HashEncoder, StoreConformance, failures
from hoptrail.types import Hit, Link
from hoptrail.values.strings import check_choice, check_string

CHANGES = ("text", "title", "metadata", "links", "expires_at")


class DictStore:
    """Passages in a dict, searched by looking at all of them."""

    def __init__(self, encoder, clock) -> None:
        self.encoder, self.clock = encoder, clock
        self.held, self.rows, self.log = {}, {}, []
        self.lock, self.closed = RLock(), False

    @property
    def version(self) -> int:
        return len(self.log)

    def close(self) -> None:
        self.closed = True

    def sweep(self) -> int:
        now = self.clock()
        gone = [k for k, p in self.held.items() if p.expires_at and p.expires_at <= now]
        self._drop(gone)
        return len(gone)

    def inside(self, namespace=()):
        """The scope's passages by key, in order."""
        if self.closed:
            raise StoreError("the store is closed")
        checked_namespace(namespace)
        self.sweep()
        return {k: self.held[k] for k in sorted(self.held) if k[0][: len(namespace)] == namespace}

    def checked(self, passages, ttl):
        refuse(isinstance(passages, str), "passages are several")
        refuse(ttl is not None and ttl <= 0, "ttl must be above 0")
        for p in passages:
            records.check_passage(p)
            expires_at = self.clock() + ttl if ttl and p.expires_at is None else p.expires_at
            refuse(expires_at is not None and expires_at <= self.clock(), "it has expired")
            yield (p.namespace, p.id), replace(p, expires_at=expires_at, written_at=self.clock())

    def _write(self, key, passage) -> None:
        self.rows.setdefault(key, len(self.log))
        self.held[key] = passage
        self.log.append((self.rows[key], True))

    def _drop(self, keys) -> None:
        for key in keys:
            del self.held[key]
            self.log.append((self.rows.pop(key), False))

    def add(self, passages, *, on_duplicate="error", ttl=None):
        check_choice(on_duplicate, ("error", "replace", "skip"), "on_duplicate")
        with self.lock:
            taken, batch = self.inside(), {}
            for key, p in self.checked(passages, ttl):
                if on_duplicate == "error" and (key in taken or key in batch):
                    raise DuplicateId(f"the id {p.id} is taken")
                if on_duplicate != "skip" or (key not in taken and key not in batch):
                    batch[key] = p
            for key, p in batch.items():
                self._write(key, p)
            return [id_ for _, id_ in batch]

    def upsert(self, passages, *, ttl=None):
        with self.lock:
            there, done = self.inside(), {"added": (), "updated": (), "unchanged": ()}
            for key, p in dict(self.checked(passages, ttl)).items():
                old = there.get(key)
                same = old and repr(replace(old, written_at=p.written_at)) == repr(p)
                done["unchanged" if same else "updated" if old else "added"] += (p.id,)
                if not same:
                    self._write(key, p)
            return Upserted(**done)

    def update(self, id, *, namespace=(), **changes):
        with self.lock:
            kept = {k: v for k, v in changes.items() if v is not None or k in CHANGES[1::3]}
            new = replace(self.get(id, namespace), **kept, written_at=self.clock())
            new = replace(new, links=tuple(new.links))
            records.check_passage(new)
            self._write((namespace, id), new)
            return new

    def delete(self, ids, namespace=()):
        refuse(isinstance(ids, str), "ids are several")
        with self.lock:
            keys = list(dict.fromkeys((namespace, p.id) for p in self.get_many(ids, namespace)))
            self._drop(keys)
            return len(keys)

    def forget(self, filter, *, namespace=()):
        refuse(filter == {}, "a filter has a condition")
        with self.lock:
            inside = self.inside(namespace)
            gone = [True] * len(inside)
            if filter is not None:
                gone = Filter.parse(filter).passages_mask(list(inside.values()))
            keys = [key for key, goes in zip(inside, gone, strict=True) if goes]
            self._drop(keys)
            return len(keys)

    def link(self, source, links, *, namespace=()):
        old = self.get(source, namespace)
        given = [links] if isinstance(links, Link) else links
        by = {(x.target, x.kind): x for x in [*old.links, *given]}
        return self._relink(old, by.values())

    def unlink(self, source, target, kind=None, *, namespace=()):
        old = self.get(source, namespace)
        left = [x for x in old.links if x.target != target or kind not in (None, x.kind)]
        return self._relink(old, left)

    def _relink(self, old, links):
        new = replace(old, links=tuple(links))
        if new != old:
            self._write((old.namespace, old.id), new)
        return new

    def get(self, id, namespace=()):
        return self.get_many([id], namespace)[0]

    def get_many(self, ids, namespace=()):
        with self.lock:
            inside, keys = self.inside(), [(namespace, id_) for id_ in ids]
            if missing := [key for key in keys if key not in inside]:
                raise UnknownId(f"there is no {missing[0][1]}")
            return [inside[key] for key in keys]

    def has(self, id, namespace=()):
        return (namespace, id) in self.inside()

    def count(self, namespace=()):
        with self.lock:
            return len(self.inside(namespace))

    def namespaces(self):
        return sorted({space for space, _ in self.inside()})

    def passages(self, namespace=()):
        return iter(self.inside(namespace).values())

    def changes(self, since):
        last = dict(self.log[since:])
        written = tuple(row for row, there in last.items() if there)
        return Changes(self.version, written, tuple(row for row in last if not last[row]))

    def search(self, query, k=10, *, namespace=(), mode="hybrid", filter=None):
        check_string(query, "a query")
        check_choice(mode, ("hybrid", "dense", "sparse"), "mode")
        refuse(k < 1, "k must be at least 1")
        condition = None if filter is None else Filter.parse(filter)
        with self.lock:
            held = list(self.inside(namespace).values())
        if not held:
            return []
        near = self.encoder.encode([p.content for p in held]) @ self.encoder.encode([query])[0]
        worded = by_words(query, [p.content for p in held])
        scores = {"dense": near, "sparse": worded, "hybrid": standard(near) + standard(worded)}
        found = [
            Hit(p, score)
            for p, score in zip(held, scores[mode].round(6).tolist(), strict=True)
            if mode != "sparse" or score > 0
        ]
        if condition:
            kept = condition.passages_mask([hit.passage for hit in found])
            found = [hit for hit, holds in zip(found, kept, strict=True) if holds]
        return sorted(found, key=lambda hit: (-hit.score, hit.passage.content))[:k]


def refuse(wrong: bool, why: str) -> None:
    if wrong:
        raise InputError(why)


def by_words(query: str, contents: list[str]) -> np.ndarray:
    counts = [Counter(re.findall(r"\w+", content.lower())) for content in contents]
    scores = np.zeros(len(contents))
    for word in sorted(set(re.findall(r"\w+", query.lower()))):
        holding = sum(word in count for count in counts)
        weight = math.log(1 + len(contents) / max(1, holding))
        scores += [weight * count[word] / (1 + count[word]) for count in counts]
    return scores


def standard(scores: np.ndarray) -> np.ndarray:
    return (scores - scores.mean()) / (scores.std() or 1.0)


class InMemory(StoreConformance):
    durable = shared = timed = False

    def open(self, path, clock) -> DictStore:
        return DictStore(HashEncoder(), clock)


class TestElsewhere(InMemory):
    """As somebody else's tests would inherit it."""


class TakesThePast(DictStore):
    def checked(self, passages, ttl):
        return super().checked(passages, None if ttl == 0 else ttl)


def test_what_was_not_refused_is_named() -> None:
    class Suite(InMemory):
        def open(self, path, clock) -> DictStore:
            return TakesThePast(HashEncoder(), clock)

    assert failures(Suite()) == {
        "test_what_cannot_be_stored_is_refused": (
            "adding with ttl=0: expected InputError, and it was done"
        )
    }
