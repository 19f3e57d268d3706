"""The layers of small networks as plain array code, for what decides and does not learn.

Importing PyTorch takes a process a second or more, far longer than these networks take to answer
one question. They are equal to PyTorch's layers but for rounding; a test holds each to its own.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

EPSILON = 1e-5
"""What PyTorch adds to the variance in its layer normalisation."""

_P = np.float32(0.3275911 / 2**0.5)
_A = (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592)
"""Of the tail of the error function: Abramowitz and Stegun 1964, 7.1.26, within 1.5e-7."""


def linear(x: Array, weight: Array, bias: Array) -> Array:
    """X Wᵀ + b, `(n, out)`.

    Args:
        x: `(n, in)`.
        weight: `(out, in)`.
        bias: `(out,)`.
    """
    out: Array = x @ weight.T
    out += bias
    return out


def gelu(x: Array) -> Array:
    """The Gaussian error linear unit x Φ(x) (Hendrycks and Gimpel 2016, arXiv:1606.08415).

    Computed as max(x, 0) - |x| Φ(-|x|), the tail Φ(-|x|) by 7.1.26 of Abramowitz and Stegun.

    Args:
        x: Any shape.
    """
    # In place: a new array for each step would take longer than the step.
    size = np.abs(x)
    t = size * _P
    t += np.float32(1)
    np.reciprocal(t, out=t)
    tail = t * np.float32(0.5 * _A[0])
    for coefficient in _A[1:]:
        tail += np.float32(0.5 * coefficient)
        tail *= t
    out: Array = size * size
    out *= np.float32(-0.5)
    np.exp(out, out=out)
    tail *= out
    tail *= size
    np.maximum(x, 0, out=out)
    out -= tail
    return out


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)).

    Args:
        x: Any shape.
    """
    out: Array = 0.5 * x
    np.tanh(out, out=out)
    out *= 0.5
    out += 0.5
    return out


def layer_norm(x: Array, weight: Array, bias: Array) -> Array:
    """Rows with mean 0 and variance 1, scaled and shifted (Ba et al. 2016, arXiv:1607.06450).

    Args:
        x: `(n, d)`.
        weight: `(d,)`.
        bias: `(d,)`.
    """
    centred = x - x.mean(axis=1, keepdims=True)
    variance = np.einsum("ij,ij->i", centred, centred)[:, None] / np.float32(x.shape[1])
    out: Array = centred / np.sqrt(variance + np.float32(EPSILON)) * weight + bias
    return out


def log_sum_exp(values: Array, axis: int) -> Array:
    """The logarithm of summed exponentials along an axis; -inf where all are.

    Args:
        values: -inf stands for a probability of zero.
        axis: The one that is summed away.
    """
    top = values.max(axis=axis, keepdims=True)
    top = np.where(np.isneginf(top), np.float32(0), top)
    with np.errstate(divide="ignore"):
        out: Array = np.log(np.exp(values - top).sum(axis=axis)) + np.squeeze(top, axis)
    return out
