"""One question of a report: what was asked, what is needed, and what everybody made of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from hoptrail.evaluation.answers.graded_answer import GradedAnswer
from hoptrail.evaluation.answers.reader_run import scope_passages
from hoptrail.evaluation.benchmark import Result
from hoptrail.evaluation.measures import question_measures
from hoptrail.formats.json_views import trail_data
from hoptrail.types import Namespace

if TYPE_CHECKING:
    from hoptrail.memory.store import Store

NAMED = 10
"""The first passages of a ranking, whose titles a report has."""
SHORT = 80
"""Characters of a passage that stand for the title that it lacks."""

Titles = Mapping[tuple[Namespace, str], str]


def question_row(result: Result, titles: Titles) -> dict[str, Any]:
    """One question with what every retriever, and every reader, answered.

    Args:
        result: Of the question.
        titles: Of passages, as `titles_of` gives them.
    """
    question = result.question
    named = {id_: titles.get((question.namespace, id_)) for id_ in _shown_ids(result)}
    return {
        "id": question.id,
        "text": question.text,
        "answers": list(question.answers),
        "answerable": question.answerable,
        "gold_ids": list(question.supporting_ids),
        "kind": question.kind,
        "selection": question.selection,
        "namespace": list(question.namespace),
        "titles": {id_: title for id_, title in named.items() if title is not None},
        "ranked": {
            name: [
                {"id": id_, "score": score}
                for id_, score in zip(ranking.ids, ranking.scores, strict=True)
            ]
            for name, ranking in result.rankings.items()
        },
        "decisions": {
            name: [{"read": list(d.read), "stop": d.stop} for d in ranking.decisions]
            for name, ranking in result.rankings.items()
            if ranking.decisions
        },
        "stated": {
            name: {"needed": list(ranking.needed), "complete": list(ranking.complete)}
            for name, ranking in result.rankings.items()
            if ranking.needed
        },
        "trails": {
            name: trail_data(ranking.trail)
            for name, ranking in result.rankings.items()
            if ranking.trail is not None
        },
        "answered": {name: _answer_data(answer) for name, answer in result.answers.items()},
        "metrics": {name: question_measures(result, name) for name in result.rankings},
        "cost": {
            name: {"ms": ranking.milliseconds, "hops": ranking.hops}
            for name, ranking in result.rankings.items()
        },
    }


def titles_of(results: Sequence[Result], store: Store) -> dict[tuple[Namespace, str], str]:
    """What the passages that a report shows are called; the first words of one without a title.

    Args:
        results: All of a run.
        store: Where the passages are.
    """
    titles: dict[tuple[Namespace, str], str] = {}
    for result in results:
        namespace = result.question.namespace
        new = [id_ for id_ in _shown_ids(result) if (namespace, id_) not in titles]
        for passage in scope_passages(store, new, namespace):
            titles[(namespace, passage.id)] = passage.title or passage.text[:SHORT]
    return titles


def _shown_ids(result: Result) -> Iterable[str]:
    """The gold, the first of each ranking, and what was read."""
    return dict.fromkeys(
        [
            *result.question.supporting_ids,
            *(id_ for ranking in result.rankings.values() for id_ in ranking.ids[:NAMED]),
            *(id_ for answer in result.answers.values() for id_ in answer.read),
            *(
                hop.id
                for ranking in result.rankings.values()
                if ranking.trail
                for hop in ranking.trail.hops
            ),
        ]
    )


def _answer_data(graded: GradedAnswer) -> dict[str, Any]:
    answer = graded.answer
    return {
        "text": answer.text,
        "probability": answer.probability,
        "answerable": answer.answerable,
        "evidence": [
            {key: value for key, value in asdict(one).items() if key != "namespace"}
            for one in answer.evidence
        ],
        "read": list(graded.read),
        "tokens": graded.tokens,
    }
