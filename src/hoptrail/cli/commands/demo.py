"""`hoptrail demo`: a small memory is indexed, a policy walks it, and its trails are shown."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib.resources import as_file, files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

from hoptrail.cli.app import EVERY_DAY, app, command
from hoptrail.cli.locations import StoreLocation, store_argument
from hoptrail.cli.opening import new_memory, open_memory
from hoptrail.cli.options import (
    CountOption,
    EffortOption,
    EncoderOption,
    PolicyOption,
    option,
    path_option,
)
from hoptrail.cli.printing import say
from hoptrail.errors import FormatError, MissingExtra, ReaderError, StoreError
from hoptrail.outputs import replaceable

if TYPE_CHECKING:
    from hoptrail.api.memory import Memory
    from hoptrail.cli.output import Steps
    from hoptrail.evaluation.benchmark import Result
    from hoptrail.types import Passage, Question

KINDS = (("bridge",), ("bridge_comparison", "comparison"))
"""The kinds of questions of which one each is walked."""
COMPARED = {"dense": "vector search", "hybrid": "vectors + BM25", "policy": "the walk"}
"""What is compared, and what it is called here."""
YOURS = "Where was the author of the first version of Unix born?"
"""The question that is suggested to whoever has seen the demo."""
MEASURES = {"recall@5": "found in 5", "all_gold@5": "all in 5"}


@command(
    app,
    "demo",
    panel=EVERY_DAY,
    examples="""
demo
demo --question "Where was the author of the first version of Unix born?"
demo --store demo.db     # keep the memory
demo --export demo       # only write its files""",
)
def show_demo(
    keep_in: Annotated[
        StoreLocation | None,
        option(
            "--store",
            parser=store_argument,
            metavar="FILE",
            help="where to keep the memory: a new file, or the demo's own (default: nowhere)",
        ),
    ] = None,
    question: Annotated[
        str | None, option("--question", metavar="TEXT", help="walk this question only")
    ] = None,
    export: Annotated[
        Path | None,
        path_option(
            "--export",
            metavar="DIR",
            help="write corpus.jsonl and questions.jsonl there, to try the other commands on",
        ),
    ] = None,
    k: CountOption = 5,
    policy: PolicyOption = None,
    effort: EffortOption = "balanced",
    encoder: EncoderOption = None,
) -> int:
    """Index a small memory that comes with the package, and walk it.

    Shows how often the walk and plain search find what a question needs, and two trails hop by hop.
    """
    from hoptrail.cli import output
    from hoptrail.formats.jsonl import read_corpus, read_questions

    with ExitStack() as stack:
        corpus, packaged_questions = stack.enter_context(_packaged())
        if export:
            return _export(export, corpus, packaged_questions)
        store = keep_in
        if store is None:
            folder = stack.enter_context(TemporaryDirectory())
            store = StoreLocation(Path(folder) / "demo.db")
        questions = read_questions(packaged_questions)
        passages = list(read_corpus(corpus))
        if keep_in and store.exists():
            _check_store(store, passages)
        memory = stack.enter_context(new_memory(store, encoder=encoder, policy=policy))
        with output.Steps() as steps:
            memory.add(passages, on_duplicate="skip", progress=steps.stage("indexing passages"))
            results = [] if question else _compare(memory, questions, effort, steps)
        if question:
            output.show_walk(memory, question, k, effort)
            _print_answer(memory, question, k, effort)
        else:
            _print_comparison(results, memory.count())
            for kinds in KINDS:
                _print_telling(memory, results, kinds, k, effort)
        _print_closing(keep_in)
    return 0


def _check_store(store: StoreLocation, passages: Sequence[Passage]) -> None:
    """Refuse a store that holds anything but the demo's passages; it may be somebody's memory.

    Raises:
        StoreError: It does.
    """
    theirs = {(passage.namespace, passage.id): passage.text for passage in passages}
    with open_memory(store, read_only=True, default_encoder=None) as memory:
        for passage in memory.store.passages():
            if theirs.get((passage.namespace, passage.id)) != passage.text:
                raise StoreError(
                    f"{store} holds other passages than the demo's, {passage.id!r} among "
                    "them: give --store another one"
                )


@contextmanager
def _packaged() -> Iterator[tuple[Path, Path]]:
    """The files of the demo's passages and questions."""
    home = files("hoptrail")
    with (
        as_file(home / "demo/corpus.jsonl") as corpus,
        as_file(home / "demo/questions.jsonl") as questions,
    ):
        yield corpus, questions


def _export(folder: Path, corpus: Path, questions: Path) -> int:
    """Copy the demo's files to where the other commands can be tried on them.

    Raises:
        FormatError: The folder cannot be written, or holds other files of these names.
    """
    copies = {folder / "corpus.jsonl": corpus, folder / "questions.jsonl": questions}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for copy, file in copies.items():
            replaceable.check_copy(copy, file)
        for copy, file in copies.items():
            shutil.copyfile(file, copy)
            say(copy)
    except OSError as error:
        raise FormatError(f"{folder} cannot be written: {error.strerror or error}") from error
    return 0


def _compare(
    memory: Memory, questions: Sequence[Question], effort: str, steps: Steps
) -> list[Result]:
    """What plain search and the walk find for every question."""
    from hoptrail.evaluation.benchmark import run
    from hoptrail.evaluation.evaluate import retriever

    retrievers = [retriever(name, memory, effort) for name in COMPARED]
    return run(retrievers, questions, k=10, progress=steps.stage("asking questions"))


def _print_comparison(results: Sequence[Result], passages: int) -> None:
    from statistics import fmean, median

    from hoptrail.cli import output
    from hoptrail.evaluation.measures import MEASURES as MEASURED

    rows = [["", *MEASURES.values(), "passages read", "ms a question"]]
    for name, called in COMPARED.items():
        ranked = [(result.rankings[name], result.question.supporting_ids) for result in results]
        shares = [
            fmean(MEASURED[m](ranking.ids, gold) for ranking, gold in ranked) for m in MEASURES
        ]
        rows.append(
            [
                called,
                *(f"{share:.0%}" for share in shares),
                f"{fmean(ranking.hops for ranking, _ in ranked):.1f}",
                f"{median(ranking.milliseconds for ranking, _ in ranked):.0f}",
            ]
        )
    console = output.output()
    console.rule("[bold]hoptrail demo[/]")
    console.print(
        f"{passages} passages, {len(results)} questions that need two or more of them. How many "
        "of the needed passages are among the first five, and how often all of them are:"
    )
    console.print(output.rows_table("", rows))


def _print_telling(
    memory: Memory, results: Sequence[Result], kinds: Sequence[str], k: int, effort: str
) -> None:
    """Walk the first question of these kinds that plain search does not get and the walk does.

    Where there is none, the first one of these kinds.
    """
    from hoptrail.cli import output
    from hoptrail.metrics.ranking import all_gold_at

    of_kind = [r for kind in kinds for r in results if r.question.kind == kind]
    if not of_kind:
        return

    def finds_all(name: str, result: Result) -> bool:
        return bool(all_gold_at(result.rankings[name].ids, result.question.supporting_ids, k))

    telling = [r for r in of_kind if finds_all("policy", r) and not finds_all("dense", r)]
    question = (telling or of_kind)[0].question
    which = "that plain vector search misses" if telling else "from the demo"
    console = output.output()
    console.print()
    console.rule(f"[bold]A {(question.kind or '').replace('_', ' ')} question {which}[/]")
    output.show_walk(memory, question.text, k, effort, gold=question.supporting_ids)
    _print_answer(memory, question.text, k, effort)


def _print_answer(memory: Memory, question: str, k: int, effort: str) -> None:
    """Answer a question by what the memory holds, with the reader of the package."""
    from hoptrail.cli.commands.ask import answer_lines

    try:
        answer = memory.ask(question, k, effort=effort)
    except (MissingExtra, ReaderError) as error:  # the encoder that it is made of is not there
        say(f"no answer is read: {error}")
        return
    say("", *answer_lines(answer))


def _print_closing(store: StoreLocation | None) -> None:
    if store is None:
        lines = [
            f'hoptrail demo --question "{YOURS}"',
            "hoptrail demo --store demo.db   # keeps this memory",
        ]
    else:
        lines = [f'hoptrail recall --store {shlex.quote(str(store))} "{YOURS}"']
    say("", "A question of your own:", *(f"  {line}" for line in lines))
