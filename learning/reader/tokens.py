"""A trail as a reader sees it: the tokens of its passages, and batches of such trails.

Each passage is encoded together with the question, so that its token vectors know what is asked;
the question's own tokens come along, but no answer is taken from them. The trail keeps the texts,
so that a span of tokens can be said in words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hoptrail.errors import InputError
from hoptrail.learning.reader.answers import inside_word

Encoded = tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32]]
"""Token vectors `(t, d)`, their character spans `(t, 2)` and the text's vector `(d,)`."""


@dataclass(frozen=True, slots=True, eq=False)
class TrailTokens:
    """The tokens of one trail's passages, in the order they were read; t = 0 if none was."""

    vectors: Tensor
    """`(t, d)` float32, of a frozen encoder."""
    passage: Tensor
    """Which passage a token is from, `(t,)` int64, ascending from 0."""
    asked: Tensor
    """Bool `(t,)`: True for the question's own tokens."""
    begins: Tensor
    """Bool `(t,)`: whether an answer may begin here: not in the question, not within a word."""
    ends: Tensor
    """Bool `(t,)`: whether an answer may end here."""
    characters: NDArray[np.int64]
    """First character and the one past the last, in the passage's text, `(t, 2)`."""
    pooled: Tensor
    """A vector a passage, `(p, d)` float32."""
    texts: tuple[str, ...]
    """What was encoded: the question, then the passage's content."""

    def span_text(self, start: int, end: int) -> str:
        """The text from the first to the last of these tokens, both inclusive.

        Args:
            start: Index of the first token.
            end: Of the last, which is of the same passage.
        """
        text = self.texts[int(self.passage[start])]
        return text[self.characters[start, 0] : self.characters[end, 1]]


@dataclass(frozen=True, slots=True, eq=False)
class TrailBatch:
    """Trails padded to the longest; padding belongs to no passage and answers nothing."""

    vectors: Tensor
    """`(b, t, d)`; t >= 1."""
    passage: Tensor
    """`(b, t)` int64, -1 for padding."""
    asked: Tensor
    """Bool `(b, t)`."""
    begins: Tensor
    """Bool `(b, t)`."""
    ends: Tensor
    """Bool `(b, t)`."""
    pooled: Tensor
    """`(b, p, d)`; p >= 1."""
    present: Tensor
    """Bool `(b, p)`: which passages there are."""


def encoded_text(question: str, content: str) -> str:
    """What to encode for a passage of a trail.

    Args:
        question: What was asked.
        content: `Passage.content`.
    """
    return f"{question} {content}"


def trail_tokens(
    question: str, contents: Sequence[str], encoded: Sequence[Encoded], *, dim: int
) -> TrailTokens:
    """A trail from what `TransformerEncoder.encode_tokens` gave for each `encoded_text`.

    Args:
        question: The question that stands before each passage.
        contents: `Passage.content` of the passages, in the order they were read; may be empty.
        encoded: Of the same passages, in the same order.
        dim: The encoder's width d, which an empty trail cannot tell.

    Raises:
        InputError: The numbers of passages differ, or a vector is not of width `dim`.
    """
    if len(contents) != len(encoded):
        raise InputError(f"{len(contents)} passages need as many encodings, got {len(encoded)}")
    for vectors, _, pooled in encoded:
        if vectors.shape[1:] != (dim,) or pooled.shape != (dim,):
            raise InputError(
                f"token and passage vectors should be of width {dim}, "
                f"got shapes {vectors.shape} and {pooled.shape}"
            )
    characters = np.concatenate([np.zeros((0, 2), np.int64)] + [spans for _, spans, _ in encoded])
    lengths = np.array([len(spans) for _, spans, _ in encoded], dtype=np.int64)
    texts = tuple(encoded_text(question, content) for content in contents)
    answerable = characters[:, 0] >= len(question)
    owner = np.repeat(np.arange(len(encoded)), lengths)
    cuts = [
        (inside_word(texts[p], int(start)), inside_word(texts[p], int(end)))
        for p, (start, end) in zip(owner, characters, strict=True)
    ]
    whole = ~np.array(cuts, dtype=bool).reshape(-1, 2)  # (t, 2)
    empty = np.zeros((0, dim), np.float32)
    tokens = np.concatenate([empty, *(vectors for vectors, _, _ in encoded)])
    pooled = np.concatenate([empty, *(vector[None] for _, _, vector in encoded)])
    return TrailTokens(
        vectors=torch.from_numpy(tokens),
        passage=torch.from_numpy(owner),
        asked=torch.from_numpy(~answerable),
        begins=torch.from_numpy(answerable & whole[:, 0]),
        ends=torch.from_numpy(answerable & whole[:, 1]),
        characters=characters,
        pooled=torch.from_numpy(pooled),
        texts=texts,
    )


def pad_trails(trails: Sequence[TrailTokens]) -> TrailBatch:
    """The trails as one batch.

    Args:
        trails: b of them, of vectors of one width.

    Returns:
        Padded to the most tokens t and the most passages p, each at least 1.

    Raises:
        InputError: There is none, or their widths differ.
    """
    if not trails:
        raise InputError("a batch needs at least one trail, got none")
    widths = {trail.vectors.shape[1] for trail in trails}
    if len(widths) > 1:
        raise InputError(f"the trails' vectors should be of one width, got {sorted(widths)}")
    tokens = max(1, max(len(trail.vectors) for trail in trails))
    passages = max(1, max(len(trail.pooled) for trail in trails))
    like = trails[0].vectors
    batch = len(trails)
    vectors = like.new_zeros(batch, tokens, widths.pop())
    pooled = like.new_zeros(batch, passages, vectors.shape[2])
    passage = torch.full((batch, tokens), -1, dtype=torch.long, device=like.device)
    flags = torch.zeros(3, batch, tokens, dtype=torch.bool, device=like.device)
    present = torch.zeros(batch, passages, dtype=torch.bool, device=like.device)
    for row, trail in enumerate(trails):
        t, p = len(trail.vectors), len(trail.pooled)
        vectors[row, :t] = trail.vectors
        passage[row, :t] = trail.passage
        flags[:, row, :t] = torch.stack([trail.asked, trail.begins, trail.ends])
        pooled[row, :p] = trail.pooled
        present[row, :p] = True
    return TrailBatch(vectors, passage, flags[0], flags[1], flags[2], pooled, present)
