"""What a memory does with judgements of its recalls: takes them, keeps them, forgets them."""

from __future__ import annotations

import secrets
import threading
import time
from abc import ABC
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from hoptrail.api.inputs import checked_namespace
from hoptrail.errors import InputError, UnknownId
from hoptrail.types import Hit, Namespace, Passage
from hoptrail.values.numbers import shown

if TYPE_CHECKING:
    from hoptrail.memory.feedback import Feedback, FeedbackLog, LoggedRecall
    from hoptrail.memory.filters import Filter
    from hoptrail.memory.storage.namespaces import Scope
    from hoptrail.memory.store import Store
    from hoptrail.memory.views.view import View
    from hoptrail.policies.result import RetrievalResult

RECALLS_KEPT = 1000
"""Recalls whose decisions stay in memory for feedback to come; the oldest goes first."""

Key = tuple[Namespace, str]


@dataclass(frozen=True, slots=True)
class Asked:
    """How questions were asked."""

    scope: Scope
    effort: str
    filter: Filter | None
    explore: int | None


@dataclass(frozen=True, slots=True)
class Decision:
    """A walk, what it returned, where it took place, and whose it was."""

    result: RetrievalResult
    hits: tuple[Hit, ...]
    rowids: tuple[int, ...]
    """The store's, of the hits."""
    trails: tuple[tuple[int, ...], ...]
    """The store's rowids of the passages on each trail that was decided on."""
    version: int
    """Of the view."""
    policy: str
    """The policy's fingerprint."""


class Judge:
    """Takes the feedback on one recall to the memory that it came from.

    A recall may be copied and sent to another process; there it has no memory, and its id is what
    the memory's own `feedback` takes.
    """

    def __init__(self, memory: Judging | None, id: str) -> None:
        self._memory, self._id = memory, id

    def __reduce__(self) -> tuple[Any, ...]:
        return Judge, (None, self._id)

    def __call__(self, reward: float, passages: Sequence[str | Passage] | None) -> None:
        """As `Recall.feedback`."""
        if self._memory is None:
            raise InputError(
                f"this recall is a copy without its memory: call memory.feedback({self._id!r}, "
                "reward)"
            )
        self._memory.feedback(self._id, reward, passages=passages)


class Judging(ABC):
    """The part of `Memory` that takes feedback."""

    _store: Store

    def __init__(self) -> None:
        self._asked_lately: OrderedDict[str, tuple[LoggedRecall, tuple[Key, ...]]] = OrderedDict()
        self._judging = threading.Lock()  # held while the above is used

    def feedback(
        self,
        recall: str,
        reward: float,
        *,
        passages: Sequence[str | Passage] | None = None,
    ) -> None:
        """Keep what a recall was worth, with what it decided; `hoptrail train` learns from it.

        It is written to the store at once and takes the place of what was said before of the same.
        Of a recall that returned nothing there is nothing to keep, nor of one all of whose
        passages were deleted or written over since.

        Args:
            recall: The recall's id: one of the latest 1,000 of this memory, or one judged before.
            reward: From 0 (of no use) to 1.
            passages: Ids of returned passages that it is for, or the passages themselves where
                namespaces share an id; the recall as a whole if None.

        Raises:
            UnknownId: There is no such recall, or it did not return such a passage.
            InputError: The reward is no number in [0, 1].
            StoreError: The store is read-only.
        """
        from hoptrail.memory.feedback import FeedbackLog, check_reward

        check_reward(reward)
        log = FeedbackLog(self._store)
        logged, keys = self._recalled(recall, log)
        rowids = None if passages is None else _rowids(logged, keys, passages)
        if logged.returned:
            log.record(logged, reward, rowids)

    def feedback_given(self, namespace: Sequence[str] = ()) -> list[Feedback]:
        """The feedback on recalls that asked a namespace which begins with this one.

        Args:
            namespace: The scope: every namespace that begins with it.
        """
        from hoptrail.memory.feedback import FeedbackLog

        return FeedbackLog(self._store).entries(checked_namespace(namespace))

    def forget_feedback(self, namespace: Sequence[str] = ()) -> int:
        """Delete the feedback on recalls that asked a namespace which begins with this one.

        How many recalls that was. `purge` erases their bytes.

        Args:
            namespace: The scope: every namespace that begins with it.

        Raises:
            StoreError: The store is read-only.
        """
        from hoptrail.memory.feedback import FeedbackLog

        scope = checked_namespace(namespace)
        with self._judging:
            for id, (logged, _) in list(self._asked_lately.items()):
                if scope.includes(logged.namespace):
                    del self._asked_lately[id]
        return FeedbackLog(self._store).forget(scope)

    def _keep(self, question: str, asked: Asked, made: Decision | None = None) -> tuple[str, Judge]:
        """Remember what a recall decided, if anything; its id, and what takes feedback on it."""
        from hoptrail.memory.feedback import LoggedRecall, LoggedTrail

        logged = LoggedRecall(
            id=secrets.token_hex(8),
            question=question,
            namespace=asked.scope.namespace,
            filter=None if asked.filter is None else asked.filter.json,
            effort=asked.effort,
            explore=asked.explore,
            policy="",
            version=0,
            asked_at=time.time(),
            returned=(),
            trails=(),
        )
        if made is not None:
            logged = replace(
                logged,
                policy=made.policy,
                version=made.version,
                returned=made.rowids,
                trails=tuple(
                    LoggedTrail(place, rowids, trail.stopped, trail.log_prob, trail.log_inclusion)
                    for place, (rowids, trail) in enumerate(
                        zip(made.trails, made.result.decided, strict=True)
                    )
                ),
            )
        hits = made.hits if made else ()
        keys = tuple((hit.passage.namespace, hit.passage.id) for hit in hits)
        with self._judging:
            self._asked_lately[logged.id] = logged, keys
            while len(self._asked_lately) > RECALLS_KEPT:
                self._asked_lately.popitem(last=False)
        return logged.id, Judge(self, logged.id)

    def _recalled(self, id: str, log: FeedbackLog) -> tuple[LoggedRecall, tuple[Key, ...]]:
        """A recall by its id, with the keys of what it returned."""
        with self._judging:
            found = self._asked_lately.get(id) if isinstance(id, str) else None
        if found is not None:
            return found
        logged = log.find(id) if isinstance(id, str) else None
        if logged is None:
            raise UnknownId(
                f"no recall {id!r} is known: feedback is taken on the latest {RECALLS_KEPT} "
                "recalls of this memory, and on those judged before"
            )
        there = self._store.read_rows(logged.returned)
        return logged, tuple((there[row].namespace, there[row].id) for row in logged.returned)


def decision(
    result: RetrievalResult, view: View, k: int, filter: Filter | None, policy: str
) -> Decision:
    """What a walk over a pinned view returns: the k best that fulfil a filter."""
    import numpy as np

    from hoptrail.memory.passages.cleaning import apart

    slots = result.slots[:k]
    passages = view.passages(slots.tolist())
    fulfil = np.ones(len(slots), dtype=np.bool_)
    if filter is not None:
        fulfil = filter.passages_mask(passages)
    rows = zip(
        apart(passages), result.scores[:k].tolist(), slots.tolist(), fulfil.tolist(), strict=True
    )
    return Decision(
        result,
        tuple(
            Hit(p, score, result.sub_questions.get(slot)) for p, score, slot, right in rows if right
        ),
        tuple(view.rowids[slots[fulfil]].tolist()),
        tuple(tuple(int(view.rowids[s]) for s in trail.slots) for trail in result.decided),
        view.version,
        policy,
    )


def _rowids(
    logged: LoggedRecall, keys: Sequence[Key], passages: Sequence[str | Passage]
) -> tuple[int, ...]:
    """The rowids of returned passages.

    Raises:
        UnknownId: One was not returned.
        InputError: An id is that of several, or a bare string was given.
    """
    if isinstance(passages, str) or not isinstance(passages, Iterable):
        raise InputError(f"expected a list of passages, got {shown(passages)}")
    found = []
    for wanted in passages:
        if not isinstance(wanted, str | Passage):
            raise InputError(f"expected ids or passages, got {shown(wanted)}")
        rows = [
            rowid
            for rowid, (namespace, id) in zip(logged.returned, keys, strict=True)
            if (
                (namespace, id) == (wanted.namespace, wanted.id)
                if isinstance(wanted, Passage)
                else id == wanted
            )
        ]
        name = wanted.id if isinstance(wanted, Passage) else wanted
        if not rows:
            raise UnknownId(f"the recall {logged.id!r} returned no passage {name!r}")
        if len(rows) > 1:
            raise InputError(
                f"the recall returned several passages {name!r} of different namespaces: "
                "give the Passage instead of its id"
            )
        found += rows
    return tuple(found)
