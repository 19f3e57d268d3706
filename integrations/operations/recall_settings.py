"""How an application has a memory asked: a retriever's settings, checked where they are made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from hoptrail.api.async_memory import AsyncMemory
from hoptrail.api.hit_selection import HitSelection, Until
from hoptrail.api.inputs import checked_scope
from hoptrail.api.memory import Memory
from hoptrail.errors import ConfigError, InputError
from hoptrail.memory.filters import Filter, FilterLike
from hoptrail.memory.storage.validity import Moment
from hoptrail.policies.environment import efforts
from hoptrail.types import AsOf, Recall
from hoptrail.values.numbers import finite, shown


@dataclass(frozen=True)
class RecallSettings:
    """A memory, and how it is asked: what an application says, and no model chooses.

    Raises:
        InputError: A setting is of the wrong type, or outside its range.
    """

    memory: Memory | AsyncMemory
    k: int = 5
    """Passages that come back, wherever the namespace holds as many that fit."""
    namespace: Sequence[str] = ()
    """Where to look: every namespace that begins with it."""
    effort: str = "balanced"
    """What a recall may cost: `fast`, `balanced` or `thorough`."""
    filter: Mapping[str, Any] | None = None
    """Only passages that fulfil it are read and returned; see `hoptrail.memory.filters`."""
    score_threshold: float | None = None
    """Only passages whose score is at least this."""
    as_of: AsOf | None = None
    """What was valid at a time rather than now, as `Memory.recall` takes it."""
    until: Until | None = None
    """"complete" for as many of the k as are needed, as `Memory.recall` takes it."""
    tokens: int | None = None
    """As many of the k as fit this budget, likewise."""
    min_score: float | None = None
    """Only those of the k that are needed with this probability, likewise."""
    patience: float | None = None
    """Only those of the k that are worth reading at this patience, likewise."""

    def __post_init__(self) -> None:
        if not isinstance(self.memory, Memory | AsyncMemory):
            raise InputError(
                f"memory must be a Memory or an AsyncMemory, got {type(self.memory).__name__}"
            )
        namespace = checked_scope([], self.k, self.namespace, "question").namespace
        object.__setattr__(self, "namespace", namespace)
        object.__setattr__(self, "effort", checked_effort(self.effort))
        object.__setattr__(self, "filter", checked_filter(self.filter))
        object.__setattr__(self, "score_threshold", checked_threshold(self.score_threshold))
        checked_as_of(self.as_of)
        HitSelection.parse(self.k, self.until, self.tokens, self.min_score, self.patience)

    @property
    def scope(self) -> tuple[str, ...]:
        """The namespace, as passages have it."""
        return tuple(self.namespace)

    def recall(self, question: str) -> Recall:
        """The recall of a question, without what scores too little.

        Args:
            question: In words.

        Raises:
            HoptrailError: As `Memory.recall`.
        """
        recall = self.open_memory().recall(
            question,
            self.k,
            self.namespace,
            self.effort,
            filter=self.filter,
            as_of=self.as_of,
            until=self.until,
            tokens=self.tokens,
            min_score=self.min_score,
            patience=self.patience,
        )
        least = self.score_threshold
        if least is None:
            return recall
        return replace(recall, hits=tuple(hit for hit in recall.hits if hit.score >= least))

    def open_memory(self) -> Memory:
        """The memory itself; one to be awaited is opened, which may wait for its file."""
        return self.memory.opened() if isinstance(self.memory, AsyncMemory) else self.memory


def checked_filter(value: object) -> dict[str, Any] | None:
    """A copy of a filter that can be used.

    Raises:
        InputError: It is none.
    """
    return None if value is None else dict(Filter.parse(cast("FilterLike", value)).json)


def checked_effort(value: str) -> str:
    """The name of an effort, checked where a setting is given.

    Raises:
        InputError: There is no such effort; pydantic takes it for a value that does not fit.
    """
    try:
        return efforts.effort(value).name
    except ConfigError as error:
        raise InputError(str(error)) from error


def checked_as_of(value: Any) -> AsOf | None:
    """As of when a memory is read, as it was given.

    Raises:
        InputError: It is neither a time that says its offset nor "ever".
    """
    Moment.parse(value)
    return cast("AsOf | None", value)


def checked_threshold(value: object) -> float | None:
    """A least score, or None.

    Raises:
        InputError: It is no number.
    """
    if value is None:
        return None
    threshold = finite(value)
    if threshold is None:
        raise InputError(f"score_threshold must be a finite number, got {shown(value)}")
    return threshold
