"""Corpora opened for training and evaluation: a store for each file, built once and kept."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from copy import copy
from dataclasses import dataclass
from pathlib import Path

from hoptrail.errors import FormatError, InputError, StoreUnavailable
from hoptrail.formats.jsonl import read_corpus, read_questions, sha256_of
from hoptrail.formats.sequences import NEXT, in_sequence
from hoptrail.formats.triples import read_triples
from hoptrail.graph.graph import Graph
from hoptrail.graph.view import GraphView
from hoptrail.memory.encoders.cache_file import cache_folder
from hoptrail.memory.encoders.disk_cache import CachedEncoder
from hoptrail.memory.encoders.transformer import Encoder
from hoptrail.memory.store import Store
from hoptrail.memory.views.view import View
from hoptrail.outputs.printable import namespace_text
from hoptrail.types import Namespace, Passage, Question

FORMAT = 2
"""Changes when what a corpus's store holds changes: older ones are built again."""

SQLITE = b"SQLite format 3\0"
"""How every SQLite file begins, and no corpus in JSONL."""

STORE, COMPLETE = "store.db", "complete"
"""The store in a corpus's folder, and the empty file that says that it was built to the end."""

ABANDONED_SECONDS = 24 * 3600.0
"""A half-built store of this age has no builder any more."""


def open_corpus(
    corpus: Path,
    encoder: Encoder,
    *,
    sequence: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Store:
    """A store that holds the corpus: the file itself, where it is a store, or one that is built.

    What is built lies in the cache folder. The file's hash and the encoder's fingerprint name it,
    so that a changed corpus is never answered from an old store. It is built beside its place and
    moved there whole.

    Args:
        corpus: A corpus in JSONL, or a store.
        encoder: Encodes the passages; vectors are cached by content as well.
        sequence: The field by which the lines of a corpus follow each other; see `in_sequence`.
        progress: Called with (done, total) while passages are encoded.

    Raises:
        FormatError: The file cannot be read, or is not a corpus.
        InputError: It is a store, whose links are its own, and a sequence is asked for; or no
            passage has that field.
        EncoderMismatch: It is a store whose vectors another encoder made.
        StoreUnavailable: The cache folder cannot be written.
    """
    if is_store(corpus):
        if sequence is not None:
            raise InputError(f"{corpus} is a memory, whose links are its own: leave sequence out")
        return Store(corpus, encoder=encoder)
    if sequence is None:
        return _open(corpus, read_corpus, encoder, progress)
    name = f"-{NEXT}-{hashlib.sha256(sequence.encode()).hexdigest()[:8]}"

    def read(path: Path) -> Iterator[Passage]:
        return iter(in_sequence(read_corpus(path), sequence))

    return _open(corpus, read, encoder, progress, name)


def open_triples(
    triples: Path, encoder: Encoder, *, progress: Callable[[int, int], None] | None = None
) -> Store:
    """A store that holds the entities of triples, built once and kept as `open_corpus` keeps it.

    Args:
        triples: A file as `hoptrail.formats.triples` reads it.
        encoder: Encodes the entities' names.
        progress: Called with (done, total) while they are encoded.

    Raises:
        FormatError: The file cannot be read, or holds no triples.
        StoreUnavailable: The cache folder cannot be written.
    """
    return _open(triples, read_triples, encoder, progress)


def _open(
    file: Path,
    read: Callable[[Path], Iterator[Passage]],
    encoder: Encoder,
    progress: Callable[[int, int], None] | None,
    variant: str = "",
) -> Store:
    name = f"{sha256_of(file)[:16]}-{encoder.fingerprint}-{FORMAT}{variant}"
    folder = cache_folder() / "corpora" / name
    if not (folder / COMPLETE).is_file():
        _build(folder, lambda: read(file), encoder, progress)
    # What training and evaluation ask is no use of it, and is timed.
    return Store(folder / STORE, encoder=encoder, track_usage=False, queries_kept=0)


def is_store(path: Path) -> bool:
    """Whether a file is an SQLite file, as a store is, and not a corpus in JSONL.

    Args:
        path: Of a file that need not exist.
    """
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(SQLITE)) == SQLITE


def _build(
    folder: Path,
    passages: Callable[[], Iterator[Passage]],
    encoder: Encoder,
    progress: Callable[[int, int], None] | None,
) -> None:
    """Build a corpus's store beside its folder, then put it there; another may be as fast."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _sweep(folder.parent)
        partial = Path(tempfile.mkdtemp(prefix="partial-", dir=folder.parent))
    except OSError as error:
        raise StoreUnavailable(
            f"no store can be built in {folder.parent} ({error}): "
            "set HOPTRAIL_CACHE to a folder that can be written"
        ) from error
    try:
        with (
            closing(CachedEncoder(encoder, progress=progress)) as cached,
            Store(partial / STORE, encoder=encoder) as store,
        ):
            store.add(passages(), encoder=cached)
            Graph(store).sync()
        (partial / COMPLETE).touch()
        if not (folder / COMPLETE).is_file():
            shutil.rmtree(folder, ignore_errors=True)
            _place(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _place(partial: Path, folder: Path) -> None:
    try:
        partial.replace(folder)
    except OSError as error:
        if not (folder / COMPLETE).is_file():  # else another process has just put its own there
            raise StoreUnavailable(f"the store cannot be moved to {folder}: {error}") from error


def _sweep(folder: Path) -> None:
    """Remove what builders that were killed have left behind."""
    for partial in folder.glob("partial-*"):
        with suppress(FileNotFoundError):  # its builder has just put it in its place
            if time.time() - partial.stat().st_mtime > ABANDONED_SECONDS:
                shutil.rmtree(partial, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class CorpusScope:
    """One namespace of an opened corpus."""

    view: View
    graph: GraphView


class OpenCorpus:
    """An opened corpus with its questions: scopes by namespace, gold passages as slots.

    Args:
        corpus: A corpus in JSONL, or a store.
        questions: Its questions in JSONL; None for a corpus of which nobody has asked yet.
        encoder: For passages.
        progress: As for `open_corpus`.

    Raises:
        FormatError: A file cannot be read, or a question's gold passage is not in the corpus.
    """

    def __init__(
        self,
        corpus: Path,
        questions: Path | None,
        encoder: Encoder,
        *,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self.questions = read_questions(questions) if questions else []
        self.store = open_corpus(corpus, encoder, progress=progress)
        self._graph = Graph(self.store)
        self._scopes: dict[Namespace, CorpusScope] = {}
        self._names = corpus, questions or corpus

    def with_questions(self, questions: Sequence[Question], file: Path | None = None) -> OpenCorpus:
        """The same corpus with other questions; closing one closes both.

        Args:
            questions: In whose stead.
            file: Where they come from, for messages.
        """
        other = copy(self)
        other.questions = list(questions)
        other._names = self._names[0], file or self._names[0]
        return other

    def close(self) -> None:
        """Close the store; pools of its scopes can no longer read passages."""
        self.store.close()

    def scope(self, namespace: Namespace) -> CorpusScope:
        """The passages that a question of a namespace may find.

        Args:
            namespace: That of a question.
        """
        scope = self._scopes.get(namespace)
        if scope is None:
            view = self.store.view(namespace)
            scope = self._scopes[namespace] = CorpusScope(view, self._graph.view(view))
        return scope

    def scope_of(self, question: Question) -> CorpusScope:
        """The passages that a question may find.

        Args:
            question: Of this corpus.

        Raises:
            FormatError: There is none: its namespace holds nothing.
        """
        scope = self.scope(question.namespace)
        if not scope.view.size:
            corpus, questions = self._names
            raise FormatError(
                f"{questions}: question {question.id!r} is of the namespace "
                f"{namespace_text(question.namespace)!r}, in which {corpus} has no passage"
            )
        return scope

    def gold(self, question: Question) -> tuple[int, ...]:
        """The slots of a question's supporting passages, in its scope's view.

        Args:
            question: Of this corpus.

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
