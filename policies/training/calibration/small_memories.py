"""Small memories made of a corpus, so that scores are true in them too.

A corpus has thousands of passages and a new memory a handful. What a walk is sure of means another
thing there: of five passages nearly every one may be needed, and no score stands out from so few.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from hoptrail.policies.data.augmentation import AugmentedCorpus
from hoptrail.policies.data.corpora import OpenCorpus
from hoptrail.types import Namespace, Question

TOGETHER = 4
"""Questions of one small memory."""
MOST_BESIDE = 6
"""Passages that none of them needs, for each that one does, at most."""


def small_memories(corpus: OpenCorpus, count: int, seed: int) -> Iterator[AugmentedCorpus]:
    """Memories that hold what a few questions need, and some other passages.

    Args:
        corpus: An opened corpus with its questions.
        count: Questions in all, at most.
        seed: Of what is drawn.
    """
    rng = np.random.default_rng(seed)
    questions = [question for question in corpus.questions if question.supporting_ids]
    chosen = [questions[i] for i in rng.permutation(len(questions))[:count].tolist()]
    by_namespace: dict[Namespace, list[Question]] = {}
    for question in chosen:
        by_namespace.setdefault(question.namespace, []).append(question)
    for of_namespace in by_namespace.values():
        for start in range(0, len(of_namespace), TOGETHER):
            yield _small_memory(corpus, of_namespace[start : start + TOGETHER], rng)


def _small_memory(
    corpus: OpenCorpus, questions: list[Question], rng: np.random.Generator
) -> AugmentedCorpus:
    view = corpus.scope_of(questions[0]).view
    needed = sorted({slot for question in questions for slot in corpus.gold(question)})
    # In the order of their contents, so that ids and the order of writing decide nothing.
    others = [slot for slot in np.flatnonzero(view.alive).tolist() if slot not in set(needed)]
    others.sort(key=view.content_key)
    size = min(len(others), len(needed) * int(rng.integers(0, MOST_BESIDE + 1)))
    beside = [others[i] for i in rng.choice(len(others), size, replace=False).tolist()]
    return AugmentedCorpus("small-memory", view.passages([*needed, *beside]), questions)
