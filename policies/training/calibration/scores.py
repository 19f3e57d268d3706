"""Calibrating scores: fitting how probably a passage is needed, and a prefix of a ranking suffices.

Both are logistic regressions on a few features of a walk
(`hoptrail.policies.networks.score_calibration`), each bound to the direction in which it can speak,
with a small ridge on the features in standard deviations. Half as many questions are asked again of
small memories that are made of a set's passages. Every set counts the same, and as if one
question in three could not be answered. What is stated of other corpora is measured by leaving one
set out: fitted on the others, judged on it.

A policy is surer of questions that it was trained on. Where it was trained on those that it is
calibrated on, its scores are too high by that much on others; questions that it has not seen, where
there are any, are the better ones to give.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from hoptrail.errors import InputError
from hoptrail.formats.jsonl import read_questions
from hoptrail.learning.execution.processes import refuse_several
from hoptrail.memory.encoders.disk_cache import CachedEncoder
from hoptrail.memory.encoders.transformer import Encoder
from hoptrail.memory.encoders.wrapped import uncached
from hoptrail.metrics.reliability import calibration_error
from hoptrail.metrics.separation import auroc
from hoptrail.policies.card import readme
from hoptrail.policies.data.corpora import OpenCorpus
from hoptrail.policies.data.training_data import TrainingSet, short_name
from hoptrail.policies.environment.efforts import DEFAULT
from hoptrail.policies.networks.score_calibration import (
    COMPLETE_FEATURES,
    PASSAGE_FEATURES,
    UNANSWERABLE,
    LogisticModel,
    ScoreCalibration,
)
from hoptrail.policies.policy import Policy
from hoptrail.policies.training.calibration.price import fit_stopping, reading_gain
from hoptrail.policies.training.calibration.small_memories import small_memories
from hoptrail.policies.training.calibration.walks import JudgedWalk, judged_walks
from hoptrail.policies.training.preparation import stage_progress
from hoptrail.values.progress import TrainingProgress, silent

Reals = NDArray[np.float64]
Row = tuple[Mapping[str, Reals], NDArray[np.bool_], float]
"""Features by name, what came true, and what each row counts."""

QUESTIONS = 300
"""Of each set, at most."""
SMALL_SHARE = 1 / 2
"""For each of these, so many are also asked of a small memory."""
RANKS = 20
"""Passages of a ranking that are fitted on."""
PREFIXES = (1, 2, 3, 4, 5, 7, 10, 15, 20)
"""Lengths of the prefixes that are fitted on."""
JUDGED = 10
"""Passages and prefixes of a ranking that the calibration is judged on."""
RIDGE = 1e-3
"""Pull of a weight, in standard deviations of its feature, towards 0."""


def calibrate_scores(
    folder: Path,
    sets: Sequence[TrainingSet],
    *,
    encoder: Encoder,
    questions: int = QUESTIONS,
    effort: str = DEFAULT,
    seed: int = 0,
    command: str = "",
    progress: TrainingProgress = silent,
) -> dict[str, Any]:
    """Fit the scores of a policy, and write them to its folder.

    Rankings, trails and the networks stay as they are.

    Args:
        folder: The policy's.
        sets: Corpora with questions that name their passages: better several, of several kinds.
        encoder: For passages, questions and next queries; its vectors are cached.
        questions: Of each set, at most.
        effort: What a walk may cost.
        seed: Of what is drawn.
        command: What was typed, for the card.
        progress: Told of each question.

    Returns:
        What it was fitted on and how well it does on each set when that is left out, as JSON has
        it.

    Raises:
        InputError: There is no set, or no question of which something could be learned.
        PolicyError: There is no policy in the folder, or it cannot be written.
        FormatError: A file cannot be read, or a gold passage is not in its corpus.
        ConfigError: `torchrun` started several processes.
    """
    refuse_several("what scores mean")
    if not sets:
        raise InputError("scores are calibrated on questions: give at least one corpus with some")
    policy = Policy.load(folder)
    cached = CachedEncoder(uncached(encoder))
    walks: list[JudgedWalk] = []
    for number, one in enumerate(sets):
        other = sets[(number + 1) % len(sets)]
        others = read_questions(other.questions) if other is not one else []
        with ExitStack() as stack:
            memories = _memories(one, questions, seed, cached, stack)
            for memory_number, (memory, count) in enumerate(memories):
                walks += judged_walks(
                    short_name(one.questions),
                    policy,
                    memory,
                    others,
                    cached,
                    count=count,
                    effort=effort,
                    seed=seed + memory_number,
                    progress=stage_progress(progress, f"walk {one.questions.parent.name}"),
                )
    scores = fit_scores(walks, seed=seed)
    fit = {
        **scores.fit,
        "sets": [one.describe() for one in sets],
        "effort": effort,
        "seed": seed,
        "command": command,
        "policy": policy.fingerprint,
    }
    policy.scores = replace(scores, fit=fit)
    policy.save(folder, readme=readme(policy))
    return fit


def _memories(
    one: TrainingSet, questions: int, seed: int, encoder: CachedEncoder, stack: ExitStack
) -> Iterator[tuple[OpenCorpus, int]]:
    """A set's corpus and the small memories made of it, each with how many questions are asked."""
    corpus = OpenCorpus(one.corpus, one.questions, encoder.inner)
    stack.callback(corpus.close)
    yield corpus, questions
    for small in small_memories(corpus, round(SMALL_SHARE * questions), seed):
        memory = small.open(encoder)
        stack.callback(memory.close)
        yield memory, len(small.questions)


def fit_scores(walks: Sequence[JudgedWalk], *, seed: int = 0) -> ScoreCalibration:
    """The calibration that fits walks best, with how well it does on sets that are left out.

    Args:
        walks: Of one or more sets.
        seed: Of what is drawn to learn when to stop.

    Raises:
        InputError: Nothing in them is needed, or everything.
    """
    names = list(dict.fromkeys(walk.set for walk in walks))
    left_out = {}
    for name in names if len(names) > 1 else []:
        of_others = _fit([walk for walk in walks if walk.set != name], seed)
        left_out[name] = judge_scores(of_others, [walk for walk in walks if walk.set == name])
    scores = _fit(walks, seed)
    answerable = sum(walk.answerable for walk in walks)
    fit = {"answerable": answerable, "unanswerable": len(walks) - answerable, "left_out": left_out}
    return replace(scores, fit=fit)


def judge_scores(scores: ScoreCalibration, walks: Sequence[JudgedWalk]) -> dict[str, float]:
    """How true the scores of some walks are.

    Args:
        scores: Fitted on others.
        walks: Of questions that can be answered and, for the last figure, that cannot.

    Returns:
        Of the first ten passages of those that can be answered, the calibration error of
        `probability` and of `complete`; and of all, how well `complete` of five passages tells
        those that can be answered from the others (AUROC), and its calibration error where as many
        cannot be as in the fit; both where there are both. Where it says when to stop, how much
        more recall that brings than a fixed number of passages.
    """
    needed, stated_of_five = [], []
    complete: dict[bool, list[tuple[Reals, NDArray[np.bool_]]]] = {True: [], False: []}
    for walk in walks:
        probabilities = scores.probabilities(walk.features)
        suffices = scores.completeness(walk.features, probabilities)
        stated_of_five.append(float(suffices[: RANKS // 4][-1]))
        complete[walk.answerable].append((suffices[:JUDGED], walk.suffices[:JUDGED]))
        if walk.answerable:
            needed.append((probabilities[:JUDGED], walk.needed[:JUDGED]))
    figures = {"needed_error": _error(needed), "complete_error": _error(complete[True])}
    if all(complete.values()):
        count = round(len(complete[True]) * UNANSWERABLE / (1 - UNANSWERABLE))
        every = max(1, len(complete[False]) // max(1, count))
        some = complete[False][::every][:count]
        figures["complete_error_of_all"] = _error([*complete[True], *some])
        answerable = [walk.answerable for walk in walks]
        figures["answerable_auroc"] = auroc(stated_of_five, answerable)
    if scores.stopping is not None:
        figures["reading_gain"] = reading_gain(walks, scores, scores.stopping)
    return figures


def _error(pairs: Sequence[tuple[Reals, NDArray[np.bool_]]]) -> float:
    return calibration_error(
        np.concatenate([stated for stated, _ in pairs]),
        np.concatenate([true for _, true in pairs]),
    )


def _fit(walks: Sequence[JudgedWalk], seed: int) -> ScoreCalibration:
    weight = _weights(walks)
    needed = fit_logistic(
        [
            (_rows(walk.features.passages, np.arange(RANKS)), walk.needed[:RANKS], weight[i])
            for i, walk in enumerate(walks)
        ],
        PASSAGE_FEATURES,
    )
    partial = ScoreCalibration(needed, LogisticModel({}, 0.0))
    rows = []
    for i, walk in enumerate(walks):
        columns = walk.features.complete_columns(partial.probabilities(walk.features))
        at = np.asarray([length - 1 for length in PREFIXES if length <= len(walk.suffices)])
        rows.append((_rows(columns, at), walk.suffices[at], weight[i]))
    scores = ScoreCalibration(needed, fit_logistic(rows, COMPLETE_FEATURES))
    return replace(scores, stopping=fit_stopping(walks, scores, seed=seed))


def _rows(columns: Mapping[str, Reals], at: NDArray[np.int64]) -> dict[str, Reals]:
    return {name: values[at[at < len(values)]] for name, values in columns.items()}


def _weights(walks: Sequence[JudgedWalk]) -> list[float]:
    """What each walk counts: sets alike, and in each so much what cannot be answered."""
    count: dict[tuple[str, bool], int] = {}
    for walk in walks:
        key = walk.set, walk.answerable
        count[key] = count.get(key, 0) + 1
    share = {True: 1 - UNANSWERABLE, False: UNANSWERABLE}
    return [share[walk.answerable] / count[walk.set, walk.answerable] for walk in walks]


def fit_logistic(rows: Sequence[Row], directions: Mapping[str, int]) -> LogisticModel:
    """The logistic regression whose weights have the signs that they may have.

    Args:
        rows: The features of some rows, what came true of them, and what each of them counts.
        directions: Of the features, 1 where the weight is at least 0, -1 where at most.

    Raises:
        InputError: There is no row, or all came out the same.
    """
    true = np.concatenate([outcome for _, outcome, _ in rows]) if rows else np.zeros(0, bool)
    if not true.any() or true.all():
        raise InputError(
            "scores cannot be calibrated on these questions: of all passages that the walks found "
            f"{'every one' if true.any() else 'none'} is needed"
        )
    counts = np.concatenate([np.full(len(outcome), count) for _, outcome, count in rows])
    counts = counts / counts.sum()
    x = np.stack(
        [np.concatenate([columns[name] for columns, _, _ in rows]) for name in directions], axis=1
    )
    mean = counts @ x
    spread = np.sqrt(counts @ (x - mean) ** 2)
    spread[spread < 1e-9] = 1.0
    z, outcome = (x - mean) / spread, true.astype(np.float64)

    def loss(parameters: Reals) -> tuple[float, Reals]:
        odds = z @ parameters[:-1] + parameters[-1]
        ridge = RIDGE * float(parameters[:-1] @ parameters[:-1])
        wrong = counts * (1 / (1 + np.exp(-odds)) - outcome)
        slope = np.append(z.T @ wrong + 2 * RIDGE * parameters[:-1], wrong.sum())
        return float(counts @ (np.logaddexp(0, odds) - outcome * odds)) + ridge, slope

    bounds = [(0, None) if sign > 0 else (None, 0) for sign in directions.values()]
    start = np.zeros(len(bounds) + 1)
    best = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[*bounds, (None, None)]).x
    weights = best[:-1] / spread
    return LogisticModel(
        {name: float(f"{w:.6g}") for name, w in zip(directions, weights.tolist(), strict=True)},
        float(f"{best[-1] - weights @ mean:.6g}"),
    )
