"""Training retriever and generator together, by the likelihood of the answers alone.

    loss = -mean log p(y | x) + w · uniformity of the queries' vectors

No question needs to name its passages: what makes the answer likely is pulled up. The retriever can
be frozen, to see what it is worth to train it. Passage vectors stay, so that no index is built anew
(Lewis et al. 2020, 2005.11401, section 2.4, who keep them fixed as well).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hoptrail.errors import ConfigError, InputError
from hoptrail.learning.execution import processes
from hoptrail.learning.execution.single_thread import one_thread
from hoptrail.learning.generation.rag_model import Contexts, RagModel, TrailContext
from hoptrail.learning.reader.answers import normalize_answer
from hoptrail.learning.retrieval.collapse import CollapseMonitor, uniformity
from hoptrail.values.numbers import above_zero, whole
from hoptrail.values.progress import TrainingProgress


@dataclass(frozen=True, slots=True)
class RagExample:
    """A question with its answer; where its passages are known, recall can be measured."""

    question: str
    answer: str
    gold: frozenset[int] = frozenset()
    """Slots of the supporting passages."""
    trails: tuple[TrailContext, ...] = ()
    """What a policy found for it: the contexts in place of passages, if there are any."""


@dataclass(frozen=True, slots=True)
class RagConfig:
    """How retriever and generator are trained."""

    epochs: int = 5
    """Passes over the questions."""
    batch: int = 8
    """Questions in a step."""
    learning_rate: float = 3e-4
    """Of the generator."""
    query_rate: float = 3e-3
    """Of the query side and of the temperature."""
    freeze_retriever: bool = False
    """Train the generator alone."""
    uniform: float = 0.0
    """Weight of the uniformity of the batch's queries, against their collapse."""
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch"):
            whole(getattr(self, name), name, least=1, error=ConfigError)
        for name in ("learning_rate", "query_rate"):
            above_zero(getattr(self, name), name, error=ConfigError)
        if not 0 <= self.uniform < math.inf:
            raise ConfigError(f"uniform must be finite and at least 0, got {self.uniform}")


def train_rag(
    model: RagModel,
    examples: Sequence[RagExample],
    config: RagConfig | None = None,
    *,
    progress: TrainingProgress | None = None,
) -> dict[str, Any]:
    """Train a model in place on questions and answers.

    Several processes of `torchrun` that have joined train it together, each on its share of every
    batch. What is dropped out is drawn in each process.

    Args:
        model: Its generator and its query side are trained.
        examples: What to learn from. Either all have trails or none has.
        config: The settings; those of `RagConfig()` by default.
        progress: Told of every step.

    Returns:
        What the monitor of the queries' vectors saw; JSON values.

    Raises:
        InputError: There is no example, or only some have trails.
    """
    config = config or RagConfig()
    _check(examples)
    retriever = [*model.tower.parameters(), model.retrieval.log_temperature]
    groups: list[dict[str, Any]] = [
        {"params": list(model.generator.parameters()), "lr": config.learning_rate}
    ]
    if not config.freeze_retriever:
        groups.append({"params": retriever, "lr": config.query_rate})
    optimizer = torch.optim.AdamW(groups, weight_decay=0.0)
    rng = np.random.default_rng(config.seed)
    batches = [
        order[start : start + config.batch].tolist()
        for order in (rng.permutation(len(examples)) for _ in range(config.epochs))
        for start in range(0, len(order), config.batch)
    ]
    monitor = CollapseMonitor("the query side of a retriever")
    with one_thread(), torch.random.fork_rng():
        torch.manual_seed(config.seed)
        processes.draw_apart()
        model.train()
        for step, rows in enumerate(batches):
            batch = [examples[row] for row in rows]
            figures = _step(model, batch, config, optimizer)
            if step % monitor.every == 0:
                with torch.no_grad():
                    vectors = model.tower([example.question for example in batch])
                    monitor.observe(step, vectors, logits=_contexts(model, batch).log_prior)
            if progress:
                progress("retriever and generator", step + 1, len(batches), figures)
        model.eval()
    return monitor.describe()


@torch.no_grad()
def rag_figures(model: RagModel, examples: Sequence[RagExample]) -> dict[str, float]:
    """How well a model answers and retrieves.

    Args:
        model: Any.
        examples: Questions that it was not trained on.

    Returns:
        Means over the questions: the log-likelihood of the answer, the share of exact answers, and,
        over those whose passages are known, the share of them in the first context and in all.

    Raises:
        InputError: There is no example, or only some have trails.
    """
    _check(examples)
    model.eval()
    likelihoods, exact, first, all_contexts = [], [], [], []
    with one_thread():
        for example in examples:
            contexts = _contexts(model, [example])
            likelihoods.append(float(model([example.question], [example.answer], contexts)))
            best = model.answer(example.question, contexts)
            right = normalize_answer(example.answer)
            exact.append(bool(best) and normalize_answer(best[0].text) == right)
            if example.gold:
                order = contexts.log_prior[0].argsort(descending=True).tolist()
                rows = [set(contexts.slots[0][i]) for i in order if i < len(contexts.slots[0])]
                first.append(len(example.gold & rows[0]) / len(example.gold))
                all_contexts.append(len(example.gold & set().union(*rows)) / len(example.gold))
    figures = {"log_likelihood": fmean(likelihoods), "exact": fmean(exact)}
    if first:
        figures |= {"recall_first": fmean(first), "recall_contexts": fmean(all_contexts)}
    return figures


def _check(examples: Sequence[RagExample]) -> None:
    if not examples:
        raise InputError("there is no question with an answer")
    with_trails = sum(bool(example.trails) for example in examples)
    if with_trails not in (0, len(examples)):
        raise InputError(
            f"either all questions have trails or none has, {with_trails} of {len(examples)} have"
        )


def _contexts(model: RagModel, batch: Sequence[RagExample]) -> Contexts:
    questions = [example.question for example in batch]
    if batch[0].trails:
        return model.read_trails(questions, [example.trails for example in batch])
    return model.read(questions)


def _step(
    model: RagModel,
    batch: Sequence[RagExample],
    config: RagConfig,
    optimizer: torch.optim.Optimizer,
) -> dict[str, float]:
    """Learn from a batch; its figures."""
    loss, rest = _loss(model, batch, config)
    optimizer.zero_grad()
    if loss.requires_grad:
        loss.backward()  # type: ignore[no-untyped-call]
    for group in optimizer.param_groups:
        processes.add_gradients(group["params"])
    nn.utils.clip_grad_norm_([w for group in optimizer.param_groups for w in group["params"]], 1.0)
    optimizer.step()
    total, rest = processes.sums_of([float(loss.detach()), rest])
    return {"loss": total, "rest": rest}


def _loss(model: RagModel, batch: Sequence[RagExample], config: RagConfig) -> tuple[Tensor, float]:
    """What this process has of the loss of a batch, and of the share that was not looked at."""
    own = processes.own_share(batch)
    (share,) = processes.shares_of([len(own)])
    loss, rest = torch.zeros(()), 0.0
    if own:
        with torch.set_grad_enabled(not config.freeze_retriever):
            contexts = _contexts(model, own)
        questions = [example.question for example in own]
        loss = -share * model(questions, [example.answer for example in own], contexts).mean()
        rest = share * float(contexts.rest.mean())
    if config.uniform and len(batch) > 1:
        vectors = processes.shared_vectors([e.question for e in batch], model.tower)
        # All processes have all of it, and each the gradients of its own vectors alone.
        apart = config.uniform * uniformity(vectors)
        loss = loss + apart - (1 - share) * apart.detach()
    return loss, rest
