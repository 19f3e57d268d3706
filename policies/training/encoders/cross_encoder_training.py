"""Training a cross-encoder to order what the memory's own search brings.

A cross-encoder reads question and passage together, and so sees what two vectors cannot say; it is
too dear for more than some candidates. It begins with the weights of the memory's encoder and a
head that knows nothing, or with another cross-encoder, and all of its weights are trained on lists
(`list_training`): a supporting passage against the wrong ones that search ranks highest.

Source: Nogueira and Cho 2019 (arXiv:1901.04085); the loss of a list with the negatives of the
search that it will serve, Gao et al. 2021 (arXiv:2101.08751).
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from hoptrail.errors import ConfigError, FormatError
from hoptrail.learning.execution import processes
from hoptrail.memory.encoders.model_folder import check_own_folder
from hoptrail.memory.encoders.transformer import TransformerEncoder, TransformerModel
from hoptrail.memory.encoders.windows import tokenizer_of
from hoptrail.memory.search.first_stages import Search
from hoptrail.memory.search.pipeline import Pipeline
from hoptrail.memory.search.rerankers.cross_encoder import (
    CARD,
    FORMAT,
    CrossEncoder,
    load_classifier,
)
from hoptrail.policies.data.corpora import OpenCorpus
from hoptrail.policies.data.training_data import TrainingData
from hoptrail.policies.training.encoders.list_training import (
    ListTrainingConfig,
    TunedRanker,
    pipeline_recalls,
    prepare_lists,
    train_ranker,
    training_record,
)
from hoptrail.policies.training.encoders.ranking_lists import ListBatch
from hoptrail.policies.training.stage_run import seeded
from hoptrail.values.progress import TrainingProgress, silent

WEIGHTS, CONFIG = "model.safetensors", "config.json"


class CrossEncoderRanker:
    """A cross-encoder in training.

    Args:
        model: A classifier of `transformers` that gives one number for a pair.
        tokenizer: Its own.
        window: Tokens of a pair that are read, if the network reads so many; the longer is cut.
        device: Where it runs.
    """

    in_batch = False

    def __init__(self, model: Any, tokenizer: Any, window: int, device: str) -> None:
        self.model = model.to(device).train()
        self.tokenizer, self._device = tokenizer, device
        self._window = min(window, int(getattr(model.config, "max_position_embeddings", window)))

    @property
    def modules(self) -> Mapping[str, nn.Module]:
        """The whole network."""
        return {"network": self.model}

    def scores(self, batch: ListBatch) -> tuple[Tensor, Tensor]:
        """The scores of each question's own list, zeros elsewhere; nothing is added.

        Args:
            batch: Questions with their lists.
        """
        pairs = [(batch.questions[i], batch.passages[j]) for i, j in batch.own.nonzero().tolist()]
        logits = processes.shared_vectors(pairs, self._logits)[:, 0]
        own = batch.own.to(self._device)
        scores = logits.new_zeros(own.shape).masked_scatter(own, logits)
        return scores, logits.new_zeros(())

    def _logits(self, pairs: Sequence[tuple[str, str]]) -> Tensor:
        """What the network says of pairs of a question and a passage, `(n, 1)`."""
        inputs = self.tokenizer(
            [question for question, _ in pairs],
            [passage for _, passage in pairs],
            padding=True,
            truncation="longest_first",
            max_length=self._window,
            return_tensors="pt",
        ).to(self._device)
        logits: Tensor = self.model(**inputs).logits
        return logits.float()


def tune_cross_encoder(
    data: TrainingData,
    out: Path,
    config: ListTrainingConfig | None = None,
    *,
    encoder: TransformerEncoder,
    encoder_name: str | None = None,
    start: Path | None = None,
    resume: bool = False,
    command: str = "",
    progress: TrainingProgress = silent,
) -> TunedRanker:
    """Train a cross-encoder on files of questions, and write it to a folder.

    Args:
        data: What to learn from, and what to measure on: hybrid search alone, and its best
            `config.depth` ordered anew.
        out: The folder that `memory.CrossEncoder` then takes, and other programs that read
            classifiers of `transformers`.
        config: The settings; those of `ListTrainingConfig()` by default.
        encoder: Of the passages, whose vectors are cached; its network is what training begins
            with.
        encoder_name: How to load it again: a folder or a hub's name; None for MiniLM.
        start: The folder of a cross-encoder to begin with instead, which gives one number for a
            pair.
        resume: Go on from the checkpoint in the folder, where there is one.
        command: How the run was called, for what is written beside the weights.
        progress: Told of every step.

    Returns:
        What was written. Of the processes that `torchrun` started only the first measures and
        writes.

    Raises:
        InputError: There is no question with its supporting passages.
        FormatError: A file cannot be read, a supporting passage is not in its corpus, or the
            folder cannot be written.
        ConfigError: The encoder's network or the start cannot become a cross-encoder.
        PolicyError: The checkpoint is damaged, or of a run with other settings or data.
    """
    config = config or ListTrainingConfig()
    check_own_folder(out, FORMAT, (CARD, WEIGHTS, CONFIG), "cross-encoder")
    with seeded(config.seed):
        network, tokenizer = _loaded(start) if start else _from_encoder(encoder.model)
    with processes.joined_processes(), ExitStack() as stack:
        identity = {"start": None if start is None else str(start.resolve())}
        prepared = prepare_lists(data, out, config, encoder, identity, progress, stack)
        ranker = CrossEncoderRanker(network, tokenizer, config.window, encoder.device)
        losses = train_ranker(
            ranker, prepared, config, stage="cross-encoder", resume=resume, progress=progress
        )
        if processes.is_first_process():
            write_cross_encoder(network, tokenizer, out)
        figures = [
            {**one.describe(), **crossed_recalls(corpus, out, config.depth, encoder.device)}
            for one, corpus in zip(data.dev, prepared.dev, strict=True)
            if processes.is_first_process()
        ]
    begun = {"encoder": encoder_name, "start": None if start is None else str(start)}
    made_of = begun | training_record(data, config, prepared, losses, figures, command)
    if processes.is_first_process():
        _write_card(out, made_of)
    prepared.checkpoint.remove()
    return TunedRanker(out, sum(p.numel() for p in network.parameters()), made_of)


def crossed_recalls(
    corpus: OpenCorpus, folder: Path, depth: int, device: str
) -> dict[str, dict[str, float]]:
    """What hybrid search finds, and what does when a cross-encoder orders its best, in percent.

    Args:
        corpus: An opened corpus with its questions.
        folder: Of the cross-encoder.
        depth: How many of the best it orders.
        device: Where it runs.
    """
    first = Search(keep=depth)
    ordered = Pipeline([first, CrossEncoder(folder, keep=depth, device=device)])
    return {
        "before": pipeline_recalls(corpus, Pipeline([first])),
        "after": pipeline_recalls(corpus, ordered),
    }


def write_cross_encoder(network: Any, tokenizer: Any, folder: Path) -> None:
    """Write a classifier as `transformers` does, its weights in safetensors.

    Args:
        network: A classifier of `transformers`.
        tokenizer: Its own.
        folder: It is made where it is absent.

    Raises:
        FormatError: It cannot be written.
    """
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        network.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        _write_card(folder, {})
    except OSError as error:
        raise FormatError(f"no cross-encoder can be written to {folder}: {error}") from error


def _write_card(folder: Path, made_of: Mapping[str, Any]) -> None:
    card = {"format": FORMAT, "made_of": dict(made_of)}
    (folder / CARD).write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")


def _loaded(folder: Path) -> tuple[Any, Any]:
    """A cross-encoder that somebody trained, with its tokeniser."""
    network, tokenizer = load_classifier(folder)
    if int(network.config.num_labels) != 1:
        raise ConfigError(
            "a cross-encoder to go on with must give one number for a pair, "
            f"{folder} gives {network.config.num_labels}"
        )
    return network, tokenizer


def _from_encoder(model: TransformerModel) -> tuple[Any, Any]:
    """A classifier with the weights of an encoder and a head of small random numbers."""
    from transformers import AutoModelForSequenceClassification, PreTrainedTokenizerFast

    config = copy.deepcopy(model.network.config)
    config.num_labels = 1
    try:
        network = AutoModelForSequenceClassification.from_config(config)
    except ValueError as error:
        raise ConfigError(
            f"a network of the type {config.model_type!r} cannot become a cross-encoder: {error}"
        ) from error
    body = getattr(network, network.base_model_prefix)
    body.load_state_dict(model.network.state_dict(), strict=False)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer_of(model.tokenizer),
        pad_token=model.padding[1],
        padding_side=model.padded_side,
        model_max_length=int(config.max_position_embeddings),
        model_input_names=list(model.inputs),
    )
    return network, tokenizer
