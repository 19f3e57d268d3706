"""What a policy is trained on, as values: files of questions, and corpora that they are about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hoptrail.formats.jsonl import sha256_of
from hoptrail.memory.store import Store
from hoptrail.policies.data.corpora import is_store


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """A corpus and questions about it."""

    corpus: Path
    """A file of JSON lines, or a store."""
    questions: Path
    """A file of JSON lines."""

    def describe(self) -> dict[str, str]:
        """Its files by name, and how the hash of its questions begins, for a card."""
        return {
            "corpus": short_name(self.corpus),
            "questions": short_name(self.questions),
            "sha256": sha256_of(self.questions)[:16],
        }


@dataclass(frozen=True, slots=True)
class TrainingData:
    """The data of a training run, by what it is for."""

    train: Sequence[TrainingSet] = ()
    """To learn from: a stage takes the questions that hold what it learns from."""
    dev: Sequence[TrainingSet] = ()
    """To measure recall on when the run is over; nothing is chosen by them."""
    unlabelled: Sequence[Path] = ()
    """Corpora or stores to make questions of, where the settings ask for any; those of `train`
    by default."""

    @property
    def pseudo_corpora(self) -> list[Path]:
        """The corpora that questions are made of."""
        return list(self.unlabelled or dict.fromkeys(one.corpus for one in self.train))

    def fingerprint(self) -> dict[str, Any]:
        """What tells the data of a run from other data, and from itself at another time.

        Raises:
            FormatError: A file cannot be read.
        """
        return {
            "sets": [[sha256_of(one.corpus), sha256_of(one.questions)] for one in self.train],
            "unlabelled": [_fingerprint_of(path) for path in self.unlabelled],
        }

    def describe(self) -> dict[str, Any]:
        """What is learned from, by name, for a card."""
        return {
            "sets": [one.describe() for one in self.train],
            "unlabelled": [short_name(path) for path in self.unlabelled],
        }


def short_name(path: Path) -> str:
    """A file's name after that of its folder: enough to know it by, on any machine.

    Args:
        path: The file's.
    """
    return f"{path.parent.name}/{path.name}"


def _fingerprint_of(path: Path) -> str:
    """The hash of a corpus; a store is told by its version, because it may be large."""
    if not is_store(path):
        return sha256_of(path)
    with Store(path, read_only=True) as store:
        return f"{path.resolve()} at version {store.version}"
