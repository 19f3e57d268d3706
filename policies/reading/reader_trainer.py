"""Training a reader: on what a corpus asks itself, then on questions with their answers.

The encoder's transformer takes changes of low rank, a head is learned beside them, and the encoder
stays as it is. Some of the questions, by whole clusters of those that share a passage, are held
out: on them it is measured how well the reader does, and fitted how sure its answers may be.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from hoptrail.errors import ConfigError, InputError
from hoptrail.learning.answering.answer_network import answer_loss, count_marks
from hoptrail.learning.answering.extractive_reader import (
    CARD,
    FORMAT,
    WEIGHTS,
    ExtractiveReader,
)
from hoptrail.learning.execution import processes
from hoptrail.learning.execution.early_stopping import EarlyStopping, require_judges
from hoptrail.learning.low_rank import layer_number
from hoptrail.memory.encoders.model_folder import check_own_folder
from hoptrail.memory.encoders.transformer import Encoder, TransformerEncoder
from hoptrail.memory.encoders.windows import tokenizer_of
from hoptrail.policies.data.training_data import TrainingData
from hoptrail.policies.reading.reading_data import ReadingCorpus, reading_corpora
from hoptrail.policies.reading.reading_figures import figures_by_set, held_out_certainty
from hoptrail.policies.reading.recurring_names import ClozeQuestions
from hoptrail.policies.reading.trail_sampling import TrainingTrail, fixed_trails, sample_trail
from hoptrail.policies.reading.trainable_reader import TrainableReader
from hoptrail.policies.training.checkpoint import Checkpoint
from hoptrail.values.numbers import above_zero, whole
from hoptrail.values.progress import TrainingProgress, silent

WARM_UP, LOWEST = 0.06, 0.02
"""The share of a phase in which its learning rate rises, and what is left of it at its end."""
SORTED = 16
"""Batches whose trails are sorted by length together, so that little is padded."""
ROUND = 4000
"""Questions of a corpus's own between two checkpoints."""
STEPS_READ = 0.5
"""The share of the steps of questions that a pass reads."""
TRIES = 20
"""Draws for each such question, at most: not every sentence asks one."""
CLOZE_TIME = 0.45
"""The part of a time limit that the questions of corpora have; all of it is left to the other ones
where there are none."""


@dataclass(frozen=True, slots=True)
class ReaderConfig:
    """How a reader is trained."""

    rank: int = 64
    """Of the change of each layer's weights."""
    layers: int = 4
    """The transformer's layers that are changed, from the last one down."""
    cloze: int = 24_000
    """Questions that the corpora ask themselves; 0 for none."""
    epochs: int = 10
    """Passes over the questions."""
    batch: int = 16
    """Trails in a step."""
    beside: int = 2
    """Passages of a trail beside the evidence, at most: a step costs what its passages do."""
    learning_rate: float = 5e-4
    """Its peak, in both phases."""
    weight_decay: float = 1e-2
    evidence_weight: float = 0.3
    """What it weighs to know the evidence, beside the answer."""
    held_out: float = 0.12
    """The share of the questions that certainty is fitted on."""
    window: int = 512
    """Tokens of a window."""
    seed: int = 0
    stop_after: int | None = None
    """Passes over the questions without a better loss on those held out after which training ends,
    with the weights of the best pass; None to make them all and take the last."""
    time_limit: float | None = None
    """Seconds: a run that would take longer passes over the rest of each phase's questions, with
    the learning rate falling in time. A run without it can be repeated exactly."""

    def __post_init__(self) -> None:
        for name in ("rank", "layers", "epochs", "batch", "beside"):
            whole(getattr(self, name), name, least=1, error=ConfigError)
        whole(self.cloze, "cloze", least=0, error=ConfigError)
        above_zero(self.learning_rate, "learning_rate", error=ConfigError)
        if self.stop_after is not None:
            whole(self.stop_after, "stop_after", least=1, error=ConfigError)
        if self.time_limit is not None:
            above_zero(self.time_limit, "time_limit", error=ConfigError)
        for name in ("weight_decay", "evidence_weight"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigError(
                    f"{name} must be finite and at least 0, got {getattr(self, name)}"
                )
        if not 0 < self.held_out < 1:
            raise ConfigError(f"held_out must be above 0 and below 1, got {self.held_out}")


def settings_of_changes(reader: ExtractiveReader) -> dict[str, int]:
    """The settings of a training that goes on from a reader: its rank, and how many layers.

    Args:
        reader: Whose changes are of one rank.
    """
    changes = reader.changed_layers
    return {"rank": max(changes.values()), "layers": len(set(map(layer_number, changes)))}


def train_reader(
    data: TrainingData,
    out: Path,
    config: ReaderConfig | None = None,
    *,
    encoder: TransformerEncoder,
    passage_encoder: Encoder | None = None,
    start: ExtractiveReader | None = None,
    resume: bool = False,
    command: str = "",
    progress: TrainingProgress = silent,
) -> ExtractiveReader:
    """Train a reader on files of questions, and write it to a folder.

    Several processes of `torchrun` train one reader, each on its share of every batch, and the
    first measures and writes it. What is dropped out is drawn in each process.

    Args:
        data: What to learn from, and what to measure the reader on when it is done.
        out: The folder that `ExtractiveReader.load` then takes.
        config: The settings; those of `ReaderConfig()` by default.
        encoder: Whose transformer is changed; training runs on its device.
        passage_encoder: Finds the passages that a question is read with beside its evidence; such
            a one may have a cache. The encoder by default.
        start: A reader of the same encoder to go on from, with changes of the same layers and the
            same rank; one that has learned nothing by default.
        resume: Go on from the checkpoint in the folder, where there is one.
        command: How the run was called, for what is written beside the weights.
        progress: Told of every step.

    Returns:
        The reader as written. `made_of` holds data, settings and figures.

    Raises:
        InputError: There is no question with its answer and its supporting passages.
        FormatError: A file cannot be read, a supporting passage is not in its corpus, or the
            folder cannot be written.
        ConfigError: There are several processes, and a time limit.
        PolicyError: The checkpoint is damaged, or of a run with other settings or data.
        ReaderError: `start` is of another encoder, or changes other layers or by another rank.
    """
    config = config or ReaderConfig()
    _check(data, config)
    check_own_folder(out, FORMAT, (CARD, WEIGHTS), "reader")
    run = {"config": asdict(config), **data.fingerprint()}
    run |= {} if start is None else {"start": start.fingerprint}
    checkpoint = Checkpoint(out, run)
    with processes.joined_processes():
        with processes.first_process_first():
            learned, held_out, dev, cloze = _prepared(data, encoder, passage_encoder, config)
        training = _Training(learned, cloze, encoder, config, held_out, start)
        training.go(checkpoint, progress, resume=resume)
    reader = training.network.reader()
    if not processes.is_first_process():
        return reader
    reader.certainty = held_out_certainty(reader, held_out, config.seed) or reader.certainty
    reader.made_of = {
        **data.describe(),
        "config": asdict(config),
        "command": command,
        **({} if start is None else {"start": describe_start(start)}),
        "curve": training.curve,
        "held_out": figures_by_set(reader, held_out, data.train, config.seed),
        "dev": figures_by_set(reader, dev, data.dev, config.seed),
    }
    reader.save(out)
    checkpoint.remove()
    return reader


def _check(data: TrainingData, config: ReaderConfig) -> None:
    """Refuse what a reader cannot learn from, and a time limit where processes have many clocks."""
    data.refuse_feedback("a reader")
    count = processes.launched_count()
    if config.time_limit is not None and count > 1:
        raise ConfigError(
            f"time_limit is {config.time_limit}, and {count} processes have as many clocks: leave "
            "it out, or train in one process"
        )


def describe_start(start: ExtractiveReader) -> dict[str, Any]:
    """What a reader was that one went on from, without its figures."""
    names = ("sets", "config", "command", "start")
    made_of = {name: start.made_of[name] for name in names if name in start.made_of}
    return {"weights": start.fingerprint, **made_of}


def _prepared(
    data: TrainingData, encoder: TransformerEncoder, finder: Encoder | None, config: ReaderConfig
) -> tuple[list[ReadingCorpus], list[ReadingCorpus], list[ReadingCorpus], list[ClozeQuestions]]:
    """What is learned from, held out, measured on, and what the corpora ask themselves.

    No passage that a question held out or measured on needs asks anything.
    """
    tokenizer = tokenizer_of(encoder.model.tokenizer)
    learned, held_out, dev = reading_corpora(
        data, tokenizer, finder or encoder, held_out=config.held_out, split_seed=config.seed
    )
    if not any(corpus.questions for corpus in learned):
        raise InputError(
            "there is nothing to learn from: no question has an answer and names its supporting "
            "passages"
        )
    cloze = []
    for file, corpus in {one.file: one for one in learned}.items():
        unseen = {p for one in (*held_out, *dev) if one.file == file for p in _evidence(one)}
        cloze.append(ClozeQuestions(corpus, tokenizer, unseen))
    return learned, held_out, dev, cloze


def _evidence(corpus: ReadingCorpus) -> set[int]:
    return {place for question in corpus.questions for place in question.gold}


class _Training:
    """A network in training.

    Args:
        corpora: With the questions that are learned from.
        cloze: Their own questions.
        encoder: Whose transformer is changed.
        config: The settings.
        held_out: With questions on which each pass is judged.
        start: The reader to go on from, if any.
    """

    def __init__(
        self,
        corpora: Sequence[ReadingCorpus],
        cloze: Sequence[ClozeQuestions],
        encoder: TransformerEncoder,
        config: ReaderConfig,
        held_out: Sequence[ReadingCorpus] = (),
        start: ExtractiveReader | None = None,
    ) -> None:
        self.curve: list[dict[str, float]] = []
        self._corpora, self._encoder, self._config = corpora, encoder, config
        self._cloze = [one for one in cloze if len(one)]
        self.network = TrainableReader(
            encoder,
            rank=config.rank,
            layers=config.layers,
            window=config.window,
            seed=config.seed,
        )
        self._entropy = [config.seed]
        if start is not None:
            self.network.begin_from(start)
            # It has learned from what this seed draws, so that it goes on with something else.
            self._entropy.append(int(start.fingerprint, 16))
        self._weights = self.network.weights
        self._optimizer = torch.optim.AdamW(
            [weight for weight in self._weights if weight.requires_grad],
            config.learning_rate,
            weight_decay=config.weight_decay,
        )
        self._held_out = fixed_trails(held_out, config.beside, config.seed)
        self._stopping = EarlyStopping(self.network.modules, config.stop_after)
        require_judges(len(self._held_out), config.stop_after)

    def _all_modules(self) -> dict[str, nn.Module]:
        """What a checkpoint holds: what is trained, and the best of it so far."""
        return {**self.network.modules, **self._stopping.best_modules}

    def go(self, checkpoint: Checkpoint, progress: TrainingProgress, *, resume: bool) -> None:
        """Train, from the checkpoint where there is one and it is to go on.

        Args:
            checkpoint: Written after each round.
            progress: Told of every step.
            resume: Whether to go on.
        """
        rounds = 0
        if resume and (state := checkpoint.load()):
            place, tensors = state
            checkpoint.restore(tensors, self._all_modules(), self._optimizer)
            rounds, self.curve = place["rounds"], place["curve"]
            self._stopping.resume(place)
        cloze = math.ceil(self._config.cloze / ROUND) if self._cloze else 0
        for_cloze = CLOZE_TIME if cloze else 0.0
        phases = [("cloze", cloze, for_cloze), ("questions", self._config.epochs, 1 - for_cloze)]
        began = time.monotonic()
        at = 0
        for phase, count, time_share in phases:
            limit = self._config.time_limit and self._config.time_limit * time_share
            phase_began = time.monotonic()
            for number in range(count):
                at += 1
                if at <= rounds:
                    continue
                spent = time.monotonic() - phase_began
                if (limit and spent >= limit) or self._stopping.over:
                    continue
                losses = self._round(phase, number, count, phase_began, limit, progress)
                if not losses:  # the time was over, or the corpora ask nothing
                    continue
                row = {"round": at, "loss": round(float(np.mean(losses)), 4)}
                if phase == "questions" and self._held_out:
                    loss = self._held_out_loss()
                    self._stopping.judge(loss)
                    row["held_out_loss"] = round(loss, 4)
                self.curve.append({**row, "seconds": round(time.monotonic() - began, 1)})
                place = {"rounds": at, "curve": self.curve, **self._stopping.describe()}
                checkpoint.save(place, self._all_modules(), self._optimizer)
        self._stopping.restore_best()

    def _round(
        self,
        phase: str,
        number: int,
        count: int,
        began: float,
        limit: float | None,
        progress: TrainingProgress,
    ) -> list[float]:
        """The losses of one round's steps."""
        seeds = np.random.SeedSequence([*self._entropy, number, len(phase)])
        rng = np.random.default_rng(seeds)
        trails = self._trails(phase, number, rng)
        batches = _batches(trails, self._config.batch, rng)
        # What is dropped out too depends on the round alone, so that a run can be taken up again.
        with torch.random.fork_rng():
            torch.manual_seed(int(seeds.generate_state(1)[0]) + processes.process_number())
            return self._steps(phase, number, count, batches, began, limit, progress)

    def _steps(
        self,
        phase: str,
        number: int,
        count: int,
        batches: Sequence[Sequence[TrainingTrail]],
        began: float,
        limit: float | None,
        progress: TrainingProgress,
    ) -> list[float]:
        """The losses of the steps on a round's batches."""
        losses: list[float] = []
        for i, batch in enumerate(batches):
            done = (number + i / len(batches)) / count
            if limit:
                done = max(done, (time.monotonic() - began) / limit)
            if done >= 1:
                break
            losses.append(self._step(batch, done))
            progress(
                phase, number * len(batches) + i + 1, count * len(batches), {"loss": losses[-1]}
            )
        return losses

    def _trails(self, phase: str, number: int, rng: np.random.Generator) -> list[TrainingTrail]:
        """What a round is about."""
        if phase == "questions":
            return [
                sample_trail(corpus, question, self._config.beside, rng)
                for corpus in self._corpora
                for question in corpus.questions
                if not question.part_of or rng.random() < STEPS_READ
            ]
        size = min(ROUND, self._config.cloze - number * ROUND)
        weights = np.array([len(one) for one in self._cloze], dtype=float)
        trails: list[TrainingTrail] = []
        for _ in range(TRIES * size):
            source = self._cloze[int(rng.choice(len(weights), p=weights / weights.sum()))]
            if (trail := source.draw(rng)) is not None:
                trails.append(trail)
            if len(trails) == size:
                break
        return trails

    def _step(self, trails: Sequence[TrainingTrail], done: float) -> float:
        """One step of the optimiser at a share of its phase; the loss before it."""
        if done < WARM_UP:
            share = done / WARM_UP
        else:
            share = (1 + math.cos(math.pi * (done - WARM_UP) / (1 - WARM_UP))) / 2
        for group in self._optimizer.param_groups:
            group["lr"] = self._config.learning_rate * max(share, LOWEST)
        self._optimizer.zero_grad()
        loss = self._loss(trails)
        if loss.requires_grad:
            loss.backward()  # type: ignore[no-untyped-call]
        processes.add_gradients(self._weights)
        nn.utils.clip_grad_norm_(self._weights, 1.0)
        self._optimizer.step()
        (total,) = processes.sums_of([float(loss.detach())])
        return total

    def _loss(self, trails: Sequence[TrainingTrail]) -> torch.Tensor:
        """What this process has of the mean loss of trails: all of it, where it is alone."""
        part = processes.own_share(trails)
        if not part:
            processes.shares_of([0, 0])
            return torch.zeros(())
        scores, windows = self.network.score(part)
        targets = [trail.target for trail in part]
        shares = processes.shares_of([len(part), count_marks(windows, targets)])
        return answer_loss(scores, windows, targets, self._config.evidence_weight, shares)

    @torch.no_grad()
    def _held_out_loss(self) -> float:
        """The mean loss of what is held out, with nothing dropped out."""
        self.network.network.eval()
        size = self._config.batch
        parts = [self._held_out[i : i + size] for i in range(0, len(self._held_out), size)]
        own_total = sum(float(self._loss(part)) * len(part) for part in parts)
        self.network.network.train()
        (total,) = processes.sums_of([own_total])
        return total / len(self._held_out)


def _batches(
    trails: Sequence[TrainingTrail], size: int, rng: np.random.Generator
) -> list[list[TrainingTrail]]:
    """Trails in batches, those of about one length together, in any order."""
    order = rng.permutation(len(trails)).tolist()
    batches: list[list[TrainingTrail]] = []
    for start in range(0, len(order), SORTED * size):
        part = sorted(
            (trails[i] for i in order[start : start + SORTED * size]),
            key=lambda trail: sum(len(passage.ids) for passage in trail.passages),
        )
        batches += [part[i : i + size] for i in range(0, len(part), size)]
    return [batches[i] for i in rng.permutation(len(batches)).tolist()]
