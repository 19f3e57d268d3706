"""A store for asynchronous callers: each call runs in a thread, and nothing is written twice.

The methods are the store's own, wrapped: names, arguments, results and errors are the same, and
the event loop is free while texts are encoded or SQLite waits for another writer.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from functools import wraps
from itertools import islice
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from hoptrail.memory.store import Store
from hoptrail.types import Namespace, Passage

P = ParamSpec("P")
R = TypeVar("R")

AT_ONCE = 500
"""Passages fetched between two turns of the event loop."""


def threaded(
    method: Callable[Concatenate[Store, P], R],
) -> Callable[Concatenate[AsyncStore, P], Coroutine[Any, Any, R]]:
    """A store's method as a coroutine that waits for it in a thread."""

    @wraps(method)
    async def call(self: AsyncStore, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return await asyncio.to_thread(method, self.store, *args, **kwargs)

    return call


class AsyncStore:
    """The same as a `Store`, to be awaited.

    A call that was cancelled goes on in its thread: a transaction ends whole, whoever waits.

    Args:
        store: What it stands for; it may be used beside this.
    """

    def __init__(self, store: Store) -> None:
        self.store = store

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<Async{repr(self.store)[1:]}"

    add = threaded(Store.add)
    restore = threaded(Store.restore)
    upsert = threaded(Store.upsert)
    update = threaded(Store.update)
    delete = threaded(Store.delete)
    forget = threaded(Store.forget)
    sweep = threaded(Store.sweep)
    link = threaded(Store.link)
    unlink = threaded(Store.unlink)

    get = threaded(Store.get)
    get_many = threaded(Store.get_many)
    has = threaded(Store.has)
    count = threaded(Store.count)
    holds_any = threaded(Store.holds_any)
    namespaces = threaded(Store.namespaces)
    changes = threaded(Store.changes)
    search = threaded(Store.search)
    view = threaded(Store.view)
    cache_info = threaded(Store.cache_info)
    close = threaded(Store.close)

    async def passages(self, namespace: Namespace = ()) -> AsyncIterator[Passage]:
        """The scope's passages by namespace and id; what is written meanwhile may be missed."""
        found = self.store.passages(namespace)
        while part := await asyncio.to_thread(lambda: list(islice(found, AT_ONCE))):
            for passage in part:
                yield passage
