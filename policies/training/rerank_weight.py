"""Fitting what the joint fit counts for, on questions that the policy has not seen.

A policy is surer of the questions that it was trained on than of any others: next to it nothing
else would seem to be worth anything. So a fifth of the questions, in whole clusters that share a
gold passage, is held back from a policy of one network that is trained for this alone; it walks
them, and the weight is that of a conditional logit: with s the candidates' scores and z their joint
fits, minimise over (a, b) the mean over gold passages g of

    log(1 + Σ over candidates i that are not gold of exp(u_i - u_g)),    u = a log s + b z

and take b / a. It is one number: it needs few questions, and `policies.search.reranker` works
without it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hoptrail.learning.execution.single_thread import one_thread
from hoptrail.policies.data.examples import Example, gold_clusters
from hoptrail.policies.environment.candidates import RetrievalScope
from hoptrail.policies.environment.efforts import EFFORTS
from hoptrail.policies.policy import RERANK_WEIGHT, Policy
from hoptrail.policies.search.beam import BeamSearch, Episode
from hoptrail.policies.search.reranker import Reranker
from hoptrail.policies.training.checkpoint import Checkpoint
from hoptrail.policies.training.config import RunOptions, TrainConfig
from hoptrail.policies.training.next_queries import NextQueries
from hoptrail.policies.training.stage_run import seeded
from hoptrail.policies.training.trainer import Trainer
from hoptrail.values.progress import TrainingProgress

FOLDS = 5
"""One of so many parts of the questions is held back."""
AT_ONCE = 16
"""Questions walked together."""
SMALLEST, LARGEST = 0.0, 3.0
"""Bounds of the weight: a handful of questions can ask for anything."""
STEPS, PRIOR = 60, 1e-2
"""Steps of L-BFGS, and how strongly a = 1 and b = 0 are preferred."""


@dataclass(frozen=True, slots=True)
class Case:
    """A walked question as the fit sees it: n candidates that were judged."""

    log_score: NDArray[np.float64]
    """`(n,)`."""
    z: NDArray[np.float64]
    """`(n,)` their joint fit."""
    gold: NDArray[np.bool_]
    """`(n,)`."""


def fit_rerank_weight(
    examples: Sequence[Example],
    config: TrainConfig,
    queries: NextQueries,
    checkpoint: Checkpoint,
    options: RunOptions,
) -> tuple[float, int]:
    """The weight for a policy of these questions, and how many were held back for it.

    Args:
        examples: The questions, prepared, each with gold.
        config: The settings of the run.
        queries: What asks on the walks.
        checkpoint: Where the training of the policy that has not seen them is kept.
        options: Whether to go on from that checkpoint, and who is told of progress.

    Raises:
        PolicyError: The checkpoint is damaged, of another run, or cannot be written.
    """
    held_back, rest = split_examples(examples, config.seed)
    if not held_back or not rest:
        return RERANK_WEIGHT, 0
    alone = replace(config, networks=1, objective="imitation")

    def progress(stage: str, done: int, total: int, figures: Mapping[str, float]) -> None:
        options.progress(f"joint: {stage}", done, total, figures)

    trainer = Trainer(rest, alone, queries, checkpoint, progress)
    policy = trainer.train(checkpoint.load() if options.resume else None)
    cases = walk_questions(policy, held_back, queries, options.progress)
    return fit_conditional_logit(cases), len(held_back)


def split_examples(examples: Sequence[Example], seed: int) -> tuple[list[Example], list[Example]]:
    """A fifth of the questions, and the rest, with no gold passage in common.

    Args:
        examples: Questions, each with gold.
        seed: Decides which.
    """
    clusters = gold_clusters(examples)
    with seeded(seed, FOLDS) as rng:
        fold = rng.permutation(clusters.max(initial=-1) + 1)[clusters] % FOLDS
    held_back = [e for e, its_fold in zip(examples, fold, strict=True) if its_fold == 0]
    return held_back, [e for e, its_fold in zip(examples, fold, strict=True) if its_fold]


def walk_questions(
    policy: Policy, examples: Sequence[Example], queries: NextQueries, progress: TrainingProgress
) -> list[Case]:
    """The questions as the policy walks them; those without a gold candidate teach nothing.

    Args:
        policy: One that has not seen them.
        examples: The questions.
        queries: What asks on the walks, and the encoder of sub-questions.
        progress: Told after every portion of them.
    """
    effort = EFFORTS["thorough"]
    search = BeamSearch(policy.eval(), queries.reformulator(reencode=True), effort)
    scorers: dict[int, tuple[RetrievalScope, Reranker]] = {}
    cases = []
    for start in range(0, len(examples), AT_ONCE):
        batch = examples[start : start + AT_ONCE]
        episodes = search.run([example.pool for example in batch])
        for example, episode in zip(batch, episodes, strict=True):
            scope = example.pool.scope
            if id(scope) not in scorers:
                scorers[id(scope)] = (
                    scope,
                    Reranker(scope, queries.encoder, effort.rerank_top, 0.0),
                )
            case = _case(scorers[id(scope)][1], example, episode)
            if case is not None:
                cases.append(case)
        progress("joint: walk", min(start + AT_ONCE, len(examples)), len(examples), {})
    return cases


def _case(scorer: Reranker, example: Example, episode: Episode) -> Case | None:
    [fits] = scorer.compare([episode], [episode.read_mass])
    gold = np.asarray([slot in example.gold for slot in fits.slots], dtype=bool)
    if not gold.any() or gold.all():
        return None
    scores = np.asarray([episode.read_mass[slot] for slot in fits.slots])
    return Case(np.log(np.maximum(scores, 1e-9)), fits.z, gold)


def fit_conditional_logit(cases: Sequence[Case]) -> float:
    """The weight b / a of the conditional logit; `RERANK_WEIGHT` where there is no case.

    Source: McFadden 1974 (conditional logit), fitted by L-BFGS with a Gaussian prior.

    Args:
        cases: Walked questions.

    Returns:
        From `SMALLEST` to `LARGEST`.
    """
    if not cases:
        return RERANK_WEIGHT
    x = [torch.from_numpy(np.stack([case.log_score, case.z], axis=1)) for case in cases]
    gold = [torch.from_numpy(case.gold) for case in cases]
    prior = torch.tensor([1.0, 0.0], dtype=torch.float64)
    weights = prior.clone().requires_grad_()
    optimizer = torch.optim.LBFGS([weights], max_iter=STEPS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = torch.stack([_loss(c @ weights, g) for c, g in zip(x, gold, strict=True)]).mean()
        loss = loss + PRIOR * (weights - prior).square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    with one_thread():
        optimizer.step(closure)  # type: ignore[no-untyped-call]
    a, b = weights.tolist()
    return round(float(min(LARGEST, max(SMALLEST, b / max(a, 0.1)))), 3)


def _loss(u: Tensor, gold: Tensor) -> Tensor:
    others = torch.logsumexp(u[~gold], 0)
    return torch.nn.functional.softplus(others - u[gold]).mean()
