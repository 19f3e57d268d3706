"""How much of a text an encoder reads in one pass, measured in its own tokens.

An encoder may have two members beyond the protocol: `window`, the tokens of content that one pass
reads (None where there is no limit), and `count_tokens(texts)`. One that has not is asked nothing:
it is taken to read every text whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from hoptrail.errors import FormatError, InputError

BYTES_A_TOKEN = 4
"""By which tokens are estimated for an encoder that does not count them."""


@runtime_checkable
class Windowed(Protocol):
    """An encoder that says how much it reads at once."""

    @property
    def window(self) -> int | None:
        """Tokens of content that one pass reads, at least 1; None where there is no limit."""

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """How many tokens of content each text has, in the encoder's own tokens."""


def window_of(encoder: object) -> int | None:
    """The tokens that one pass of an encoder reads; None where it has or names no limit."""
    window = getattr(encoder, "window", None)
    return window if isinstance(window, int) and hasattr(encoder, "count_tokens") else None


def count_tokens(encoder: object, texts: Sequence[str]) -> list[int]:
    """The tokens of each text in an encoder's own; an estimate where it does not count them.

    The estimate is a token for every four bytes: about right for English words, and for Chinese a
    little less than a character.

    Raises:
        InputError: The texts are one string.
    """
    if isinstance(texts, str):
        raise InputError("count_tokens takes a list of texts, not one string")
    own = getattr(encoder, "count_tokens", None)
    if own is not None:
        counts: list[int] = own(texts)
        return counts
    return [-(-len(text.encode("utf-8", "surrogatepass")) // BYTES_A_TOKEN) for text in texts]


def tokenizer_of(text: str) -> Any:
    """A tokeniser from its JSON, which neither cuts nor fills up.

    Raises:
        FormatError: It is none.
    """
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_str(text)
    except Exception as error:  # the library raises nothing more special
        raise FormatError(f"the tokeniser of an encoder cannot be read: {error}") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def token_ids(tokenizer: Any, texts: Sequence[str]) -> list[NDArray[np.int64]]:
    """The ids of each text's tokens, in order, special ones left out."""
    encodings = tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
    return [np.asarray(one.ids, dtype=np.int64) for one in encodings]


def token_counts(tokenizer: Any, texts: Sequence[str]) -> list[int]:
    """How many tokens each text has, special ones left out.

    Raises:
        InputError: The texts are one string.
    """
    if isinstance(texts, str):
        raise InputError("count_tokens takes a list of texts, not one string")
    return [len(one) for one in tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]
