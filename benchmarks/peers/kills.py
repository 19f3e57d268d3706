"""What is left after `kill -9` in the middle of writing, of each peer that keeps anything.

A child process opens the peer, writes batch after batch by the peer's own means and acknowledges
each; peers that save only as a whole do so after each batch. It is killed at a random moment, and
another process opens what is there: does it open, and are all acknowledged passages in it?
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

from benchmarks.peers.frameworks import LangChain, TxtaiIndex
from benchmarks.peers.memories import Coremem, CorememIndex, Engram, EngramIndex
from benchmarks.peers.peer import SharedEncoder
from benchmarks.peers.plain import Bm25sFaiss, WordsAndVectors
from benchmarks.peers.registry import PEERS, missing
from hoptrail.memory.testing import HashEncoder
from hoptrail.types import Passage

BATCH = 50
KILLS = 8
WARM = 4
"""Batches before a kill may come."""

WINDOW = 4
"""Batches' worth of time within which the kill comes."""

HOPTRAIL = "hoptrail"

MODULES = (
    "hoptrail.api.memory",
    "bm25s",
    "faiss",
    "langchain_core.vectorstores",
    "txtai",
    "coremem.core",
    "engram.store",
)
"""What is imported once for all children, so that their starts are quick."""


class Writer(Protocol):
    """A peer that is open for writing, or for looking at what it holds."""

    def write(self, passages: Sequence[Passage]) -> None:
        """Write a batch so that it is kept."""

    def ids(self) -> set[str]:
        """The ids that it gives back."""


class Hoptrail:
    """A memory in a file."""

    def __init__(self, folder: Path, encoder: SharedEncoder) -> None:
        from hoptrail.api.memory import Memory

        self._memory = Memory(folder / "memory.db", encoder=encoder.inner)

    def write(self, passages: Sequence[Passage]) -> None:
        """One transaction."""
        self._memory.add(list(passages))

    def ids(self) -> set[str]:
        """Of all its passages."""
        return {passage.id for passage in self._memory.store.passages()}


class Plain:
    """bm25s and FAISS: both files anew for each batch."""

    def __init__(self, folder: Path, encoder: SharedEncoder) -> None:
        self._folder, self._encoder = folder, encoder
        self._passages: list[Passage] = []

    def write(self, passages: Sequence[Passage]) -> None:
        """All passages indexed and saved again: bm25s has no other way."""
        self._passages += passages
        WordsAndVectors(self._passages, self._encoder).save(self._folder)

    def ids(self) -> set[str]:
        """Those that both indexes hold."""
        import bm25s
        import faiss

        ids = json.loads((self._folder / "ids.json").read_text(encoding="utf-8"))
        words = bm25s.BM25.load(self._folder / "bm25s").scores["num_docs"]
        vectors = faiss.read_index(str(self._folder / "vectors.faiss")).ntotal
        return set(ids[: min(int(words), vectors)])


class LangChainDump:
    """LangChain's store, dumped after each batch."""

    def __init__(self, folder: Path, encoder: SharedEncoder) -> None:
        from langchain_core.embeddings import DeterministicFakeEmbedding
        from langchain_core.vectorstores import InMemoryVectorStore

        self._file = folder / "store.json"
        self._kind = InMemoryVectorStore
        self._embedding = DeterministicFakeEmbedding(size=encoder.dim)
        self._store = InMemoryVectorStore(self._embedding)

    def write(self, passages: Sequence[Passage]) -> None:
        """Add and dump."""
        from langchain_core.documents import Document

        self._store.add_documents(
            [Document(id=passage.id, page_content=passage.content) for passage in passages]
        )
        self._store.dump(str(self._file))

    def ids(self) -> set[str]:
        """Of the dump."""
        return set(self._kind.load(str(self._file), self._embedding).store)


class TxtaiSave:
    """txtai's database, saved after each batch."""

    def __init__(self, folder: Path, encoder: SharedEncoder) -> None:
        self._path = str(folder / "txtai")
        self._encoder = encoder
        self._index: TxtaiIndex | None = None

    def write(self, passages: Sequence[Passage]) -> None:
        """Index or upsert, and save."""
        if self._index is None:
            self._index = TxtaiIndex(passages, self._encoder, graph=False)
        else:
            self._index.embeddings.upsert((one.id, one.content, None) for one in passages)
        self._index.embeddings.save(self._path)

    def ids(self) -> set[str]:
        """Those that the loaded database selects."""
        from txtai import Embeddings

        def encode(texts: list[str]) -> Any:
            return self._encoder.passages(texts)

        embeddings = Embeddings()
        embeddings.load(self._path, config={"transform": encode})
        return {hit["id"] for hit in embeddings.search("select id from txtai", 1_000_000)}


class CorememWriter(CorememIndex):
    """coremem in its folder."""

    def __init__(self, folder: Path, encoder: SharedEncoder) -> None:
        super().__init__([], encoder, folder)

    def ids(self) -> set[str]:
        """Of all messages."""
        return {memory.id or "" for memory in self._core.fetch_all()}


class EngramWriter(EngramIndex):
    """engram in its folder."""

    def __init__(self, folder: Path, encoder: SharedEncoder) -> None:
        super().__init__([], encoder, folder)

    def ids(self) -> set[str]:
        """Of all memories."""
        return set(self._store.get_all_embeddings()[0])


WRITERS: dict[str, Callable[[Path, SharedEncoder], Writer]] = {
    HOPTRAIL: Hoptrail,
    Bm25sFaiss.name: Plain,
    LangChain.name: LangChainDump,
    "txtai": TxtaiSave,
    Coremem.name: CorememWriter,
    Engram.name: EngramWriter,
}


def batch(number: int) -> list[Passage]:
    """The passages of a batch, made up."""
    words = random.Random(number)
    lexicon = [f"word{at}" for at in range(500)]
    return [
        Passage(id=f"p{number}-{at}", text=" ".join(words.choices(lexicon, k=80)))
        for at in range(BATCH)
    ]


def _write(name: str, folder: Path, pipe: Connection) -> None:
    writer = WRITERS[name](folder, SharedEncoder(HashEncoder(64), folder.parent / "vectors"))
    number = 0
    while True:
        writer.write(batch(number))
        number += 1
        pipe.send(number)


def _look(name: str, folder: Path, pipe: Connection) -> None:
    encoder = SharedEncoder(HashEncoder(64), folder.parent / "vectors")
    try:
        pipe.send(sorted(WRITERS[name](folder, encoder).ids()))
    except Exception as error:  # it does not open: that is the finding
        pipe.send(type(error).__name__)


def _child(work: Callable[..., None], *arguments: Any) -> tuple[Any, Connection]:
    here, there = multiprocessing.Pipe(duplex=False)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(MODULES))
    process = context.Process(target=work, args=(*arguments, there))
    process.start()
    there.close()
    return process, here


def kill_once(name: str, folder: Path, moment: random.Random) -> dict[str, Any]:
    """Let a peer write, kill it, and look at what is there.

    Args:
        name: Out of `WRITERS`.
        folder: An empty one.
        moment: Draws when the kill comes.
    """
    process, pipe = _child(_write, name, folder)
    acknowledged, times = 0, []
    while acknowledged < WARM:
        acknowledged = pipe.recv()
        times.append(time.monotonic())
    pace = (times[-1] - times[0]) / max(1, len(times) - 1)
    time.sleep(moment.uniform(0, WINDOW * pace))
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    try:
        while pipe.poll():
            acknowledged = pipe.recv()
    except EOFError:
        pass
    process, pipe = _child(_look, name, folder)
    answer = pipe.recv()
    process.join()
    expected = {passage.id for number in range(acknowledged) for passage in batch(number)}
    ids = set(answer) if isinstance(answer, list) else set()
    return {
        "acknowledged": len(expected),
        "lost": len(expected - ids),
        "opens": isinstance(answer, list),
        "error": None if isinstance(answer, list) else str(answer),
    }


def survive_kills(
    tell: Callable[[str], None], *, kills: int = KILLS, names: Sequence[str] = tuple(WRITERS)
) -> dict[str, Any]:
    """Kill every peer that keeps anything, several times; say which keep nothing.

    Args:
        tell: Told what is going on.
        kills: Of each.
        names: Out of `WRITERS`.
    """
    persists = {peer.name: peer.persists for peer in PEERS} | {HOPTRAIL: "each add, to SQLite"}
    absent = {peer.name for peer in PEERS if missing(peer)}
    rows: dict[str, Any] = {}
    for name in names:
        if name in absent:
            continue
        moment = random.Random(name)
        outcomes = []
        for number in range(kills):
            with TemporaryDirectory() as top:
                folder = Path(top) / f"kill-{number}"
                folder.mkdir()
                outcomes.append(kill_once(name, folder, moment))
                shutil.rmtree(folder, ignore_errors=True)
            tell(f"{name}, kill {number + 1}: {outcomes[-1]}")
        rows[name] = {
            "persists": persists[name],
            "kills": kills,
            "opened": sum(one["opens"] for one in outcomes),
            "whole": sum(one["opens"] and not one["lost"] for one in outcomes),
            "acknowledged": sum(one["acknowledged"] for one in outcomes),
            "lost": sum(one["lost"] for one in outcomes),
            "errors": sorted({one["error"] for one in outcomes if one["error"]}),
        }
    nothing = [peer.name for peer in PEERS if peer.persists is None]
    return {"rows": rows, "keep nothing": nothing}
