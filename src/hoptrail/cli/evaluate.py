"""The commands that measure a policy: evaluate, stopping."""

from __future__ import annotations

import argparse
from typing import Any

from hoptrail.cli import triples
from hoptrail.cli.arguments import path_argument, seed_argument
from hoptrail.cli.options import (
    Commands,
    check_results,
    command,
    encoder_of,
    encoder_option,
    policy_options,
    readable,
    say,
    sequence_option,
)
from hoptrail.errors import InputError

RETRIEVERS = "bm25,dense,hybrid,pagerank,policy"


def register(commands: Commands) -> None:
    """Add the commands to the program's parser."""
    _register_evaluate(commands)
    _register_stopping(commands)


def _register_evaluate(commands: Commands) -> None:
    parser = command(
        commands,
        "evaluate",
        evaluate,
        description="Compare a policy with BM25, dense, hybrid and PageRank on questions whose "
        "passages are known. One question at a time, its encoding included in the time.",
        examples="""
hoptrail evaluate --corpus corpus.jsonl --questions dev.jsonl
hoptrail evaluate --corpus corpus.jsonl --questions dev.jsonl --retrievers hybrid,policy \\
    --policy my-policy --effort fast --json report.json --plot recall.png
hoptrail evaluate --triples graph.txt --questions qa.jsonl --last 500 --policy my-policy""",
    )
    data = parser.add_mutually_exclusive_group(required=True)
    data.add_argument("--corpus", type=path_argument, metavar="CORPUS.jsonl")
    data.add_argument(
        "--triples",
        type=path_argument,
        metavar="TRIPLES",
        help="a knowledge graph: head|relation|tail",
    )
    parser.add_argument(
        "--questions",
        required=True,
        nargs="+",
        type=path_argument,
        metavar="QUESTIONS.jsonl",
        help="one file with --corpus, one or more with --triples",
    )
    parser.add_argument(
        "--retrievers",
        default=RETRIEVERS,
        metavar="NAMES",
        help=f"what to compare, with commas (default: {RETRIEVERS})",
    )
    policy_options(parser)
    encoder_option(parser)
    sequence_option(parser)
    parser.add_argument(
        "--seed", type=seed_argument, default=0, metavar="N", help="of the bootstrap (default: 0)"
    )
    parser.add_argument(
        "--json", type=path_argument, metavar="OUT.json", help="write the whole report"
    )
    parser.add_argument(
        "--plot", type=path_argument, metavar="OUT.png", help="draw recall over passages"
    )
    triples.evaluate_options(parser)


def _register_stopping(commands: Commands) -> None:
    parser = command(
        commands,
        "stopping",
        stopping,
        description="Judge when a policy stops, over one or several reports of hoptrail evaluate: "
        "what it had read, beside fixed budgets, and whether it was as sure as it should be.",
        examples="""
hoptrail stopping report.json
hoptrail stopping musique.json hotpotqa.json --plot reliability.png --json stopping.json""",
    )
    parser.add_argument("reports", nargs="+", type=path_argument, metavar="REPORT.json")
    parser.add_argument(
        "--seed", type=seed_argument, default=0, metavar="N", help="of the bootstrap"
    )
    parser.add_argument("--json", type=path_argument, metavar="OUT.json", help="write all figures")
    parser.add_argument(
        "--plot", type=path_argument, metavar="OUT.png", help="draw the reliability diagram"
    )


def evaluate(args: argparse.Namespace) -> int:
    """Compare retrievers."""
    if args.triples:
        return triples.evaluate(args)
    if len(args.questions) > 1 or args.first or args.last:
        raise InputError("with --corpus, evaluate takes one file of questions, and all of it")
    questions = args.questions[0]
    from hoptrail.cli import output
    from hoptrail.evaluation import report
    from hoptrail.evaluation.evaluate import Settings
    from hoptrail.evaluation.evaluate import evaluate as compare

    names = (name.strip() for name in args.retrievers.split(","))
    settings = Settings(
        tuple(filter(None, names)), effort=args.effort, seed=args.seed, sequence=args.sequence
    )
    readable(args.corpus, questions)
    check_results(args, inputs=(args.corpus, questions))
    with output.Steps() as steps:
        found = compare(
            args.corpus,
            questions,
            settings,
            encoder=encoder_of(args),
            policy=args.policy or "shipped",
            progress=steps,
        )
    if args.json:
        report.save_report(found, args.json)
    console = output.output()
    for split in found["splits"]:
        console.print(output.rows_table(_heading(found, split), report.summary_rows(found, split)))
        console.print(output.rows_table("", report.comparison_rows(found, split)))
    if found["kinds"]:
        console.print(output.rows_table("recall by kind of question", report.kind_rows(found)))
    if args.plot:
        report.plot_recall(found, args.plot)
    return 0


def stopping(args: argparse.Namespace) -> int:
    """Judge when a policy stops."""
    from hoptrail.cli import output
    from hoptrail.evaluation.report import REFERENCE, load_report, save_report
    from hoptrail.evaluation.stopping import calibration_rows, plot_calibration, stopping_rows
    from hoptrail.evaluation.stopping import stopping as judged

    check_results(args, inputs=args.reports)
    reports = [load_report(file) for file in args.reports]
    found = judged(reports, REFERENCE, seed=args.seed)
    if args.json:
        save_report(found, args.json)
    console = output.output()
    console.print(output.rows_table(f"{found['questions']} questions", stopping_rows(found)))
    console.print(output.rows_table("", calibration_rows(found)))
    error, (low, high) = found["calibration"]["error"], found["calibration"]["interval"]
    say(
        f"expected calibration error {100 * error:.1f} points, "
        f"95 % interval {100 * low:.1f} to {100 * high:.1f}"
    )
    if args.plot:
        plot_calibration(found, args.plot)
    return 0


def _heading(report: dict[str, Any], split: str) -> str:
    part = report["splits"][split]
    which = "all questions" if split == "all" else f"{split} questions"
    return f"{which}: {part['questions']} in {part['clusters']} clusters"
