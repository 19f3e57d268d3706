"""Training a learned sparse encoder: which terms a passage is found by, and what each is worth.

The network of the memory's encoder has no head that names words, so that one is fitted first, in
closed form: W of the least squares that takes the vector of each token back to the embedding of
its term, and b so that a passage has about `EXPANSIONS` terms that it does not say. The weights of
questions' terms begin at their idf. So training begins near search by words, and moves from there:
changes of low rank to the network, W, b and the weights together, each question against all
passages of its batch. What keeps passages sparse is

    flops · sum over terms j of (mean over the batch's passages of p_j)^2

Source: Formal et al. 2021 (arXiv:2109.10086); the regulariser, Paria et al. 2020
(arXiv:2004.05665). The formula of a score, and what serves it, are in
`hoptrail.memory.search.learned_sparse`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hoptrail.errors import ConfigError
from hoptrail.learning.execution import processes
from hoptrail.learning.low_rank import changed_copy
from hoptrail.memory.analysis.widths import plain_width
from hoptrail.memory.encoders.transformer import TransformerEncoder
from hoptrail.memory.encoders.windows import shared_tokenizer
from hoptrail.memory.search.first_stages import Search
from hoptrail.memory.search.learned_sparse.sparse_encoder import (
    SparseEncoder,
    check_sparse_folder,
    term_embeddings,
)
from hoptrail.memory.search.learned_sparse.stage import LearnedSparse
from hoptrail.memory.search.pipeline import Pipeline
from hoptrail.policies.data.corpora import OpenCorpus
from hoptrail.policies.data.training_data import TrainingData
from hoptrail.policies.training.encoders.list_training import (
    ListTrainingConfig,
    TunedRanker,
    cut_encoder,
    pipeline_recalls,
    prepare_lists,
    train_ranker,
    training_record,
)
from hoptrail.policies.training.encoders.query_encoder import DEPTHS
from hoptrail.policies.training.encoders.ranking_lists import ListBatch
from hoptrail.values.numbers import above_zero, whole
from hoptrail.values.progress import TrainingProgress, silent

EXPANSIONS = 16
"""Terms of a passage that it does not say, about, when training begins."""
SAMPLE = 128
"""Passages that the head is fitted on."""
RIDGE = 1e-2
"""Of the least squares, in mean variances of a dimension."""
AT_FIRST = 2.0
"""The logit of a passage's own terms, about, when training begins."""
SPEED = 10.0
"""How much faster b and the weights of questions move than matrices do, as their numbers are
larger."""


@dataclass(frozen=True, slots=True)
class SparseEncoderConfig(ListTrainingConfig):
    """How a sparse encoder is trained."""

    learning_rate: float = 5e-4
    temperature: float = 4.0
    rank: int = 8
    """Of the change of each layer's weights."""
    flops: float = 3e-3
    """What it costs that passages share terms."""

    def __post_init__(self) -> None:
        ListTrainingConfig.__post_init__(self)
        whole(self.rank, "rank", least=1, error=ConfigError)
        above_zero(self.flops, "flops", error=ConfigError)


class SparseHead(nn.Module):
    """The head of a sparse encoder in training.

    Args:
        dense: W `(d, d)` at first.
        bias: b at first, one number.
        idf: `(v,)` the weights of questions' terms at first.
        embeddings: `(v, d)`; they stay.
    """

    def __init__(self, dense: Tensor, bias: float, idf: Tensor, embeddings: Tensor) -> None:
        super().__init__()
        self.dense = nn.Parameter(dense.clone())
        self.bias_change = nn.Parameter(torch.zeros_like(idf))
        self.query_change = nn.Parameter(torch.zeros_like(idf))
        self._bias, self._idf, self._embeddings = bias, idf, embeddings

    def passage(self, tokens: Tensor) -> Tensor:
        """The weights of terms in a passage, `(v,)`.

        Args:
            tokens: `(t, d)` the vectors of its tokens.
        """
        if not len(tokens):
            return torch.zeros_like(self._idf)
        logits = tokens @ self.dense.T @ self._embeddings.T
        return (logits.max(0).values + self.bias()).relu().log1p()

    def bias(self) -> Tensor:
        """b, `(v,)`."""
        return self._bias + SPEED * self.bias_change

    def query(self) -> Tensor:
        """u, `(v,)`: the weights of questions' terms."""
        return self._idf * (SPEED * self.query_change).exp()


class SparseRanker:
    """A sparse encoder in training.

    Args:
        encoder: Whose network is changed; its window is that of training.
        texts: Passages that the head is fitted on.
        config: The settings.
    """

    in_batch = True

    def __init__(
        self, encoder: TransformerEncoder, texts: Sequence[str], config: SparseEncoderConfig
    ) -> None:
        self.encoder, self._flops = encoder, config.flops
        self.network, self.changes = changed_copy(
            encoder.model.network, config.rank, device=encoder.device, seed=config.seed
        )
        self.head = fitted_head(encoder, texts, config.seed)
        self._tokenizer = shared_tokenizer(encoder.record.tokenizer)

    @property
    def modules(self) -> Mapping[str, nn.Module]:
        """The head, and the change of each layer."""
        changes = {f"change.{name}": change for name, change in self.changes.items()}
        return {"head": self.head, **changes}

    def scores(self, batch: ListBatch) -> tuple[Tensor, Tensor]:
        """The scores of all passages for all questions, and the price of terms that are shared.

        Args:
            batch: Questions with their lists.
        """
        terms = terms_of(self._tokenizer, batch.questions)
        rows = processes.shared_vectors(batch.passages, partial(self._rows, terms))
        scores, passages = rows[:, : len(terms)], rows[:, len(terms) :]
        return scores.T, self._flops * passages.mean(0).square().sum()

    def _rows(self, questions: Sequence[Sequence[int]], texts: Sequence[str]) -> Tensor:
        """A passage's scores for the terms of b questions, and its own weights: `(n, b + v)`.

        Both at once, because the scores have gradients to the weights of questions as well.
        """
        hidden, content = self.encoder.trainable_tokens(self.network, texts)
        passages = torch.stack(
            [self.head.passage(row[mask]) for row, mask in zip(hidden, content, strict=True)]
        )
        weights = self.head.query()
        columns = []
        for terms in questions:
            ids = torch.tensor(terms, device=passages.device)
            columns.append(passages[:, ids] @ weights[ids])
        return torch.cat([torch.stack(columns, dim=1), passages], dim=1)

    def tuned(self, base: TransformerEncoder) -> SparseEncoder:
        """The sparse encoder as it has become.

        Args:
            base: The encoder that it is served with.
        """
        changes = {
            name: (change.a.detach().cpu().half().numpy(), change.b.detach().cpu().half().numpy())
            for name, change in self.changes.items()
        }
        tensors = {
            "dense": self.head.dense,
            "bias": self.head.bias(),
            "query": self.head.query(),
        }
        head = {name: tensor.detach().cpu().float().numpy() for name, tensor in tensors.items()}
        return SparseEncoder(base, changes, head)


@torch.no_grad()
def fitted_head(encoder: TransformerEncoder, texts: Sequence[str], seed: int) -> SparseHead:
    """A head by which passages have the terms that they say, and questions' weights their idf.

    Args:
        encoder: Whose network it is for.
        texts: Passages, at least one.
        seed: Decides which of them the least squares look at.
    """
    tokenizer = shared_tokenizer(encoder.record.tokenizer)
    embeddings = term_embeddings(encoder.model.network).to(encoder.device)
    idf = _idf(terms_of(tokenizer, texts), len(embeddings)).to(encoder.device)
    order = np.random.default_rng([seed, 3]).permutation(len(texts))[:SAMPLE].tolist()
    sample = [texts[i] for i in order]
    tokens = [
        torch.from_numpy(np.asarray(rows)).to(embeddings)
        for rows, _, _ in encoder.encode_tokens(sample)
    ]
    ids = [
        torch.tensor(one.ids[: len(rows)], device=encoder.device)
        for one, rows in zip(
            tokenizer.encode_batch(plain_width(sample), add_special_tokens=False),
            tokens,
            strict=True,
        )
    ]
    hidden, names = torch.cat(tokens), torch.cat(ids)
    gram = hidden.T @ hidden / len(hidden)
    ridge = RIDGE * gram.diagonal().mean() * torch.eye(len(gram), device=gram.device)
    dense = torch.linalg.solve(gram + ridge, hidden.T @ embeddings[names] / len(hidden)).T
    own, others = [], []
    for rows, terms in zip(tokens, ids, strict=True):
        if len(rows):
            best = (rows @ dense.T @ embeddings.T).max(0).values
            different = sorted(set(terms.tolist()))
            own.append(best[different])
            best[different] = -torch.inf
            if foreign := len(best) - len(different):
                others.append(best.topk(min(EXPANSIONS, -(-foreign // 4))).values[-1])
    border = float(torch.stack(others).median()) if others else 0.0
    lead = max(float(torch.cat(own).median()) - border, 1e-3)
    scale = AT_FIRST / lead
    return SparseHead(scale * dense, -scale * border, idf, embeddings)


def terms_of(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """The different terms of each text.

    Args:
        tokenizer: The encoder's.
        texts: n of them.
    """
    encodings = tokenizer.encode_batch(plain_width(texts), add_special_tokens=False)
    return [sorted(set(encoding.ids)) for encoding in encodings]


def _idf(terms: Sequence[Sequence[int]], count: int) -> Tensor:
    """The idf of all terms, `(v,)`, as in BM25."""
    holding = np.bincount([term for one in terms for term in one], minlength=count)
    idf = np.log1p((len(terms) - holding + 0.5) / (holding + 0.5))
    return torch.tensor(idf, dtype=torch.float32)


def tune_sparse_encoder(
    data: TrainingData,
    out: Path,
    config: SparseEncoderConfig | None = None,
    *,
    encoder: TransformerEncoder,
    encoder_name: str | None = None,
    resume: bool = False,
    command: str = "",
    progress: TrainingProgress = silent,
) -> TunedRanker:
    """Train a sparse encoder on files of questions, and write it to a folder.

    Args:
        data: What to learn from, and what to measure on: search by words, and by learned weights.
            To measure, every passage of the corpora is read by the network.
        out: The folder that `memory.SparseEncoder.load` then takes.
        config: The settings; those of `SparseEncoderConfig()` by default.
        encoder: Of the passages, whose vectors are cached; its network is changed.
        encoder_name: How to load it again: a folder or a hub's name; None for MiniLM.
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
        PolicyError: The checkpoint is damaged, or of a run with other settings or data.
    """
    config = config or SparseEncoderConfig()
    check_sparse_folder(out)
    with processes.joined_processes(), ExitStack() as stack:
        prepared = prepare_lists(data, out, config, encoder, {}, progress, stack)
        ranker = SparseRanker(cut_encoder(encoder, config.window), prepared.lists.passages, config)
        losses = train_ranker(
            ranker, prepared, config, stage="sparse encoder", resume=resume, progress=progress
        )
        tuned = ranker.tuned(encoder)
        figures = [
            {**one.describe(), **sparse_recalls(corpus, tuned)}
            for one, corpus in zip(data.dev, prepared.dev, strict=True)
            if processes.is_first_process()
        ]
    tuned.base_name = encoder_name
    tuned.made_of = training_record(data, config, prepared, losses, figures, command)
    if processes.is_first_process():
        tuned.save(out)
    prepared.checkpoint.remove()
    return TunedRanker(out, tuned.size, tuned.made_of)


def sparse_recalls(corpus: OpenCorpus, encoder: SparseEncoder) -> dict[str, dict[str, float]]:
    """What search by words finds, and by learned weights, in percent.

    Args:
        corpus: An opened corpus with its questions.
        encoder: Gives the weights.
    """
    keep = max(DEPTHS)
    stage = LearnedSparse(encoder, keep=keep)
    try:
        return {
            "before": pipeline_recalls(corpus, Pipeline([Search("sparse", keep=keep)])),
            "after": pipeline_recalls(corpus, Pipeline([stage])),
        }
    finally:
        stage.close()
