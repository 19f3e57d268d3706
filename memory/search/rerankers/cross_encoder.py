"""A cross-encoder as a stage: a network that reads question and passage together.

Any folder of a `transformers` sequence-classification model will do that gives one number for a
pair (its score) or two (the second less the first), such as the rerankers trained on MS MARCO.
`hoptrail encoder tune --kind cross-encoder` trains one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hoptrail.errors import ConfigError, FormatError, InputError
from hoptrail.memory.encoders.vectors import start_of
from hoptrail.memory.index.slots import Scores
from hoptrail.memory.search.pipeline import QueryState, Stage
from hoptrail.memory.search.rerankers.score_cache import Pair, PairScores, pairs_of

FORMAT = "hoptrail-cross-encoder-1"
CARD = "cross-encoder.json"
"""What a folder that was trained here has beside the model: what it was made of."""
LONGEST = 512
"""Tokens of a pair, at most; the passage is cut."""


class CrossEncoder(Stage):
    """The score that a network gives to question and passage.

    Args:
        folder: A sequence-classification model on this machine, with its tokeniser.
        keep: Candidates that go on.
        device: Where to run it; CUDA when there is one, otherwise the CPU.
        batch_size: Pairs a forward pass.

    Raises:
        FormatError: The folder holds no such model.
        ConfigError: It gives more than two numbers for a pair.
    """

    name = "cross-encoder"

    def __init__(
        self, folder: str | Path, *, keep: int, device: str | None = None, batch_size: int = 32
    ) -> None:
        import torch

        super().__init__(keep)
        self._model, self._tokenizer = load_classifier(folder)
        labels = int(self._model.config.num_labels)
        if labels > 2:
            raise ConfigError(f"a cross-encoder gives one or two numbers for a pair, got {labels}")
        self._device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self._model.to(self._device).requires_grad_(False)
        positions = int(getattr(self._model.config, "max_position_embeddings", LONGEST))
        self._longest = min(LONGEST, positions)
        self._batch_size = batch_size
        self._known = PairScores()
        self._tokens([("", "")])  # how it cuts is a state, set while no other thread uses it

    def score(self, batch: Sequence[QueryState]) -> list[Scores]:
        """The network's scores; pairs that it has scored lately are not read again."""
        pairs = pairs_of(batch)
        texts: dict[Pair, tuple[str, str]] = {}
        score_of: dict[Pair, float] = {}
        for state, part in zip(batch, pairs, strict=True):
            for pair, content in zip(part, state.contents(), strict=True):
                score = self._known.get(pair)
                if score is None:
                    texts[pair] = (state.text, content)
                else:
                    score_of[pair] = score
                    self.cached += 1
        for pair, score in zip(texts, self._forward(list(texts.values())), strict=True):
            score_of[pair] = score
            self._known.put(pair, score)
        return [np.asarray([score_of[pair] for pair in part], dtype=np.float32) for part in pairs]

    def _tokens(self, pairs: Sequence[tuple[str, str]]) -> Any:
        return self._tokenizer(
            [question for question, _ in pairs],
            [content for _, content in pairs],
            padding=True,
            truncation="only_second",
            max_length=self._longest,
            return_tensors="pt",
        )

    def _forward(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        """The scores of pairs of texts, in order; like lengths are read together."""
        import torch

        scores = [0.0] * len(pairs)
        order = sorted(range(len(pairs)), key=lambda i: -len(pairs[i][0]) - len(pairs[i][1]))
        for start in range(0, len(order), self._batch_size):
            rows = order[start : start + self._batch_size]
            inputs = self._tokens([pairs[i] for i in rows]).to(self._device)
            with torch.inference_mode():
                logits = self._model(**inputs).logits.float().cpu().numpy()
            if not np.isfinite(logits).all():
                raise InputError(
                    "the cross-encoder gave a score that is not finite for the question "
                    + start_of(pairs[rows[int(np.argmin(np.isfinite(logits).all(axis=1)))]][0])
                )
            pair_scores = logits[:, 0] if logits.shape[1] == 1 else logits[:, 1] - logits[:, 0]
            for row, score in zip(rows, pair_scores, strict=True):
                scores[row] = float(score)
        return scores


def load_classifier(folder: str | Path) -> tuple[Any, Any]:
    """A sequence-classification model and its tokeniser.

    Args:
        folder: Of a model, on this machine.

    Raises:
        FormatError: The folder holds no such model.
    """
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer
    from transformers.utils import logging as transformers_logging

    if not Path(folder).is_dir():
        raise FormatError(f"a cross-encoder is a folder with a model, and {folder} is none")
    transformers_logging.disable_progress_bar()
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model = AutoModelForSequenceClassification.from_pretrained(
            folder, dtype=torch.float32, local_files_only=True
        )
    except (OSError, ValueError) as error:
        raise FormatError(f"no cross-encoder could be loaded from {folder}: {error}") from error
    return model.eval(), tokenizer
