"""`hoptrail train reformulator` and `train calibration`: what stands before and behind a policy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from hoptrail.cli.app import command
from hoptrail.cli.command import invocation_line, taking
from hoptrail.cli.commands.train import train_commands
from hoptrail.cli.locations import path_argument
from hoptrail.cli.opening import (
    check_encoder_installed,
    check_readable,
    load_named_encoder,
    load_transformer,
    training_sets,
)
from hoptrail.cli.options import (
    EffortOption,
    EncoderOption,
    EpochsOption,
    JsonFlag,
    OutOption,
    ResumeFlag,
    SeedOption,
    argument,
    option,
    path_option,
    whole_argument,
)
from hoptrail.cli.printing import print_json, say
from hoptrail.cli.settings_file import SettingsFileOption, WriteSettingsOption, training_config
from hoptrail.cli.tracking import TrackerOption, training_progress

SetsOption = Annotated[
    list[Path],
    path_option(
        "--set",
        metavar="CORPUS QUESTIONS",
        help="a corpus (or a store) and questions that name their supporting passages; repeatable",
    ),
]
RankOption = Annotated[
    int | None,
    option("--rank", parser=whole_argument, metavar="N", help="of the change of each layer"),
]
PartsOption = Annotated[
    int | None,
    option(
        "--parts",
        parser=whole_argument,
        metavar="N",
        help="parts of the questions, each with a reformulator that has not seen it (default: 4)",
    ),
]


@command(
    train_commands,
    "reformulator",
    cls=taking(pairs=("--set",)),
    examples="""
train reformulator --set corpus.jsonl questions.jsonl --out asking
train questions --set corpus.jsonl questions.jsonl --reformulator asking --out my-policy""",
)
def train_reformulator(
    context: typer.Context,
    sets: SetsOption,
    out: OutOption,
    epochs: EpochsOption = None,
    rank: RankOption = None,
    parts: PartsOption = None,
    seed: SeedOption = 0,
    resume: ResumeFlag = False,
    tracker: TrackerOption = None,
    settings_file: SettingsFileOption = None,
    settings_out: WriteSettingsOption = None,
    encoder: EncoderOption = None,
    json: JsonFlag = False,
) -> int:
    """Train what asks the next query, for --reformulator of `hoptrail train questions`.

    It changes how an encoder reads queries; passages keep their vectors. One is trained on all
    questions, and one for each part of them that has not seen it: networks learn from those. On a
    machine with an accelerator this takes minutes, on two cores hours; --resume keeps what is
    trained.
    """
    from hoptrail.learning.execution.processes import is_first_process
    from hoptrail.policies.data.training_data import TrainingData
    from hoptrail.policies.training.encoders.query_encoder import QueryEncoderConfig
    from hoptrail.policies.training.reformulator import PART_COUNT, train_reformulators

    check_readable(*sets)
    check_encoder_installed(encoder)
    options: dict[str, Any] = {"epochs": epochs, "rank": rank, "seed": seed}
    config = training_config(context, QueryEncoderConfig, options)
    base = load_transformer(encoder, "a reformulator changes a transformer, not a")
    with training_progress(context, tracker, out, asdict(config), together=True) as steps:
        cross_fit = train_reformulators(
            TrainingData(training_sets(sets)),
            out,
            config,
            encoder=base,
            parts=PART_COUNT if parts is None else parts,
            resume=resume,
            command=invocation_line(context),
            progress=steps,
        )
        steps.keep_card(cross_fit.describe())
    if not is_first_process():
        return 0
    if json:
        print_json(cross_fit.describe())
    else:
        say(f"trained on {len(cross_fit.part_of)} questions: {out}")
    return 0


@command(
    train_commands,
    "calibration",
    cls=taking(pairs=("--set",)),
    examples="""
train calibration my-policy --set corpus.jsonl questions.jsonl --set other.jsonl others.jsonl
train calibration my-policy --set agent.db questions.jsonl --questions 100""",
)
def train_calibration(
    context: typer.Context,
    policy: Annotated[
        Path,
        argument(
            "POLICY", "the folder of a policy; what it states is written there", path_argument
        ),
    ],
    sets: Annotated[
        list[Path],
        path_option(
            "--set",
            metavar="CORPUS QUESTIONS",
            help="a corpus (or a store) and questions that name their supporting passages, better "
            "ones that the policy has not learned from; repeatable",
        ),
    ],
    questions: Annotated[
        int,
        option(
            "--questions",
            parser=whole_argument,
            metavar="N",
            help="of each set, at most (default: 300)",
        ),
    ] = 300,
    effort: EffortOption = "balanced",
    seed: SeedOption = 0,
    tracker: TrackerOption = None,
    settings_file: SettingsFileOption = None,
    settings_out: WriteSettingsOption = None,
    encoder: EncoderOption = None,
    json: JsonFlag = False,
) -> int:
    """Fit how probably a passage is needed, how probably what came back suffices, and when to stop.

    Each question is walked as it is and once more where it cannot be answered, and two logistic
    regressions are fitted; when to stop at a price (`recall --patience`) is learned by REINFORCE
    along the same walks. Rankings stay as they are. With several sets, each is also left out and
    judged by a fit on the others.
    """
    from hoptrail.errors import InputError
    from hoptrail.policies.environment import efforts
    from hoptrail.policies.training.calibration.scores import calibrate_scores

    if questions < 1:
        raise InputError(f"--questions must be a whole number of at least 1, got {questions}")
    bounds = efforts.effort(effort)
    check_readable(*sets)
    check_encoder_installed(encoder)
    settings = {"questions": questions, "effort": bounds.name, "seed": seed}
    with training_progress(context, tracker, policy, settings) as steps:
        fit = calibrate_scores(
            policy,
            training_sets(sets),
            encoder=load_named_encoder(encoder),
            questions=questions,
            effort=bounds.name,
            seed=seed,
            command=invocation_line(context),
            progress=steps,
        )
        steps.keep_card(fit)
    if json:
        print_json(fit)
        return 0
    say(f"calibrated on {fit['answerable']} questions and {fit['unanswerable']} without answers")
    say(*_left_out_lines(fit))
    return 0


def _left_out_lines(fit: Mapping[str, Any]) -> Iterator[str]:
    """How a fit on the other sets does on each."""
    for name, figures in fit["left_out"].items():
        parts = (f"{key.replace('_', ' ')} {value:.3f}" for key, value in figures.items())
        yield f"{name}, left out: {', '.join(parts)}"
