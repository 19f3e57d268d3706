"""Retrieval as an operator: R(q) = sum_i p_i(q) v_i over the passages of a memory.

With s_i the score of passage i, a sum of what dense and lexical search say of it,

    s_i  = α cos(q, v_i) + β bm25_i(q) / max_j bm25_j(q)
    p_i  = exp(s_i / τ) / sum_j exp(s_j / τ)
    R(q) = sum_i p_i v_i

α, β and τ are parameters. Gradients reach them, the query vectors and what made them, and, where
wanted, the passage vectors or a network that encodes passages.

Over k candidates, which the memory's own indexes propose, the rest of the mass is left out and
bounded (`hoptrail.learning.retrieval.mass`). No passage outside of the k nearest is nearer than the
last of them, nor does one outside of the k best by words score more by words: this bounds every
score that is left out, as long as the index is exact. Of what an approximate index missed nothing
is known but that no cosine is above 1, and the bound says so.

Source: attention over a memory, Sukhbaatar et al. 2015 (1503.08895); the retriever of a language
model, Guu et al. 2020 (2002.08909).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from hoptrail.errors import EncoderMismatch, InputError
from hoptrail.learning.losses import require_temperature
from hoptrail.learning.masked import masked_log_softmax, masked_logsumexp
from hoptrail.learning.retrieval.mass import log_mass_bound, log_mass_bound_of_moments, share_bound
from hoptrail.learning.retrieval.selection import Selection, selection_weights
from hoptrail.memory.storage.namespaces import ScopeLike
from hoptrail.memory.store import Store
from hoptrail.memory.views.view import View
from hoptrail.types import Passage
from hoptrail.values.numbers import whole

PassageEncoder = Callable[[Sequence[str]], Tensor]
"""Vectors `(n, d)` of n contents, with gradients to what makes them."""

ROUNDING = 1e-4
"""What is added to bounds for what sums in single precision are off."""


@dataclass(frozen=True, slots=True, eq=False)
class SoftRead:
    """What a soft read of a memory gives for b queries, over m candidates that they share."""

    slots: NDArray[np.int64]
    """The candidates' slots in the view, `(m,)`."""
    mask: Tensor
    """Which of them are candidates of which query, bool `(b, m)`."""
    logits: Tensor
    """s_i / τ, `(b, m)`, differentiable; -inf where one is no candidate."""
    log_probs: Tensor
    """log p_i among the candidates, `(b, m)`, differentiable."""
    weights: Tensor
    """What the selection takes of each, `(b, m)`, of sum 1, differentiable."""
    vectors: Tensor
    """The candidates' vectors, `(m, d)`."""
    output: Tensor
    """R(q), `(b, d)`, differentiable."""
    rest: Tensor
    """The share of p that other passages have, at most, `(b,)` in [0, 1], detached."""
    view: View
    """What was read."""

    def passages(self) -> list[Passage]:
        """The candidates, m of them, in the order of the slots."""
        return self.view.passages(self.slots)


class RetrievalOperator(nn.Module):
    """A soft read of the passages of a store's scope, as they are at each call.

    Args:
        store: Holds the passages and their vectors; `memory.store` of a `Memory`.
        namespace: The scope.
        k: How many candidates dense search proposes, and lexical search as many where β is not 0;
            None reads all passages.
        selection: What becomes of the scores; see `hoptrail.learning.retrieval.selection`.
        chosen: How many candidates a selection that takes a number takes, at most k.
        temperature: τ to begin with, above 0.
        dense_weight: α to begin with.
        lexical_weight: β to begin with; where it is not 0, queries need their texts.
        train_vectors: Give every passage that is there now a change of its vector that can be
            trained. Those that are written later have none.
        passage_encoder: Encodes the candidates anew at each call, in place of the stored vectors.
            Candidates are proposed, and the rest is bounded, by the stored ones.

    Attributes:
        log_temperature: log τ, a parameter.
        dense_weight: α, a parameter.
        lexical_weight: β, a parameter.
        changes: Of the passages' vectors, `(n, d)`; None unless they are trained.

    Raises:
        InputError: A number is out of range, or the scope is empty and its vectors are to be
            trained.

    Examples:
        >>> import torch
        >>> from tempfile import TemporaryDirectory
        >>> from hoptrail import Memory
        >>> from hoptrail.memory.testing.hash_encoder import HashEncoder
        >>> folder = TemporaryDirectory()
        >>> memory = Memory(f"{folder.name}/agent.db", encoder=HashEncoder())
        >>> ids = memory.add(["Ada was taught by Mary.", "Jedburgh is a town."])
        >>> read = RetrievalOperator(memory.store, temperature=0.1)
        >>> query = torch.tensor(HashEncoder().encode(["Who taught Ada?"]), requires_grad=True)
        >>> result = read(query)
        >>> result.output.shape, result.passages()[int(result.weights.argmax())].text
        (torch.Size([1, 32]), 'Ada was taught by Mary.')
        >>> result.output.sum().backward()
        >>> query.grad.shape
        torch.Size([1, 32])
        >>> memory.close(); folder.cleanup()
    """

    def __init__(
        self,
        store: Store,
        namespace: ScopeLike = (),
        *,
        k: int | None = None,
        selection: Selection = "softmax",
        chosen: int | None = None,
        temperature: float = 0.05,
        dense_weight: float = 1.0,
        lexical_weight: float = 0.0,
        train_vectors: bool = False,
        passage_encoder: PassageEncoder | None = None,
    ) -> None:
        super().__init__()
        require_temperature(temperature)
        if k is not None:
            whole(k, "k", least=1)
        if train_vectors and passage_encoder is not None:
            raise InputError("either the passages' vectors are trained or what encodes them")
        self._store, self._namespace = store, namespace
        self._k, self._selection, self._chosen = k, selection, chosen
        self._passage_encoder = passage_encoder
        self._encoder = store.encoder
        self.log_temperature = nn.Parameter(torch.tensor(math.log(temperature)))
        self.dense_weight = nn.Parameter(torch.tensor(float(dense_weight)))
        self.lexical_weight = nn.Parameter(torch.tensor(float(lexical_weight)))
        self._lexical = lexical_weight != 0
        # A weight that no score has would be a parameter without a gradient.
        self.lexical_weight.requires_grad_(self._lexical)
        self.changes: nn.Parameter | None = None
        self._row_of: dict[int, int] = {}
        if train_vectors:
            view = self.view()
            rowids = view.rowids[view.alive].tolist()
            if not rowids:
                raise InputError("there is no passage whose vector could be trained")
            self._row_of = {rowid: row for row, rowid in enumerate(rowids)}
            self.changes = nn.Parameter(torch.zeros(len(rowids), view.dense.dim))

    def extra_repr(self) -> str:
        """Its settings, for `repr`."""
        return f"{self._store!r}, k={self._k}, selection={self._selection!r}"

    @property
    def temperature(self) -> Tensor:
        """τ."""
        return self.log_temperature.exp()

    def view(self) -> View:
        """The scope as it is now.

        Raises:
            EncoderMismatch: The store has another encoder than when the operator was made.
        """
        if self._store.encoder is not self._encoder:
            raise EncoderMismatch(
                f"{self._store.name} has another encoder now: make the operator anew"
            )
        return self._store.view(self._namespace)

    def forward(
        self,
        queries: Tensor,
        texts: Sequence[str] | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> SoftRead:
        """Read the memory.

        Args:
            queries: `(b, d)`, of any length: only their direction counts.
            texts: The b queries as they were put, for lexical search; needed where β is not 0.
            generator: Draws the noise of the selection "gumbel".

        Raises:
            InputError: The scope is empty, a width is another, or texts are missing.
            EncoderMismatch: The store has another encoder than when the operator was made.
        """
        view = self.view()
        self._check(view, queries, texts)
        queries = functional.normalize(queries, dim=-1)
        slots, mask, last = self._candidates(view, queries, texts)
        vectors = self._vectors(view, slots, queries)
        scores = self.dense_weight * self._dense(view, slots, vectors, queries)
        if self._lexical and texts is not None:
            scores = scores + self.lexical_weight * _lexical(view, texts, slots).to(scores)
        logits = (scores / self.temperature).masked_fill(~mask, -math.inf)
        weights = selection_weights(
            logits, self._selection, k=self._chosen, mask=mask, generator=generator
        )
        return SoftRead(
            slots=slots,
            mask=mask,
            logits=logits,
            log_probs=masked_log_softmax(logits, mask),
            weights=weights,
            vectors=vectors,
            output=weights @ vectors,
            rest=self._rest(view, queries.detach(), texts, logits.detach(), last),
            view=view,
        )

    def _check(self, view: View, queries: Tensor, texts: Sequence[str] | None) -> None:
        if not view.size:
            raise InputError(f"there is nothing to read: {view!r} is empty")
        if queries.dim() != 2 or queries.shape[1] != view.dense.dim:
            raise InputError(
                f"queries should have shape (b, {view.dense.dim}), got {tuple(queries.shape)}"
            )
        if self._lexical and (texts is None or len(texts) != len(queries)):
            raise InputError(
                f"{len(queries)} queries need their texts for lexical search, got "
                f"{'none' if texts is None else len(texts)}"
            )

    def _candidates(
        self, view: View, queries: Tensor, texts: Sequence[str] | None
    ) -> tuple[NDArray[np.int64], Tensor, Tensor]:
        """What is proposed: slots, whose they are, and the cosine of each query's last.

        Slots are `(m,)`, those of all queries together; the others are `(b, m)` and `(b,)`.
        """
        if self._k is None:
            slots = np.flatnonzero(view.alive)
            mask = torch.ones(len(queries), len(slots), dtype=torch.bool, device=queries.device)
            return slots, mask, queries.new_zeros(len(queries))
        scores, nearest = view.dense.search(_array(queries), self._k)
        proposals = list(nearest)
        if self._lexical and texts is not None:
            proposals = [
                np.union1d(near, view.sparse.search(text, self._k)[1])
                for near, text in zip(nearest, texts, strict=True)
            ]
        slots = np.unique(np.concatenate(proposals))
        whose = np.stack([np.isin(slots, each) for each in proposals])
        last = torch.tensor(scores[:, -1]).to(queries)
        return slots, torch.tensor(whose, device=queries.device), last

    def _vectors(self, view: View, slots: NDArray[np.int64], like: Tensor) -> Tensor:
        """The vectors `(m, d)` of slots: the stored ones, changed ones, or newly encoded ones."""
        if self._passage_encoder is not None:
            contents = [passage.content for passage in view.passages(slots)]
            return functional.normalize(self._passage_encoder(contents), dim=-1)
        vectors = torch.tensor(view.dense.vectors(slots)).to(like)
        if self.changes is None:
            return vectors
        rows = [self._row_of.get(int(rowid), -1) for rowid in view.rowids[slots]]
        none = self.changes.new_zeros(1, self.changes.shape[1])
        return functional.normalize(vectors + torch.cat([self.changes, none])[rows], dim=-1)

    def _dense(
        self, view: View, slots: NDArray[np.int64], vectors: Tensor, queries: Tensor
    ) -> Tensor:
        """The cosines `(b, m)`; a long passage's is that of its best window, as in a search."""
        scores = queries @ vectors.T
        windows, owners = view.dense.windows()
        inside = np.isin(owners, slots)
        if self._passage_encoder is not None or not inside.any():
            return scores
        columns = torch.tensor(np.searchsorted(slots, owners[inside]), device=queries.device)
        of_windows = queries @ torch.tensor(windows[inside]).to(queries).T
        return scores.scatter_reduce(1, columns.expand(len(queries), -1), of_windows, "amax")

    def _rest(
        self,
        view: View,
        queries: Tensor,
        texts: Sequence[str] | None,
        logits: Tensor,
        last: Tensor,
    ) -> Tensor:
        """The share that passages outside of the candidates have at most, `(b,)`."""
        left = (view.size - (logits != -math.inf).sum(-1)).to(logits)
        if self._k is None or not bool(left.any()):
            return torch.zeros_like(left)
        alpha, beta, tau = (
            each.detach() for each in (self.dense_weight, self.lexical_weight, self.temperature)
        )
        cosine = last if view.dense.approximate is None else torch.ones_like(last)
        words = torch.zeros_like(last)
        if self._lexical and texts is not None:
            words = _last_words(view, texts, self._k).to(last)
        # A negative weight makes the worst match the best: no cosine is below -1.
        nearest = torch.where(alpha >= 0, alpha * cosine, -alpha)
        ceiling = (nearest + beta.clamp_min(0.0) * words) / tau + ROUNDING
        log_rest = log_mass_bound(left, ceiling)
        as_stored = self.changes is None and self._passage_encoder is None
        if as_stored and not self._lexical and not len(view.dense.windows()[1]):
            mean, variance = _moments_of_rest(view, queries, logits, left, float(alpha / tau))
            log_rest = log_mass_bound_of_moments(left, ceiling, mean, variance)
        return share_bound(masked_logsumexp(logits), log_rest)


def _array(queries: Tensor) -> NDArray[np.float32]:
    """Queries as an index takes them."""
    return queries.detach().to("cpu", torch.float32).numpy()


def _lexical(view: View, texts: Sequence[str], slots: NDArray[np.int64]) -> Tensor:
    """BM25 of slots for each query, over the best of all passages, `(b, m)` in [0, 1]."""
    rows = []
    for text in texts:
        best = float(view.sparse.search(text, 1)[0].max(initial=0.0))
        rows.append(np.asarray(view.sparse.scores_of(text, slots)) / (best or 1.0))
    return torch.tensor(np.stack(rows))


def _last_words(view: View, texts: Sequence[str], k: int) -> Tensor:
    """The share of BM25 that no passage outside of the k best by words exceeds, `(b,)`."""
    shares = []
    for text in texts:
        best = view.sparse.search(text, k)[0]
        # Fewer than k share a word at all: the others have none.
        shares.append(float(best[-1] / best[0]) if len(best) == k else 0.0)
    return torch.tensor(shares)


def _moments_of_rest(
    view: View, queries: Tensor, logits: Tensor, left: Tensor, scale: float
) -> tuple[Tensor, Tensor]:
    """Mean and variance of the logits outside of the candidates, `(b,)` and `(b,)`."""
    mean, spread = (torch.tensor(each) * abs(scale) for each in view.dense.moments(_array(queries)))
    mean = mean * math.copysign(1.0, scale)
    inside = logits.double().masked_fill(logits == -math.inf, 0.0)
    many, left = view.size, left.double().clamp_min(1.0)
    mean_left = (many * mean - inside.sum(-1).cpu()) / left.cpu()
    squares = many * (spread.square() + mean.square()) - inside.square().sum(-1).cpu()
    variance = squares / left.cpu() - mean_left.square() + ROUNDING
    return mean_left.to(logits), variance.to(logits)
