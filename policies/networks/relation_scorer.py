"""π over relations: which one a question asks to walk next, and when its answer is reached.

    log π(r | question, relations walked) and log π(STOP | …), over the relations that leave here

A trained `RelationScorer` reads vectors of one encoder: of the question, the name of its topic
taken out, and of the relations' names; what was walked goes through a recurrent cell. It is an
optional part of a policy's folder. Without one, `Similarity` stands in: how well the words of the
whole path fit the question, for any encoder, learned from nothing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn

from hoptrail.errors import ConfigError, PolicyError
from hoptrail.learning.single_thread import one_thread
from hoptrail.learning.weights import (
    FAULTS,
    filled,
    load_about,
    load_weights,
    reason,
)
from hoptrail.memory.encoders.transformer import Encoder, Vectors
from hoptrail.values.numbers import whole

FILE = "relations.safetensors"
"""Where a policy's folder keeps its relation scorer."""

MOST = 1 << 16
"""Of the widths of a scorer that is loaded."""

TOPIC = "it"
"""Stands for the topic's name in a question, which says nothing of what is asked of it."""


def relation_words(name: str) -> str:
    """A relation's name as words, without its direction.

    Args:
        name: A kind of link; `~` before it stands for its inverse.

    Examples:
        >>> relation_words("~starred_actors"), relation_words("directedBy")
        ('starred actors', 'directed by')
    """
    spaced = "".join(f" {c.lower()}" if c.isupper() else c for c in name.lstrip("~"))
    return " ".join(spaced.replace("_", " ").replace("-", " ").replace("/", " ").split())


class Scorer(Protocol):
    """What can lead a walk over relations."""

    def read(self, questions: Sequence[str]) -> tuple[Any, list[int]]:
        """What it needs to know of questions, their topics' names taken out.

        Args:
            questions: b of them, in words.

        Returns:
            A row for each, and how many texts were encoded for each.
        """

    def log_probs(
        self,
        questions: Any,
        paths: Sequence[tuple[int, ...]],
        available: NDArray[np.bool_],
    ) -> NDArray[np.float64]:
        """Log π over the relations, STOP last, `(b, R + 1)`; -inf for what is not available.

        Args:
            questions: Rows of what `read` gave.
            paths: The relations walked so far, by number.
            available: `(b, R + 1)`, at least one in each row.
        """


class RelationScorer(nn.Module):
    """The trained scorer, bound to the encoder whose vectors it reads.

    Args:
        encoder: That encoder's fingerprint.
        dim: The width d of its vectors.
        width: Of the hidden layers.
        dropout: Share of units dropped in training.

    Shapes:
        questions `(b, d)`, paths `(b, t)` with -1 behind a path's end, available `(b, R + 1)`,
        relations `(R, d + 1)`; the result `(b, R + 1)`.
    """

    def __init__(self, encoder: str, dim: int, *, width: int = 128, dropout: float = 0.1) -> None:
        super().__init__()
        self.encoder, self.dim, self.width = encoder, dim, width
        self.question = nn.Sequential(
            nn.Dropout(dropout), nn.Linear(dim, width), nn.GELU(), nn.Linear(width, width)
        )
        self.relation = nn.Sequential(nn.Linear(dim + 1, width), nn.GELU(), nn.Linear(width, width))
        self.walked = nn.GRUCell(width, width)
        self.asks = nn.Sequential(nn.LayerNorm(2 * width), nn.Linear(2 * width, width), nn.GELU())
        self.points = nn.Linear(width, width)
        self.stop = nn.Linear(width, 1)

    @property
    def size(self) -> int:
        """The number of weights."""
        return sum(p.numel() for p in self.parameters())

    def __repr__(self) -> str:
        return f"<RelationScorer {self.size:,} weights, encoder {self.encoder}>"

    def forward(
        self, questions: Tensor, paths: Tensor, available: Tensor, relations: Tensor
    ) -> Tensor:
        """Log π over the relations and STOP.

        Args:
            questions: `(b, d)`, vectors of the questions.
            paths: `(b, t)` int64, the relations walked so far, -1 behind a path's end.
            available: Bool `(b, R + 1)`, STOP last; at least one True in each row.
            relations: `(R, d + 1)`, as `relation_vectors` gives them.

        Returns:
            `(b, R + 1)`, -inf for what is not available.
        """
        question = self.question(questions)
        relation = self.relation(relations)
        h = torch.zeros_like(question)
        for step in paths.T:
            walked = self.walked(relation[step.clamp(min=0)], h)
            h = torch.where((step >= 0)[:, None], walked, h)
        state = self.asks(torch.cat([question, h], dim=1))
        scores = self.points(state) @ relation.T / self.width**0.5
        both = torch.cat([scores, self.stop(state)], dim=1)
        return both.masked_fill(~available, -torch.inf).log_softmax(dim=1)

    def save(self, folder: Path) -> None:
        """Write it into a policy's folder.

        Args:
            folder: The policy's; it must exist.
        """
        weights = {name: tensor.contiguous() for name, tensor in self.state_dict().items()}
        about = {"encoder": self.encoder, "dim": self.dim, "width": self.width}
        partial = folder / (FILE + ".partial")
        save_file(weights, partial, metadata={"scorer": json.dumps(about)})
        partial.replace(folder / FILE)

    @classmethod
    def load(cls, folder: Path) -> RelationScorer | None:
        """The scorer in a policy's folder; None where there is none.

        Args:
            folder: The policy's.

        Raises:
            PolicyError: It is damaged.
        """
        file = folder / FILE
        if not os.path.lexists(file):
            return None
        try:
            about = load_about(file, "scorer")
            encoder = str(about["encoder"])
            dim = whole(about["dim"], "dim", least=1, most=MOST, error=ConfigError)
            width = whole(about["width"], "width", least=1, most=MOST, error=ConfigError)
            scorer = filled(lambda: cls(encoder, dim, width=width), load_weights(file))
        except FAULTS as error:
            raise PolicyError(f"the relation scorer {file} is damaged: {reason(error)}") from error
        return scorer.eval()


def relation_vectors(names: Sequence[str], encoder: Encoder) -> Vectors:
    """What the scorer reads of relations, `(R, d + 1)`: their words, and -1 for an inverse.

    Args:
        names: R of them, inverses with a `~`.
        encoder: Of width d.
    """
    direction = np.asarray([[-1.0 if name.startswith("~") else 1.0] for name in names])
    vectors = encoder.encode([relation_words(name) for name in names])
    return np.concatenate([vectors, direction], axis=1).astype(np.float32)


def padded(paths: Sequence[tuple[int, ...]]) -> NDArray[np.int64]:
    """The paths as rows of one length, -1 behind their ends.

    Args:
        paths: Relations by number; may be empty.
    """
    out = np.full((len(paths), max((len(path) for path in paths), default=0)), -1, dtype=np.int64)
    for row, path in zip(out, paths, strict=True):
        row[: len(path)] = path
    return out


class Trained:
    """A trained scorer on the relations of one scope.

    Args:
        scorer: Its weights.
        names: The relations.
        encoder: The one that it was trained beside.
    """

    def __init__(self, scorer: RelationScorer, names: Sequence[str], encoder: Encoder) -> None:
        self._scorer, self._encoder = scorer.eval(), encoder
        self._relations = torch.from_numpy(relation_vectors(names, encoder))

    def read(self, questions: Sequence[str]) -> tuple[Vectors, list[int]]:
        """Their vectors, `(b, d)`, and that each was encoded; see `Scorer`.

        Args:
            questions: b of them, in words.
        """
        return self._encoder.encode(questions), [1] * len(questions)

    def log_probs(
        self,
        questions: Vectors,
        paths: Sequence[tuple[int, ...]],
        available: NDArray[np.bool_],
    ) -> NDArray[np.float64]:
        """Log π over the relations, STOP last, `(b, R + 1)`; see `Scorer`.

        Args:
            questions: `(b, d)` rows of what `read` gave.
            paths: The relations walked so far, by number.
            available: `(b, R + 1)`, at least one in each row.
        """
        with one_thread(), torch.inference_mode():
            log_pi = self._scorer(
                torch.from_numpy(questions),
                torch.from_numpy(padded(paths)),
                torch.from_numpy(available),
                self._relations,
            )
        log_probs: NDArray[np.float64] = log_pi.double().numpy()
        return log_probs
