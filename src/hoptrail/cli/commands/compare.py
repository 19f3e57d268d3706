"""The commands that read results: two reports side by side, and predictions as a benchmark does."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from hoptrail.cli.app import LEARNING, app, command
from hoptrail.cli.command import taking
from hoptrail.cli.commands.evaluate import REPORTING, evaluate_commands
from hoptrail.cli.locations import path_argument
from hoptrail.cli.opening import check_readable, check_results, to_stdout
from hoptrail.cli.options import (
    AliasesOption,
    JsonFlag,
    ReportOption,
    SeedOption,
    argument,
    option,
)
from hoptrail.cli.printing import print_json, say
from hoptrail.errors import InputError


@command(
    app,
    "compare",
    cls=REPORTING,
    panel=LEARNING,
    examples="""
compare before.json after.json
compare report.json report.json --of policy --against dense
compare mine.json theirs.json --of policy --json comparison.json""",
)
def compare(
    reports: Annotated[
        list[Path],
        argument("FIRST.json SECOND.json", "what `evaluate --json` wrote", path_argument),
    ],
    of: Annotated[
        str | None, option("--of", metavar="NAME", help="a retriever of the first report")
    ] = None,
    against: Annotated[
        str | None, option("--against", metavar="NAME", help="a retriever of the second report")
    ] = None,
    seed: SeedOption = 0,
    json: ReportOption = None,
) -> int:
    """Compare two reports on the same questions: retrievers, policies or readers.

    Differences are first minus second, with intervals of the paired bootstrap by cluster, wins and
    losses; without names, every retriever that both reports have is compared with itself.
    """
    if len(reports) != 2:
        raise InputError(f"compare takes two reports, got {len(reports)}")
    from hoptrail.cli import output
    from hoptrail.evaluation.comparison import compare_reports, paired_rows
    from hoptrail.evaluation.report import load_report, save_report

    check_results(json, None, inputs=reports)
    first, second = map(load_report, reports)
    comparison = compare_reports(first, second, retriever=of, against=against, seed=seed)
    if to_stdout(json):
        print_json(comparison)
        return 0
    if json:
        save_report(comparison, json)
    console = output.output()
    for pair in comparison["pairs"]:
        title = f"{pair['retriever']} - {pair['against']}"
        parts = {f"{title}, {comparison['questions']} questions": pair["measures"]}
        for kind, part in pair["kinds"].items():
            parts[f"{title}, {part['questions']} of kind {kind}"] = part["measures"]
        for heading, measures in parts.items():
            table = output.rows_table(heading, paired_rows(measures), width=console.width)
            console.print(table)
    return 0


@command(
    evaluate_commands,
    "predictions",
    cls=taking(),
    examples="""
evaluate predictions hotpot_dev_distractor_v1.json predictions.json
evaluate predictions musique_ans_v1.0_dev.jsonl predictions.jsonl --json""",
)
def judge_predictions(
    files: Annotated[
        list[Path],
        argument(
            "QUESTIONS PREDICTIONS",
            "a file of HotpotQA, 2WikiMultiHopQA or MuSiQue, and predictions as it takes them",
            path_argument,
        ),
    ],
    aliases: AliasesOption = None,
    json: JsonFlag = False,
) -> int:
    """Score a file of predictions as its benchmark does, whoever made it."""
    if len(files) != 2:
        raise InputError(f"evaluate predictions takes two files, got {len(files)}")
    from hoptrail.evaluation.answers.official_scores import score_predictions
    from hoptrail.formats.benchmarks.prediction_files import read_predictions
    from hoptrail.formats.benchmarks.question_sets import read_question_set

    check_readable(*files)
    questions = read_question_set(files[0], distractor=True, aliases=aliases)
    scores = score_predictions(questions, read_predictions(files[1], questions))
    if json:
        print_json({"rules": questions.rules, "questions": len(questions.items), **scores})
        return 0
    say(f"{questions.rules}: {len(questions.items)} questions")
    say(*(f"  {name}: {100 * score:.1f}" for name, score in scores.items()))
    return 0
