"""The marginal likelihood of an answer, the trail being latent.

Which trail leads to the answer is not observed, so it is summed out over the trails that a beam
found (and the gold ones where known), without renormalising the policy over them:

    log p(y | q) >= log sum_{z in Z} p(y | z, q) pi(z | q)

Every term is at least 0, so leaving trails out can only lower the sum: a lower bound, equal where Z
holds every trail of positive probability. The prior mass covered, sum_{z in Z} pi(z | q), says how
much was left out. The gradient is that of the joint log-probability, weighted by the posterior:

    grad = sum_z p(z | y, q) grad [log pi(z | q) + log p(y | z, q)]

Source: RAG-Sequence, Lewis et al. 2020 (2005.11401); Fisher's identity for the gradient. We differ
in keeping pi absolute: renormalised over the beam, the sum would be no bound.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from hoptrail.errors import InputError
from hoptrail.learning.masked import masked_logsumexp, require_bool, require_rows, same_shape

MASS_TOLERANCE = 1e-3
"""How far float32 sums of a beam's probabilities may pass 1 before trails must be repeated."""


@dataclass(frozen=True, slots=True, eq=False)
class Marginal:
    """What the sum over trails gives."""

    log_likelihood: Tensor
    """`(b,)`, differentiable; -inf, with gradient 0, where no trail can give the answer."""
    posterior: Tensor
    """p(z | y, q) among the trails given, `(b, z)`, detached; 0 throughout where none can."""
    covered: Tensor
    """The prior mass of the trails given, `(b,)` in [0, 1], detached."""

    @property
    def possible(self) -> Tensor:
        """Where the answer has any probability, bool `(b,)`: the rows to average the loss over."""
        return self.log_likelihood.detach() != -math.inf


def marginal_likelihood(
    log_prior: Tensor, log_reader: Tensor, *, mask: Tensor | None = None
) -> Marginal:
    """The log of sum_z p(y | z, q) pi(z | q), with posterior and covered mass.

    Args:
        log_prior: log pi(z | q) of different trails, the stop included, `(b, z)`.
        log_reader: log p(y | z, q), `(b, z)`; -inf where a trail cannot give the answer.
        mask: Bool `(b, z)`, True where there is a trail; all by default. What stands at masked
            places is not read.

    Raises:
        InputError: Shapes differ, a row has no trail, or its prior mass is above 1 (a trail twice).
    """
    if log_prior.dim() != 2:
        raise InputError(f"log_prior should have shape (b, z), got {tuple(log_prior.shape)}")
    same_shape(log_prior, log_reader, "log_reader")
    mask = torch.ones_like(log_prior, dtype=torch.bool) if mask is None else mask
    same_shape(log_prior, mask, "mask")
    require_bool(mask, "mask")
    require_rows(mask, "the mask")
    covered = masked_logsumexp(log_prior.detach(), mask).exp()
    if bool((covered > 1 + MASS_TOLERANCE).any()):
        row = int(covered.argmax())
        raise InputError(
            f"the trails of row {row} have a prior mass of {float(covered[row]):.4f}, above 1: "
            "give each trail once, with its log-probability under the policy"
        )
    # Zero in place of what is masked: NaN there would pass through the addition's gradient.
    joint = log_prior.masked_fill(~mask, 0.0) + log_reader.masked_fill(~mask, 0.0)
    log_likelihood = masked_logsumexp(joint, mask)
    with torch.no_grad():
        impossible = log_likelihood == -math.inf
        shift = log_likelihood.masked_fill(impossible, 0.0).unsqueeze(-1)
        posterior = (joint - shift).exp().masked_fill(~mask, 0.0)
    return Marginal(log_likelihood, posterior, covered.clamp(max=1.0))
