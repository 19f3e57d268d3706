"""The relation scorer as PyTorch trains it; see `hoptrail.policies.networks.relation_scorer`."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from hoptrail.learning.weights import filled, module_arrays
from hoptrail.policies.networks.relation_scorer import FILE, ArrayRelationScorer


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

    def arrays(self) -> ArrayRelationScorer:
        """It as arrays, which decide as it does in evaluation; they share its weights on a CPU."""
        return ArrayRelationScorer(self.encoder, self.dim, self.width, module_arrays(self))

    @classmethod
    def of(cls, scorer: ArrayRelationScorer) -> RelationScorer:
        """A scorer with the weights of one that was trained.

        Args:
            scorer: As arrays, whose memory it does not share.
        """
        make = partial(cls, scorer.encoder, scorer.dim, width=scorer.width)
        return filled(make, scorer.weights).eval()

    @classmethod
    def load(cls, folder: Path) -> RelationScorer | None:
        """The scorer in a policy's folder; None where there is none.

        Args:
            folder: The policy's.

        Raises:
            PolicyError: It is damaged.
        """
        scorer = ArrayRelationScorer.load(folder)
        return None if scorer is None else cls.of(scorer)
