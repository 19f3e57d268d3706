"""Training a policy: stages of objectives over questions, resumable, with figures on the way.

    self-supervised -> imitation -> marginal -> reinforce

Each stage is one objective; a run names the ones it wants, in order. A policy may have several
networks, trained one after another from their own seeds. All randomness of an epoch comes from
(seed, network, stage, epoch), so that a run that was taken up again ends as one that was not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from hoptrail.errors import InputError
from hoptrail.formats.jsonl import read_questions, sha256_of
from hoptrail.memory.encoders.disk_cache import CachedEncoder
from hoptrail.memory.encoders.transformer import Encoder
from hoptrail.memory.store import Store
from hoptrail.policies.card import readme
from hoptrail.policies.data.augmentation import variants
from hoptrail.policies.data.corpora import OpenCorpus, is_store
from hoptrail.policies.data.examples import Example, prepare
from hoptrail.policies.data.pseudo_questions import pseudo_questions
from hoptrail.policies.environment.efforts import EFFORTS
from hoptrail.policies.folder import check_folder
from hoptrail.policies.objectives.rewards import Reward, RewardFunction
from hoptrail.policies.policy import RERANK_WEIGHT, Policy
from hoptrail.policies.training.checkpoint import Checkpoint
from hoptrail.policies.training.config import TrainConfig
from hoptrail.policies.training.rerank_weight import fitted_weight
from hoptrail.policies.training.stages import require_tokens
from hoptrail.policies.training.supervision import usable
from hoptrail.policies.training.trainer import Progress, Trainer, silent
from hoptrail.policies.training.validation import means, recalls
from hoptrail.types import Passage, Question

JOINT = "joint"
"""Where in the policy's folder the policy is trained that the re-rank weight is fitted with."""


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
    unlabelled: Sequence[Path] = (),
    start: Policy | None = None,
    reward: str | RewardFunction | None = None,
    resume: bool = False,
    progress: Progress | None = None,
    command: str = "",
) -> dict[str, Any]:
    """Train a policy and write it to a folder; what its card says.

    Args:
        sets: What to train on; a stage takes the questions that hold what it learns from.
        out: The policy's folder; checkpoints lie there until the run is over.
        config: The settings.
        encoder: For passages, questions and rewritten queries; its vectors are cached.
        dev: Sets to measure recall@5 on at the end; nothing is chosen by them.
        unlabelled: Corpora or stores to make questions of, where the settings ask for any; those
            of `sets` by default.
        start: A trained policy to go on from, which decides how many networks there are and of
            what shape; by default they start from random weights.
        reward: Of the objective reinforce; see `Reward`.
        resume: Take up the run whose checkpoint lies in `out`.
        progress: See `Progress`.
        command: How the run was called, for the card.

    Raises:
        InputError: There is nothing that a stage could learn from.
        PolicyError: The checkpoint is of another run, or the folder cannot be written.
    """
    tell = progress or silent
    earns = Reward(reward)
    config = _checked(sets, unlabelled, config, encoder, start)
    cached = encoder if isinstance(encoder, CachedEncoder) else CachedEncoder(encoder)
    told = _told(config, encoder, earns)
    run = told | _data_of(sets, unlabelled, start)
    check_folder(out)
    checkpoint = Checkpoint(out, run)
    checkpoint.make_folder()
    # Before anything slow: a checkpoint of another run is refused.
    resumed = checkpoint.load() if resume else None
    with ExitStack() as opened:
        asked, varied, made = _examples(sets, unlabelled, config, earns, cached, tell, opened)
        joint = _joint(asked, config, cached, Checkpoint(out / JOINT, run), tell, resume)
        trainer = Trainer(
            asked + varied, config, cached, checkpoint, tell, made=made, start=start, reward=earns
        )
        policy = trainer.train(resumed)
    policy.rerank_weight = joint.get("weight", RERANK_WEIGHT)
    policy.card = {
        **told,
        "objective": ", ".join(config.stages),
        "command": command,
        **_counts(asked, varied, made),
        **_listed(sets, unlabelled),
        "curves": trainer.curves,
        **({"joint": joint} if joint else {}),
        "dev": [{**_described(s), **_measured(policy, s, cached, tell)} for s in dev],
    }
    policy.save(out, readme=readme(policy))
    checkpoint.remove()
    if joint:
        _remove_joint(out / JOINT, run)
    return policy.card


def _remove_joint(folder: Path, run: Mapping[str, Any]) -> None:
    """The fit is over: its checkpoint goes, and its folder, unless that holds what is not ours."""
    Checkpoint(folder, run).remove()
    with suppress(OSError):
        folder.rmdir()


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
    # It asks how well gold is ranked, by a policy that learned from people's questions.
    examples = [example for example in examples if example.gold]
    config = replace(config, self_supervised=0)
    checkpoint.make_folder()
    weight, held = fitted_weight(examples, config, encoder, checkpoint, tell, resume=resume)
    return {"weight": weight, "held_back": held}


def show_made(
    corpora: Sequence[Path],
    *,
    count: int,
    seed: int,
    encoder: Encoder,
    progress: Progress | None = None,
) -> list[tuple[Question, list[Passage]]]:
    """The questions that a run would make of the corpora or stores, each with its passages.

    Args:
        corpora: Files of JSON lines, or stores.
        count: How many questions.
        seed: Of what is drawn.
        encoder: Makes the passages' vectors; they are cached.
        progress: See `Progress`.

    Raises:
        InputError: None could be made.
    """
    tell = progress or silent
    with ExitStack() as opened:
        shown = []
        for corpus in _made(_opened(corpora, encoder, tell, opened), count, seed, tell):
            for question in corpus.questions:
                view = corpus.scope(question.namespace).view
                shown.append((question, view.passages(corpus.gold(question))))
        return shown


def _examples(
    sets: Sequence[TrainingSet],
    unlabelled: Sequence[Path],
    config: TrainConfig,
    reward: Reward,
    encoder: CachedEncoder,
    tell: Progress,
    opened: ExitStack,
) -> tuple[list[Example], list[Example], list[Example]]:
    """The questions of all sets, what varies them, and those made, ready while `opened` is.

    Raises:
        InputError: There is nothing that a stage could learn from.
    """
    labelled: list[OpenCorpus] = []
    if config.objectives:
        # Before the corpora are opened, which may have to be encoded first.
        found = [usable(read_questions(s.questions), config, reward, s.questions) for s in sets]
        corpora = _opened([s.corpus for s in sets], encoder.inner, tell, opened)
        labelled = [
            corpus.with_questions(questions, one.questions)
            for corpus, questions, one in zip(corpora, found, sets, strict=True)
        ]
    preparing = partial(_tell, tell, "prepare questions")
    examples = prepare(
        labelled, encoder, reencode=EFFORTS[config.effort].reencode, progress=preparing
    )
    varied = []
    for corpus in labelled if config.varied else ():
        varied += _varied(corpus, config, encoder, tell, opened)
    if not config.self_supervised:
        return examples, varied, []
    sources = unlabelled or list(dict.fromkeys(one.corpus for one in sets))
    asked = _made(
        _opened(sources, encoder.inner, tell, opened), config.self_supervised, config.seed, tell
    )
    # As at effort fast: to encode what every question is rewritten to would take many times longer.
    made = prepare(asked, encoder, reencode=False, progress=preparing)
    return examples, varied, made


def _varied(
    corpus: OpenCorpus,
    config: TrainConfig,
    encoder: CachedEncoder,
    tell: Progress,
    opened: ExitStack,
) -> list[Example]:
    """The questions of a corpus over what is made from it, ready while `opened` is."""
    out = []
    for variant in variants(corpus, share=config.varied, seed=config.seed):
        made = variant.open(encoder.inner, partial(_tell, tell, f"index {variant.name}"))
        opened.callback(made.close)
        ready = prepare(
            [made],
            encoder,
            reencode=EFFORTS[config.effort].reencode,
            progress=partial(_tell, tell, f"prepare {variant.name}"),
        )
        for example, (_, asked) in zip(ready, variant.asked, strict=True):
            example.asked = asked
        out += ready
    return out


def _told(config: TrainConfig, encoder: Encoder, reward: Reward) -> dict[str, Any]:
    """The settings, for the card and for telling runs apart."""
    return {
        "seed": config.seed,
        "encoder": encoder.fingerprint,
        "config": asdict(config),
        "reward": reward.name if "reinforce" in config.stages else None,
    }


def _counts(
    asked: Sequence[Example], varied: Sequence[Example], made: Sequence[Example]
) -> dict[str, int]:
    """How much was learned from."""
    return {"questions": len(asked), "varied": len(varied), "made": len(made)}


def _listed(sets: Sequence[TrainingSet], unlabelled: Sequence[Path]) -> dict[str, Any]:
    """What was trained on, by name."""
    names = [f"{path.parent.name}/{path.name}" for path in unlabelled]
    return {"sets": [_described(s) for s in sets], "unlabelled": names}


def _checked(
    sets: Sequence[TrainingSet],
    unlabelled: Sequence[Path],
    config: TrainConfig,
    encoder: Encoder,
    start: Policy | None,
) -> TrainConfig:
    """The settings, of the shape of the policy to go on from; what cannot be trained is refused."""
    if "marginal" in config.objectives:
        require_tokens(encoder)
    if not (sets or unlabelled) or not config.stages or (config.objectives and not sets):
        raise InputError(
            "there is nothing to train on: give a corpus with questions, "
            "or ask for questions to be made and give a corpus or a store to make them of"
        )
    if start is None:
        return config
    return replace(config, networks=len(start.members), network=start.config)


def _data_of(
    sets: Sequence[TrainingSet], unlabelled: Sequence[Path], start: Policy | None
) -> dict[str, Any]:
    """What identifies a run besides its settings."""
    return {
        "sets": [[sha256_of(s.corpus), sha256_of(s.questions)] for s in sets],
        "unlabelled": [_state_of(path) for path in unlabelled],
        "start": start.fingerprint if start else None,
    }


def _opened(
    corpora: Sequence[Path], encoder: Encoder, tell: Progress, opened: ExitStack
) -> list[OpenCorpus]:
    found = []
    for path in corpora:
        indexing = partial(_tell, tell, f"index {path.parent.name}")
        found.append(OpenCorpus(path, None, encoder, progress=indexing))
        opened.callback(found[-1].close)
    return found


def _made(corpora: Sequence[OpenCorpus], count: int, seed: int, tell: Progress) -> list[OpenCorpus]:
    """The corpora with questions made of them, `count` in all.

    Raises:
        InputError: None could be made.
    """
    out = []
    for place, corpus in enumerate(corpora):
        share = count // len(corpora) + (place < count % len(corpora))
        scope = corpus.scope(())
        questions = pseudo_questions(
            scope.view,
            scope.graph,
            count=max(1, share),
            seed=seed,
            progress=partial(_tell, tell, "make questions"),
        )
        out.append(corpus.with_questions(questions))
    if not any(corpus.questions for corpus in out):
        raise InputError(
            "there is nothing to learn from: no question could be made of the passages, "
            "which neither name each other nor share rare names"
        )
    return out


def _state_of(path: Path) -> str:
    """What tells a corpus or a store from another, and from itself at another time."""
    if not is_store(path):
        return sha256_of(path)
    with Store(path, read_only=True) as store:
        return f"{path.resolve()} at version {store.version}"


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
    with closing(OpenCorpus(one.corpus, one.questions, encoder.inner)) as corpus:
        telling = partial(_tell, tell, f"measure {one.questions.parent.name}")
        return means(recalls(policy, corpus, encoder, progress=telling))
