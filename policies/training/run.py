"""Training a policy: stages of objectives over questions, resumable, with figures on the way.

    self-supervised -> imitation -> marginal -> reinforce

Each stage is one objective; a run names the ones it wants, in order. A policy may have several
networks, trained one after another from their own seeds. All randomness of an epoch comes from
(seed, network, stage, epoch), so that a run that was taken up again ends as one that was not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from hoptrail.errors import ConfigError, InputError
from hoptrail.learning.execution import processes
from hoptrail.memory.encoders.disk_cache import CachedEncoder
from hoptrail.memory.encoders.transformer import Encoder
from hoptrail.memory.encoders.wrapped import uncached
from hoptrail.policies.card import readme
from hoptrail.policies.data.corpora import OpenCorpus
from hoptrail.policies.data.examples import Example, Source
from hoptrail.policies.data.training_data import TrainingData, TrainingSet
from hoptrail.policies.folder import check_folder
from hoptrail.policies.policy import RERANK_WEIGHT, Policy
from hoptrail.policies.reformulation.cross_fit import CrossFit
from hoptrail.policies.training.checkpoint import Checkpoint
from hoptrail.policies.training.config import RunOptions, TrainConfig
from hoptrail.policies.training.next_queries import NextQueries
from hoptrail.policies.training.preparation import prepare_examples, stage_progress
from hoptrail.policies.training.rerank_weight import fit_rerank_weight
from hoptrail.policies.training.stages import require_tokens
from hoptrail.policies.training.trainer import Trainer
from hoptrail.policies.training.validation import means, recalls
from hoptrail.values.progress import TrainingProgress

JOINT = "joint"
"""Where in the policy's folder the policy is trained that the re-rank weight is fitted with."""


def train(
    data: TrainingData,
    out: Path,
    config: TrainConfig | None = None,
    *,
    encoder: Encoder,
    start: Policy | None = None,
    cross_fit: CrossFit | None = None,
    options: RunOptions | None = None,
) -> dict[str, Any]:
    """Train a policy and write it to a folder.

    Several processes of `torchrun` train one policy, each on its share of every batch, and the
    first measures and writes it. What is dropped out is drawn in each process.

    Args:
        data: What to learn from, and what to measure on at the end.
        out: The policy's folder; checkpoints lie there until the run is over.
        config: The settings; those of `TrainConfig()` by default.
        encoder: For passages, questions and rewritten queries; its vectors are cached.
        start: A trained policy to go on from, which decides how many networks there are and of
            what shape; by default they start from random weights.
        cross_fit: Reformulators of these questions, by which they are asked; by default that of
            `start`, and where it has none a fixed rule.
        options: Whether to take up a run that was stopped, and who is told of progress.

    Returns:
        The policy's card: data, settings, command, curves and figures, as JSON has them.

    Raises:
        InputError: There is nothing that a stage could learn from.
        ConfigError: The encoder cannot serve an objective.
        FormatError: A file cannot be read, or a gold passage is not in its corpus.
        PolicyError: The checkpoint is of another run, or the folder cannot be written.
    """
    options = options or RunOptions()
    config = _check(data, config or TrainConfig(), encoder, start)
    cached = CachedEncoder(uncached(encoder))
    settings = {"seed": config.seed, "encoder": encoder.fingerprint, **config.describe()}
    queries = NextQueries(cached, start.reformulator if start else None, cross_fit)
    queries.check()
    run = {**settings, **data.fingerprint(), **queries.fingerprint()}
    run["start"] = start.fingerprint if start else None
    check_folder(out)
    checkpoint = Checkpoint(out, run)
    checkpoint.make_folder()
    # Before anything slow: a checkpoint of another run is refused.
    resumed = checkpoint.load() if options.resume else None
    with processes.joined_processes(), ExitStack() as stack:
        with processes.first_process_first():
            prepared = prepare_examples(data, config, queries, options.progress, start=start)
            examples = stack.enter_context(prepared)
        joint = _fit_joint(examples, config, queries, Checkpoint(out / JOINT, run), options)
        trainer = Trainer(examples, config, queries, checkpoint, options.progress, start=start)
        policy = trainer.train(resumed)
    policy.rerank_weight = joint.get("weight", RERANK_WEIGHT)
    policy.card = {
        **settings,
        "objective": ", ".join(config.stages),
        "command": options.command,
        **_counts(examples, len(trainer.held_out)),
        **data.describe(),
        "curves": trainer.curves,
        **({"joint": joint} if joint else {}),
        **({"reformulator": dict(cross_fit.made_of)} if cross_fit else {}),
        "dev": _dev_figures(policy, data.dev, cached, options.progress),
    }
    if processes.is_first_process():
        _write(policy, out, checkpoint, run if joint else None)
    return policy.card


def _check(
    data: TrainingData, config: TrainConfig, encoder: Encoder, start: Policy | None
) -> TrainConfig:
    """The settings, of the shape of the policy to go on from; what cannot be trained is refused."""
    data.refuse_feedback("a policy")
    if "marginal" in config.objectives:
        require_tokens(encoder)
    nothing = not (data.train or data.unlabelled) or not config.stages
    if nothing or (config.objectives and not data.train):
        raise InputError(
            "there is nothing to train on: give a corpus with questions, "
            "or ask for questions to be made and give a corpus or a store to make them of"
        )
    if config.infer_evidence and start is None:
        raise ConfigError("evidence is inferred by a policy to go on from: name one to start with")
    if start is None:
        return config
    return replace(config, networks=len(start.members), network=start.config)


def _fit_joint(
    examples: Sequence[Example],
    config: TrainConfig,
    queries: NextQueries,
    checkpoint: Checkpoint,
    options: RunOptions,
) -> dict[str, Any]:
    """The re-rank weight and on how many questions it was fitted; empty if it is not wanted."""
    if not config.joint:
        return {}
    # It asks how well gold is ranked, by a policy that learned from people's questions.
    labelled = [e for e in examples if e.gold and e.source is Source.GIVEN]
    config = replace(config, self_supervised=0)
    checkpoint.make_folder()
    weight, count = fit_rerank_weight(labelled, config, queries, checkpoint, options)
    return {"weight": weight, "held_back": count}


def _write(
    policy: Policy, out: Path, checkpoint: Checkpoint, joint_run: Mapping[str, Any] | None
) -> None:
    """Write a policy that is trained; the checkpoints go, that of a joint fit too."""
    policy.save(out, readme=readme(policy))
    checkpoint.remove()
    if joint_run is not None:
        _remove_joint(out / JOINT, joint_run)


def _remove_joint(folder: Path, run: Mapping[str, Any]) -> None:
    """The fit is over: its checkpoint goes, and its folder, unless that holds what is not ours."""
    Checkpoint(folder, run).remove()
    with suppress(OSError):
        folder.rmdir()


def _counts(examples: Sequence[Example], held_out: int) -> dict[str, int]:
    """How much was learned from, by the card's names, and how many of the questions were not."""
    count = Counter(example.source for example in examples)
    names = {"questions": Source.GIVEN, "varied": Source.AUGMENTED, "made": Source.PSEUDO}
    counts = {name: count[source] for name, source in names.items()}
    if count[Source.INFERRED]:
        counts["questions"] = sum(e.source is Source.GIVEN and bool(e.gold) for e in examples)
        counts["inferred"] = count[Source.INFERRED]
        counts["not_inferred"] = sum(e.source is Source.GIVEN and not e.gold for e in examples)
    return counts | ({"held_out": held_out} if held_out else {})


def _dev_figures(
    policy: Policy, sets: Sequence[TrainingSet], encoder: CachedEncoder, progress: TrainingProgress
) -> list[dict[str, Any]]:
    """What the policy finds of sets that it was not trained on, as the first process measures."""
    return [
        {**one.describe(), **_measure(policy, one, encoder, progress)}
        for one in sets
        if processes.is_first_process()
    ]


def _measure(
    policy: Policy, dev: TrainingSet, encoder: CachedEncoder, progress: TrainingProgress
) -> dict[str, float]:
    """Recall at the default effort on a set that was not trained on."""
    with closing(OpenCorpus(dev.corpus, dev.questions, encoder.inner)) as corpus:
        label = f"measure {dev.questions.parent.name}"
        return means(recalls(policy, corpus, encoder, progress=stage_progress(progress, label)))
