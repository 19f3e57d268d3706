"""Training reformulators: one on all questions, and one for each part that has not seen it.

A part holds whole clusters of questions: none shares a supporting passage with another part's, and
the questions of a namespace stay together (`hoptrail.policies.reformulation.cross_fit`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from hoptrail.errors import ConfigError, InputError, PolicyError
from hoptrail.formats.jsonl import read_questions
from hoptrail.learning.execution import processes
from hoptrail.learning.retrieval.collapse import CollapseMonitor
from hoptrail.memory.encoders.transformer import TransformerEncoder
from hoptrail.memory.encoders.tuned.query_tuned import LowRankEncoder
from hoptrail.metrics.clusters import connected_components
from hoptrail.policies.data.corpora import OpenCorpus
from hoptrail.policies.data.training_data import TrainingData
from hoptrail.policies.reformulation.cross_fit import PARTS, CrossFit, part_file, question_key
from hoptrail.policies.reformulation.learned import FILE, LearnedReformulator
from hoptrail.policies.training.encoders.evidence_queries import (
    EvidenceQuestion,
    evidence_questions,
)
from hoptrail.policies.training.encoders.query_encoder import QueryEncoderConfig, train_factors
from hoptrail.policies.training.latent_query_training import train_latent_query
from hoptrail.policies.training.preparation import open_corpora
from hoptrail.values.numbers import whole
from hoptrail.values.progress import TrainingProgress, silent

PART_COUNT = 4


def train_reformulators(
    data: TrainingData,
    folder: Path,
    config: QueryEncoderConfig | None = None,
    *,
    encoder: TransformerEncoder,
    parts: int = PART_COUNT,
    resume: bool = False,
    command: str = "",
    progress: TrainingProgress = silent,
) -> CrossFit:
    """Train the reformulators of files of questions, and write them to a folder one by one.

    Several processes of `torchrun` train each of them together, and the first writes it.

    Args:
        data: What to learn from.
        folder: Where they go.
        config: The settings; those of `QueryEncoderConfig()` by default.
        encoder: Of the passages; their vectors are cached.
        parts: How many parts of the questions there are, at least 2.
        resume: Whether to keep what an earlier run of the same settings has written.
        command: How the run was called.
        progress: Told of every step.

    Raises:
        InputError: No question names its supporting passages.
        ConfigError: There are fewer than two parts, or training should end early.
        FormatError: A file cannot be read, or a supporting passage is not in its corpus.
        PolicyError: The folder holds another run's, or cannot be written.
    """
    config = _checked(config or QueryEncoderConfig(), parts)
    data.refuse_feedback("a reformulator")
    run = {
        **data.fingerprint(),
        "config": asdict(config),
        "encoder": encoder.fingerprint,
        "parts": parts,
    }
    _refuse_others(folder, run, resume=resume)
    with processes.joined_processes(), ExitStack() as stack:
        with processes.first_process_first():
            corpora = _opened(data, encoder, progress, stack)
            part_of = deal_out(corpora, parts, config.seed)
            questions = evidence_questions(corpora, encoder, encoder.device)
        about = {
            "run": run,
            "parts": parts,
            "part_of": part_of,
            "made_of": {**data.describe(), "config": asdict(config), "command": command},
        }
        if processes.is_first_process():
            _write(folder, about)
        for part in (None, *range(parts)):
            file = folder / FILE if part is None else part_file(folder, part)
            if file.is_file():
                continue
            lessons = [
                q for q in questions if part is None or part_of[question_key(q.text)] != part
            ]
            name = "all questions" if part is None else f"all but part {part + 1} of {parts}"
            seeded = replace(config, seed=config.seed + (0 if part is None else part + 1))
            reformulator = _train(lessons, encoder, seeded, name, progress)
            if processes.is_first_process():
                reformulator.save(file)
        with processes.first_process_first():
            return CrossFit.load(folder)


def _opened(
    data: TrainingData, encoder: TransformerEncoder, progress: TrainingProgress, stack: ExitStack
) -> list[OpenCorpus]:
    """The corpora to learn from, each with its questions."""
    opened = open_corpora([one.corpus for one in data.train], encoder, progress, stack)
    return [
        corpus.with_questions(read_questions(one.questions), one.questions)
        for corpus, one in zip(opened, data.train, strict=True)
    ]


def _train(
    questions: Sequence[EvidenceQuestion],
    encoder: TransformerEncoder,
    config: QueryEncoderConfig,
    name: str,
    progress: TrainingProgress,
) -> LearnedReformulator:
    """One reformulator: the query encoder, then the network over vectors beside it."""

    def told(stage: str, done: int, total: int, figures: Mapping[str, float]) -> None:
        progress(f"{stage}, {name}", done, total, figures)

    monitor = CollapseMonitor(f"the reformulator of {name}")
    factors = {
        layer: (a.half().numpy(), b.half().numpy())
        for layer, (a, b) in train_factors(
            questions, encoder, config, monitor=monitor, progress=told
        ).items()
    }
    query_encoder = LowRankEncoder(encoder, factors, name)
    latent = train_latent_query(questions, query_encoder, config, progress=told)
    return LearnedReformulator(encoder.fingerprint, factors, latent)


def _checked(config: QueryEncoderConfig, parts: int) -> QueryEncoderConfig:
    """The settings; what a reformulator cannot be trained with is refused."""
    whole(parts, "parts", least=2, error=ConfigError)
    if config.stop_after is not None:
        raise ConfigError(
            f"stop_after is {config.stop_after}, and a reformulator makes all its passes: leave it "
            "out, and choose epochs"
        )
    return config


def deal_out(corpora: Sequence[OpenCorpus], parts: int, seed: int) -> dict[str, int]:
    """The part of each question with supporting passages, by `question_key`.

    Args:
        corpora: Opened corpora with their questions.
        parts: How many parts there are.
        seed: Of how clusters are dealt out.

    Raises:
        InputError: The questions hang together in fewer clusters.
    """
    keys: list[str] = []
    shared: list[list[Any]] = []
    for number, corpus in enumerate(corpora):
        for question in corpus.questions:
            if not question.supporting_ids:
                continue
            key = question_key(question.text)
            keys.append(key)
            passages = [(number, question.namespace, one) for one in question.supporting_ids]
            space = [(number, question.namespace)] if question.namespace else []
            shared.append([key, *passages, *space])
    clusters = connected_components(shared)
    count = int(clusters.max(initial=-1)) + 1
    if count < parts:
        raise InputError(
            f"the questions hang together in {count} clusters by their passages and namespaces: "
            f"too few for {parts} parts"
        )
    part = np.random.default_rng(seed).permutation(count) % parts
    return {key: int(part[cluster]) for key, cluster in zip(keys, clusters, strict=True)}


def _refuse_others(folder: Path, run: Mapping[str, Any], *, resume: bool) -> None:
    """Refuse a folder that holds another run's reformulators, or any if none are to be kept."""
    if not (folder / PARTS).exists() and not (folder / FILE).exists():
        return
    if not resume:
        raise PolicyError(
            f"{folder} holds reformulators: name another folder, or go on with them by --resume"
        )
    try:
        other = json.loads((folder / PARTS).read_text(encoding="utf-8"))["run"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PolicyError(f"{folder / PARTS} is damaged: {error}") from error
    if other != run:
        raise PolicyError(
            f"the reformulators in {folder} are of other data, settings or another encoder"
        )


def _write(folder: Path, about: dict[str, Any]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / (PARTS + ".partial")
        partial.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
        partial.replace(folder / PARTS)
    except OSError as error:
        raise PolicyError(f"no reformulators can be written to {folder}: {error}") from error
