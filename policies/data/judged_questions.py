"""Feedback as questions with their supporting passages: what clicks teach that ranks passages.

A passage that was judged one by one is useful from a reward of 1/2 on. Where only the recall as a
whole was judged, what its first trail read was useful if that reward is at least 1/2.
"""

from __future__ import annotations

from collections.abc import Iterator

from hoptrail.errors import InputError
from hoptrail.memory.feedback import Feedback, FeedbackLog
from hoptrail.outputs.printable import namespace_text
from hoptrail.policies.data.corpora import OpenCorpus
from hoptrail.types import Namespace, Passage, Question

USEFUL = 0.5
"""From this reward on a passage counts as useful."""

KIND = "feedback"
"""The kind of questions that were made of it."""


def useful_rows(feedback: Feedback) -> dict[int, float]:
    """The rowids of the passages that feedback says were useful, with their rewards.

    Args:
        feedback: On one recall; rewards are in [0, 1].
    """
    if feedback.passages:
        return {row: reward for row, reward in feedback.passages.items() if reward >= USEFUL}
    if feedback.reward is None or feedback.reward < USEFUL:
        return {}
    first = next((t for t in feedback.recall.trails if t.place == 0), None)
    return {} if first is None else dict.fromkeys(first.passages, feedback.reward)


def judged_questions(corpus: OpenCorpus, namespace: Namespace = ()) -> list[Question]:
    """The questions of a memory whose useful passages are known by feedback, in their order.

    What was asked more than once is one question, of which the latest word on a passage counts.
    Where a wide scope was asked, it is a question of each namespace that a useful passage is of.
    Recalls with a filter are passed over: a passage outside of it may be as right, and would be
    learned from as a wrong one.

    Args:
        corpus: An opened memory.
        namespace: Whose feedback: recalls that asked a namespace which begins with this one.

    Raises:
        InputError: Nothing in it says that a passage was useful.
    """
    feedback = FeedbackLog(corpus.store).entries(namespace)
    useful: dict[tuple[Namespace, str], dict[str, bool]] = {}
    for one in feedback:
        if one.recall.filter is None:
            for passage, verdict in _verdicts(corpus, one):
                labels = useful.setdefault((passage.namespace, one.recall.question), {})
                labels[passage.id] = verdict
    questions = [
        Question(id=f"{KIND}-{number}", text=text, supporting_ids=ids, kind=KIND, namespace=where)
        for number, ((where, text), labels) in enumerate(useful.items())
        if (ids := tuple(id for id, verdict in labels.items() if verdict))
    ]
    if not questions:
        scope = f" in namespace {namespace_text(namespace)}" if namespace else ""
        filtered = sum(one.recall.filter is not None for one in feedback)
        raise InputError(
            f"there is no feedback to learn from in {corpus.store.name}{scope}: of "
            f"{len(feedback)} judged recalls {filtered} had a filter, and of the others nothing "
            "that is still there was useful"
        )
    return questions


def _verdicts(corpus: OpenCorpus, feedback: Feedback) -> Iterator[tuple[Passage, bool]]:
    """The passages that one recall was judged by, each with whether it was useful."""
    view = corpus.scope(feedback.recall.namespace).view
    rows = dict.fromkeys(feedback.passages, False) | dict.fromkeys(useful_rows(feedback), True)
    slots = {view.slot_of_rowid(row): verdict for row, verdict in rows.items()}
    there = {slot: verdict for slot, verdict in slots.items() if slot is not None}
    yield from zip(view.passages(list(there)), there.values(), strict=True)
