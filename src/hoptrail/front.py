"""The front door: a memory that joins a store, a graph and a policy.

It owns no logic of its own: it checks what it is given, hands it to the part that knows, and loads
the heavy parts (the encoder's weights, the policy) when something first needs them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from hoptrail.changing_encoder import ChangingEncoder, itself
from hoptrail.errors import ConfigError, InputError, PolicyError, UnknownId
from hoptrail.intake import Item, aligned, checked_namespace, checked_scope
from hoptrail.judging import Asked, Decision, Judging, hits_of
from hoptrail.keeping import Keeping
from hoptrail.placing import Batch
from hoptrail.reading import Reading
from hoptrail.types import Cost, Filter, Namespace, Recall

if TYPE_CHECKING:
    from hoptrail.graph.graph import Graph
    from hoptrail.memory.dense_kinds import IndexName
    from hoptrail.memory.encoder import Encoder
    from hoptrail.memory.store import OnDuplicate, Progress, Store
    from hoptrail.memory.vector_cache import CachedEncoder
    from hoptrail.policies.policy import Policy
    from hoptrail.policies.search import Walker

RANKED = 100
"""Passages that a walk ranks at least: what lies behind the k best is cheap, and evaluation
looks at it."""
WALKERS_KEPT = 32
"""Scopes and efforts whose terms stay in memory; the oldest goes first."""


class Memory(Keeping, ChangingEncoder, Judging, Reading):
    """A memory that an agent writes to, and a policy that walks it.

    Threads may share one. Nothing heavy is loaded before it is needed.

    Args:
        path: The file that holds it; made when absent. Or an open `Store`, with its own encoder.
        encoder: Turns texts into vectors. "auto" is MiniLM from the extra `hoptrail[minilm]`;
            None leaves a memory that can be read and deleted from, but not written or searched.
        policy: What walks the memory: the one that ships with the package, a folder that
            `hoptrail train` wrote, a loaded `Policy`, or None to do without `recall`.
        read_only: Never write to the file.
        statistics: Count what is recalled, for `history` and `audit`.
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
        >>> from hoptrail.memory.testing import HashEncoder
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
        statistics: bool = True,
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
        # By the scope's version and size: what expires on a read-only store changes no version.
        self._walkers: dict[tuple[Namespace, str], tuple[tuple[int, int], Walker]] = {}
        self._lock = threading.RLock()  # held while something is loaded, or walks
        self._writing = threading.Lock()  # held while texts are encoded for writing
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
                    f"encoder is 'auto', an encoder or None, got {encoder!r}: load_encoder of "
                    "hoptrail.memory.static_encoder loads one from a folder"
                )
            wanted = None if isinstance(encoder, str) else encoder
            self._store = Store(
                path,
                encoder=wanted,
                read_only=read_only,
                statistics=statistics,
                queries_kept=queries_kept,
                index=index,
                language=language,
            )
        self._encoder_wanted = encoder == "auto" and not isinstance(path, Store)
        self._encoder = itself(self._store.encoder)  # for queries: a timing is what it says
        self._cache: CachedEncoder | None = None  # for passages; opened at the first write

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

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

        with self._lock:
            if self._graph is None:
                self._graph = Graph(self._store)
            return self._graph

    def close(self) -> None:
        """Close the file; a second time does nothing."""
        self._stop_changing()
        with self._lock:
            self._walkers.clear()
            self._graph = None
            self._store.close()
            if self._cache is not None:
                self._cache.close()

    # Writing

    def add(
        self,
        passages: Item | Iterable[Item],
        *,
        namespace: Sequence[str] | None = None,
        on_duplicate: OnDuplicate = "error",
        ttl: float | None = None,
        progress: Progress | None = None,
    ) -> list[str]:
        """Write passages, all of them or none; the ids that were written.

        Args:
            passages: Strings, dicts (`id`, `title`, `text`, `metadata`, `links`, `namespace`),
                LangChain documents or `Passage` objects, one or many, or what was read of files
                (`hoptrail.formats`). What has no id gets the hash of its content.
            namespace: Where they go; by default each goes where it says.
            on_duplicate: What to do with an id that is taken: refuse them all ("error"),
                "replace" the old passage, or "skip" the new one.
            ttl: Seconds until those expire that have no `expires_at` of their own; None for never.
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
        filter: Filter | None = None,
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
        filter: Filter | None = None,
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
        from hoptrail.memory import filters
        from hoptrail.policies.efforts import effort as effort_named
        from hoptrail.policies.explore import checked_seed

        if isinstance(questions, str) or not isinstance(questions, Iterable):
            raise InputError("recall_many takes several questions: give one to recall")
        asked = list(questions)
        scope = checked_scope(asked, k, namespace, "question")
        bounds = effort_named(effort)
        condition = None if filter is None else filters.plain(filter)
        how = Asked(scope, bounds.name, condition, checked_seed(explore))
        if not asked:
            return []
        with self._lock:
            for _ in range(2):
                with suppress(UnknownId):  # another process deleted one just now: look again
                    return self._recalls(asked, k, how)
            return self._recalls(asked, k, how)

    def _recalls(self, asked: list[str], k: int, how: Asked) -> list[Recall]:
        """The recalls of checked questions. Only with the lock held."""
        if not self._store.holds_any(how.scope):
            none = Cost(0.0, 0, 0, 0)
            return [Recall(text, (), (), none, *self._keep(text, how)) for text in asked]
        walker = self._walker(how.scope, how.effort)
        view = walker.sources.view  # as the walker knows it; the store's may be newer by now
        started = time.perf_counter()
        walks = walker.walk(
            asked, k=max(k, RANKED), allowed=view.allowed(how.filter), explore=how.explore
        )
        found = [hits_of(walk, view, k, how.filter) for walk in walks]
        for walk in walks:
            self._store.recorder.note(view.rowids[walk.slots[:k]].tolist())
        spent = 1000 * (time.perf_counter() - started) / len(asked)
        return [
            Recall(
                text,
                hits,
                walk.trails,
                walk.cost(spent),
                *self._keep(text, how, hits, Decision(walk, view, self._fingerprint)),
            )
            for text, walk, hits in zip(asked, walks, found, strict=True)
        ]

    def _with_encoder(self) -> Store:
        """The store, once it has its encoder, where one was asked for."""
        with self._lock:
            if self._encoder_wanted:
                from hoptrail.memory import meta
                from hoptrail.memory.encoder import minilm

                encoder = minilm()
                with self._store.reading() as connection:
                    meta.check_encoder(connection, encoder, str(self._store.path))
                self._store.encoder = self._encoder = encoder
                self._encoder_wanted = False
            return self._store

    @contextmanager
    def _cached_writes(self) -> Iterator[Store]:
        """The store with the disk cache before its encoder: no passage is encoded twice."""
        from hoptrail.memory.vector_cache import CachedEncoder

        store = self._with_encoder()
        with self._writing:
            if self._cache is None and self._encoder is not None:
                self._cache = CachedEncoder(self._encoder)
            store.encoder = self._cache
            try:
                yield store
            finally:
                store.encoder = self._encoder

    def _walker(self, scope: Namespace, effort: str) -> Walker:
        """What walks a scope: kept while nothing is written, because it learns the scope's terms.

        Only with the lock held.
        """
        from hoptrail.memory.encoder import for_questions, require
        from hoptrail.memory.remembering import RememberingEncoder
        from hoptrail.policies import efforts
        from hoptrail.policies.search import Walker

        store = self._with_encoder()
        asking = require(self._encoder, "recall")
        if self._policy is None:
            self._policy = loaded_policy(self._policy_given)
            self._fingerprint = self._policy.fingerprint
        view = store.view_of(asking, scope)
        known = self._walkers.get((scope, effort))
        if known is not None and known[0] == (view.version, view.size):
            return known[1]
        graph = self.graph.view(view)
        encoder = RememberingEncoder(for_questions(asking), store.queries)
        walker = Walker(self._policy, view, graph, encoder, efforts.effort(effort))
        while len(self._walkers) >= WALKERS_KEPT:
            self._walkers.pop(next(iter(self._walkers)))
        self._walkers[scope, effort] = (view.version, view.size), walker
        return walker


def loaded_policy(given: Policy | str | Path | None) -> Policy:
    """The policy that is meant: "shipped" is the one in the package, other names are folders.

    Raises:
        PolicyError: There is none, or its files cannot be used.
    """
    from hoptrail.policies.policy import Policy

    if given is None:
        raise PolicyError(
            "this memory was opened with policy=None and recall needs one: "
            'open it with policy="shipped" or a folder that hoptrail train wrote'
        )
    if isinstance(given, Policy):
        return given
    return Policy.shipped() if given == "shipped" else Policy.load(Path(given))
