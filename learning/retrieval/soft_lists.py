"""Approximate search that a gradient passes through: soft lists, softly probed.

An inverted file (IVF) assigns every passage to the nearest of L centroids and looks only at the
lists of the `probes` centroids nearest to the query. Both choices are made soft:

    A_ic = softmax_c(cos(v_i, μ_c) / τ)                        passage i lies in list c
    g_c  = shares of the `probes` best of cos(q, μ_c)          query q looks at list c
    w_i  = sum_c A_ic g_c in [0, 1]                            q sees passage i
    p̃_i  ∝ w_i exp(s_i)

against p_i ∝ exp(s_i) of exact search. Towards τ = 0, w is 0 or 1 and p̃ is what the inverted file
returns. With w given, what is missed is Δ = 1 - sum_i w_i p_i, and the two distributions differ by

    ½ sum_i |p̃_i - p_i| <= Δ

since p̃ = w p / (1 - Δ), and what w takes away from p sums to Δ. Fitting the centroids to questions
is minimising -log(1 - Δ), which is KL(p̃ ‖ p) where w is 0 or 1, and at least that elsewhere.

Source: IVF, Sivic & Zisserman 2003, Jégou et al. 2011; learning the partition from queries, Dong et
al. 2020 (1901.08544), who learn it offline from a graph of neighbours, where we learn centroids by
the gradient of what search misses. The shares are those of
`hoptrail.learning.estimators.implicit`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from hoptrail.errors import InputError
from hoptrail.learning.estimators.implicit import implicit_top_k
from hoptrail.learning.losses import require_temperature
from hoptrail.learning.masked import masked_log_softmax
from hoptrail.values.numbers import whole

LLOYD = 20
"""Rounds of k-means, at most."""
UNSEEN = 1e-9
"""The least that a passage is seen: keeps logarithms finite."""


@dataclass(frozen=True, slots=True)
class ProbeError:
    """How far soft or hard probing is from exact search, means over queries."""

    missed: float
    """Δ: the share of exact search's probability that is not seen, in [0, 1]."""
    variation: float
    """Total variation between the two distributions, in [0, missed]."""
    recall: float
    """Of exact search's k best, the share that hard probing finds."""
    looked_at: float
    """Passages that hard probing looks at, of all."""


class SoftLists(nn.Module):
    """A partition of vectors into lists, whose centroids are parameters.

    Args:
        vectors: `(n, d)`, L2-normalised.
        lists: L, from 1 to n.
        probes: Lists that a query looks at, from 1 to L.
        temperature: τ of both assignments, above 0.
        seed: Of k-means, which gives the first centroids.

    Attributes:
        centroids: `(L, d)`, a parameter; only their directions count.

    Raises:
        InputError: A number is out of range.
    """

    def __init__(
        self,
        vectors: Tensor,
        lists: int,
        probes: int,
        *,
        temperature: float = 0.02,
        seed: int = 0,
    ) -> None:
        super().__init__()
        whole(lists, "lists", least=1)
        whole(probes, "probes", least=1)
        if not probes <= lists <= len(vectors):
            raise InputError(
                f"probes should be at most lists and these at most the {len(vectors)} vectors, "
                f"got {probes} and {lists}"
            )
        require_temperature(temperature)
        self.probes, self.temperature = probes, temperature
        self.centroids = nn.Parameter(spherical_means(vectors, lists, seed=seed))

    def forward(self, queries: Tensor, vectors: Tensor) -> Tensor:
        """How far each query sees each passage: w, `(b, n)` in [0, 1], differentiable.

        Args:
            queries: `(b, d)`, L2-normalised.
            vectors: `(n, d)`, L2-normalised.
        """
        means = functional.normalize(self.centroids, dim=-1)
        lies_in = torch.softmax(vectors @ means.T / self.temperature, dim=-1)  # (n, L)
        gates = implicit_top_k(queries @ means.T, self.probes, temperature=self.temperature)
        return gates @ lies_in.T

    def seen(self, queries: Tensor, vectors: Tensor) -> Tensor:
        """What the inverted file looks at: the limit of `forward` at τ = 0, bool `(b, n)`.

        Args:
            queries: `(b, d)`, L2-normalised.
            vectors: `(n, d)`, L2-normalised.
        """
        with torch.no_grad():
            means = functional.normalize(self.centroids, dim=-1)
            list_of = (vectors @ means.T).argmax(-1)  # (n,)
            probed = (queries @ means.T).topk(self.probes, dim=-1).indices  # (b, probes)
            return (probed[:, :, None] == list_of).any(1)

    def missed_loss(self, queries: Tensor, vectors: Tensor, logits: Tensor) -> Tensor:
        """-log(1 - Δ), the mean over queries: what fitting the centroids makes small.

        Args:
            queries: `(b, d)`, L2-normalised.
            vectors: `(n, d)`, L2-normalised.
            logits: s, of exact search, `(b, n)`.
        """
        weights = self(queries, vectors).clamp_min(UNSEEN)
        return -torch.logsumexp(masked_log_softmax(logits) + weights.log(), dim=-1).mean()


def soft_probe_log_probs(logits: Tensor, weights: Tensor) -> Tensor:
    """The log of p̃, `(b, n)`: exact search's softmax, of what is seen.

    Args:
        logits: s, `(b, n)`.
        weights: w, `(b, n)` in [0, 1]; 0 is not seen.

    Raises:
        InputError: A query sees nothing.
    """
    return masked_log_softmax(logits + weights.log())


@torch.no_grad()
def probe_error(
    lists: SoftLists, queries: Tensor, vectors: Tensor, logits: Tensor, *, k: int = 10
) -> ProbeError:
    """How far a partition's probing is from exact search.

    Args:
        lists: The partition.
        queries: `(b, d)`, L2-normalised.
        vectors: `(n, d)`, L2-normalised.
        logits: s, `(b, n)`.
        k: How deep recall looks.
    """
    exact = masked_log_softmax(logits).exp()
    weights = lists(queries, vectors)
    soft = soft_probe_log_probs(logits, weights).exp()
    seen = lists.seen(queries, vectors)
    best = logits.topk(k, dim=-1).indices
    return ProbeError(
        missed=float((1 - (weights * exact).sum(-1)).mean()),
        variation=float((soft - exact).abs().sum(-1).mean() / 2),
        recall=float(seen.gather(1, best).double().mean()),
        looked_at=float(seen.double().mean()),
    )


@torch.no_grad()
def spherical_means(vectors: Tensor, lists: int, *, seed: int = 0) -> Tensor:
    """Centroids of k-means by cosine, `(lists, d)`, L2-normalised.

    A list that runs empty is begun anew at the vector that its own centroid fits worst.

    Args:
        vectors: `(n, d)`, L2-normalised.
        lists: How many, from 1 to n.
        seed: Draws the first centroids.
    """
    generator = torch.Generator().manual_seed(seed)
    means = vectors[torch.randperm(len(vectors), generator=generator)[:lists]].clone()
    before = None
    for _ in range(LLOYD):
        fit, list_of = (vectors @ means.T).max(-1)
        if before is not None and bool((list_of == before).all()):
            break
        before = list_of
        sums = torch.zeros_like(means).index_add_(0, list_of, vectors)
        empty = torch.bincount(list_of, minlength=lists) == 0
        sums[empty] = vectors[fit.topk(int(empty.sum()), largest=False).indices]
        means = functional.normalize(sums, dim=-1)
    return means
