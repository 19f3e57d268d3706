"""The reader's likelihood of many trails that share passages, each passage read once.

The softmax of a trail runs over the spans of all its passages and the classes; what it needs of a
passage does not depend on the trail's others. With s the scores of spans and c those of classes:

    p(y | z, q) = (sum_{p in z} R_p + sum_{right c} e^c) / (sum_{p in z} E_p + sum_c e^c)
    R_p = sum of e^s over the spans of passage p that say y,   E_p = the same over all its spans

It equals `SpanReader.log_prob`. The trails of a beam share most of their passages, and orders of
one set are one sum, so that it costs one pass over the passages and not one for every trail.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hoptrail.errors import InputError
from hoptrail.learning.masked import masked_logsumexp
from hoptrail.learning.reader.span_reader import SpanReader, Target, right_spans
from hoptrail.learning.reader.tokens import TrailTokens, pad_trails


@dataclass(frozen=True, slots=True, eq=False)
class PassageSums:
    """What trails need of n passages, each beside one question."""

    right: Tensor
    """log R, `(n,)`; -inf where no span says the answer."""
    every: Tensor
    """log E, `(n,)`; -inf where there is no span."""
    pooled: Tensor
    """The passages' projected vectors, `(n, w)`."""
    asked: Tensor
    """Sum over the question's tokens of their hidden vectors, `(n, w)`."""
    tokens_asked: Tensor
    """How many these are, `(n,)`."""


def read_passages(
    reader: SpanReader, passages: Sequence[TrailTokens], targets: Sequence[Target]
) -> PassageSums:
    """The sums of passages.

    Args:
        reader: Its scores are summed, with their gradients.
        passages: Each as a trail of one passage.
        targets: Where each says the answer; the classes of a target are not read here.

    Raises:
        InputError: A trail has not one passage, or the numbers differ.
    """
    if any(len(passage.texts) != 1 for passage in passages):
        raise InputError("passages should come as trails of one passage each")
    if not passages:
        nothing = reader.ends.weight.new_zeros(0)
        empty = nothing.new_zeros(0, reader.width)
        return PassageSums(nothing, nothing, empty, empty, nothing)
    batch = pad_trails(passages)
    hidden = reader.embed(batch.vectors)
    scores = reader.span_scores(hidden, batch)
    right = right_spans(scores, targets)
    question_tokens = batch.asked.unsqueeze(-1)
    return PassageSums(
        right=masked_logsumexp(scores.flatten(1), right.flatten(1)),
        every=masked_logsumexp(scores.flatten(1)),
        pooled=reader.embed_pooled(batch.pooled)[:, 0],
        asked=(hidden * question_tokens).sum(1),
        tokens_asked=batch.asked.sum(1).to(hidden.dtype),
    )


def trails_log_prob(
    reader: SpanReader,
    sums: PassageSums,
    trails: Sequence[Sequence[int]],
    classes: Sequence[Sequence[int]],
) -> Tensor:
    """The log of p(an accepted answer | trail, question), `(z,)`; -inf where a trail has none.

    Args:
        reader: The one that made the sums.
        sums: Of the passages.
        trails: For each trail the rows of its passages, each once, all beside one question.
        classes: For each trail the classes that are right, as in `Target`.

    Raises:
        InputError: The numbers of trails and of classes differ, or there is no trail.
    """
    if len(trails) != len(classes) or not trails:
        raise InputError(f"{len(trails)} trails need as many lists of classes, got {len(classes)}")
    longest = max(1, max(len(trail) for trail in trails))
    nobody = len(sums.every)  # the row of zeros that stands for no passage
    pad = (0, 0, 0, 1)
    pooled, spoken = (nn.functional.pad(t, pad) for t in (sums.pooled, sums.asked))
    spoken_tokens, right, every = (
        nn.functional.pad(t, (0, 1)) for t in (sums.tokens_asked, sums.right, sums.every)
    )
    rows = torch.full((len(trails), longest), nobody)
    present = torch.zeros(len(trails), longest, dtype=torch.bool)
    right_classes = torch.zeros(len(trails), 3, dtype=torch.bool)
    for place, (trail, said) in enumerate(zip(trails, classes, strict=True)):
        rows[place, : len(trail)] = torch.tensor(list(trail), dtype=torch.long)
        present[place, : len(trail)] = True
        right_classes[place, list(said)] = True
    scores = reader.class_scores(
        pooled[rows], present, spoken[rows].sum(1), spoken_tokens[rows].sum(1, keepdim=True)
    )
    whole = masked_logsumexp(
        torch.cat([every[rows], scores], dim=1),
        torch.cat([present, torch.ones_like(right_classes)], dim=1),
    )
    part = masked_logsumexp(
        torch.cat([right[rows], scores], dim=1), torch.cat([present, right_classes], dim=1)
    )
    return part - whole
