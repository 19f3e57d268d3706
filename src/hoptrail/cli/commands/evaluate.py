"""The commands that measure a policy: on a corpus, on a knowledge graph, and when it stops."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from hoptrail.cli.app import LEARNING, add_group, app, command
from hoptrail.cli.command import taking
from hoptrail.cli.locations import path_argument
from hoptrail.cli.opening import (
    check_new_folder,
    check_page_folder,
    check_readable,
    check_results,
    load_named_encoder,
    load_plugin,
    to_stdout,
)
from hoptrail.cli.options import (
    AliasesOption,
    BudgetsOption,
    DistractorOption,
    EffortOption,
    EncoderOption,
    EvaluatedReader,
    FirstOption,
    JudgeOption,
    PageOption,
    PlotOption,
    PolicyOption,
    PredictionsOption,
    QuestionFilesOption,
    ReadOption,
    ReportOption,
    RetrieversOption,
    RulesOption,
    SeedOption,
    SequenceOption,
    TrecOption,
    TriplesOption,
    argument,
    option,
    path_option,
    toggle,
    whole_argument,
)
from hoptrail.cli.printing import print_json, say
from hoptrail.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hoptrail.evaluation.answers.reader_run import ReaderRun
    from hoptrail.formats.benchmarks.question_sets import QuestionSet
    from hoptrail.types import Reader

RETRIEVERS = "bm25,dense,hybrid,pagerank,policy"
REPORTING = taking(optional={"--json": "-"})
"""Commands whose `--json` may name a file."""
EvaluatedCorpus = Annotated[
    Path | None,
    path_option("--corpus", metavar="CORPUS.jsonl", help="the passages, or a store of them"),
]
EvaluatedQuestions = Annotated[
    list[Path],
    path_option(
        "--questions",
        metavar="QUESTIONS.jsonl",
        help="a file of questions about them, or one of HotpotQA, 2WikiMultiHopQA or MuSiQue as "
        "published, which brings its paragraphs",
    ),
]
AnswersFlag = Annotated[
    bool, toggle("--answers", "let a reader answer from what each finds, and measure that")
]


def name_data(args: list[str]) -> list[str]:
    """What options measure on, before them: `--triples` is for `graph`, others for `corpus`.

    Args:
        args: What stands behind `hoptrail evaluate`, an option first.
    """
    names = {arg.partition("=")[0] for arg in args}
    return ["graph" if "--triples" in names else "corpus", *args]


evaluate_commands = add_group(
    "evaluate",
    "Compare retrievers on the same questions, with intervals.\n\n"
    "`hoptrail evaluate --corpus …` is `hoptrail evaluate corpus --corpus …`.",
    examples="""
evaluate --corpus corpus.jsonl --questions dev.jsonl
evaluate graph --triples graph.txt --questions qa.jsonl --policy my-policy
evaluate stopping report.json""",
    panel=LEARNING,
    route=name_data,
)


@command(
    evaluate_commands,
    "corpus",
    cls=REPORTING,
    examples="""
evaluate corpus --corpus corpus.jsonl --questions dev.jsonl
evaluate corpus --corpus c.jsonl --questions q.jsonl --retrievers bm25,policy
evaluate corpus --corpus c.jsonl --questions q.jsonl --json report.json
evaluate corpus --questions hotpot_dev_distractor_v1.json --answers --reader my_reader:Reader""",
)
def evaluate_on_corpus(
    questions: EvaluatedQuestions,
    corpus: EvaluatedCorpus = None,
    retrievers: RetrieversOption = RETRIEVERS,
    policy: PolicyOption = None,
    effort: EffortOption = "balanced",
    encoder: EncoderOption = None,
    sequence: SequenceOption = None,
    answers: AnswersFlag = False,
    reader: EvaluatedReader = None,
    rules: RulesOption = None,
    read: ReadOption = 5,
    budgets: BudgetsOption = None,
    judge: JudgeOption = None,
    distractor: DistractorOption = False,
    aliases: AliasesOption = None,
    predictions: PredictionsOption = None,
    trec: TrecOption = None,
    seed: SeedOption = 0,
    json: ReportOption = None,
    report: PageOption = None,
    plot: PlotOption = None,
) -> int:
    """Compare a policy with BM25, dense, hybrid and PageRank.

    On questions whose passages are known, one at a time, its encoding included in the time.
    """
    if len(questions) > 1:
        raise InputError("evaluate corpus takes one file of questions")
    from hoptrail.cli import output
    from hoptrail.evaluation.evaluate import Settings
    from hoptrail.evaluation.evaluate import evaluate as compare

    names = _names(retrievers)
    settings = Settings(
        names, effort=effort, seed=seed, sequence=sequence, distractor=distractor, aliases=aliases
    )
    sources = [file for file in (corpus, questions[0], aliases) if file]
    check_readable(*sources)
    outputs = _Outputs(json, report, plot, predictions, trec)
    benchmark = _Benchmark(questions[0], distractor, aliases)
    outputs.check(sources, benchmark if answers else None)
    answering = _answering(reader, rules, read, judge, budgets) if answers else None
    with output.Steps() as steps:
        comparison = compare(
            corpus,
            questions[0],
            settings,
            encoder=load_named_encoder(encoder),
            policy=policy or "shipped",
            answering=answering,
            progress=steps,
        )
    outputs.write(comparison, benchmark)
    if to_stdout(json):
        print_json(comparison)
    else:
        _print_tables(comparison)
    return 0


def _print_tables(comparison: dict[str, Any]) -> None:
    """Print what a comparison showed, split by split and by kind of question."""
    from hoptrail.cli import output
    from hoptrail.evaluation import report

    console = output.output()
    for split in comparison["splits"]:
        rows = report.summary_rows(comparison, split)
        console.print(output.rows_table(_heading(comparison, split), rows, width=console.width))
        rows = report.answer_rows(comparison, split)
        if len(rows) > 1:
            console.print(output.rows_table("answers", rows, width=console.width))
        rows = report.comparison_rows(comparison, split)
        console.print(output.rows_table("", rows, width=console.width))
    if comparison["kinds"]:
        rows = report.kind_rows(comparison)
        console.print(output.rows_table("recall by kind of question", rows, width=console.width))


@dataclass(frozen=True, slots=True)
class _Benchmark:
    """A file of questions, perhaps of a published benchmark, and how it is to be read."""

    file: Path
    distractor: bool
    aliases: Path | None

    def question_set(self) -> QuestionSet | None:
        """The benchmark's questions; None where the file is none."""
        from hoptrail.formats.benchmarks.question_sets import is_question_set, read_question_set

        if not is_question_set(self.file):
            return None
        return read_question_set(self.file, distractor=self.distractor, aliases=self.aliases)


@dataclass(frozen=True, slots=True)
class _Outputs:
    """The files in which a comparison is written."""

    json: Path | None
    report: Path | None
    plot: Path | None
    predictions: Path | None
    trec: Path | None

    def check(self, sources: Sequence[Path], answers_to: _Benchmark | None) -> None:
        """Refuse what could not be written, before the work.

        Args:
            sources: What the comparison is made from.
            answers_to: The questions that are to be answered, if any.
        """
        check_results(self.json, self.plot, inputs=sources)
        if self.report:
            check_page_folder(self.report, inputs=sources)
        for folder in filter(None, (self.predictions, self.trec)):
            check_new_folder(folder)
        if self.predictions and not (answers_to and answers_to.question_set()):
            raise InputError(
                "--predictions needs --answers, and questions from a file of HotpotQA, "
                "2WikiMultiHopQA or MuSiQue"
            )

    def write(self, comparison: dict[str, Any], benchmark: _Benchmark) -> None:
        """Write all that is wanted."""
        from hoptrail.evaluation.answers.exports import export_predictions, export_runs
        from hoptrail.evaluation.report import plot_recall, save_report
        from hoptrail.evaluation.report_page.evaluation_page import write_page

        if self.json and not to_stdout(self.json):
            save_report(comparison, self.json)
        if self.report:
            write_page(comparison, self.report)
        if self.plot:
            plot_recall(comparison, self.plot)
        if self.trec:
            export_runs(comparison, self.trec)
        questions = benchmark.question_set() if self.predictions else None
        if self.predictions and questions:
            export_predictions(comparison, questions, self.predictions)


def _answering(
    reader: str | None, rules: str | None, passages: int, judge: str | None, budgets: str | None
) -> ReaderRun:
    """Who answers, by what the options name.

    Raises:
        InputError: There is no such reader or judge, or it is none.
    """
    from hoptrail.evaluation.answers.reader_run import ReaderRun
    from hoptrail.policies.reading.shipped_reader import load_answer_reader

    plugin = _plugin_reader(reader) if reader and ":" in reader else load_answer_reader(reader)
    referee = load_plugin(judge, "--judge") if judge else None
    if referee is not None and not callable(referee):
        raise InputError(f"--judge {judge} is not a function")
    steps = [whole_argument(number) for number in _names(budgets or "")]
    return ReaderRun(plugin, rules, passages, referee, tuple(steps))


def _plugin_reader(name: str) -> Reader:
    """The reader that `MODULE:NAME` names, or one of the class that it names."""
    from hoptrail.types import Reader

    plugin = load_plugin(name, "--reader")
    if isinstance(plugin, type):
        plugin = plugin()
    if not isinstance(plugin, Reader):
        raise InputError(f"--reader {name} should have read(question, passages), and has not")
    return plugin


@command(
    evaluate_commands,
    "graph",
    cls=REPORTING,
    examples="""
evaluate graph --triples graph.txt --questions qa.jsonl --policy my-policy
evaluate graph --triples graph.txt --questions a.jsonl b.jsonl --last 500""",
)
def evaluate_on_graph(
    triples: TriplesOption,
    questions: QuestionFilesOption,
    retrievers: RetrieversOption = RETRIEVERS,
    policy: PolicyOption = None,
    effort: EffortOption = "balanced",
    encoder: EncoderOption = None,
    first: FirstOption = None,
    last: Annotated[
        int | None,
        option("--last", parser=whole_argument, metavar="N", help="only the last N of each file"),
    ] = None,
    seed: SeedOption = 0,
    json: ReportOption = None,
) -> int:
    """Compare retrievers on questions whose answers are entities of a knowledge graph."""
    from hoptrail.cli import output
    from hoptrail.evaluation.entity_questions import EntitySettings, evaluate_entities, rows
    from hoptrail.formats.jsonl import write_json

    settings = EntitySettings(_names(retrievers), first=first, last=last, effort=effort, seed=seed)
    check_results(json, None, inputs=(triples, *questions))
    with output.Steps() as steps:
        report = evaluate_entities(
            triples,
            questions,
            settings,
            encoder=load_named_encoder(encoder),
            policy=policy or "shipped",
            progress=steps.stage("asking"),
        )
    if to_stdout(json):
        print_json(report)
        return 0
    if json:
        write_json(json, report)
    count = sum(one["questions"] for one in report["files"])
    console = output.output()
    title = f"{count} questions, intervals over topics"
    console.print(output.rows_table(title, rows(report), width=console.width))
    return 0


@command(
    evaluate_commands,
    "stopping",
    cls=REPORTING,
    examples="""
evaluate stopping report.json
evaluate stopping musique.json hotpotqa.json --plot reliability.png""",
)
def judge_stopping(
    reports: Annotated[
        list[Path], argument("REPORT.json", "what `hoptrail evaluate` wrote", path_argument)
    ],
    seed: SeedOption = 0,
    json: ReportOption = None,
    plot: PlotOption = None,
) -> int:
    """Judge when a policy stops, over one or several reports.

    What it had read, beside fixed budgets, and whether it was as sure as it should be.
    """
    from hoptrail.cli import output
    from hoptrail.evaluation.report import REFERENCE, load_report, save_report
    from hoptrail.evaluation.stopping import (
        calibration_rows,
        plot_calibration,
        score_rows,
        stopping_rows,
    )
    from hoptrail.evaluation.stopping import stopping as judge

    check_results(json, plot, inputs=reports)
    judgement = judge([load_report(file) for file in reports], REFERENCE, seed=seed)
    if json and not to_stdout(json):
        save_report(judgement, json)
    if plot:
        plot_calibration(judgement, plot)
    if to_stdout(json):
        print_json(judgement)
        return 0
    console = output.output()
    title = f"{judgement['questions']} questions"
    console.print(output.rows_table(title, stopping_rows(judgement), width=console.width))
    console.print(output.rows_table("", calibration_rows(judgement), width=console.width))
    if rows := score_rows(judgement):
        console.print(output.rows_table("", rows, width=console.width))
    error, (low, high) = judgement["calibration"]["error"], judgement["calibration"]["interval"]
    say(
        f"expected calibration error {100 * error:.1f} points, "
        f"95 % interval {100 * low:.1f} to {100 * high:.1f}"
    )
    return 0


command(app, "stopping", cls=REPORTING, examples="stopping report.json", hidden=True)(
    judge_stopping
)


def _names(text: str) -> tuple[str, ...]:
    return tuple(filter(None, (name.strip() for name in text.split(","))))


def _heading(report: dict[str, Any], split: str) -> str:
    part = report["splits"][split]
    which = "all questions" if split == "all" else f"{split} questions"
    return f"{which}: {part['questions']} in {part['clusters']} clusters"
