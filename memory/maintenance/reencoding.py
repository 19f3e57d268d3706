"""Changing the encoder of a store, while it is in use.

    change = Reencoding(store, encoder).start()   # in a thread; run() does it here
    change.done, change.total
    change.wait()

Every passage is encoded anew, batch by batch, and each batch is kept by a transaction of its own,
beside the vectors in use (see `pending`). Until all are there, every search answers as before, by
the old encoder on its own vectors; what is written, changed or deleted meanwhile, by whomever, is
seen to. Then one transaction lets the new vectors take the old ones' place. A run that was stopped
or killed is taken up again by the next one with the same encoder; several may share the work.

A view that holds the old vectors is done for from then on (`View.fits`), and so is an open store
that has the old encoder: it says so (`EncoderMismatch`), whatever process it is in.
"""

from __future__ import annotations

import atexit
import logging
import random
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from threading import Event, Thread, current_thread
from typing import TYPE_CHECKING, Self

from hoptrail.errors import ConfigError, StoreBusy, StoreError, StoreUnavailable
from hoptrail.memory.encoders.transformer import Encoder, Vectors
from hoptrail.memory.encoders.windows import encode_passages
from hoptrail.memory.storage import next_vectors, store_info
from hoptrail.memory.storage.database import Database
from hoptrail.memory.storage.next_vectors import ReencodingProgress, UnencodedPassage
from hoptrail.values.numbers import whole

if TYPE_CHECKING:
    from hoptrail.memory.store import Store

logger = logging.getLogger(__name__)

BATCH = 256
"""Passages in a transaction: what a killed run loses at most, and how soon one stops."""

LARGEST = 4096
"""To where batches grow of an encoder that has one done in less than `QUICK` seconds."""

QUICK = 0.5

LAST = 64
"""Passages that are encoded while other writers wait, where these leave no moment to switch in."""

CLEARED = 1024
"""Vectors of no use any more that are deleted in a transaction."""

PATIENCE = 3
"""Batches of all that is left, one after another, after which that is done."""

BUSY_SECONDS = 1.0
"""That it waits for other writers at a time: so long nobody in this process can search, where it is
the switch that waits."""

SECONDS = 1.0
"""Between two counts of what is left; in between it is reckoned from what was done."""

Switch = Callable[[], bool]


class Reencoding:
    """A change of a store's encoder: encodes every passage anew, then switches.

    Args:
        store: Not read-only, and not in a transaction.
        encoder: The next one.
        batch: Passages in a transaction; by default 256, and more of a quick encoder.
        progress: Called with (passages done, passages in all) after each batch.
        around: Calls the switch, which says whether it was done, and lets whoever else knows the
            store's encoder follow; by default only the store does.

    Raises:
        ConfigError: The batch is below 1.
        StoreError: The store is read-only, or closed.
    """

    def __init__(
        self,
        store: Store,
        encoder: Encoder,
        *,
        batch: int | None = None,
        progress: Callable[[int, int], None] | None = None,
        around: Callable[[Switch], bool] | None = None,
    ) -> None:
        if batch is not None:
            batch = whole(batch, "batch", least=1, error=ConfigError)
        store.database.check()
        store.database.require_file("a change of encoder")
        if store.read_only:
            raise StoreError(f"the store {store.path} is open read-only")
        self.encoder = encoder
        self.done = self.total = 0
        """Passages that have a vector of the encoder, and passages in all."""
        self.encoded = 0
        """Of those, the ones that this run has done."""
        self.finished = False
        """Whether the store now has this encoder."""
        self._store = store
        self._described = store_info.describe_encoder(encoder)
        self._batch, self._grows = batch or BATCH, batch is None
        self._progress = progress
        self._around = around or self._alone
        self._after = 0  # the rowid to go on from
        self._short = 0  # batches of few, one after another
        self._last = 0  # the highest rowid of those that were left when it began
        self._reported: tuple[int, int] | None = None
        self._counted = 0.0  # when what is left was last counted
        self._stopped = Event()
        self._thread: Thread | None = None
        self._at_work = False
        self._error: BaseException | None = None  # of the thread

    def __repr__(self) -> str:
        state = "finished" if self.finished else "running" if self.running else "stopped"
        if self._error is not None:
            state = "failed"
        return f"<Reencoding to {self._described}: {self.done} of {self.total}, {state}>"

    @property
    def running(self) -> bool:
        """Whether it is at work, in whichever thread."""
        return self._at_work

    def start(self) -> Self:
        """Run in a thread of its own; it ends with the program, and is taken up by the next."""
        self._at_work = True
        self._thread = Thread(target=self._watched, name="hoptrail reencoding", daemon=True)
        atexit.register(self.stop)
        self._thread.start()
        return self

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the thread, so many seconds at most; whether the store now has the encoder.

        Raises whatever ended the thread.

        Args:
            timeout: Seconds; None for as long as it takes.
        """
        if self._thread is not None:
            self._thread.join(timeout)
        if self._error is not None:
            raise self._error
        return self.finished

    def stop(self) -> None:
        """End the run after the batch that it is at; what was done stays, to go on from."""
        self._stopped.set()
        if self._thread is not None and self._thread is not current_thread():
            self._thread.join()

    def run(self) -> bool:
        """Encode what is left, and switch; False if it was stopped before.

        Raises:
            StoreError: The store is in a transaction, is changing to another encoder, or the change
                was dropped meanwhile.
            InputError: The encoder gave something else than vectors.
        """
        self._at_work = True
        try:
            if self._store.database.busy:
                raise StoreError(f"the store {self._store.path} is in a transaction")
            return self._run()
        finally:
            self._at_work = False

    def _run(self) -> bool:
        # A connection of its own: nobody in this process waits for its transactions.
        with closing(Database(self._store.database.path, patience=BUSY_SECONDS)) as db:
            if self._begin(db):
                # From anywhere, so that several processes do not take the same passages.
                self._after = random.randrange(self._last + 1)
                self._until_done(lambda: self._step(db))
            else:
                self._finish(lambda: True)
            try:
                self._until_done(lambda: _clear(db))
            except StoreUnavailable as error:  # what was asked for is done
                logger.warning("old vectors stay in %s until a purge: %s", self._store.path, error)
        return self.finished

    def _until_done(self, step: Callable[[], bool]) -> None:
        """Go step by step until one says that it was the last, or it is stopped."""
        while not self._stopped.is_set():
            try:
                if step():
                    return
            except StoreBusy:  # another has been writing for long: try again
                continue

    def _step(self, db: Database) -> bool:
        """Do a batch, or the switch where none is left; whether the store has the encoder."""
        with db.reading() as connection:
            ours = self._ours(connection)
            batch = next_vectors.next_batch(connection, self._batch, self._after) if ours else []
        few = len(batch) < self._batch and len(batch) <= LAST  # and all that is left
        if not batch or (few and self._short >= PATIENCE):
            self._short = 0
            self._check(db)
            return self._finish(lambda: self._switch(db))
        self._short = self._short + 1 if few else 0
        self._after = batch[-1].rowid
        self._encode(db, batch)
        return False

    def _begin(self, db: Database) -> bool:
        """Whether there is anything to do; the store may have the encoder already."""
        # Checked one by one, a million numbers of passages that are there would take minutes.
        with db.writing(checked=False) as connection:
            here = next_vectors.reencoding_progress(connection) is None
            if here and store_info.get(connection, "encoder") == self._described:
                self.total = self.done = next_vectors.passages(connection)
                return False
            next_vectors.begin_change(connection, self._described, str(self._store.path))
            progress = next_vectors.reencoding_progress(connection)
            self._last = next_vectors.last(connection)
        if here:
            logger.info("%s changes its encoder to %s", self._store.path, self._described)
        self._count(progress)
        return True

    def _encode(self, db: Database, batch: Sequence[UnencodedPassage]) -> None:
        """Encode a batch, and keep it."""
        began = time.perf_counter()
        vectors = self._vectors(batch)
        with db.writing() as connection:
            if not self._ours(connection):
                return  # another process has just switched
            written = next_vectors.put_vectors(connection, batch, vectors)
            now = time.monotonic()
            due = now - self._counted >= SECONDS
            progress = next_vectors.reencoding_progress(connection) if due else None
        self.encoded += written
        if progress is not None:
            self._count(progress)
        else:
            self._report(min(self.done + written, self.total), self.total)
        if self._grows and time.perf_counter() - began < QUICK:
            self._batch = min(2 * self._batch, LARGEST)

    def _vectors(self, batch: Sequence[UnencodedPassage]) -> list[Vectors]:
        return encode_passages(self.encoder, [t.content for t in batch])

    def _check(self, db: Database) -> None:
        """Have encoded again what is not whole, however that came about."""
        with db.reading() as connection:  # it looks at every vector, and no writer waits for that
            wrong = next_vectors.wrong(connection)
        if wrong:
            logger.warning("%d vectors of %s are encoded again", len(wrong), self._store.path)
            with db.writing() as connection:
                if self._ours(connection):
                    next_vectors.again(connection, wrong)

    def _switch(self, db: Database) -> bool:
        """Switch if no more is left than can be encoded while writers wait; whether it was done."""
        with db.writing() as connection:
            if not self._ours(connection):
                return True
            batch = next_vectors.next_batch(connection, LAST + 1)
            if len(batch) > LAST:
                return False
            if batch:
                self.encoded += next_vectors.put_vectors(connection, batch, self._vectors(batch))
            next_vectors.switch(connection)
            self.total = next_vectors.passages(connection)
        logger.info("%s has the encoder %s now", self._store.path, self._described)
        return True

    def _finish(self, switch: Switch) -> bool:
        if self._around(switch):
            self.finished = True
            self._report(self.total, self.total)
        return self.finished

    def _ours(self, connection: sqlite3.Connection) -> bool:
        """Whether the change is still under way; False if another process has ended it well.

        Raises:
            StoreError: It was dropped.
        """
        if store_info.get(connection, store_info.NEXT) == self._described:
            return True
        if store_info.get(connection, "encoder") == self._described:
            return False
        raise StoreError(
            f"the change of {self._store.path} to encoder {self._described} was dropped"
        )

    def _alone(self, switch: Switch) -> bool:
        with self._store.changing:  # no search of this store comes in between
            done = switch()
            if done:
                self._store.encoder = self.encoder
            return done

    def _count(self, progress: ReencodingProgress | None) -> None:
        self._counted = time.monotonic()
        if progress is not None:
            self._report(progress.done, progress.total)

    def _report(self, done: int, total: int) -> None:
        new = self._reported != (done, total)
        self.done, self.total = self._reported = done, total
        if new and self._progress:
            self._progress(done, total)

    def _watched(self) -> None:
        try:
            self.run()
        except BaseException as error:
            self._error = error
            logger.warning("the encoder of %s was not changed: %s", self._store.path, error)
        finally:
            atexit.unregister(self.stop)


def status(store: Store) -> ReencodingProgress | None:
    """The change of encoder that a store is in; None if it is in none.

    Args:
        store: Open; able to write, to drop a change.
    """
    with store.reading() as connection:
        return next_vectors.reencoding_progress(connection)


def cancel_reencoding(store: Store) -> ReencodingProgress | None:
    """Give up the change that a store is in, with the vectors it has made; which one that was.

    Args:
        store: Open; able to write, to drop a change.

    Raises:
        StoreError: The store is read-only.
    """
    with store.transaction() as connection:
        change = next_vectors.drop_change(connection)
    while not _clear(store.database):
        pass
    return change


def _clear(db: Database) -> bool:
    """Delete some of the vectors that are of no use any more; whether none is left."""
    with db.writing() as connection:
        return next_vectors.clear(connection, CLEARED)
