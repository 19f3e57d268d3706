"""The journal of a memory: its log of recalls, with what was said of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hoptrail.api.inputs import parse_scope
from hoptrail.memory.feedback import FeedbackLog
from hoptrail.memory.maintenance.recall_log import LoggedQuestion, RecallLog
from hoptrail.types import Namespace, Recall
from hoptrail.values.numbers import whole

if TYPE_CHECKING:
    from hoptrail.api.feedback_inbox import RecallDecision, RecallOptions
    from hoptrail.memory.store import Store

LAST = 100_000
"""Recalls that are listed at most."""


@dataclass(frozen=True, slots=True)
class JournalHit:
    """A passage that a logged recall returned, and that is still as it was."""

    id: str
    namespace: Namespace
    title: str | None
    score: float
    reward: float | None
    """What was said of it by itself, in [0, 1]; None for nothing."""


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """A recall that was logged."""

    id: str
    """As `feedback` takes it."""
    question: str
    namespace: Namespace
    """The scope that was asked."""
    effort: str
    asked_at: float
    """Seconds since 1970."""
    milliseconds: float
    hits: tuple[JournalHit, ...]
    """Best first."""
    reward: float | None
    """What was said of the recall as a whole, in [0, 1]; None for nothing."""


class Journal:
    """Keeps a log of recalls, if it is told to.

    Args:
        store: The memory's.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._log = RecallLog(store)

    def keep_log(self, most: int) -> None:
        """Keep a log of so many recalls, the latest, from now on; 0 ends it and deletes it.

        It is a setting of the file: whoever opens it from now on logs. A recall that returned
        nothing is not logged, nor one while uses are not counted (`hoptrail explore`).

        Args:
            most: Recalls that are kept; the oldest go first.

        Raises:
            InputError: It is no whole number from 0 to 1,000,000.
            StoreError: The store is read-only.
        """
        self._log.keep(most)

    def recall_log(self, namespace: Sequence[str] = (), *, last: int = 100) -> list[JournalEntry]:
        """The latest recalls in the log, with what came back and what was said of it.

        What was deleted or written over since is not among what came back, and a recall of which
        nothing is left is gone.

        Args:
            namespace: The scope that was asked: every namespace that begins with it.
            last: Recalls at most.

        Returns:
            The recalls, the latest first.

        Raises:
            InputError: It is no namespace, or no such number.
        """
        scope = parse_scope(namespace)
        entries = self._log.entries(scope, last=whole(last, "last", least=1, most=LAST))
        rowids = dict.fromkeys(rowid for entry in entries for rowid, _ in entry.returned)
        passages = self._store.read_rows(list(rowids))
        judged = {one.recall.id: one for one in FeedbackLog(self._store).entries(scope)}
        journal = []
        for entry in entries:
            feedback = judged.get(entry.id)
            rewards = feedback.passages if feedback else {}
            hits = tuple(
                JournalHit(
                    passages[rowid].id,
                    passages[rowid].namespace,
                    passages[rowid].title,
                    score,
                    rewards.get(rowid),
                )
                for rowid, score in entry.returned
                if rowid in passages
            )
            journal.append(
                JournalEntry(
                    entry.id,
                    entry.question,
                    entry.namespace,
                    entry.effort,
                    entry.asked_at,
                    entry.milliseconds,
                    hits,
                    feedback.reward if feedback else None,
                )
            )
        return journal

    def forget_log(self, namespace: Sequence[str] = ()) -> int:
        """Delete the log of recalls that asked a namespace which begins with this one.

        `purge` erases their bytes.

        Args:
            namespace: The scope: every namespace that begins with it.

        Returns:
            How many recalls that was.

        Raises:
            InputError: It is no namespace.
            StoreError: The store is read-only.
        """
        return self._log.forget(parse_scope(namespace))

    def note(self, recall: Recall, options: RecallOptions, decision: RecallDecision) -> None:
        """Log a recall, if a log is kept.

        Args:
            recall: What is returned to the caller.
            options: How it was asked.
            decision: What it decided.
        """
        if self._store.recorder.is_paused:
            return
        scores = (hit.score for hit in recall.hits)
        self._log.note(
            LoggedQuestion(
                recall.id,
                recall.question,
                options.scope.namespace,
                options.effort,
                self._store.clock(),
                recall.cost.milliseconds,
                decision.version,
                tuple(zip(decision.rowids, scores, strict=True)),
            )
        )

    def close(self) -> None:
        """Write what waits to be written."""
        self._log.close()
