"""Letters and digits of another width or weight, for tokenisers that know only the plain ones.

To MiniLM's vocabulary a word in full-width letters, half-width kana or letters of mathematics is an
unknown token, the same for every such word. Each stands for one plain character, so that places in
a text stay what they are; texts without them are read as they are written.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

_RANGES = ((0xFF10, 0xFF5A), (0xFF66, 0xFF9D), (0x1D400, 0x1D7FF))
"""Full-width letters and digits, half-width kana, letters of mathematics."""

_OTHER = re.compile("[\u3000\uff10-\uff5a\uff66-\uff9f\U0001d400-\U0001d7ff]")


def _table() -> dict[int, str]:
    plain = {0x3000: " ", 0xFF9E: "\u3099", 0xFF9F: "\u309a"}  # the marks of kana join the letter
    for first, last in _RANGES:
        for point in range(first, last + 1):
            stands_for = unicodedata.normalize("NFKC", chr(point))
            if len(stands_for) == 1 and stands_for.isalnum():
                plain[point] = stands_for
    return plain


_PLAIN = _table()


def plain_width(texts: Sequence[str]) -> list[str]:
    """The texts as a tokeniser reads them, each as long as it was.

    Args:
        texts: n of them; perhaps none.

    Examples:
        >>> plain_width(["\uff2f\uff4b\u3000\uff14\uff12", "x\u00b2"])
        ['Ok 42', 'x²']
    """
    return [text.translate(_PLAIN) if _OTHER.search(text) else text for text in texts]
