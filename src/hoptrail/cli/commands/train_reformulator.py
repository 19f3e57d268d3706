"""`hoptrail train reformulator`: what asks the next query, trained before the networks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from hoptrail.cli.app import command
from hoptrail.cli.command import invocation_line, taking
from hoptrail.cli.commands.train import train_commands
from hoptrail.cli.opening import (
    check_encoder_installed,
    check_readable,
    load_transformer,
    training_sets,
)
from hoptrail.cli.options import (
    EncoderOption,
    EpochsOption,
    JsonFlag,
    OutOption,
    ResumeFlag,
    SeedOption,
    option,
    path_option,
    whole_argument,
)
from hoptrail.cli.printing import print_json, say

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
    encoder: EncoderOption = None,
    json: JsonFlag = False,
) -> int:
    """Train what asks the next query, for --reformulator of `hoptrail train questions`.

    It changes how an encoder reads queries; passages keep their vectors. One is trained on all
    questions, and one for each part of them that has not seen it: networks learn from those. On a
    machine with an accelerator this takes minutes, on two cores hours; --resume keeps what is
    trained.
    """
    from hoptrail.cli import output
    from hoptrail.policies.data.training_data import TrainingData
    from hoptrail.policies.training.query_encoder import QueryEncoderConfig
    from hoptrail.policies.training.reformulator import PART_COUNT, train_reformulators

    check_readable(*sets)
    check_encoder_installed(encoder)
    options: dict[str, Any] = {"epochs": epochs, "rank": rank, "seed": seed}
    config = QueryEncoderConfig(
        **{name: value for name, value in options.items() if value is not None}
    )
    base = load_transformer(encoder, "a reformulator changes a transformer, not a")
    with output.Steps() as steps:
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
    if json:
        print_json(cross_fit.describe())
    else:
        say(f"trained on {len(cross_fit.part_of)} questions: {out}")
    return 0
