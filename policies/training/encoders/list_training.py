"""What the trainings of rankers have in common: lists, losses, steps, and going on after a stop.

A ranker is what gives a question's candidates scores: a cross-encoder, a sparse encoder, a late
interaction. Beside them stand batches of questions with their lists (`ranking_lists`); the loss is
one of `LIST_OBJECTIVES`. All that a run draws depends on its seed and the number of a step, so that
one that was stopped goes on as if it had not been.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

import torch
from torch import Tensor, nn

from hoptrail.errors import ConfigError
from hoptrail.learning.execution import processes
from hoptrail.learning.execution.early_stopping import EarlyStopping, at_rest, require_judges
from hoptrail.learning.ranking_losses import (
    LossName,
    ScoredCandidates,
    binary_loss,
    candidate_loss,
)
from hoptrail.memory.encoders.transformer import TransformerEncoder
from hoptrail.memory.search.pipeline import Pipeline
from hoptrail.metrics.clusters import connected_components, held_out_items
from hoptrail.policies.data.corpora import OpenCorpus
from hoptrail.policies.data.query_candidates import SAME
from hoptrail.policies.data.training_data import TrainingData
from hoptrail.policies.training.checkpoint import Checkpoint, Loaded
from hoptrail.policies.training.config import check_early_stopping
from hoptrail.policies.training.encoders.query_encoder import DEPTHS
from hoptrail.policies.training.encoders.ranking_lists import (
    ListBatch,
    RankedQuestion,
    RankingLists,
    list_batches,
    mine_lists,
)
from hoptrail.policies.training.preparation import tuning_corpora
from hoptrail.policies.training.stage_run import Schedule, seeded
from hoptrail.values.numbers import above_zero, whole
from hoptrail.values.progress import TrainingProgress

ListObjective = Literal["likelihood", "contrastive", "pairwise", "lambda", "binary"]
"""What a list is trained for."""

SAVED_EVERY = 50
"""Steps between two checkpoints."""

_LOSSES: dict[str, LossName] = {
    "likelihood": "evidence",
    "contrastive": "contrastive",
    "pairwise": "pairwise",
    "lambda": "lambda",
}


@dataclass(frozen=True, slots=True)
class ListTrainingConfig:
    """How a ranker is trained."""

    epochs: int = 1
    """Passes over the questions."""
    batch: int = 4
    """Questions in a step."""
    wrong: int = 6
    """Wrong passages of a question in a step."""
    depth: int = 50
    """Passages of the memory's own search that these are drawn from, and that are ranked anew where
    a model of this kind does that."""
    learning_rate: float = 5e-5
    """Its peak."""
    weight_decay: float = 1e-2
    temperature: float = 1.0
    """Scores are divided by it."""
    objective: ListObjective = "contrastive"
    """What is made small."""
    same: float = SAME
    """Cosine of two passages from which one is no negative where the other is right."""
    cloze: int = 0
    """Questions that are made of the passages (inverse cloze): words of one, which ask for it."""
    window: int = 192
    """Tokens of a text, or of a pair, that are read in training, if the network reads so many."""
    seed: int = 0
    stop_after: int | None = None
    """Passes without a better loss on questions held out after which training ends, with the
    weights of the best of them; None makes them all, and holds no question out."""
    held_out: float = 0.12
    """The share of the questions that is then held out, at most, by whole clusters of those that
    share a passage."""

    def __post_init__(self) -> None:
        check_early_stopping(self.stop_after, self.held_out)
        for name in ("epochs", "batch", "wrong", "depth", "window"):
            whole(getattr(self, name), name, least=1, error=ConfigError)
        whole(self.cloze, "cloze", least=0, error=ConfigError)
        for name in ("learning_rate", "temperature", "same"):
            above_zero(getattr(self, name), name, error=ConfigError)
        if not 0 <= self.weight_decay < math.inf:
            raise ConfigError(
                f"weight_decay must be finite and at least 0, got {self.weight_decay}"
            )
        if self.objective not in get_args(ListObjective):
            raise ConfigError(
                f"objective must be one of {', '.join(get_args(ListObjective))} for a model that "
                f"orders a list, got {self.objective!r}"
            )


class Ranker(Protocol):
    """A model in training that scores passages for questions."""

    in_batch: bool
    """Whether a question is also compared with the passages of the batch's other questions."""

    @property
    def modules(self) -> Mapping[str, nn.Module]:
        """All that is trained, by name."""

    def scores(self, batch: ListBatch) -> tuple[Tensor, Tensor]:
        """The scores `(questions, passages)`, and what is added to their loss, `()`.

        Of several processes all have the same scores, and each the gradients of those that it
        computed (`processes.shared_vectors`).

        Args:
            batch: Questions with their lists; where `in_batch` is False, only scores of a
                question's own list are looked at.
        """


@dataclass(frozen=True, slots=True)
class TunedRanker:
    """What a training of a ranker has written."""

    folder: Path
    """Where it lies."""
    size: int
    """The number of weights that were trained."""
    made_of: dict[str, Any]
    """Data, settings and figures; JSON values."""


def ranker_loss(
    objective: ListObjective, scores: Tensor, positives: Tensor, mask: Tensor, temperature: float
) -> Tensor:
    """The mean loss of questions over their lists, `()`.

    Args:
        objective: Its name.
        scores: `(b, n)`.
        positives: Bool `(b, n)`, within the mask.
        mask: Bool `(b, n)`, True where there is a candidate.
        temperature: Scores are divided by it.
    """
    if objective == "binary":
        return binary_loss(scores / temperature, positives, mask=mask)
    candidates = ScoredCandidates(scores, positives, mask)
    return candidate_loss(_LOSSES[objective], candidates, temperature=temperature)


@dataclass(frozen=True, slots=True)
class PreparedLists:
    """What a ranker learns from and is measured on, with its checkpoint."""

    lists: RankingLists
    held_out: RankingLists
    """What each pass is judged on; of no question where nothing is held out."""
    dev: list[OpenCorpus]
    checkpoint: Checkpoint


@dataclass(frozen=True, slots=True)
class RankerLosses:
    """What a training of a ranker went through."""

    steps: list[float]
    """The loss of every step, from where it began."""
    curve: list[dict[str, float]]
    """The loss of what is held out after each pass."""


def train_ranker(
    ranker: Ranker,
    prepared: PreparedLists,
    config: ListTrainingConfig,
    *,
    stage: str,
    resume: bool,
    progress: TrainingProgress,
) -> RankerLosses:
    """Train a ranker on lists; the losses that it went through.

    Args:
        ranker: Its modules are trained in place.
        prepared: What it learns from, and its checkpoint, which is written now and then.
        config: The settings.
        stage: What progress calls it.
        resume: Go on from the checkpoint, where there is one.
        progress: Told of every step.

    Raises:
        ConfigError: A loss is not finite.
        PolicyError: The checkpoint is damaged, or of another run.
    """
    lists, checkpoint = prepared.lists, prepared.checkpoint
    modules = ranker.modules
    weights = [one for module in modules.values() for one in module.parameters()]
    weights = [weight for weight in weights if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, config.learning_rate, weight_decay=config.weight_decay)
    stopping = EarlyStopping(modules, config.stop_after)
    saved_modules = {**modules, **stopping.best_modules}
    state = checkpoint.load() if resume else None
    done, curve = _resumed(checkpoint, state, saved_modules, optimizer, stopping)
    passes = -(-len(lists.questions) // config.batch)
    total = passes * config.epochs
    schedule = Schedule(optimizer, config.learning_rate, done, total)
    losses: list[float] = []
    batches: Sequence[ListBatch] = ()
    for step in range(done, total):
        if stopping.over:
            break
        epoch, number = divmod(step, passes)
        if number == 0 or not batches:
            batches = list_batches(
                lists,
                size=config.batch,
                wrong=config.wrong,
                same=config.same,
                seed=(config.seed, epoch),
            )
        schedule.step()
        with seeded(config.seed, step, 1):  # what is dropped out depends on the step alone
            processes.draw_apart()
            loss = _loss(ranker, batches[number], config)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
        losses.append(_finite(loss, step, config))
        processes.add_gradients(weights)
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        if number == passes - 1 and prepared.held_out.questions:
            loss_now = _held_out_loss(ranker, prepared.held_out, config)
            stopping.judge(loss_now)
            curve.append({"pass": epoch + 1, "held_out_loss": round(loss_now, 4)})
        if (step + 1) % SAVED_EVERY == 0:
            saved_place = {"steps": step + 1, "curve": curve, **stopping.describe()}
            checkpoint.save(saved_place, saved_modules, optimizer)
        progress(stage, step + 1, total, {"loss": losses[-1]})
    stopping.restore_best()
    return RankerLosses(losses, curve)


def _held_out_loss(ranker: Ranker, lists: RankingLists, config: ListTrainingConfig) -> float:
    """The mean loss of questions that are held out, with nothing dropped out.

    Of several processes all have the same.

    Args:
        ranker: As it is now.
        lists: Of these questions.
        config: The settings; the same wrong passages are drawn after every pass.
    """
    batches = list_batches(
        lists, size=config.batch, wrong=config.wrong, same=config.same, seed=(config.seed,)
    )
    with at_rest(ranker.modules.values()):
        total = sum(float(_loss(ranker, one, config)) * len(one.questions) for one in batches)
    return total / len(lists.questions)


def _resumed(
    checkpoint: Checkpoint,
    state: Loaded | None,
    modules: Mapping[str, nn.Module],
    optimizer: torch.optim.Optimizer,
    stopping: EarlyStopping,
) -> tuple[int, list[dict[str, float]]]:
    """Steps that were done, and the curve so far, once all is as a checkpoint has it."""
    if state is None:
        return 0, []
    place, tensors = state
    checkpoint.restore(tensors, modules, optimizer)
    stopping.resume(place)
    return place["steps"], place["curve"]


def _finite(loss: Tensor, step: int, config: ListTrainingConfig) -> float:
    """The loss of a step.

    Raises:
        ConfigError: It is not finite.
    """
    number = float(loss.detach())
    if not math.isfinite(number):
        raise ConfigError(
            f"the loss of step {step + 1} is {number}: a learning_rate below "
            f"{config.learning_rate} may keep it finite"
        )
    return number


def _loss(ranker: Ranker, batch: ListBatch, config: ListTrainingConfig) -> Tensor:
    """The loss of one batch."""
    scores, extra = ranker.scores(batch)
    mask = (batch.comparable if ranker.in_batch else batch.own).to(scores.device)
    positives = batch.positives.to(scores.device)
    return ranker_loss(config.objective, scores, positives, mask, config.temperature) + extra


def prepare_lists(
    data: TrainingData,
    out: Path,
    config: ListTrainingConfig,
    encoder: TransformerEncoder,
    identity: Mapping[str, Any],
    progress: TrainingProgress,
    stack: ExitStack,
) -> PreparedLists:
    """Open the files of a training of a ranker, and mine its lists.

    Args:
        data: Names the files.
        out: The folder of the result, where the checkpoint lies meanwhile.
        config: The settings.
        encoder: Of the passages; their vectors are cached.
        identity: What tells the run from others beside settings and data; JSON values.
        progress: Told of each corpus that has to be indexed.
        stack: Closes the corpora.

    Raises:
        InputError: There is no question with its supporting passages.
        FormatError: A file cannot be read, or a supporting passage is not in its corpus.
    """
    with processes.first_process_first():
        corpora, dev = tuning_corpora(
            data, encoder, cloze=config.cloze, seed=config.seed, progress=progress, stack=stack
        )
        lists = mine_lists(corpora, encoder, depth=config.depth, same=config.same)
    learned, held_out = _split_lists(lists, config)
    run = {"config": asdict(config), "encoder": encoder.fingerprint, **identity}
    return PreparedLists(learned, held_out, dev, Checkpoint(out, {**run, **data.fingerprint()}))


def _split_lists(
    lists: RankingLists, config: ListTrainingConfig
) -> tuple[RankingLists, RankingLists]:
    """What is learned from, and what is held out where training may end early.

    Raises:
        ConfigError: There are too few questions to hold any out.
    """
    if config.stop_after is None:
        return lists, replace(lists, questions=[])
    clusters = connected_components([question.right for question in lists.questions])
    mask = held_out_items(clusters, config.held_out, config.seed).tolist()
    require_judges(sum(mask), config.stop_after)
    questions: tuple[list[RankedQuestion], list[RankedQuestion]] = [], []
    for question, out in zip(lists.questions, mask, strict=True):
        questions[out].append(question)
    learned, judges = questions
    return replace(lists, questions=learned), replace(lists, questions=judges)


def training_record(
    data: TrainingData,
    config: ListTrainingConfig,
    prepared: PreparedLists,
    losses: RankerLosses,
    figures: Sequence[Mapping[str, Any]],
    command: str,
) -> dict[str, Any]:
    """What a ranker was made of, for its card: JSON values.

    Args:
        data: What it learned from.
        config: The settings.
        prepared: Its lists.
        losses: Of this run.
        figures: Of each set that it was measured on.
        command: How the run was called.
    """
    judges = prepared.held_out.questions
    return {
        **data.describe(),
        "config": asdict(config),
        "command": command,
        "questions": len(prepared.lists.questions),
        "losses": [round(loss, 4) for loss in losses.steps],
        **({"held_out": len(judges), "curve": losses.curve} if judges else {}),
        "dev": list(figures),
    }


def cut_encoder(encoder: TransformerEncoder, window: int) -> TransformerEncoder:
    """The same network that reads no more than some tokens of a text.

    Args:
        encoder: It stays as it is.
        window: Tokens, the special ones among them.
    """
    model = encoder.model
    if window >= model.max_length:
        return encoder
    return TransformerEncoder(replace(model, max_length=window), device=encoder.device)


def pipeline_recalls(corpus: OpenCorpus, pipeline: Pipeline) -> dict[str, float]:
    """The share of the supporting passages that a pipeline finds, in percent.

    Args:
        corpus: An opened corpus with its questions; those without gold are passed over.
        pipeline: What searches; each of its stages keeps at least ten.
    """
    shares: dict[int, list[float]] = {k: [] for k in DEPTHS}
    for question in corpus.questions:
        gold = set(question.supporting_ids)
        if not gold:
            continue
        result = pipeline.search(
            corpus.store, question.text, max(DEPTHS), namespace=question.namespace
        )
        ids = [
            hit.passage.id if hit.passage.namespace == question.namespace else None
            for hit in result.hits
        ]
        for k in DEPTHS:
            shares[k].append(len(gold.intersection(ids[:k])) / len(gold))
    means = {k: sum(of_k) / len(of_k) if of_k else 0.0 for k, of_k in shares.items()}
    return {f"recall@{k}": round(100 * mean, 1) for k, mean in means.items()}
