"""The likelihood of an answer whose context is latent, once for the whole of it or token by token.

With contexts z of prior p(z | x), a passage or a whole trail each, and tokens y_1 .. y_n of which
the last ends the answer:

    RAG-Sequence   log sum_z p(z | x) prod_i p(y_i | x, z, y_<i)
    RAG-Token      sum_i log sum_z p(z | x) p(y_i | x, z, y_<i)

One context gives the whole answer in the first; in the second each token may come from another. A
prior that leaves contexts out, and is not renormalised, makes both lower bounds.

Source: Lewis et al. 2020 (2005.11401), section 2.1. The first is `hoptrail.learning.marginal` with
a generator for a reader.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hoptrail.errors import InputError
from hoptrail.learning.marginal import Marginal, marginal_likelihood
from hoptrail.learning.masked import masked_logsumexp, require_bool, same_shape


def rag_sequence(
    log_prior: Tensor, log_tokens: Tensor, tokens: Tensor, *, mask: Tensor | None = None
) -> Marginal:
    """The likelihood with one context for the whole answer, with posterior and covered mass.

    Args:
        log_prior: log p(z | x), `(b, z)`.
        log_tokens: log p(y_i | x, z, y_<i), `(b, z, t)`.
        tokens: Which of the t places hold a token of the answer, its end included, bool `(b, t)`.
        mask: Bool `(b, z)`, True where there is a context; all by default.

    Raises:
        InputError: Shapes do not fit, a row has no context, or its prior mass is above 1.
    """
    _check(log_prior, log_tokens, tokens)
    whole = log_tokens.masked_fill(~tokens.unsqueeze(1), 0.0).sum(-1)  # (b, z)
    return marginal_likelihood(log_prior, whole, mask=mask)


def rag_token(
    log_prior: Tensor, log_tokens: Tensor, tokens: Tensor, *, mask: Tensor | None = None
) -> Tensor:
    """The log-likelihood with a context for each token, `(b,)`, differentiable.

    Args:
        log_prior: log p(z | x), `(b, z)`.
        log_tokens: log p(y_i | x, z, y_<i), `(b, z, t)`.
        tokens: Which of the t places hold a token of the answer, its end included, bool `(b, t)`.
        mask: Bool `(b, z)`, True where there is a context; all by default.

    Raises:
        InputError: Shapes do not fit.
    """
    _check(log_prior, log_tokens, tokens)
    mask = torch.ones_like(log_prior, dtype=torch.bool) if mask is None else mask
    same_shape(log_prior, mask, "mask")
    joint = log_prior.unsqueeze(-1) + log_tokens  # (b, z, t)
    each = masked_logsumexp(joint, mask.unsqueeze(-1), dim=1)  # (b, t)
    return each.masked_fill(~tokens, 0.0).sum(-1)


def _check(log_prior: Tensor, log_tokens: Tensor, tokens: Tensor) -> None:
    if log_prior.dim() != 2 or log_tokens.dim() != 3:
        raise InputError(
            "log_prior and log_tokens should have shapes (b, z) and (b, z, t), got "
            f"{tuple(log_prior.shape)} and {tuple(log_tokens.shape)}"
        )
    b, z, t = log_tokens.shape
    same_shape(log_tokens[:, :, 0], log_prior, "log_prior")
    require_bool(tokens, "tokens")
    if tokens.shape != (b, t):
        raise InputError(f"tokens should have shape {(b, t)}, got {tuple(tokens.shape)}")
    if z < 1:
        raise InputError("there is no context")
