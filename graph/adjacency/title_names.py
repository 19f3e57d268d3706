"""The names in questions that mean passages: found in a text, and told what they can mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hoptrail.graph.adjacency.adjacency import meanings
from hoptrail.graph.adjacency.ragged import Ints, RaggedArray
from hoptrail.graph.adjacency.vocabulary import packed_texts, unpacked_texts
from hoptrail.graph.extraction.names import NameMatcher, words


class TitleNames:
    """Names that mean something in a scope, each with the numbers that it has there.

    Args:
        arrays: Of an earlier one, as `arrays` gave them.
    """

    def __init__(self, arrays: Mapping[str, NDArray[Any]] | None = None) -> None:
        self._matcher = NameMatcher()
        # One number for each namespace: a tuple, which takes a quarter of a set.
        self._numbers: dict[str, tuple[int, ...]] = {}
        if arrays is not None:
            self._resume(arrays)

    def lengths(self, text: str, bearers: RaggedArray) -> dict[int, int]:
        """The slots that a question names, each with the words of the longest name that names it.

        Args:
            text: A question.
            bearers: As `Adjacency.passages_by_name`.
        """
        lengths: dict[int, int] = {}
        for match in self._matcher.matches(words(text), question=True):
            length = match.name.count(" ") + 1
            numbers = np.array(sorted(self._numbers.get(match.name, ())), dtype=np.int64)
            for slot in meanings(bearers, numbers)[1][:, 0].tolist():
                lengths[slot] = max(length, lengths.get(slot, 0))
        return lengths

    def follow(self, names: Ints, bearers: RaggedArray, text_of: Callable[[int], str]) -> None:
        """Bring up to date which of some names mean something.

        Args:
            names: By number.
            bearers: As `Adjacency.passages_by_name` is now.
            text_of: Tells a name.
        """
        means = np.zeros(len(names), dtype=np.bool_)
        means[meanings(bearers, names)[0]] = True
        for name, now in zip(names.tolist(), means.tolist(), strict=True):
            text = text_of(name)
            numbers = self._numbers.get(text, ())
            if now and name not in numbers:
                self._numbers[text] = (*numbers, name)
                self._matcher.add(text)
            elif not now and name in numbers:
                self._numbers[text] = tuple(other for other in numbers if other != name)
                if not self._numbers[text]:
                    del self._numbers[text]
                    self._matcher.discard(text)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All that it knows, by name."""
        heads, lengths = self._matcher.heads_and_lengths()
        numbers = self._numbers.values()
        return {
            "texts": packed_texts(self._numbers),
            "counts": np.fromiter(map(len, numbers), np.int32, len(numbers)),
            "numbers": np.array([number for each in numbers for number in each], dtype=np.int64),
            "heads": packed_texts(heads),
            "lengths": np.array(lengths, dtype=np.int32),
        }

    def _resume(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        texts, numbers = unpacked_texts(arrays["texts"]), arrays["numbers"].tolist()
        if len(texts) == len(numbers):
            self._numbers = dict(zip(texts, zip(numbers), strict=True))
        else:
            ends = np.cumsum(arrays["counts"]).tolist()
            starts = [0, *ends]
            self._numbers = {
                text: tuple(numbers[start:end])
                for text, start, end in zip(texts, starts, ends, strict=False)
            }
        heads = unpacked_texts(arrays["heads"])
        self._matcher = NameMatcher.resumed(texts, heads, arrays["lengths"].tolist())
