"""What each operation returns to a program, as JSON values; `json_views` fills the common parts."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel


class LinkResult(BaseModel):
    """A link, as a passage holds it."""

    target: str
    kind: str
    weight: float


class HitResult(BaseModel):
    """A passage that was found, and how well it fits."""

    id: str
    title: str | None
    text: str
    score: float
    namespace: list[str]
    metadata: dict[str, Any]
    links: list[LinkResult]
    valid_from: float | None
    valid_until: float | None


class SharesResult(BaseModel):
    """The factors of a score, as `hoptrail.Shares` says them; `links` is a part of `policy`."""

    policy: float
    links: float
    lexical: float
    dense: float
    likeness: float
    length: float
    total: float
    judge: float
    feedback: float


class SourceResult(BaseModel):
    """What brought a passage into the pool of a recall: a ranking or a link."""

    ranking: str | None
    rank: int | None
    link: str | None
    id: str | None
    namespace: list[str]


class RecalledResult(HitResult):
    """A passage of a recall."""

    sub_question: str | None
    shares: SharesResult | None
    sources: list[SourceResult]
    probability: float | None
    complete: float | None


class HopResult(BaseModel):
    """One step of a trail."""

    query: str
    id: str
    namespace: list[str]
    link: str | None
    probability: float
    stop_probability: float


class TrailResult(BaseModel):
    """One path through the memory."""

    probability: float
    stop_reason: str
    stop_probability: float
    hops: list[HopResult]


class CostResult(BaseModel):
    """What a recall took."""

    milliseconds: float
    texts_encoded: int
    candidates: int
    passages_read: int
    pairs_scored: int


class RecallResult(BaseModel):
    """Of `recall`."""

    id: str
    question: str
    passages: list[RecalledResult]
    complete: float | None
    trails: list[TrailResult]
    cost: CostResult


class EvidenceResult(BaseModel):
    """A passage that an answer rests on, and where in it the answer stands."""

    id: str
    namespace: list[str]
    title: str | None
    field: str
    start: int | None
    end: int | None


class AskResult(BaseModel):
    """Of `ask`."""

    question: str
    answer: str | None
    """None where the memory does not hold an answer."""
    known: bool
    probability: float | None
    answerable: float | None
    evidence: list[EvidenceResult]
    recall: RecallResult | None


class SearchResult(BaseModel):
    """Of `search`."""

    passages: list[HitResult]


class RememberResult(BaseModel):
    """Of `remember`."""

    id: str
    """Of the passage that says it now."""
    written: bool
    """False where a passage that says the same was there already."""


class UpdateResult(BaseModel):
    """Of `update`: the passage as it now is."""

    id: str
    title: str | None
    text: str
    metadata: dict[str, Any]
    expires_at: float | None


class SupersedeResult(BaseModel):
    """Of `supersede`."""

    id: str
    """Of the passage that holds now."""
    superseded: str
    """Of the one whose place it took."""
    valid_from: float | None
    """Seconds since 1970."""


class ForgetResult(BaseModel):
    """Of `forget`."""

    deleted: list[str]


class LinkedResult(BaseModel):
    """Of `link`."""

    source: str
    target: str
    kind: str


class FeedbackResult(BaseModel):
    """Of `feedback`."""

    recall: str
    reward: float
