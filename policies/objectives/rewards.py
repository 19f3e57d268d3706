"""What a trail earns: for training on rewards alone.

Three rewards of what was read, all in [0, 1] or thereabouts: how well it matches the supporting
passages where they are known (`evidence`), whether an accepted answer occurs in it (`answer`), or
whatever a function of the user's own says.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from hoptrail.errors import ConfigError, InputError
from hoptrail.learning.estimators.policy_gradient import evidence_reward
from hoptrail.learning.reader.answers import normalize_answer
from hoptrail.policies.data.examples import Example, Source
from hoptrail.policies.environment.state import State
from hoptrail.types import Passage, Question

RewardFunction = Callable[[Question, Sequence[Passage]], float]
"""What reading these passages, in this order, is worth for a question; higher is better."""

REWARDS = ("evidence", "answer")
"""Rewards by name."""


class Reward:
    """What a trail earns before its cost.

    Args:
        reward: A name of `REWARDS`, or a function; by default a question's supporting passages
            decide where they are known, its answers otherwise.

    Raises:
        ConfigError: The name is unknown.
    """

    def __init__(self, reward: str | RewardFunction | None = None) -> None:
        if isinstance(reward, str) and reward not in REWARDS:
            raise ConfigError(
                f"unknown reward {reward!r}: choose from {', '.join(REWARDS)}, or give a function"
            )
        self.reward = reward

    @property
    def name(self) -> str:
        """How the reward is called in a card."""
        if self.reward is None:
            return "evidence or answer"
        return self.reward if isinstance(self.reward, str) else _name_of(self.reward)

    def applies(self, question: Question) -> bool:
        """Whether trails of a question can be told apart by it.

        Args:
            question: With what is known of its answer.
        """
        if callable(self.reward):
            return True
        evidence = self.reward != "answer" and bool(question.supporting_ids)
        return evidence or (self.reward != "evidence" and bool(said_in_text(question)))

    def of(self, example: Example, evidence: State) -> float:
        """What reading this evidence earns.

        Args:
            example: A question with its pool.
            evidence: Slots of what was read, in order.

        Returns:
            In [0, 1] for the rewards by name: F1 of the evidence, or whether an answer was read; a
            function's own value otherwise.

        Raises:
            InputError: A user's function gave something that is not a finite number.
        """
        question = example.question
        if callable(self.reward):
            passages = [k.passage for k in example.pool.scope.lexicon.passage_terms(list(evidence))]
            value = self.reward(question, passages)
            try:
                earned = float(value)
            except (TypeError, ValueError):
                earned = float("nan")
            if not abs(earned) < float("inf"):
                raise InputError(
                    f"the reward {self.name} should give a finite number, "
                    f"got {value!r} for question {question.id!r}"
                )
            return earned
        named_by_people = bool(example.gold) and example.source is not Source.INFERRED
        if self.reward != "answer" and named_by_people:
            return _f1(example.gold, evidence)
        contents = [
            k.passage.content for k in example.pool.scope.lexicon.passage_terms(list(evidence))
        ]
        return float(answered(question, contents))


def said_in_text(question: Question) -> list[str]:
    """The accepted answers that a passage could say; yes and no are said of it, not by it.

    Args:
        question: With its accepted answers.

    Returns:
        The answers in the form of `normalize_answer`.
    """
    normal = [normalize_answer(answer) for answer in question.answers if answer.strip()]
    return [answer for answer in normal if answer not in ("yes", "no")]


def answered(question: Question, contents: Sequence[str]) -> bool:
    """Whether an accepted answer stands in one of the texts, as whole words.

    Args:
        question: With its accepted answers.
        contents: Texts that may say one.
    """
    answers = [f" {answer} " for answer in said_in_text(question)]
    texts = [f" {normalize_answer(content)} " for content in contents]
    return any(answer in text for text in texts for answer in answers)


def _f1(gold: State, evidence: State) -> float:
    universe = sorted({*gold, *evidence})
    read = torch.tensor([[slot in evidence for slot in universe]])
    needed = torch.tensor([[slot in gold for slot in universe]])
    return float(evidence_reward(read, needed, torch.tensor([0]), cost=0.0)[0])


def _name_of(function: RewardFunction) -> str:
    return f"{function.__module__}:{getattr(function, '__qualname__', type(function).__name__)}"
