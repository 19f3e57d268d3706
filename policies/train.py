"""Training a policy: stages of objectives over questions, resumable, with figures on the way.

    imitation -> marginal -> reinforce

Each stage is one objective; a run names the ones it wants, in order. A policy may have several
networks, trained one after another from their own seeds. All randomness of an epoch comes from
(seed, network, stage, epoch), so that a run that was taken up again ends as one that was not.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from hoptrail.errors import InputError
from hoptrail.formats import sha256_of
from hoptrail.memory.encoder import Encoder
from hoptrail.memory.vector_cache import CachedEncoder
from hoptrail.metrics import recall_at
from hoptrail.policies.card import readme
from hoptrail.policies.checkpoint import Checkpoint
from hoptrail.policies.corpora import OpenCorpus
from hoptrail.policies.efforts import DEFAULT, EFFORTS
from hoptrail.policies.examples import Example, prepare
from hoptrail.policies.joint_train import fitted_weight
from hoptrail.policies.objectives import require_tokens
from hoptrail.policies.policy import JOINT_WEIGHT, Policy
from hoptrail.policies.search import Walker
from hoptrail.policies.settings import TrainConfig
from hoptrail.policies.trainer import Progress, Trainer, silent
from hoptrail.types import Namespace

JOINT = "joint"
"""Where in the policy's folder the policy is trained that the joint weight is fitted with."""


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """A corpus and questions about it."""

    corpus: Path
    questions: Path


def train(
    sets: Sequence[TrainingSet],
    out: Path,
    *,
    config: TrainConfig,
    encoder: Encoder,
    dev: Sequence[TrainingSet] = (),
    resume: bool = False,
    progress: Progress | None = None,
    command: str = "",
) -> dict[str, Any]:
    """Train a policy and write it to a folder; what its card says.

    Args:
        sets: What to train on, all together.
        out: The policy's folder; checkpoints lie there until the run is over.
        config: The settings.
        encoder: For passages, questions and rewritten queries; its vectors are cached.
        dev: Sets to measure recall@5 on at the end; nothing is chosen by them.
        resume: Take up the run whose checkpoint lies in `out`.
        progress: See `Progress`.
        command: How the run was called, for the card.

    Raises:
        InputError: There is no question with gold passages.
        PolicyError: The checkpoint is of another run, or the folder cannot be written.
    """
    tell = progress or silent
    if "marginal" in config.stages:
        require_tokens(encoder)
    cached = encoder if isinstance(encoder, CachedEncoder) else CachedEncoder(encoder)
    run = {
        "config": asdict(config),
        "sets": [[sha256_of(s.corpus), sha256_of(s.questions)] for s in sets],
        "encoder": encoder.fingerprint,
    }
    checkpoint = Checkpoint(out, run)
    checkpoint.make_folder()
    # Before anything slow: a checkpoint of another run is refused.
    resumed = checkpoint.load() if resume else None
    with ExitStack() as opened:
        examples = _examples(sets, cached, tell, opened)
        joint = _joint(examples, config, cached, Checkpoint(out / JOINT, run), tell, resume)
        trainer = Trainer(examples, config, cached, checkpoint, tell)
        policy = trainer.train(resumed)
    policy.joint_weight = joint.get("weight", JOINT_WEIGHT)
    policy.card = {
        "objective": config.objective,
        "command": command,
        "seed": config.seed,
        "questions": len(examples),
        "sets": [_described(s) for s in sets],
        "encoder": encoder.fingerprint,
        "config": asdict(config),
        "curves": trainer.curves,
        **({"joint": joint} if joint else {}),
        "dev": [{**_described(s), **_measured(policy, s, cached, tell)} for s in dev],
    }
    policy.save(out, readme=readme(policy))
    checkpoint.remove()
    if joint:
        Checkpoint(out / JOINT, run).remove()
        (out / JOINT).rmdir()
    return policy.card


def _joint(
    examples: Sequence[Example],
    config: TrainConfig,
    encoder: CachedEncoder,
    checkpoint: Checkpoint,
    tell: Progress,
    resume: bool,
) -> dict[str, Any]:
    """The weight of the joint fit and on how many questions it was fitted; empty if not wanted."""
    if not config.joint:
        return {}
    checkpoint.make_folder()
    weight, held = fitted_weight(examples, config, encoder, checkpoint, tell, resume=resume)
    return {"weight": weight, "held_back": held}


def _examples(
    sets: Sequence[TrainingSet], encoder: CachedEncoder, tell: Progress, opened: ExitStack
) -> list[Example]:
    """The questions of all sets, ready while `opened` keeps their corpora open.

    Raises:
        InputError: None has gold passages.
    """
    corpora = []
    for one in sets:
        tell_indexing = partial(_tell, tell, f"index {one.corpus.parent.name}")
        corpus = OpenCorpus(one.corpus, one.questions, encoder.inner, progress=tell_indexing)
        opened.callback(corpus.close)
        corpora.append(corpus)
    examples = prepare(corpora, encoder, progress=partial(_tell, tell, "prepare questions"))
    if not examples:
        raise InputError("there is nothing to train on: no question names supporting passages")
    return examples


def _tell(tell: Progress, stage: str, done: int, total: int) -> None:
    tell(stage, done, total, {})


def _described(one: TrainingSet) -> dict[str, str]:
    return {
        "corpus": f"{one.corpus.parent.name}/{one.corpus.name}",
        "questions": f"{one.questions.parent.name}/{one.questions.name}",
        "sha256": sha256_of(one.questions)[:16],
    }


def _measured(
    policy: Policy, one: TrainingSet, encoder: CachedEncoder, tell: Progress
) -> dict[str, float]:
    """Recall at the default effort on a set that was not trained on."""
    walkers: dict[Namespace, Walker] = {}
    at: dict[int, list[float]] = {2: [], 5: []}
    with closing(OpenCorpus(one.corpus, one.questions, encoder.inner)) as corpus:
        questions = [question for question in corpus.questions if question.supporting_ids]
        for done, question in enumerate(questions, start=1):
            if question.namespace not in walkers:
                scope = corpus.scope(question.namespace)
                walkers[question.namespace] = Walker(
                    policy, scope.view, scope.graph, encoder, EFFORTS[DEFAULT]
                )
            [walk] = walkers[question.namespace].walk([question.text], 10)
            ranked = [str(slot) for slot in walk.slots]
            gold = [str(slot) for slot in corpus.gold(question)]
            for k, values in at.items():
                values.append(recall_at(ranked, gold, k))
            tell(f"measure {one.questions.parent.name}", done, len(questions), {})
    return {f"recall@{k}": sum(v) / max(1, len(v)) for k, v in at.items()}
