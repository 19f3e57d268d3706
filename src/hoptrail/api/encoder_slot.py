"""The encoder of a memory: loaded late, with a cache for passages, and changed while it is used."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Literal

from hoptrail.errors import EncoderMismatch, InputError, StoreError
from hoptrail.memory import forks
from hoptrail.memory.guarded import guarded
from hoptrail.values.flags import check_function, flag

if TYPE_CHECKING:
    from hoptrail.memory.encoders.disk_cache import CachedEncoder
    from hoptrail.memory.encoders.transformer import Encoder
    from hoptrail.memory.maintenance.reencoding import Reencoding, Switch
    from hoptrail.memory.storage.next_vectors import ReencodingProgress
    from hoptrail.memory.store import Progress, Store

PATIENCE = 10.0
"""Seconds that a switch waits for writes that are being encoded; those still at it are refused."""


class EncoderSlot:
    """The encoder of a memory, for queries as it is and for passages behind a cache on disk.

    Which one it is stands in one place, `Store.encoder`. A write gets the encoder with the cache as
    an argument and uses it to its end; the store itself goes on with its own.

    Args:
        store: The memory's.
        default: Load MiniLM when an encoder is first needed; else the store's own is used.
        when_changed: Called when another encoder has taken the place of this one.
    """

    def __init__(
        self,
        store: Store,
        *,
        default: bool = False,
        when_changed: Callable[[], None] | None = None,
    ) -> None:
        self._store = store
        self._when_changed = when_changed
        self._writers: set[object] = set()  # who is encoding for a write
        self._lock = threading.RLock()  # held while something is loaded; never while it runs
        # All below change only with the lock held.
        self._default = default  # whether the default is still to be loaded
        self._cache: CachedEncoder | None = None  # for passages; opened at the first write
        self._change: tuple[Reencoding, CachedEncoder] | None = None  # the last of this memory
        forks.register(self)

    def _forked(self, *, whole: bool) -> None:
        """Be a forked child's, where it is refused; see `hoptrail.memory.forks`."""
        self._lock = threading.RLock()

    @property
    def current(self) -> Encoder | None:
        """The encoder as it is now, without a cache; None before it is loaded, or without one."""
        from hoptrail.memory.encoders.wrapped import uncached

        encoder = self._store.encoder
        return None if encoder is None else uncached(encoder)

    def for_queries(self) -> Encoder | None:
        """The encoder as queries need it, the default one loaded where that is still to be done.

        Returns:
            The encoder without a cache on disk, so that a timing is what it says; None where the
            memory has none.

        Raises:
            StoreError: The store is closed.
            EncoderMismatch: The default is not the encoder that made the store's vectors.
            MissingExtra: The `minilm` extra is not installed.
        """
        self._store.database.check()
        while self._default:
            try:
                self._load_default()
            except EncoderMismatch:
                with self._store.changing:  # a switch of this memory's, which is waited for
                    if self._default:
                        raise
        return self.current

    def replaced(self, encoder: Encoder) -> bool:
        """Whether another encoder is the memory's by now; one that is on its way is waited for.

        Args:
            encoder: As `for_queries` gave it.

        Returns:
            Whether to ask `for_queries` again.
        """
        with self._store.changing:
            return self.current is not encoder

    @guarded
    def for_passages(self) -> Iterator[Encoder | None]:
        """The encoder of one write, with the disk cache before it, for the length of a block.

        While the block runs, a change of encoder that is ready waits for it, `PATIENCE` at most.

        Yields:
            The encoder; None where the memory has none.

        Raises:
            StoreError: The store is closed.
            EncoderMismatch: The default is not the encoder that made the store's vectors.
            MissingExtra: The `minilm` extra is not installed.
        """
        from hoptrail.memory.encoders.disk_cache import CachedEncoder

        self.for_queries()
        token = object()
        try:
            with self._store.changing:
                self._writers.add(token)
                with self._lock:
                    encoder = self.current
                    if self._cache is None and encoder is not None:
                        self._cache = CachedEncoder(encoder)
                    cached = self._cache
            yield cached
        finally:
            self._writers.discard(token)

    def change_encoder(
        self,
        encoder: Encoder | Literal["auto"],
        *,
        background: bool = False,
        batch: int | None = None,
        progress: Progress | None = None,
    ) -> Reencoding:
        """Have every passage encoded anew by another encoder, which is the memory's from then on.

        Searches and recalls go on as before, by the old encoder on its own vectors, until all new
        ones are there; what is written meanwhile is seen to. It may be stopped or killed and is
        taken up by the next call with the same encoder, in any process. A memory whose old encoder
        is lost is opened with `encoder=None`.

        Args:
            encoder: The next one; "auto" is MiniLM, as for `Memory`. One that was trained is to be
                loaded again: it is known by the fingerprint of its weights.
            background: Return at once and go on in a thread: `wait` and `stop` are the result's.
                Closing the memory stops it.
            batch: Passages in a transaction: what is lost at most when it is killed. By default
                256, and more of a quick encoder.
            progress: Called with (passages done, passages in all).

        Returns:
            The change: ended, stopped, or under way.

        Raises:
            StoreError: It is read-only, in a transaction, or is changing to another encoder.
            InputError: It is no encoder.
            MissingExtra: The `minilm` extra is not installed.
        """
        from hoptrail.memory.encoders.disk_cache import CachedEncoder
        from hoptrail.memory.maintenance.reencoding import Reencoding

        check_function(progress, "progress")
        background = flag(background, "background")
        self._store.database.check()
        next_encoder = _loaded(encoder)
        with self._lock:
            if self._change is not None and self._change[0].running:
                raise StoreError(
                    f"the encoder of {self._store.name} is being changed by this memory: wait for "
                    "it, or stop it"
                )
            self.stop_change()
            cached = CachedEncoder(next_encoder)
            try:
                change = Reencoding(
                    self._store,
                    cached,
                    batch=batch,
                    progress=progress,
                    around=lambda switch: self._switch(switch, cached),
                )
            except BaseException:
                cached.close()
                raise
            self._change = change, cached
            if background:
                return change.start()
        try:
            change.run()
        finally:
            if not change.finished:
                cached.close()
        return change

    def encoder_change(self) -> ReencodingProgress | None:
        """The change of encoder that has begun in the file, by whomever, and not ended.

        Returns:
            How far it is; None if there is none.
        """
        from hoptrail.memory.maintenance import reencoding

        return reencoding.status(self._store)

    def drop_encoder_change(self) -> ReencodingProgress | None:
        """Give up the change of encoder, with all vectors that it has made.

        A run that is at it, in any process, ends with an error. `purge` erases the bytes.

        Returns:
            How far it was; None if there was none.

        Raises:
            StoreError: The memory is read-only.
        """
        from hoptrail.memory.maintenance import reencoding

        return reencoding.cancel_reencoding(self._store)

    def stop_change(self) -> None:
        """End a change that runs in a thread, which may want the lock: not with the lock held."""
        if self._change is not None:
            change, encoder = self._change
            change.stop()
            if not change.finished and not change.running:
                encoder.close()

    def close(self) -> None:
        """Close the disk cache; what is written afterwards is encoded without it."""
        with self._lock:
            cached = self._cache
        if cached is not None:
            cached.close()

    def _load_default(self) -> None:
        """Load MiniLM, unless another thread has just done so or the encoder was changed."""
        from hoptrail.memory.encoders.transformer import minilm
        from hoptrail.memory.storage import store_info

        with self._lock:
            if not self._default:
                return
            with forks.loading:
                encoder = minilm()
            with self._store.reading() as connection:
                store_info.check_encoder(connection, encoder, self._store.name)
            self._store.encoder = encoder
            self._default = False

    def _switch(self, switch: Switch, encoder: CachedEncoder) -> bool:
        """Switch while nobody in this process encodes for a write; then take the encoder over."""
        latest = time.monotonic() + PATIENCE
        while self._writers and time.monotonic() < latest:
            time.sleep(0.001)
        with self._store.changing:
            done = switch()
            if done:
                with self._lock:
                    old, self._cache = self._cache, encoder
                    self._store.encoder = encoder.inner
                    self._default = False
                if self._when_changed is not None:
                    self._when_changed()
                if old is not None:
                    old.close()
            return done


def _loaded(encoder: Encoder | Literal["auto"]) -> Encoder:
    """The encoder to change to, without a cache, loaded where it is named.

    Raises:
        InputError: It is something else.
        MissingExtra: The `minilm` extra is not installed.
    """
    from hoptrail.memory.encoders.transformer import Encoder, minilm
    from hoptrail.memory.encoders.wrapped import uncached

    if isinstance(encoder, str):
        if encoder != "auto":
            raise InputError(f'encoder must be "auto" or an Encoder, got {encoder!r}')
        with forks.loading:
            return minilm()
    if not isinstance(encoder, Encoder):
        raise InputError(f'encoder must be "auto" or an Encoder, got {type(encoder).__name__}')
    return uncached(encoder)
