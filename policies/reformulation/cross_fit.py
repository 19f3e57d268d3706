"""Reformulators that have not seen some of the questions, one for each part of them.

Networks must not learn from queries of an encoder that has seen the question: these are better than
any that will be asked, and would be trusted too much. So there is one reformulator for each part of
the questions, trained on the others, and one that was trained on all, which ships.

A folder holds `reformulator.safetensors` (of all questions), `part-0.safetensors` and so on, and
`parts.json`: which question is in which part, by a hash of its text.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hoptrail.errors import PolicyError
from hoptrail.learning.arrays.tensor_files import reason
from hoptrail.policies.reformulation.learned import FILE, LearnedReformulator

PARTS = "parts.json"


@dataclass(frozen=True)
class CrossFit:
    """The reformulators of a run."""

    whole: LearnedReformulator
    """Trained on all questions."""
    parts: Sequence[LearnedReformulator]
    """Each trained on the questions of all parts but its own."""
    part_of: Mapping[str, int]
    """The part of a question, by `question_key`."""
    made_of: Mapping[str, Any]
    """What they were trained on: JSON values."""

    def part(self, question: str) -> int | None:
        """The part that a question is in; None for one that no reformulator has seen.

        Args:
            question: In words.
        """
        return self.part_of.get(question_key(question))

    def describe(self) -> dict[str, Any]:
        """What came out, as JSON has it."""
        return {
            "fingerprint": self.whole.fingerprint,
            "weights": self.whole.size,
            "questions": len(self.part_of),
            "parts": len(self.parts),
        }

    def fingerprint(self) -> str:
        """What tells these reformulators from others."""
        return " ".join(one.fingerprint for one in (self.whole, *self.parts))

    @classmethod
    def load(cls, folder: Path) -> CrossFit:
        """The reformulators of a folder.

        Args:
            folder: As `hoptrail train reformulator` wrote it.

        Raises:
            PolicyError: It holds none, or a file is damaged.
        """
        whole = LearnedReformulator.load(folder / FILE)
        try:
            about = json.loads((folder / PARTS).read_text(encoding="utf-8"))
            count = int(about["parts"])
            part_of = {str(key): int(part) for key, part in about["part_of"].items()}
            made_of = dict(about["made_of"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise PolicyError(
                f"{folder} holds no reformulators, or damaged ones: {reason(error)}; "
                "`hoptrail train reformulator` trains them"
            ) from error
        parts = [LearnedReformulator.load(part_file(folder, part)) for part in range(count)]
        present = [part for part in parts if part is not None]
        if whole is None or len(present) < count or not set(part_of.values()) <= set(range(count)):
            raise PolicyError(
                f"the reformulators in {folder} are not complete: "
                "`hoptrail train reformulator --resume` goes on with them"
            )
        return cls(whole, present, part_of, made_of)


def part_file(folder: Path, part: int) -> Path:
    """Where the reformulator lies that has not seen a part.

    Args:
        folder: Of the run.
        part: Its number.
    """
    return folder / f"part-{part}.safetensors"


def question_key(question: str) -> str:
    """A question's name in `parts.json`: a hash of its text.

    Args:
        question: In words.
    """
    return hashlib.sha256(question.encode("utf-8", "surrogatepass")).hexdigest()[:16]
