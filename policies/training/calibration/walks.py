"""Walks whose outcome is known: questions asked as they are, and where the answer is missing.

Scores have to be low where a memory does not hold what is asked. So every question is asked twice:
as it is, and in one of three ways that cannot be answered: all of its gold passages may not be
read; one of them may not; or the question is that of another corpus. A passage that may not be read
is no candidate, as if it were not there; what others say of it stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hoptrail.memory.encoders.transformer import Encoder
from hoptrail.policies.data.corpora import OpenCorpus
from hoptrail.policies.environment.efforts import EFFORTS
from hoptrail.policies.networks.score_calibration import WalkFeatures
from hoptrail.policies.policy import Policy
from hoptrail.policies.retriever import PolicyRetriever
from hoptrail.policies.search.walk_features import DEPTH
from hoptrail.types import Namespace, Question

Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class JudgedWalk:
    """A walk, and what is true of its ranking of n passages."""

    set: str
    """The set of questions that it is of."""
    features: WalkFeatures
    needed: Flags
    """`(n,)`: whether each passage is needed."""
    suffices: Flags
    """`(n,)`: whether each and those before it are all that is needed."""
    answerable: bool
    """Whether all that is needed could be read."""
    evidence: int
    """Passages that the question needs, whether ranked or not; 0 where it is another corpus's."""


def judged_walks(
    name: str,
    policy: Policy,
    corpus: OpenCorpus,
    others: Sequence[Question],
    encoder: Encoder,
    *,
    count: int,
    effort: str,
    seed: int,
    progress: Callable[[int, int], None],
) -> list[JudgedWalk]:
    """Walks over some of a corpus's questions, each asked as it is and without its answer.

    Args:
        name: Of the set.
        policy: Walks.
        corpus: An opened corpus with its questions.
        others: Questions of another corpus; none where there is none.
        encoder: For questions and next queries.
        count: Questions, at most.
        effort: What a walk may cost.
        seed: Of what is drawn.
        progress: Called with (questions done, questions in all).
    """
    rng = np.random.default_rng(seed)
    questions = [question for question in corpus.questions if question.supporting_ids]
    questions = [questions[i] for i in rng.permutation(len(questions))[:count].tolist()]
    retrievers: dict[Namespace, PolicyRetriever] = {}
    walks: list[JudgedWalk] = []
    for done, question in enumerate(questions, start=1):
        if question.namespace not in retrievers:
            scope = corpus.scope_of(question)
            retrievers[question.namespace] = PolicyRetriever(
                policy, scope.view, scope.graph, encoder, EFFORTS[effort]
            )
        retriever = retrievers[question.namespace]
        gold = corpus.gold(question)
        for text, hidden, answerable in _askings(question, gold, others, done, rng):
            needed = [slot for slot in gold if slot not in hidden] if text == question.text else []
            walk = _walk(name, retriever, text, hidden, needed, answerable)
            if walk is not None:
                walks.append(walk)
        progress(done, len(questions))
    return walks


def _askings(
    question: Question,
    gold: Sequence[int],
    others: Sequence[Question],
    number: int,
    rng: np.random.Generator,
) -> Iterator[tuple[str, tuple[int, ...], bool]]:
    """What is asked, which passages may not be read, and whether that can be answered."""
    yield question.text, (), True
    way = number % 3
    if way == 0 and others:
        yield others[int(rng.integers(len(others)))].text, (), False
    elif way == 1:
        yield question.text, (gold[int(rng.integers(len(gold)))],), False
    else:
        yield question.text, tuple(gold), False


def _walk(
    name: str,
    retriever: PolicyRetriever,
    text: str,
    hidden: Sequence[int],
    needed: Sequence[int],
    answerable: bool,
) -> JudgedWalk | None:
    """One walk, judged; None where relations were walked, or there was nothing to read."""
    allowed = None
    if hidden:
        allowed = retriever.scope.view.alive.copy()
        allowed[list(hidden)] = False
    [result] = retriever.retrieve([text], DEPTH, allowed=allowed)
    if result.features is None or not len(result.slots):
        return None
    hits = np.isin(result.slots, needed)
    suffices = answerable & (np.cumsum(hits) == len(needed))
    return JudgedWalk(name, result.features, hits, suffices, answerable, len(needed))
