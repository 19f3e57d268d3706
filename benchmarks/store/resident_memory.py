"""Bytes of memory that a passage takes in a process that asks, with its graph, by the store's size.

    python benchmarks/store/resident_memory.py [--sizes 10000,100000,1000000] [--keep FOLDER]
        [--out FILE]

Texts are made up by seed, with as many names in them as encyclopaedic passages have: 60 words by
Zipf's law (`store_texts`), a title of two words, ten names that passages share (drawn by Zipf's
law too, of as many as there are passages), two titles of other passages and one link. Vectors are
random ones of 384 numbers around 4,096 centres.

Each store is built by one process and asked by another, which knows nothing of it: memory is what
that one has more after opening its indexes, after the graph, and after twenty recalls at effort
`fast`, than before it opened the file. Private memory is the process's own, index files that it
has read among it (up to 256 MB each); mapped pages are of files, shared by all processes that ask,
and go when the system needs the room.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import platform
import sys
import time
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from sqlite3 import Connection
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from store_texts import Texts, vocabulary

from hoptrail import Memory
from hoptrail.graph.extraction import sync
from hoptrail.memory.encoders.transformer import Vectors
from hoptrail.types import Link, Passage

AT_ONCE = 20_000
NAMES, TITLES = 10, 2
SHARED = 1_000_000
"""Names that passages share begin beyond this number, and so with other words than titles do: else
some of these would have them as aliases, at some sizes."""
ASKED = 20


class RandomVectors:
    """Unit vectors around centres, that the text alone decides."""

    dim = 384
    fingerprint = "random-384"

    def __init__(self) -> None:
        self._centres = np.random.default_rng(0).standard_normal((4096, self.dim), np.float32)

    def encode(self, texts: Sequence[str]) -> Vectors:
        """The vectors of the texts, `(n, d)`."""
        out = np.empty((len(texts), self.dim), np.float32)
        for row, text in zip(out, texts, strict=True):
            number = zlib.crc32(text.encode())
            noise = np.random.default_rng(number).standard_normal(self.dim, np.float32)
            row[:] = self._centres[number % 4096] + 0.7 * noise
        return out / np.linalg.norm(out, axis=1, keepdims=True)


def title(words: list[str], number: int) -> str:
    """Two words that no other number has."""
    first, second = divmod(number, 40_000)
    return f"{words[first]} {words[40_000 + second]}".title()


def passages(count: int) -> Iterator[Passage]:
    """Passages with names, titles of others and links."""
    rng, words = np.random.default_rng(2), vocabulary()
    for number, text in enumerate(Texts().texts(count)):
        own = text.split()
        others = rng.integers(0, count, TITLES)
        names = [title(words, max(count, SHARED) + int(n) % count) for n in rng.zipf(1.3, NAMES)]
        names += [title(words, int(other)) for other in others]
        for place, name in zip(rng.integers(1, len(own), len(names)), names, strict=True):
            own[place] = f"{own[place]} {name} {own[0]}"
        link = (Link(f"p{rng.integers(0, count)}"),) if number else ()
        yield Passage(f"p{number}", " ".join(own), title=title(words, number), links=link)


def build(path: Path, count: int) -> dict[str, Any]:
    """Make a store with all that is derived from it; the processor's seconds of each part.

    The graph is built in transactions of 20,000 passages.
    """
    began = time.process_time()
    with Memory(path, encoder=RandomVectors()) as store:
        part: list[Passage] = []
        for passage in passages(count):
            part.append(passage)
            if len(part) == AT_ONCE:
                store.add(part)
                part = []
        if part:
            store.add(part)
        written = time.process_time()
        store.store.view().save()
        indexed = time.process_time()
        transactions = _timed_transactions()
        store.graph.sync()
        return {
            "write_cpu_s": written - began,
            "index_cpu_s": indexed - written,
            "graph_cpu_s": time.process_time() - indexed,
            "graph_cpu_s_by_transaction": transactions,
        }


def _timed_transactions() -> list[float]:
    """Seconds of the processor, of each transaction from now on that takes passages in."""
    seconds: list[float] = []
    catch_up = sync.catch_up

    def timed(connection: Connection, newest: int) -> bool:
        began = time.process_time()
        done = catch_up(connection, newest)
        seconds.append(time.process_time() - began)
        return done

    sync.catch_up = timed
    return seconds


def ask(path: Path, count: int) -> dict[str, Any]:
    """Open a store and ask it; memory after each step, and the processor's milliseconds."""
    questions = [" ".join(p.text.split()[:12]) for p in _some(count)]
    steps = {"before": memory()}
    with Memory(path, encoder=RandomVectors(), read_only=True) as store:
        view = store.store.view()
        store.search(questions[0], k=10)
        steps["indexes"] = memory()
        graph = store.graph.view(view)
        facts = repr(graph)
        steps["graph"] = memory()
        milliseconds: dict[str, list[float]] = {}
        for effort in ("fast", "balanced"):
            store.recall(questions[0], k=5, effort=effort)
            times = milliseconds.setdefault(f"{effort}_cpu_ms_median", [])
            for question in questions[1:]:
                began = time.thread_time()
                store.recall(question, k=5, effort=effort)
                times.append(1000 * (time.thread_time() - began))
            if effort == "fast":
                steps["recalls"] = memory()
        return {
            "passages": count,
            "view": repr(view),
            "graph": facts,
            **{name: float(np.median(times)) for name, times in milliseconds.items()},
            "bytes_a_passage": {
                step: {kind: (resident[kind] - steps["before"][kind]) / count for kind in resident}
                for step, resident in steps.items()
                if step != "before"
            },
            "disk": _disk(path, count),
        }


def memory() -> dict[str, int]:
    """This process's resident bytes, its own and those of files, as Linux tells them."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    fields = dict(line.split(":", 1) for line in lines)
    anonymous, shared, mapped = (
        1024 * int(fields[key].split()[0]) for key in ("RssAnon", "RssShmem", "RssFile")
    )
    return {"private": anonymous + shared, "mapped": mapped}


def _some(count: int) -> list[Passage]:
    """Passages whose first words are asked for: of a stream of their own."""
    return [p for p, _ in zip(passages(max(count // 100, 100)), range(ASKED + 1), strict=False)]


def _disk(path: Path, count: int) -> dict[str, float]:
    """Bytes a passage, of the store's file and of the index files beside it."""
    index = path.with_name(path.name + ".index")
    files = sum(file.stat().st_size for file in index.iterdir()) if index.is_dir() else 0
    return {"store": path.stat().st_size / count, "indexes": files / count}


def main() -> None:
    """Build what is absent, ask each size, and print and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--sizes", default="10000,100000,1000000")
    parser.add_argument("--keep", type=Path, help="where stores stay, to be asked again")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    args = parser.parse_args()
    processes = multiprocessing.get_context("spawn")
    rows = []
    with TemporaryDirectory() as folder:
        for size in map(int, args.sizes.split(",")):
            path = (args.keep or Path(folder)) / f"memory-{size}.db"
            row: dict[str, Any] = {}
            for work in (build, ask) if not path.exists() else (ask,):
                with processes.Pool(1) as pool:
                    row |= pool.apply(work, (path, size))
            rows.append(row)
            sys.stdout.write(json.dumps(row) + "\n")
            sys.stdout.flush()
    figures = {"sizes": rows, "machine": f"{platform.machine()}, numpy {np.__version__}"}
    if args.out:
        args.out.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
