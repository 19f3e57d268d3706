"""One set's comparison: every peer indexes it, and all answer its questions in turn."""

from __future__ import annotations

import os
import platform
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.peers import hoptrail_rows
from benchmarks.peers.peer import Index, Peer, PeerRetriever, SharedEncoder
from hoptrail.api.memory import Memory
from hoptrail.evaluation.benchmark import Ranking, Result, Retriever, run
from hoptrail.formats.jsonl import read_corpus, read_questions
from hoptrail.formats.sequences import in_sequence
from hoptrail.metrics.bootstrap import RESAMPLES, Bootstrap, clusters_of
from hoptrail.metrics.ranking import recall_at
from hoptrail.types import Namespace, Passage, Question

K = 10
"""Passages that each is asked for."""

REFERENCE = hoptrail_rows.BALANCED
DEPTHS = (5, 10)
"""Of recall."""


@dataclass(frozen=True, slots=True)
class TestSet:
    """A corpus with its questions.

    `sequence` is the field by which turns follow each other, or None.
    """

    name: str
    passages: list[Passage]
    questions: list[Question]
    sequence: str | None = None


def load_set(
    data: Path, name: str, measured: str, sequence: str | None, *, count: int | None = None
) -> TestSet:
    """Read a set from its folder.

    Args:
        data: A folder with a folder for each set.
        name: Of the set.
        measured: The file of its questions.
        sequence: The field by which its lines follow each other.
        count: Questions that are drawn, in their order; all if None or if there are no more.
    """
    passages = read_corpus(data / name / "corpus.jsonl")
    if sequence is not None:
        passages = in_sequence(passages, sequence)
    questions = read_questions(data / name / measured)
    if count is not None and count < len(questions):
        drawn = random.Random(0).sample(range(len(questions)), count)
        questions = [questions[row] for row in sorted(drawn)]
    return TestSet(name, list(passages), questions, sequence)


@dataclass
class Clocked:
    """A retriever whose processor's time is kept, by question; the clock's is `run`'s.

    The last call for a question counts: those before it warm up.
    """

    inner: Retriever
    cpu_ms: dict[str, float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The retriever's."""
        return self.inner.name

    def rank(self, question: Question, k: int) -> Ranking:
        """The retriever's ranking."""
        start = time.process_time()
        ranking = self.inner.rank(question, k)
        self.cpu_ms[question.id] = 1000 * (time.process_time() - start)
        return ranking


@dataclass(frozen=True, slots=True)
class IndexCost:
    """What indexing took: until the first question is answered, with vectors that were there."""

    seconds: float
    cpu_seconds: float
    bytes: int
    """On disk, by the peer's own means; 0 where it has none."""


def by_namespace(passages: Iterable[Passage]) -> dict[Namespace, list[Passage]]:
    """The passages of each namespace, in their order."""
    groups: dict[Namespace, list[Passage]] = {}
    for passage in passages:
        groups.setdefault(passage.namespace, []).append(passage)
    return groups


def index_peer(
    peer: Peer, test_set: TestSet, encoder: SharedEncoder, folder: Path
) -> tuple[Retriever, IndexCost]:
    """Let a peer index a set, an index for each namespace.

    Args:
        peer: Any.
        test_set: What to index.
        encoder: Has the vectors of all passages in its cache.
        folder: An empty one.
    """
    indexes: dict[Namespace, Index] = {}
    clock, cpu = time.perf_counter(), time.process_time()
    for number, (namespace, passages) in enumerate(by_namespace(test_set.passages).items()):
        own = folder / str(number)
        own.mkdir(parents=True)
        indexes[namespace] = peer.index(passages, encoder, own)
        indexes[namespace].search(test_set.questions[0].text, K)
    seconds, cpu_seconds = time.perf_counter() - clock, time.process_time() - cpu
    for number, index in enumerate(indexes.values()):
        index.save(folder / str(number))
    return PeerRetriever(peer.name, indexes), IndexCost(seconds, cpu_seconds, bytes_in(folder))


def load_modules(peer: Peer, test_set: TestSet, encoder: SharedEncoder, folder: Path) -> None:
    """Index two passages, so that what is imported on the way is not timed as indexing."""
    folder.mkdir(parents=True)
    peer.index(test_set.passages[:2], encoder, folder).search(test_set.questions[0].text, K)


def bytes_in(folder: Path) -> int:
    """The bytes of all files in a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def compare(
    test_set: TestSet,
    peers: Sequence[Peer],
    encoder: SharedEncoder,
    *,
    own: Sequence[str] = hoptrail_rows.ROWS,
    tell: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """What each system is worth on each question, and what it costs, as JSON values.

    Args:
        test_set: The set.
        peers: Those that take part beside hoptrail; the first is what times are multiples of.
        encoder: Of all of them.
        own: hoptrail's rows that take part.
        tell: Told what is going on.
    """
    encoder.passages([passage.content for passage in test_set.passages])
    failed: dict[str, str] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        retrievers: list[Clocked] = []
        costs: dict[str, IndexCost] = {}
        for number, peer in enumerate(peers):
            try:
                load_modules(peer, test_set, encoder, folder / f"few-{number}")
                retriever, cost = index_peer(peer, test_set, encoder, folder / f"peer-{number}")
            except Exception as error:  # a peer's failure is a finding, and the others go on
                failed[peer.name] = f"{type(error).__name__}: {error}"
                tell(f"{peer.name} left out: {failed[peer.name]}")
                continue
            retrievers.append(Clocked(retriever))
            costs[peer.name] = cost
            tell(f"{test_set.name}: {peer.name} indexed, {cost.cpu_seconds:.1f} s of a processor")
        if own:
            memory, cost = index_hoptrail(test_set, encoder, folder)
            stack.enter_context(memory)
            rows = [one for one in hoptrail_rows.retrievers_of(memory) if one.name in own]
            retrievers += [Clocked(retriever) for retriever in rows]
            costs |= dict.fromkeys(own, cost)
            tell(f"{test_set.name}: hoptrail indexed, {cost.cpu_seconds:.1f} s of a processor")
        results = run(retrievers, test_set.questions, k=K, progress=counted(test_set.name, tell))
    rows_of = {one.name: row_of(one, results, retrievers[0], costs) for one in retrievers}
    return {
        "passages": len(test_set.passages),
        "questions": len(test_set.questions),
        "sequence": test_set.sequence,
        "failed": failed,
        "rows": rows_of,
    }


def index_hoptrail(
    test_set: TestSet, encoder: SharedEncoder, folder: Path
) -> tuple[Memory, IndexCost]:
    """Let a memory index a set, until a recall is answered.

    Args:
        test_set: What to index.
        encoder: Has the vectors of all passages in its cache.
        folder: For the memory's file.
    """
    few = hoptrail_rows.fill_memory(test_set.passages[:2], encoder, folder / "few.db")
    few.recall(test_set.questions[0].text)
    few.close()
    clock, cpu = time.perf_counter(), time.process_time()
    memory = hoptrail_rows.fill_memory(test_set.passages, encoder, folder / "memory.db")
    memory.recall(test_set.questions[0].text, effort="fast")
    seconds, cpu_seconds = time.perf_counter() - clock, time.process_time() - cpu
    size = sum(file.stat().st_size for file in folder.glob("memory.db*"))
    return memory, IndexCost(seconds, cpu_seconds, size)


def counted(name: str, tell: Callable[[str], None]) -> Callable[[int, int], None]:
    """A progress that tells every twentieth question."""

    def progress(done: int, total: int) -> None:
        if done % 20 == 0:
            tell(f"{name}: {done} of {total} questions")

    return progress


def row_of(
    one: Clocked, results: Sequence[Result], base: Clocked, costs: Mapping[str, IndexCost]
) -> dict[str, Any]:
    """What one system is worth on each question, and its times and costs.

    Args:
        one: The system.
        results: Of `run`.
        base: What times are multiples of; it ran on the same questions in turn.
        costs: Of their indexes, by name.
    """
    clock = {result.question.id: result.rankings[one.name].milliseconds for result in results}
    base_clock = {result.question.id: result.rankings[base.name].milliseconds for result in results}
    cost = costs[one.name]
    return {
        "ms_median": statistics.median(clock.values()),
        "times_raw_vectors": median_ratio(clock, base_clock),
        "cpu_ms_median": statistics.median(one.cpu_ms.values()),
        "cpu_times_raw_vectors": median_ratio(one.cpu_ms, base.cpu_ms),
        "index_seconds": cost.seconds,
        "index_cpu_seconds": cost.cpu_seconds,
        "index_bytes": cost.bytes,
        "values": {
            f"recall@{k}": [
                round(
                    recall_at(result.rankings[one.name].ids, result.question.supporting_ids, k), 6
                )
                for result in results
            ]
            for k in DEPTHS
        },
    }


def median_ratio(spent: Mapping[str, float], base: Mapping[str, float]) -> float:
    """The median over questions of how many times the base's time one took.

    Args:
        spent: By question.
        base: Likewise.
    """
    return statistics.median(time_ / base[id_] for id_, time_ in spent.items())


def add_intervals(
    rows: Mapping[str, dict[str, Any]],
    questions: Sequence[Question],
    *,
    resamples: int = RESAMPLES,
) -> int:
    """Put into rows the means of their values, intervals, and the reference's lead over each.

    Args:
        rows: As `compare` gives them, of one run or of several over the same questions.
        questions: In the order of the values.
        resamples: Of the bootstrap, which draws clusters of questions that share a gold passage.

    Returns:
        How many clusters there are.
    """
    bootstrap = Bootstrap(clusters_of(questions), seed=0, resamples=resamples)
    for name, row in rows.items():
        for measure, values in row["values"].items():
            interval = bootstrap.interval(values)
            row[measure] = statistics.fmean(values)
            row[f"{measure} interval"] = [interval.low, interval.high]
            if REFERENCE in rows and name != REFERENCE:
                lead = bootstrap.paired(rows[REFERENCE]["values"][measure], values)
                row[f"{REFERENCE} less this, {measure}"] = [lead.mean, lead.low, lead.high]
    return bootstrap.count


def encoding_rate(test_set: TestSet, encoder: SharedEncoder, count: int = 100) -> dict[str, float]:
    """Seconds of a processor that encoding takes, a passage and a question, without a cache.

    Args:
        test_set: Its first passages and questions are encoded.
        encoder: Of the comparison.
        count: How many of each.
    """
    texts = [passage.content for passage in test_set.passages[:count]]
    start = time.process_time()
    encoder.inner.encode(texts)
    middle = time.process_time()
    for question in test_set.questions[:count]:
        encoder.question(question.text)
    spent = time.process_time() - middle
    return {
        "cpu_ms_a_passage": 1000 * (middle - start) / len(texts),
        "cpu_ms_a_question": 1000 * spent / len(test_set.questions[:count]),
    }


def machine() -> dict[str, Any]:
    """What it ran on."""
    return {
        "machine": platform.machine(),
        "processors": os.cpu_count(),
        "python": sys.version.split()[0],
        "load": round(os.getloadavg()[0], 1),
        "day": time.strftime("%Y-%m-%d"),
    }
