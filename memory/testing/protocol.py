"""What is asked of a store, and how a test says what it expected."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from hoptrail.errors import HoptrailError
from hoptrail.memory.storage.namespaces import ScopeLike
from hoptrail.types import Hit, Namespace, Passage


class PassageStore(Protocol):
    """What is asked of a store; `hoptrail.memory.store.Store` says what each of it means."""

    @property
    def version(self) -> int:
        """The newest version."""

    def add(self, passages: Iterable[Passage], **options: Any) -> list[str]:
        """Write passages, all of them or none."""

    def upsert(self, passages: Iterable[Passage], **options: Any) -> Any:
        """Write what differs."""

    def update(self, id: str, **changes: Any) -> Passage:
        """Change what is given."""

    def supersede(self, old_id: str, new: Passage, **options: Any) -> Passage:
        """Let a passage take the place of another."""

    def delete(self, ids: Iterable[str], namespace: Namespace = ()) -> int:
        """Delete passages, all of them or none."""

    def forget(self, filter: Any, *, namespace: Namespace = ()) -> int:
        """Delete what fulfils a filter."""

    def sweep(self) -> int:
        """Delete what has expired."""

    def link(self, source: str, links: Any, *, namespace: Namespace = ()) -> Passage:
        """Add links."""

    def unlink(
        self, source: str, target: str, kind: str | None = None, *, namespace: Namespace = ()
    ) -> Passage:
        """Take links away."""

    def get(self, id: str, namespace: ScopeLike = ()) -> Passage:
        """The passage of an id, as of the moment of the scope where that is given."""

    def get_many(self, ids: Iterable[str], namespace: Namespace = ()) -> list[Passage]:
        """The passages of ids, in their order."""

    def has(self, id: str, namespace: ScopeLike = ()) -> bool:
        """Whether there is such an id."""

    def count(self, namespace: ScopeLike = ()) -> int:
        """How many passages a scope holds."""

    def namespaces(self) -> list[Namespace]:
        """Those that hold a passage."""

    def passages(self, namespace: ScopeLike = ()) -> Iterator[Passage]:
        """A scope's passages by namespace and id."""

    def changes(self, since: int) -> Any:
        """What was written and deleted after a version."""

    def search(self, query: str, k: int = 10, **options: Any) -> list[Hit]:
        """The best passages of a scope."""

    def close(self) -> None:
        """Let go of what it holds."""


class Clock:
    """Says what it is told, from second 1000 on."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """The time, in seconds since 1970."""
        return self.now


def equal(got: object, expected: object, what: str) -> None:
    """Hold one thing to another; the message has both, also where nobody rewrites asserts."""
    if got != expected:
        raise AssertionError(f"{what}: expected {expected!r}, got {got!r}")


@contextmanager
def refused(kind: type[HoptrailError], what: str = "it") -> Iterator[None]:
    """Hold what is done inside to fail with this kind of error, in a sentence."""
    try:
        yield
    except kind as error:
        if not str(error):
            raise AssertionError(f"{kind.__name__} must say what was wrong") from error
        return
    except Exception as error:
        raise AssertionError(f"{what}: expected {kind.__name__}, got {error!r}") from error
    raise AssertionError(f"{what}: expected {kind.__name__}, and it was done")
