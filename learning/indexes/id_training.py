"""Training a decoder of semantic ids and the layer that ranks what it proposes, as one model.

    loss = -mean over gold v of log p(id of v | q)
           - log of the ranking layer's probability of each gold passage, among gold and proposals
           - log p(id of v | v + noise), the passages as their own questions

Ids and formulas are those of `hoptrail.memory.index.learned.semantic_ids`, which serves what is
trained here. Proposals are the decoder's own at that moment: the beam's ids, and of each a passage
by chance, so that the ranking layer learns to tell apart what it will be given. log p(id | q) is
part of its score: its gradient reaches the decoder too.

Source: Tay et al. 2022, DSI (2202.06991): ids of passages from their own text, and from questions;
a ranking layer that is trained with generation, Li et al. 2024, LTRGR (2306.15222).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from hoptrail.errors import ConfigError
from hoptrail.learning.execution.processes import refuse_several
from hoptrail.learning.indexes.labelled_queries import LabelledQueries
from hoptrail.learning.losses import listwise_loss
from hoptrail.memory.encoders.vectors import Vectors
from hoptrail.memory.index.learned.balanced_kmeans import fit_clusters, nearest_clusters
from hoptrail.memory.index.learned.semantic_ids import IdWeights, SemanticIds
from hoptrail.values.numbers import above_zero, whole
from hoptrail.values.progress import TrainingProgress, silent

SHARPNESS, BY_VECTOR, BY_ID = 20.0, 20.0, 0.1
"""a, t and w at first."""


@dataclass(frozen=True, slots=True)
class SemanticIdsConfig:
    """How ids, decoder and ranking layer are made."""

    levels: int = 3
    """Codes of an id."""
    codes: int = 32
    """Codes to choose from at each level."""
    balanced: bool = True
    """Have the codes of a level stand for about as many passages each."""
    rounds: int = 20
    """Of k-means at each level."""
    hidden: int = 256
    """Width of the decoder."""
    rank: int = 16
    """Of the ranking layer's change of a query."""
    beam: int = 16
    """Ids that are proposed for a query in training."""
    steps: int = 600
    """Batches."""
    batch: int = 96
    """Queries in a step, and passages that ask for themselves."""
    noise: float = 0.03
    """Added to each number of a passage that asks for itself."""
    learning_rate: float = 2e-3
    """Its peak; it falls by half a cosine."""
    weight_decay: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("levels", "rounds", "hidden", "rank", "beam", "steps", "batch"):
            whole(getattr(self, name), name, least=1, error=ConfigError)
        whole(self.codes, "codes", least=2, error=ConfigError)
        above_zero(self.learning_rate, "learning_rate", error=ConfigError)
        if self.codes**self.levels > 1 << 24:
            raise ConfigError(
                f"{self.levels} codes of {self.codes} give more than {1 << 24} ids: take fewer"
            )


class IdDecoder(nn.Module):
    """The decoder and the ranking layer, with gradients; see `SemanticIds` for the formulas.

    Args:
        centres: `(L, K, d)`; they stay.
        hidden: Width of the decoder.
        rank: Of the ranking layer's change of a query.
    """

    centres: Tensor

    def __init__(self, centres: Tensor, hidden: int, rank: int) -> None:
        super().__init__()
        levels, codes, width = centres.shape
        self.register_buffer("centres", centres)
        self.query = nn.Parameter(torch.randn(hidden, width))
        self.levels = nn.Parameter(torch.zeros(levels, hidden))
        self.codes = nn.Parameter(0.02 * torch.randn(levels, codes, hidden))
        self.hidden = nn.Parameter(torch.randn(hidden, hidden) / hidden**0.5)
        self.output = nn.Parameter(torch.zeros(levels, codes, hidden))
        self.sharpness = nn.Parameter(torch.full((levels,), SHARPNESS))
        self.down = nn.Parameter(torch.randn(rank, width) / width**0.5)
        self.up = nn.Parameter(torch.zeros(width, rank))
        self.weights = nn.Parameter(torch.tensor([BY_VECTOR, BY_ID]))

    def next_log_probs(self, queries: Tensor, prefix: Tensor, level: int) -> Tensor:
        """Log p of the next code, `(..., K)`.

        Args:
            queries: `(..., d)`.
            prefix: The sum of the embeddings of the codes so far, `(..., H)`.
            level: Of the next code.
        """
        hidden = functional.relu(queries @ self.query.T + prefix + self.levels[level])
        hidden = hidden + functional.relu(hidden @ self.hidden.T)
        by_centre = self.sharpness[level] * (queries @ self.centres[level].T)
        log_probs: Tensor = torch.log_softmax(hidden @ self.output[level].T + by_centre, -1)
        return log_probs

    def forward(self, queries: Tensor, ids: Tensor) -> Tensor:
        """Log p(id | q), `(...)`.

        Args:
            queries: `(..., d)`.
            ids: `(..., L)` int64.
        """
        prefix = queries.new_zeros(*ids.shape[:-1], self.hidden.shape[0])
        total = queries.new_zeros(ids.shape[:-1])
        for level in range(len(self.centres)):
            log_probs = self.next_log_probs(queries, prefix, level)
            code = ids[..., level]
            total = total + log_probs.gather(-1, code.unsqueeze(-1)).squeeze(-1)
            prefix = prefix + self.codes[level][code]
        return total

    def rank(self, queries: Tensor, passages: Tensor, ids: Tensor) -> Tensor:
        """The ranking layer's scores, `(b, m)`.

        Args:
            queries: `(b, d)`.
            passages: `(b, m, d)`.
            ids: Theirs, `(b, m, L)`.
        """
        turned = queries + (queries @ self.down.T) @ self.up.T
        cosines = (passages @ turned.unsqueeze(-1)).squeeze(-1)
        log_probs = self(queries.unsqueeze(1).expand(-1, ids.shape[1], -1), ids)
        scores: Tensor = self.weights[0] * cosines + self.weights[1] * log_probs
        return scores

    def serving(self, offsets: Vectors, made_of: dict[str, object]) -> SemanticIds:
        """The same in numpy.

        Args:
            offsets: `(L, K)` that balance the codes.
            made_of: What it was learned from.
        """
        names = "centres query levels codes hidden output sharpness down up weights".split()
        arrays = {name: getattr(self, name).detach().numpy().copy() for name in names}
        return SemanticIds(IdWeights(offsets=offsets, **arrays), made_of)


def residual_codes(passages: Vectors, config: SemanticIdsConfig) -> tuple[Vectors, Vectors]:
    """Centres `(L, K, d)` and offsets `(L, K)` of a residual quantisation.

    Args:
        passages: `(n, d)`, more of them than codes.
        config: The settings.
    """
    left, centres, offsets = passages, [], []
    for level in range(config.levels):
        centre, offset = fit_clusters(
            left,
            config.codes,
            rounds=config.rounds,
            seed=config.seed + level,
            spherical=False,
            balanced=config.balanced,
        )
        left = left - centre[nearest_clusters(left, centre, offset)[0]]
        centres.append(centre)
        offsets.append(offset)
    return np.stack(centres), np.stack(offsets)


def learn_semantic_ids(
    passages: Vectors,
    queries: LabelledQueries,
    config: SemanticIdsConfig | None = None,
    *,
    progress: TrainingProgress = silent,
) -> SemanticIds:
    """Make ids of passages, and train what proposes and what ranks them.

    Args:
        passages: `(n, d)` L2-normalised.
        queries: Of the same encoder.
        config: The settings; those of `SemanticIdsConfig()` by default.
        progress: Told of every step.

    Raises:
        ConfigError: There are not more passages than codes, or `torchrun` started several
            processes.
    """
    refuse_several("what proposes passages by their ids")
    config = config or SemanticIdsConfig()
    if len(passages) <= config.codes:
        raise ConfigError(
            f"there must be more passages than codes, got {len(passages)} and {config.codes}"
        )
    centres, offsets = residual_codes(passages, config)
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        decoder = IdDecoder(torch.tensor(centres), config.hidden, config.rank)
    made_of = {"config": asdict(config), "queries": len(queries), "passages": len(passages)}
    training = _IdTraining(decoder, passages, queries, config, decoder.serving(offsets, {}))
    optimizer = torch.optim.AdamW(
        decoder.parameters(), config.learning_rate, weight_decay=config.weight_decay
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.steps)
    for step in range(config.steps):
        parts = training.losses()
        loss = torch.stack(list(parts.values())).sum()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        figures = {name: float(part.detach()) for name, part in parts.items()}
        progress("semantic ids", step + 1, config.steps, figures)
    return decoder.serving(offsets, made_of)


class _IdTraining:
    """What the steps of a training have in common."""

    def __init__(
        self,
        decoder: IdDecoder,
        passages: Vectors,
        queries: LabelledQueries,
        config: SemanticIdsConfig,
        serving: SemanticIds,
    ) -> None:
        self.decoder, self.queries, self.config = decoder, queries, config
        self.passages = torch.tensor(passages)
        ids = serving.ids(passages)
        self.ids = torch.tensor(ids)
        self.vectors = torch.tensor(queries.vectors)
        self.rng = np.random.default_rng(config.seed)
        leaves = serving.leaves(ids)
        self.order = np.argsort(leaves, kind="stable")
        self.leaves = leaves[self.order]
        powers = config.codes ** np.arange(config.levels - 1, -1, -1)
        self.there = []
        for power in powers.tolist():
            level = torch.zeros(int(config.codes**config.levels // power), dtype=torch.bool)
            level[torch.tensor(leaves // power)] = True
            self.there.append(level)

    def losses(self) -> dict[str, Tensor]:
        """The parts of the loss of one batch."""
        config, rng = self.config, self.rng
        drawn = self.queries.draw(config.batch, rng)
        query_vectors = self.vectors[drawn]
        rows, positives = self._candidates(drawn, self._proposals(query_vectors))
        scores = self.decoder.rank(query_vectors, self.passages[rows], self.ids[rows])
        golds = [(i, row) for i, one in enumerate(drawn) for row in self.queries.gold[one]]
        of, gold = torch.tensor(golds).T
        share = 1 / torch.bincount(of)[of]
        generated = -(self.decoder(query_vectors[of], self.ids[gold]) * share).sum() / len(drawn)
        own = torch.tensor(rng.integers(len(self.passages), size=config.batch))
        noise = torch.tensor(rng.normal(size=(config.batch, self.passages.shape[1])))
        noisy = functional.normalize(self.passages[own] + config.noise * noise.float(), dim=1)
        return {
            "generation": generated,
            "ranking": listwise_loss(scores, positives, combine="mean"),
            "passages": -self.decoder(noisy, self.ids[own]).mean(),
        }

    @torch.no_grad()
    def _proposals(self, query_vectors: Tensor) -> NDArray[np.int64]:
        """A passage by chance of each id that the beam proposes, `(b, beam)`; -1 for none."""
        count, codes = len(query_vectors), self.config.codes
        nodes = torch.zeros(count, 1, dtype=torch.int64)
        log_probs = torch.zeros(count, 1)
        prefix = torch.zeros(count, 1, self.config.hidden)
        for level, there in enumerate(self.there):
            scores = self.decoder.next_log_probs(query_vectors.unsqueeze(1), prefix, level)
            children = nodes.unsqueeze(-1) * codes + torch.arange(codes)
            scores = (log_probs.unsqueeze(-1) + scores).masked_fill(~there[children], -torch.inf)
            width = min(self.config.beam, scores[0].numel())
            log_probs, best = scores.flatten(1).topk(width, 1)
            nodes = children.flatten(1).gather(1, best)
            parents = (best // codes).unsqueeze(-1).expand(-1, -1, prefix.shape[2])
            prefix = prefix.gather(1, parents) + self.decoder.codes[level][best % codes]
        first, last = (
            np.searchsorted(self.leaves, nodes.numpy(), side=side) for side in ("left", "right")
        )
        chosen = first + (self.rng.random(first.shape) * (last - first)).astype(np.int64)
        places = np.minimum(chosen, len(self.order) - 1)
        return np.where(np.isfinite(log_probs.numpy()) & (last > first), self.order[places], -1)

    def _candidates(
        self, drawn: NDArray[np.int64], proposed: NDArray[np.int64]
    ) -> tuple[Tensor, Tensor]:
        """Rows `(b, m)` of gold and proposals, and which are gold; what is none repeats gold."""
        most = max(len(self.queries.gold[one]) for one in drawn)
        rows = np.zeros((len(drawn), most + proposed.shape[1]), dtype=np.int64)
        positives = np.zeros(rows.shape, dtype=np.bool_)
        for i, one in enumerate(drawn):
            gold = list(self.queries.gold[one])
            rows[i, :most] = (gold * most)[:most]
            rows[i, most:] = np.where(proposed[i] < 0, gold[0], proposed[i])
            positives[i] = np.isin(rows[i], gold)
        return torch.tensor(rows), torch.tensor(positives)
