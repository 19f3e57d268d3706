"""A small extractive reader: p(y | z, q) over the spans of a trail, yes, no and no-answer.

A frozen encoder gives token vectors; the reader projects them and scores every span of at most L
tokens within one passage, and the three classes from pooled features. One softmax runs over all of
it, the spans of every passage of the trail and the classes together, so that a trail that does not
hold the answer has to spend its probability elsewhere and trails compare:

    score(i, j) = u . h_i + v . h_j + (A h_i) . (B h_j) / sqrt(k) + length[j - i]
    p(y | z, q) = sum of the softmax over all spans that say y (or over the class yes or no)

Source: normalising once over passages, Clark & Gardner 2018 (1710.10723); summing an answer's
occurrences, Kadlec et al. 2016 (1603.01547). We differ in scoring spans jointly with a bilinear
term, in that no span cuts a word in two, and in having the trail as the unit, not the paragraph.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from hoptrail.errors import InputError
from hoptrail.learning.masked import masked_logsumexp
from hoptrail.learning.reader.answers import match_spans, normalize_answer
from hoptrail.learning.reader.tokens import TrailBatch, TrailTokens, pad_trails

YES, NO, NO_ANSWER = 0, 1, 2
"""The classes beside the spans."""

CLASS_NAMES = ("yes", "no", "")
"""How a class is said; no-answer is the empty text."""

MAX_WIDTH = 128
"""Of the projection: wider is slower, and small training sets do not fill it."""

CLASS_BIAS = 7.0
"""log of about 1000: at the start a class weighs as much as all the spans of a short trail."""

CONSIDERED = 100
"""Spans that a prediction groups by what they say."""


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """Where a trail says an accepted answer; made once, used at every step of training."""

    spans: Tensor
    """First and last token, both inclusive, `(m, 2)` int64."""
    classes: tuple[int, ...]
    """Those of YES, NO, NO_ANSWER that are right."""


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """The reader's distribution over what b trails may say; each row sums to 1 over both fields."""

    log_spans: Tensor
    """`(b, t, L)`: token i to token i + l, at `[b, i, l]`; -inf where that is no span."""
    log_classes: Tensor
    """`(b, 3)`: yes, no, no-answer."""


def answer_target(
    trail: TrailTokens,
    answers: Sequence[str],
    *,
    max_span: int,
    absent: Literal["nothing", "no_answer"] = "nothing",
) -> Target:
    """Where the trail says one of the accepted answers.

    Args:
        trail: The tokens.
        answers: Accepted answers; `yes` and `no` stand for the classes and match no span.
        max_span: The reader's.
        absent: What is right when none occurs: `nothing` (probability 0: for the marginal
            likelihood, where another trail may hold it), or the class `no_answer`.

    Raises:
        InputError: There are no answers, all are blank, or `absent` is unknown.
    """
    said = [answer for answer in answers if answer.strip()]
    if not said:
        raise InputError("an accepted answer is needed, got none that is not blank")
    if absent not in ("nothing", "no_answer"):
        raise InputError(f"absent should be 'nothing' or 'no_answer', got {absent!r}")
    normal = {normalize_answer(answer) for answer in said}
    classes = [c for c in (YES, NO) if CLASS_NAMES[c] in normal]
    in_text = [answer for answer in said if normalize_answer(answer) not in ("yes", "no")]
    spans = _occurrences(trail, in_text, max_span) if in_text else []
    if not spans and not classes and absent == "no_answer":
        classes = [NO_ANSWER]
    return Target(torch.tensor(spans, dtype=torch.long).reshape(-1, 2), tuple(classes))


def no_answer_target() -> Target:
    """The target of a trail that should be told not to hold the answer, whatever it says."""
    return Target(torch.zeros(0, 2, dtype=torch.long), (NO_ANSWER,))


class SpanReader(nn.Module):
    """Scores the spans of a trail, yes, no and no-answer, normalised once.

    Args:
        dim: The width d of the encoder's vectors.
        width: Of the projection, at most 128.
        max_span: The most tokens of a span, L.
        generator: Draws the initial weights.

    Shapes:
        - **input**: `TrailBatch` of vectors `(b, t, d)`
        - **output**: `Reading` of log-probabilities `(b, t, L)` and `(b, 3)`

    Raises:
        InputError: A size is out of range.
    """

    def __init__(
        self, dim: int, *, width: int = 96, max_span: int = 20, generator: torch.Generator
    ) -> None:
        super().__init__()
        if dim < 1 or not 1 <= width <= MAX_WIDTH or max_span < 1:
            raise InputError(
                f"a reader needs dim >= 1, width in 1 .. {MAX_WIDTH} and max_span >= 1, "
                f"got {dim}, {width}, {max_span}"
            )
        self.dim = dim
        self.width = width
        self.max_span = max_span
        # Encoders differ in the scale of their token vectors.
        self.scale = nn.LayerNorm(dim)
        self.project = nn.Linear(dim, width)
        self.ends = nn.Linear(width, 2)  # u and v
        self.start_of_pair = nn.Linear(width, width, bias=False)  # A
        self.end_of_pair = nn.Linear(width, width, bias=False)  # B
        self.length = nn.Parameter(torch.zeros(max_span))
        self.project_pooled = nn.Linear(dim, width)
        self.classes = nn.Linear(3 * width, 3)
        self._initialise(generator)

    def forward(self, batch: TrailBatch) -> Reading:
        """The distribution over spans and classes.

        Args:
            batch: Of vectors `(b, t, d)`.

        Raises:
            InputError: The vectors are not of the reader's width.
        """
        if batch.vectors.shape[-1] != self.dim:
            raise InputError(
                f"the reader was made for vectors of width {self.dim}, "
                f"got {batch.vectors.shape[-1]}"
            )
        hidden = self.embed(batch.vectors)  # (b, t, w)
        spans = self.span_scores(hidden, batch)  # (b, t, L)
        question_tokens = batch.asked.unsqueeze(-1)
        classes = self.class_scores(  # (b, 3)
            self.embed_pooled(batch.pooled),
            batch.present,
            (hidden * question_tokens).sum(1),
            question_tokens.sum(1),
        )
        total = masked_logsumexp(torch.cat([spans.flatten(1), classes], dim=1))  # (b,)
        return Reading(spans - total[:, None, None], classes - total[:, None])

    def log_prob(self, trails: Sequence[TrailTokens], targets: Sequence[Target]) -> Tensor:
        """The log of p(an accepted answer | trail, question), `(b,)`; -inf where a trail has none.

        Args:
            trails: b of them.
            targets: One for each trail.

        Raises:
            InputError: The numbers differ, a target's span is none of the reader's, or as in
                `forward`.
        """
        return target_log_prob(self(pad_trails(trails)), targets)

    def predict(self, trail: TrailTokens) -> tuple[str, float]:
        """The likeliest answer of a trail and its probability; "" means no answer.

        Spans that say the same are one answer, whose probability is their sum.

        Args:
            trail: Its tokens.
        """
        with torch.no_grad():
            reading: Reading = self(pad_trails([trail]))
            groups = _candidate_answers(trail, reading)
            best = max(groups, key=lambda group: groups[group][0])
            if best in CLASS_NAMES:
                return best, groups[best][0]
            text = groups[best][1]
            # The candidates are the likeliest spans only; the probability sums all that say it.
            spans = torch.tensor(_occurrences(trail, [text], self.max_span))
            return text, float(target_log_prob(reading, [Target(spans, ())]).exp())

    def embed(self, vectors: Tensor) -> Tensor:
        """Hidden vectors of tokens, `(..., w)`.

        Args:
            vectors: Of tokens, `(..., d)`.
        """
        hidden: Tensor = torch.tanh(self.project(self.scale(vectors)))
        return hidden

    def embed_pooled(self, pooled: Tensor) -> Tensor:
        """Hidden vectors of whole passages, `(..., w)`.

        Args:
            pooled: Vectors of passages, `(..., d)`.
        """
        hidden: Tensor = torch.tanh(self.project_pooled(self.scale(pooled)))
        return hidden

    def span_scores(self, hidden: Tensor, batch: TrailBatch) -> Tensor:
        """Scores of token i to token i + l, `(b, t, L)`; -inf where that is no span.

        Args:
            hidden: Hidden vectors of the tokens, `(b, t, w)`.
            batch: Where the tokens are from, and where answers may begin and end.
        """
        rows, tokens, _ = hidden.shape
        place = torch.arange(tokens, device=hidden.device)
        last = place[:, None] + torch.arange(self.max_span, device=hidden.device)  # (t, L)
        inside = last < tokens
        last = last.clamp(max=tokens - 1)
        start, end = self.ends(hidden).unbind(-1)  # (b, t) each
        first, second = self.start_of_pair(hidden), self.end_of_pair(hidden)  # (b, t, w)
        pairs = first @ second.transpose(1, 2) / math.sqrt(self.width)  # (b, t, t)
        band = pairs.gather(2, last.expand(rows, -1, -1))  # (b, t, L)
        scores: Tensor = band + start[:, :, None] + end[:, last] + self.length
        valid = (
            inside
            & batch.begins[:, :, None]
            & batch.ends[:, last]
            & (batch.passage[:, :, None] == batch.passage[:, last])
        )
        return scores.masked_fill(~valid, -math.inf)

    def class_scores(
        self, pooled: Tensor, present: Tensor, question_sum: Tensor, tokens_asked: Tensor
    ) -> Tensor:
        """Scores of yes, no and no-answer from the passages and the question, `(b, 3)`.

        Args:
            pooled: Hidden vectors of the passages, `(b, p, w)`.
            present: Bool `(b, p)`: which there are.
            question_sum: Sum of the hidden vectors of the question's own tokens, `(b, w)`: a
                yes-or-no question shows in them ("Are both ...").
            tokens_asked: How many these are, `(b, 1)`.
        """
        there = present.unsqueeze(-1)
        mean = (pooled * there).sum(1) / there.sum(1).clamp(min=1)
        some = present.any(1, keepdim=True)  # (b, 1)
        largest = pooled.masked_fill(~there, -1.0).amax(1).masked_fill(~some, 0.0)
        question = question_sum / tokens_asked.clamp(min=1)
        scores: Tensor = self.classes(torch.cat([mean, largest, question], dim=-1))
        return scores

    def _initialise(self, generator: torch.Generator) -> None:
        with torch.no_grad():
            for name, weight in self.named_parameters():
                if weight.dim() == 2:
                    weight.normal_(0.0, weight.shape[1] ** -0.5, generator=generator)
                elif name.endswith("bias"):
                    weight.zero_()
            self.classes.bias.fill_(CLASS_BIAS)


def target_log_prob(reading: Reading, targets: Sequence[Target]) -> Tensor:
    """The log of the summed probability of each trail's right spans and classes, `(b,)`.

    It is -inf, with gradient 0, where a target is empty.

    Args:
        reading: Of b trails.
        targets: b of them.

    Raises:
        InputError: The numbers of rows differ, or a span is none that the reader scores.
    """
    log_spans, log_classes = reading.log_spans, reading.log_classes
    spans = right_spans(log_spans, targets)
    classes = torch.zeros(log_classes.shape, dtype=torch.bool, device=log_spans.device)
    for row, target in enumerate(targets):
        classes[row, list(target.classes)] = True
    return masked_logsumexp(
        torch.cat([log_spans.flatten(1), log_classes], dim=1),
        torch.cat([spans.flatten(1), classes], dim=1),
    )


def right_spans(scores: Tensor, targets: Sequence[Target]) -> Tensor:
    """Which spans say the answer, bool `(b, t, L)` like the scores of all spans.

    Args:
        scores: Of all spans, `(b, t, L)`, -inf where there is none.
        targets: b of them.

    Raises:
        InputError: The numbers of rows differ, or a span is none that the reader scores.
    """
    rows, tokens, lengths = scores.shape
    if len(targets) != rows:
        raise InputError(f"{rows} trails need as many targets, got {len(targets)}")
    right = torch.zeros(scores.shape, dtype=torch.bool, device=scores.device)
    for row, target in enumerate(targets):
        start, length = target.spans[:, 0], target.spans[:, 1] - target.spans[:, 0]
        if bool(((start < 0) | (start >= tokens) | (length < 0) | (length >= lengths)).any()):
            raise InputError(
                f"target {row} has a span outside the trail's {tokens} tokens, "
                f"or not of 1 .. {lengths} tokens: {target.spans.tolist()}"
            )
        right[row, start, length] = True
    if bool((right & (scores == -math.inf)).any()):
        raise InputError("a target has a span that crosses passages or lies in the question")
    return right


def _candidate_answers(trail: TrailTokens, reading: Reading) -> dict[str, tuple[float, str]]:
    """The classes, and what the likeliest spans say: summed probability and text, by normal form.

    A span that says "yes" is left out, as in a target: the answer yes is the class.
    """
    lengths = reading.log_spans.shape[2]
    groups = {
        name: (float(reading.log_classes[0, c].exp()), name) for c, name in enumerate(CLASS_NAMES)
    }
    flat = reading.log_spans[0].flatten()
    top = flat.topk(min(CONSIDERED, int((flat != -math.inf).sum())))
    for log_prob, place in zip(top.values.tolist(), top.indices.tolist(), strict=True):
        start, length = divmod(place, lengths)
        text = trail.span_text(start, start + length)
        said = normalize_answer(text)
        if said not in CLASS_NAMES:
            mass, name = groups.get(said, (0.0, text))
            groups[said] = (mass + math.exp(log_prob), name)
    return groups


def _occurrences(trail: TrailTokens, answers: Sequence[str], max_span: int) -> list[list[int]]:
    """All spans of the trail that say an accepted answer, as tokens of the trail."""
    occurrences: list[list[int]] = []
    for index, text in enumerate(trail.texts):
        tokens = ((trail.passage == index) & ~trail.asked).nonzero().flatten().tolist()
        spans = match_spans(text, trail.characters[tokens], answers, max_span=max_span)
        occurrences.extend([tokens[start], tokens[end]] for start, end in spans)
    return occurrences
