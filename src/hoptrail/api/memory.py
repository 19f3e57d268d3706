"""The front door: a memory is a store, an encoder, a graph and a policy, joined.

It has no logic of its own. Each verb is a method of one component, by the same name; this file says
which, and makes the components.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import wraps
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Concatenate, Literal, NoReturn, ParamSpec, Self, TypeVar

from hoptrail.api.answering import Answering, ReaderLike
from hoptrail.api.encoder_slot import EncoderSlot
from hoptrail.api.feedback_inbox import FeedbackInbox
from hoptrail.api.graph_slot import GraphSlot
from hoptrail.api.insight.journal import Journal
from hoptrail.api.insight.pictures import Pictures
from hoptrail.api.maintenance import Maintenance
from hoptrail.api.passages import Passages
from hoptrail.api.recalling import RecallEngine
from hoptrail.api.retrievers import Retrievers
from hoptrail.errors import ConfigError, InputError, StoreError

if TYPE_CHECKING:
    from hoptrail.graph.graph import Graph
    from hoptrail.memory.encoders.transformer import Encoder
    from hoptrail.memory.index.ann_types import IndexName
    from hoptrail.memory.index.engines.qdrant import QdrantIndex
    from hoptrail.memory.index.learned.router import Router
    from hoptrail.memory.store import Store
    from hoptrail.policies.policy import AnyPolicy

C = TypeVar("C")
P = ParamSpec("P")
R = TypeVar("R")

Observer = Callable[[str, Mapping[str, object]], AbstractContextManager[Callable[[object], None]]]
"""Is told of a call by its verb and arguments before it begins, and inside of what it returns of
its result; see `Memory.observe`."""


def through(
    component: Callable[[Memory], C], method: Callable[Concatenate[C, P], R]
) -> Callable[Concatenate[Memory, P], R]:
    """A component's method as one of the memory's: the same name, arguments, results, errors.

    Args:
        component: The component of a memory.
        method: Of the component's class.

    Returns:
        The method of `Memory`.
    """

    @wraps(method)
    def call(self: Memory, /, *args: P.args, **kwargs: P.kwargs) -> R:
        if self._store.database.purge_due:
            self._maintenance.follow_purge()
        observer = self._observer
        if observer is None:
            return method(component(self), *args, **kwargs)
        bound = signature(method).bind_partial(component(self), *args, **kwargs)
        with observer(method.__name__, bound.arguments) as tell:
            result = method(component(self), *args, **kwargs)
            tell(result)
            return result

    return call


def _passages(memory: Memory) -> Passages:
    return memory._passages


def _engine(memory: Memory) -> RecallEngine:
    return memory._engine


def _answering(memory: Memory) -> Answering:
    return memory._answering


def _inbox(memory: Memory) -> FeedbackInbox:
    return memory._inbox


def _encoder(memory: Memory) -> EncoderSlot:
    return memory._encoder


def _pictures(memory: Memory) -> Pictures:
    return memory._pictures


def _journal(memory: Memory) -> Journal:
    return memory._journal


def _maintenance(memory: Memory) -> Maintenance:
    return memory._maintenance


class Memory:
    """A memory that an agent writes to, and a policy that walks it.

    Threads may share one: recalls and searches run side by side, also beside a write. Nothing heavy
    is loaded before it is needed.

    Args:
        path: The file that holds it; made when absent. Or the URL of a PostgreSQL database that
            many share (`hoptrail[postgres]`), or an open `Store`, with its own encoder.
        encoder: Turns texts into vectors. "auto" is MiniLM from the extra `hoptrail[minilm]`;
            None leaves a memory that can be read and deleted from, but not written or searched.
        policy: What walks the memory: the one that ships with the package, a folder that
            `hoptrail train` wrote, a loaded `Policy`, or None to do without `recall`.
        reader: What answers from passages, for `ask`: a folder that `hoptrail train reader` wrote,
            a `Reader`, or a function of a question and passages that returns an `Answer`. None is
            the one in the package; agents are offered to ask where it is named, "shipped".
        read_only: Never write to the file, or to the server.
        track_usage: Count what is recalled, for `history` and `audit`.
        queries_kept: Vectors of the last queries that stay in memory; 0 for none. An open `Store`
            has settings of its own for both.
        index: The kind of dense index: "auto" is exact for small memories and approximate for
            large ones, "flat" is exact; others are named in docs/guides/memory.md. A `QdrantIndex`
            has Qdrant propose candidates.
        language: Whose stemmer words go through when passages are found by them, by Snowball's
            name ("german"), or "none". It is recorded when the file is made, English by default;
            None is whatever the file has.

    Raises:
        InputError: The encoder or the reader is something else.
        ConfigError: There is no such kind of index or language, or the file has another language.
        StoreUnavailable: The file cannot be opened, or is not a store.
        SchemaMismatch: The file was written by a newer version of hoptrail.
        EncoderMismatch: The encoder given is not the one that made the file's vectors;
            `change_encoder` makes them anew.

    Examples:
        >>> from hoptrail.memory.testing.hash_encoder import HashEncoder
        >>> from tempfile import TemporaryDirectory
        >>> folder = TemporaryDirectory()
        >>> with Memory(f"{folder.name}/agent.db", encoder=HashEncoder()) as memory:
        ...     ids = memory.add({"id": "curie", "text": "Marie Curie was born in Warsaw."})
        ...     memory.get("curie").text
        'Marie Curie was born in Warsaw.'
        >>> folder.cleanup()
    """

    def __init__(
        self,
        path: str | Path | Store,
        *,
        encoder: Encoder | Literal["auto"] | None = "auto",
        policy: AnyPolicy | str | Path | None = "shipped",
        reader: ReaderLike | None = None,
        read_only: bool = False,
        track_usage: bool = True,
        queries_kept: int = 1024,
        index: IndexName | Router | QdrantIndex = "auto",
        language: str | None = None,
    ) -> None:
        from hoptrail.memory.store import Store

        if isinstance(encoder, str) and encoder != "auto":
            raise InputError(
                f'encoder must be "auto", an Encoder or None, got {encoder!r}: '
                "load_encoder(folder) loads one"
            )
        if isinstance(path, Store):
            if language not in (None, path.language):
                raise ConfigError(
                    f"the store given has the language {path.language!r}, got {language!r}: name "
                    "the language where the store is made"
                )
            self._store = path
        else:
            self._store = Store(
                path,
                encoder=None if isinstance(encoder, str) else encoder,
                read_only=read_only,
                track_usage=track_usage,
                queries_kept=queries_kept,
                index=index,
                language=language,
            )
        self._observer: Observer | None = None
        store = self._store
        default = encoder == "auto" and not isinstance(path, Store)
        self._retrievers = Retrievers(policy, store.queries)
        self._encoder = EncoderSlot(store, default=default, when_changed=self._retrievers.clear)
        self._graph = GraphSlot(store)
        self._inbox = FeedbackInbox(store)
        self._passages = Passages(store, self._encoder)
        self._journal = Journal(store)
        self._engine = RecallEngine(
            store, self._graph, self._encoder, self._retrievers, self._inbox, self._journal
        )
        self._answering = Answering(self._engine, reader)
        self._pictures = Pictures(store, self._graph)
        self._maintenance = Maintenance(store, self._graph, self._encoder)

    # Passages

    add = through(_passages, Passages.add)
    upsert = through(_passages, Passages.upsert)
    add_distinct = through(_passages, Passages.add_distinct)
    update = through(_passages, Passages.update)
    supersede = through(_passages, Passages.supersede)
    link = through(_passages, Passages.link)
    unlink = through(_passages, Passages.unlink)
    delete = through(_passages, Passages.delete)
    forget = through(_passages, Passages.forget)
    get = through(_passages, Passages.get)
    count = through(_passages, Passages.count)
    search = through(_passages, Passages.search)

    # Recalls, answers, and what they were worth

    recall = through(_engine, RecallEngine.recall)
    recall_many = through(_engine, RecallEngine.recall_many)
    ask = through(_answering, Answering.ask)
    feedback = through(_inbox, FeedbackInbox.feedback)
    feedback_given = through(_inbox, FeedbackInbox.feedback_given)
    forget_feedback = through(_inbox, FeedbackInbox.forget_feedback)

    # The log of recalls, and what a person looks at

    keep_log = through(_journal, Journal.keep_log)
    recall_log = through(_journal, Journal.recall_log)
    forget_log = through(_journal, Journal.forget_log)
    neighbourhood = through(_pictures, Pictures.neighbourhood)
    to_html = through(_pictures, Pictures.to_html)

    # The encoder

    change_encoder = through(_encoder, EncoderSlot.change_encoder)
    encoder_change = through(_encoder, EncoderSlot.encoder_change)
    drop_encoder_change = through(_encoder, EncoderSlot.drop_encoder_change)

    # The file

    history = through(_maintenance, Maintenance.history)
    audit = through(_maintenance, Maintenance.audit)
    merge_duplicates = through(_maintenance, Maintenance.merge_duplicates)
    verify = through(_maintenance, Maintenance.verify)
    repair = through(_maintenance, Maintenance.repair)
    purge = through(_maintenance, Maintenance.purge)
    backup = through(_maintenance, Maintenance.backup)
    export = through(_maintenance, Maintenance.export)
    import_file = through(_maintenance, Maintenance.import_file)

    def observe(self, observer: Observer | None) -> None:
        """Have every call told of to somebody, such as a tracer, from now on.

        Args:
            observer: Gets a verb and its arguments by name, and returns a context that the call
                runs in, with its exceptions; what that yields is called with the result. None for
                nobody.
        """
        self._observer = observer

    @property
    def store(self) -> Store:
        """The store underneath."""
        return self._store

    @property
    def policy(self) -> AnyPolicy:
        """What walks it, loaded at the first use.

        Raises:
            PolicyError: There is none, or its files cannot be used.
        """
        return self._retrievers.policy

    @property
    def graph(self) -> Graph:
        """The graph of its passages, opened at the first use.

        Raises:
            SchemaMismatch: Its rows were written by a newer version, or the memory is read-only and
                has none yet.
        """
        return self._graph.get()

    @property
    def has_reader(self) -> bool:
        """Whether it can `ask`."""
        return self._answering.has_reader

    def close(self) -> None:
        """Close the file, once other threads' writes are done; a second time does nothing.

        Raises:
            StoreError: This thread has a transaction open, or a parent process opened the memory.
        """
        self._store.database.check_process()
        if self._store.database.busy is None:
            self._encoder.stop_change()
            self._journal.close()
            if self._store.database.purge_due and not self._store.database.closed:
                self._maintenance.follow_purge()
        self._store.close()
        self._retrievers.clear()
        self._graph.close()
        self._encoder.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise StoreError(
            "a Memory cannot be copied or pickled: open it again where it is needed, "
            f"Memory({self._store.name!r})"
        )

    def __repr__(self) -> str:
        state = repr(self._store).removeprefix("<Store ").removesuffix(">")
        return f"<Memory {state}, policy {self._retrievers.named!s}>"

    def __len__(self) -> int:
        return self.count()

    def __bool__(self) -> bool:
        return True  # an empty memory is a memory
