"""What a page needs to know of a recall: the fields of `hoptrail.types` that it shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol


class PassageShape(Protocol):
    """A passage, as far as a page shows it."""

    @property
    def id(self) -> str:
        """Unique in its namespace."""

    @property
    def text(self) -> str:
        """What it says."""

    @property
    def title(self) -> str | None:
        """What it is called."""

    @property
    def namespace(self) -> tuple[str, ...]:
        """Where it is."""

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What else is known of it."""


class SharesShape(Protocol):
    """The factors of a score, as far as a page shows them."""

    @property
    def policy(self) -> float:
        """How probable it was to be read."""

    @property
    def links(self) -> float:
        """The part of that over links."""

    @property
    def lexical(self) -> float:
        """By its words."""

    @property
    def dense(self) -> float:
        """By its meaning."""

    @property
    def likeness(self) -> float:
        """By what it has in common with what was read."""

    @property
    def length(self) -> float:
        """By its length."""

    @property
    def total(self) -> float:
        """Of all alike."""

    @property
    def judge(self) -> float:
        """By being judged with what was read."""

    @property
    def feedback(self) -> float:
        """By what was learned from feedback."""


class HitSourceShape(Protocol):
    """What brought a passage into the pool, as far as a page shows it."""

    @property
    def ranking(self) -> str | None:
        """Its name; None for a link."""

    @property
    def rank(self) -> int | None:
        """From 1."""

    @property
    def link(self) -> str | None:
        """Its kind; None for a ranking."""

    @property
    def id(self) -> str | None:
        """The passage read that it led on from."""


class HitShape(Protocol):
    """A hit, as far as a page shows it."""

    @property
    def passage(self) -> PassageShape:
        """What was found."""

    @property
    def score(self) -> float:
        """How well it fits."""

    @property
    def sub_question(self) -> str | None:
        """The sub-question that speaks most for it."""

    @property
    def shares(self) -> SharesShape | None:
        """What its score is made of."""

    @property
    def sources(self) -> Sequence[HitSourceShape]:
        """What brought it into the pool."""


class HopShape(Protocol):
    """A hop, as far as a page shows it."""

    @property
    def query(self) -> str:
        """As it was asked."""

    @property
    def id(self) -> str:
        """The passage read."""

    @property
    def namespace(self) -> tuple[str, ...]:
        """Where that is."""

    @property
    def link(self) -> str | None:
        """The kind of edge that led there; None for an index hit."""

    @property
    def probability(self) -> float:
        """Of reading it."""

    @property
    def stop_probability(self) -> float:
        """Of stopping before it."""


class TrailShape(Protocol):
    """A trail, as far as a page shows it."""

    @property
    def hops(self) -> Sequence[HopShape]:
        """In order."""

    @property
    def probability(self) -> float:
        """Of the whole trail."""

    @property
    def stop_reason(self) -> str:
        """Why it ended."""

    @property
    def stop_probability(self) -> float:
        """Of stopping where it ended."""


class CostShape(Protocol):
    """What a recall took, as far as a page shows it."""

    @property
    def milliseconds(self) -> float:
        """Of the clock."""

    @property
    def texts_encoded(self) -> int:
        """Queries that needed a vector."""

    @property
    def candidates(self) -> int:
        """Passages in the pool."""

    @property
    def passages_read(self) -> int:
        """By the beam."""


class RecallShape(Protocol):
    """A recall, as far as a page shows it."""

    @property
    def question(self) -> str:
        """As it was asked."""

    @property
    def hits(self) -> Sequence[HitShape]:
        """Best first."""

    @property
    def trails(self) -> Sequence[TrailShape]:
        """Most probable first."""

    @property
    def cost(self) -> CostShape:
        """What it took."""
