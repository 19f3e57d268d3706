"""The network of a reader: p(answer | question, passages), normalised once over a whole trail.

A transformer reads each window of a trail; with h its token vectors and c that of its first token,

    score(i, j) = u . h_i + v . h_j + (A h_i) . (B h_j) / sqrt(k) + length[j - i]
    class score = mean over the windows of  C c         (yes, no, and that there is no answer)
    p(y | z, q) = sum of the softmax over all spans of all windows that say y, or over the class

so that a trail that does not hold the answer has to spend its probability on saying so. The
separator before a passage says whether the passage is evidence, by a logistic output of its own.

Source: normalising once over passages, Clark & Gardner 2018 (1710.10723); summing an answer's
occurrences, Kadlec et al. 2016 (1603.01547). The transformer is adapted by changes of low rank (Hu
et al. 2021, 2106.09685).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hoptrail.learning.answering.trail_windows import Span, TrailWindow, WindowBatch
from hoptrail.learning.masked import masked_logsumexp

YES, NO, NO_ANSWER = 0, 1, 2
"""The classes beside the spans."""
CLASS_TEXTS = ("yes", "no", None)
"""How a class is said."""

MAX_SPAN = 30
"""Tokens of an answer, at most."""
PAIR_WIDTH = 64
"""k: of the vectors that a span's two ends are compared by."""


@dataclass(frozen=True, slots=True, eq=False)
class AnswerScores:
    """Unnormalised log-probabilities of all that b trails, of w windows, may say."""

    spans: Tensor
    """`(w, t, L)`: token i to token i + l, at `[w, i, l]`; -inf where that is no span."""
    classes: Tensor
    """`(b, 3)`: yes, no, no answer."""
    evidence: Tensor
    """`(w, t)`: the log-odds that the passage behind a separator is evidence."""
    trail: Tensor
    """`(w,)`: whose window it is."""
    place: Tensor
    """`(w,)`: which of the trail's windows it is."""

    def log_total(self, right: Tensor | None = None, classes: Tensor | None = None) -> Tensor:
        """The log of the summed exponentials of each trail's outcomes, `(b,)`.

        Args:
            right: Bool `(w, t, L)`: the spans that take part; all by default.
            classes: Bool `(b, 3)`: the classes that take part; all by default.
        """
        flat = None if right is None else right.flatten(1)
        by_window = masked_logsumexp(self.spans.flatten(1), flat)
        trails = len(self.classes)
        most = int(self.place.max()) + 1
        table = by_window.new_full((trails, most), -math.inf)
        table = table.index_put((self.trail, self.place), by_window)
        scores = self.classes
        if classes is not None:
            scores = scores.masked_fill(~classes, -math.inf)
        return masked_logsumexp(torch.cat([table, scores], dim=1))


class AnswerHead(nn.Module):
    """What makes scores of token vectors.

    Args:
        dim: The width d of a token's vector.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.ends = nn.Linear(dim, 2)  # u and v
        self.start_of_pair = nn.Linear(dim, PAIR_WIDTH, bias=False)  # A
        self.end_of_pair = nn.Linear(dim, PAIR_WIDTH, bias=False)  # B
        self.length = nn.Parameter(torch.zeros(MAX_SPAN))
        self.classes = nn.Linear(dim, 3)  # C
        self.evidence = nn.Linear(dim, 1)

    def forward(self, hidden: Tensor, batch: WindowBatch) -> AnswerScores:
        """The scores of b trails of w windows.

        Args:
            hidden: `(w, t, d)` float32.
            batch: Which tokens these are.
        """
        classes = self.classes(hidden[:, 0])  # (w, 3)
        sums = classes.new_zeros(batch.trails, 3).index_add(0, batch.trail, classes)
        counts = torch.bincount(batch.trail, minlength=batch.trails).unsqueeze(1)
        return AnswerScores(
            self.span_scores(hidden, batch),
            sums / counts,
            self.evidence(hidden).squeeze(-1),
            batch.trail,
            batch.place,
        )

    def span_scores(self, hidden: Tensor, batch: WindowBatch) -> Tensor:
        """Scores of token i to token i + l, `(w, t, L)`; -inf where that is no span.

        Args:
            hidden: `(w, t, d)` float32.
            batch: Which tokens these are.
        """
        rows, tokens, _ = hidden.shape
        last = torch.arange(tokens, device=hidden.device)[:, None] + torch.arange(
            MAX_SPAN, device=hidden.device
        )  # (t, L)
        inside = last < tokens
        last = last.clamp(max=tokens - 1)
        start, end = self.ends(hidden).unbind(-1)  # (w, t) each
        first, second = self.start_of_pair(hidden), self.end_of_pair(hidden)  # (w, t, k)
        pairs = first @ second.transpose(1, 2) / math.sqrt(PAIR_WIDTH)  # (w, t, t)
        band = pairs.gather(2, last.expand(rows, -1, -1))
        scores: Tensor = band + start[:, :, None] + end[:, last] + self.length
        valid = (
            inside
            & batch.begins[:, :, None]
            & batch.ends[:, last]
            & (batch.passage[:, :, None] == batch.passage[:, last])
        )
        return scores.masked_fill(~valid, -math.inf)


class AnswerNetwork(nn.Module):
    """A transformer and the head on it.

    Args:
        transformer: Gives a `last_hidden_state` `(w, t, d)`; its weights are changed by nobody
            here, but may be adapted from outside.
    """

    def __init__(self, transformer: Any) -> None:
        super().__init__()
        self.transformer = transformer
        self.head = AnswerHead(int(transformer.config.hidden_size))

    def forward(self, batch: WindowBatch) -> AnswerScores:
        """The scores of b trails.

        The transformer computes in bfloat16 on CUDA and, in training, on processors that have
        instructions for it; answers on a processor are always computed in single precision.

        Args:
            batch: On the network's device.
        """
        kind = batch.ids.device.type
        halved = kind == "cuda" or (self.training and _multiplies_bfloat16())
        with torch.autocast(kind, torch.bfloat16, enabled=halved):
            hidden = self.transformer(
                input_ids=batch.ids, attention_mask=batch.mask
            ).last_hidden_state
        scores: AnswerScores = self.head(hidden.float(), batch)
        return scores


@lru_cache
def _multiplies_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 itself; without that it is slower, not faster."""
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))


@dataclass(frozen=True, slots=True)
class AnswerTarget:
    """What is right of a trail."""

    spans: tuple[tuple[int, Span], ...]
    """A passage's place in the trail, and tokens of it that say the answer."""
    classes: tuple[int, ...] = ()
    """Those of YES, NO, NO_ANSWER that are right."""
    evidence: tuple[bool, ...] | None = None
    """Whether each passage is evidence; None where nobody knows."""


def answer_log_probs(
    scores: AnswerScores,
    trails: Sequence[Sequence[TrailWindow]],
    targets: Sequence[AnswerTarget],
) -> Tensor:
    """Log p(a right answer | z, q) of b trails, `(b,)`; -inf where no window holds one whole.

    Args:
        scores: Of the trails.
        trails: Their windows.
        targets: One for each trail.
    """
    device = scores.spans.device
    right = torch.zeros(scores.spans.shape, dtype=torch.bool)
    classes = torch.zeros(scores.classes.shape, dtype=torch.bool)
    row = 0
    for i, (windows, target) in enumerate(zip(trails, targets, strict=True)):
        classes[i, list(target.classes)] = True
        for window in windows:
            for start, end in places_of(window, target.spans):
                right[row, start, end - start] = True
            row += 1
    return scores.log_total(right.to(device), classes.to(device)) - scores.log_total()


def evidence_loss(
    scores: AnswerScores,
    trails: Sequence[Sequence[TrailWindow]],
    targets: Sequence[AnswerTarget],
) -> Tensor | None:
    """The cross-entropy of what is evidence, the mean over passages; None where nobody knows.

    Args:
        scores: Of b trails.
        trails: Their windows.
        targets: One for each trail.
    """
    device = scores.spans.device
    marks: list[tuple[int, int, bool]] = []
    row = 0
    for windows, target in zip(trails, targets, strict=True):
        for window in windows:
            if target.evidence is not None:
                marks += [(row, at, target.evidence[place]) for at, place in window.marks]
            row += 1
    if not marks:
        return None
    rows, columns, gold = zip(*marks, strict=True)
    logits = scores.evidence[
        torch.tensor(rows, device=device), torch.tensor(columns, device=device)
    ]
    return nn.functional.binary_cross_entropy_with_logits(
        logits, torch.tensor(gold, dtype=torch.float32, device=device)
    )


def answer_loss(
    scores: AnswerScores,
    trails: Sequence[Sequence[TrailWindow]],
    targets: Sequence[AnswerTarget],
    evidence_weight: float,
    shares: Sequence[float] = (1.0, 1.0),
) -> Tensor:
    """-log p(a right answer), and the cross-entropy of what is evidence; the mean over trails.

    Args:
        scores: Of the trails.
        trails: Their windows.
        targets: One for each trail; one whose answer no window holds whole counts for nothing.
        evidence_weight: What the second part weighs.
        shares: Where these are a process's part of a batch: its part of the batch's trails, and of
            the passages of which it is known whether they are evidence.
    """
    log_probs = answer_log_probs(scores, trails, targets)
    loss = -log_probs[log_probs > -math.inf].sum() / len(targets) * shares[0]
    about_evidence = evidence_loss(scores, trails, targets)
    return loss if about_evidence is None else loss + evidence_weight * shares[1] * about_evidence


def count_marks(trails: Sequence[Sequence[TrailWindow]], targets: Sequence[AnswerTarget]) -> int:
    """Over how many passages `evidence_loss` is the mean.

    Args:
        trails: Their windows.
        targets: One for each trail.
    """
    return sum(
        len(window.marks)
        for windows, target in zip(trails, targets, strict=True)
        if target.evidence is not None
        for window in windows
    )


def places_of(window: TrailWindow, spans: Sequence[tuple[int, Span]]) -> list[Span]:
    """Where a window holds spans of passages, as its own tokens; parts of spans are left out.

    Args:
        window: Of a trail.
        spans: A passage's place in the trail, and tokens of the passage.
    """
    places = []
    for passage, (first, last) in spans:
        starts = np.flatnonzero((window.passage == passage) & (window.token == first))
        ends = np.flatnonzero((window.passage == passage) & (window.token == last))
        if len(starts) and len(ends) and ends[0] - starts[0] < MAX_SPAN:
            places.append((int(starts[0]), int(ends[0])))
    return places
