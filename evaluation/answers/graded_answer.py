"""What a reader answered from what one retriever gave it, and what that is worth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hoptrail.types import Answer


@dataclass(frozen=True, slots=True)
class GradedAnswer:
    """An answer under evaluation."""

    answer: Answer
    read: tuple[str, ...]
    """Ids of the passages that the reader was given, in order."""
    tokens: int
    """How long these are together, in the encoder's tokens."""
    measures: Mapping[str, float]
    """As `hoptrail.evaluation.answers.grading` names them."""
