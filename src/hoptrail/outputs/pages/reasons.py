"""Why a passage came back, in words: what its score is made of, and what brought it in."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hoptrail.outputs.pages.shapes import HitShape, HitSourceShape

_FACTORS = {
    "lexical": "words",
    "dense": "meaning",
    "likeness": "like what was read",
    "length": "length",
    "total": "all alike",
    "judge": "judged jointly",
    "feedback": "learned from feedback",
}
_RANKINGS = {
    "hybrid": "words and meaning",
    "dense": "meaning",
    "lexical": "words",
    "pagerank": "the graph around these hits",
    "title": "the question names it",
    "query": "a next query",
    "entities": "names in common",
}
_LINKS = {"mentions": "named", "mentioned_by": "names it"}
NO_SHARES = "its score is an order and no product"
"""Of a hit without shares."""


def reason_lines(hit: HitShape) -> list[str]:
    """What a score is made of, as a product, and what brought the passage into the pool.

    Factors that change less than a hundredth are left out.

    Args:
        hit: Of a recall.
    """
    shares = hit.shares
    if shares is None:
        return [NO_SHARES]
    over = f" ({shares.links:.0%} over links)" if shares.links >= 0.005 else ""
    factors = ((words, getattr(shares, name)) for name, words in _FACTORS.items())
    parts = [f"{value:.3g} {words}" for words, value in factors if abs(value - 1) >= 0.01]
    product = " \u00d7 ".join([f"{shares.policy:.2g} by the policy{over}", *parts])
    return [f"score: {product}", f"in the pool by: {', '.join(map(_source_text, hit.sources))}"]


def _source_text(source: HitSourceShape) -> str:
    if source.link is not None:
        kind = _LINKS.get(source.link, f"link {source.link}")
        return f"{kind} ({source.id})" if source.id else kind
    name = _RANKINGS.get(source.ranking or "", source.ranking or "")
    rank = f" (rank {source.rank})" if source.rank else ""
    return f"{name}{rank}" if source.id is None else f"{name} ({source.id})"
