"""A memory as LangGraph's long-term store: items are passages, and a query is walked."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from langgraph.store.base import (
    BaseStore,
    GetOp,
    Item,
    ListNamespacesOp,
    Op,
    PutOp,
    Result,
    SearchItem,
    SearchOp,
    TTLConfig,
)

from hoptrail.api.inputs import parse_scope
from hoptrail.api.memory import Memory
from hoptrail.errors import InputError, UnknownId
from hoptrail.integrations.langgraph.items import (
    OURS,
    WHOLE,
    StoredItem,
    checked_value,
    item_of,
    passage_of_item,
    search_item,
    stored_item,
)
from hoptrail.integrations.langgraph.matching import (
    check_filter,
    check_namespaces,
    fulfils,
    matching_namespaces,
)
from hoptrail.integrations.operations.recall_settings import checked_as_of
from hoptrail.policies.environment import efforts
from hoptrail.types import AsOf, Namespace, Passage
from hoptrail.values.numbers import above_zero, whole

Address = tuple[Namespace, str]
"""A passage's namespace and id."""


class HoptrailStore(BaseStore):
    """A memory as the store of a LangGraph graph.

    An item is a passage: its key is the passage's id, and its namespace the passage's below the
    store's own. `search(query=...)` recalls, in as many hops as it takes; a passage that was
    written otherwise is an item of its `text`, `title` and `metadata`. Items whose time is over
    are gone at once.

    Args:
        memory: Holds the items.
        namespace: Where in the memory; an agent's items can stand beside other passages.
        fields: Paths of the values' texts that queries find, as in LangGraph's `index`; "$" is
            every text of a value.
        effort: What a search with a query may cost: "fast", "balanced" or "thorough".
        ttl: LangGraph's configuration of times to live, in minutes.
        as_of: A time, or "ever": the store is then one to read in, of the items that were valid
            then; see `Memory.recall`. Reading lengthens no item's time there, and a put or a
            deletion is refused.

    Raises:
        InputError: A value that cannot be used.

    Examples:
        >>> store = HoptrailStore(memory)  # doctest: +SKIP
        >>> store.put(("users", "ann"), "boat", {"text": "Ann sails."})  # doctest: +SKIP
        >>> graph = builder.compile(store=store)  # doctest: +SKIP
    """

    supports_ttl = True

    def __init__(
        self,
        memory: Memory,
        *,
        namespace: Sequence[str] = (),
        fields: Sequence[str] = (WHOLE,),
        effort: str = "balanced",
        ttl: TTLConfig | None = None,
        as_of: AsOf | None = None,
    ) -> None:
        if not isinstance(memory, Memory):
            raise InputError(f"memory must be a Memory, got {type(memory).__name__}")
        if isinstance(fields, str) or not all(isinstance(path, str) and path for path in fields):
            raise InputError(f"fields are paths such as ['text'], got {fields!r}")
        self.memory = memory
        self.namespace = parse_scope(namespace).namespace
        self.fields = tuple(fields)
        self.effort = efforts.effort(effort).name
        self.ttl_config = ttl
        self.as_of = checked_as_of(as_of)

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Carry out operations: first what reads, then what writes, all of it or nothing.

        Args:
            ops: Gets, searches, listings and puts. Of two puts under one key the later counts.

        Returns:
            A result for each, None for a put.

        Raises:
            InputError: A value, a filter or a bound that cannot be used.
        """
        operations = list(ops)
        for operation in operations:
            check_namespaces(operation)
        puts: dict[Address, PutOp] = {}
        results: list[Result] = []
        for operation in operations:
            if isinstance(operation, PutOp):
                puts[self._address(operation.namespace, operation.key)] = operation
                results.append(None)
            else:
                results.append(self._read(operation))
        if puts:
            if self.as_of is not None:
                raise InputError(
                    f"a store as of {self.as_of} is read only: write by one without as_of"
                )
            self._write(puts)
        return results

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """As `batch`, in a thread, so that the event loop stays free.

        Args:
            ops: As for `batch`.
        """
        return await asyncio.to_thread(self.batch, list(ops))

    def _read(self, operation: Op) -> Result:
        if isinstance(operation, GetOp):
            return self._get(operation)
        if isinstance(operation, SearchOp):
            return self._search(operation)
        if isinstance(operation, ListNamespacesOp):
            whole(operation.limit, "limit")
            whole(operation.offset, "offset")
            depth = len(self.namespace)
            below = [
                namespace[depth:]
                for namespace in self._namespaces()
                if namespace[:depth] == self.namespace and len(namespace) > depth
            ]
            return matching_namespaces(below, operation)
        raise InputError(f"a store has no operation {type(operation).__name__}")

    def _namespaces(self) -> list[Namespace]:
        """Of all that is valid, or was at the store's time, sorted."""
        if self.as_of is None:
            return self.memory.store.namespaces()
        scope = parse_scope(self.namespace, self.as_of)
        return sorted({passage.namespace for passage in self.memory.store.passages(scope)})

    def _address(self, namespace: Namespace, key: str) -> Address:
        return (*self.namespace, *namespace), key

    def _get(self, operation: GetOp) -> Item | None:
        passage = self._passage(*self._address(operation.namespace, operation.key))
        if passage is None:
            return None
        if operation.refresh_ttl:
            self._refresh([passage])
        return item_of(passage, len(self.namespace))

    def _passage(self, namespace: Namespace, id_: str) -> Passage | None:
        try:
            return self.memory.get(id_, namespace, as_of=self.as_of)
        except UnknownId:
            return None

    def _search(self, operation: SearchOp) -> list[SearchItem]:
        whole(operation.limit, "limit")
        whole(operation.offset, "offset")
        check_filter(operation.filter)
        if not operation.limit:
            return []
        scope = (*self.namespace, *operation.namespace_prefix)
        stop = operation.offset + operation.limit
        scored: list[tuple[Passage, float | None]] = []
        if operation.query:
            scored = self._recall(operation, operation.query, scope, stop)
        if len(scored) < stop:
            # Without a query all that fulfil the filter; with one, those that no query finds.
            for passage in self._listed(operation, scope):
                if len(scored) == stop:
                    break
                if not operation.query or not stored_item(passage).indexed:
                    scored.append((passage, None))
        page = scored[operation.offset : stop]
        if operation.refresh_ttl:
            self._refresh([passage for passage, _ in page])
        return [search_item(passage, len(self.namespace), score) for passage, score in page]

    def _listed(self, operation: SearchOp, scope: Namespace) -> Iterator[Passage]:
        """The scope's items that fulfil the filter, by namespace and key."""
        for passage in self.memory.store.passages(parse_scope(scope, self.as_of)):
            if self._is_item(passage) and fulfils(stored_item(passage).value, operation.filter):
                yield passage

    def _recall(
        self, operation: SearchOp, query: str, scope: Namespace, k: int
    ) -> list[tuple[Passage, float | None]]:
        """The k best items for a query that fulfil the filter, found by walking."""
        only: dict[str, Any] = {f"{OURS}.indexed": {"$ne": False}}
        addresses: set[Address] | None = None
        count = k
        if operation.filter:
            # LangGraph's filters and the memory's differ (True is 1 there, keys may hold dots), so
            # that each item is judged here and the walk is kept to their ids.
            addresses = {(one.namespace, one.id) for one in self._listed(operation, scope)}
            ids = sorted({id_ for _, id_ in addresses})
            only = {"$and": [only, {"$id": {"$in": ids}}]}
            count = len(addresses) and self.memory.count(scope, filter=only, as_of=self.as_of)
        while count:
            hits = self.memory.recall(
                query, count, scope, self.effort, filter=only, as_of=self.as_of
            ).hits
            items = [hit for hit in hits if self._is_item(hit.passage, addresses)]
            if len(items) >= k or len(hits) < count:
                return [(hit.passage, hit.score) for hit in items[:k]]
            count += k  # some of the best are no items
        return []

    def _is_item(self, passage: Passage, addresses: set[Address] | None = None) -> bool:
        """Whether a passage is below the store's own namespace, and one of those that are meant."""
        if len(passage.namespace) <= len(self.namespace):
            return False
        return addresses is None or (passage.namespace, passage.id) in addresses

    def _refresh(self, passages: Sequence[Passage]) -> None:
        """Let the time of items that have one begin anew."""
        if self.as_of is not None:
            return  # what was is not lengthened
        now = self.memory.store.clock()
        for passage in passages:
            minutes = stored_item(passage).minutes
            if minutes is not None:
                try:
                    self.memory.update(
                        passage.id, expires_at=now + 60 * minutes, namespace=passage.namespace
                    )
                except UnknownId:
                    continue  # another has just deleted it

    def _write(self, puts: dict[Address, PutOp]) -> None:
        now = self.memory.store.clock()
        passages = []
        for (namespace, key), operation in puts.items():
            if operation.value is None:
                continue
            minutes = operation.ttl
            if minutes is not None:
                minutes = above_zero(minutes, "ttl")
            old = self._passage(namespace, key)
            created = now if old is None else stored_item(old).created_at
            item = StoredItem(checked_value(operation.value), created, now, minutes, True)
            passages.append(passage_of_item(key, namespace, item, self._paths(operation), now))
        if len(passages) == len(puts):
            self.memory.add(passages, on_duplicate="replace")
            return
        with self.memory.store.transaction():
            self.memory.add(passages, on_duplicate="replace")
            for (namespace, key), operation in puts.items():
                if operation.value is None and self._passage(namespace, key) is not None:
                    self.memory.delete(key, namespace)

    def _paths(self, operation: PutOp) -> Sequence[str]:
        if operation.index is None:
            return self.fields
        return () if operation.index is False else operation.index
