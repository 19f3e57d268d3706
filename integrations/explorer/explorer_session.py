"""What the explorer's page asks of a memory, as JSON values; no web in it.

Looking leaves no trace: nothing that is asked here counts as use of a passage.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from hoptrail.api.inputs import parse_scope
from hoptrail.api.memory import Memory
from hoptrail.errors import InputError, StoreError
from hoptrail.formats.json_views import link_data, metadata_data, recall_data
from hoptrail.integrations.explorer import requests as ask
from hoptrail.memory.maintenance.traces import (
    PassageTraces,
    restore_counts,
    restore_judgements,
    traces_of,
)
from hoptrail.outputs.pages.reasons import reason_lines
from hoptrail.outputs.pages.recall_page import STOPS, link_phrase, source_phrase
from hoptrail.policies.environment.efforts import EFFORTS
from hoptrail.types import Passage, Recall

UNDOABLE = 100
"""Changes that can be taken back, the latest first."""
SHOWN = 40
"""Passages of a graph that is drawn, at most."""
DEPTH = 100
"""Passages that a walk is asked for, so that whatever its trails read has its title and text."""
NAMESPACES = 500
"""Namespaces that the page offers, at most."""


@dataclass(frozen=True, slots=True)
class UndoableChange:
    """A change that was made here, and how it is taken back."""

    sentence: str
    undo: Callable[[], object]
    left: Passage | None = None
    """The passage as the change left it; None where it is gone."""


class ExplorerSession:
    """Answers what the explorer's page asks.

    Args:
        memory: What is explored.
        policies: Further memories over the same file by the name of their policy, to compare with.
        namespace: The scope that the page may see: every namespace that begins with it.
        read_only: Offer nothing that writes.

    Raises:
        InputError: It is no namespace.
    """

    def __init__(
        self,
        memory: Memory,
        *,
        policies: Mapping[str, Memory] | None = None,
        namespace: Sequence[str] = (),
        read_only: bool = False,
    ) -> None:
        self._memory = memory
        self._policies = {"": memory, **(policies or {})}
        self._scope = parse_scope(namespace)
        self.read_only = read_only or memory.store.read_only
        self._lock = threading.Lock()  # held while something is changed or undone
        self._changes: deque[UndoableChange] = deque(maxlen=UNDOABLE)

    def overview(self, _: ask.OverviewRequest) -> dict[str, Any]:
        """What there is: passages, namespaces, efforts, policies, and whether it may be changed."""
        scope = self._scope
        spaces = [space for space in self._memory.store.namespaces() if scope.includes(space)]
        return {
            "name": Path(self._memory.store.name).name,
            "passages": self._memory.count(scope.namespace),
            "namespace": list(scope.namespace),
            "namespaces": [list(space) for space in spaces[:NAMESPACES]],
            "efforts": list(EFFORTS),
            "policies": list(self._policies),
            "read_only": self.read_only,
            "undo": self._undo_sentence(),
        }

    def recall(self, request: ask.AskRequest) -> dict[str, Any]:
        """A recall with its trails, and the graph of what they read and what came back."""
        place = self._inside(request.namespace)
        memory = self._policies.get(request.policy or "")
        if memory is None:
            names = ", ".join(map(repr, self._policies))
            raise InputError(f"there is no policy {request.policy!r}: use one of {names}")
        with memory.store.recorder.paused():
            recall = memory.recall(request.question, max(request.k, DEPTH), place, request.effort)
        data = recall_data(recall)
        passages = {(p.namespace, p.id): p for p in recall.passages}
        data["hits"] = data.pop("passages")[: request.k]
        for record, hit in zip(data["hits"], recall.hits, strict=False):
            record["how"] = source_phrase(hit, recall.trails)
            record["why"] = reason_lines(hit)
        data["trails"] = [
            {**trail, "reason": STOPS.get(trail["stop_reason"], trail["stop_reason"])}
            for trail in data["trails"]
        ]
        for trail in data["trails"]:
            for step, hop in enumerate(trail["hops"]):
                passage = passages.get((tuple(hop["namespace"]), hop["id"]))
                hop["title"] = passage.title if passage else None
                hop["text"] = passage.text if passage else ""
                hop["how"] = link_phrase(hop["link"], first=step == 0)
        data["graph"] = self._graph(_walked(recall, request.k), place, SHOWN)
        return data

    def browse(self, request: ask.BrowseRequest) -> dict[str, Any]:
        """A page of the passages by namespace and id, or those that some words find."""
        place = self._inside(request.namespace)
        if request.words.strip():
            with self._memory.store.recorder.paused():
                hits = self._memory.search(request.words, request.limit, place, mode="sparse")
            return {"passages": [_line(hit.passage) for hit in hits], "after": None}
        after = request.after and (tuple(request.after[0]), request.after[1])
        rows = self._memory.store.passages(place, after=after)
        page = list(islice(rows, request.limit + 1))
        more = page[request.limit - 1] if len(page) > request.limit else None
        return {
            "passages": [_line(passage) for passage in page[: request.limit]],
            "after": more and [list(more.namespace), more.id],
        }

    def passage(self, request: ask.PassageRequest) -> dict[str, Any]:
        """A passage with its text, links and history."""
        place = self._inside(request.namespace)
        passage = self._memory.get(request.id, place)
        history = self._memory.history(request.id, place)
        counts = history.counts
        return {
            **_line(passage),
            "text": passage.text,
            "metadata": metadata_data(passage),
            "links": [link_data(link) for link in passage.links],
            "written_at": passage.written_at,
            "expires_at": passage.expires_at,
            "document": passage.document,
            "source": history.source,
            "recalls": counts.recalls,
            "updates": counts.updates,
        }

    def neighbourhood(self, request: ask.NeighbourhoodRequest) -> dict[str, Any]:
        """The graph around a passage, or the best joined part of it."""
        place = self._inside(request.namespace)
        around = [] if request.id is None else [self._memory.get(request.id, place)]
        return self._graph(around, place if not around else self._scope.namespace, request.most)

    def add(self, request: ask.AddRequest) -> dict[str, Any]:
        """Write a passage."""
        place = self._inside(request.namespace)
        record = {"text": request.text, "title": request.title}
        if request.id is not None:
            record["id"] = request.id
        with self._changing():
            [id] = self._memory.add(record, namespace=place)
            left = self._memory.get(id, place)
            self._keep(f"added {id}", lambda: self._memory.delete(id, place), left)
        return self.passage(ask.PassageRequest(id=id, namespace=list(place)))

    def update(self, request: ask.EditRequest) -> dict[str, Any]:
        """Change a passage's text, title or metadata; what is not given stays."""
        place = self._inside(request.namespace)
        new = request.model_dump(include={"text", "title", "metadata"}, exclude_unset=True)
        store = self._memory.store
        with self._changing():
            before = self._memory.get(request.id, place)
            with store.transaction():  # nothing is said of it in between
                traces = traces_of(store, request.id, place)
                self._memory.update(request.id, namespace=place, **new)
            left = self._memory.get(request.id, place)
            self._keep(f"changed {request.id}", lambda: self._change_back(before, traces), left)
        return self.passage(ask.PassageRequest(id=request.id, namespace=list(place)))

    def link(self, request: ask.LinkRequest) -> dict[str, Any]:
        """Join a passage to another that is there."""
        place = self._inside(request.namespace)
        with self._changing():
            self._memory.get(request.target, place)  # the page offers no link to nowhere
            before = self._memory.get(request.id, place)
            self._memory.link(request.id, request.target, request.kind, namespace=place)
            self._keep_links(f"linked {request.id} to {request.target}", before)
        return self.passage(ask.PassageRequest(id=request.id, namespace=list(place)))

    def unlink(self, request: ask.LinkRequest) -> dict[str, Any]:
        """Take a passage's link to another away."""
        place = self._inside(request.namespace)
        with self._changing():
            before = self._memory.get(request.id, place)
            self._memory.unlink(request.id, request.target, request.kind, namespace=place)
            self._keep_links(f"unlinked {request.id} from {request.target}", before)
        return self.passage(ask.PassageRequest(id=request.id, namespace=list(place)))

    def forget(self, request: ask.PassageRequest) -> dict[str, Any]:
        """Delete a passage."""
        place = self._inside(request.namespace)
        store = self._memory.store
        with self._changing():
            self._memory.get(request.id, place)
            store.recorder.flush()  # what was counted and waits to be written goes with it too
            with store.transaction():  # nothing is said of it in between
                traces = traces_of(store, request.id, place)
                self._memory.delete(request.id, place)
            self._keep(f"forgot {request.id}", lambda: self._bring_back(traces))
        return {"undo": self._undo_sentence()}

    def undo(self, _: ask.UndoRequest) -> dict[str, Any]:
        """Take the last change back that was made here."""
        with self._changing():
            if not self._changes:
                raise InputError("there is nothing to take back")
            change = self._changes[-1]
            self._check_left(change)
            change.undo()  # one that fails can be tried again
            self._changes.pop()
        return {"undone": change.sentence, "undo": self._undo_sentence()}

    def _inside(self, namespace: Sequence[str]) -> tuple[str, ...]:
        """A namespace that the page names; the whole scope where it names none.

        Raises:
            InputError: It is none, or lies outside of what may be seen.
        """
        place = parse_scope(namespace).namespace or self._scope.namespace
        if not self._scope.includes(place):
            raise InputError(f"the namespace {list(place)!r} lies outside of what is explored")
        return place

    def _changing(self) -> threading.Lock:
        """The lock of whoever changes something.

        Raises:
            StoreError: Nothing may be changed.
        """
        if self.read_only:
            raise StoreError("this memory is explored read-only: nothing can be changed")
        return self._lock

    def _keep(self, sentence: str, undo: Callable[[], object], left: Passage | None = None) -> None:
        self._changes.append(UndoableChange(sentence, undo, left))

    def _check_left(self, change: UndoableChange) -> None:
        """Refuse for good to take back a change on which another one has built.

        Raises:
            InputError: The passage is not as the change left it.
        """
        left = change.left
        if left is None:
            return
        place = left.namespace
        there = self._memory.store.has(left.id, place)
        if not there or _unstamped(self._memory.get(left.id, place)) != _unstamped(left):
            self._changes.pop()
            raise InputError(
                f"{left.id} was changed by somebody else since it was {change.sentence.split()[0]} "
                "here: taking that back would take away what they did"
            )

    def _bring_back(self, traces: PassageTraces) -> None:
        """Write a forgotten passage again, with what it said before and what was said of it."""
        store = self._memory.store
        with store.transaction():
            self._memory.add(traces.passages)
            restore_counts(store, traces)
            restore_judgements(store, traces)

    def _change_back(self, before: Passage, traces: PassageTraces) -> None:
        """Give a passage what it said, and what was said of it."""
        store = self._memory.store
        with store.transaction():
            self._memory.update(
                before.id,
                text=before.text,
                title=before.title,
                metadata=before.metadata,
                namespace=before.namespace,
            )
            restore_judgements(store, traces)

    def _keep_links(self, sentence: str, before: Passage) -> None:
        place = before.namespace
        self._keep(
            sentence,
            lambda: self._memory.update(before.id, links=before.links, namespace=place),
            self._memory.get(before.id, place),
        )

    def _undo_sentence(self) -> str | None:
        """What would be taken back next."""
        return self._changes[-1].sentence if self._changes else None

    def _graph(self, around: Sequence[Passage], place: Sequence[str], most: int) -> dict[str, Any]:
        near = self._memory.neighbourhood(around, place, most=most)
        nodes = zip(near.passages, near.places, near.degrees, strict=True)
        return {
            "nodes": [
                {**_line(passage), "x": x, "y": y, "degree": degree}
                for passage, (x, y), degree in nodes
            ],
            "edges": [
                {"source": edge.source, "target": edge.target, "kind": edge.kind}
                for edge in near.edges
            ],
        }


def _unstamped(passage: Passage) -> Passage:
    """A passage, whenever it was written: one that was forgotten and came back is the same."""
    return replace(passage, written_at=0.0)


HEAD = 200
"""Characters of a text that a list shows."""


def _line(passage: Passage) -> dict[str, Any]:
    """A passage as a list shows it."""
    return {
        "id": passage.id,
        "namespace": list(passage.namespace),
        "title": passage.title,
        "head": passage.text[:HEAD],
    }


def _walked(recall: Recall, k: int) -> list[Passage]:
    """What the trails read and what came back, the likeliest trail first."""
    passages = {(p.namespace, p.id): p for p in recall.passages}
    keys: Iterable[tuple[tuple[str, ...], str]] = [
        *((hop.namespace, hop.id) for trail in recall.trails for hop in trail.hops),
        *((hit.passage.namespace, hit.passage.id) for hit in recall.hits[:k]),
    ]
    return [passages[key] for key in dict.fromkeys(keys) if key in passages]


OPERATIONS: dict[str, tuple[type[ask.ExplorerRequest], Callable[..., dict[str, Any]]]] = {
    "overview": (ask.OverviewRequest, ExplorerSession.overview),
    "recall": (ask.AskRequest, ExplorerSession.recall),
    "browse": (ask.BrowseRequest, ExplorerSession.browse),
    "passage": (ask.PassageRequest, ExplorerSession.passage),
    "neighbourhood": (ask.NeighbourhoodRequest, ExplorerSession.neighbourhood),
    "add": (ask.AddRequest, ExplorerSession.add),
    "update": (ask.EditRequest, ExplorerSession.update),
    "link": (ask.LinkRequest, ExplorerSession.link),
    "unlink": (ask.LinkRequest, ExplorerSession.unlink),
    "forget": (ask.PassageRequest, ExplorerSession.forget),
    "undo": (ask.UndoRequest, ExplorerSession.undo),
}
"""What the page may ask for, by name: the request, and what carries it out."""
