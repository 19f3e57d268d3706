"""The commands that train what answers from passages: train reader, train answers."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hoptrail.cli.app import command
from hoptrail.cli.command import invocation_line, taking
from hoptrail.cli.commands.train import train_commands
from hoptrail.cli.opening import (
    check_encoder_installed,
    check_readable,
    leaving_no_empty_folder,
    load_transformer,
    training_sets,
)
from hoptrail.cli.options import (
    DevOption,
    EncoderOption,
    EpochsOption,
    JsonFlag,
    OutOption,
    PolicyOption,
    ReaderOption,
    ResumeFlag,
    SeedOption,
    number_argument,
    option,
    path_option,
    whole_argument,
)
from hoptrail.cli.printing import print_json, say
from hoptrail.cli.settings_file import (
    SettingsFileOption,
    StopAfterOption,
    WriteSettingsOption,
    training_config,
)
from hoptrail.cli.tracking import TrackerOption, training_progress

if TYPE_CHECKING:
    from hoptrail.learning.answering.extractive_reader import ExtractiveReader

AnswerSetsOption = Annotated[
    list[Path],
    path_option(
        "--set",
        metavar="CORPUS QUESTIONS",
        help="a corpus (or a store) and questions with their answers and supporting passages; "
        "repeatable",
    ),
]
AnsweredSetsOption = Annotated[
    list[Path],
    path_option(
        "--set",
        metavar="CORPUS QUESTIONS",
        help="a corpus (or a store) and questions with their answers, and with their supporting "
        "passages where these are known; repeatable",
    ),
]
ClozeOption = Annotated[
    int | None,
    option(
        "--cloze",
        parser=whole_argument,
        metavar="N",
        help="questions that are made of the corpora first, by leaving out a name; 0 for none",
    ),
]
RankOption = Annotated[
    int | None,
    option(
        "--rank",
        parser=whole_argument,
        metavar="N",
        help="of the change of each layer: the larger, the more is learned and written",
    ),
]
StartOption = Annotated[
    str | None,
    option(
        "--start",
        metavar="READER",
        help="what to go on from: shipped, a reader's folder, or nothing (default: nothing)",
    ),
]
DeviceOption = Annotated[
    str | None,
    option("--device", metavar="NAME", help="where to train: cpu or cuda (default: CUDA if any)"),
]
PolicyOutOption = Annotated[
    Path | None,
    path_option(
        "--policy-out",
        metavar="DIR",
        help="train the policy too, and write it to this folder (default: it stays as it is)",
    ),
]
AskingOption = Annotated[
    Path | None,
    path_option(
        "--reformulator",
        metavar="DIR",
        help="what `train reformulator` wrote for these questions, so that each is asked by what "
        "has not seen it (default: that of the policy)",
    ),
]
TrailsOption = Annotated[
    int | None,
    option(
        "--trails",
        parser=whole_argument,
        metavar="N",
        help="trails of the policy's that a question is read along, beside the one to its evidence",
    ),
]
TrailsFileOption = Annotated[
    Path | None,
    path_option(
        "--trails-file",
        metavar="FILE",
        help="keep the trails in it for another run, or take them from it where it is there",
    ),
]
PassQuestionsOption = Annotated[
    int | None,
    option(
        "--questions",
        parser=whole_argument,
        metavar="N",
        help="of each pass, drawn anew (default: all)",
    ),
]
ReaderRateOption = Annotated[
    float | None,
    option(
        "--learning-rate",
        parser=number_argument,
        metavar="RATE",
        help="the reader's, its peak",
    ),
]
PolicyRateOption = Annotated[
    float | None,
    option(
        "--policy-rate",
        parser=number_argument,
        metavar="RATE",
        help="the policy's, its peak",
    ),
]


@command(
    train_commands,
    "reader",
    cls=taking(pairs=("--set", "--dev")),
    examples="""
train reader --set corpus.jsonl questions.jsonl --out my-reader
train reader --set corpus.jsonl questions.jsonl --start shipped --cloze 0 --epochs 2 --out my-reader
train reader --set a.jsonl qa.jsonl --set b.jsonl qb.jsonl --device cuda --out my-reader
ask --store agent.db --reader my-reader \"what was asked\"""",
)
def train_on_answers(
    context: typer.Context,
    sets: AnswerSetsOption,
    out: OutOption,
    dev: DevOption = None,
    epochs: EpochsOption = None,
    cloze: ClozeOption = None,
    rank: RankOption = None,
    stop_after: StopAfterOption = None,
    start: StartOption = None,
    device: DeviceOption = None,
    seed: SeedOption = 0,
    resume: ResumeFlag = False,
    tracker: TrackerOption = None,
    settings_file: SettingsFileOption = None,
    settings_out: WriteSettingsOption = None,
    encoder: EncoderOption = None,
    json: JsonFlag = False,
) -> int:
    """Train a reader, which answers questions in the words of passages.

    It is the encoder with a small change, and is written to a folder that `hoptrail ask --reader`
    takes. A part of the questions is held out, to say how sure its answers are.
    """
    from hoptrail.memory.encoders.disk_cache import CachedEncoder
    from hoptrail.policies.data.training_data import TrainingData
    from hoptrail.policies.reading.reader_trainer import (
        ReaderConfig,
        settings_of_changes,
        train_reader,
    )
    from hoptrail.policies.reading.shipped_reader import load_answer_reader

    check_readable(*sets, *(dev or []))
    check_encoder_installed(encoder)
    base = load_transformer(encoder, "a reader is a change of a transformer, not of a", device)
    begin = None if start in (None, "nothing") else load_answer_reader(start, encoder=base)
    options = {"epochs": epochs, "cloze": cloze, "rank": rank, "seed": seed}
    options["stop_after"] = stop_after
    config = training_config(
        context, ReaderConfig, options, {} if begin is None else settings_of_changes(begin)
    )
    with (
        leaving_no_empty_folder(out),
        training_progress(context, tracker, out, asdict(config), together=True) as steps,
        closing(CachedEncoder(base)) as finder,
    ):
        reader = train_reader(
            TrainingData(train=training_sets(sets), dev=training_sets(dev or [])),
            out,
            config,
            encoder=base,
            passage_encoder=finder,
            start=begin,
            resume=resume,
            command=invocation_line(context),
            progress=steps,
        )
        steps.keep_card(reader.made_of)
    return _tell(reader, out, json=json)


@command(
    train_commands,
    "answers",
    cls=taking(pairs=("--set", "--dev")),
    examples="""
train answers --set corpus.jsonl questions.jsonl --out my-reader
train answers --set corpus.jsonl questions.jsonl --policy-out my-policy --out my-reader
train answers --set a.jsonl qa.jsonl --reader first --trails-file trails.jsonl --out second""",
)
def train_on_own_trails(
    context: typer.Context,
    sets: AnsweredSetsOption,
    out: OutOption,
    dev: DevOption = None,
    reader: ReaderOption = None,
    policy: PolicyOption = None,
    policy_out: PolicyOutOption = None,
    reformulator: AskingOption = None,
    trails: TrailsOption = None,
    trails_file: TrailsFileOption = None,
    epochs: EpochsOption = None,
    questions: PassQuestionsOption = None,
    learning_rate: ReaderRateOption = None,
    policy_rate: PolicyRateOption = None,
    device: DeviceOption = None,
    seed: SeedOption = 0,
    resume: ResumeFlag = False,
    tracker: TrackerOption = None,
    settings_file: SettingsFileOption = None,
    settings_out: WriteSettingsOption = None,
    encoder: EncoderOption = None,
    json: JsonFlag = False,
) -> int:
    """Train a reader on the trails of a policy, and the policy with it, by the answers' likelihood.

    The reader of --reader goes on learning, from what the policy of --policy reads; with
    --policy-out the policy learns too. The questions that the reader's training held out stay so.
    """
    from hoptrail.policies.data.training_data import TrainingData
    from hoptrail.policies.policy import Policy
    from hoptrail.policies.reading.marginal_run import MarginalRun, train_on_trails
    from hoptrail.policies.reading.marginal_training import MarginalConfig
    from hoptrail.policies.reading.shipped_reader import load_answer_reader
    from hoptrail.policies.reformulation.cross_fit import CrossFit

    check_readable(*sets, *(dev or []))
    check_encoder_installed(encoder)
    options = {
        "epochs": epochs,
        "questions": questions,
        "trails": trails,
        "learning_rate": learning_rate,
        "policy_rate": policy_rate,
        "seed": seed,
    }
    config = training_config(context, MarginalConfig, options)
    base = load_transformer(encoder, "a reader is a change of a transformer, not of a", device)
    with (
        leaving_no_empty_folder(out),
        training_progress(context, tracker, out, asdict(config), together=True) as steps,
    ):
        trained = train_on_trails(
            TrainingData(train=training_sets(sets), dev=training_sets(dev or [])),
            out,
            config,
            encoder=base,
            run=MarginalRun(
                load_answer_reader(reader, encoder=base),
                Policy.shipped() if policy is None else Policy.load(policy),
                cross_fit=None if reformulator is None else CrossFit.load(reformulator),
                policy_out=policy_out,
                trails_file=trails_file,
                resume=resume,
                command=invocation_line(context),
                progress=steps,
            ),
        )
        steps.keep_card(trained.made_of)
    return _tell(trained, out, json=json)


def _tell(reader: ExtractiveReader, out: Path, *, json: bool) -> int:
    """Print what became of a training."""
    from hoptrail.cli import output
    from hoptrail.learning.execution.processes import is_first_process

    if not is_first_process():
        return 0
    if json:
        print_json(reader.made_of)
        return 0
    output.output().print(output.rows_table("", _rows(reader.made_of)))
    say(f"{reader!r}: {out}")
    return 0


def _rows(made_of: Mapping[str, Any]) -> list[list[str]]:
    """How well a reader does, as a table."""
    names = ("gold_em", "gold_f1", "beside_em", "beside_f1", "auroc")
    rows = [["questions", "which", *names]]
    for which in ("held_out", "dev"):
        for one in made_of[which]:
            figures = [f"{one[name]:.1f}" if name in one else "" for name in names]
            rows.append([one["questions"], which, *figures])
    return rows
