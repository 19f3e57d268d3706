"""Hits@1 on questions whose answers are entities of a knowledge graph.

A question counts 1 where the first entity of a ranking, the question's own topic left out, is one
of its answers. BM25, dense and hybrid search rank entities by their names; PageRank walks the
typed links from the topic; the policy walks relations.

Intervals come from a paired bootstrap that draws topics: questions about one are not independent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hoptrail.errors import InputError
from hoptrail.evaluation.benchmark import Ranking, Result, Retriever, run
from hoptrail.evaluation.report import REFERENCE
from hoptrail.evaluation.retrievers import BASELINES, RecallRetriever, baseline
from hoptrail.formats.jsonl import sha256_of
from hoptrail.formats.triples import EntityQuestion, read_entity_questions
from hoptrail.metrics.bootstrap import Bootstrap
from hoptrail.policies.environment.efforts import DEFAULT
from hoptrail.policies.environment.efforts import effort as effort_named
from hoptrail.types import Question
from hoptrail.values.progress import Progress

if TYPE_CHECKING:
    from hoptrail.api.memory import Memory
    from hoptrail.memory.encoders.transformer import Encoder
    from hoptrail.policies.policy import AnyPolicy

RETRIEVERS = (*BASELINES, REFERENCE)
DEPTH = 10
"""Entities that a retriever is asked for."""


@dataclass(frozen=True, slots=True)
class EntitySettings:
    """What a comparison depends on, besides its files and the encoder."""

    retrievers: tuple[str, ...] = RETRIEVERS
    first: int | None = None
    """Only the first so many questions of each file."""
    last: int | None = None
    """Only the last so many questions of each file."""
    effort: str = DEFAULT
    seed: int = 0
    """Of the bootstrap's draws; nothing else is random."""

    def __post_init__(self) -> None:
        unknown = [name for name in self.retrievers if name not in RETRIEVERS]
        if unknown or not self.retrievers or len(set(self.retrievers)) != len(self.retrievers):
            raise InputError(
                f"retrievers are different names out of {', '.join(RETRIEVERS)}, "
                f"got {', '.join(self.retrievers) or 'none'}"
            )
        if min(self.first or 1, self.last or 1) < 1 or (self.first and self.last):
            raise InputError("give first or last, as a number of questions from 1")
        if self.seed < 0:
            raise InputError(f"seed must be at least 0, got {self.seed}")
        effort_named(self.effort)


class TopicPageRank:
    """Personalised PageRank over the graph, from the entities that a question names.

    Args:
        memory: What to walk.
    """

    name = "pagerank"

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    def rank(self, question: Question, k: int) -> Ranking:
        """Entities by how often the walker is on them.

        Args:
            question: Its text names the entities to start from.
            k: Length of the ranking; fewer where nothing is named.
        """
        view = self._memory.store.view(question.namespace)
        graph = self._memory.graph.view(view)
        named = [s for topic in graph.entity_names().find(question.text) for s in topic.slots]
        if not named:
            return Ranking((), ())
        visits = graph.pagerank(dict.fromkeys(named, 1.0))
        best = np.argpartition(-visits, min(4 * k, len(visits) - 1))[: 4 * k]
        slots = best[view.order(visits[best], best)][:k]
        ids = tuple(passage.id for passage in view.passages(slots.tolist()))
        return Ranking(ids, tuple(visits[slots].tolist()))


def evaluate_entities(
    triples: Path,
    files: Sequence[Path],
    settings: EntitySettings,
    *,
    encoder: Encoder,
    policy: AnyPolicy | str | Path = "shipped",
    progress: Progress | None = None,
) -> dict[str, Any]:
    """How often the first entity is an answer, for every file and retriever.

    Args:
        triples: A file of triples.
        files: Files of questions about its entities.
        settings: Who takes part, and on which questions.
        encoder: Makes the vectors.
        policy: The one in the package, a folder, or a loaded one; used if `policy` takes part.
        progress: Called with (questions done, questions in all), file after file.

    Returns:
        The report as JSON values: `triples` and `settings`, and under `files`, for each file and
        retriever, Hits@1 with its interval and the median time.

    Raises:
        FormatError: A file cannot be read or used.
        InputError: A question has no answers, or there is none.
        PolicyError: The policy cannot be loaded.
    """
    from hoptrail.api.memory import Memory
    from hoptrail.api.recalling import loaded_policy
    from hoptrail.policies.data.corpora import open_triples

    questions_of = {file: _chosen(read_entity_questions(file), settings) for file in files}
    loaded = loaded_policy(policy) if REFERENCE in settings.retrievers else None
    with open_triples(triples, encoder) as store:
        memory = Memory(store, policy=loaded)
        retrievers = [_retriever(name, memory, settings.effort) for name in settings.retrievers]
        per_file = {}
        for file, questions in questions_of.items():
            results = run(retrievers, [q.question for q in questions], k=DEPTH, progress=progress)
            per_file[file] = _figures(results, questions, settings.seed)
        entities = len(store)
    return {
        "triples": {"file": str(triples), "sha256": sha256_of(triples), "entities": entities},
        "settings": {
            "first": settings.first,
            "last": settings.last,
            "effort": settings.effort,
            "seed": settings.seed,
            "policy": str(policy) if loaded else None,
            "relations": None if loaded is None or loaded.relations is None else "trained",
            "encoder": encoder.fingerprint,
        },
        "files": [
            {"file": str(file), "sha256": sha256_of(file), **figures}
            for file, figures in per_file.items()
        ],
    }


def rows(report: dict[str, Any]) -> list[list[str]]:
    """A report as the rows of a table: a line for each retriever, a column for each file.

    Args:
        report: What `evaluate_entities` gave.
    """
    files = report["files"]
    table = [["Hits@1", *(Path(one["file"]).stem for one in files), "median ms"]]
    for name in files[0]["retrievers"]:
        cells = [one["retrievers"][name] for one in files]
        intervals = [
            f"{100 * c['hits@1']:.1f} ({100 * c['low']:.1f} to {100 * c['high']:.1f})"
            for c in cells
        ]
        middle = float(np.median([c["median_ms"] for c in cells]))
        table.append([name, *intervals, f"{middle:.0f}"])
    return table


def _chosen(questions: list[EntityQuestion], settings: EntitySettings) -> list[EntityQuestion]:
    if settings.last:
        return questions[-settings.last :]
    return questions[: settings.first]


def _retriever(name: str, memory: Memory, effort: str) -> Retriever:
    if name == REFERENCE:
        return RecallRetriever(memory, effort)
    if name == TopicPageRank.name:
        return TopicPageRank(memory)
    return baseline(name, memory.store, memory.graph)


def _figures(
    results: Sequence[Result], questions: Sequence[EntityQuestion], seed: int
) -> dict[str, Any]:
    """Each retriever's Hits@1 with its interval, and the policy's lead over each."""
    topics = [q.topic or q.question.text for q in questions]
    numbers = {topic: i for i, topic in enumerate(dict.fromkeys(topics))}
    bootstrap = Bootstrap(np.asarray([numbers[topic] for topic in topics]), seed=seed)
    hits = {
        name: np.asarray(
            [_hit(r.rankings[name], q) for r, q in zip(results, questions, strict=True)]
        )
        for name in results[0].rankings
    }
    out: dict[str, Any] = {"questions": len(questions), "topics": len(numbers), "retrievers": {}}
    for name, values in hits.items():
        interval = bootstrap.interval(values)
        figures = {"hits@1": interval.mean, "low": interval.low, "high": interval.high}
        if name != REFERENCE and REFERENCE in hits:
            lead = bootstrap.paired(hits[REFERENCE], values)
            figures |= {"policy_leads_by": lead.mean, "from": lead.low, "to": lead.high}
        times = [result.rankings[name].milliseconds for result in results]
        out["retrievers"][name] = {**figures, "median_ms": float(np.median(times))}
    return out


def _hit(ranking: Ranking, question: EntityQuestion) -> float:
    first = next((name for name in ranking.ids if name != question.topic), None)
    return float(first in question.question.answers)
