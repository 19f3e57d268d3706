"""What a memory does to change its encoder while it is used."""

from __future__ import annotations

import threading
import time
from abc import ABC
from typing import TYPE_CHECKING, Literal, overload

from hoptrail.errors import InputError, StoreError
from hoptrail.values.flags import check_function, flag

if TYPE_CHECKING:
    from hoptrail.api.walkers import Walkers
    from hoptrail.memory.encoders.disk_cache import CachedEncoder
    from hoptrail.memory.encoders.transformer import Encoder
    from hoptrail.memory.maintenance.reencoding import Reencoding, Switch
    from hoptrail.memory.storage.next_vectors import ReencodingProgress
    from hoptrail.memory.store import Progress, Store

PATIENCE = 10.0
"""Seconds that a switch waits for writes that are being encoded; those still at it are refused."""


class ChangingEncoder(ABC):
    """The part of `Memory` that makes all vectors anew, by another encoder."""

    _store: Store
    _lock: threading.RLock
    _writers: set[object]
    _encoder: Encoder | None
    _encoder_wanted: bool
    _cache: CachedEncoder | None
    _walkers: Walkers
    # The last change of this memory, and its encoder; only with the lock held.
    _change: tuple[Reencoding, CachedEncoder] | None = None

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

        Raises:
            StoreError: It is read-only, in a transaction, or is changing to another encoder.
            MissingExtra: The `minilm` extra is not installed.
        """
        from hoptrail.memory.encoders.disk_cache import CachedEncoder
        from hoptrail.memory.maintenance.reencoding import Reencoding

        check_function(progress, "progress")
        background = flag(background, "background")
        self._store.database.check()
        wanted = _wanted(encoder)
        with self._lock:
            if self._change is not None and self._change[0].running:
                raise StoreError(
                    f"the encoder of {self._store.path} is being changed by this memory: wait for "
                    "it, or stop it"
                )
            self._stop_changing()
            cached = CachedEncoder(wanted)
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
        """The change of encoder that has begun in the file, by whomever, and not ended."""
        from hoptrail.memory.maintenance import reencoding

        return reencoding.status(self._store)

    def drop_encoder_change(self) -> ReencodingProgress | None:
        """Give up the change of encoder, with all vectors that it has made; which one that was.

        A run that is at it, in any process, ends with an error. `purge` erases the bytes.

        Raises:
            StoreError: The memory is read-only.
        """
        from hoptrail.memory.maintenance import reencoding

        return reencoding.drop(self._store)

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
                    self._store.encoder = self._encoder = encoder.inner
                    self._encoder_wanted = False
                self._walkers.clear()
                if old is not None:
                    old.close()
            return done

    def _stop_changing(self) -> None:
        """End what runs in a thread, which may want the lock: not with the lock held, then."""
        if self._change is not None:
            change, encoder = self._change
            change.stop()
            if not change.finished and not change.running:
                encoder.close()


def _wanted(encoder: Encoder | Literal["auto"]) -> Encoder:
    """The encoder to change to, loaded where it is named.

    Raises:
        InputError: It is something else.
        MissingExtra: The `minilm` extra is not installed.
    """
    from hoptrail.memory import forks
    from hoptrail.memory.encoders.transformer import Encoder, minilm

    if isinstance(encoder, str):
        if encoder != "auto":
            raise InputError(f'encoder must be "auto" or an Encoder, got {encoder!r}')
        with forks.loading:
            return minilm()
    if not isinstance(encoder, Encoder):
        raise InputError(f'encoder must be "auto" or an Encoder, got {type(encoder).__name__}')
    return itself(encoder)


@overload
def itself(encoder: Encoder) -> Encoder: ...
@overload
def itself(encoder: None) -> None: ...
def itself(encoder: Encoder | None) -> Encoder | None:
    """The encoder without the disk cache before it."""
    from hoptrail.memory.encoders.disk_cache import CachedEncoder

    return encoder.inner if isinstance(encoder, CachedEncoder) else encoder
