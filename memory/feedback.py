"""Feedback: recalls that somebody judged, kept beside the passages that they returned.

A recall is written when it is first judged, and not before: reading costs no write. Its rows name
passages by rowid and go with them, in the same transaction: a passage that is deleted or written
over takes along that it was returned, what was said of it, and every trail that read it. A recall
of which nothing that it returned is left goes as a whole, with its question.

The tables are those of `hoptrail.memory.storage.feedback_tables`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from hoptrail.errors import InputError
from hoptrail.memory.storage import checksums, damaged, records, schema
from hoptrail.memory.storage.feedback_tables import CHECKED, MIGRATIONS, OWNER, seal_feedback
from hoptrail.memory.storage.namespaces import (
    Scope,
    ScopeLike,
    decode_namespace,
    encode_namespace,
)
from hoptrail.memory.storage.validity import NOW
from hoptrail.memory.store import Store
from hoptrail.types import FilterDict, Namespace
from hoptrail.values.numbers import finite, shown

if TYPE_CHECKING:
    from sqlite3 import Connection


@dataclass(frozen=True, slots=True)
class LoggedTrail:
    """A trail that a recall decided on, by the rowids of its passages."""

    place: int
    """0 for the trail that the recall took first; others move up for none that is gone."""
    passages: tuple[int, ...]
    stopped: bool
    """Whether the policy ended it; otherwise the bounds did."""
    log_prob: float
    """Under the policy that walked."""
    log_inclusion: float | None = None
    """Log-probability that the recall held it; None if nothing was drawn."""


@dataclass(frozen=True, slots=True)
class LoggedRecall:
    """What a recall was asked, returned and decided."""

    id: str
    question: str
    namespace: Namespace
    """The scope that was asked."""
    filter: FilterDict | None
    effort: str
    explore: int | None
    """The seed of a recall that drew its trails."""
    policy: str
    """Fingerprint of the policy that walked."""
    version: int
    """Of the store."""
    asked_at: float
    """Seconds since 1970."""
    returned: tuple[int, ...]
    """Rowids, best first."""
    trails: tuple[LoggedTrail, ...]


@dataclass(frozen=True, slots=True)
class Feedback:
    """A recall and what was said of it."""

    recall: LoggedRecall
    reward: float | None
    """Of the recall as a whole, in [0, 1]; None if only passages were judged."""
    passages: Mapping[int, float]
    """Rewards in [0, 1] by rowid, of those that were judged one by one."""


class FeedbackLog:
    """The feedback in a store's file.

    Args:
        store: The memory's; its tables are made at the first feedback.
    """

    def __init__(self, store: Store) -> None:
        self.store = store

    def __repr__(self) -> str:
        return f"<FeedbackLog of {self.store.name}: {self.count()} recalls>"

    def record(
        self, recall: LoggedRecall, reward: float, passages: tuple[int, ...] | None = None
    ) -> bool:
        """Write what was said of a recall, over what was said before; whether there was anything.

        Nothing is written where all that the recall returned is gone.

        Args:
            recall: What is judged.
            reward: In [0, 1].
            passages: Rowids out of those returned that the reward is for; the whole recall if None.

        Raises:
            InputError: The reward is no number in [0, 1].
            StoreError: The store is read-only.
        """
        check_reward(reward)
        self.store.migrate(OWNER, MIGRATIONS)
        with self.store.transaction() as connection:
            number = _number(connection, recall.id)
            if number is None:
                number = _insert(connection, recall, self.store.clock())
            if number is None:
                return False
            now = self.store.clock()
            connection.execute(
                "UPDATE feedback_recalls SET rewarded_at = ? WHERE number = ?", (now, number)
            )
            if passages is None:
                connection.execute(
                    "UPDATE feedback_recalls SET reward = ? WHERE number = ?",
                    (float(reward), number),
                )
            else:
                connection.executemany(
                    "UPDATE feedback_returned SET reward = ? WHERE recall = ? AND passage = ?",
                    [(float(reward), number, rowid) for rowid in passages],
                )
            seal_feedback(connection, number)
        return True

    def find(self, id: str) -> LoggedRecall | None:
        """The recall of that id, if it was judged before.

        Args:
            id: A recall's.
        """
        with self.store.reading() as connection:
            if not _has_tables(connection):
                return None
            number = _number(connection, id)
            return None if number is None else _read(connection, number).recall

    def entries(self, namespace: ScopeLike = ()) -> list[Feedback]:
        """All feedback on recalls that asked a namespace which begins with this one, as it came.

        A recall of a wider scope is not among them: it may name what lies outside. What was said of
        passages that are not valid now is left out, as that of those that are gone.

        Args:
            namespace: The scope: every namespace that begins with it.
        """
        bounds = Scope.parse(namespace).bounds
        with self.store.reading() as connection:
            if not _has_tables(connection):
                return []
            numbers = connection.execute(
                "SELECT number FROM feedback_recalls WHERE namespace >= ? AND namespace < ? "
                "ORDER BY asked_at, id",
                bounds,
            ).fetchall()
            entries = [_read(connection, row[0]) for row in numbers]
            if not records.says_validity(connection):
                return entries
            visible = (_visible(connection, one, self.store.clock()) for one in entries)
            return [one for one in visible if one.recall.returned]

    def count(self, namespace: ScopeLike = ()) -> int:
        """How many recalls of a scope were judged.

        Args:
            namespace: The scope: every namespace that begins with it.
        """
        bounds = Scope.parse(namespace).bounds
        with self.store.reading() as connection:
            if not _has_tables(connection):
                return 0
            row = connection.execute(
                "SELECT count(*) FROM feedback_recalls WHERE namespace >= ? AND namespace < ?",
                bounds,
            ).fetchone()
            return int(row[0])

    def forget(self, namespace: ScopeLike = ()) -> int:
        """Delete the feedback on recalls of a scope; of how many. A purge erases its bytes.

        Args:
            namespace: The scope: every namespace that begins with it.
        """
        bounds = Scope.parse(namespace).bounds
        with self.store.transaction() as connection:
            if not _has_tables(connection):
                return 0
            return connection.execute(
                "DELETE FROM feedback_recalls WHERE namespace >= ? AND namespace < ?", bounds
            ).rowcount


def check_reward(reward: float) -> None:
    """Nothing, if it is a reward.

    Args:
        reward: As a caller gave it.

    Raises:
        InputError: It is no number in [0, 1].
    """
    value = finite(reward)
    if value is None:
        raise InputError(f"a reward must be a number in [0, 1], got {shown(reward)}")
    if not 0 <= value <= 1:
        raise InputError(f"a reward must lie in [0, 1], got {shown(reward)}")


def damaged_recalls(connection: Connection) -> dict[int, str]:
    """The recalls one of whose rows is not as it was written: the table of the row, by number.

    Args:
        connection: The store's.
    """
    if schema.applied(connection, OWNER) < len(MIGRATIONS):  # in a file that may not be written
        return {}
    return {
        recall: table
        for table, (key, columns, recall_of) in CHECKED.items()
        for recall, checksum, *values in connection.execute(
            f"SELECT {recall_of}, checksum, {key}, {columns} FROM {table}"
        )
        if checksums.of_row(values) != checksum and recall is not None
    }


def remove_damaged(connection: Connection) -> int:
    """Delete the recalls one of whose rows is not as it was written; how many.

    Args:
        connection: The store's, in a write transaction.
    """
    numbers = damaged_recalls(connection)
    for number in numbers:  # none where there are no such tables
        connection.execute("DELETE FROM feedback_recalls WHERE number = ?", (number,))
    return len(numbers)


def _has_tables(connection: Connection) -> bool:
    return schema.applied(connection, OWNER) > 0


def _number(connection: Connection, id: str) -> int | None:
    row = connection.execute("SELECT number FROM feedback_recalls WHERE id = ?", (id,)).fetchone()
    return None if row is None else int(row[0])


def _insert(connection: Connection, recall: LoggedRecall, now: float) -> int | None:
    """Write a recall without what is gone of it; its number, None if nothing is left."""
    named = {*recall.returned, *(rowid for trail in recall.trails for rowid in trail.passages)}
    alive = alive_since(connection, sorted(named), recall.version)
    returned = [(place, rowid) for place, rowid in enumerate(recall.returned) if rowid in alive]
    if not returned:
        return None
    number = connection.execute(
        "INSERT INTO feedback_recalls (id, namespace, question, filter, effort, explore, policy, "
        "version, asked_at, rewarded_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            recall.id,
            encode_namespace(recall.namespace),
            recall.question,
            None if recall.filter is None else json.dumps(recall.filter),
            recall.effort,
            recall.explore,
            recall.policy,
            recall.version,
            recall.asked_at,
            now,
        ),
    ).lastrowid
    connection.executemany(
        "INSERT INTO feedback_returned (recall, position, passage) VALUES (?, ?, ?)",
        [(number, place, rowid) for place, rowid in returned],
    )
    for trail in recall.trails:
        if alive.issuperset(trail.passages):
            _insert_trail(connection, number, trail)
    return number


def _insert_trail(connection: Connection, recall: int | None, trail: LoggedTrail) -> None:
    number = connection.execute(
        "INSERT INTO feedback_trails (recall, place, stopped, log_prob, log_inclusion) "
        "VALUES (?, ?, ?, ?, ?)",
        (recall, trail.place, trail.stopped, trail.log_prob, trail.log_inclusion),
    ).lastrowid
    connection.executemany(
        "INSERT INTO feedback_hops (trail, step, passage) VALUES (?, ?, ?)",
        [(number, step, rowid) for step, rowid in enumerate(trail.passages)],
    )


def alive_since(connection: Connection, rowids: list[int], version: int) -> set[int]:
    """Those of these passages that are there, with the content that a recall saw.

    Args:
        connection: The store's.
        rowids: Of the passages.
        version: Of the view that the recall walked.
    """
    rowids_alive: set[int] = set()
    for part, marks in records.batches(rowids):
        rows = connection.execute(
            f"SELECT rowid FROM passages WHERE rowid IN ({marks}) AND version <= ?",
            (*part, version),
        )
        rowids_alive.update(row[0] for row in rows)
    return rowids_alive


def _visible(connection: Connection, feedback: Feedback, now: float) -> Feedback:
    """Feedback as far as it is about passages that are valid now."""
    recall = feedback.recall
    rowids = {*recall.returned, *(row for trail in recall.trails for row in trail.passages)}
    condition, values = NOW.condition(now)
    valid: set[int] = set()
    for part, marks in records.batches(sorted(rowids)):
        query = f"SELECT rowid FROM passages WHERE rowid IN ({marks}) AND {condition}"
        valid.update(row[0] for row in connection.execute(query, (*part, *values)))
    returned = tuple(row for row in recall.returned if row in valid)
    trails = tuple(trail for trail in recall.trails if valid.issuperset(trail.passages))
    passages = {row: reward for row, reward in feedback.passages.items() if row in valid}
    return replace(
        feedback, recall=replace(recall, returned=returned, trails=trails), passages=passages
    )


def _read(connection: Connection, number: int) -> Feedback:
    row = connection.execute(
        "SELECT id, namespace, question, filter, effort, explore, policy, version, asked_at, "
        "reward FROM feedback_recalls WHERE number = ?",
        (number,),
    ).fetchone()
    returned: list[tuple[int, float | None]] = connection.execute(
        "SELECT passage, reward FROM feedback_returned WHERE recall = ? ORDER BY position",
        (number,),
    ).fetchall()
    trails: dict[int, tuple[list[int], Any]] = {}
    for trail, passage, *rest in connection.execute(
        "SELECT t.number, h.passage, t.place, t.stopped, t.log_prob, t.log_inclusion "
        "FROM feedback_trails AS t LEFT JOIN feedback_hops AS h ON h.trail = t.number "
        "WHERE t.recall = ? ORDER BY t.number, h.step",
        (number,),
    ):
        passages, _ = trails.setdefault(trail, ([], rest))
        if passage is not None:  # a trail that stopped at once read nothing
            passages.append(passage)
    recall = LoggedRecall(
        id=row[0],
        question=row[2],
        namespace=decode_namespace(row[1]),
        filter=None if row[3] is None else damaged.metadata_or_none(row[3]),
        effort=row[4],
        explore=row[5],
        policy=row[6],
        version=row[7],
        asked_at=row[8],
        returned=tuple(rowid for rowid, _ in returned),
        trails=tuple(
            LoggedTrail(place, tuple(passages), bool(stopped), log_prob, log_inclusion)
            for passages, (place, stopped, log_prob, log_inclusion) in trails.values()
        ),
    )
    judged = {rowid: reward for rowid, reward in returned if reward is not None}
    return Feedback(recall, row[9], judged)
