"""Training the passage side of an encoder, or both sides, while its index moves with it.

It learns from what the query side learns from (`query_encoder` beside it): a question with some of
its supporting passages, and what is missing of them. Of a batch the passages that are missing, and
for each query the wrong ones that score highest at that moment, go through the network; all others
of the scope stand in the scores by the vectors that the index serves
(`hoptrail.learning.indexes.moving_index`), as a memory bank without gradients. A passage that is
nearly a right one is no negative. With u the vectors of the passages and u₀ those before training:

    loss = mean over prefixes of the objective + anchor · mean (1 - cos(u, u₀))

Where both sides are trained they share their weights, and the anchor holds queries too. A passage
that is longer than the encoder's window is learned from by its first window.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from hoptrail.errors import ConfigError
from hoptrail.learning.execution import processes
from hoptrail.learning.execution.early_stopping import EarlyStopping
from hoptrail.learning.indexes.moving_index import MovingIndex
from hoptrail.learning.indexes.serving_error import serving_error
from hoptrail.learning.low_rank import changed_copy
from hoptrail.learning.retrieval.collapse import CollapseMonitor
from hoptrail.memory.encoders.transformer import TransformerEncoder
from hoptrail.memory.encoders.tuned.passage_tuned import (
    PassageTunedEncoder,
    TunedSide,
)
from hoptrail.memory.maintenance.checks import backup
from hoptrail.memory.maintenance.reencoding import Reencoding
from hoptrail.memory.search.codecs import Codec, Half, Scalar, Sign
from hoptrail.memory.store import Store
from hoptrail.policies.data.corpora import OpenCorpus
from hoptrail.policies.data.query_candidates import (
    NegativesName,
    QueryObjective,
    list_columns,
    objective_loss,
)
from hoptrail.policies.data.training_data import TrainingData
from hoptrail.policies.training.encoders.evidence_queries import (
    EvidenceQuestion,
    PassageScores,
    TrainingQuery,
    evidence_questions,
    held_out_loss,
    learned_and_held_out,
    missing_and_unread,
    state_batches,
    taught_scores,
)
from hoptrail.policies.training.encoders.query_encoder import QueryEncoderConfig, dense_recalls
from hoptrail.policies.training.preparation import tuning_corpora
from hoptrail.policies.training.stage_run import Schedule
from hoptrail.values.numbers import whole
from hoptrail.values.progress import TrainingProgress, silent

AT_ONCE = 32
"""Passages that are encoded together."""
MEASURED_EVERY, SAMPLE = 20, 128
"""Steps between two looks at how stale the index is, and passages that each takes a sample of."""
CODECS: dict[str, Codec] = {
    "float16": Half(),
    "int8": Scalar(8),
    "int4": Scalar(4),
    "sign": Sign(),
}
"""In which the index may keep its vectors."""


@dataclass(frozen=True, slots=True)
class PassageEncoderConfig(QueryEncoderConfig):
    """How the passage side is trained: as the query side, with an index that moves."""

    rank: int = 16
    epochs: int = 3
    states: int = 1
    batch: int = 16
    learning_rate: float = 2e-4
    objective: QueryObjective = "contrastive"
    """By default of lists, all of whose passages the network encodes."""
    side: TunedSide = "passage"
    """What goes through the changed weights."""
    hard: int = 2
    """Wrong passages of each query that are encoded to learn from; none where `negatives` is
    "batch"."""
    max_age: int | None = 50
    """Steps that a vector of the index may be old; None to encode none anew."""
    codes: str = ""
    """In which the index keeps its vectors; whole where empty."""
    dims: tuple[int, ...] = ()
    """Prefixes of the vectors that are to rank as well, ascending (Matryoshka)."""

    def __post_init__(self) -> None:
        QueryEncoderConfig.__post_init__(self)
        whole(self.hard, "hard", least=0, error=ConfigError)
        if self.max_age is not None:
            whole(self.max_age, "max_age", least=0, error=ConfigError)
        if self.side not in get_args(TunedSide):
            raise ConfigError(
                f"side must be one of {', '.join(get_args(TunedSide))}, got {self.side!r}"
            )
        if self.codes and self.codes not in CODECS:
            raise ConfigError(f"codes must be one of {', '.join(CODECS)}, got {self.codes!r}")
        for shorter, longer in pairwise((0, *self.dims)):
            if not shorter < longer:
                raise ConfigError(f"dims must be ascending whole numbers, got {self.dims}")


def train_passage_encoder(
    corpora: Sequence[OpenCorpus],
    encoder: TransformerEncoder,
    config: PassageEncoderConfig | None = None,
    *,
    progress: TrainingProgress | None = None,
) -> PassageTunedEncoder:
    """Train the passage side of an encoder, or both; the encoder itself stays as it is.

    Args:
        corpora: Opened corpora with questions whose supporting passages are known.
        encoder: What made the vectors of their passages.
        config: The settings; those of `PassageEncoderConfig()` by default.
        progress: Told of every step.

    Returns:
        The encoder with the trained side. `made_of` says how stale the index was.

    Raises:
        InputError: No question names its supporting passages.
        FormatError: A supporting passage is not in its corpus.
        ConfigError: A prefix is longer than the encoder's vectors.
    """
    config = config or PassageEncoderConfig()
    if config.dims and config.dims[-1] >= encoder.dim:
        raise ConfigError(f"dims must be below the encoder's {encoder.dim}, got {config.dims}")
    questions = evidence_questions(corpora, encoder, encoder.device)
    learned, judges = learned_and_held_out(questions, config)
    training = _PassageTraining(questions, encoder, config)
    stopping = EarlyStopping(training.changes, config.stop_after)
    rng = np.random.default_rng(config.seed)
    passes = [list(state_batches(learned, config, rng)) for _ in range(config.epochs)]
    total = sum(map(len, passes))
    schedule = Schedule(training.optimizer, config.learning_rate, 0, total)
    curve: list[dict[str, float]] = []
    for number, batches in enumerate(passes, start=1):
        if stopping.over:
            break
        for batch in batches:
            schedule.step()
            figures = training.step(batch)
            if progress:
                progress("passage encoder", schedule.done, total, figures)
        if judges:
            loss = held_out_loss(judges, config, [training.network], training.loss)
            stopping.judge(loss)
            curve.append({"pass": number, "held_out_loss": round(loss, 4)})
    stopping.restore_best()
    tuned = training.tuned()
    if judges:
        tuned.made_of |= {"held_out": len(judges), "curve": curve}
    return tuned


@dataclass(frozen=True, slots=True)
class _Step:
    """What a batch comes to: `(n, d)` queries, `(m, d)` passages that the network encoded now."""

    loss: Tensor
    queries: Tensor
    asked_before: Tensor
    rows: NDArray[np.int64]
    """Of the passages in the index."""
    fresh: Tensor
    positives: Tensor
    """Bool `(n, m)`."""
    first: int
    count: int
    """Rows of the scope in the index."""


class _PassageTraining:
    """The network, its index and its optimiser, from step to step."""

    def __init__(
        self,
        questions: Sequence[EvidenceQuestion],
        encoder: TransformerEncoder,
        config: PassageEncoderConfig,
    ) -> None:
        self.encoder, self.config = encoder, config
        self.network, self.changes = changed_copy(
            encoder.model.network, config.rank, device=encoder.device, seed=config.seed
        )
        self.weights = [one for change in self.changes.values() for one in change.parameters()]
        self.optimizer = torch.optim.AdamW(
            self.weights, config.learning_rate, weight_decay=config.weight_decay
        )
        scopes = {id(question.scores): question.scores for question in questions}
        self.texts: list[str] = []
        self.first_rows: dict[int, int] = {}
        for name, scores in scopes.items():
            self.first_rows[name] = len(self.texts)
            passages = scores.view.passages(scores.slots.tolist())
            self.texts += [passage.content for passage in passages]
        self.before = torch.cat([scores.vectors for scores in scopes.values()])
        window = encoder.window
        counts = encoder.count_tokens(self.texts) if window else []
        long = np.flatnonzero(np.asarray(counts) > (window or 0)).astype(np.int64)
        if len(long):  # learned from by their first windows, so compared by these from the start
            self.before[torch.from_numpy(long)] = self._encode(long)
        codec = CODECS[config.codes] if config.codes else None
        self.index = MovingIndex(self.before, self._encode, max_age=config.max_age, codec=codec)
        self.monitor = CollapseMonitor("the passage side of an encoder")
        self.rng = np.random.default_rng([config.seed, 1])
        self.staleness: list[dict[str, float]] = []

    @torch.no_grad()
    def _encode(self, rows: NDArray[np.int64]) -> Tensor:
        """The vectors of passages by the network as it is now, `(m, d)`."""
        order = sorted(range(len(rows)), key=lambda i: len(self.texts[rows[i]]))
        vectors = self.before.new_zeros(len(rows), self.before.shape[1])
        for start in range(0, len(order), AT_ONCE):
            part = order[start : start + AT_ONCE]
            texts = [self.texts[rows[i]] for i in part]
            vectors[part] = self._trained(texts)
        return vectors

    def _trained(self, texts: Sequence[str]) -> Tensor:
        """The vectors of texts by the network, with gradients to its weights, `(n, d)`."""
        return processes.shared_vectors(
            texts, partial(self.encoder.trainable_vectors, self.network)
        )

    def loss(self, batch: Sequence[TrainingQuery]) -> Tensor:
        """The loss of the queries of a batch, by the network and the index as they are."""
        return self._forward(batch).loss

    def _forward(self, batch: Sequence[TrainingQuery]) -> _Step:
        config, scores = self.config, batch[0].question.scores
        queries, asked_before = self._queries(batch)
        served, first = self._served(scores)
        with torch.no_grad():
            columns, positives, mask = self._columns(batch, queries @ served.T, served)
        rows = first + columns.cpu().numpy()
        fresh = self._trained([self.texts[row] for row in rows])
        vectors = served.index_copy(0, columns, fresh)
        losses = [
            objective_loss(
                config.objective,
                _prefix(queries, width) @ _prefix(vectors, width).T,
                positives,
                mask,
                vectors=vectors.detach(),
                negatives=config.negatives,
                temperature=config.temperature,
                same=config.same,
                teacher=taught_scores(batch, config.objective, asked_before),
            )
            for width in (*config.dims, vectors.shape[1])
        ]
        loss, right = torch.stack(losses).mean(), positives[:, columns]
        return _Step(loss, queries, asked_before, rows, fresh, right, first, len(served))

    def step(self, batch: Sequence[TrainingQuery]) -> dict[str, float]:
        """Learn from the queries of a batch, and let the index follow; the figures of the step."""
        step, config = self._forward(batch), self.config
        turn = (1 - (step.fresh * self.before[torch.from_numpy(step.rows)]).sum(1)).mean()
        if config.side == "both":
            turn = (turn + (1 - (step.queries * step.asked_before).sum(1)).mean()) / 2
        self.optimizer.zero_grad()
        (step.loss + config.anchor * turn).backward()  # type: ignore[no-untyped-call]
        processes.add_gradients(self.weights)
        nn.utils.clip_grad_norm_(self.weights, 1.0)
        self._watch(step.queries.detach(), step.fresh.detach(), step.positives)
        self.index.write(step.rows, step.fresh)
        self.optimizer.step()
        self.index.advance()
        figures = {"loss": float(step.loss.detach()), "turn": float(turn.detach())}
        return figures | self._measured(step.queries.detach(), step.first, step.count)

    def _queries(self, batch: Sequence[TrainingQuery]) -> tuple[Tensor, Tensor]:
        """The vectors of a batch's queries, and those before training."""
        texts = [query.text for query in batch]
        with torch.no_grad():
            before = processes.shared_vectors(
                texts, partial(self.encoder.trainable_vectors, self.encoder.model.network)
            )
        if self.config.side == "passage":
            return before, before
        return self._trained(texts), before

    def _served(self, scores: PassageScores) -> tuple[Tensor, int]:
        """The index's vectors of a scope, and the row of the first."""
        first = self.first_rows[id(scores)]
        return self.index.served()[first : first + len(scores.slots)], first

    def _columns(
        self, batch: Sequence[TrainingQuery], cosines: Tensor, served: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The passages that are encoded, which are right, and which may be compared."""
        config = self.config
        positives, mask = missing_and_unread(batch, cosines)
        kind: NegativesName = "batch" if config.negatives == "batch" else "mined"
        columns, mask = list_columns(
            cosines, positives, mask, served, kind, config.same, config.hard
        )
        return columns, positives, mask

    def _watch(self, queries: Tensor, fresh: Tensor, positives: Tensor) -> None:
        """Show a step's passages to what watches for a collapse."""
        if self.index.step % self.monitor.every == 0:
            cosines = queries @ fresh.T
            logits = cosines / self.config.temperature
            self.monitor.observe(self.index.step, fresh, logits=logits, cosines=cosines[positives])

    def _measured(self, queries: Tensor, first: int, count: int) -> dict[str, float]:
        """How stale the index is, now and then; nothing else."""
        if self.index.step % MEASURED_EVERY:
            return {}
        rows = first + self.rng.permutation(count)[:SAMPLE].astype(np.int64)
        staleness = self.index.staleness(queries, rows)
        self.staleness.append({**asdict(staleness), "score_error": staleness.score_error})
        return {"cosine": staleness.cosine, "changed": staleness.changed}

    def tuned(self) -> PassageTunedEncoder:
        """The encoder as it has become, with what was seen on the way."""
        changes = {
            name: tuple(factor.detach().cpu().half().numpy() for factor in (change.a, change.b))
            for name, change in self.changes.items()
        }
        tuned = PassageTunedEncoder(
            self.encoder, {name: (a, b) for name, (a, b) in changes.items()}, self.config.side
        )
        error = serving_error(self.index.code_error, self.config.temperature)
        tuned.made_of = {
            "collapse": self.monitor.describe(),
            "index": {
                "steps": self.index.step,
                "encoded": self.index.encoded,
                "staleness": self.staleness,
                "code_error": asdict(error) if self.index.codec else None,
            },
        }
        return tuned


def _prefix(vectors: Tensor, width: int) -> Tensor:
    """The first dimensions of vectors `(n, d)`, normalised anew where they are not all."""
    if width == vectors.shape[1]:
        return vectors
    return functional.normalize(vectors[:, :width], dim=1)


def tune_passage_encoder(
    data: TrainingData,
    out: Path,
    config: PassageEncoderConfig | None = None,
    *,
    encoder: TransformerEncoder,
    encoder_name: str | None = None,
    command: str = "",
    progress: TrainingProgress = silent,
) -> PassageTunedEncoder:
    """Train the passage side of an encoder, or both, on files, and write it to a folder.

    Args:
        data: What to learn from, and what to measure dense search on: before, and after a copy of
            the memory was encoded anew.
        out: The folder that `memory.load_encoder` then takes.
        config: The settings; those of `PassageEncoderConfig()` by default.
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
        ConfigError: A prefix is longer than the encoder's vectors.
    """
    config = config or PassageEncoderConfig()
    PassageTunedEncoder.check_folder(out)
    with processes.joined_processes(), ExitStack() as stack:
        with processes.first_process_first():
            corpora, dev = tuning_corpora(
                data, encoder, cloze=config.cloze, seed=config.seed, progress=progress, stack=stack
            )
        tuned = train_passage_encoder(corpora, encoder, config, progress=progress)
        figures = [
            {
                **one.describe(),
                "before": dense_recalls(corpus, encoder),
                "after": reencoded_recalls(corpus, encoder, tuned),
            }
            for one, corpus in zip(data.dev, dev, strict=True)
            if processes.is_first_process()
        ]
    made_of: dict[str, Any] = {**data.describe(), "config": asdict(config), "command": command}
    tuned.made_of = {**made_of, "dev": figures, **tuned.made_of}
    tuned.base_name = encoder_name
    if processes.is_first_process():
        tuned.save(out)
    return tuned


def reencoded_recalls(
    corpus: OpenCorpus, encoder: TransformerEncoder, tuned: PassageTunedEncoder
) -> dict[str, float]:
    """What one dense search finds once a copy of a corpus's store was encoded anew, in percent.

    Args:
        corpus: An opened corpus with its questions; its store stays as it is.
        encoder: That the store has.
        tuned: That the copy gets.
    """
    with TemporaryDirectory() as folder:
        file = Path(folder) / "copy.db"
        backup(corpus.store, file)
        with closing(Store(file, encoder=encoder)) as store:
            Reencoding(store, tuned).run()
        with closing(OpenCorpus(file, None, tuned)) as copied:
            return dense_recalls(copied.with_questions(corpus.questions), tuned)
