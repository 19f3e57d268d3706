"""A change of the encoder of a store that is one file: what `Reencoding` does to its tables."""

from __future__ import annotations

import logging
import random
import sqlite3
from collections.abc import Callable, Sequence

from hoptrail.errors import StoreError
from hoptrail.memory.encoders.transformer import Vectors
from hoptrail.memory.storage import next_vectors, store_info
from hoptrail.memory.storage.database import Database
from hoptrail.memory.storage.next_vectors import ReencodingProgress, UnencodedPassage

logger = logging.getLogger(__name__)


class FileChange:
    """The next vectors of a file, each step in a transaction of its own.

    Args:
        database: The file's.
        described: The next encoder, as described; "" to look at a change or to drop it.
    """

    seconds_between_counts = 1.0
    """How often what is left is counted; in between it is reckoned from what was done."""

    def __init__(self, database: Database, described: str) -> None:
        self._db, self._described = database, described
        self._after = 0  # the rowid to go on from

    def begin(self) -> ReencodingProgress | None:
        """Begin the change, or find it begun; None where the store has the encoder already.

        Raises:
            StoreError: The change to another one has begun.
        """
        # Checked one by one, a million numbers of passages that are there would take minutes.
        with self._db.writing(checked=False) as connection:
            here = next_vectors.reencoding_progress(connection) is None
            if here and store_info.get(connection, "encoder") == self._described:
                return None
            next_vectors.begin_change(connection, self._described, self._db.name)
            progress = next_vectors.reencoding_progress(connection)
            last = next_vectors.last(connection)
        if here:
            logger.info("%s changes its encoder to %s", self._db.name, self._described)
        # From anywhere, so that several processes do not take the same passages.
        self._after = random.randrange(last + 1)
        return progress

    def take(self, count: int) -> list[UnencodedPassage]:
        """Up to so many passages without a next vector, going round; none where all have one.

        Raises:
            StoreError: The change was dropped.
        """
        with self._db.reading() as connection:
            ours = self._ours(connection)
            batch = next_vectors.next_batch(connection, count, self._after) if ours else []
        if batch:
            self._after = batch[-1].rowid
        return batch

    def put(self, batch: Sequence[UnencodedPassage], vectors: Sequence[Vectors]) -> int:
        """Keep the next vectors of those that nobody has written since; how many.

        Raises:
            StoreError: The change was dropped.
        """
        with self._db.writing() as connection:
            if not self._ours(connection):
                return 0  # another process has just switched
            return next_vectors.put_vectors(connection, batch, vectors)

    def progress(self) -> ReencodingProgress | None:
        """How far the change is that the store is in; None if it is in none."""
        with self._db.reading() as connection:
            return next_vectors.reencoding_progress(connection)

    def passages(self) -> int:
        """How many passages the store holds."""
        with self._db.reading() as connection:
            return next_vectors.passages(connection)

    def check(self) -> None:
        """Have encoded again what is not whole, however that came about."""
        with self._db.reading() as connection:  # it looks at all vectors: no writer waits for that
            wrong = next_vectors.wrong(connection)
        if wrong:
            logger.warning("%d vectors of %s are encoded again", len(wrong), self._db.name)
            with self._db.writing() as connection:
                if self._ours(connection):
                    next_vectors.again(connection, wrong)

    def switch(
        self, most: int, encode: Callable[[Sequence[UnencodedPassage]], list[Vectors]]
    ) -> int:
        """Have the next vectors be in use; how many were made for it, or -1 if too many are left.

        Args:
            most: Passages that may be encoded while other writers wait.
            encode: Makes their vectors.

        Raises:
            StoreError: The change was dropped.
        """
        with self._db.writing() as connection:
            if not self._ours(connection):
                return 0
            batch = next_vectors.next_batch(connection, most + 1)
            if len(batch) > most:
                return -1
            if batch:
                next_vectors.put_vectors(connection, batch, encode(batch))
            next_vectors.switch(connection)
        logger.info("%s has the encoder %s now", self._db.name, self._described)
        return len(batch)

    def drop(self) -> ReencodingProgress | None:
        """Give the change up; which one that was.

        Raises:
            StoreError: The store is read-only.
        """
        with self._db.writing() as connection:
            return next_vectors.drop_change(connection)

    def clear(self, count: int) -> bool:
        """Delete vectors that are of no use any more, so many at most; whether none is left."""
        with self._db.writing() as connection:
            return next_vectors.clear(connection, count)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _ours(self, connection: sqlite3.Connection) -> bool:
        """Whether the change is still under way; False if another process has ended it well.

        Raises:
            StoreError: It was dropped.
        """
        if store_info.get(connection, store_info.NEXT) == self._described:
            return True
        if store_info.get(connection, "encoder") == self._described:
            return False
        raise StoreError(f"the change of {self._db.name} to encoder {self._described} was dropped")
