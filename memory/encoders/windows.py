"""Texts longer than an encoder's window: cut into windows that overlap, a vector for each.

An encoder may have two members beyond the protocol: `window`, the tokens of content that one pass
reads (None where there is no limit), and `count_tokens(texts)`. One that has not is asked nothing:
it is taken to read every text whole.

The mean of ten windows drowns a fact that stands in one, and a long window drowns it likewise: of
eighty texts of a dozen paragraphs each, asked for by a paragraph's title, the best of windows of
254 tokens put 61 % first, of 127 tokens 76 %, and the mean 30 %. A long text therefore has several
vectors: first that of the whole, then one for each window in order.

The whole's is what a pass over the beginning gives, as much as it reads, and the windows behind
that, each side weighed by its share of the text. A plain mean of windows lies nearer to every
query than a pass over the same text (by 0.023 on MuSiQue and HotpotQA; this by 0.006), and so put
long passages before shorter ones that were right.

The best of several windows lies nearer to a query than a text as a whole does, whatever it says
(by 0.06). A passage therefore scores by the whole, and by how much more its best window says:

    score(q, p) = q . whole + SHARE max(0, max over the windows w of p of  q . (w - whole))

Source: Dai and Callan 2019 (1905.09217), MaxP, with the whole beside the passages.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import accumulate
from json import JSONDecodeError, JSONDecoder
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from hoptrail.errors import FormatError, InputError
from hoptrail.memory.analysis.widths import plain_width
from hoptrail.memory.encoders.vectors import Vectors, checked_vectors

if TYPE_CHECKING:
    from hoptrail.memory.encoders.transformer import Encoder

BYTES_A_TOKEN = 4
"""By which tokens are estimated for an encoder that does not count them."""

PARTS = 2
"""A long text's windows have at most what a pass reads over this: the shorter a window, the less of
a fact is lost in what stands around it, and the more vectors there are."""

SHARE = 0.7
"""How much of what the best window has over the whole counts.

R@5 on train questions of MuSiQue, 2WikiMultiHopQA and HotpotQA by none of it: 51.7, 61.9, 73.7; by
0.4: 52.4, 62.6, 73.8; by 0.7: 52.4, 62.7, 73.7; by all: 52.0, 63.0, 73.4. Texts cut off: 52.0,
61.9, 73.6. The best of the windows and of their plain mean: 52.1, 62.5, 73.2."""

STATES = 1000
"""Characters of a tokeniser's JSON among which it says how it cuts and fills up."""

HEAD = 64
"""Characters a token of what a pass reads, among which its end is looked for."""

ENCODE_CHUNK = 1024
"""Texts given to the encoder at once, at most: between two reports of progress."""

REPORTS = 16
"""Reports of progress on fewer texts than fill that many chunks, down to 64 texts a chunk."""

OVERLAP = 8
"""A window repeats at most the last part in so many of the one before: whole sentences, or words
where a sentence had to be cut."""

_WORD = re.compile(r"[^\s。\uff01\uff1f।]{1,64}[。\uff01\uff1f।]*\s*|[。\uff01\uff1f।]+\s*|\s+")
"""With the space behind it; what is longer, as in scripts without spaces, in pieces."""

_SENTENCE_END = re.compile(r"[.!?…。\uff0e\uff01\uff1f।؟\u06d4]['\"»”’)\]]*\s*$|\n\s*$")


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
    usable = isinstance(window, int) and window > 0 and hasattr(encoder, "count_tokens")
    return window if usable else None


def counts_tokens(encoder: object) -> bool:
    """Whether an encoder counts tokens itself, and does not estimate for one that it wraps."""
    inner = getattr(encoder, "inner", None)
    return hasattr(encoder, "count_tokens") and (inner is None or counts_tokens(inner))


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
    """A tokeniser from its JSON, which neither cuts nor fills up, and is the caller's own.

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


def truncating_tokenizer(text: str, max_length: int) -> Any:
    """A tokeniser of its own that adds special tokens, and cuts behind what a pass reads.

    Args:
        text: The tokeniser, as the library `tokenizers` writes it.
        max_length: Tokens, the special ones among them.

    Raises:
        FormatError: It is none.
    """
    tokenizer = tokenizer_of(text)
    tokenizer.enable_truncation(max_length)
    return tokenizer


def shared_tokenizer(text: str, max_length: int | None = None) -> Any:
    """As `tokenizer_of` or, with a length, `truncating_tokenizer`; the same one for the same text.

    To read one takes as long as to encode a passage, and an encoder and its exports have the same.
    Cutting and filling up are states of a tokeniser: those of this one are not to be changed.

    Args:
        text: The tokeniser, as the library `tokenizers` writes it.
        max_length: Tokens, the special ones among them; None for one that does not cut.

    Raises:
        FormatError: It is none.
    """
    return _shared(_uncut(text), max_length)


@lru_cache(maxsize=8)
def _shared(text: str, max_length: int | None) -> Any:
    if max_length is None:
        return tokenizer_of(text)
    tokenizer = _copied(_shared(text, None)) or tokenizer_of(text)
    tokenizer.enable_truncation(max_length)
    return tokenizer


def _uncut(text: str) -> str:
    """A tokeniser's JSON as it is of one that neither cuts nor fills up: these states stand first.

    Text of another order stays as it is, and is then not known for the same.
    """
    for state in ("truncation", "padding"):
        key = text.find(f'"{state}":', 0, STATES)
        if key < 0:
            return text
        start = key + len(state) + 3
        try:
            _, end = JSONDecoder().raw_decode(text, start)
        except JSONDecodeError:  # what reads it all says what is wrong
            return text
        text = f"{text[:start]}null{text[end:]}"
    return text


def _copied(tokenizer: Any) -> Any:
    """Another tokeniser of the same parts, with states of its own; None if it did not become one.

    To read one of thirty thousand words again takes two hundred times as long.
    """
    from tokenizers import Tokenizer

    copy = Tokenizer(tokenizer.model)
    for name in ("normalizer", "pre_tokenizer", "post_processor", "decoder"):
        if (component := getattr(tokenizer, name)) is not None:
            setattr(copy, name, component)
    added = tokenizer.get_added_tokens_decoder()
    for _, token in sorted(added.items()):
        (copy.add_special_tokens if token.special else copy.add_tokens)([token])
    return copy if copy.get_added_tokens_decoder() == added else None


def token_ids(tokenizer: Any, texts: Sequence[str]) -> list[NDArray[np.int64]]:
    """The ids of each text's tokens, in order, special ones left out."""
    encodings = tokenizer.encode_batch_fast(plain_width(texts), add_special_tokens=False)
    return [np.asarray(one.ids, dtype=np.int64) for one in encodings]


def token_counts(tokenizer: Any, texts: Sequence[str]) -> list[int]:
    """How many tokens each text has, special ones left out.

    Raises:
        InputError: The texts are one string.
    """
    if isinstance(texts, str):
        raise InputError("count_tokens takes a list of texts, not one string")
    return [
        len(one)
        for one in tokenizer.encode_batch_fast(plain_width(texts), add_special_tokens=False)
    ]


def windows_of(encoder: object, texts: Sequence[str]) -> dict[int, list[str]]:
    """The windows of those texts that one pass does not read whole, by their row.

    Each has at most half the tokens that a pass reads, and begins and ends at the border of a
    sentence if there is one near, else of a word; a word that is itself too long is cut.
    """
    window = window_of(encoder)
    if window is None:
        return {}
    # A token has at least a character, but where letters are taken apart, which ASCII's never are.
    rows = [i for i, text in enumerate(texts) if len(text) >= window or not text.isascii()]
    counts = count_tokens(encoder, [texts[i] for i in rows])
    long = [i for i, tokens in zip(rows, counts, strict=True) if tokens > window]
    sizes_of: dict[str, int] = {}
    return {i: split_windows(encoder, texts[i], max(1, window // PARTS), sizes_of) for i in long}


def split_windows(
    encoder: object, text: str, window: int, sizes_of: dict[str, int] | None = None
) -> list[str]:
    """A text as overlapping windows of at most `window` tokens, in order; the whole if it fits.

    Args:
        encoder: Counts the tokens.
        text: What is cut.
        window: Tokens, at least 1.
        sizes_of: The tokens of words; what is not there is added.
    """
    words, sizes = _words(encoder, text, window, {} if sizes_of is None else sizes_of)
    # Tokens before each word: what stands between two of them is a difference.
    before = [0, *accumulate(sizes)]
    ends = [i + 1 for i, word in enumerate(words) if _SENTENCE_END.search(word)]
    parts: list[str] = []
    first = 0
    while True:
        last = max(first + 1, bisect_right(before, before[first] + window) - 1)
        if last < len(words):
            last = _cut(ends, max(first + 1, first + (last - first) * 3 // 4), last)
        parts.extend(_fitting(encoder, "".join(words[first:last]).strip(), window))
        if last >= len(words):
            return [part for part in parts if part] or [text]
        least = bisect_left(before, before[last] - window // OVERLAP)
        first = max(first + 1, _begin(ends, least, last))


def encode_passages(
    encoder: Encoder, texts: Sequence[str], windows: Mapping[int, list[str]] | None = None
) -> list[Vectors]:
    """All vectors of each text, `(m, d)`: one, or those of the whole and of each window.

    Args:
        encoder: Theirs.
        texts: Passages' contents.
        windows: What `windows_of` gave, where that is known.

    Raises:
        InputError: The encoder gave something else than vectors.
    """
    own = getattr(encoder, "encode_passages", None)
    if own is not None and windows is None:
        vectors: list[Vectors] = own(texts)
        return vectors
    windows = windows_of(encoder, texts) if windows is None else windows
    return assembled(
        encoder, texts, windows, lambda flat: checked_vectors(encoder.encode(flat), flat, encoder)
    )


def encode_in_chunks(
    encoder: Encoder, texts: Sequence[str], progress: Callable[[int, int], None] | None
) -> list[Vectors]:
    """The same of many texts, a part at a time.

    Args:
        encoder: Theirs.
        texts: Passages' contents.
        progress: Called with (texts done, texts in all) before the first and after each part.

    Raises:
        InputError: The encoder gave something else than vectors.
    """
    vectors: list[Vectors] = []
    chunk = min(ENCODE_CHUNK, max(64, len(texts) // REPORTS))
    for start in range(0, len(texts), chunk):
        part = texts[start : start + chunk]
        if progress and not start:
            progress(0, len(texts))
        vectors += encode_passages(encoder, part)
        if progress:
            progress(start + len(part), len(texts))
    return vectors


def assembled(
    encoder: object,
    texts: Sequence[str],
    windows: Mapping[int, list[str]],
    encode: Callable[[list[str]], Vectors],
) -> list[Vectors]:
    """The vectors of each text, `(m, d)`, all encoded together.

    Args:
        encoder: Counts the tokens.
        texts: Those that fit are encoded themselves.
        windows: Of the others, by their row.
        encode: The vectors of texts that fit, `(n, d)`.
    """
    most = window_of(encoder) or 1
    counts: dict[str, int] = {}
    heads = [
        split_windows(encoder, text[: most * HEAD], most, counts)[0] if row in windows else text
        for row, text in enumerate(texts)
    ]
    rows = encode(heads + [part for row in sorted(windows) for part in windows[row]])
    at = len(texts)
    vectors: list[Vectors] = []
    for row, text in enumerate(texts):
        head = rows[row]
        if row not in windows:
            vectors.append(head[None])
            continue
        parts = rows[at : at + len(windows[row])]
        whole = pooled(head, parts, len(heads[row]) / len(text))
        vectors.append(np.concatenate([whole[None], parts]))
        at += len(parts)
    return vectors


def pooled(head: Vectors, parts: Vectors, share: float) -> Vectors:
    """The unit vector `(d,)` of a long text as a whole; the head's where all cancel out.

    Args:
        head: `(d,)` of its beginning, as much as a pass reads.
        parts: `(m, d)` of its windows.
        share: Of the text that the head is.
    """
    behind = max(1, round(len(parts) * (1 - share)))
    rest = parts[-behind:].astype(np.float64).mean(axis=0)
    mean = share * head.astype(np.float64) + (1 - share) * rest
    length = float(np.linalg.norm(mean))
    return head if length < 1e-6 else np.asarray(mean / length, dtype=np.float32)


def leaning(windows: Vectors, wholes: Vectors) -> Vectors:
    """Windows as they are compared, `(e, d)`: each moved towards its passage's whole.

    The best product of a query with these and the whole is the score above.

    Args:
        windows: `(e, d)`.
        wholes: `(e, d)` that of each one's passage.
    """
    return wholes + np.float32(SHARE) * (windows - wholes)


def main_vectors(passages: Sequence[Vectors], dim: int) -> Vectors:
    """The first vector of each passage, `(n, d)`: that of the whole."""
    if not passages:
        return np.zeros((0, dim), dtype=np.float32)
    return np.stack([vectors[0] for vectors in passages])


def _words(
    encoder: object, text: str, window: int, sizes_of: dict[str, int]
) -> tuple[list[str], list[int]]:
    """The text's words with the space behind each, and their tokens; long ones in pieces."""
    most = max(1, window // 2)
    words = _WORD.findall(text)
    sizes = _sizes(encoder, words, sizes_of)
    while any(size > most for size in sizes):
        halves = [
            piece
            for word, size in zip(words, sizes, strict=True)
            for piece in (_halves(word) if size > most else (word,))
        ]
        if len(halves) == len(words):
            break  # single characters
        words, sizes = halves, _sizes(encoder, halves, sizes_of)
    return words, sizes


def _sizes(encoder: object, words: Sequence[str], sizes_of: dict[str, int]) -> list[int]:
    """The tokens of each word; each word is counted once, as most come again and again."""
    new = list(dict.fromkeys(word for word in words if word not in sizes_of))
    sizes_of.update(zip(new, count_tokens(encoder, new), strict=True))
    return [sizes_of[word] for word in words]


def _halves(word: str) -> tuple[str, ...]:
    middle = len(word) // 2
    return (word[:middle], word[middle:]) if middle else (word,)


def _cut(ends: Sequence[int], least: int, most: int) -> int:
    """Where a window ends that may end in `[least, most]`: with the last sentence, else there."""
    at = bisect_right(ends, most)
    return ends[at - 1] if at and ends[at - 1] >= least else most


def _begin(ends: Sequence[int], least: int, last: int) -> int:
    """Where the next one begins, in `[least, last]`: with a sentence, the first that it may."""
    at = bisect_left(ends, least)
    return ends[at] if at < len(ends) and ends[at] <= last else least


def _fitting(encoder: object, part: str, window: int) -> list[str]:
    """The part, in halves while it has more tokens than its words have one by one."""
    if len(part) < 2 or count_tokens(encoder, [part])[0] <= window:
        return [part]
    return [p for half in _halves(part) for p in _fitting(encoder, half, window)]
