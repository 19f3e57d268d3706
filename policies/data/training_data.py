"""What a policy is trained on, as values: files of questions, and corpora that they are about."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hoptrail.errors import InputError
from hoptrail.formats.jsonl import sha256_of
from hoptrail.memory.feedback import FeedbackLog
from hoptrail.memory.store import Store
from hoptrail.policies.data.corpora import is_store
from hoptrail.types import Namespace


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
class FeedbackSource:
    """The feedback in a memory."""

    store: Path
    namespace: Namespace = ()
    """Whose: recalls that asked a namespace which begins with this one."""

    def describe(self) -> dict[str, Any]:
        """Its memory by name, and its namespace, for a card."""
        return {"store": short_name(self.store), "namespace": list(self.namespace)}

    def fingerprint(self) -> str:
        """The hash of all that it says, in hexadecimal."""
        with Store(self.store, read_only=True) as store:
            entries = FeedbackLog(store).entries(self.namespace)
        said = [(one.recall.id, one.reward, sorted(one.passages.items())) for one in entries]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()


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
    feedback: Sequence[FeedbackSource] = ()
    """To learn from as well, where what ranks passages is trained; a policy learns from feedback in
    a training of its own."""

    @property
    def pseudo_corpora(self) -> list[Path]:
        """The corpora that questions are made of."""
        labelled = [*(one.corpus for one in self.train), *(one.store for one in self.feedback)]
        return list(self.unlabelled or dict.fromkeys(labelled))

    def refuse_feedback(self, learner: str) -> None:
        """Nothing, where there is no feedback.

        Args:
            learner: What is trained, for the message.

        Raises:
            InputError: There is some.
        """
        if self.feedback:
            raise InputError(
                f"{learner} does not learn from feedback in this training, got that of "
                f"{self.feedback[0].store}: tune_query_encoder and its like do, and "
                "learn_from_use for a policy"
            )

    def fingerprint(self) -> dict[str, Any]:
        """What tells the data of a run from other data, and from itself at another time.

        Raises:
            FormatError: A file cannot be read.
        """
        data: dict[str, Any] = {
            "sets": [[sha256_of(one.corpus), sha256_of(one.questions)] for one in self.train],
            "unlabelled": [_fingerprint_of(path) for path in self.unlabelled],
        }
        if self.feedback:
            data["feedback"] = [
                [_fingerprint_of(one.store), one.fingerprint()] for one in self.feedback
            ]
        return data

    def describe(self) -> dict[str, Any]:
        """What is learned from, by name, for a card."""
        data: dict[str, Any] = {
            "sets": [one.describe() for one in self.train],
            "unlabelled": [short_name(path) for path in self.unlabelled],
        }
        if self.feedback:
            data["feedback"] = [one.describe() for one in self.feedback]
        return data


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
