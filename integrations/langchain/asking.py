"""What a LangChain retriever and a tool have in common: how they ask a memory."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from hoptrail.api.async_memory import AsyncMemory
from hoptrail.api.hit_selection import HitSelection
from hoptrail.api.inputs import checked_scope
from hoptrail.api.memory import Memory
from hoptrail.errors import InputError
from hoptrail.integrations.operations.recall_settings import (
    RecallSettings,
    checked_as_of,
    checked_effort,
    checked_filter,
    checked_threshold,
)
from hoptrail.types import Recall

LIMITS = ("until", "tokens", "min_score", "patience")
SETTINGS = ("k", "namespace", "effort", "filter", "score_threshold", "as_of", *LIMITS)
"""What `search_kwargs` may hold, and what a retriever takes for one call."""


STRICT = ConfigDict(arbitrary_types_allowed=True, extra="forbid", validate_assignment=True)
"""Said again by whoever inherits from LangChain's classes too: those ignore unknown names."""


class Asking(BaseModel):
    """A memory, and how it is asked. Whatever is not named here is refused, never ignored."""

    model_config = STRICT

    memory: Memory | AsyncMemory
    k: int = Field(default=5, ge=1, strict=True)
    """Passages that come back, wherever the namespace holds as many that fit."""
    namespace: tuple[str, ...] = ()
    """Where to look: every namespace that begins with it."""
    effort: str = "balanced"
    """What a recall may cost: `fast`, `balanced` or `thorough`."""
    filter: dict[str, Any] | None = None
    """Only passages that fulfil it are read and returned; see `hoptrail.memory.filters`."""
    score_threshold: float | None = None
    """Only passages whose score is at least this. Scores compare within one recall; of passages
    that were ranked without a walk coming near them they are below 0."""
    as_of: Any = None
    """What was valid at a time rather than now, as `memory.recall` takes it."""
    until: Any = None
    """"complete" for as many of the k as are needed, as `memory.recall` takes it."""
    tokens: Any = None
    """As many of the k as fit this budget of tokens, likewise."""
    min_score: Any = None
    """Only those of the k that are needed with at least this probability, likewise: the calibrated
    one, which `score_threshold` does not look at."""
    patience: Any = None
    """Only those of the k that are worth reading at this patience, likewise."""
    search_kwargs: dict[str, Any] = Field(default_factory=dict)
    """The same by the name that vector stores' retrievers use: any of `k`, `namespace`, `effort`,
    `filter`, `score_threshold`, `as_of`, `until`, `tokens`, `min_score` and `patience`. A filter
    here and one above must both hold; of the others each is given in one place only."""

    @classmethod
    def by_default(cls, setting: str) -> object:
        """What a setting is where nobody says it."""
        return cls.model_fields[setting].get_default(call_default_factory=True)

    @field_validator("search_kwargs", mode="before")
    @classmethod
    def _copy_search_kwargs(cls, value: object) -> object:
        return deepcopy(dict(value)) if isinstance(value, Mapping) else value

    @field_validator("namespace", mode="after")
    @classmethod
    def _check_namespace(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return checked_scope([], 1, value, "question").namespace

    @field_validator("effort", mode="after")
    @classmethod
    def _check_effort(cls, value: str) -> str:
        return checked_effort(value)

    @field_validator("filter", mode="before")
    @classmethod
    def _check_filter(cls, value: object) -> dict[str, Any] | None:
        return checked_filter(value)

    @field_validator("score_threshold", mode="before")
    @classmethod
    def _check_threshold(cls, value: object) -> float | None:
        return checked_threshold(value)

    @field_validator("as_of", mode="before")
    @classmethod
    def _check_as_of(cls, value: object) -> object:
        return checked_as_of(value)

    @model_validator(mode="after")
    def _check_search_kwargs(self) -> Self:
        refuse_unknown(self.search_kwargs, "search_kwargs")
        for name in self.search_kwargs.keys() & self.model_fields_set - {"filter"}:
            if self.search_kwargs[name] != getattr(self, name):
                raise InputError(f"{name} is given twice: by itself and in search_kwargs")
        self._settings({})
        return self

    def _settings(self, call: Mapping[str, Any]) -> dict[str, Any]:
        """How to ask: what is given for one call, else in `search_kwargs`, else here.

        Raises:
            InputError: A setting is unknown, of the wrong type, or outside its range.
        """
        refuse_unknown(call, "the call")
        own = {name: getattr(self, name) for name in SETTINGS if name != "filter"}
        merged = {**own, **self.search_kwargs, **{k: v for k, v in call.items() if v is not None}}
        HitSelection.parse(merged["k"], *(merged[name] for name in LIMITS))
        where = (self.filter, self.search_kwargs.get("filter"), call.get("filter"))
        conditions = [one for one in map(checked_filter, where) if one]
        return {
            "k": merged["k"],
            "namespace": checked_scope([], merged["k"], merged["namespace"], "question").namespace,
            "effort": checked_effort(merged["effort"]),
            "filter": {"$and": conditions} if len(conditions) > 1 else next(iter(conditions), None),
            "score_threshold": checked_threshold(merged["score_threshold"]),
            "as_of": checked_as_of(merged["as_of"]),
            **{name: merged[name] for name in LIMITS},
        }

    def _recall(self, question: str, **call: Any) -> Recall:
        """The recall of a question, without what scores too little."""
        return RecallSettings(self.memory, **self._settings(call)).recall(question)


def refuse_unknown(settings: Mapping[str, Any], where: str) -> None:
    """Refuse settings that would be ignored.

    Raises:
        InputError: One is none of `SETTINGS`.
    """
    for name in settings:
        if name not in SETTINGS:
            raise InputError(f"{where} takes {', '.join(SETTINGS)}, not {name!r}")
