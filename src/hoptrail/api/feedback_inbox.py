"""Feedback: what a recall decided is remembered, and what it was worth is written down."""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from hoptrail.api.inputs import parse_scope
from hoptrail.errors import InputError, UnknownId
from hoptrail.memory import forks
from hoptrail.types import Hit, Namespace, Passage
from hoptrail.values.numbers import shown

if TYPE_CHECKING:
    from hoptrail.memory.feedback import Feedback, FeedbackLog, LoggedRecall
    from hoptrail.memory.filters import Filter
    from hoptrail.memory.storage.namespaces import Scope
    from hoptrail.memory.store import Store
    from hoptrail.policies.result import RetrievalResult

RECALLS_KEPT = 1000
"""Recalls whose decisions stay in memory for feedback to come; the oldest goes first."""

Key = tuple[Namespace, str]


@dataclass(frozen=True, slots=True)
class RecallOptions:
    """How questions are asked."""

    scope: Scope
    effort: str
    filter: Filter | None
    explore: int | None


@dataclass(frozen=True, slots=True)
class RecallDecision:
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


class FeedbackSender:
    """Takes the feedback on one recall to the inbox of the memory that it came from.

    A recall may be copied and sent to another process; there it has no inbox, and its id is what
    the memory's own `feedback` takes.

    Args:
        inbox: The memory's; None in a copy.
        id: The recall's.
    """

    def __init__(self, inbox: FeedbackInbox | None, id: str) -> None:
        self._inbox, self._id = inbox, id

    def __reduce__(self) -> tuple[Any, ...]:
        return FeedbackSender, (None, self._id)

    def __call__(self, reward: float, passages: Sequence[str | Passage] | None) -> None:
        """As `Recall.feedback`."""
        if self._inbox is None:
            raise InputError(
                f"this recall is a copy without its memory: call memory.feedback({self._id!r}, "
                "reward)"
            )
        self._inbox.feedback(self._id, reward, passages=passages)


class FeedbackInbox:
    """Takes feedback on recalls, and writes it to the store with what they decided.

    Args:
        store: The memory's.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        # Only with the lock held.
        self._latest: OrderedDict[str, tuple[LoggedRecall, tuple[Key, ...]]] = OrderedDict()
        forks.register(self)

    def _forked(self, *, whole: bool) -> None:
        """Be a forked child's, where it is refused; see `hoptrail.memory.forks`."""
        self._lock = threading.Lock()

    def feedback(
        self,
        recall: str,
        reward: float,
        *,
        passages: Sequence[str | Passage] | None = None,
        namespace: Sequence[str] = (),
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
            namespace: Only a recall that asked a namespace which begins with this one is known.

        Raises:
            UnknownId: There is no such recall there, or it did not return such a passage.
            InputError: The reward is no number in [0, 1].
            StoreError: The store is read-only.
        """
        from hoptrail.memory.feedback import FeedbackLog, check_reward

        check_reward(reward)
        log = FeedbackLog(self._store)
        logged, keys = self._recalled(recall, log, parse_scope(namespace))
        rowids = None if passages is None else _rowids(logged, keys, passages)
        if logged.returned:
            log.record(logged, reward, rowids)

    def feedback_given(self, namespace: Sequence[str] = ()) -> list[Feedback]:
        """The feedback on recalls that asked a namespace which begins with this one.

        Args:
            namespace: The scope: every namespace that begins with it.

        Returns:
            One for each recall that was judged, in the order in which they were asked.

        Raises:
            InputError: It is no namespace.
        """
        from hoptrail.memory.feedback import FeedbackLog

        return FeedbackLog(self._store).entries(parse_scope(namespace))

    def forget_feedback(self, namespace: Sequence[str] = ()) -> int:
        """Delete the feedback on recalls that asked a namespace which begins with this one.

        `purge` erases their bytes.

        Args:
            namespace: The scope: every namespace that begins with it.

        Returns:
            How many recalls that was.

        Raises:
            InputError: It is no namespace.
            StoreError: The store is read-only.
        """
        from hoptrail.memory.feedback import FeedbackLog

        scope = parse_scope(namespace)
        with self._lock:
            for id, (logged, _) in list(self._latest.items()):
                if scope.includes(logged.namespace):
                    del self._latest[id]
        return FeedbackLog(self._store).forget(scope)

    def remember(
        self, question: str, options: RecallOptions, decision: RecallDecision | None = None
    ) -> tuple[str, FeedbackSender]:
        """Remember what a recall decided, for feedback to come.

        Args:
            question: Its own.
            options: How it was asked.
            decision: What it decided; None where there was nothing to walk.

        Returns:
            The recall's id, and what takes feedback on it.
        """
        from hoptrail.memory.feedback import LoggedRecall, LoggedTrail

        logged = LoggedRecall(
            id=secrets.token_hex(8),
            question=question,
            namespace=options.scope.namespace,
            filter=None if options.filter is None else options.filter.json,
            effort=options.effort,
            explore=options.explore,
            policy="",
            version=0,
            asked_at=time.time(),
            returned=(),
            trails=(),
        )
        if decision is not None:
            logged = replace(
                logged,
                policy=decision.policy,
                version=decision.version,
                returned=decision.rowids,
                trails=tuple(
                    LoggedTrail(place, rowids, trail.stopped, trail.log_prob, trail.log_inclusion)
                    for place, (rowids, trail) in enumerate(
                        zip(decision.trails, decision.result.decided, strict=True)
                    )
                ),
            )
        hits = decision.hits if decision else ()
        keys = tuple((hit.passage.namespace, hit.passage.id) for hit in hits)
        with self._lock:
            self._latest[logged.id] = logged, keys
            while len(self._latest) > RECALLS_KEPT:
                self._latest.popitem(last=False)
        return logged.id, FeedbackSender(self, logged.id)

    def _recalled(
        self, id: str, log: FeedbackLog, scope: Scope
    ) -> tuple[LoggedRecall, tuple[Key, ...]]:
        """A recall of a scope by its id, with the keys of what it returned."""
        with self._lock:
            remembered = self._latest.get(id) if isinstance(id, str) else None
        if remembered is not None and scope.includes(remembered[0].namespace):
            return remembered
        logged = log.find(id) if isinstance(id, str) and remembered is None else None
        if logged is None or not scope.includes(logged.namespace):
            raise UnknownId(
                f"no recall {id!r} is known: feedback is taken on the latest {RECALLS_KEPT} "
                "recalls of this memory, and on those judged before"
            )
        passages = self._store.read_rows(logged.returned)
        return logged, tuple((passages[row].namespace, passages[row].id) for row in logged.returned)


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
    rowids: list[int] = []
    for passage in passages:
        if not isinstance(passage, str | Passage):
            raise InputError(f"expected ids or passages, got {shown(passage)}")
        rows = [
            rowid
            for rowid, (namespace, id) in zip(logged.returned, keys, strict=True)
            if (
                (namespace, id) == (passage.namespace, passage.id)
                if isinstance(passage, Passage)
                else id == passage
            )
        ]
        name = passage.id if isinstance(passage, Passage) else passage
        if not rows:
            raise UnknownId(f"the recall {logged.id!r} returned no passage {name!r}")
        if len(rows) > 1:
            raise InputError(
                f"the recall returned several passages {name!r} of different namespaces: "
                "give the Passage instead of its id"
            )
        rowids += rows
    return tuple(rowids)
