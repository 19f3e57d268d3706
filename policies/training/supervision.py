"""Three kinds of supervision, and which questions hold what a stage of training needs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hoptrail.errors import InputError
from hoptrail.policies.data.examples import Example, Source
from hoptrail.policies.objectives.rewards import Reward, said_in_text
from hoptrail.policies.training.config import SELF_SUPERVISED, TrainConfig
from hoptrail.types import Question

NEEDS = {
    "imitation": "supporting passages (`supporting_ids`)",
    "marginal": "accepted answers (`answers`)",
    "reinforce": "a reward (`supporting_ids`, or `answers` that are not yes or no)",
}
"""What a stage learns from."""
OR_ANSWERS = ", or answers that are not yes or no, to infer them from"
"""What imitation learns from besides, where evidence is inferred."""


def teaches(question: Question, stage: str, reward: Reward) -> bool:
    """Whether a stage can learn from a question.

    Args:
        question: With what is known of its evidence and its answers.
        stage: One of `TrainConfig.stages`.
        reward: Of the stage that learns from rewards.
    """
    if stage == "marginal":
        return any(answer.strip() for answer in question.answers)
    if stage == "reinforce":
        return reward.applies(question)
    return bool(question.supporting_ids)


def belongs_to(example: Example, stage: str, reward: Reward) -> bool:
    """Whether a stage learns from an example.

    Questions that were made have a stage of their own, and augmented ones are for imitation alone:
    they teach what is evidence, not what is an answer or worth a reward.

    Args:
        example: A prepared question.
        stage: One of `TrainConfig.stages`.
        reward: Of the stage that learns from rewards.
    """
    if stage == SELF_SUPERVISED or example.source is Source.PSEUDO:
        return stage == SELF_SUPERVISED and example.source is Source.PSEUDO
    if example.source is Source.AUGMENTED and stage != "imitation":
        return False
    if example.source is Source.INFERRED and stage == "imitation":
        return True
    return teaches(example.question, stage, reward)


def usable(questions: Sequence[Question], config: TrainConfig, file: Path) -> list[Question]:
    """The questions from which some stage can learn.

    Args:
        questions: Those of a file.
        config: Names the stages and the reward.
        file: The file, for the message.

    Raises:
        InputError: A stage can learn from none.
    """
    reward = Reward(config.reward)
    inferable = [config.infer_evidence and bool(said_in_text(q)) for q in questions]
    of_stage = {
        stage: [
            teaches(question, stage, reward) or (stage == "imitation" and may_infer)
            for question, may_infer in zip(questions, inferable, strict=True)
        ]
        for stage in config.objectives
    }
    for stage, taught in of_stage.items():
        if not any(taught):
            needs = f"{NEEDS[stage]}{OR_ANSWERS if config.infer_evidence else ''}"
            raise InputError(
                f"there is nothing to train on: the objective {stage} learns from {needs}, and "
                f"none of the {len(questions)} questions of {file} has any"
            )
    return [q for q, *taught in zip(questions, *of_stage.values(), strict=True) if any(taught)]
