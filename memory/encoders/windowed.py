"""Encoders by passes of limited length: what a pass cannot read goes through it in windows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from hoptrail.errors import InputError
from hoptrail.memory.encoders.vectors import Vectors
from hoptrail.memory.encoders.windows import (
    assembled,
    main_vectors,
    shared_tokenizer,
    token_counts,
    windows_of,
)


class WindowedEncoder(ABC):
    """An `Encoder` whose passes read so many tokens at most; its subclasses make the passes.

    Args:
        tokenizer: The tokeniser, as the library `tokenizers` writes it in JSON.
        max_length: Tokens that one pass reads, the special ones among them; None for no limit.

    Raises:
        FormatError: The tokeniser cannot be read.
    """

    def __init__(self, tokenizer: str, max_length: int | None) -> None:
        self._counter = shared_tokenizer(tokenizer)
        special = int(self._counter.num_special_tokens_to_add(is_pair=False))
        self._window = None if max_length is None else max_length - special

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """Names the weights and the way they are used; equal fingerprints mean equal vectors."""

    @property
    @abstractmethod
    def dim(self) -> int:
        """The width d of a vector."""

    @property
    def window(self) -> int | None:
        """Tokens of content that one pass reads, the special ones left out; None for no limit."""
        return self._window

    @property
    def tokenizer_json(self) -> str:
        """The tokeniser, as the library `tokenizers` writes it: it neither cuts nor fills up."""
        return str(self._counter.to_str())

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """How many tokens of content each text has, however long it is.

        Args:
            texts: n of them, of any length.

        Raises:
            InputError: The texts are one string.
        """
        return token_counts(self._counter, texts)

    def encode(self, texts: Sequence[str]) -> Vectors:
        """The vectors of the texts, `(n, d)` float32, L2-normalised.

        That of a text longer than the window is a mean over all of it: see
        `hoptrail.memory.encoders.windows`.

        Args:
            texts: n of them, of any length; perhaps none.

        Raises:
            InputError: The texts are one string.
        """
        if isinstance(texts, str):
            raise InputError("encode takes a list of texts, not one string")
        long = windows_of(self, texts)
        if not long:
            return self._encode_short(texts)
        return main_vectors(assembled(self, texts, long, self._encode_short), self.dim)

    @abstractmethod
    def _encode_short(self, texts: Sequence[str]) -> Vectors:
        """The vectors `(n, d)` of texts that one pass reads; what is longer is cut off."""
