"""The options that commands share, each defined once, and the values that they take.

A value is checked as it is read: a wrong one is a wrong command line. A command takes an option by
naming its type in its signature.
"""

from __future__ import annotations

import json as jsonlib
import math
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from hoptrail.cli.locations import StoreLocation, path_argument, store_argument
from hoptrail.errors import InputError
from hoptrail.outputs.printable import namespace_of

Mode = Literal["hybrid", "dense", "sparse"]
"""What `search` ranks by."""
OnDuplicate = Literal["error", "replace", "skip"]
"""What becomes of an id that is taken."""
VARIED = "0.35"
"""The share of the questions that `train questions --varied` varies, where it is not said."""
MADE = "600"
"""Questions that `train` makes from passages, where it is not said how many."""
NAMESPACE_HELP = (
    "the namespace, its parts divided by /, or a JSON list of them where a part holds a slash: "
    '\'\\["a/b", "c"]\' (default: the root)'
)


def json_object_argument(text: str) -> dict[str, Any]:
    """The JSON object that an argument spells."""
    shown_text = f"{text[:100]}…" if len(text) > 100 else text
    try:
        value = jsonlib.loads(text)
    except ValueError as error:
        raise typer.BadParameter(f"not valid JSON ({error}): {shown_text!r}") from error
    except RecursionError as error:
        raise typer.BadParameter(f"nested too deep to be a filter: {shown_text!r}") from error
    if not isinstance(value, dict):
        raise typer.BadParameter(f"expected a JSON object, got {shown_text!r}")
    return value


def number_argument(text: str | float) -> float:
    """The finite number that an argument spells."""
    try:
        number = float(text)
    except ValueError as error:
        raise typer.BadParameter(f"must be a number, got {str(text)[:100]!r}") from error
    if not math.isfinite(number):
        raise typer.BadParameter(f"must be a finite number, got {text!r}")
    return number


def whole_argument(text: str | int) -> int:
    """The whole number that an argument spells."""
    try:
        return int(text)
    except ValueError as error:
        raise typer.BadParameter(f"must be a whole number, got {str(text)[:100]!r}") from error


def dims_of(text: str | None) -> tuple[int, ...] | None:
    """The lengths of prefixes that `--dims` names; None for none."""
    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(f"--dims must be whole numbers like 32,64, got {text!r}") from error


def seed_argument(text: str | int) -> int:
    """The seed that an argument spells."""
    seed = whole_argument(text)
    if not 0 <= seed < 2**63:
        raise typer.BadParameter(f"a seed is a whole number from 0, got {text!r}")
    return seed


def namespace_argument(text: str) -> tuple[str, ...]:
    """The namespace that an argument spells."""
    try:
        return namespace_of(text)
    except InputError as error:
        raise typer.BadParameter(str(error)) from error


def option(*names: str, parser: Any = str, **settings: Any) -> Any:
    """An option whose value goes through a parser of ours; by default it stays as it is typed.

    Args:
        names: As it is typed.
        parser: Turns the text into the value; None for a choice, which its type says.
        settings: As `typer.Option` takes them.
    """
    settings.setdefault("show_default", False)
    return typer.Option(*names, parser=parser, **settings)


def path_option(*names: str, **settings: Any) -> Any:
    """An option that takes a path."""
    return option(*names, parser=path_argument, **settings)


def toggle(name: str, help: str, **settings: Any) -> Any:
    """An option that takes no value; there is no `--no-…` beside it."""
    return typer.Option(name, help=help, show_default=False, **settings)


def argument(metavar: str, help: str, parser: Any = str) -> Any:
    """A positional argument, or several where its type is a list."""
    return typer.Argument(metavar=metavar, help=help, parser=parser, show_default=False)


StoreOption = Annotated[
    StoreLocation,
    option(
        "--store",
        parser=store_argument,
        metavar="FILE",
        envvar="HOPTRAIL_STORE",
        help="the memory's file, or postgresql://… for one that many share",
    ),
]
# A namespace is a tuple, which Typer would take for so many values: its parser says what it is.
NamespaceOption = Annotated[
    Any,
    option("--namespace", parser=namespace_argument, metavar="A/B", help=NAMESPACE_HELP),
]
EncoderOption = Annotated[
    str | None,
    option(
        "--encoder",
        metavar="MODEL",
        help="a sentence-transformers model (a folder, or a name that the hub knows), or a folder "
        "that `hoptrail encoder distill` wrote (default: MiniLM, from hoptrail\\[minilm])",
    ),
]
LanguageOption = Annotated[
    str | None,
    option(
        "--language",
        metavar="NAME",
        help="of a new memory: whose stemmer words go through, by Snowball's name (german), or "
        "none (default: english, or what the memory has)",
    ),
]
IndexOption = Annotated[
    str,
    option(
        "--index",
        metavar="KIND",
        help="of the dense index: auto by size, flat (exact), or an approximate one: sq8, lsh, "
        "hnsw, ivf, ivf-sq8, ivf-pq, ivf-pq4; or Qdrant, qdrant:FOLDER or qdrant:URL "
        "(default: auto)",
    ),
]
LearnedOption = Annotated[
    Path | None,
    path_option(
        "--learned",
        metavar="FILE",
        help="search by a file that hoptrail index wrote, or a sparse encoder's folder",
    ),
]
PolicyOption = Annotated[
    Path | None,
    path_option(
        "--policy",
        metavar="DIR",
        help="a policy that `hoptrail train` wrote (default: the one in the package)",
    ),
]
ReaderOption = Annotated[
    Path | None,
    path_option(
        "--reader",
        metavar="DIR",
        help="what answers: a folder that `hoptrail train reader` wrote, or shipped for the one in "
        "the package",
    ),
]
EffortOption = Annotated[
    str,
    option(
        "--effort",
        metavar="EFFORT",
        help="what a recall may cost: fast, balanced or thorough (default: balanced)",
    ),
]
CountOption = Annotated[
    int, option("--k", parser=whole_argument, metavar="N", help="passages (default: 5)")
]
FilterOption = Annotated[
    dict[str, Any] | None,
    option(
        "--filter",
        parser=json_object_argument,
        metavar="JSON",
        help='only passages that fulfil it, such as \'{"year": {"$gte": 2001}}\' (default: all)',
    ),
]
AsOfOption = Annotated[
    str | None,
    option(
        "--as-of",
        metavar="TIME",
        help="what was valid at a time, such as 2026-01-31 or 2026-01-31T12:00:00Z, or `ever` "
        "(default: now)",
    ),
]
TtlOption = Annotated[
    float | None,
    option(
        "--ttl",
        parser=number_argument,
        metavar="SECONDS",
        help="from now until it expires (default: never)",
    ),
]
SequenceOption = Annotated[
    str | None,
    option(
        "--sequence",
        metavar="FIELD",
        help="lines of a corpus that have the same value of this field (and namespace) follow "
        "each other, as the turns of one session: what stands before and after a passage counts",
    ),
]
NearOption = Annotated[
    float | None,
    option(
        "--near",
        parser=number_argument,
        metavar="COSINE",
        help="cosine from which passages with the same words are duplicates; above 1, only the "
        "same text (default: 0.97)",
    ),
]
OnDuplicateOption = Annotated[
    OnDuplicate,
    typer.Option(
        "--on-duplicate",
        show_default=False,
        help="what to do with an id that is taken (default: error, and nothing is written; "
        "`hoptrail upsert` writes what differs)",
    ),
]
SeedOption = Annotated[
    int, option("--seed", parser=seed_argument, metavar="N", help="of chance (default: 0)")
]
JsonFlag = Annotated[
    bool, toggle("--json", "print one JSON document, and nothing else; an error is JSON too")
]
ReportOption = Annotated[
    Path | None,
    path_option(
        "--json",
        metavar="[OUT.json]",
        help="write the whole report to a file, or print it in place of the tables",
    ),
]
PlotOption = Annotated[
    Path | None,
    path_option("--plot", metavar="OUT.png", help="draw it; needs hoptrail\\[plots]"),
]
HtmlOption = Annotated[
    Path | None,
    path_option("--html", metavar="OUT.html", help="write it as a page that needs no network"),
]
RetrieversOption = Annotated[
    str,
    option(
        "--retrievers",
        metavar="NAMES",
        help="what to compare, with commas (default: bm25,dense,hybrid,pagerank,policy)",
    ),
]
EvaluatedReader = Annotated[
    str | None,
    option(
        "--reader",
        metavar="DIR",
        help="what answers: a folder that `hoptrail train reader` wrote or, as MODULE:NAME, an "
        "object with `read(question, passages)` or a class of such (default: the reader in the "
        "package)",
    ),
]
RulesOption = Annotated[
    str | None,
    option(
        "--rules",
        metavar="NAME",
        help="whose evaluation of answers: hotpotqa, 2wikimultihopqa or musique (default: that of "
        "the questions' own file, else hotpotqa)",
    ),
]
ReadOption = Annotated[
    int,
    option(
        "--read",
        parser=whole_argument,
        metavar="N",
        help="passages of a ranking that the reader is given; a trail is read whole (default: 5)",
    ),
]
BudgetsOption = Annotated[
    str | None,
    option(
        "--budgets",
        metavar="N,N…",
        help="read each question with so many passages as well, for a curve of answer F1 over "
        "tokens read in the report",
    ),
]
JudgeOption = Annotated[
    str | None,
    option(
        "--judge",
        metavar="MODULE:FUNCTION",
        help="a function of question, accepted answers and answer that says how right it is, 0 to "
        "1: a language model of yours, say",
    ),
]
DistractorOption = Annotated[
    bool,
    toggle("--distractor", "ask each question of its own paragraphs only; published files only"),
]
AliasesOption = Annotated[
    Path | None,
    path_option(
        "--aliases",
        metavar="id_aliases.json",
        help="other names of the answers, as 2WikiMultiHopQA publishes them",
    ),
]
PredictionsOption = Annotated[
    Path | None,
    path_option(
        "--predictions",
        metavar="DIR",
        help="write each retriever's answers as the questions' benchmark reads them",
    ),
]
PageOption = Annotated[
    Path | None,
    path_option(
        "--report",
        metavar="DIR",
        help="write a page of tables, curves and every question, and the report, into a folder",
    ),
]
TrecOption = Annotated[
    Path | None,
    path_option("--trec", metavar="DIR", help="write the rankings, and the gold, for trec_eval"),
]
QuestionFilesOption = Annotated[
    list[Path],
    path_option("--questions", metavar="QUESTIONS.jsonl…", help="files of questions"),
]
TriplesOption = Annotated[
    Path,
    path_option(
        "--triples", metavar="TRIPLES", help="a knowledge graph, a line head|relation|tail"
    ),
]
FirstOption = Annotated[
    int | None,
    option("--first", parser=whole_argument, metavar="N", help="only the first N of each file"),
]
OutOption = Annotated[
    Path, path_option("--out", metavar="DIR", help="the folder to write; other files in it stay")
]
EpochsOption = Annotated[
    int | None,
    option("--epochs", parser=whole_argument, metavar="N", help="passes over what is learned from"),
]
SourcesArgument = Annotated[
    list[Path],
    argument(
        "SOURCE",
        "folders of text, Markdown, PDF, Word, HTML, CSV, chats, BibTeX, GraphML, notebooks and "
        "programs, single files of these, corpora of JSON lines (id, text, title, namespace, "
        "links; other keys are metadata)",
        path_argument,
    ),
]
IdsArgument = Annotated[list[str], argument("ID", "ids of passages")]
DevOption = Annotated[
    list[Path] | None,
    path_option("--dev", metavar="CORPUS QUESTIONS", help="as --set, for measuring only"),
]
TuningEpochsOption = Annotated[
    int | None,
    option(
        "--tuning-epochs",
        parser=whole_argument,
        metavar="N",
        help="passes of marginal and of reinforce",
    ),
]
TuningQuestionsOption = Annotated[
    int | None,
    option(
        "--tuning-questions",
        parser=whole_argument,
        metavar="N",
        help="questions of each of these passes, drawn anew (default: all)",
    ),
]
TuningRateOption = Annotated[
    float | None,
    option(
        "--tuning-rate",
        parser=number_argument,
        metavar="RATE",
        help="the peak learning rate of marginal and of reinforce",
    ),
]
NetworksOption = Annotated[
    int | None,
    option("--networks", parser=whole_argument, metavar="N", help="networks that are averaged"),
]
ReformulatorOption = Annotated[
    Path | None,
    path_option(
        "--reformulator",
        metavar="DIR",
        help="what `train reformulator` wrote for these questions (default: that of --start)",
    ),
]
ResumeFlag = Annotated[bool, toggle("--resume", "go on where a run was stopped")]
StartOption = Annotated[
    str | None,
    option(
        "--start",
        metavar="POLICY",
        help="what to go on from: shipped, a policy's folder, or nothing (default: nothing where "
        "questions are given, shipped otherwise)",
    ),
]


ObjectiveOption = Annotated[
    str | None,
    option(
        "--objective",
        metavar="NAMES",
        help="imitation, marginal, reinforce, or several with commas (default: imitation)",
    ),
]
RewardOption = Annotated[
    str | None,
    option(
        "--reward",
        metavar="NAME",
        help="what reinforce goes by: evidence (the supporting passages), answer (whether what was "
        "read holds an answer), or module:function (default: evidence where known, else answer)",
    ),
]
VariedOption = Annotated[
    float | None,
    option(
        "--varied",
        parser=number_argument,
        metavar="[SHARE]",
        help="ask a share of the questions of --set again over other kinds of memory that are made "
        "from its corpus: texts without titles, and what is like a passage that is left out; from "
        f"these every other network learns, the first included (SHARE: {VARIED})",
    ),
]
PretrainingOption = Annotated[
    int | None,
    option(
        "--self-supervised",
        parser=whole_argument,
        metavar="[N]",
        help=f"first learn from N questions made from the passages, with no labels (N: {MADE})",
    ),
]
JointFlag = Annotated[
    bool,
    toggle(
        "--joint", "fit what effort thorough counts, too, on a fifth of the questions held back"
    ),
]
InferFlag = Annotated[
    bool,
    toggle(
        "--infer-evidence",
        "where only answers are known: infer the passages, by the policy of --start, for imitation",
    ),
]
