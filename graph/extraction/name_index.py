"""What the index of names holds of a text, and what it is asked for a name.

A mention has a capital, so that a text is entered under its capitalised words and under its pairs
of neighbours, those with a capital apart from those without. A name of one word is found by the
word, one of two by the pair with a capital: among a million texts no more of them are read than
mention it. Of a longer one the pairs have to be there, all or three: only a text that holds them
in other places is read in vain.
"""

from __future__ import annotations

import zlib
from itertools import pairwise

from hoptrail.graph.extraction.names import STOP_WORDS, WordSpans, may_name

PAIRS = 3
"""At most this many pairs of a name are looked up, the longest, since these are rare."""


def index_keys(text: WordSpans, namespace: str) -> str:
    """The keys that a text is entered under, with blanks between them.

    Args:
        text: Cut into words.
        namespace: As stored; two that share a key only cost a vain look.
    """
    folded = text.folded
    meant = [word not in STOP_WORDS and may_name(text, i) for i, word in enumerate(folded)]
    grams = [word for word, names in zip(folded, meant, strict=True) if names]
    grams += [
        f"{a} {b}" if names or follows else f"{a}_{b}"
        for (a, b), (names, follows) in zip(pairwise(folded), pairwise(meant), strict=True)
    ]
    salt = zlib.crc32(namespace.encode())
    return " ".join([f"{zlib.crc32(gram.encode(), salt):x}" for gram in dict.fromkeys(grams)])


def index_query(name: str, namespace: str) -> str:
    """The query of FTS5 that finds every text in which a name may stand.

    Args:
        name: Folded words with spaces between them.
        namespace: As stored.
    """
    salt = zlib.crc32(namespace.encode())

    def key(gram: str) -> str:
        return f'"{zlib.crc32(gram.encode(), salt):x}"'

    pairs = list(pairwise(name.split(" ")))
    if len(pairs) < 2:
        return key(name)
    longest = sorted(pairs, key=lambda pair: len(pair[0]) + len(pair[1]), reverse=True)[:PAIRS]
    return " AND ".join(f"({key(f'{a} {b}')} OR {key(f'{a}_{b}')})" for a, b in longest)
