"""The reader that ships: answers are spans of the passages, yes, no, or that there is none.

It is the encoder's own transformer with changes of low rank and a small head
(`hoptrail.learning.answering.answer_network`). A folder holds `answer-reader.safetensors` (both, in
half precision) and `answer-reader.json` (which encoder they belong to, how sure answers are, and
what it was trained on).
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from hoptrail.errors import FormatError, ReaderError
from hoptrail.learning.answering.answer_evidence import evidence_span
from hoptrail.learning.answering.answer_network import (
    CLASS_TEXTS,
    MAX_SPAN,
    NO_ANSWER,
    AnswerHead,
    AnswerNetwork,
)
from hoptrail.learning.answering.certainty import Certainty
from hoptrail.learning.answering.comparisons.country_comparison import compare_countries
from hoptrail.learning.answering.comparisons.date_comparison import compare_dates
from hoptrail.learning.answering.comparisons.number_comparison import compare_numbers
from hoptrail.learning.answering.comparisons.sides import ComputedAnswer
from hoptrail.learning.answering.trail_windows import (
    PassageTokens,
    TrailWindow,
    WindowLayout,
    cut_texts,
    pad_windows,
)
from hoptrail.learning.low_rank import LowRank
from hoptrail.learning.reader.answers import normalize_answer
from hoptrail.memory.encoders.model_folder import check_own_folder, save_with_card
from hoptrail.memory.encoders.transformer import TransformerEncoder, TransformerModel, minilm
from hoptrail.memory.encoders.tuned.factor_tensors import factor_tensors, factors_of
from hoptrail.memory.encoders.tuned.query_tuned import merge_low_rank
from hoptrail.memory.encoders.windows import tokenizer_of
from hoptrail.types import Answer, Evidence, Passage

FORMAT = "hoptrail-answer-reader-1"
WEIGHTS, CARD = "answer-reader.safetensors", "answer-reader.json"

LONGEST = 512
"""Tokens of a window, at most; fewer where the transformer has fewer positions."""
BATCH_TOKENS = 4096
"""Tokens of the windows that go through the network together."""
CONSIDERED = 20
"""Spans of a window that are grouped by what they say."""
IS_EVIDENCE = 0.5
"""The probability from which a passage is named as evidence."""


@dataclass(frozen=True, slots=True)
class TrailReading:
    """What the network makes of a trail, before it is said how sure that is."""

    text: str
    """The likeliest answer, likely or not; empty where there is nothing that could be one."""
    share: float
    """Its part of the probability that is not on there being no answer, in [0, 1]."""
    none: float
    """The probability that there is no answer."""
    spans: tuple[tuple[int, int, int], ...]
    """Where it stands: a passage's place, the first character in its content and the one past the
    last; the likeliest first."""
    evidence: tuple[float, ...]
    """For each passage the probability that it is evidence."""
    comparison: ComputedAnswer | None = None
    """The answer where it is computed from two dates, in the network's stead."""


@dataclass(slots=True)
class _WindowScores:
    """Of one window: log-probabilities, not normalised yet."""

    total: float
    classes: list[float]
    spans: list[tuple[float, int, int]]  # score, first and last token of the window
    evidence: dict[int, float]


def window_layout(model: TransformerModel, tokenizer: Any, length: int = LONGEST) -> WindowLayout:
    """How the windows of a transformer are put together.

    Args:
        model: Whose special tokens begin a text and part it.
        tokenizer: Its tokeniser.
        length: Tokens, at most.

    Raises:
        FormatError: Its tokeniser does not set two tokens around a text.
    """
    special = tokenizer.encode("", add_special_tokens=True).ids
    if len(special) != 2:
        raise FormatError(
            "a reader needs a tokeniser that puts one special token before a text and one behind "
            f"it, got {len(special)} of them"
        )
    positions = int(model.network.config.max_position_embeddings)
    return WindowLayout(special[0], special[1], min(length, positions))


class ExtractiveReader:
    """A `Reader` that answers in the words of the passages.

    Args:
        base: The encoder whose transformer it changes; the encoder stays as it is.
        factors: The changes, by layer, as `hoptrail.memory.encoders.tuned.query_tuned` has them.
        head: Reads the token vectors.
        certainty: Says how sure an answer is.
        made_of: What it was trained on and how well it does; JSON values.

    Raises:
        ReaderError: The changes are of another network.
    """

    def __init__(
        self,
        base: TransformerEncoder,
        factors: Mapping[str, tuple[Tensor, Tensor]],
        head: AnswerHead,
        *,
        certainty: Certainty | None = None,
        made_of: Mapping[str, Any] | None = None,
    ) -> None:
        self._factors = {
            name: (a.detach().cpu().half(), b.detach().cpu().half())
            for name, (a, b) in factors.items()
        }
        self._base = base
        self.certainty = certainty or Certainty()
        self.made_of = dict(made_of or {})
        transformer = copy.deepcopy(base.model.network)
        try:
            merge_low_rank(
                transformer, {n: (a.float(), b.float()) for n, (a, b) in self._factors.items()}
            )
        except ValueError as error:
            raise ReaderError(f"the reader does not fit its encoder: {error}") from error
        self.network = AnswerNetwork(transformer).requires_grad_(False).eval()
        rounded = {
            name: each.detach().cpu().half().float() for name, each in head.state_dict().items()
        }
        self.network.head.load_state_dict(rounded)
        self.network.to(base.device)
        self._tokenizer = tokenizer_of(base.model.tokenizer)
        self._layout = window_layout(base.model, self._tokenizer)

    def __repr__(self) -> str:
        size = sum(a.numel() + b.numel() for a, b in self._factors.values())
        return f"<ExtractiveReader on {self._base.fingerprint}, {size:,} weights changed>"

    @property
    def fingerprint(self) -> str:
        """The first 16 digits of its weights' SHA-256."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self._tensors().items()):
            digest.update(name.encode())
            digest.update(tensor.numpy().tobytes())
        return digest.hexdigest()[:16]

    @property
    def changed_layers(self) -> dict[str, int]:
        """The transformer's layers that it changes, with the rank of each change."""
        return {name: len(a) for name, (a, _) in self._factors.items()}

    def hand_over(self, changes: Mapping[str, LowRank], head: AnswerHead) -> None:
        """Put what it has learned into a network that goes on learning.

        Args:
            changes: Those of the same layers; filled in place.
            head: Filled in place.

        Raises:
            ReaderError: The changes are of other layers, or of another rank.
        """
        shapes = {name: len(change.a) for name, change in changes.items()}
        if shapes != self.changed_layers:
            raise ReaderError(
                "a reader goes on learning in the layers that it changes and with their rank, "
                f"{_layers_and_rank(self.changed_layers)}, got {_layers_and_rank(shapes)}"
            )
        with torch.no_grad():
            for name, (a, b) in self._factors.items():
                changes[name].a.copy_(a)
                changes[name].b.copy_(b)
        head.load_state_dict(self.network.head.state_dict())

    def without_abstaining(self) -> ExtractiveReader:
        """The same reader, which always gives its likeliest answer.

        For questions that are known to have one.
        """
        other = copy.copy(self)
        other.certainty = replace(self.certainty, threshold=0.0)
        return other

    def read(self, question: str, passages: Sequence[Passage]) -> Answer:
        """The answer that passages give to a question.

        Args:
            question: In words.
            passages: In the order in which they were read, the best first; perhaps none.
        """
        return self.read_many([(question, passages)])[0]

    def read_many(self, trails: Sequence[tuple[str, Sequence[Passage]]]) -> list[Answer]:
        """An answer for each question, read together.

        Args:
            trails: Questions with their passages.
        """
        return [
            self._answer(question, passages, reading)
            for (question, passages), reading in zip(trails, self.readings(trails), strict=True)
        ]

    def _answer(self, question: str, passages: Sequence[Passage], reading: TrailReading) -> Answer:
        answerable = self.certainty.answerable(reading.none) if reading.text else 0.0
        if reading.comparison is not None:
            return self._comparison(question, passages, reading.comparison, answerable)
        if answerable < self.certainty.threshold or not reading.text:
            return Answer(question, None, 1 - answerable, answerable, (), tuple(passages))
        spans: dict[int, Evidence] = {}
        for place, start, end in reading.spans:
            spans.setdefault(place, evidence_span(passages[place], start, end))
        evidence = [
            spans[place] if place in spans else Evidence(passage.id, passage.namespace)
            for place, passage in enumerate(passages)
            if reading.evidence[place] >= IS_EVIDENCE
            or (reading.spans and place == reading.spans[0][0])
        ]
        probability = self.certainty.right(reading.share, reading.none)
        return Answer(
            question, reading.text, probability, answerable, tuple(evidence), tuple(passages)
        )

    def _comparison(
        self,
        question: str,
        passages: Sequence[Passage],
        comparison: ComputedAnswer,
        answerable: float,
    ) -> Answer:
        """The answer that a comparison gives."""
        evidence = tuple(
            Evidence(passages[place].id, passages[place].namespace, "text", start, end)
            for place, start, end in comparison.places
        )
        sure = self.certainty.of_comparison
        return Answer(
            question, comparison.text, sure, max(answerable, sure), evidence, tuple(passages)
        )

    def readings(self, trails: Sequence[tuple[str, Sequence[Passage]]]) -> list[TrailReading]:
        """What is made of trails, before it is said how sure that is.

        Args:
            trails: Questions, each with its passages in order.
        """
        contents = [(question, [p.content for p in passages]) for question, passages in trails]
        readings = self._network_readings(contents)
        comparisons = [
            compare_dates(question, passages)
            or compare_countries(question, passages)
            or compare_numbers(question, passages)
            for question, passages in trails
        ]
        return [
            replace(reading, text=comparison.text, comparison=comparison) if comparison else reading
            for reading, comparison in zip(readings, comparisons, strict=True)
        ]

    def _network_readings(self, trails: Sequence[tuple[str, Sequence[str]]]) -> list[TrailReading]:
        """What the network makes of questions, each with the contents of its passages in order."""
        questions = cut_texts(self._tokenizer, [question for question, _ in trails])
        texts = list(dict.fromkeys(text for _, contents in trails for text in contents))
        tokens = dict(zip(texts, cut_texts(self._tokenizer, texts), strict=True))
        by_trail = [
            self._layout.windows(question.ids, [tokens[text] for text in contents])
            for question, (_, contents) in zip(questions, trails, strict=True)
        ]
        scores = self._window_scores([window for windows in by_trail for window in windows])
        readings, at = [], 0
        for windows, (_, contents) in zip(by_trail, trails, strict=True):
            part = scores[at : at + len(windows)]
            readings.append(_reading(windows, part, contents, [tokens[text] for text in contents]))
            at += len(windows)
        return readings

    def _window_scores(self, windows: Sequence[TrailWindow]) -> list[_WindowScores]:
        """The scores of windows, those of one length together."""
        scores: dict[int, _WindowScores] = {}
        order = sorted(range(len(windows)), key=lambda i: -len(windows[i].ids))
        while order:
            size = max(1, BATCH_TOKENS // len(windows[order[0]].ids))
            rows, order = order[:size], order[size:]
            scores |= zip(rows, self._pass([windows[i] for i in rows]), strict=True)
        return [scores[row] for row in range(len(windows))]

    @torch.inference_mode()
    def _pass(self, windows: Sequence[TrailWindow]) -> list[_WindowScores]:
        padding = self._base.model.padding[0]
        batch = pad_windows([[window] for window in windows], padding).to(self._base.device)
        scores = self.network(batch)
        flat = scores.spans.flatten(1)
        best, places = flat.topk(min(CONSIDERED, flat.shape[1]), dim=1)
        totals = torch.logsumexp(flat, 1).cpu().tolist()
        columns = best.cpu().tolist(), places.cpu().tolist()
        classes, evidence = scores.classes.cpu().tolist(), scores.evidence.cpu().tolist()
        return [
            _WindowScores(
                totals[row],
                classes[row],
                [
                    (score, place // MAX_SPAN, place // MAX_SPAN + place % MAX_SPAN)
                    for score, place in zip(columns[0][row], columns[1][row], strict=True)
                    if score > -math.inf
                ],
                {place: evidence[row][at] for at, place in window.marks},
            )
            for row, window in enumerate(windows)
        ]

    def _tensors(self) -> dict[str, Tensor]:
        """What it has learned, as it is written."""
        tensors = {n: each.contiguous() for n, each in factor_tensors(self._factors).items()}
        return tensors | {
            f"head.{name}": each.cpu().half().contiguous()
            for name, each in self.network.head.state_dict().items()
        }

    def save(self, folder: str | Path) -> Path:
        """Write the reader to a folder, which is made where it is absent; the folder.

        Args:
            folder: One that holds another model's file of these names is refused.

        Raises:
            FormatError: It cannot be written.
        """
        where = Path(folder)
        check_own_folder(where, FORMAT, (CARD, WEIGHTS), "reader")
        tensors = self._tensors()
        card = {
            "format": FORMAT,
            "encoder": self._base.fingerprint,
            "certainty": self.certainty.as_json(),
            "made_of": self.made_of,
        }
        return save_with_card(
            where, (CARD, WEIGHTS), card, lambda file: save_file(tensors, file), "reader"
        )

    @classmethod
    def load(
        cls, folder: str | Path, *, encoder: TransformerEncoder | None = None
    ) -> ExtractiveReader:
        """The reader that `save` wrote to a folder.

        Args:
            folder: As `save` or `hoptrail train reader` wrote it.
            encoder: Whose transformer it changes; MiniLM by default.

        Raises:
            ReaderError: The folder holds none, a file is damaged, or it belongs to another encoder.
            MissingExtra: The encoder is MiniLM, which is not installed.
        """
        where = Path(folder)
        try:
            card = json.loads((where / CARD).read_text(encoding="utf-8"))
            layout, fingerprint = card["format"], card["encoder"]
            certainty = Certainty.from_json(card["certainty"])
            tensors = {name: each.float() for name, each in load_file(where / WEIGHTS).items()}
            factors = factors_of(tensors)
            head = AnswerHead(tensors["head.ends.weight"].shape[1])
            head.load_state_dict(
                {name[5:]: each for name, each in tensors.items() if name.startswith("head.")}
            )
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
            raise ReaderError(f"no reader can be read from {where}: {error}") from error
        if layout != FORMAT:
            raise ReaderError(f"{where / CARD} should have the format {FORMAT!r}, got {layout!r}")
        base = encoder or minilm()
        if base.fingerprint != fingerprint:
            raise ReaderError(
                f"the reader in {where} belongs to the encoder {fingerprint}, "
                f"got {base.fingerprint}"
            )
        return cls(base, factors, head, certainty=certainty, made_of=card.get("made_of"))


def _layers_and_rank(changes: Mapping[str, int]) -> str:
    """Changes in a few words."""
    ranks = ", ".join(map(str, sorted(set(changes.values()))))
    return f"{len(changes)} linear layers at rank {ranks}"


def _reading(
    windows: Sequence[TrailWindow],
    scores: Sequence[_WindowScores],
    contents: Sequence[str],
    tokens: Sequence[PassageTokens],
) -> TrailReading:
    """The likeliest answer of a trail: spans that say the same are one, and their sum counts."""
    classes = np.mean([one.classes for one in scores], axis=0)
    total = float(np.logaddexp.reduce([*(one.total for one in scores), *classes]))
    masses: dict[str, float] = {}
    spans: dict[str, list[tuple[float, int, int, int]]] = {}
    for window, one in zip(windows, scores, strict=True):
        for score, first, last in one.spans:
            place = int(window.passage[first])
            characters = tokens[place].characters
            start = int(characters[window.token[first], 0])
            end = int(characters[window.token[last], 1])
            form = normalize_answer(contents[place][start:end])
            masses[form] = masses.get(form, 0.0) + math.exp(score - total)
            spans.setdefault(form, []).append((score, place, start, end))
    for number, text in enumerate(CLASS_TEXTS):
        if text is not None and contents:
            masses[text] = masses.get(text, 0.0) + math.exp(classes[number] - total)
    none = min(1.0, math.exp(classes[NO_ANSWER] - total))
    logits = {place: logit for one in scores for place, logit in one.evidence.items()}
    evidence = tuple(1 / (1 + math.exp(-logits[place])) for place in range(len(contents)))
    if not masses:
        return TrailReading("", 0.0, 1.0, (), evidence)
    best = max(masses, key=lambda form: masses[form])
    places = sorted(spans.get(best, []), reverse=True)
    text = best
    if places:
        _, place, start, end = places[0]
        text = contents[place][start:end]
    share = min(1.0, masses[best] / max(1 - none, 1e-9))
    occurrences = tuple((place, start, end) for _, place, start, end in places)
    return TrailReading(text, share, none, occurrences, evidence)
