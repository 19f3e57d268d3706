"""Training the query side of an encoder against passage vectors that stay as they are.

No passage is encoded anew: a memory goes on with the vectors that it has, and is asked better. A
query is a question with some of its supporting passages, as in the states of a walk
(`hoptrail.policies.reformulation.query_text`); what is still missing of its evidence should be near
to it, of all passages that it may find. With s the score of a passage in the memory's own dense
search, M the missing passages, and those that were read left out:

    p_i  = softmax over i of s(q, i) / τ
    loss = -½ (log Σ over M of p_i + mean over M of log p_i) + anchor · (1 - cos(q, q₀))

The first part is the listwise likelihood of any, and of each, of those that are missing
(`hoptrail.learning.losses`), over the whole scope and so with the hardest negatives that there are
(Karpukhin et al. 2020, arXiv:2004.04906, have them of the batch). q₀ is what the encoder made of
the same text before: what training never saw is asked for about as it was.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from hoptrail.errors import ConfigError
from hoptrail.learning.execution import processes
from hoptrail.learning.execution.early_stopping import EarlyStopping
from hoptrail.learning.low_rank import changed_copy
from hoptrail.learning.retrieval.collapse import CollapseMonitor
from hoptrail.memory.encoders.query_side import query_side
from hoptrail.memory.encoders.transformer import Encoder, TransformerEncoder
from hoptrail.memory.encoders.tuned.query_tuned import QueryTunedEncoder, check_tuned_folder
from hoptrail.policies.data.corpora import OpenCorpus
from hoptrail.policies.data.query_candidates import (
    SAME,
    NegativesName,
    QueryObjective,
    check_objective,
    objective_loss,
    scope_loss,
)
from hoptrail.policies.data.training_data import TrainingData
from hoptrail.policies.training.config import check_early_stopping
from hoptrail.policies.training.encoders.evidence_queries import (
    EvidenceQuestion,
    TrainingQuery,
    evidence_questions,
    held_out_loss,
    learned_and_held_out,
    missing_and_unread,
    state_batches,
    taught_scores,
)
from hoptrail.policies.training.preparation import tuning_corpora
from hoptrail.policies.training.stage_run import Schedule
from hoptrail.values.numbers import above_zero, whole
from hoptrail.values.progress import TrainingProgress, silent

DEPTHS = (5, 10)
"""Passages that a dense search may give, where it is measured."""


@dataclass(frozen=True, slots=True)
class QueryEncoderConfig:
    """How the query side is trained."""

    rank: int = 32
    """Of the change of each layer's weights."""
    epochs: int = 8
    """Passes over the questions."""
    states: int = 2
    """Queries of each question in a pass, each with some of its evidence."""
    batch: int = 64
    """Queries in a step, all of one scope."""
    learning_rate: float = 5e-4
    """Its peak."""
    weight_decay: float = 1e-2
    temperature: float = 0.05
    """Of the scores: τ."""
    anchor: float = 1.0
    """What it costs to turn a query away from what it was."""
    objective: QueryObjective = "likelihood"
    """What is made small: see `retrieval_loss`."""
    negatives: NegativesName = "mined"
    """What the lists of candidates hold, for losses of a list."""
    same: float = SAME
    """Cosine of two passages from which one is no negative where the other is right."""
    cloze: int = 0
    """Questions that are made of the passages (inverse cloze): words of one, which ask for it."""
    seed: int = 0
    stop_after: int | None = None
    """Passes without a better loss on questions held out after which training ends, with the
    weights of the best of them; None makes them all, and holds no question out."""
    held_out: float = 0.12
    """The share of the questions that is then held out, at most, by whole clusters of those that
    share a passage."""

    def __post_init__(self) -> None:
        check_early_stopping(self.stop_after, self.held_out)
        for name in ("rank", "epochs", "states", "batch"):
            whole(getattr(self, name), name, least=1, error=ConfigError)
        for name in ("learning_rate", "temperature", "same"):
            above_zero(getattr(self, name), name, error=ConfigError)
        check_objective(self.objective, self.negatives)
        whole(self.cloze, "cloze", least=0, error=ConfigError)
        if not 0 <= self.anchor < math.inf or not 0 <= self.weight_decay < math.inf:
            raise ConfigError(
                "anchor and weight_decay must be finite and at least 0, got "
                f"{self.anchor} and {self.weight_decay}"
            )


def train_query_encoder(
    corpora: Sequence[OpenCorpus],
    encoder: TransformerEncoder,
    config: QueryEncoderConfig | None = None,
    *,
    progress: TrainingProgress | None = None,
) -> QueryTunedEncoder:
    """Train the query side of an encoder; the encoder itself stays as it is.

    Args:
        corpora: Opened corpora with questions whose supporting passages are known.
        encoder: What made the vectors of their passages.
        config: The settings; those of `QueryEncoderConfig()` by default.
        progress: Told of every step.

    Returns:
        The encoder of the same passages with the trained query side.

    Raises:
        InputError: No question names its supporting passages.
        FormatError: A supporting passage is not in its corpus.
    """
    config = config or QueryEncoderConfig()
    questions = evidence_questions(corpora, encoder, encoder.device)
    learned, judges = learned_and_held_out(questions, config)
    monitor = CollapseMonitor("the query side of an encoder")
    curve: list[dict[str, float]] = []
    factors = train_factors(
        learned, encoder, config, monitor=monitor, progress=progress, judges=judges, curve=curve
    )
    tuned = QueryTunedEncoder(encoder, factors)
    tuned.made_of["collapse"] = monitor.describe()
    if judges:
        tuned.made_of |= {"held_out": len(judges), "curve": curve}
    return tuned


def train_factors(
    questions: Sequence[EvidenceQuestion],
    encoder: TransformerEncoder,
    config: QueryEncoderConfig,
    *,
    monitor: CollapseMonitor,
    progress: TrainingProgress | None = None,
    judges: Sequence[EvidenceQuestion] = (),
    curve: list[dict[str, float]] | None = None,
) -> dict[str, tuple[Tensor, Tensor]]:
    """Train changes of the encoder's layers.

    Args:
        questions: Those to learn from, at least one.
        encoder: What made the vectors of their passages.
        config: The settings.
        monitor: Watches the queries for a collapse, and warns of one.
        progress: Told of every step.
        judges: Questions that each pass is judged on, by which it may end early.
        curve: Takes the loss of these after each pass.

    Returns:
        a `(rank, in)` and b `(out, rank)` of each layer, by its name; see
        `hoptrail.learning.low_rank`.
    """
    rng = np.random.default_rng(config.seed)
    network, changes = changed_copy(
        encoder.model.network, config.rank, device=encoder.device, seed=config.seed
    )
    asking = _Asking(encoder, network, config)
    stopping = EarlyStopping(changes, config.stop_after if judges else None)
    weights = [weight for change in changes.values() for weight in change.parameters()]
    optimizer = torch.optim.AdamW(weights, config.learning_rate, weight_decay=config.weight_decay)
    passes = [list(state_batches(questions, config, rng)) for _ in range(config.epochs)]
    total = sum(map(len, passes))
    schedule = Schedule(optimizer, config.learning_rate, 0, total)
    for number, batches in enumerate(passes, start=1):
        if stopping.over:
            break
        for batch in batches:
            step = schedule.done
            schedule.step()
            loss, turn, vectors = asking.losses(batch)
            optimizer.zero_grad()
            (loss + config.anchor * turn).backward()  # type: ignore[no-untyped-call]
            processes.add_gradients(weights)
            nn.utils.clip_grad_norm_(weights, 1.0)
            optimizer.step()
            _watch(monitor, step, batch, vectors.detach(), config.temperature)
            if progress:
                figures = {"loss": float(loss.detach()), "turn": float(turn.detach())}
                progress("query encoder", step + 1, total, figures)
        if judges:
            judged = held_out_loss(judges, config, [network], lambda one: asking.losses(one)[0])
            stopping.judge(judged)
            if curve is not None:
                curve.append({"pass": number, "held_out_loss": round(judged, 4)})
    stopping.restore_best()
    return {
        name: (change.a.detach().cpu(), change.b.detach().cpu()) for name, change in changes.items()
    }


class _Asking:
    """How queries are encoded while the network changes, and before it did."""

    def __init__(
        self, encoder: TransformerEncoder, network: nn.Module, config: QueryEncoderConfig
    ) -> None:
        self._now = partial(encoder.trainable_vectors, network)
        self._before = partial(encoder.trainable_vectors, encoder.model.network)
        self._config = config

    def losses(self, batch: Sequence[TrainingQuery]) -> tuple[Tensor, Tensor, Tensor]:
        """The loss of a batch, how far its queries were turned, and their vectors `(n, d)`."""
        texts = [query.text for query in batch]
        vectors = processes.shared_vectors(texts, self._now)
        with torch.no_grad():
            before = processes.shared_vectors(texts, self._before)
        loss = _objective_loss(batch, vectors, self._config, before)
        return loss, (1 - (vectors * before).sum(1)).mean(), vectors


def tune_query_encoder(
    data: TrainingData,
    out: Path,
    config: QueryEncoderConfig | None = None,
    *,
    encoder: TransformerEncoder,
    encoder_name: str | None = None,
    command: str = "",
    progress: TrainingProgress = silent,
) -> QueryTunedEncoder:
    """Train the query side of an encoder on files of questions, and write it to a folder.

    Args:
        data: What to learn from, and what to measure dense search on, before and after.
        out: The folder that `memory.load_encoder` then takes.
        config: The settings; those of `QueryEncoderConfig()` by default.
        encoder: Of the passages; their vectors are cached.
        encoder_name: How to load it again: a folder or a hub's name; None for MiniLM.
        command: How the run was called, for what is written beside the weights.
        progress: Told of every step.

    Returns:
        The encoder as written. `made_of` holds data, settings and figures. Of the processes that
        `torchrun` started only the first measures and writes.

    Raises:
        InputError: There is no question with its supporting passages.
        FormatError: A file cannot be read, a supporting passage is not in its corpus, or the
            folder cannot be written.
    """
    config = config or QueryEncoderConfig()
    check_tuned_folder(out)
    with processes.joined_processes(), ExitStack() as stack:
        with processes.first_process_first():
            corpora, dev = tuning_corpora(
                data, encoder, cloze=config.cloze, seed=config.seed, progress=progress, stack=stack
            )
        tuned = train_query_encoder(corpora, encoder, config, progress=progress)
        figures = [
            {
                **one.describe(),
                "before": dense_recalls(corpus, encoder),
                "after": dense_recalls(corpus, tuned),
            }
            for one, corpus in zip(data.dev, dev, strict=True)
            if processes.is_first_process()
        ]
    made_of = {**data.describe(), "config": asdict(config), "command": command, "dev": figures}
    made_of |= tuned.made_of
    tuned = tuned.described(made_of, encoder_name)
    if processes.is_first_process():
        tuned.save(out)
    return tuned


def dense_recalls(corpus: OpenCorpus, encoder: Encoder) -> dict[str, float]:
    """The share of the supporting passages that one dense search finds, in percent.

    Args:
        corpus: An opened corpus with its questions; those without gold are passed over.
        encoder: Whose query side asks.
    """
    asking = query_side(encoder)
    shares: dict[int, list[float]] = {k: [] for k in DEPTHS}
    for question in corpus.questions:
        gold = corpus.gold(question)
        if not gold:
            continue
        dense = corpus.scope_of(question).view.dense
        hits = dense.search(asking.encode([question.text]), max(DEPTHS))[1][0].tolist()
        for k in DEPTHS:
            shares[k].append(sum(slot in hits[:k] for slot in gold) / len(gold))
    return {f"recall@{k}": round(100 * float(np.mean(shares[k] or [0])), 1) for k in DEPTHS}


def _watch(
    monitor: CollapseMonitor,
    step: int,
    batch: Sequence[TrainingQuery],
    vectors: Tensor,
    temperature: float,
) -> None:
    """Show a step's queries `(n, d)` to what watches for a collapse."""
    if step % monitor.every:
        return
    scores = batch[0].question.scores
    cosines = scores(vectors)
    own = [cosines[i, scores.row[list(query.question.gold)]] for i, query in enumerate(batch)]
    monitor.observe(step, vectors, logits=cosines / temperature, cosines=torch.cat(own))


def retrieval_loss(
    batch: Sequence[TrainingQuery],
    vectors: Tensor,
    temperature: float,
    objective: Literal["likelihood", "recall", "ndcg"] = "likelihood",
) -> Tensor:
    """The loss of queries over all of their scope, without the anchor.

    Args:
        batch: n queries of one scope.
        vectors: Theirs, `(n, d)`, with gradients.
        temperature: Of the scores.
        objective: See `hoptrail.policies.data.query_candidates.scope_loss`; "likelihood" is the
            module's.
    """
    logits = batch[0].question.scores(vectors) / temperature
    return scope_loss(objective, logits, *missing_and_unread(batch, logits))


def _objective_loss(
    batch: Sequence[TrainingQuery], vectors: Tensor, config: QueryEncoderConfig, before: Tensor
) -> Tensor:
    """The loss that the settings name; queries were `(n, d)` before training."""
    scores = batch[0].question.scores
    cosines = scores(vectors)
    return objective_loss(
        config.objective,
        cosines,
        *missing_and_unread(batch, cosines),
        vectors=scores.vectors,
        negatives=config.negatives,
        temperature=config.temperature,
        same=config.same,
        teacher=taught_scores(batch, config.objective, before),
    )
