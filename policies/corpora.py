"""Corpora opened for training and evaluation: a store for each file, built once and kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hoptrail.errors import FormatError
from hoptrail.formats import read_corpus, read_questions, sha256_of
from hoptrail.graph.graph import Graph
from hoptrail.graph.view import GraphView
from hoptrail.memory.encoder import Encoder
from hoptrail.memory.store import Store
from hoptrail.memory.vector_cache import CachedEncoder, cache_folder
from hoptrail.memory.view import View
from hoptrail.types import Namespace, Question

FORMAT = 1
"""Changes when what a corpus's store holds changes: older ones are built again."""


def open_corpus(
    corpus: Path, encoder: Encoder, *, progress: Callable[[int, int], None] | None = None
) -> Store:
    """A store that holds the corpus, from the cache folder; built where there is none.

    The file's hash and the encoder's fingerprint name it, so that a changed corpus is never
    answered from an old store. It is built beside its place and moved there whole.

    Args:
        corpus: A corpus in JSONL.
        encoder: Encodes the passages; vectors are cached by content as well.
        progress: Called with (done, total) while passages are encoded.

    Raises:
        FormatError: The file cannot be read, or is not a corpus.
    """
    name = f"{sha256_of(corpus)[:16]}-{encoder.fingerprint}-{FORMAT}"
    folder = cache_folder() / "corpora" / name
    file = folder / "store.db"
    if not (folder / "complete").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        for partial in folder.glob("store.db*"):
            if partial.is_file():
                partial.unlink()
        with Store(file, encoder=CachedEncoder(encoder, progress=progress)) as store:
            store.add(read_corpus(corpus))
            Graph(store).sync()
        (folder / "complete").touch()
    return Store(file, encoder=encoder)


@dataclass(frozen=True, slots=True)
class Scope:
    """One namespace of an opened corpus."""

    view: View
    graph: GraphView


class OpenCorpus:
    """An opened corpus with its questions: scopes by namespace, gold passages as slots.

    Args:
        corpus: A corpus in JSONL.
        questions: Its questions in JSONL.
        encoder: For passages.
        progress: As for `open_corpus`.

    Raises:
        FormatError: A file cannot be read, or a question's gold passage is not in the corpus.
    """

    def __init__(
        self,
        corpus: Path,
        questions: Path,
        encoder: Encoder,
        *,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self.questions = read_questions(questions)
        self.store = open_corpus(corpus, encoder, progress=progress)
        self._graph = Graph(self.store)
        self._scopes: dict[Namespace, Scope] = {}
        self._names = corpus, questions

    def scope(self, namespace: Namespace) -> Scope:
        """The passages that a question of this namespace may find."""
        found = self._scopes.get(namespace)
        if found is None:
            view = self.store.view(namespace)
            found = self._scopes[namespace] = Scope(view, self._graph.view(view))
        return found

    def gold(self, question: Question) -> tuple[int, ...]:
        """The slots of a question's supporting passages.

        Raises:
            FormatError: One is not in the corpus.
        """
        view = self.scope(question.namespace).view
        slots = []
        for passage in dict.fromkeys(question.supporting_ids):
            slot = view.slot_of(passage, question.namespace)
            if slot is None:
                corpus, questions = self._names
                raise FormatError(
                    f"{questions}: question {question.id!r} needs passage {passage!r}, "
                    f"which is not in {corpus}"
                )
            slots.append(slot)
        return tuple(slots)
