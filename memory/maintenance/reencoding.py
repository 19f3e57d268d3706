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
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from threading import Event, Thread, current_thread
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

from hoptrail.errors import ConfigError, StoreBusy, StoreError, StoreUnavailable
from hoptrail.memory.encoders.transformer import Encoder, Vectors
from hoptrail.memory.encoders.windows import encode_passages
from hoptrail.memory.storage import store_info
from hoptrail.memory.storage.database import BUSY_SECONDS as PATIENCE_OF_WRITERS
from hoptrail.memory.storage.database import Database
from hoptrail.memory.storage.file_change import FileChange
from hoptrail.memory.storage.next_vectors import ReencodingProgress
from hoptrail.memory.storage.postgres.replica import ReplicatedDatabase
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

Switch = Callable[[], bool]


class HasContent(Protocol):
    """A passage that is to be encoded."""

    @property
    def content(self) -> str:
        """What the encoder reads."""
        ...


T = TypeVar("T", bound=HasContent)


class EncoderChange(Protocol[T]):
    """Where the next vectors are kept: see `FileChange`, whose words these are."""

    @property
    def seconds_between_counts(self) -> float:
        """How often what is left is counted."""
        ...

    def begin(self) -> ReencodingProgress | None:
        """Begin the change, or find it begun; None where the store has the encoder already."""
        ...

    def take(self, count: int) -> list[T]:
        """Up to so many passages without a next vector."""
        ...

    def put(self, batch: Sequence[T], vectors: Sequence[Vectors]) -> int:
        """Keep the next vectors of those that nobody has written since; how many."""
        ...

    def progress(self) -> ReencodingProgress | None:
        """How far the change is that the store is in; None if it is in none."""
        ...

    def passages(self) -> int:
        """How many passages the store holds."""
        ...

    def check(self) -> None:
        """Have encoded again what is not whole."""
        ...

    def switch(self, most: int, encode: Callable[[Sequence[T]], list[Vectors]]) -> int:
        """Have the next vectors be in use; how many were made for it, or -1 for too many left."""
        ...

    def drop(self) -> ReencodingProgress | None:
        """Give the change up; which one that was."""
        ...

    def clear(self, count: int) -> bool:
        """Delete vectors of no use any more, so many at most; whether none is left."""
        ...

    def close(self) -> None:
        """Close its connections."""
        ...


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
        if store.read_only:
            raise StoreError(f"the store {store.name} is open read-only")
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
        self._short = 0  # batches of few, one after another
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
                raise StoreError(f"the store {self._store.name} is in a transaction")
            return self._run()
        finally:
            self._at_work = False

    def _run(self) -> bool:
        # Connections of its own: nobody in this process waits for its transactions.
        with closing(_opened_change(self._store, self._described)) as change:
            if self._begin(change):
                self._until_done(lambda: self._step(change))
            else:
                self._finish(lambda: True)
            try:
                self._until_done(lambda: change.clear(CLEARED))
            except StoreUnavailable as error:  # what was asked for is done
                logger.warning("old vectors stay in %s until a purge: %s", self._store.name, error)
        return self.finished

    def _until_done(self, step: Callable[[], bool]) -> None:
        """Go step by step until one says that it was the last, or it is stopped."""
        while not self._stopped.is_set():
            try:
                if step():
                    return
            except StoreBusy:  # another has been writing for long: try again
                continue

    def _begin(self, change: EncoderChange[Any]) -> bool:
        """Whether there is anything to do; the store may have the encoder already."""
        progress = change.begin()
        if progress is None:
            self.total = self.done = change.passages()
            return False
        self._count(progress)
        return True

    def _step(self, change: EncoderChange[Any]) -> bool:
        """Do a batch, or the switch where none is left; whether the store has the encoder."""
        batch = change.take(self._batch)
        few = len(batch) < self._batch and len(batch) <= LAST  # and all that is left
        if not batch or (few and self._short >= PATIENCE):
            self._short = 0
            change.check()
            return self._finish(lambda: self._switch(change))
        self._short = self._short + 1 if few else 0
        self._encode(change, batch)
        return False

    def _encode(self, change: EncoderChange[Any], batch: Sequence[HasContent]) -> None:
        """Encode a batch, and keep it."""
        began = time.perf_counter()
        written = change.put(batch, self._vectors(batch))
        self.encoded += written
        if time.monotonic() - self._counted >= change.seconds_between_counts:
            self._count(change.progress())
        else:
            self._report(min(self.done + written, self.total), self.total)
        if self._grows and time.perf_counter() - began < QUICK:
            self._batch = min(2 * self._batch, LARGEST)

    def _vectors(self, batch: Sequence[HasContent]) -> list[Vectors]:
        return encode_passages(self.encoder, [t.content for t in batch])

    def _switch(self, change: EncoderChange[Any]) -> bool:
        """Switch if no more is left than can be encoded while writers wait; whether it was done."""
        encoded = change.switch(LAST, self._vectors)
        if encoded < 0:
            return False
        self.encoded += encoded
        self.total = change.passages()
        return True

    def _finish(self, switch: Switch) -> bool:
        if self._around(switch):
            self.finished = True
            self._report(self.total, self.total)
        return self.finished

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
            logger.warning("the encoder of %s was not changed: %s", self._store.name, error)
        finally:
            atexit.unregister(self.stop)


def status(store: Store) -> ReencodingProgress | None:
    """The change of encoder that a store is in; None if it is in none.

    Args:
        store: Open; able to write, to drop a change.
    """
    if isinstance(store.database, ReplicatedDatabase):
        with closing(store.database.server_change("", BUSY_SECONDS)) as change:
            return change.progress()
    return FileChange(store.database, "").progress()


def cancel_reencoding(store: Store) -> ReencodingProgress | None:
    """Give up the change that a store is in, with the vectors it has made; which one that was.

    Args:
        store: Open; able to write, to drop a change.

    Raises:
        StoreError: The store is read-only.
    """
    if not isinstance(store.database, ReplicatedDatabase):
        return _dropped(FileChange(store.database, ""))
    if store.read_only:
        raise StoreError(f"the store {store.name} is open read-only")
    with closing(store.database.server_change("", PATIENCE_OF_WRITERS)) as change:
        return _dropped(change)


def _dropped(change: EncoderChange[Any]) -> ReencodingProgress | None:
    dropped = change.drop()
    while not change.clear(CLEARED):
        pass
    return dropped


def _opened_change(store: Store, described: str) -> EncoderChange[Any]:
    """The change of a store to an encoder, as described, with connections of its own."""
    if isinstance(store.database, ReplicatedDatabase):
        return store.database.server_change(described, BUSY_SECONDS)
    return FileChange(Database(store.database.path, patience=BUSY_SECONDS), described)
