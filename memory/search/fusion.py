"""Other ways to make one ranking out of two: by weights, by weights for each query, by ranks.

With z_d and z_s a passage's z-scores by meaning and by words over the whole scope (see `fusion`),
and r_d and r_s its ranks among the first of each side, counted from 1:

    weighted          α z_d + β z_s
    per query         α z_d + (1 - α) z_s,  α = sigmoid(w · f(query) + b)
    reciprocal rank   1 / (c + r_d) + 1 / (c + r_s); a side that does not hold it adds nothing
    min-rank          the better of r_d and r_s; the other decides between equals

The default hybrid search is not among them: it is α = β = 1, and keeps its own code in `fusion`.
Source: reciprocal rank, Cormack et al. 2009, c = 60. What f sees is named in `FEATURES`: scalars
that mean the same whatever the encoder's width and the corpus.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hoptrail.errors import ConfigError, FormatError
from hoptrail.formats.jsonl import write_json
from hoptrail.memory.encoders.transformer import Vectors
from hoptrail.memory.index.slots import DECIMALS, Floats, Scores, Slots
from hoptrail.memory.search.hybrid_search import DEPTH, Mask, both_best, standardised
from hoptrail.memory.views.view import View

FORMAT = "hoptrail-fusion-1"
TOP = 10
"""Hits of each side that a query's features look at."""

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


@dataclass(frozen=True, slots=True)
class Evidence:
    """What both sides say of a query and of the union of their best passages."""

    dense: Floats
    """`(m,)` z-scores by meaning."""
    sparse: Floats
    """`(m,)` z-scores by words."""
    dense_rank: Floats
    """`(m,)` from 1; infinite for what is not among this side's best."""
    sparse_rank: Floats
    features: Floats
    """`(9,)` as named in `FEATURES`."""


class Fusion(Protocol):
    """What makes one score of two; any object that does may be given as `fusion=`."""

    def fuse(self, evidence: Evidence) -> Floats:
        """The fused scores, `(m,)`; higher is better.

        Args:
            evidence: Of a pool of m passages.
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

    def fuse(self, evidence: Evidence) -> Floats:
        """The weighted sum."""
        return self.alpha * evidence.dense + self.beta * evidence.sparse


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

    def alpha(self, evidence: Evidence) -> float:
        """The weight of meaning for this query, in (0, 1).

        Args:
            evidence: Of a pool of m passages.
        """
        scaled = (evidence.features - self.mean) / self.std
        return float(1 / (1 + np.exp(-np.clip(scaled @ self.weights + self.bias, -30, 30))))

    def fuse(self, evidence: Evidence) -> Floats:
        """The sum with this query's weight."""
        alpha = self.alpha(evidence)
        return alpha * evidence.dense + (1 - alpha) * evidence.sparse


@dataclass(frozen=True, slots=True)
class ReciprocalRank:
    """The sum of 1 / (c + rank)."""

    c: float = 60.0

    def __post_init__(self) -> None:
        if not 0 <= self.c < np.inf:
            raise ConfigError(f"c must be at least 0 and finite, got {self.c}")

    def fuse(self, evidence: Evidence) -> Floats:
        """The sum; an infinite rank adds 0."""
        return 1 / (self.c + evidence.dense_rank) + 1 / (self.c + evidence.sparse_rank)


@dataclass(frozen=True, slots=True)
class MinRank:
    """The better of both ranks, as 1 / rank."""

    def fuse(self, evidence: Evidence) -> Floats:
        """1 / the better rank, and a little of 1 / the other, too little to pass a better one."""
        best = np.minimum(evidence.dense_rank, evidence.sparse_rank)
        other = np.maximum(evidence.dense_rank, evidence.sparse_rank)
        # Two ranks up to r differ by more than 1 / (r + 1)^2 in 1 / rank.
        found: Floats = 1 / best + 1 / other / (1 + best) ** 2
        return found


RULES: dict[str, Callable[..., Fusion]] = {
    "weighted": LinearFusion,
    "per-query": QueryAdaptiveFusion,
    "reciprocal-rank": ReciprocalRank,
    "min-rank": MinRank,
}
NAMES = ("reciprocal-rank", "min-rank")
"""Rules that need no settings, and may be given by name."""


def rule_of(given: str | Fusion) -> Fusion:
    """The rule that a name stands for; a rule itself.

    Args:
        given: "reciprocal-rank", "min-rank", or an object with `fuse`.

    Raises:
        ConfigError: There is no such rule.
    """
    if not isinstance(given, str):
        if not callable(getattr(given, "fuse", None)):
            raise ConfigError(
                f"fusion is one of {', '.join(NAMES)}, or a rule with a method fuse, got {given!r}"
            )
        return given
    if given not in NAMES:
        raise ConfigError(
            f"there is no fusion {given!r}: it is one of {', '.join(NAMES)}, or a rule such as "
            "LinearFusion(alpha=0.3, beta=0.7)"
        )
    return RULES[given]()


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
        found = json.loads(Path(path).read_text(encoding="utf-8"))
        if found.pop("format") != FORMAT:
            raise FormatError(f"{path} should have the format {FORMAT!r}")
        kind = RULES[found.pop("rule")]
        return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in found.items()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise FormatError(f"{path} holds no fusion rule: {error}") from error


def search(
    view: View,
    text: str,
    vector: Vectors,
    k: int,
    rule: Fusion,
    *,
    depth: int = DEPTH,
    allowed: Mask | None = None,
) -> tuple[Scores, Slots]:
    """The best `k` slots of the union of both sides' best by a rule: scores and slots, best first.

    Args:
        view: The scope.
        text: The query.
        vector: Its vector, `(d,)` L2-normalised.
        k: How many.
        rule: How two scores become one.
        depth: How many each side brings, if k is not more.
        allowed: `(capacity,)` the slots to look among; all by default.
    """
    with view.lock:
        slots, evidence = gather(view, text, vector, depth=max(depth, k), allowed=allowed)
        scores = np.asarray(rule.fuse(evidence), dtype=np.float64).round(DECIMALS)
        best = view.order(scores, slots)[:k]
        return scores[best].astype(np.float32), slots[best]


def gather(
    view: View, text: str, vector: Vectors, *, depth: int = DEPTH, allowed: Mask | None = None
) -> tuple[Slots, Evidence]:
    """The union of both sides' best `depth` living slots, and what is known of them.

    Args:
        view: The scope.
        text: The query.
        vector: Its vector, `(d,)` L2-normalised.
        depth: How many each side brings.
        allowed: `(capacity,)` the slots to look among; all by default.

    Returns:
        The pool's slots `(m,)`, and the evidence on them.
    """
    with view.lock:
        near, worded = both_best(view, text, vector, depth, allowed)
        slots = np.union1d(near, worded)
        dense, sparse = standardised(view, text, vector, slots)
        ranks = [_ranks(side, slots) for side in (near, worded)]
        features = _features(view, text, {"dense": dense, "sparse": sparse}, ranks)
        return slots, Evidence(dense, sparse, ranks[0], ranks[1], features)


def _ranks(best: Slots, slots: Slots) -> Floats:
    """The ranks of sorted slots `(m,)` in a list of some of them, best first."""
    ranks = np.full(len(slots), np.inf)
    ranks[np.searchsorted(slots, best)] = np.arange(1, len(best) + 1)
    return ranks


def _features(view: View, text: str, scores: Mapping[str, Floats], ranks: list[Floats]) -> Floats:
    terms = view.sparse.terms(text)
    highest = max(np.log1p((view.size + 0.5) / 0.5), 1e-9)  # the idf of what no passage holds
    idfs = np.asarray([view.sparse.idf(term) for term in terms] or [0.0]) / highest
    found: list[float] = [np.log1p(len(terms)), idfs.mean(), idfs.max()]
    found.append(float((idfs > 1 - 1e-9).mean()))
    for side, rank in zip(("dense", "sparse"), ranks, strict=True):
        top = np.sort(scores[side][rank <= TOP])[::-1]
        found += [float(top[0]), float(top[0] - top[-1])] if len(top) else [0.0, 0.0]
    found.append(float(((ranks[0] <= TOP) & (ranks[1] <= TOP)).sum() / TOP))
    features: NDArray[Any] = np.asarray(found, dtype=np.float64)
    return features
