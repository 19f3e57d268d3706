"""Training a relation scorer on questions and answers, the paths between them latent.

    L = − log Σ_p π(p, STOP | question) · fit(p)²

over the paths that may be meant (`relation_paths`): fit is the F1 of where a path ends. The square
tells a path that ends at exactly the answers from those that end near them. Where a file gives the
relations of each question, it can be trained on these alone (`supervision="paths"`).

A policy's networks are left as they are: what is trained is the scorer beside them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hoptrail.errors import ConfigError, InputError
from hoptrail.formats.jsonl import sha256_of
from hoptrail.formats.triples import EntityQuestion, read_entity_questions
from hoptrail.graph.graph import Graph
from hoptrail.graph.view import GraphView
from hoptrail.learning.execution.processes import refuse_several
from hoptrail.learning.execution.single_thread import one_thread
from hoptrail.memory.encoders.disk_cache import CachedEncoder
from hoptrail.memory.encoders.query_side import query_side
from hoptrail.memory.encoders.transformer import Encoder, Vectors
from hoptrail.policies.card import readme
from hoptrail.policies.data.corpora import open_triples
from hoptrail.policies.folder import check_folder
from hoptrail.policies.networks.policy_network import PolicyNetwork
from hoptrail.policies.networks.relation_network import RelationScorer
from hoptrail.policies.networks.relation_scorer import padded, relation_vectors
from hoptrail.policies.policy import Policy
from hoptrail.policies.relations.relation_beam import masked
from hoptrail.policies.relations.relation_paths import Meant, known_path, meant_paths
from hoptrail.values.progress import TrainingProgress


@dataclass(frozen=True, slots=True)
class RelationConfig:
    """Settings of a training run."""

    seed: int = 0
    first: int | None = None
    """Questions of each file, from its beginning; all by default."""
    supervision: str = "answers"
    """`answers`, or `paths` where the files give the relations."""
    hops: int = 3
    """Relations in a path at most."""
    width: int = 128
    dropout: float = 0.1
    epochs: int = 15
    batch: int = 64
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2

    def __post_init__(self) -> None:
        if self.supervision not in ("answers", "paths"):
            raise ConfigError(f"supervision is answers or paths, got {self.supervision!r}")
        numbers = (self.first or 1, self.hops, self.width, self.epochs, self.batch)
        if min(numbers) < 1 or self.seed < 0:
            raise ConfigError("first, hops, width, epochs and batch must be at least 1, seed 0")


@dataclass(frozen=True, slots=True)
class Asked:
    """A question ready for training."""

    text: str
    """Without the topic's name."""
    meant: tuple[Meant, ...]


def train_relations(
    triples: Path,
    questions: Sequence[Path],
    out: Path,
    *,
    config: RelationConfig,
    encoder: Encoder,
    policy: Policy,
    progress: TrainingProgress | None = None,
    command: str = "",
) -> dict[str, Any]:
    """Train a relation scorer, and write it with the policy's networks to a folder; its card.

    Args:
        triples: A file of triples.
        questions: Files of questions about its entities, with their answers.
        out: The policy's folder.
        config: The settings.
        encoder: For the entities' names, the questions and the relations.
        policy: Whose networks walk texts.
        progress: Told of every step; see `hoptrail.values.progress`.
        command: How the run was called, for the card.

    Raises:
        FormatError: A file cannot be read or used.
        InputError: No question names an entity from which a path leads to its answers.
        PolicyError: The folder cannot be written.
        ConfigError: `torchrun` started several processes.
    """
    refuse_several("what walks relations")
    tell = progress or (lambda *_: None)
    check_folder(out)
    question_sets = [read_entity_questions(file)[: config.first] for file in questions]
    with open_triples(triples, encoder, progress=lambda a, b: tell("index", a, b, {})) as store:
        view = store.view()
        graph = Graph(store).view(view)
        names = graph.relations().names
        ready = _ready([q for one in question_sets for q in one], graph, config, tell)
    if not ready:
        raise InputError(
            "there is nothing to train on: no question names an entity of the triples from which "
            f"at most {config.hops} relations lead to its answers"
        )
    cached = query_side(CachedEncoder(encoder))  # questions and names, as on a walk
    vectors = cached.encode([question.text for question in ready])
    by_name = relation_vectors(names, cached)
    scorer, curve = fit(ready, vectors, by_name, cached.fingerprint, config, tell)
    trained = Policy(
        [member for member in policy.members if isinstance(member, PolicyNetwork)],
        policy.card,
        scorer,
        rerank_weight=policy.rerank_weight,
        reformulator=policy.reformulator,
        scores=policy.scores,
        feedback_ranking=policy.feedback_ranking,
    )
    trained.card["relations"] = {
        "command": command,
        "triples": {"file": triples.name, "sha256": sha256_of(triples)[:16]},
        "questions": [
            {"file": file.name, "sha256": sha256_of(file)[:16], "read": len(read)}
            for file, read in zip(questions, question_sets, strict=True)
        ],
        "trained on": len(ready),
        "encoder": encoder.fingerprint,
        "config": asdict(config),
        "curve": curve,
    }
    trained.save(out, readme=readme(trained))
    return trained.card


def _ready(
    questions: Sequence[EntityQuestion],
    graph: GraphView,
    config: RelationConfig,
    tell: TrainingProgress,
) -> list[Asked]:
    """The questions of which at least one path may be meant."""
    relations, names = graph.relations(), graph.entity_names()
    number = {name: i for i, name in enumerate(relations.names)}
    ready = []
    for done, entity_question in enumerate(questions, start=1):
        slots = (graph.view.slot_of(answer) for answer in entity_question.question.answers)
        answers = np.asarray([slot for slot in slots if slot is not None], dtype=np.int64)
        for topic in names.find(entity_question.question.text):
            starts = np.asarray(topic.slots, dtype=np.int64)
            if config.supervision == "paths":
                path = [number[name] for name in entity_question.path if name in number]
                path_meant = known_path(relations, starts, answers, path) if path else None
                meant = (
                    [path_meant]
                    if path_meant and path_meant.fit > 0 and len(path) == len(entity_question.path)
                    else []
                )
            else:
                meant = meant_paths(relations, starts, answers, config.hops)
            if meant:
                ready.append(Asked(masked(entity_question.question.text, topic), tuple(meant)))
        if done % 100 == 0 or done == len(questions):
            tell("find paths", done, len(questions), {})
    return ready


def fit(
    questions: Sequence[Asked],
    vectors: Vectors,
    relations: Vectors,
    encoder: str,
    config: RelationConfig,
    tell: TrainingProgress,
) -> tuple[RelationScorer, list[dict[str, float]]]:
    """A scorer trained from weights that the seed draws, and its loss by epoch.

    Args:
        questions: The questions.
        vectors: `(n, d)`, theirs.
        relations: `(R, d + 1)`.
        encoder: The fingerprint of the one whose vectors these are.
        config: The settings.
        tell: Told after each epoch.
    """
    with one_thread(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        scorer = RelationScorer(
            encoder, vectors.shape[1], width=config.width, dropout=config.dropout
        )
        optimizer = torch.optim.AdamW(
            scorer.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        steps = config.epochs * -(-len(questions) // config.batch)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, config.learning_rate, total_steps=max(2, steps)
        )
        relation_tensor = torch.from_numpy(relations)
        order = np.random.default_rng(config.seed)
        curve = []
        for epoch in range(1, config.epochs + 1):
            total = 0.0
            places = order.permutation(len(questions))
            for start in range(0, len(places), config.batch):
                chosen = places[start : start + config.batch]
                loss = loss_of(
                    scorer,
                    [questions[i] for i in chosen],
                    torch.from_numpy(vectors[chosen]),
                    relation_tensor,
                )
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                torch.nn.utils.clip_grad_norm_(scorer.parameters(), 1.0)
                optimizer.step()
                schedule.step()
                total += loss.item() * len(chosen)
            figures = {"epoch": epoch, "loss": round(total / len(questions), 5)}
            curve.append(figures)
            tell("train relations", epoch, config.epochs, figures)
    return scorer.eval(), curve


def loss_of(
    scorer: RelationScorer, questions: Sequence[Asked], vectors: Tensor, relations: Tensor
) -> Tensor:
    """−log Σ_p π(p, STOP) · fit(p)², the mean over the questions.

    Args:
        scorer: π over relations.
        questions: Questions, each with the paths that may be meant.
        vectors: `(n, d)`, the questions'.
        relations: `(R, d + 1)`.

    Shapes:
        vectors `(n, d)`, relations `(R, d + 1)`; a scalar.
    """
    stop = len(relations)
    paths = [(row, path) for row, question in enumerate(questions) for path in question.meant]
    states = [
        (row, owner, path.relations[:t], path.available[t], (*path.relations, stop)[t])
        for owner, (row, path) in enumerate(paths)
        for t in range(len(path.relations) + 1)
    ]
    log_pi = scorer(
        vectors[[row for row, *_ in states]],
        torch.from_numpy(padded([walked for _, _, walked, _, _ in states])),
        torch.from_numpy(np.stack([available for *_, available, _ in states])),
        relations,
    )
    chosen = log_pi.gather(1, torch.tensor([action for *_, action in states])[:, None]).squeeze(1)
    owner = torch.tensor([owner for _, owner, *_ in states])
    of_path = torch.zeros(len(paths)).index_add(0, owner, chosen)
    of_path = of_path + 2 * torch.tensor([path.fit for _, path in paths]).log()
    question = torch.tensor([row for row, _ in paths])
    table = torch.full((len(questions), len(paths)), -torch.inf)
    table[question, torch.arange(len(paths))] = of_path
    return -table.logsumexp(dim=1).mean()
