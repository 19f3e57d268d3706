"""A run of the marginal stage: walks, training, and what is written of reader and policy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hoptrail.errors import InputError
from hoptrail.learning.answering.extractive_reader import CARD, FORMAT, WEIGHTS, ExtractiveReader
from hoptrail.learning.execution import processes
from hoptrail.memory.encoders.disk_cache import CachedEncoder
from hoptrail.memory.encoders.model_folder import check_own_folder
from hoptrail.memory.encoders.transformer import TransformerEncoder
from hoptrail.memory.encoders.windows import tokenizer_of
from hoptrail.memory.encoders.wrapped import uncached
from hoptrail.policies.card import readme
from hoptrail.policies.data.training_data import TrainingData
from hoptrail.policies.environment.efforts import effort
from hoptrail.policies.folder import check_folder
from hoptrail.policies.policy import Policy
from hoptrail.policies.reading.marginal_training import MarginalConfig, MarginalTraining
from hoptrail.policies.reading.policy_trails import (
    TrailWalk,
    WalkedQuestion,
    load_trails,
    save_trails,
)
from hoptrail.policies.reading.reader_trainer import ReaderConfig, describe_start
from hoptrail.policies.reading.reading_data import ReadingCorpus, reading_corpora
from hoptrail.policies.reading.reading_figures import figures_by_set, held_out_certainty
from hoptrail.policies.reformulation.cross_fit import CrossFit
from hoptrail.policies.training.checkpoint import Checkpoint
from hoptrail.policies.training.next_queries import NextQueries
from hoptrail.policies.training.preparation import open_corpora
from hoptrail.values.progress import TrainingProgress, silent


@dataclass(frozen=True, slots=True)
class MarginalRun:
    """What a run begins with, and where else than to the reader's folder it writes."""

    reader: ExtractiveReader
    """To go on from."""
    policy: Policy
    """Whose trails are read."""
    cross_fit: CrossFit | None = None
    """Reformulators by which the questions are asked, each of which has not seen them; by default
    that of the policy, which may have."""
    policy_out: Path | None = None
    """Where the policy is written that learned with the reader; None for one that stays."""
    trails_file: Path | None = None
    """Where the trails are kept for another run, or were by one before; for a policy that stays.
    Of several processes each walks for all questions, but with such a file only the first."""
    resume: bool = False
    """Go on from the checkpoint in the reader's folder, where there is one."""
    command: str = ""
    """How the run was called, for what is written beside the weights."""
    progress: TrainingProgress = silent
    """Told of every step."""


def train_on_trails(
    data: TrainingData,
    out: Path,
    config: MarginalConfig | None = None,
    *,
    encoder: TransformerEncoder,
    run: MarginalRun,
) -> ExtractiveReader:
    """Train a reader on a policy's trails by the marginal likelihood, and write it to a folder.

    Several processes of `torchrun` train one reader, each on its share of every batch, and the
    first measures and writes it. What is dropped out is drawn in each process.

    Args:
        data: What to learn from, perhaps answers without supporting passages, and what to measure
            the reader on when it is done.
        out: The folder that `ExtractiveReader.load` then takes.
        config: The settings; those of `MarginalConfig()` by default.
        encoder: The memory's, whose transformer the reader changes; training runs on its device.
        run: The reader and the policy to begin with.

    Returns:
        The reader as written. `made_of` holds data, settings and figures.

    Raises:
        InputError: There is no question whose answer a trail says; or trails of a policy that
            learns are to be kept.
        FormatError: A file cannot be read or written, or holds trails of another walk.
        PolicyError: The checkpoint is damaged or of another run, or the policy cannot be written.
        ReaderError: The reader is of another encoder.
    """
    _check(out, run)
    config, start, policy = config or MarginalConfig(), run.reader, run.policy
    with processes.joined_processes(), ExitStack() as stack:
        cached = stack.enter_context(closing(CachedEncoder(encoder)))
        queries = NextQueries(cached, policy.reformulator, run.cross_fit)
        queries.check()
        split = _split_settings(start)
        walk = _walk_settings(data, queries, config, policy, split)
        learns = run.policy_out is not None
        settings = {"config": asdict(config), "start": start.fingerprint, "policy_learns": learns}
        checkpoint = Checkpoint(out, {**walk, **settings})
        resumed = checkpoint.load() if run.resume else None
        tokenizer = tokenizer_of(encoder.model.tokenizer)
        walks = TrailWalk(
            policy, queries, effort(config.effort), config.trails, policy_learns=learns
        )
        with processes.first_process_first():
            learned, held_out, dev = reading_corpora(data, tokenizer, cached, **split, latent=True)
            walked = _walked(learned, walks, walk, run, stack)
        training = MarginalTraining(walked, encoder, config, start, policy if learns else None)
        training.go(checkpoint, resumed, run.progress)
        reader = training.network.reader()
    if not processes.is_first_process():
        return reader
    reader.certainty = held_out_certainty(reader, held_out, config.seed) or start.certainty
    reader.made_of = {
        **data.describe(),
        "config": {**asdict(config), **split},
        "command": run.command,
        "start": describe_start(start),
        "policy": {"weights": policy.fingerprint, "learns": learns},
        "curve": training.curve,
        "held_out": figures_by_set(reader, held_out, data.train, config.seed),
        "dev": figures_by_set(reader, dev, data.dev, config.seed),
    }
    reader.save(out)
    _save_policy(training, run, config)
    checkpoint.remove()
    return reader


def _check(out: Path, run: MarginalRun) -> None:
    """Refuse what cannot end well, before the walks."""
    check_own_folder(out, FORMAT, (CARD, WEIGHTS), "reader")
    if run.policy_out is None:
        return
    if run.trails_file is not None:
        raise InputError(
            "trails are kept for a policy that stays as it is, and this one learns: "
            "leave out the file of trails or the folder of the policy"
        )
    if run.policy_out.resolve() == out.resolve():
        raise InputError(f"the reader and the policy need a folder each, got {out} for both")
    check_folder(run.policy_out)


def _walk_settings(
    data: TrainingData,
    queries: NextQueries,
    config: MarginalConfig,
    policy: Policy,
    split: Mapping[str, Any],
) -> dict[str, Any]:
    """What decides which trails are walked."""
    return {
        "policy": policy.fingerprint,
        **queries.fingerprint(),
        **data.fingerprint(),
        **{name: getattr(config, name) for name in ("trails", "effort")},
        "split": split,
    }


def _split_settings(start: ExtractiveReader) -> dict[str, Any]:
    """How the reader's own training held questions out, so that the same ones stay unseen."""
    usual = ReaderConfig()
    config = start.made_of.get("config", {})
    return {
        "held_out": config.get("held_out", usual.held_out),
        "split_seed": config.get("split_seed", config.get("seed", usual.seed)),
    }


def _walked(
    corpora: Sequence[ReadingCorpus],
    walks: TrailWalk,
    about: Mapping[str, Any],
    run: MarginalRun,
    stack: ExitStack,
) -> list[WalkedQuestion]:
    """The questions with their trails: walked now, or by a run before."""
    if run.trails_file is not None:
        walked = load_trails(run.trails_file, corpora, about)
        if walked is not None:
            return walked
    # A policy that learns goes on asking the stores; what one that stays left there may go.
    with ExitStack() as until_walked:
        keep_open = stack if walks.policy_learns else until_walked
        files = [corpus.file for corpus in corpora]
        opened = open_corpora(files, uncached(walks.queries.encoder), run.progress, keep_open)
        walked = [
            one
            for corpus, store in zip(corpora, opened, strict=True)
            for one in walks.run(corpus, store, run.progress)
        ]
    if run.trails_file is not None:
        save_trails(walked, run.trails_file, about)
    return walked


def _save_policy(training: MarginalTraining, run: MarginalRun, config: MarginalConfig) -> None:
    """Write the policy, if it learned; what was fitted to the one before is not taken over."""
    policy, before = training.policy, run.policy
    if policy is None or run.policy_out is None:
        return
    policy.scores = policy.feedback_ranking = None
    policy.card = {
        **before.card,
        "objective": f"{before.card.get('objective')}, marginal with a reader",
        "command": run.command,
        "dev": [],
        "marginal": {
            "policy": before.fingerprint,
            "reader": run.reader.fingerprint,
            "config": asdict(config),
            "curve": training.curve,
        },
    }
    policy.save(run.policy_out, readme=readme(policy))
