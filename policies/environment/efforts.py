"""Efforts: how much a recall may spend, by name."""

from __future__ import annotations

from dataclasses import dataclass

from hoptrail.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Effort:
    """The bounds of one recall.

    Its cost is at most `beam_width` × `max_hops` states and `max_reads` encodings.
    """

    name: str
    beam_width: int
    """Prefixes kept after each hop."""
    max_hops: int
    """Passages that one trail may read."""
    max_reads: int
    """Different passages that all trails together may read."""
    reencode: bool
    """Encode question ⊕ evidence for the states entered; otherwise queries move as vectors."""
    networks: int | None = None
    """How many of the policy's networks are asked, at most; π is the mean of theirs. None: all."""
    prune_below: float = 1e-2
    """A prefix less probable than this is not expanded; the likeliest first read always is."""
    encode_above: float = 0.0
    """States less probable than this cost no encoder pass: their queries move as vectors."""
    rerank_top: int = 0
    """Candidates that are scored once more, jointly with what was read; see
    `hoptrail.policies.search.reranker`."""


EFFORTS = {
    "fast": Effort("fast", beam_width=3, max_hops=4, max_reads=8, reencode=False, prune_below=5e-2),
    "balanced": Effort(
        "balanced", beam_width=4, max_hops=4, max_reads=8, reencode=True, encode_above=0.1
    ),
    "thorough": Effort(
        "thorough",
        beam_width=4,
        max_hops=4,
        max_reads=8,
        reencode=True,
        encode_above=0.1,
        rerank_top=20,
    ),
}

DEFAULT = "balanced"


def effort(name: str) -> Effort:
    """The effort of that name.

    Args:
        name: "fast", "balanced" or "thorough".

    Raises:
        ConfigError: There is none.
    """
    try:
        return EFFORTS[name]
    except (KeyError, TypeError):
        names = ", ".join(EFFORTS)
        raise ConfigError(f"there is no effort {name!r} in this version; choose {names}") from None
