"""What is measured of results: question by question, and as means with intervals by cluster."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean, median
from typing import Any

from hoptrail.evaluation.answers.grading import answerable_auc
from hoptrail.evaluation.answers.reader_run import GOLD
from hoptrail.evaluation.benchmark import Result
from hoptrail.metrics.bootstrap import Bootstrap, Interval, clusters_of
from hoptrail.metrics.ranking import all_gold_at, ndcg_at, recall_at, reciprocal_rank

Measure = Callable[[Sequence[str], Sequence[str]], float]

MEASURES: Mapping[str, Measure] = {
    "recall@2": lambda ranked, gold: recall_at(ranked, gold, 2),
    "recall@5": lambda ranked, gold: recall_at(ranked, gold, 5),
    "recall@10": lambda ranked, gold: recall_at(ranked, gold, 10),
    "recall@20": lambda ranked, gold: recall_at(ranked, gold, 20),
    "ndcg@10": lambda ranked, gold: ndcg_at(ranked, gold, 10),
    "all_gold@5": lambda ranked, gold: all_gold_at(ranked, gold, 5),
    "mrr": reciprocal_rank,
}
"""What is measured of every ranking; a report has the means."""


def question_measures(result: Result, name: str) -> dict[str, float]:
    """All that is measured of one retriever on one question: its ranking and, if any, the answer.

    Args:
        result: Of the question.
        name: Of the retriever.
    """
    ids, gold = result.rankings[name].ids, result.question.supporting_ids
    ranking = {measure: score(ids, gold) for measure, score in MEASURES.items()}
    return {**ranking, **(result.answers[name].measures if name in result.answers else {})}


def split_measures(
    results: Sequence[Result], *, seed: int, resamples: int, reference: str
) -> dict[str, Any]:
    """The means, intervals and comparisons over some of the questions.

    What is measured of some questions only, as the answer to those that have one, is averaged over
    these, and its interval is drawn from these.

    Args:
        results: Of the questions.
        seed: Of the bootstrap's draws.
        resamples: How many.
        reference: The retriever that the others are compared with.
    """
    names = list(results[0].rankings)
    rows = {name: [question_measures(result, name) for result in results] for name in names}
    split: dict[str, Any] = {
        "questions": len(results),
        "clusters": int(clusters_of([result.question for result in results]).max()) + 1,
        "retrievers": {name: {} for name in names},
        "intervals": {name: {} for name in names},
        "comparisons": [],
    }
    draws: dict[tuple[int, ...], Bootstrap] = {}
    columns: dict[str, dict[str, tuple[Bootstrap, list[float]]]] = {name: {} for name in names}
    for name in names:
        for measure in dict.fromkeys(key for row in rows[name] for key in row):
            places = tuple(at for at, row in enumerate(rows[name]) if measure in row)
            if places not in draws:
                clusters = clusters_of([results[at].question for at in places])
                draws[places] = Bootstrap(clusters, seed=seed, resamples=resamples)
            values = [rows[name][at][measure] for at in places]
            columns[name][measure] = (draws[places], values)
            interval = draws[places].interval(values)
            split["retrievers"][name][measure] = fmean(values)
            split["intervals"][name][measure] = [interval.low, interval.high]
        split["retrievers"][name] |= _cost(results, name)
    split["comparisons"] = [
        _comparison(reference, other, measure, bootstrap.paired(values, against))
        for other in names
        if reference in names and other != reference
        for measure, (bootstrap, values) in columns[reference].items()
        if other != GOLD or measure not in MEASURES  # a ranking of the gold is the best there is
        for _, against in [columns[other][measure]]
    ]
    return split


def _cost(results: Sequence[Result], name: str) -> dict[str, float]:
    """What the answers to the questions took and, over all of them, how sure they were rightly."""
    rankings = [result.rankings[name] for result in results]
    cost = {
        "ms_median": median(ranking.milliseconds for ranking in rankings),
        "hops_mean": fmean(ranking.hops for ranking in rankings),
    }
    answers = [result.answers[name] for result in results if name in result.answers]
    if not answers:
        return cost
    cost["tokens_mean"] = fmean(one.tokens for one in answers)
    auc = answerable_auc(
        [one.answer.answerable for one in answers],
        [result.question.answerable for result in results],
    )
    return cost if auc is None else {**cost, "answerable_auc": auc}


def _comparison(
    retriever: str, against: str, measure: str, interval: Interval
) -> dict[str, str | float | bool]:
    return {
        "retriever": retriever,
        "against": against,
        "measure": measure,
        "difference": interval.mean,
        "low": interval.low,
        "high": interval.high,
        "excludes_zero": interval.excludes_zero,
    }
