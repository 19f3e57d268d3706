"""Efforts: how much a recall may spend, by name."""

from __future__ import annotations

from dataclasses import dataclass

from hoptrail.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Effort:
    """The bounds of one recall: its cost is at most beam × hops states and `reads` encodings."""

    name: str
    beam: int
    """Prefixes kept after each hop."""
    hops: int
    """Passages that one trail may read."""
    reads: int
    """Different passages that all trails together may read."""
    reencode: bool
    """Encode question ⊕ passage for each passage read; otherwise the query moves as a vector."""
    networks: int | None = None
    """How many of the policy's networks are asked, at most; π is the mean of theirs. None: all."""
    negligible: float = 1e-2
    """A prefix less probable than this is not expanded; the likeliest first read always is."""
    joint: int = 0
    """Candidates that are scored once more, jointly with what was read; see `policies.joint`."""


EFFORTS = {
    "fast": Effort("fast", beam=3, hops=4, reads=8, reencode=False, networks=1, negligible=5e-2),
    "balanced": Effort("balanced", beam=4, hops=4, reads=8, reencode=True),
    "thorough": Effort("thorough", beam=4, hops=4, reads=8, reencode=True, joint=20),
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
        known = ", ".join(EFFORTS)
        raise ConfigError(f"there is no effort {name!r} in this version; choose {known}") from None
