"""Learning how far it pays to read: REINFORCE over stopping times, at prices that are drawn.

The walks of a policy are fixed, and so is what each ranking holds. What is learned is when to stop
along it (`hoptrail.policies.networks.stopping_policy`): of a question a price λ is drawn, several
stopping times T are drawn of the policy at that price, and each earns

    R(T) = recall of the evidence among the first T - λ T.

Every set counts the same. The weights are drawn towards 0, where the policy is the rule that trusts
the calibrated probabilities: on sets that are left out, what was learned without that goes wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hoptrail.errors import InputError
from hoptrail.policies.networks.score_calibration import ScoreCalibration
from hoptrail.policies.networks.stopping_policy import (
    PRICE_FEATURES,
    StoppingPolicy,
    price_columns,
)
from hoptrail.policies.objectives.stopping_time import sampled_stopping_loss, stopping_log_probs
from hoptrail.policies.training.calibration.walks import JudgedWalk

Reals = NDArray[np.float64]

HORIZON = 25
"""Passages that a ranking is read to, at most, while that is learned."""
PRICES = (1 / 50, 1.0)
"""What a passage costs, as a share of the evidence: the logarithm is drawn evenly between these."""
STEPS = 300
BATCH = 64
"""Questions of a step."""
SAMPLES = 16
"""Stopping times drawn of each."""
RATE = 0.03
"""Of learning, falling to 0 along half a cosine."""
RIDGE = 0.1
"""Pull of a weight, in standard deviations of its feature, towards 0."""
SURE = 30.0
"""Log-odds of stopping where the ranking ends."""
PATIENCES = (2.0, 3.0, 5.0, 8.0, 12.0, 20.0, 30.0, 50.0)
"""At which a policy is judged."""


@dataclass(frozen=True, slots=True)
class StoppingRows:
    """n walks along which stopping is learned, padded to the same number of steps s."""

    columns: Tensor
    """`(n, s, f)`, the features of each decision, in standard deviations; 0 where there is none."""
    rule: Tensor
    """`(n, s)`, the log of the reservation price by the probabilities alone."""
    recall: Tensor
    """`(n, s)` of the evidence among the passages read so far."""
    last: Tensor
    """`(n, s)`: whether there is nothing more to read."""
    sets: list[Tensor]
    """The rows of each set."""
    mean: Reals
    spread: Reals
    """`(f,)` each, of the features."""


def fit_stopping(
    walks: Sequence[JudgedWalk], scores: ScoreCalibration, *, seed: int
) -> StoppingPolicy:
    """The stopping policy that earns most on walks, as REINFORCE finds it.

    Args:
        walks: Of one or more sets; of questions that can be answered.
        scores: What makes probabilities of them.
        seed: Of what is drawn.

    Raises:
        InputError: There is no such walk over two passages or more.
    """
    rows = _rows(walks, scores)
    generator = torch.Generator().manual_seed(seed)
    weights = torch.zeros(len(PRICE_FEATURES), dtype=torch.float64, requires_grad=True)
    shift = torch.zeros((), dtype=torch.float64, requires_grad=True)
    log_slope = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([weights, shift, log_slope], lr=RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    cost = torch.arange(1, rows.recall.shape[1] + 1, dtype=torch.float64)
    low, high = np.log(PRICES)
    for _ in range(STEPS):
        batch = _drawn(rows.sets, generator)
        log_price = low + (high - low) * torch.rand(
            (len(batch), 1), dtype=torch.float64, generator=generator
        )
        reservation = rows.rule[batch] + rows.columns[batch] @ weights + shift
        odds = log_slope.exp() * (log_price - reservation)
        odds = odds.masked_fill(rows.last[batch], SURE)
        loss = sampled_stopping_loss(
            stopping_log_probs(odds),
            rows.recall[batch] - log_price.exp() * cost,
            samples=SAMPLES,
            generator=generator,
        )
        optimizer.zero_grad()
        (loss + RIDGE * weights.square().sum()).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    raw = weights.detach().numpy() / rows.spread
    return StoppingPolicy(
        {name: _rounded(w) for name, w in zip(PRICE_FEATURES, raw.tolist(), strict=True)},
        _rounded(float(shift.detach()) - float(raw @ rows.mean)),
        _rounded(float(log_slope.detach().exp())),
    )


def reading_gain(
    walks: Sequence[JudgedWalk], scores: ScoreCalibration, stopping: StoppingPolicy
) -> float:
    """How much more of the evidence is read than by a number that is the same for every question.

    Args:
        walks: Of questions that can be answered.
        scores: What makes probabilities of them.
        stopping: What decides.

    Returns:
        The recall less that of a fixed budget of as many passages on average (two of them mixed,
        where that is no whole number), in [-1, 1], the mean over several patiences.

    Raises:
        InputError: There is no such walk.
    """
    answerable = [walk for walk in walks if walk.answerable and walk.evidence]
    if not answerable:
        raise InputError("reading is judged on questions that can be answered, and there is none")
    longest = max(len(walk.needed) for walk in answerable)
    recalls = np.stack([_recalls(walk, longest) for walk in answerable])
    by_budget = recalls.mean(axis=0)
    prices = []
    for walk in answerable:
        probabilities = scores.probabilities(walk.features)
        complete = scores.completeness(walk.features, probabilities)
        prices.append(stopping.prices(probabilities, complete))
    gains = []
    for patience in PATIENCES:
        lengths = np.asarray([int((one * patience >= 1).sum()) for one in prices])
        reached = recalls[np.arange(len(lengths)), lengths - 1].mean()
        fixed = np.interp(lengths.mean(), np.arange(1, longest + 1), by_budget)
        gains.append(float(reached - fixed))
    return float(np.mean(gains))


def _recalls(walk: JudgedWalk, length: int) -> Reals:
    """Of the evidence among the first passage, the first two and so on, `(length,)`."""
    read = np.cumsum(walk.needed)[:length]
    padded = np.concatenate([read, np.full(length - len(read), read[-1])])
    return np.asarray(padded / walk.evidence, dtype=np.float64)


def _rows(walks: Sequence[JudgedWalk], scores: ScoreCalibration) -> StoppingRows:
    """What is learned from, of the walks from which something can be."""
    usable = [walk for walk in walks if walk.answerable and walk.evidence and len(walk.needed) > 1]
    if not usable:
        raise InputError(
            "when to stop is learned from rankings of two passages or more, of questions that can "
            "be answered: there is none"
        )
    steps = min(HORIZON, max(len(walk.needed) for walk in usable))
    columns = np.zeros((len(usable), steps, len(PRICE_FEATURES)))
    rule, last = np.zeros((len(usable), steps)), np.zeros((len(usable), steps), dtype=bool)
    unmoved = StoppingPolicy({}, 0.0, 1.0)
    for row, walk in enumerate(usable):
        probabilities = scores.probabilities(walk.features)
        complete = scores.completeness(walk.features, probabilities)
        decisions = min(steps, len(probabilities)) - 1
        named = price_columns(probabilities, complete)
        for column, name in enumerate(PRICE_FEATURES):
            columns[row, :decisions, column] = named[name][:decisions]
        rule[row, :decisions] = unmoved.log_prices(probabilities, complete)[:decisions]
        last[row, decisions:] = True
    decided = columns[~last]
    mean, spread = decided.mean(axis=0), decided.std(axis=0)
    spread[spread < 1e-9] = 1.0
    standard = np.where(last[..., None], 0.0, (columns - mean) / spread)
    names = list(dict.fromkeys(walk.set for walk in usable))
    return StoppingRows(
        torch.from_numpy(standard),
        torch.from_numpy(rule),
        torch.from_numpy(np.stack([_recalls(walk, steps) for walk in usable])),
        torch.from_numpy(last),
        [torch.tensor([i for i, w in enumerate(usable) if w.set == name]) for name in names],
        mean,
        spread,
    )


def _drawn(sets: Sequence[Tensor], generator: torch.Generator) -> Tensor:
    """Rows of a step, as many of each set."""
    each = max(1, BATCH // len(sets))
    return torch.cat(
        [rows[torch.randint(len(rows), (each,), generator=generator)] for rows in sets]
    )


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")
