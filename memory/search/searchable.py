"""What a pipeline, or a fusion to be fitted, needs of a store: scopes, and vectors of queries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from hoptrail.memory.encoders.vectors import Vectors
from hoptrail.memory.passages.usage import Recorder
from hoptrail.memory.storage.namespaces import ScopeLike
from hoptrail.memory.views.view import View
from hoptrail.types import Passage


class Searchable(Protocol):
    """A `Store`, as far as what searches it need know."""

    recorder: Recorder

    @property
    def clock(self) -> Callable[[], float]:
        """What tells it the time."""

    def read_rows(self, rowids: Sequence[int]) -> dict[int, Passage]:
        """The passages with these rowids; one that is gone is left out.

        Args:
            rowids: Of the passages.
        """

    def view(self, namespace: ScopeLike = ()) -> View:
        """The scope's indexes in memory, caught up with the last commit.

        Args:
            namespace: The scope.
        """

    def pinned(self, namespace: ScopeLike = ()) -> AbstractContextManager[View]:
        """The scope's view, caught up with the last commit and kept as it is meanwhile.

        Args:
            namespace: The scope.
        """

    def pinned_for(
        self, texts: Sequence[str], namespace: ScopeLike = ()
    ) -> AbstractContextManager[tuple[View, Vectors]]:
        """A scope's view, pinned, and vectors of queries `(n, d)` by the encoder of its own.

        Args:
            texts: n of them.
            namespace: The scope.
        """

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """The vectors of queries, `(n, d)`.

        Args:
            texts: n of them.
        """
