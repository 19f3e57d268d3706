"""An encoder around another: what the one inside says of itself holds for it too."""

from __future__ import annotations

from collections.abc import Sequence

from hoptrail.memory.encoders.transformer import Encoder
from hoptrail.memory.encoders.windows import count_tokens, window_of


class WrappedEncoder:
    """What the encoders with a cache before them have in common.

    Args:
        encoder: The one inside.
    """

    def __init__(self, encoder: Encoder) -> None:
        self.inner = encoder

    @property
    def fingerprint(self) -> str:
        """The inner encoder's."""
        return self.inner.fingerprint

    @property
    def dim(self) -> int:
        """The inner encoder's."""
        return self.inner.dim

    @property
    def window(self) -> int | None:
        """The inner encoder's; None where it names none."""
        return window_of(self.inner)

    @property
    def query_side(self) -> Encoder | None:
        """The inner encoder's, past the cache; None where that has none of its own."""
        side: Encoder | None = getattr(self.inner, "query_side", None)
        return side

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """The inner encoder's count, or an estimate where it has none."""
        return count_tokens(self.inner, texts)


def uncached(encoder: Encoder) -> Encoder:
    """The encoder without the caches before it.

    Queries go to it, so that none is written to the disk and every timing is what it says; so does
    whoever needs more of an encoder than its vectors, such as those of single tokens.

    Args:
        encoder: Any, with caches before it or without.
    """
    while isinstance(encoder, WrappedEncoder):
        encoder = encoder.inner
    return encoder
