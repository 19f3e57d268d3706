"""Bias and variance of what stands in for a gradient, on problems whose gradient is known.

Two discrete choices are made from scores s, a thing is worth f of what was chosen, and the gradient
of its expectation J(s) = E f is known by enumeration:

    top-k    2 of 8 candidates, drawn without replacement by a softmax of s (56 orders);
             f counts the gold ones, and pays more for both than for one each
    codes    8 bits of a hash, each 1 with probability σ(s) (256 codes); f is how near the code is
             to a passage's, and pays for runs that agree

Of each estimator, from 4 evaluations of f where it draws: the relative bias of its mean, the cosine
of its mean with the gradient, its relative standard deviation, and J after 300 steps of ascent, of
the best that there is.

Run: python benchmarks/differentiable/estimators.py --out benchmarks/results/estimators.json
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import permutations, product
from pathlib import Path

import torch
from torch import Tensor

from hoptrail.learning.estimators.implicit import implicit_top_k
from hoptrail.learning.estimators.policy_gradient import reinforce_loss
from hoptrail.learning.estimators.relaxed import (
    gumbel_noise,
    gumbel_top_k,
    plackett_luce_log_prob,
    relaxed_top_k,
    straight_through_top_k,
)
from hoptrail.learning.execution.single_thread import one_thread
from hoptrail.learning.retrieval.soft_ranking import neural_sort

N, K, SAMPLES, REPEATS = 8, 2, 4, 4000
STEPS, RATE = 300, 0.5
TEMPERATURES = (0.1, 0.5, 1.0)
Estimator = Callable[[Tensor, torch.Generator], Tensor]
"""Rows `(r, n)` of the same scores to an estimate of the gradient for each, `(r, n)`."""


@dataclass(frozen=True)
class EstimatorRow:
    """What was measured of an estimator."""

    problem: str
    kind: str
    """soft, straight-through, score function or implicit."""
    name: str
    temperature: float | None
    bias: float
    cosine: float
    deviation: float
    reached: float


def worth_of_set(x: Tensor) -> Tensor:
    """What a set is worth: f of shares `(..., n)`, by two gold ones and one that misleads."""
    return x[..., 0] + 0.5 * x[..., 1] + 2.0 * x[..., 0] * x[..., 1] - x[..., 2] * x[..., 0]


def worth_of_code(x: Tensor) -> Tensor:
    """What a code is worth: f of bits `(..., n)` in [0, 1], by those like the passage's code."""
    like = torch.tensor([1.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 0.0], dtype=x.dtype)
    agree = x * like + (1 - x) * (1 - like)
    return agree.mean(-1) + (agree[..., 1:] * agree[..., :-1]).mean(-1)


def expected_worth_of_set(scores: Tensor) -> Tensor:
    """J(s) over all orders, a number."""
    orders = torch.tensor(list(permutations(range(N), K)))
    log_probs = plackett_luce_log_prob(scores.expand(len(orders), -1), orders)
    sets = torch.zeros(len(orders), N, dtype=scores.dtype).scatter(1, orders, 1.0)
    return (log_probs.exp() * worth_of_set(sets)).sum()


def expected_worth_of_code(scores: Tensor) -> Tensor:
    """J(s) over all codes, a number."""
    codes = torch.tensor(list(product((0.0, 1.0), repeat=N)), dtype=scores.dtype)
    p = torch.sigmoid(scores)
    return ((codes * p + (1 - codes) * (1 - p)).prod(-1) * worth_of_code(codes)).sum()


def by_autograd(
    shares: Callable[[Tensor, torch.Generator], Tensor], worth: Callable[[Tensor], Tensor]
) -> Estimator:
    """The gradient of f at relaxed shares; the mean of several draws, if it draws."""

    def estimate(rows: Tensor, generator: torch.Generator) -> Tensor:
        many = rows.repeat_interleave(SAMPLES, dim=0).requires_grad_()
        (gradient,) = torch.autograd.grad(worth(shares(many, generator)).sum(), many)
        return gradient.reshape(len(rows), SAMPLES, -1).mean(1)

    return estimate


def by_score_function(baseline: str, problem: str) -> Estimator:
    """REINFORCE from as many draws."""

    def estimate(rows: Tensor, generator: torch.Generator) -> Tensor:
        leaf = rows.clone().requires_grad_()
        many = leaf.repeat_interleave(SAMPLES, dim=0)
        if problem == "top-k":
            draw = gumbel_top_k(many, K, generator=generator)
            sets = torch.zeros_like(many).scatter(1, draw.indices, 1.0)
            log_probs, earned = draw.log_order, worth_of_set(sets)
        else:
            p = torch.sigmoid(many)
            bits = torch.bernoulli(p.detach(), generator=generator)
            log_probs = (bits * p + (1 - bits) * (1 - p)).log().sum(-1)
            earned = worth_of_code(bits)
        shape = (len(rows), SAMPLES)
        loss = reinforce_loss(
            log_probs.reshape(shape),
            earned.reshape(shape),
            baseline=baseline,  # type: ignore[arg-type]
            reduction="sum",
        )
        (gradient,) = torch.autograd.grad(-loss, leaf)
        return gradient

    return estimate


def noisy(rows: Tensor, generator: torch.Generator) -> Tensor:
    """Scores with Gumbel noise."""
    return rows + gumbel_noise(rows, generator=generator)


def logistic(rows: Tensor, generator: torch.Generator) -> Tensor:
    """Scores with logistic noise: a bit is 1 where what comes out is above 0."""
    u = torch.rand(rows.shape, generator=generator, dtype=rows.dtype).clamp(1e-9, 1 - 1e-9)
    return rows + u.log() - (-u).log1p()


def hard_bits(rows: Tensor, soft: Tensor) -> Tensor:
    """Bits in the forward pass, and the soft ones' gradient."""
    return (rows > 0).to(soft) + (soft - soft.detach())


def estimators(problem: str) -> list[tuple[str, str, float | None, Estimator]]:
    """Kind, name, temperature and the estimator itself."""
    rows: list[tuple[str, str, float | None, Estimator]] = [
        ("score function", "REINFORCE", None, by_score_function("none", problem)),
        ("score function", "leave-one-out", None, by_score_function("leave-one-out", problem)),
    ]
    for t in TEMPERATURES:
        if problem == "top-k":
            shares: list[tuple[str, str, Callable[[Tensor, torch.Generator], Tensor]]] = [
                ("soft", "relaxed top-k", lambda s, _, t=t: relaxed_top_k(s, K, temperature=t)),
                (
                    "soft",
                    "relaxed top-k, Gumbel",
                    lambda s, g, t=t: relaxed_top_k(noisy(s, g), K, temperature=t),
                ),
                (
                    "soft",
                    "NeuralSort, Gumbel",
                    lambda s, g, t=t: neural_sort(noisy(s, g), temperature=t)[:, :K].sum(1),
                ),
                (
                    "straight-through",
                    "top-k",
                    lambda s, _, t=t: straight_through_top_k(s, K, temperature=t),
                ),
                (
                    "straight-through",
                    "top-k, Gumbel",
                    lambda s, g, t=t: straight_through_top_k(s, K, temperature=t, generator=g),
                ),
                ("implicit", "top-k", lambda s, _, t=t: implicit_top_k(s, K, temperature=t)),
                (
                    "implicit",
                    "top-k, Gumbel",
                    lambda s, g, t=t: implicit_top_k(noisy(s, g), K, temperature=t),
                ),
            ]
        else:
            shares = [
                ("soft", "sigmoid", lambda s, _, t=t: torch.sigmoid(s / t)),
                (
                    "soft",
                    "sigmoid, logistic noise",
                    lambda s, g, t=t: torch.sigmoid(logistic(s, g) / t),
                ),
                (
                    "straight-through",
                    "sign",
                    lambda s, _, t=t: hard_bits(s, torch.sigmoid(s / t)),
                ),
                ("straight-through", "sign, logistic noise", lambda s, g, t=t: _drawn(s, g, t)),
            ]
        worth = worth_of_set if problem == "top-k" else worth_of_code
        rows += [(kind, name, t, by_autograd(each, worth)) for kind, name, each in shares]
    return rows


def _drawn(rows: Tensor, generator: torch.Generator, temperature: float) -> Tensor:
    moved = logistic(rows, generator)
    return hard_bits(moved, torch.sigmoid(moved / temperature))


def ascent(estimate: Estimator, expected: Callable[[Tensor], Tensor]) -> float:
    """J after ascent along an estimator, from scores of 0."""
    generator = torch.Generator().manual_seed(1)
    scores = torch.zeros(1, N, dtype=torch.float64)
    for _ in range(STEPS):
        scores = (scores + RATE * estimate(scores, generator)).clamp(-8, 8)
    return float(expected(scores[0]))


def measure(problem: str) -> list[EstimatorRow]:
    """All estimators of a problem at one point."""
    expected = expected_worth_of_set if problem == "top-k" else expected_worth_of_code
    best = 3.5 if problem == "top-k" else 2.0
    point = torch.randn(N, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    leaf = point.clone().requires_grad_()
    (exact,) = torch.autograd.grad(expected(leaf), leaf)
    rows = []
    for kind, name, temperature, estimate in estimators(problem):
        generator = torch.Generator().manual_seed(0)
        draws = estimate(point.expand(REPEATS, -1).contiguous(), generator)
        mean = draws.mean(0)
        row = EstimatorRow(
            problem,
            kind,
            name,
            temperature,
            bias=float((mean - exact).norm() / exact.norm()),
            cosine=float(torch.cosine_similarity(mean, exact, dim=0)),
            deviation=float((draws - mean).square().sum(-1).mean().sqrt() / exact.norm()),
            reached=ascent(estimate, expected) / best,
        )
        rows.append(row)
        sys.stdout.write(
            f"{problem:6} {kind:16} {name:24} {temperature or '':4} bias {row.bias:6.2f} "
            f"cosine {row.cosine:6.2f} deviation {row.deviation:6.2f} reached {row.reached:6.1%}\n"
        )
        sys.stdout.flush()
    return rows


def main() -> None:
    """Measure both problems, and print and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    with one_thread():
        rows = [row for problem in ("top-k", "codes") for row in measure(problem)]
    if args.out:
        figures = {"draws": REPEATS, "samples": SAMPLES, "rows": [asdict(row) for row in rows]}
        args.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
