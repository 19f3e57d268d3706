"""Provokes a collapse of an encoder, and shows what each countermeasure does about it.

A small network encodes queries and passages, which are noisy views of the same things; the things
lie in topics. Trained to bring a query and its passage together and nothing else, it gives all the
same vector. Each row changes one thing; all else is as in the row that it is compared with. Recall
is measured on things that were not trained on.

Run: python benchmarks/differentiable/collapse.py --out benchmarks/results/collapse.json
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from hoptrail.learning.execution.single_thread import one_thread
from hoptrail.learning.losses import info_nce_loss, listwise_loss
from hoptrail.learning.retrieval.collapse import CollapseMonitor, alignment, uniformity

TOPICS, PER_TOPIC, WIDTH, DIM = 32, 32, 64, 16
NOISE, STEPS, RATE = 0.5, 300, 3e-3


@dataclass(frozen=True)
class Recipe:
    """One way to train."""

    name: str
    batch: int = 64
    negatives: bool = True
    temperature: float = 0.05
    uniform: float = 0.0
    """Weight of the uniformity of the passages in the loss."""
    hard: int = 0
    """Of a batch's queries, so many times as many passages of the same topics beside it."""
    normalise: bool = True


RECIPES = [
    Recipe("positives only", negatives=False),
    Recipe("positives only, uniformity in the loss", negatives=False, uniform=1.0),
    Recipe("1 negative", batch=2),
    Recipe("7 negatives", batch=8),
    Recipe("63 negatives"),
    Recipe("63 negatives, temperature 1", temperature=1.0),
    Recipe("63 negatives, temperature 0.2", temperature=0.2),
    Recipe("63 negatives, temperature 0.005", temperature=0.005),
    Recipe("7 negatives, 8 hard ones", batch=8, hard=1),
    Recipe("63 negatives, not normalised", normalise=False),
]


def things(seed: int) -> Tensor:
    """Things in topics, `(n, width)`, those of a topic one after another."""
    generator = torch.Generator().manual_seed(seed)
    topics = torch.randn(TOPICS, 1, WIDTH, generator=generator)
    own = torch.randn(TOPICS, PER_TOPIC, WIDTH, generator=generator)
    return (topics + 0.5 * own).reshape(-1, WIDTH)


def view(rows: Tensor, generator: torch.Generator) -> Tensor:
    """A noisy view of things."""
    return rows + NOISE * torch.randn(rows.shape, generator=generator)


def loss_of(recipe: Recipe, queries: Tensor, passages: Tensor) -> Tensor:
    """The loss of queries `(b, d)` and passages `(m, d)`, of which the first b are their own."""
    if not recipe.negatives:
        loss = alignment(queries, passages[: len(queries)])
    elif recipe.normalise:
        loss = info_nce_loss(queries, passages, temperature=recipe.temperature)
    else:
        own = torch.eye(len(queries), len(passages), dtype=torch.bool)
        loss = listwise_loss(queries @ passages.T / recipe.temperature, own)
    if recipe.uniform:
        loss = loss + recipe.uniform * uniformity(passages)
    return loss


def train(recipe: Recipe, seed: int) -> dict[str, Any]:
    """Train by a recipe; the five measures and recall on other things, and the warnings."""
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, DIM))
    optimizer = torch.optim.Adam(network.parameters(), RATE)
    rows, others = things(seed), things(seed)
    train_rows, test_rows = rows[::2], others[1::2]  # of the same topics
    monitor = CollapseMonitor(recipe.name)
    for step in range(STEPS):
        chosen = torch.randperm(len(train_rows), generator=generator)[: recipe.batch]
        many = torch.cat([chosen, *_hard(chosen, recipe.hard, generator)])
        queries = network(view(train_rows[chosen], generator))
        passages = network(view(train_rows[many], generator))
        loss = loss_of(recipe, queries, passages)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % monitor.every == 0 or step == STEPS - 1:
            _watch(monitor, step, recipe, network, test_rows, generator)
    with torch.no_grad():
        queries, passages = (network(view(test_rows, generator)) for _ in range(2))
        if recipe.normalise:
            queries, passages = (functional.normalize(each, dim=-1) for each in (queries, passages))
        right = (queries @ passages.T).argmax(-1) == torch.arange(len(test_rows))
    assert monitor.last is not None
    return {
        "recall@1": float(right.double().mean()),
        **asdict(monitor.last),
        "warnings": monitor.warnings,
    }


def _hard(chosen: Tensor, times: int, generator: torch.Generator) -> list[Tensor]:
    """Other things of the topics of those chosen."""
    half = PER_TOPIC // 2
    shifts = [torch.randint(1, half, chosen.shape, generator=generator) for _ in range(times)]
    return [chosen // half * half + (chosen + shift) % half for shift in shifts]


@torch.no_grad()
def _watch(
    monitor: CollapseMonitor,
    step: int,
    recipe: Recipe,
    network: nn.Module,
    rows: Tensor,
    generator: torch.Generator,
) -> None:
    queries, passages = (
        functional.normalize(network(view(rows, generator)), dim=-1) for _ in range(2)
    )
    cosines = queries @ passages.T
    monitor.every = 1
    monitor.observe(step, passages, logits=cosines / recipe.temperature, cosines=cosines.diagonal())
    monitor.every = 20


def main() -> None:
    """Train by every recipe with every seed, and print and write the means."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    report = []
    print(f"{'':40} recall@1  align  uniform  rank  hubs  entropy")
    with one_thread():
        for recipe in RECIPES:
            runs = [train(recipe, seed) for seed in range(options.seeds)]
            names = [name for name in runs[0] if name != "warnings"]
            means = {name: sum(run[name] for run in runs) / len(runs) for name in names}
            remedies = sorted(
                {line.split("(")[0].strip() for run in runs for line in run["warnings"]}
            )
            report.append({**asdict(recipe), **means, "warnings": remedies})
            print(
                f"{recipe.name:40} {means['recall@1']:8.1%} {means['alignment']:6.2f} "
                f"{means['uniformity']:8.2f} {means['effective_rank']:5.1f} "
                f"{means['hubness']:5.1f} {means['retrieval_entropy']:8.3f}  {'; '.join(remedies)}"
            )
    if options.out:
        options.out.write_text(
            json.dumps({"seeds": options.seeds, "rows": report}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()
