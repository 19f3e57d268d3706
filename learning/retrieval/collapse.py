"""Collapse: how it is seen that an encoder gives everything the same vector, and what helps.

Five measures of b queries and m passages, all with L2-normalised vectors u and v:

    alignment          mean ‖u_i - v_i‖² of a query and its passage, in [0, 4]; small is good
    uniformity         log mean_{i≠j} exp(-2 ‖v_i - v_j‖²), in [-8, 0]; 0 is collapse
    effective rank     exp of the entropy of the singular values over their sum, in [1, min(m, d)]
    hubness            skewness of how often a passage is among the k nearest of a query
    retrieval entropy  mean of H(p(· | q)) / log m, in [0, 1]; 1 is a retrieval that says nothing

A monitor takes them as training goes on, and says once what is wrong and what helps against it.

Sources: alignment and uniformity, Wang & Isola 2020 (2005.10242); effective rank, Roy & Vetterli
2007, "The effective rank: a measure of effective dimensionality"; hubness, Radovanović et al. 2010,
"Hubs in space".
"""

from __future__ import annotations

import logging
import math
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from hoptrail.errors import InputError
from hoptrail.values.numbers import whole

logger = logging.getLogger(__name__)

SPREAD = 2.0
"""The factor of a squared distance in uniformity."""
NEAREST = 10
"""Passages of a query that count for hubness."""
LEAST_UNIFORM = -0.5
"""Uniformity above which vectors lie in one place."""
LEAST_RANK_SHARE = 0.5
"""Of the effective rank before training: what may be left of it."""
MOST_SKEWED = 4.0
"""Hubness above which few passages are everybody's neighbours, unless they were before training."""
MOST_ENTROPY, LEAST_ENTROPY = 0.98, 1e-3
"""Retrieval entropy above which nothing is chosen, and below which nothing else is tried."""


@dataclass(frozen=True, slots=True)
class VectorHealth:
    """The five measures at one moment."""

    uniformity: float
    effective_rank: float
    alignment: float | None = None
    hubness: float | None = None
    retrieval_entropy: float | None = None


def alignment(queries: Tensor, passages: Tensor) -> Tensor:
    """The mean squared distance of each query from its passage, in [0, 4]; differentiable.

    Args:
        queries: `(b, d)`, of any length.
        passages: `(b, d)`, each query's own.

    Raises:
        InputError: The shapes differ.
    """
    if queries.dim() != 2 or queries.shape != passages.shape:
        raise InputError(
            "queries and passages should have one shape (b, d), got "
            f"{tuple(queries.shape)} and {tuple(passages.shape)}"
        )
    apart = functional.normalize(queries, dim=-1) - functional.normalize(passages, dim=-1)
    return apart.square().sum(-1).mean()


def uniformity(vectors: Tensor) -> Tensor:
    """How evenly vectors lie on the sphere, in [-8, 0], 0 in one place; differentiable.

    Added to a loss, it drives vectors apart.

    Args:
        vectors: `(n, d)`, n >= 2, of any length.

    Raises:
        InputError: There are fewer than two.
    """
    if vectors.dim() != 2 or len(vectors) < 2:
        raise InputError(f"at least 2 vectors (n, d) are needed, got {tuple(vectors.shape)}")
    unit = functional.normalize(vectors, dim=-1)
    distances = 2 - 2 * (unit @ unit.T)
    pairs = torch.triu_indices(len(unit), len(unit), offset=1, device=unit.device)
    exponents = -SPREAD * distances[pairs[0], pairs[1]]
    return torch.logsumexp(exponents, dim=0) - math.log(pairs.shape[1])


def effective_rank(vectors: Tensor) -> float:
    """In how many directions vectors lie, from 1 to min(n, d).

    Args:
        vectors: `(n, d)`, n >= 1.
    """
    values = torch.linalg.svdvals(vectors.detach().double())
    shares = values / values.sum().clamp_min(torch.finfo(values.dtype).tiny)
    return float(torch.special.entr(shares).sum().exp())


def hubness(scores: Tensor, k: int = NEAREST) -> float:
    """The skewness of how often each passage is among the k best of a query; 0 where all are alike.

    Args:
        scores: `(b, m)`.
        k: At least 1; at most m - 1 counts.

    Raises:
        InputError: `k` is below 1.
    """
    whole(k, "k", least=1)
    best = scores.detach().topk(min(k, max(1, scores.shape[1] - 1)), dim=-1).indices
    counts = torch.bincount(best.flatten(), minlength=scores.shape[1]).double()
    spread = counts.std(unbiased=False)
    if float(spread) == 0:
        return 0.0
    return float(((counts - counts.mean()) / spread).pow(3).mean())


def retrieval_entropy(log_probs: Tensor) -> float:
    """The mean entropy of retrieval over what it could be, in [0, 1].

    Args:
        log_probs: log p of m passages, `(b, m)`, normalised; -inf is no candidate.
    """
    candidates = (log_probs != -math.inf).sum(-1)
    most = candidates.clamp_min(2).to(log_probs).log()
    entropies = torch.special.entr(log_probs.detach().exp()).sum(-1)
    return float((entropies / most).mean())


@torch.no_grad()
def vector_health(
    vectors: Tensor,
    *,
    logits: Tensor | None = None,
    cosines: Tensor | None = None,
) -> VectorHealth:
    """All measures of what a training has at hand.

    Args:
        vectors: Those that are being trained, `(n, d)`, n >= 2.
        logits: Scores over the temperature, of b queries and m passages, `(b, m)`.
        cosines: Of queries with their own passages, `(p,)`.

    Raises:
        InputError: There are fewer than two vectors.
    """
    unit = functional.normalize(vectors.detach(), dim=-1)
    return VectorHealth(
        uniformity=float(uniformity(unit)),
        effective_rank=effective_rank(unit),
        alignment=None if cosines is None else float(2 - 2 * cosines.mean()),
        hubness=None if logits is None else hubness(logits),
        retrieval_entropy=None
        if logits is None
        else retrieval_entropy(torch.log_softmax(logits, dim=-1)),
    )


@dataclass(slots=True)
class CollapseMonitor:
    """Watches the vectors of a training, and warns of a collapse by what would help against it.

    Args:
        what: Names what is trained, for the warnings.
        every: Steps from one look to the next; the first step is always looked at.

    Attributes:
        first: The measures at the first step, to which later ones are compared.
        last: The latest measures.
        warnings: What was warned of, each kind once.
    """

    what: str
    every: int = 20
    first: VectorHealth | None = None
    last: VectorHealth | None = None
    warnings: list[str] = field(default_factory=list)
    _kinds: set[str] = field(default_factory=set)

    def observe(
        self,
        step: int,
        vectors: Tensor,
        *,
        logits: Tensor | None = None,
        cosines: Tensor | None = None,
    ) -> None:
        """Look at a step of a training, if it is one that is looked at.

        Args:
            step: Its number, from 0 on.
            vectors: Those that are being trained, `(n, d)`; fewer than two are passed over.
            logits: As in `vector_health`.
            cosines: As in `vector_health`.
        """
        if step % self.every or len(vectors) < 2:
            return
        self.last = vector_health(vectors, logits=logits, cosines=cosines)
        if self.first is None:
            self.first = self.last
        for kind, message in collapse_signs(self.last, self.first).items():
            if kind not in self._kinds:
                self._kinds.add(kind)
                self.warnings.append(message)
                logger.warning("%s, step %d: %s", self.what, step, message)

    def describe(self) -> dict[str, Any]:
        """The first and the latest measures and the warnings; JSON values."""
        return {
            "before": asdict(self.first) if self.first else None,
            "after": asdict(self.last) if self.last else None,
            "warnings": list(self.warnings),
        }


def collapse_signs(now: VectorHealth, before: VectorHealth) -> dict[str, str]:
    """What is wrong with vectors, each with what helps against it, by kind.

    Args:
        now: The measures.
        before: Those at the beginning of the training.
    """
    signs: dict[str, str] = {}
    if now.uniformity > LEAST_UNIFORM:
        signs["uniformity"] = (
            f"all vectors lie in one place (uniformity {now.uniformity:.2f}, 0 is one point): "
            "compare with more negatives, or add the uniformity of the vectors to the loss"
        )
    if now.effective_rank < LEAST_RANK_SHARE * before.effective_rank:
        signs["rank"] = (
            f"vectors use few directions (effective rank {now.effective_rank:.1f}, "
            f"{before.effective_rank:.1f} before): lower the learning rate, mine harder negatives, "
            "or regularise (an anchor to the vectors before, weight decay)"
        )
    if now.hubness is not None and now.hubness > max(MOST_SKEWED, 2 * (before.hubness or 0.0)):
        signs["hubness"] = (
            f"few passages are near to every query (hubness {now.hubness:.1f}, "
            f"{before.hubness or 0.0:.1f} before): normalise the vectors, and take the hubs as "
            "negatives"
        )
    spread = now.retrieval_entropy
    if spread is not None and spread > MOST_ENTROPY:
        signs["flat"] = (
            f"retrieval prefers nothing (entropy {spread:.3f} of what is possible): lower the "
            "temperature"
        )
    # Later on, a small entropy is what training is for.
    if spread is not None and spread < LEAST_ENTROPY and now is before:
        signs["sharp"] = (
            f"one passage takes all (entropy {spread:.4f} of what is possible), and the others "
            "have no gradient: raise the temperature"
        )
    return signs
