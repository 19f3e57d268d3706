"""Learning a rotation of vectors whose prefixes rank as whole vectors do: no encoding anew.

An encoder that was not trained for it spreads what it knows over all of its dimensions, and its
first ones alone are poor. Principal components are better: they hold what varies most. But what
varies most among passages is not what questions ask for, so the rotation is learned on questions.
With W the first rows of a matrix, R = orthonormal rows of W in their order (Gram and Schmidt, so
that the first m rows span what the first m rows of W span), and R_m the first m rows:

    s_m(q, v) = cos(R_m q, R_m v)
    loss      = sum over m of the retrieval loss of s_m / τ

The rest of the basis is filled up with the principal components that are left, so that whole
vectors rank exactly as before.

Source: Kusupati et al. 2022, "Matryoshka Representation Learning" (2205.13147), whose loss over
several prefixes this is, of a frozen encoder; principal components, Pearson 1901.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from hoptrail.errors import ConfigError, InputError
from hoptrail.learning.execution.processes import refuse_several
from hoptrail.learning.indexes.labelled_queries import LabelledQueries
from hoptrail.learning.ranking_losses import (
    OF_PAIRS,
    TAUGHT,
    LossName,
    ScoredCandidates,
    candidate_loss,
    checked_loss_name,
)
from hoptrail.memory.encoders.vectors import Vectors
from hoptrail.memory.index.learned.rotation import Rotation
from hoptrail.values.numbers import above_zero, whole
from hoptrail.values.progress import TrainingProgress, silent


@dataclass(frozen=True, slots=True)
class MatryoshkaConfig:
    """How a rotation is learned."""

    dims: tuple[int, ...] = (16, 32, 64, 128)
    """Lengths of the prefixes, ascending."""
    steps: int = 200
    """Batches."""
    batch: int = 128
    """Queries in a step."""
    others: int = 2048
    """Passages drawn by chance that the queries of a step are compared with."""
    learning_rate: float = 5e-3
    """Its peak; it falls by half a cosine."""
    temperature: float = 0.1
    """Of the cosines: τ."""
    loss: LossName = "evidence"
    """How candidates are compared; see `hoptrail.learning.ranking_losses.candidate_loss`."""
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "others"):
            whole(getattr(self, name), name, least=1, error=ConfigError)
        for name in ("learning_rate", "temperature"):
            above_zero(getattr(self, name), name, error=ConfigError)
        if checked_loss_name(self.loss) in OF_PAIRS:
            raise ConfigError(
                f"the loss {self.loss!r} compares passages two by two, too many here: take "
                "evidence, contrastive, likelihood or listnet"
            )
        if not self.dims or list(self.dims) != sorted(set(self.dims)) or self.dims[0] < 1:
            raise ConfigError(f"dims must be ascending whole numbers, got {self.dims}")


def matryoshka_loss(
    queries: Tensor,
    passages: Tensor,
    positives: Tensor,
    *,
    dims: Sequence[int],
    loss: LossName = "evidence",
    temperature: float = 0.05,
) -> Tensor:
    """The retrieval loss of queries and passages, summed over prefixes of their vectors.

    Args:
        queries: `(b, d)`.
        passages: `(n, d)`.
        positives: Bool `(b, n)`: which passages each query asks for.
        dims: Lengths of the prefixes, each at most d.
        loss: How candidates are compared; a loss with a teacher has the whole vectors' cosines.
        temperature: Of the cosines.

    Raises:
        InputError: A prefix is longer than the vectors, or as `candidate_loss`.
    """
    width = queries.shape[1]
    if not dims or max(dims) > width or min(dims) < 1:
        raise InputError(f"prefixes must have 1 to {width} dimensions, got {list(dims)}")
    mask = torch.ones_like(positives)
    teacher = _cosines(queries, passages).detach() if loss in TAUGHT else None
    losses = [
        candidate_loss(
            loss,
            ScoredCandidates(
                _cosines(queries[:, :prefix], passages[:, :prefix]), positives, mask, teacher
            ),
            temperature=temperature,
        )
        for prefix in dims
    ]
    return torch.stack(losses).sum()


def principal_rotation(vectors: Vectors) -> Rotation:
    """The rotation to the principal components of vectors `(n, d)`, the largest first.

    They are those of the uncentred second moments: a product of whole vectors has no mean either.

    Args:
        vectors: Of passages.
    """
    components = _components(vectors.astype(np.float64)).astype(np.float32)
    return Rotation(components, {"by": "principal components"})


def learn_rotation(
    passages: Vectors,
    queries: LabelledQueries,
    config: MatryoshkaConfig | None = None,
    *,
    progress: TrainingProgress = silent,
) -> Rotation:
    """Learn a rotation whose prefixes find what queries ask for.

    Args:
        passages: `(n, d)` L2-normalised.
        queries: Of the same encoder.
        config: The settings; those of `MatryoshkaConfig()` by default.
        progress: Told of every step.

    Raises:
        ConfigError: A prefix is longer than the vectors, or `torchrun` started several processes.
    """
    refuse_several("a rotation of vectors")
    config = config or MatryoshkaConfig()
    width, rows = passages.shape[1], config.dims[-1]
    if rows > width:
        raise ConfigError(f"dims must be at most {width}, the width of a vector, got {config.dims}")
    basis = _components(passages.astype(np.float64))
    weight = nn.Parameter(torch.tensor(basis[:rows], dtype=torch.float32))
    optimizer = torch.optim.Adam([weight], config.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.steps)
    rng = np.random.default_rng(config.seed)
    for step in range(config.steps):
        drawn = queries.draw(config.batch, rng)
        columns, positives = queries.columns(drawn, len(passages), config.others, rng)
        rotation = orthonormal_rows(weight)
        loss = matryoshka_loss(
            torch.tensor(queries.vectors[drawn]) @ rotation.T,
            torch.tensor(passages[columns]) @ rotation.T,
            positives,
            dims=config.dims,
            loss=config.loss,
            temperature=config.temperature,
        )
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        progress("rotation", step + 1, config.steps, {"loss": float(loss.detach())})
    first = orthonormal_rows(weight.detach().double()).numpy()
    made_of = {"config": asdict(config), "queries": len(queries), "passages": len(passages)}
    return Rotation(_filled(first, passages), made_of)


def orthonormal_rows(weight: Tensor) -> Tensor:
    """Orthonormal rows `(m, d)` of a matrix, those before m spanning what its rows before m span.

    Args:
        weight: `(m, d)` of rank m.
    """
    q, r = torch.linalg.qr(weight.T)
    signs = torch.sign(torch.diagonal(r.detach()))
    rows: Tensor = (q * torch.where(signs == 0, 1.0, signs)).T
    return rows


def _filled(first: NDArray[np.float64], passages: Vectors) -> Vectors:
    """An orthogonal matrix that begins with some rows: then the components of what is left."""
    left = passages.astype(np.float64)
    left = left - (left @ first.T) @ first
    rest = _components(left)[: passages.shape[1] - len(first)]
    rest = rest - (rest @ first.T) @ first
    whole_basis = np.concatenate([first, np.linalg.qr(rest.T)[0].T])
    matrix = np.linalg.qr(whole_basis.T)[0].T
    signs = np.sign((matrix * whole_basis).sum(1))
    basis: Vectors = (matrix * signs[:, None]).astype(np.float32)
    return basis


def _components(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """The eigenvectors `(d, d)` of the second moments of vectors, the largest first."""
    components: NDArray[np.float64] = np.linalg.eigh(vectors.T @ vectors)[1][:, ::-1].T.copy()
    return components


def _cosines(queries: Tensor, passages: Tensor) -> Tensor:
    return functional.normalize(queries, dim=1) @ functional.normalize(passages, dim=1).T
