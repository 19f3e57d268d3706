"""Three kinds of supervision, and which questions hold what a stage of training needs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hoptrail.errors import InputError
from hoptrail.policies.objectives.rewards import Reward
from hoptrail.policies.training.config import TrainConfig
from hoptrail.types import Question

NEEDS = {
    "imitation": "supporting passages (`supporting_ids`)",
    "marginal": "accepted answers (`answers`)",
    "reinforce": "a reward (`supporting_ids`, or `answers` that are not yes or no)",
}
"""What a stage learns from."""


def teaches(question: Question, stage: str, reward: Reward) -> bool:
    """Whether a stage can learn from a question."""
    if stage == "marginal":
        return any(answer.strip() for answer in question.answers)
    if stage == "reinforce":
        return reward.applies(question)
    return bool(question.supporting_ids)


def usable(
    questions: Sequence[Question], config: TrainConfig, reward: Reward, where: Path
) -> list[Question]:
    """The questions from which some stage can learn.

    Raises:
        InputError: A stage can learn from none.
    """
    for stage in config.objectives:
        if not any(teaches(question, stage, reward) for question in questions):
            raise InputError(
                f"there is nothing to train on: the objective {stage} learns from "
                f"{NEEDS[stage]}, and none of the {len(questions)} questions of {where} has any"
            )
    return [q for q in questions if any(teaches(q, s, reward) for s in config.objectives)]
