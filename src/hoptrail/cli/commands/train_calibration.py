"""`hoptrail train calibration`: what makes probabilities of a policy's walks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hoptrail.cli.app import command
from hoptrail.cli.command import invocation_line, taking
from hoptrail.cli.commands.train import train_commands
from hoptrail.cli.opening import (
    check_encoder_installed,
    check_readable,
    load_named_encoder,
    training_sets,
)
from hoptrail.cli.options import (
    EffortOption,
    EncoderOption,
    JsonFlag,
    SeedOption,
    argument,
    option,
    path_argument,
    path_option,
    whole_argument,
)
from hoptrail.cli.printing import print_json, say


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
    encoder: EncoderOption = None,
    json: JsonFlag = False,
) -> int:
    """Fit how probably a passage is needed, and how probably what came back suffices.

    Each question is walked as it is and once more where it cannot be answered, and two logistic
    regressions are fitted. Rankings stay as they are. With several sets, each is also left out and
    judged by a fit on the others.
    """
    from hoptrail.cli import output
    from hoptrail.errors import InputError
    from hoptrail.policies.environment import efforts
    from hoptrail.policies.training.calibration.scores import calibrate_scores

    if questions < 1:
        raise InputError(f"--questions must be a whole number of at least 1, got {questions}")
    bounds = efforts.effort(effort)
    check_readable(*sets)
    check_encoder_installed(encoder)
    with output.Steps() as steps:
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
    if json:
        print_json(fit)
        return 0
    say(f"calibrated on {fit['answerable']} questions and {fit['unanswerable']} without answers")
    for name, figures in fit["left_out"].items():
        said = ", ".join(f"{key.replace('_', ' ')} {value:.3f}" for key, value in figures.items())
        say(f"{name}, left out: {said}")
    return 0
