"""What a memory tells without walking: passages by id, how many there are, one-hop search."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, get_args

from hoptrail.api.inputs import checked_namespace, checked_scope
from hoptrail.types import Hit, Passage

if TYPE_CHECKING:
    from hoptrail.memory.filters import FilterLike
    from hoptrail.memory.search.fusion import Fusion
    from hoptrail.memory.search.pipeline import Pipeline
    from hoptrail.memory.store import Mode, Store


class Reading(ABC):
    """The part of `Memory` that reads without a policy."""

    _store: Store

    @abstractmethod
    def _with_encoder(self) -> Store:
        """The store, able to encode queries."""

    def get(self, id: str, namespace: Sequence[str] = ()) -> Passage:
        """The passage with this id in exactly this namespace.

        Args:
            id: The passage's.
            namespace: Exactly the passage's.

        Raises:
            UnknownId: It is not there.
        """
        return self._store.get(id, checked_namespace(namespace))

    def count(self, namespace: Sequence[str] = (), *, filter: FilterLike | None = None) -> int:
        """How many passages the namespaces that begin with this one hold, or a filter lets through.

        Args:
            namespace: Where to look: every namespace that begins with it.
            filter: Only passages that fulfil it; see `hoptrail.memory.filters`.

        Raises:
            InputError: It is no filter.
        """
        return self._store.count(checked_namespace(namespace), filter=filter)

    def search(
        self,
        query: str,
        k: int = 5,
        namespace: Sequence[str] = (),
        *,
        mode: Mode = "hybrid",
        filter: FilterLike | None = None,
        fusion: str | Fusion | None = None,
        pipeline: Pipeline | None = None,
    ) -> list[Hit]:
        """The k passages that fit a query best, in one hop: no policy, no trail.

        Args:
            query: What to look for.
            k: How many, at least 1.
            namespace: Where to look: every namespace that begins with it.
            mode: By meaning ("dense"), by words ("sparse"), or both ("hybrid").
            filter: Only passages that fulfil it; see `hoptrail.memory.filters`.
            fusion: How words and meaning become one score, if not by the sum of z-scores:
                "reciprocal-rank", "min-rank", or a rule of `hoptrail.memory.search.fusion`.
            pipeline: Stages to search by in place of a mode; see `hoptrail.memory.search.pipeline`.

        Raises:
            InputError: An empty query, a `k` below 1, an unknown mode, or one that a fusion or a
                pipeline does not go with.
            MissingExtra: There is no encoder: the `minilm` extra is not installed.
        """
        from hoptrail.memory import searching
        from hoptrail.memory.filters import Filter
        from hoptrail.values.strings import check_choice

        scope = checked_scope([query], k, namespace, "query")
        check_choice(mode, get_args(searching.Mode), "mode")
        # Refused also where there is nothing yet that it could leave out.
        conditions = Filter.parse_optional(filter)
        if not self._store.holds_any(scope):
            return []
        store = self._store if mode == "sparse" else self._with_encoder()
        return store.search(
            query,
            k,
            namespace=scope,
            mode=mode,
            filter=conditions,
            fusion=fusion,
            pipeline=pipeline,
        )
