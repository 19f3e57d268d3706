"""Training the network that moves a query over vectors; its formula is `LatentQuery`'s.

It learns from the same states as the query encoder (`training.encoders.query_encoder`), beside the
first queries of the encoder that is trained already.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from hoptrail.learning.execution import processes
from hoptrail.memory.encoders.transformer import Encoder
from hoptrail.policies.reformulation.latent_query import LatentQuery
from hoptrail.policies.training.encoders.evidence_queries import (
    EvidenceQuestion,
    TrainingQuery,
    state_batches,
)
from hoptrail.policies.training.encoders.query_encoder import QueryEncoderConfig, retrieval_loss
from hoptrail.policies.training.stage_run import Schedule
from hoptrail.values.progress import TrainingProgress, silent

HIDDEN = 256
"""Width of the hidden layer."""
EPOCHS, BATCH, RATE = 20, 128, 1e-3
"""A pass takes seconds, there are more of them than of the encoder."""


class LatentQueryNetwork(nn.Module):
    """`LatentQuery` with gradients.

    Args:
        dim: The width d of a vector.
        width: Of the hidden layer.
    """

    def __init__(self, dim: int, width: int = HIDDEN) -> None:
        super().__init__()
        self.enter = nn.Linear(3 * dim, width)
        self.leave = nn.Linear(width, dim)
        self.shares = nn.Parameter(torch.ones(2))
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def forward(self, queries: Tensor, vectors: Tensor, owner: Tensor) -> Tensor:
        """The moved queries, `(n, d)`, L2-normalised; where nothing was read, as they were.

        Args:
            queries: `(n, d)` of the questions.
            vectors: `(r, d)` of all passages read.
            owner: `(r,)` the row of `queries` that each was read for.
        """
        counts = torch.bincount(owner, minlength=len(queries))[:, None].to(queries.dtype)
        size = counts.clamp(min=1.0)
        own = queries[owner]
        hidden = functional.gelu(self.enter(torch.cat([own, vectors, own * vectors], dim=1)))
        summed = hidden.new_zeros(len(queries), hidden.shape[1]).index_add(0, owner, hidden)
        mean = torch.zeros_like(queries).index_add(0, owner, vectors) / size
        moved = self.shares[0] * queries + self.shares[1] * mean + self.leave(summed / size.sqrt())
        return functional.normalize(torch.where(counts > 0, moved, queries), dim=1)

    def trained(self) -> LatentQuery:
        """The network as it is served."""
        return LatentQuery.of(
            {
                "enter": self.enter.weight.detach().cpu().numpy(),
                "enter_bias": self.enter.bias.detach().cpu().numpy(),
                "leave": self.leave.weight.detach().cpu().numpy(),
                "leave_bias": self.leave.bias.detach().cpu().numpy(),
                "shares": self.shares.detach().cpu().numpy(),
            }
        )


def train_latent_query(
    questions: Sequence[EvidenceQuestion],
    query_encoder: Encoder,
    config: QueryEncoderConfig,
    *,
    progress: TrainingProgress = silent,
) -> LatentQuery:
    """Train the network beside a trained query encoder.

    Args:
        questions: Those that the encoder learned from.
        query_encoder: Makes their first queries.
        config: The encoder's settings.
        progress: Told of every pass.
    """
    device = questions[0].scores.vectors.device
    texts = list(dict.fromkeys(question.text for question in questions))
    first = torch.from_numpy(query_encoder.encode(texts)).to(device)
    place = {text: i for i, text in enumerate(texts)}
    rng = np.random.default_rng([config.seed, HIDDEN])
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        network = LatentQueryNetwork(query_encoder.dim).to(device)
    weights = list(network.parameters())
    optimizer = torch.optim.AdamW(weights, RATE, weight_decay=config.weight_decay)

    def moved(batch: Sequence[TrainingQuery]) -> Tensor:
        scores = batch[0].question.scores
        owner = [i for i, query in enumerate(batch) for _ in query.evidence]
        rows = scores.row[[slot for query in batch for slot in query.evidence]]
        moved_queries: Tensor = network(
            first[[place[query.question.text] for query in batch]],
            scores.vectors[torch.tensor(rows, dtype=torch.int64, device=device)],
            torch.tensor(owner, dtype=torch.int64, device=device),
        )
        return moved_queries

    for epoch in range(EPOCHS):
        batches = list(state_batches(questions, config, rng, size=BATCH))
        schedule = Schedule(optimizer, RATE, epoch * len(batches), EPOCHS * len(batches))
        losses = []
        for batch in batches:
            schedule.step()
            queries = processes.shared_vectors(batch, moved)
            loss = retrieval_loss(batch, queries, config.temperature)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            processes.add_gradients(weights)
            optimizer.step()
            losses.append(float(loss.detach()))
        progress("query over vectors", epoch + 1, EPOCHS, {"loss": float(np.mean(losses))})
    return network.trained()
