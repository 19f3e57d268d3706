"""Learning a ranking from feedback: a logistic regression that expects some of it to be wrong.

Each judged recall is walked again as the policy is now, and what was said of a passage is set
beside its features in that ranking (`hoptrail.policies.networks.feedback_ranking`). With z the
features in standard deviations over what was judged,

    o         = w · z + b
    P(useful) = e + (1 - 2e) σ(o)
    loss      = mean cross-entropy + ridge · |w - w⁰|²

so that a share e of the judgements is taken as wrong, either way: class-conditional label noise
(Natarajan et al. 2013, "Learning with noisy labels"), symmetric, with e learned along with w and b.
A plain logistic regression (e = 0) explains wrong judgements by smaller weights. w⁰ is 1 for the
log score and 0 for all else: what feedback does not speak of stays in the order that it has.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from hoptrail.errors import ConfigError, InputError
from hoptrail.memory.feedback import Feedback
from hoptrail.memory.filters import Filter
from hoptrail.policies.data.judged_questions import USEFUL
from hoptrail.policies.feedback.store_walkers import StoreWalkers
from hoptrail.policies.networks.feedback_ranking import (
    DEPTH,
    LOG_SCORE,
    RANKING_FEATURES,
    FeedbackRanking,
)
from hoptrail.policies.networks.score_calibration import LogisticModel
from hoptrail.policies.policy import Policy
from hoptrail.values.numbers import finite, shown

Reals = NDArray[np.float64]

RANKED = 50
"""Passages of a ranking that can be learned from: what was judged and is not among them is not."""
FEWEST = 10
"""Judged passages that were useful, and as many that were not, which a ranking is learned from."""
START_NOISE = 0.08
"""The share of wrong judgements that the fit starts with."""


@dataclass(frozen=True, slots=True)
class RankingConfig:
    """The settings of learning a ranking from feedback."""

    ridge: float = 0.01
    """Pull of the weights, in standard deviations of their features, towards the ranking as it is;
    chosen on LoCoMo."""
    most_noise: float = 0.45
    """The largest share of judgements that may be taken as wrong; 0 for none."""

    def __post_init__(self) -> None:
        ridge, noise = finite(self.ridge), finite(self.most_noise)
        if ridge is None or ridge < 0:
            raise ConfigError(f"ridge must be a number from 0 on, got {shown(self.ridge)}")
        if noise is None or not 0 <= noise < 0.5:
            raise ConfigError(f"most_noise must lie in [0, 0.5), got {shown(self.most_noise)}")


@dataclass(frozen=True, slots=True)
class RankedRecall:
    """A judged recall, and how its question is ranked now, without a ranking from feedback."""

    feedback: Feedback
    rows: tuple[int, ...]
    """Rowids, best first, at most `RANKED`; none where the walk is one over relations."""
    columns: Mapping[str, Reals]
    """Of these, by the names of `RANKING_FEATURES`, `(n,)`."""

    def order(self, ranking: FeedbackRanking | None = None) -> tuple[int, ...]:
        """Its rowids as they are ranked, by a ranking from feedback where one is given.

        Args:
            ranking: Orders the first of them anew.
        """
        first = {name: values[:DEPTH] for name, values in self.columns.items()}
        if ranking is None or not self.rows:
            return self.rows
        return (*(self.rows[place] for place in ranking.order(first)), *self.rows[DEPTH:])


@dataclass(frozen=True, slots=True)
class JudgedPassages:
    """Passages that were judged one by one, as they are ranked now."""

    columns: Mapping[str, Reals]
    """`(n,)` by the names of `RANKING_FEATURES`."""
    useful: NDArray[np.bool_]
    """`(n,)`."""
    recalls: int
    """How many recalls they are of."""
    left_out: int
    """Judged passages that are gone from the scope, or not among the first `RANKED` now."""


def rank_again(
    walkers: StoreWalkers,
    feedback: Sequence[Feedback],
    *,
    progress: Callable[[int, int], None] | None = None,
) -> list[RankedRecall]:
    """Each judged recall as its question is ranked now, at its effort, in its scope and filter.

    Args:
        walkers: Of the store whose recalls were judged, with the policy that is to learn. A
            ranking that it learned before has no part.
        feedback: On the recalls.
        progress: Called with (done, total).
    """
    ranked = []
    for done, one in enumerate(feedback, start=1):
        recall = one.recall
        walker = walkers.of(recall.namespace, recall.effort)
        view = walker.scope.view
        allowed = view.allowed(Filter.parse_optional(recall.filter))
        described = walker.describe_ranking(recall.question, RANKED, allowed=allowed)
        if described is None:
            ranked.append(RankedRecall(one, (), {}))
        else:
            rows = tuple(int(view.rowids[slot]) for slot in described[0].tolist())
            ranked.append(RankedRecall(one, rows, described[1]))
        if progress:
            progress(done, len(feedback))
    return ranked


def judged_passages(ranked: Sequence[RankedRecall]) -> JudgedPassages:
    """What was said of passages one by one, beside their features in the ranking of today.

    Args:
        ranked: All recalls that are learned from together.
    """
    columns: dict[str, list[Reals]] = {name: [np.zeros(0)] for name in RANKING_FEATURES}
    useful: list[bool] = []
    recalls = left_out = 0
    for one in ranked:
        place = {row: i for i, row in enumerate(one.rows)}
        rewards = one.feedback.passages
        judged = {place[row]: reward for row, reward in rewards.items() if row in place}
        left_out += len(rewards) - len(judged)
        recalls += bool(judged)
        for name, values in one.columns.items():
            columns[name].append(values[list(judged)])
        useful += [reward >= USEFUL for reward in judged.values()]
    return JudgedPassages(
        {name: np.concatenate(values) for name, values in columns.items()},
        np.asarray(useful, dtype=np.bool_),
        recalls,
        left_out,
    )


def fit_ranking(judged: JudgedPassages, config: RankingConfig | None = None) -> FeedbackRanking:
    """The ranking that feedback speaks for.

    Args:
        judged: Passages with what was said of them.
        config: The settings.

    Raises:
        InputError: There is too little to learn from.
    """
    config = config or RankingConfig()
    _check_enough(judged)
    x = np.stack([judged.columns[name] for name in RANKING_FEATURES], axis=1)
    mean, spread = x.mean(0), x.std(0)
    spread[spread < 1e-9] = np.inf  # what never varied is not looked at
    z, useful = (x - mean) / spread, judged.useful.astype(np.float64)
    as_it_is = np.asarray([float(name == LOG_SCORE) for name in RANKING_FEATURES])

    def loss(parameters: Reals) -> tuple[float, Reals]:
        weights, intercept, noise = parameters[:-2], parameters[-2], parameters[-1]
        sure = 1 / (1 + np.exp(-(z @ weights + intercept)))
        stated = np.clip(noise + (1 - 2 * noise) * sure, 1e-9, 1 - 1e-9)
        slope = (stated - useful) / (stated * (1 - stated)) / len(useful)
        of_odds = slope * (1 - 2 * noise) * sure * (1 - sure)
        off = weights - as_it_is
        entropy = -np.mean(useful * np.log(stated) + (1 - useful) * np.log(1 - stated))
        gradient = [*(z.T @ of_odds + 2 * config.ridge * off), of_odds.sum()]
        return float(entropy + config.ridge * (off @ off)), np.asarray(
            [*gradient, float(slope @ (1 - 2 * sure))]
        )

    share = useful.mean()
    start = np.asarray(
        [*as_it_is, np.log(share / (1 - share)), min(START_NOISE, config.most_noise)]
    )
    bounds = [(None, None)] * (len(as_it_is) + 1) + [(0.0, config.most_noise)]
    best = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x
    raw = best[:-2] / spread
    weights = {
        name: float(f"{w:.6g}") for name, w in zip(RANKING_FEATURES, raw.tolist(), strict=True)
    }
    return FeedbackRanking(
        LogisticModel(weights, float(f"{best[-2] - raw @ mean:.6g}")),
        float(f"{best[-1]:.4g}"),
        {
            "recalls": judged.recalls,
            "judged": len(useful),
            "useful": int(useful.sum()),
            "left out": judged.left_out,
        },
    )


def learn_ranking(
    policy: Policy, ranked: Sequence[RankedRecall], config: RankingConfig | None = None
) -> Policy:
    """A copy of the policy with a ranking learned from feedback, in place of any that it has.

    Args:
        policy: Where it starts; it stays as it is.
        ranked: All feedback that is learned from, as `rank_again` gives it with this policy.
        config: The settings.

    Raises:
        InputError: There is too little to learn from.
    """
    learned = copy.deepcopy(policy)
    learned.feedback_ranking = fit_ranking(judged_passages(ranked), config)
    return learned


def _check_enough(judged: JudgedPassages) -> None:
    useful = int(judged.useful.sum())
    useless = len(judged.useful) - useful
    if min(useful, useless) >= FEWEST:
        return
    if not len(judged.useful):
        raise InputError(
            "there is no ranking to learn: no feedback is on a passage that the policy ranks now "
            f"among its first {RANKED}, and a ranking learns from passages judged one by one, not "
            "from recalls judged as a whole"
        )
    raise InputError(
        f"there is no ranking to learn: of the passages that were judged {useful} were useful and "
        f"{useless} were not, and it takes {FEWEST} of each"
    )
