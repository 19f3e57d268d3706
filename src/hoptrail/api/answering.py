"""How a memory answers: it recalls, a reader reads, and what it says is held to what was read."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from hoptrail.api.answer_certainty import weigh_answer
from hoptrail.errors import InputError, ReaderError
from hoptrail.memory import forks
from hoptrail.types import AbstainingReader, Answer, AsOf, Passage, Reader, Recall
from hoptrail.values.numbers import finite, shown

if TYPE_CHECKING:
    from hoptrail.api.recalling import RecallEngine
    from hoptrail.memory.filters import FilterLike

ReadFunction = Callable[[str, Sequence[Passage]], Answer]
"""What reads in a reader's place: the question and the passages in, the answer out."""
ReaderLike = Reader | ReadFunction | str | Path
"""A reader, a function in its place, a folder that `hoptrail train reader` wrote, or "shipped"."""


class Answering:
    """Answers questions from a memory's passages.

    Args:
        engine: Finds them.
        reader: Reads them; one in a folder is loaded when it is first needed. None and "shipped"
            are the one in the package.

    Raises:
        InputError: It is no reader.
    """

    def __init__(self, engine: RecallEngine, reader: ReaderLike | None) -> None:
        if not (reader is None or isinstance(reader, str | Path | Reader) or callable(reader)):
            raise InputError(
                "reader must be a folder, a Reader, a function or None, got "
                f"{type(reader).__name__}"
            )
        self._engine = engine
        self._reader = reader
        self._loaded: Reader | None = None
        self._forked(whole=True)
        forks.register(self)

    def _forked(self, *, whole: bool) -> None:
        self._loading = threading.Lock()

    @property
    def has_reader(self) -> bool:
        """Whether a reader was named: then agents are offered to ask."""
        return self._reader is not None

    def ask(
        self,
        question: str,
        k: int = 5,
        namespace: Sequence[str] = (),
        effort: str = "balanced",
        *,
        filter: FilterLike | None = None,
        as_of: AsOf | None = None,
    ) -> Answer:
        """The answer to a question, from the passages that a recall finds for it.

        Args:
            question: In words.
            k: How many passages are recalled, at least 1. A function or a model that was named as
                the reader reads them all; one that may abstain, as that of the package, those of
                the likeliest trail, where that has two or more and all are among them: what else
                is ranked misleads it.
            namespace: Where to look: every namespace that begins with it.
            effort: What the recall may cost: "fast", "balanced" or "thorough".
            filter: Only passages that fulfil it are read; see `hoptrail.memory.filters`.
            as_of: What was valid at a time, such as "2026-01-31T12:00:00Z" or seconds since 1970,
                rather than now; "ever" for what was valid at any.

        Returns:
            The answer with its evidence, how probably it is right, and the recall. Its text is
            None where the memory does not hold an answer, which is no error. Where the reader may
            abstain, the policy's word that the passages suffice counts beside the reader's.

        Raises:
            InputError: An empty question, a `k` below 1, a namespace that is none, no filter, no
                time.
            ConfigError: There is no such effort.
            EncoderMissing: The memory was opened without an encoder, and holds passages.
            EncoderMismatch: The memory's encoder is not the one that made the vectors.
            MissingExtra: The default encoder is meant, by the memory or by the reader, and the
                `minilm` extra is not installed.
            PolicyError: There is no policy, or its files cannot be used.
            ReaderError: The reader's files cannot be used, or it cites what it was not given.
        """
        reader = self._loaded_reader()
        recall = self._engine.recall(question, k, namespace, effort, filter=filter, as_of=as_of)
        if isinstance(reader, AbstainingReader):
            passages = trail_passages(recall)
            likeliest = reader.without_abstaining().read(question, passages)
            answer = weigh_answer(checked_answer(likeliest, passages), recall.complete)
        else:
            passages = recall.passages
            read = reader.read if isinstance(reader, Reader) else reader
            answer = checked_answer(read(question, passages), passages)
        return replace(answer, question=question, passages=passages, recall=recall)

    def _loaded_reader(self) -> Reader | ReadFunction:
        """What reads, loaded at the first use."""
        with self._loading:
            reader = self._loaded or self._reader
            if reader is None or isinstance(reader, str | Path):
                with forks.loading:
                    from hoptrail.policies.reading.shipped_reader import load_answer_reader

                    reader = self._loaded = load_answer_reader(reader)
            return reader


def trail_passages(recall: Recall) -> tuple[Passage, ...]:
    """What the likeliest trail read, in its order; all that was recalled where that lacks some.

    A trail of one passage is not relied on: what a question compares stands in two.

    Args:
        recall: Whose trails and passages.
    """
    hops = recall.trails[0].hops if recall.trails else ()
    passages = {(passage.namespace, passage.id): passage for passage in recall.passages}
    trail = [passages.get((hop.namespace, hop.id)) for hop in hops]
    whole = [passage for passage in trail if passage is not None]
    return tuple(whole) if len(trail) == len(whole) > 1 else recall.passages


def checked_answer(answer: object, passages: Sequence[Passage]) -> Answer:
    """An answer that cites only what was read.

    Args:
        answer: What a reader made.
        passages: What it was given.

    Raises:
        ReaderError: It is no answer, cites another passage or a span that is not in it, or is
            not as sure as a probability can be.
    """
    if not isinstance(answer, Answer):
        raise ReaderError(f"a reader should return an Answer, got {shown(answer)}")
    for name in ("probability", "answerable"):
        value = getattr(answer, name)
        number = finite(value)
        if value is not None and (number is None or not 0 <= number <= 1):
            raise ReaderError(f"an answer's {name} must be in [0, 1] or None, got {shown(value)}")
    texts = {(passage.namespace, passage.id): passage for passage in passages}
    for one in answer.evidence:
        passage = texts.get((one.namespace, one.id))
        if passage is None:
            raise ReaderError(
                f"the reader cites the passage {one.id!r}, which it was not given to read"
            )
        if (one.start is None) != (one.end is None):
            raise ReaderError(f"the reader cites a span of {one.id!r} with one end")
        if one.start is not None and one.end is not None:
            length = len(_field(passage, one.field))
            if not 0 <= one.start < one.end <= length:
                raise ReaderError(
                    f"the reader cites characters {one.start} to {one.end} of the {one.field} of "
                    f"{one.id!r}, which has {length}"
                )
    return answer


def _field(passage: Passage, name: str) -> str:
    if name == "title":
        return passage.title or ""
    return str(passage.metadata.get("speaker") or "") if name == "speaker" else passage.text
