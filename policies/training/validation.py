"""How well a policy finds the gold of questions that it was not trained on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from hoptrail.memory.encoders.transformer import Encoder
from hoptrail.metrics.ranking import recall_at
from hoptrail.policies.data.corpora import OpenCorpus
from hoptrail.policies.environment.efforts import DEFAULT, EFFORTS
from hoptrail.policies.policy import Policy
from hoptrail.policies.retriever import PolicyRetriever
from hoptrail.types import Namespace


def recalls(
    policy: Policy,
    corpus: OpenCorpus,
    encoder: Encoder,
    *,
    effort: str = DEFAULT,
    cuts: Sequence[int] = (2, 5),
    progress: Callable[[int, int], None] | None = None,
) -> dict[int, list[float]]:
    """Recall at each cut, of every question that names its passages.

    Args:
        policy: π.
        corpus: An opened corpus with its questions.
        encoder: For questions and rewritten queries.
        effort: What a walk may cost.
        cuts: Lengths of the ranking.
        progress: Called with (questions done, questions in all).
    """
    retrievers: dict[Namespace, PolicyRetriever] = {}
    at: dict[int, list[float]] = {cut: [] for cut in cuts}
    questions = [question for question in corpus.questions if question.supporting_ids]
    for done, question in enumerate(questions, start=1):
        if question.namespace not in retrievers:
            scope = corpus.scope(question.namespace)
            retrievers[question.namespace] = PolicyRetriever(
                policy, scope.view, scope.graph, encoder, EFFORTS[effort]
            )
        [result] = retrievers[question.namespace].retrieve([question.text], max(cuts))
        ranked = [str(slot) for slot in result.slots]
        gold = [str(slot) for slot in corpus.gold(question)]
        for cut, values in at.items():
            values.append(recall_at(ranked, gold, cut))
        if progress:
            progress(done, len(questions))
    return at


def means(at: Mapping[int, Sequence[float]]) -> dict[str, float]:
    """Mean recall by the name of its cut, as a card has it.

    Args:
        at: As `recalls` gives it.
    """
    return {f"recall@{cut}": sum(values) / max(1, len(values)) for cut, values in at.items()}
