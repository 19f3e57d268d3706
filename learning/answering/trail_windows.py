"""What a reader sees at once: a question, and as many passages of a trail as one pass takes.

    [CLS] question [SEP] passage 1 [SEP] passage 2 ...

An answer that takes two passages is found where both stand side by side, so passages are put
together in the order in which they were read, whole while they fit. What no longer fits begins the
next window, beside the question again; a passage longer than a window is read in parts, each of
which repeats the end of the one before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hoptrail.errors import InputError
from hoptrail.learning.reader.answers import inside_word, match_spans, normalize_answer
from hoptrail.memory.analysis.widths import plain_width

QUESTION_TOKENS = 96
"""Of a question, at most: what stands behind them is not read."""
REPEATED, REPEATED_SHARE = 32, 1 / 8
"""Tokens of a long passage that its next part begins with, at most, and of a window's length."""
SHORTEST = 32
"""Tokens of a window, at least."""

Span = tuple[int, int]
"""The first and the last token of a passage that an answer takes, both inclusive."""


@dataclass(frozen=True, slots=True, eq=False)
class PassageTokens:
    """A text cut into t tokens."""

    ids: NDArray[np.int64]
    """`(t,)`."""
    characters: NDArray[np.int64]
    """Each token's first character and the one past its last, `(t, 2)`."""
    begins: NDArray[np.bool_]
    """`(t,)`: whether an answer may begin with it, which it may not within a word."""
    ends: NDArray[np.bool_]
    """`(t,)`: whether an answer may end with it."""

    def without(self, start: int, end: int) -> PassageTokens:
        """The tokens but for those of some characters.

        Args:
            start: The first of these characters.
            end: The one past their last.
        """
        rest = (self.characters[:, 1] <= start) | (self.characters[:, 0] >= end)
        return PassageTokens(
            self.ids[rest], self.characters[rest], self.begins[rest], self.ends[rest]
        )

    def span_of(self, start: int, end: int) -> Span | None:
        """The tokens of some characters; None where tokens do not begin and end there."""
        first = int(np.searchsorted(self.characters[:, 0], start))
        last = int(np.searchsorted(self.characters[:, 1], end))
        if first >= len(self.ids) or last >= len(self.ids) or last < first:
            return None
        exact = self.characters[first, 0] == start and self.characters[last, 1] == end
        return (first, last) if exact and self.begins[first] and self.ends[last] else None


def cut_texts(tokenizer: Any, texts: Sequence[str]) -> list[PassageTokens]:
    """Texts as tokens, without special ones.

    Args:
        tokenizer: Of the library `tokenizers`; it neither truncates nor pads.
        texts: n of them.
    """
    encodings = tokenizer.encode_batch(plain_width(list(texts)), add_special_tokens=False)
    return [_cut(text, encoding) for text, encoding in zip(texts, encodings, strict=True)]


def _cut(text: str, encoding: Any) -> PassageTokens:
    characters = np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2)
    begins = np.ones(len(characters), dtype=bool)
    ends = np.ones(len(characters), dtype=bool)
    # Only where tokens touch can a word go on.
    for i in np.flatnonzero(characters[1:, 0] == characters[:-1, 1]).tolist():
        if inside_word(text, int(characters[i, 1])):
            ends[i] = begins[i + 1] = False
    return PassageTokens(np.array(encoding.ids, dtype=np.int64), characters, begins, ends)


def answer_spans(
    text: str, tokens: PassageTokens, answers: Sequence[str], *, max_span: int
) -> list[Span]:
    """Where a passage says one of the accepted answers.

    Args:
        text: The passage's content.
        tokens: Of it.
        answers: Accepted; `yes` and `no` stand for classes and match nothing.
        max_span: Tokens of a span, at most.
    """
    inside = normalize_answer(text)
    normal = {normalize_answer(answer): answer for answer in answers if answer.strip()}
    present = [
        answer for form, answer in normal.items() if form in inside and form not in ("yes", "no")
    ]
    if not present:
        return []
    spans = match_spans(text, tokens.characters, present, max_span=max_span)
    return [(i, j) for i, j in spans if tokens.begins[i] and tokens.ends[j]]


@dataclass(frozen=True, slots=True, eq=False)
class TrailWindow:
    """What one pass reads, t tokens."""

    ids: NDArray[np.int64]
    """`(t,)`."""
    passage: NDArray[np.int64]
    """`(t,)`: the place in the trail of the passage that a token is from; -1 for none."""
    token: NDArray[np.int64]
    """`(t,)`: which token of its passage it is; -1 for none."""
    begins: NDArray[np.bool_]
    """`(t,)`: whether an answer may begin with it."""
    ends: NDArray[np.bool_]
    """`(t,)`: whether an answer may end with it."""
    marks: tuple[tuple[int, int], ...]
    """Where the separator before a passage stands, and the place of the passage in the trail."""


@dataclass(frozen=True, slots=True)
class WindowLayout:
    """How windows are put together.

    Args:
        first: Id of the token that begins one.
        separator: Of the one that stands before each passage.
        length: Tokens of a window, at most.

    Raises:
        InputError: A window has no room for a question and a passage.
    """

    first: int
    separator: int
    length: int

    def __post_init__(self) -> None:
        if self.length < SHORTEST:
            raise InputError(f"a window should have at least {SHORTEST} tokens, got {self.length}")

    @property
    def repeated(self) -> int:
        """Tokens that the next part of a long passage begins with."""
        return min(REPEATED, int(REPEATED_SHARE * self.length))

    def windows(
        self, question: NDArray[np.int64], passages: Sequence[PassageTokens]
    ) -> list[TrailWindow]:
        """The windows of a trail, at least one.

        Args:
            question: The ids of its tokens.
            passages: In the order in which they were read.
        """
        asked_ids = question[: min(QUESTION_TOKENS, self.length // 2)]
        room = self.length - len(asked_ids) - 1
        groups: list[list[tuple[int, int, int]]] = [[]]  # passage, first token, one past the last
        free = room
        for place, passage in enumerate(passages):
            start, total = 0, len(passage.ids)
            if total + 1 > free and groups[-1]:
                groups.append([])
                free = room
            while total - start + 1 > free:
                groups[-1].append((place, start, start + free - 1))
                groups.append([])
                start, free = start + free - 1 - self.repeated, room
            groups[-1].append((place, start, total))
            free -= total - start + 1
        return [self._window(asked_ids, passages, group) for group in groups]

    def _window(
        self,
        question: NDArray[np.int64],
        passages: Sequence[PassageTokens],
        parts: Sequence[tuple[int, int, int]],
    ) -> TrailWindow:
        head = np.concatenate([[self.first], question])
        nowhere, never = np.full(len(head), -1), np.zeros(len(head), dtype=bool)
        columns: list[list[NDArray[Any]]] = [[head], [nowhere], [nowhere], [never], [never]]
        marks: list[tuple[int, int]] = []
        at = len(head)
        for place, start, end in parts:
            passage = passages[place]
            marks.append((at, place))
            rows = (
                np.concatenate([[self.separator], passage.ids[start:end]]),
                np.concatenate([[-1], np.full(end - start, place)]),
                np.concatenate([[-1], np.arange(start, end)]),
                np.concatenate([[False], passage.begins[start:end]]),
                np.concatenate([[False], passage.ends[start:end]]),
            )
            for column, row in zip(columns, rows, strict=True):
                column.append(row)
            at += end - start + 1
        ids, places, tokens, begins, ends = (np.concatenate(column) for column in columns)
        return TrailWindow(ids, places, tokens, begins, ends, tuple(marks))


@dataclass(frozen=True, slots=True, eq=False)
class WindowBatch:
    """The w windows of b trails, padded to t tokens."""

    ids: Tensor
    """`(w, t)`."""
    mask: Tensor
    """`(w, t)`: 1 where there is a token."""
    passage: Tensor
    """`(w, t)`; -1 where a token is of no passage."""
    begins: Tensor
    """Bool `(w, t)`."""
    ends: Tensor
    """Bool `(w, t)`."""
    trail: Tensor
    """`(w,)`: whose window it is, ascending."""
    place: Tensor
    """`(w,)`: which of the trail's windows it is."""
    trails: int
    """b."""

    def to(self, device: str) -> WindowBatch:
        """The batch on a device."""
        names = ("ids", "mask", "passage", "begins", "ends", "trail", "place")
        moved = {name: getattr(self, name).to(device, non_blocking=True) for name in names}
        return replace(self, **moved)


def pad_windows(trails: Sequence[Sequence[TrailWindow]], padding: int = 0) -> WindowBatch:
    """The windows of trails as one batch, on the CPU.

    Args:
        trails: b of them, each of at least one window.
        padding: Id of the token that fills up.
    """
    windows = [window for trail in trails for window in trail]
    longest = max(len(window.ids) for window in windows)
    shape = (len(windows), longest)
    ids = np.full(shape, padding, dtype=np.int64)
    mask, passage = np.zeros(shape, dtype=np.int64), np.full(shape, -1, dtype=np.int64)
    begins, ends = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
    for row, window in enumerate(windows):
        length = len(window.ids)
        ids[row, :length], mask[row, :length] = window.ids, 1
        passage[row, :length] = window.passage
        begins[row, :length], ends[row, :length] = window.begins, window.ends
    owner = [i for i, trail in enumerate(trails) for _ in trail]
    place = [i for trail in trails for i in range(len(trail))]
    return WindowBatch(
        ids=torch.from_numpy(ids),
        mask=torch.from_numpy(mask),
        passage=torch.from_numpy(passage),
        begins=torch.from_numpy(begins),
        ends=torch.from_numpy(ends),
        trail=torch.tensor(owner),
        place=torch.tensor(place),
        trails=len(trails),
    )
