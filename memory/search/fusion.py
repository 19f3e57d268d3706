"""Fusions: the rules by which a dense and a sparse score become one.

With z_d and z_s a passage's z-scores by meaning and by words over the whole scope (see
`hybrid_search`), and r_d and r_s its ranks among the first of each side, counted from 1:

    weighted          α z_d + β z_s
    per query         α z_d + (1 - α) z_s,  α = sigmoid(w · f(query) + b)
    reciprocal rank   1 / (c + r_d) + 1 / (c + r_s); a side that does not hold it adds nothing
    min-rank          the better of r_d and r_s; the other decides between equals

The default is the first with α = β = 1.
Source: reciprocal rank, Cormack et al. 2009, c = 60. What f sees is named in `FEATURES`: scalars
that mean the same whatever the encoder's width and the corpus.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hoptrail.errors import ConfigError, FormatError
from hoptrail.formats.jsonl import write_json
from hoptrail.memory.index.slots import DECIMALS, Floats

FORMAT = "hoptrail-fusion-1"
FEATURES = (
    "terms",
    "idf_mean",
    "idf_max",
    "unknown",
    "dense_best",
    "dense_fall",
    "sparse_best",
    "sparse_fall",
    "shared",
)
"""Of a query: the log of its number of terms; their mean and greatest idf as a share of the scope's
highest; the share of terms that no passage holds; each side's best z-score, and how far it falls
to the tenth; the share of the first ten that both sides have."""


class FusionInputs:
    """What both sides say of a query and of m passages, of which a fusion makes one score each.

    Args:
        dense: `(m,)` z-scores by meaning.
        sparse: `(m,)` z-scores by words.
        dense_rank: `(m,)` from 1; infinite for what is not among this side's best.
        sparse_rank: Likewise by words.
        features: Gives the query's features, `(9,)` as named in `FEATURES`.
    """

    def __init__(
        self,
        dense: Floats,
        sparse: Floats,
        dense_rank: Floats,
        sparse_rank: Floats,
        features: Callable[[], Floats],
    ) -> None:
        self.dense, self.sparse = dense, sparse
        self.dense_rank, self.sparse_rank = dense_rank, sparse_rank
        self._make_features = features

    @cached_property
    def features(self) -> Floats:
        """Of the query, `(9,)` as named in `FEATURES`; worked out when a rule first looks."""
        return self._make_features()


class Fusion(Protocol):
    """What makes one score of two; any object that does may be given as `fusion=`."""

    def fuse(self, inputs: FusionInputs) -> Floats:
        """The fused scores, `(m,)`; higher is better.

        Args:
            inputs: Of m passages.
        """


@dataclass(frozen=True, slots=True)
class LinearFusion:
    """α z_d + β z_s."""

    alpha: float = 1.0
    """Weight of meaning; 0 leaves words alone."""
    beta: float = 1.0
    """Weight of words; 0 leaves meaning alone."""

    def __post_init__(self) -> None:
        if not (0 <= self.alpha < np.inf and 0 <= self.beta < np.inf and self.alpha + self.beta):
            raise ConfigError(
                f"alpha and beta must be at least 0 and not both 0, got {self.alpha}, {self.beta}"
            )

    def fuse(self, inputs: FusionInputs) -> Floats:
        """The weighted sum."""
        return self.alpha * inputs.dense + self.beta * inputs.sparse


@dataclass(frozen=True, slots=True)
class QueryAdaptiveFusion:
    """α z_d + (1 - α) z_s, with α predicted from the query's own features."""

    weights: tuple[float, ...]
    """Of each feature, standardised."""
    bias: float
    mean: tuple[float, ...]
    """What is taken off a feature."""
    std: tuple[float, ...]
    """What it is then divided by."""

    def __post_init__(self) -> None:
        if not len(self.weights) == len(self.mean) == len(self.std) == len(FEATURES):
            raise ConfigError(f"weights, mean and std must have {len(FEATURES)} values each")
        if not all(value > 0 for value in self.std):
            raise ConfigError("every std must be above 0")
        if not np.isfinite([*self.weights, *self.mean, *self.std, self.bias]).all():
            raise ConfigError("weights, mean, std and bias must be finite")

    def alpha(self, inputs: FusionInputs) -> float:
        """The weight of meaning for this query, in (0, 1).

        Args:
            inputs: Of m passages.
        """
        scaled = (inputs.features - self.mean) / self.std
        return float(1 / (1 + np.exp(-np.clip(scaled @ self.weights + self.bias, -30, 30))))

    def fuse(self, inputs: FusionInputs) -> Floats:
        """The sum with this query's weight."""
        alpha = self.alpha(inputs)
        return alpha * inputs.dense + (1 - alpha) * inputs.sparse


@dataclass(frozen=True, slots=True)
class ReciprocalRank:
    """The sum of 1 / (c + rank)."""

    c: float = 60.0

    def __post_init__(self) -> None:
        if not 0 <= self.c < np.inf:
            raise ConfigError(f"c must be at least 0 and finite, got {self.c}")

    def fuse(self, inputs: FusionInputs) -> Floats:
        """The sum; an infinite rank adds 0."""
        return 1 / (self.c + inputs.dense_rank) + 1 / (self.c + inputs.sparse_rank)


@dataclass(frozen=True, slots=True)
class MinRank:
    """The better of both ranks, as 1 / rank."""

    def fuse(self, inputs: FusionInputs) -> Floats:
        """1 / the better rank, and a little of 1 / the other, too little to pass a better one."""
        best = np.minimum(inputs.dense_rank, inputs.sparse_rank)
        other = np.maximum(inputs.dense_rank, inputs.sparse_rank)
        # Two ranks up to r differ by more than 1 / (r + 1)^2 in 1 / rank.
        scores: Floats = 1 / best + 1 / other / (1 + best) ** 2
        return scores


RULES: dict[str, Callable[..., Fusion]] = {
    "weighted": LinearFusion,
    "per-query": QueryAdaptiveFusion,
    "reciprocal-rank": ReciprocalRank,
    "min-rank": MinRank,
}
SUM = LinearFusion()
"""The default: the sum of both z-scores."""
NAMES = ("reciprocal-rank", "min-rank")
"""Rules that need no settings, and may be given by name."""


def rule_of(fusion: str | Fusion | None) -> Fusion:
    """The rule that a name stands for; a rule itself; of None, the default.

    Args:
        fusion: "reciprocal-rank", "min-rank", an object with `fuse`, or None.

    Raises:
        ConfigError: There is no such rule.
    """
    if fusion is None:
        return SUM
    if not isinstance(fusion, str):
        if not callable(getattr(fusion, "fuse", None)):
            raise ConfigError(
                f"fusion is one of {', '.join(NAMES)}, or a rule with a method fuse, got {fusion!r}"
            )
        return fusion
    if fusion not in NAMES:
        raise ConfigError(
            f"there is no fusion {fusion!r}: it is one of {', '.join(NAMES)}, or a rule such as "
            "LinearFusion(alpha=0.3, beta=0.7)"
        )
    return RULES[fusion]()


def fused_scores(rule: Fusion, inputs: FusionInputs) -> NDArray[np.float64]:
    """The scores by which m passages are ranked, `(m,)`, rounded so that equals are equal.

    Args:
        rule: How two scores become one.
        inputs: Of m passages.
    """
    return np.asarray(rule.fuse(inputs), dtype=np.float64).round(DECIMALS)


def save_rule(rule: Fusion, path: str | Path) -> None:
    """Write one of the rules above to a JSON file.

    Args:
        rule: One of this module's.
        path: The file; one that is there is replaced.

    Raises:
        ConfigError: It is a fusion of somebody else's.
        FormatError: The file cannot be written.
    """
    for name, kind in RULES.items():
        if type(rule) is kind and isinstance(
            rule, LinearFusion | QueryAdaptiveFusion | ReciprocalRank | MinRank
        ):
            write_json(path, {"format": FORMAT, "rule": name, **asdict(rule)})
            return
    raise ConfigError(f"only {', '.join(RULES)} can be saved, got {rule!r}")


def load_rule(path: str | Path) -> Fusion:
    """The rule that `save_rule` wrote.

    Args:
        path: The file.

    Raises:
        FormatError: The file holds none.
    """
    try:
        record = json.loads(Path(path).read_text(encoding="utf-8"))
        if record.pop("format") != FORMAT:
            raise FormatError(f"{path} should have the format {FORMAT!r}")
        kind = RULES[record.pop("rule")]
        return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in record.items()})
    except (
        ConfigError,
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        RecursionError,
    ) as error:
        raise FormatError(f"{path} holds no fusion rule: {error}") from error
