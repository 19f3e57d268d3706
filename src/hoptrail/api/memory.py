"""The front door: a memory that joins a store, a graph and a policy.

It owns no logic of its own: it checks what it is given, hands it to the part that knows, and loads
the heavy parts (the encoder's weights, the policy) when something first needs them.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NoReturn, Self

from hoptrail.api.changing_encoder import ChangingEncoder, itself
from hoptrail.api.feedback_inbox import Asked, Judging
from hoptrail.api.inputs import Item, aligned, checked_namespace, checked_scope
from hoptrail.api.keeping import Keeping
from hoptrail.api.placing import Batch
from hoptrail.api.reading import Reading
from hoptrail.api.recalling import Recalling
from hoptrail.api.walkers import Walkers
from hoptrail.errors import (
    ConfigError,
    EncoderMismatch,
    InputError,
    StoreError,
    StoreUnavailable,
    UnknownId,
)
from hoptrail.memory import forks
from hoptrail.memory.guarded import guarded
from hoptrail.types import Cost, Duration, Recall

if TYPE_CHECKING:
    from hoptrail.graph.graph import Graph
    from hoptrail.memory.encoders.disk_cache import CachedEncoder
    from hoptrail.memory.encoders.transformer import Encoder
    from hoptrail.memory.filters import FilterLike
    from hoptrail.memory.index.ann_types import IndexName
    from hoptrail.memory.store import OnDuplicate, Progress, Store
    from hoptrail.policies.policy import Policy

TRIES = 3
"""Walks over passages that others replaced meanwhile, before the last one is returned as it is."""


class Memory(Keeping, ChangingEncoder, Recalling, Judging, Reading):
    """A memory that an agent writes to, and a policy that walks it.

    Threads may share one: recalls and searches run side by side, also beside a write. Nothing heavy
    is loaded before it is needed.

    Args:
        path: The file that holds it; made when absent. Or an open `Store`, with its own encoder.
        encoder: Turns texts into vectors. "auto" is MiniLM from the extra `hoptrail[minilm]`;
            None leaves a memory that can be read and deleted from, but not written or searched.
        policy: What walks the memory: the one that ships with the package, a folder that
            `hoptrail train` wrote, a loaded `Policy`, or None to do without `recall`.
        read_only: Never write to the file.
        track_usage: Count what is recalled, for `history` and `audit`.
        queries_kept: Vectors of the last queries that stay in memory; 0 for none. An open `Store`
            has settings of its own for both.
        index: The kind of dense index: "auto" is exact for small memories and approximate for
            large ones, "flat" is exact; others are named in docs/guides/memory.md.
        language: Whose stemmer words go through when passages are found by them, by Snowball's
            name ("german"), or "none". It is recorded when the file is made, English by default;
            None is whatever the file has.

    Raises:
        ConfigError: There is no such kind of index or language, or the file has another language.
        StoreUnavailable: The file cannot be opened, or is not a store.
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
        policy: Policy | str | Path | None = "shipped",
        read_only: bool = False,
        track_usage: bool = True,
        queries_kept: int = 1024,
        index: IndexName = "auto",
        language: str | None = None,
    ) -> None:
        from hoptrail.memory.store import Store

        super().__init__()
        if isinstance(encoder, str) and encoder != "auto":
            raise InputError(f'encoder must be "auto", an Encoder or None, got {encoder!r}')
        self._policy_given = policy
        self._policy: Policy | None = None  # loaded at the first recall
        self._fingerprint = ""  # the policy's; likewise
        self._graph: Graph | None = None  # opened at the first recall
        self._walkers = Walkers()
        self._lock = threading.RLock()  # held while something is loaded; never while it runs
        self._writers: set[object] = set()  # who is encoding for a write
        forks.register(self)
        if isinstance(path, Store):
            self._store = path
            if language not in (None, path.language):
                raise ConfigError(
                    f"the store given has the language {path.language!r}, got {language!r}: name "
                    "the language where the store is made"
                )
        else:
            if isinstance(encoder, str) and encoder != "auto":
                raise ConfigError(
                    f"encoder is 'auto', an encoder or None, got {encoder!r}: "
                    "load_encoder(folder) loads one"
                )
            wanted = None if isinstance(encoder, str) else encoder
            self._store = Store(
                path,
                encoder=wanted,
                read_only=read_only,
                track_usage=track_usage,
                queries_kept=queries_kept,
                index=index,
                language=language,
            )
        self._encoder_wanted = encoder == "auto" and not isinstance(path, Store)
        self._encoder = itself(self._store.encoder)  # for queries: a timing is what it says
        self._cache: CachedEncoder | None = None  # for passages; opened at the first write
        self._make_graph_tables()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise StoreError(
            "a Memory cannot be copied or pickled: open it again where it is needed, "
            f"Memory({str(self._store.path)!r})"
        )

    def __repr__(self) -> str:
        state = repr(self._store).removeprefix("<Store ").removesuffix(">")
        return f"<Memory {state}, policy {self._policy_given!s}>"

    def __len__(self) -> int:
        return self.count()

    def __bool__(self) -> bool:
        return True  # an empty memory is a memory

    @property
    def store(self) -> Store:
        """The store underneath."""
        return self._store

    @property
    def graph(self) -> Graph:
        """The graph of its passages."""
        from hoptrail.graph.graph import Graph

        graph = self._graph
        if graph is None:
            graph = Graph(self._store)
            with self._lock:
                graph = self._graph = self._graph or graph
        return graph

    def _make_graph_tables(self) -> None:
        """Have the file ready for a graph, so that no first recall has to wait for a writer."""
        from hoptrail.graph.extraction import schema

        if not self._store.read_only:
            with suppress(StoreUnavailable):  # the first recall will do it
                self._store.migrate(schema.OWNER, schema.MIGRATIONS, wait=False)

    def close(self) -> None:
        """Close the file, once other threads' writes are done; a second time does nothing.

        Raises:
            StoreError: This thread has a transaction open, or a parent process opened the memory.
        """
        self._store.database.check_process()
        if self._store.database.busy is None:
            self._stop_changing()
        self._store.close()
        self._walkers.clear()
        with self._lock:
            self._graph = None
            cache = self._cache
        if cache is not None:
            cache.close()

    def _forked(self, *, whole: bool) -> None:
        """Be a forked child's, where it is refused; see `hoptrail.memory.forks`."""
        self._lock, self._judging = threading.RLock(), threading.Lock()
        self._walkers.forked()

    # Writing

    def add(
        self,
        passages: Item | Iterable[Item],
        *,
        namespace: Sequence[str] | None = None,
        on_duplicate: OnDuplicate = "error",
        ttl: Duration | None = None,
        progress: Progress | None = None,
    ) -> list[str]:
        """Write passages, all of them or none; the ids that were written.

        Args:
            passages: Strings, dicts (`id`, `title`, `text`, `metadata`, `links`, `namespace`),
                LangChain documents or `Passage` objects, one or many, or what was read of files
                (`hoptrail.formats.jsonl`). What has no id gets the hash of its content.
            namespace: Where they go; by default each goes where it says.
            on_duplicate: What to do with an id that is taken: refuse them all ("error"),
                "replace" the old passage, or "skip" the new one.
            ttl: How long until those expire that have no `expires_at` of their own, in seconds or
                as a `timedelta`; None for never.
            progress: Called with (texts encoded, texts in all).

        Raises:
            InputError: Something is no passage, or cannot be stored.
            DuplicateId: An id is taken; nothing was written.
            MissingExtra: There is no encoder: the `minilm` extra is not installed.
        """
        place = None if namespace is None else checked_namespace(namespace)
        batch = Batch(passages, place)
        if not batch:
            return []
        with self._cached_writes() as store:
            given = batch.passages(store)
            ids = store.add(given, on_duplicate=on_duplicate, ttl=ttl, progress=progress)
        return aligned(given, ids) if on_duplicate == "error" else ids

    # Walking

    def recall(
        self,
        question: str,
        k: int = 5,
        namespace: Sequence[str] = (),
        effort: str = "balanced",
        *,
        filter: FilterLike | None = None,
        explore: int | None = None,
    ) -> Recall:
        """The k passages that a question needs, found by walking, and the trails behind them.

        Args:
            question: In words.
            k: How many passages, at least 1; as many come back wherever there are as many.
            namespace: Where to look: every namespace that begins with it.
            effort: What it may cost: "fast", "balanced" or "thorough".
            filter: Only passages that fulfil it are read and returned; see
                `hoptrail.memory.filters`.
            explore: A seed to draw trails with, rather than follow the likeliest: what it finds is
                less good on average, and feedback on it teaches more.

        Raises:
            InputError: An empty question, a `k` below 1, a namespace that is none.
            ConfigError: There is no such effort.
            MissingExtra: There is no encoder: the `minilm` extra is not installed.
            PolicyError: There is no policy, or its files cannot be used.
        """
        return self.recall_many([question], k, namespace, effort, filter=filter, explore=explore)[0]

    def recall_many(
        self,
        questions: Iterable[str],
        k: int = 5,
        namespace: Sequence[str] = (),
        effort: str = "balanced",
        *,
        filter: FilterLike | None = None,
        explore: int | None = None,
    ) -> list[Recall]:
        """A recall for each question, in their order, walked together.

        Each one's milliseconds are its share of the time that they took together.

        Args:
            questions: In words; perhaps none.
            k: How many passages for each.
            namespace: Where to look, for all of them.
            effort: What each may cost.
            filter: As for `recall`, for all of them.
            explore: As for `recall`; what a question draws depends on the seed and itself alone.

        Raises:
            InputError: As for `recall`, or one string was given for several questions.
            ConfigError: There is no such effort.
            MissingExtra: There is no encoder: the `minilm` extra is not installed.
            PolicyError: There is no policy, or its files cannot be used.
        """
        from hoptrail.memory.filters import Filter
        from hoptrail.policies.environment.efforts import effort as effort_named
        from hoptrail.policies.search.sampled_beam import checked_seed

        if isinstance(questions, str) or not isinstance(questions, Iterable):
            raise InputError("recall_many takes several questions: give one to recall")
        asked = list(questions)
        scope = checked_scope(asked, k, namespace, "question")
        bounds = effort_named(effort)
        conditions = Filter.parse_optional(filter)
        how = Asked(scope, bounds.name, conditions, checked_seed(explore))
        if not asked:
            return []
        recalls: list[Recall] | None = None
        for tries in range(TRIES):
            if not self._store.holds_any(scope):
                none = Cost(0.0, 0, 0, 0)
                return [Recall(text, (), (), none, *self._keep(text, how)) for text in asked]
            last = tries + 1 == TRIES
            try:
                with self._pinned(scope) as (view, asking):
                    recalls = self._recalls(asked, k, how, view, asking, last=last)
            except (UnknownId, StoreUnavailable):  # damaged, and left out or mended next time
                if last:
                    raise
                continue
            if recalls is not None:
                break
        assert recalls is not None
        return recalls

    def _with_encoder(self) -> Store:
        """The store, once it has its encoder, where one was asked for."""
        while True:
            try:
                return self._loaded()
            except EncoderMismatch:
                with self._store.changing:  # a switch of this memory's, which is waited for
                    if self._encoder_wanted:
                        raise

    def _loaded(self) -> Store:
        self._store.database.check()
        with self._lock:
            if self._encoder_wanted:
                from hoptrail.memory.encoders.transformer import minilm
                from hoptrail.memory.storage import store_info

                with forks.loading:
                    encoder = minilm()
                with self._store.reading() as connection:
                    store_info.check_encoder(connection, encoder, str(self._store.path))
                self._store.encoder = self._encoder = encoder
                self._encoder_wanted = False
            return self._store

    @guarded
    def _cached_writes(self) -> Iterator[Store]:
        """The store with the disk cache before its encoder: no passage is encoded twice."""
        from hoptrail.memory.encoders.disk_cache import CachedEncoder

        store, token = self._with_encoder(), object()
        try:
            with store.changing:
                self._writers.add(token)
                with self._lock:
                    if self._cache is None and self._encoder is not None:
                        self._cache = CachedEncoder(self._encoder)
                    cache = self._cache
            yield store.encoding_with(cache)
        finally:
            self._writers.discard(token)
