"""The front door for asynchronous callers: each call runs in a thread, the event loop stays free.

The methods are `Memory`'s own, wrapped: names, arguments, results and errors are the same.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from functools import wraps
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Concatenate, NoReturn, ParamSpec, Self, TypeVar

from hoptrail.api.memory import Memory
from hoptrail.errors import StoreError

if TYPE_CHECKING:
    from hoptrail.memory.store import Store

P = ParamSpec("P")
R = TypeVar("R")


def threaded(
    method: Callable[Concatenate[Memory, P], R],
) -> Callable[Concatenate[AsyncMemory, P], Coroutine[Any, Any, R]]:
    """A memory's method as a coroutine that waits for it in a thread.

    Args:
        method: Of `Memory`.

    Returns:
        The method of `AsyncMemory` with the same name, arguments, results and errors.
    """

    @wraps(method)
    async def call(self: AsyncMemory, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return await asyncio.to_thread(lambda: method(self.opened(), *args, **kwargs))

    return call


class AsyncMemory:
    """The same as a `Memory`, to be awaited.

    The file is opened in a thread too, by `async with` or by the first call. While one call
    encodes what is written, others read; recalls and searches run side by side. A call that was
    cancelled goes on in its thread: a transaction ends whole, whoever waits.

    Args:
        memory: An open `Memory`, which may be used beside this, or what `Memory` takes first: the
            file that holds it, or an open store.
        options: What else `Memory` takes, when it is opened here.

    Examples:
        >>> import asyncio
        >>> from hoptrail.memory.testing.hash_encoder import HashEncoder
        >>> from tempfile import TemporaryDirectory
        >>> async def born(path):
        ...     async with AsyncMemory(path, encoder=HashEncoder()) as memory:
        ...         await memory.add({"id": "curie", "text": "Marie Curie was born in Warsaw."})
        ...         return (await memory.search("Who was born in Warsaw?"))[0].passage.id
        >>> with TemporaryDirectory() as folder:
        ...     asyncio.run(born(f"{folder}/agent.db"))
        'curie'
    """

    def __init__(self, memory: Memory | str | Path | Store, **options: Any) -> None:
        self._memory_or_path = memory
        self._options = options
        self._lock = threading.Lock()
        # Both only with the lock held.
        self._memory: Memory | None = None
        self._closed = False

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self.opened)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        if self._memory is None:
            state = "closed" if self._closed else "not opened yet"
            return f"<AsyncMemory {self._memory_or_path}: {state}>"
        return f"<Async{repr(self._memory)[1:]}"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise StoreError(
            "an AsyncMemory cannot be copied or pickled: open the memory again where it is needed"
        )

    def opened(self) -> Memory:
        """The memory itself, opened if it is not yet; that may wait for the file.

        Returns:
            The memory, to be used in a thread of the caller's own.

        Raises:
            StoreError: It is closed, or the file cannot be opened.
            HoptrailError: What else `Memory` raises when it is made.
        """
        with self._lock:
            if self._memory is None:
                if self._closed:
                    raise StoreError(f"the memory {self._memory_or_path} is closed")
                opened = self._memory_or_path
                self._memory = (
                    opened if isinstance(opened, Memory) else Memory(opened, **self._options)
                )
            return self._memory

    async def close(self) -> None:
        """Close the file; a second time does nothing.

        Raises:
            StoreError: A parent process opened the memory.
        """
        with self._lock:
            self._closed = True
            memory = self._memory
        if memory is not None:
            await asyncio.to_thread(memory.close)

    add = threaded(Memory.add)
    upsert = threaded(Memory.upsert)
    update = threaded(Memory.update)
    supersede = threaded(Memory.supersede)
    delete = threaded(Memory.delete)
    forget = threaded(Memory.forget)
    link = threaded(Memory.link)
    unlink = threaded(Memory.unlink)
    add_distinct = threaded(Memory.add_distinct)
    merge_duplicates = threaded(Memory.merge_duplicates)

    get = threaded(Memory.get)
    count = threaded(Memory.count)
    search = threaded(Memory.search)
    recall = threaded(Memory.recall)
    recall_many = threaded(Memory.recall_many)
    ask = threaded(Memory.ask)

    feedback = threaded(Memory.feedback)
    feedback_given = threaded(Memory.feedback_given)
    forget_feedback = threaded(Memory.forget_feedback)

    observe = threaded(Memory.observe)
    keep_log = threaded(Memory.keep_log)
    recall_log = threaded(Memory.recall_log)
    forget_log = threaded(Memory.forget_log)
    neighbourhood = threaded(Memory.neighbourhood)
    to_html = threaded(Memory.to_html)

    history = threaded(Memory.history)
    audit = threaded(Memory.audit)
    change_encoder = threaded(Memory.change_encoder)
    encoder_change = threaded(Memory.encoder_change)
    drop_encoder_change = threaded(Memory.drop_encoder_change)
    purge = threaded(Memory.purge)
    verify = threaded(Memory.verify)
    repair = threaded(Memory.repair)
    backup = threaded(Memory.backup)
    export = threaded(Memory.export)
    import_file = threaded(Memory.import_file)
