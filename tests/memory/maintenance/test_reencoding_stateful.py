"""Whatever is written, stopped, killed and dropped meanwhile: a store is what a fresh one is."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from hoptrail.memory.encoders.transformer import Encoder, Vectors
from hoptrail.memory.index import snapshot
from hoptrail.memory.maintenance import checks, reencoding
from hoptrail.memory.maintenance.reencoding import Reencoding
from hoptrail.memory.store import Store
from hoptrail.memory.testing.hash_encoder import HashEncoder
from hoptrail.types import Link, Passage

WORDS = "river bridge canal delft nantes loire old stone boat museum".split()
QUERIES = ("river bridge", "old stone boat museum")

ids = st.sampled_from([f"p{i}" for i in range(9)])
texts = st.lists(st.sampled_from(WORDS), min_size=1, max_size=5).map(" ".join)
passages = st.builds(
    Passage,
    id=ids,
    text=texts,
    title=st.none() | texts,
    metadata=st.dictionaries(st.just("speaker"), texts, max_size=1),
    links=st.lists(ids, max_size=1).map(lambda to: tuple(map(Link, to))),
    namespace=st.sampled_from([(), ("a",)]),
)
writes = st.one_of(
    st.tuples(st.just("add"), st.lists(passages, max_size=5), st.none() | st.just(5.0)),
    st.tuples(st.just("upsert"), st.lists(passages, max_size=5)),
    st.tuples(st.just("update"), ids, texts),
    st.tuples(st.just("link"), ids, ids),
    st.tuples(st.just("delete"), ids),
    st.tuples(st.just("forget"), texts),
)


class Turned(HashEncoder):
    """Of the same width as another."""

    fingerprint = "turned"

    def encode(self, texts: Sequence[str]) -> Vectors:
        return super().encode(texts)[:, ::-1].copy()


ENCODERS: list[Callable[[], HashEncoder]] = [HashEncoder, Turned, lambda: HashEncoder(24)]


class Meddled:
    """Does something after it has encoded."""

    def __init__(self, inner: HashEncoder, meddle: Callable[[], None]) -> None:
        self.fingerprint, self.dim = inner.fingerprint, inner.dim
        self.inner, self.meddle = inner, meddle

    def encode(self, texts: Sequence[str]) -> Vectors:
        vectors = self.inner.encode(texts)
        self.meddle()
        return vectors


class Killed(BaseException):
    """Nothing of ours catches it."""


class Machine(RuleBasedStateMachine):
    @initialize()
    def open(self) -> None:
        self.before, snapshot.MINIMUM = snapshot.MINIMUM, 4
        self.folder = Path(tempfile.mkdtemp())
        self.now, self.kind = 1000.0, 0
        self.next: int | None = None
        self.start()

    def start(self) -> None:
        self.stores = [
            Store(self.folder / "a.db", encoder=ENCODERS[self.kind](), clock=lambda: self.now)
            for _ in range(2)
        ]

    def teardown(self) -> None:
        if not hasattr(self, "stores"):
            return
        self.compare()
        if self.next is not None:
            self.finish()
        for store in self.stores:
            store.close()
        shutil.rmtree(self.folder)
        snapshot.MINIMUM = self.before

    def do(self, store: Store, what: tuple) -> None:
        name, *given = what
        if name == "add":
            store.add(given[0], on_duplicate="replace", ttl=given[1])
        elif name == "upsert":
            store.upsert(given[0])
        elif name == "forget":
            store.forget({"speaker": given[0]})
        elif store.has(given[0]):
            if name == "update":
                store.update(given[0], text=given[1])
            elif name == "link":
                store.link(given[0], Link(given[1]))
            else:
                store.delete([given[0]])

    @rule(what=writes, by=st.integers(0, 1))
    def write(self, what: tuple, by: int) -> None:
        self.do(self.stores[by], what)

    @rule(seconds=st.integers(1, 10))
    def wait(self, seconds: int) -> None:
        self.now += seconds

    @rule(
        to=st.integers(1, 2),
        batch=st.integers(1, 4),
        batches=st.integers(0, 3),
        meanwhile=st.lists(writes, max_size=3),
        killed=st.booleans(),
    )
    def change(
        self, to: int, batch: int, batches: int, meanwhile: list[tuple], killed: bool
    ) -> None:
        """Some batches, each beside a write by the other store, and then a stop or a kill."""
        if self.next is None:
            self.next = (self.kind + to) % len(ENCODERS)
        left = [batches]

        def meddle() -> None:
            if meanwhile:
                self.do(self.stores[1], meanwhile.pop())
            if not left[0]:
                if killed:
                    raise Killed
                change.stop()
            left[0] -= 1

        change = Reencoding(self.stores[0], Meddled(ENCODERS[self.next](), meddle), batch=batch)
        try:
            if change.run():
                self.switched()
        except Killed:
            pass

    @rule()
    def finish(self) -> None:
        if self.next is not None:
            assert Reencoding(self.stores[0], ENCODERS[self.next](), batch=2).run()
            self.switched()

    def switched(self) -> None:
        assert self.next is not None
        self.kind, self.next = self.next, None
        for store in self.stores:
            store.encoder = ENCODERS[self.kind]()
        self.compare()

    @rule()
    def drop(self) -> None:
        found = reencoding.cancel_reencoding(self.stores[1])
        assert (found is None) == (self.next is None)
        self.next = None

    @rule()
    def reopen(self) -> None:
        for store in self.stores:
            store.close()
        self.start()

    @rule()
    def purge(self) -> None:
        checks.purge(self.stores[0], cache=self.folder)

    @rule()
    def compare(self) -> None:
        store, encoder = self.stores[0], ENCODERS[self.kind]()
        store.sweep()
        assert checks.verify(store) == []
        held = list(store.passages())
        with store.reading() as connection:
            rows = connection.execute("SELECT passage, vector FROM vectors").fetchall()
        assert len(rows) == len(held)
        read = store.read_rows([row[0] for row in rows])
        for rowid, vector in rows:
            assert vector == encoder.encode([read[rowid].content])[0].tobytes()
        expected = self.fresh(held, encoder)
        for each in self.stores:
            assert found(each) == expected

    def fresh(self, held: list[Passage], encoder: Encoder) -> list:
        with (
            tempfile.TemporaryDirectory() as folder,
            Store(f"{folder}/f.db", encoder=encoder, clock=lambda: self.now) as store,
        ):
            store.add(held)
            return found(store)


def found(store: Store) -> list:
    return [
        [(h.passage.content, round(h.score, 5)) for h in store.search(q, 30, mode=m, namespace=s)]
        for q in QUERIES
        for m in ("hybrid", "dense", "sparse")
        for s in ((), ("a",))
    ]


TestReencoding = Machine.TestCase
TestReencoding.settings = settings(
    max_examples=25,
    stateful_step_count=12,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=True,
)
