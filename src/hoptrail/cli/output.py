"""What a person sees in a terminal: progress bars, trails as trees, rankings side by side.

Where results, progress and warnings go, no stored text gives a terminal orders.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.panel import Panel
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.segment import Segment
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from hoptrail.cli.opening import waiting
from hoptrail.outputs.pages.reasons import reason_lines
from hoptrail.outputs.printable import namespace_text, printable
from hoptrail.types import Cost, Hit, Hop, Namespace, Passage, Recall, Trail

if TYPE_CHECKING:
    from hoptrail.api.memory import Memory
    from hoptrail.types import AsOf, FilterDict

LOADING = "loading"
"""The stage before the first one: models come in, and nobody can say how far that is."""
WIDEST = 110
"""Columns beyond which lines are tiring to read."""
NARROW = 72
"""Columns below which what stands side by side is put one under the other."""
OTHERS = 3
"""Trails beside the likeliest that are named."""
GAINED = 6
"""Words that a query gained that are shown."""
QUIET_SECONDS = 20.0
"""Between two lines of progress where stderr is no terminal."""

_STOPS = {
    "policy": "it has read enough",
    "budget": "no hops left",
    "exhausted": "nothing left to read",
}
_WORDS = re.compile(r"\w{4,}")
_SENTENCES = re.compile(r"(?<=[.!?])\s+")


def output() -> Console:
    """Where results go."""
    console = SafeConsole(highlight=False)
    console.width = min(console.width, WIDEST)
    return console


class SafeConsole(Console):
    """A console to which no text gives orders: only rich's own sequences reach the terminal."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """As of any console, with what is unsafe in a text as its escape."""
        for segment in super().render(renderable, options):
            text, style, control = segment
            if control or text == "\n":
                yield segment
            else:
                yield Segment("\n".join(map(printable, text.split("\n"))), style)

    def on_broken_pipe(self) -> None:
        """Go on without progress that nobody reads; of results let the program decide."""
        if not self.stderr:
            raise BrokenPipeError
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


class Steps:
    """Progress bars on stderr, one a stage; a stage that is over leaves a line behind.

    Where stderr is no terminal there are only lines, one now and then. Call it with a stage, how
    much of it is done, how much there is, and figures to show.
    """

    def __init__(self) -> None:
        self._console = SafeConsole(stderr=True, highlight=False)
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("[dim]{task.fields[figures]}"),
            console=self._console,
        )
        self._tasks: dict[str, TaskID] = {}
        self._began: dict[str, float] = {}
        self._spoke: dict[str, float] = {}

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._bars.start()
            self._tasks[LOADING] = self._bars.add_task(LOADING, total=None, figures="")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._console.is_terminal:
            self._bars.stop()

    def __call__(
        self, stage: str, done: int, total: int, figures: Mapping[str, float] | None = None
    ) -> None:
        """Show how far a stage is."""
        self._drop(LOADING)
        line = figures_line(figures or {})
        now = time.monotonic()
        began = self._began.setdefault(stage, now)
        if done >= total:
            self._drop(stage)
            self._console.print(
                f"{stage}: {done} in {now - began:.0f} s  {line}".rstrip(),
                markup=False,
                soft_wrap=True,
            )
        elif self._console.is_terminal:
            if stage not in self._tasks:
                self._tasks[stage] = self._bars.add_task(stage, total=total, figures="")
            self._bars.update(self._tasks[stage], completed=done, total=total, figures=line)
        elif now - self._spoke.setdefault(stage, now) >= QUIET_SECONDS:
            self._spoke[stage] = now
            self._console.print(
                f"{stage}: {done}/{total}  {line}".rstrip(), markup=False, soft_wrap=True
            )

    def stage(self, name: str) -> StageProgress:
        """The bar of one stage, as something to call with (done, total)."""
        return StageProgress(self, name)

    def _drop(self, stage: str) -> None:
        """Forget a stage that is over; the same name may begin again."""
        task = self._tasks.pop(stage, None)
        if task is not None:
            self._bars.remove_task(task)
        self._began.pop(stage, None)
        self._spoke.pop(stage, None)


class StageProgress:
    """One stage of several steps."""

    def __init__(self, steps: Steps, name: str) -> None:
        self._steps, self._name = steps, name

    def __call__(self, done: int, total: int) -> None:
        """Show how far it is."""
        self._steps(self._name, done, total)


def figures_line(figures: Mapping[str, float]) -> str:
    """Figures on one line, each with its name."""
    return "  ".join(f"{name} {value:.4g}" for name, value in figures.items())


def rows_table(title: str, rows: Sequence[Sequence[str]], *, width: int | None = None) -> Table:
    """A table from a row of headings and rows of cells; the first column is a name.

    Args:
        title: What stands above it.
        rows: The headings and the rows, as printed.
        width: Columns that it may take: a wider one is turned, so that its rows are its columns,
            where that fits or is at least less wide.
    """
    if width is not None and _width_of(rows) > width:
        turned = [list(column) for column in zip(*rows, strict=True)]
        rows = min(rows, turned, key=_width_of)
    heading = Text(printable(title)) if title else None
    table = Table(title=heading, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for number, name in enumerate(rows[0]):
        table.add_column(Text(printable(name)), justify="right" if number else "left")
    for row in rows[1:]:
        table.add_row(*(Text(printable(cell)) for cell in row))
    return table


def _width_of(rows: Sequence[Sequence[str]]) -> int:
    """Columns that a table of these rows takes when nothing is wrapped."""
    cells = [max(cell_len(printable(cell)) for cell in one) for one in zip(*rows, strict=True)]
    return sum(cells) + 3 * (len(cells) - 1)


def show_walk(
    memory: Memory,
    question: str,
    k: int,
    effort: str,
    *,
    namespace: Namespace = (),
    filter: FilterDict | None = None,
    as_of: AsOf | None = None,
    gold: Sequence[str] = (),
) -> Recall:
    """Print a question's trails beside what plain vector search gives; the recall.

    It is as deep as a walk ranks, so that whatever its trails read has its title and text.

    Args:
        memory: What is asked.
        question: What is to be answered.
        k: Passages that are returned.
        effort: What the walk may cost.
        namespace: The scope.
        filter: What passages must fulfil.
        as_of: When they were valid; None for now.
        gold: Ids of the passages that are needed, where that is known: they are marked.
    """
    from hoptrail.api.recalling import RANKED
    from hoptrail.memory.passages import usage

    depth = max(k, RANKED) if k > 0 else k
    # Of all that is looked at, the k best are what is returned.
    with memory.store.recorder.paused(), waiting("walking the memory"):
        recall = memory.recall(question, depth, namespace, effort, filter=filter, as_of=as_of)
        plain = memory.search(question, k, namespace, mode="dense", filter=filter, as_of=as_of)
    usage.note(memory.store, recall.passages[:k])
    console = output()
    console.print(walked(recall, plain, gold=gold, console=console))
    console.print(cost_line(recall.cost))
    return recall


def walked(
    recall: Recall,
    plain: Sequence[Hit],
    *,
    gold: Collection[str] = (),
    console: Console,
) -> RenderableType:
    """The trails of a recall beside what plain vector search gives for the same question.

    Args:
        recall: With at least the passages that its trails read.
        plain: The hits of vector search, best first.
        gold: Ids of the passages that are needed, where that is known: they are marked.
        console: For its width and its encoding.
    """
    marks = _Marks(gold, console)
    trail = _panel("the walk, hop by hop", trail_tree(recall, marks), "green")
    rankings = [
        ("plain vector search", plain, "yellow"),
        ("the walk's ranking", recall.hits[: len(plain)], "green"),
    ]
    lists = Group(
        *(
            _panel(name, _ranking(hits, marks), style, _found([h.passage.id for h in hits], marks))
            for name, hits, style in rankings
        )
    )
    if console.width < NARROW:
        return Group(trail, lists)
    grid = Table.grid(expand=True, padding=0)
    grid.add_column(ratio=60)
    grid.add_column(ratio=40)
    grid.add_row(trail, lists)
    return grid


def trail_tree(recall: Recall, marks: _Marks) -> RenderableType:
    """The likeliest trail hop by hop, and the next likeliest on a line each."""
    root = Tree(Text(printable(recall.question), style="bold"), guide_style="dim")
    if not recall.trails:
        root.add(Text("nothing was read", style="dim"))
        return root
    passages = {(hit.passage.namespace, hit.passage.id): hit.passage for hit in recall.hits}
    best, *others = recall.trails
    read = [passages.get((hop.namespace, hop.id)) for hop in best.hops]
    for place, hop in enumerate(best.hops):
        root.add(_hop(place, hop, read, recall.question, marks))
    root.add(_stop(best))
    for other in others[:OTHERS]:
        names = [_name(passages.get((hop.namespace, hop.id)), hop.id) for hop in other.hops]
        line = Text.assemble(("or ", "dim"), (f"p {other.probability:.0%} ", "magenta"))
        line.append(", ".join([*names, "STOP"]), "dim")
        root.add(line)
    return root


def hits_table(hits: Sequence[Hit], *, width: int, why: bool = False) -> Table:
    """Ranked passages with their probabilities, or their scores where none are stated."""
    scores = [f"{h.score if h.probability is None else h.probability:.2f}" for h in hits]
    left = max(map(len, scores), default=0) + len(str(len(hits))) + 2
    table = Table.grid(padding=(0, 1))
    table.add_column(justify="right", style="dim")
    table.add_column(justify="right", style="magenta")
    table.add_column(overflow="fold", max_width=max(width - left, 1))
    for rank, (hit, score) in enumerate(zip(hits, scores, strict=True), start=1):
        cell = _passage_cell(hit.passage, width - left - 2)
        reasons = [Text(printable(line), "dim") for line in reason_lines(hit)] if why else []
        table.add_row(str(rank), score, Group(cell, *reasons))
    return table


def passages_table(passages: Sequence[Passage], *, width: int) -> Table:
    """Passages, each with the head of its text."""
    table = Table.grid(padding=(0, 1))
    table.add_column(overflow="fold", max_width=width)
    for passage in passages:
        table.add_row(_passage_cell(passage, width - 2))
    return table


def _passage_cell(passage: Passage, width: int) -> RenderableType:
    """A passage's name, its id and namespace, and below them the head of its text."""
    space = f"  in {namespace_text(passage.namespace)}" if passage.namespace else ""
    place = printable(f"{passage.id}{space}")  # never cut: other commands take it
    text = Text(_head(passage.text, 2 * width))
    if not passage.title:
        return Group(Text(place, "bold"), text)
    title = _one_line(passage.title, "bold")
    if title.cell_len + 2 + cell_len(place) > width:
        return Group(title, Text(place, "dim"), text)
    return Group(Text.assemble(title, "  ", (place, "dim")), text)


def cost_line(cost: Cost) -> Text:
    """What a recall took, on one line."""
    judged = f", {cost.pairs_scored} pairs scored" if cost.pairs_scored else ""
    return Text(
        f"{cost.milliseconds:.0f} ms, {cost.passages_read} passages read out of "
        f"{cost.candidates} candidates, {cost.texts_encoded} texts encoded{judged}",
        style="dim",
    )


class _Marks:
    """How passages that are needed are told from the others."""

    def __init__(self, gold: Collection[str], console: Console) -> None:
        self.gold = frozenset(gold)
        unicode = console.encoding.lower().startswith("utf")
        self.tick = "✓" if unicode else "*"

    def of(self, id_: str) -> tuple[str, str]:
        """The mark before a passage, with its style."""
        if not self.gold:
            return "", ""
        return (f"{self.tick} ", "bold green") if id_ in self.gold else ("  ", "")


def _hop(
    place: int, hop: Hop, read: Sequence[Passage | None], question: str, marks: _Marks
) -> RenderableType:
    """What was read, how it was found, the words added to the query, and what it says."""
    passage = read[place]
    heading = Text.assemble(
        (f"{place + 1} ", "dim"),
        marks.of(hop.id),
        (_name(passage, hop.id), "bold cyan"),
        (f"  p {hop.probability:.0%}", "magenta"),
    )
    lines: list[RenderableType] = [heading, _one_line(_how(place, hop, read), "yellow")]
    added = hop.query.removeprefix(question).strip()
    if added:
        lines.append(_one_line(f"query gained: {_gained(added, passage, question)}", "dim"))
    if passage:
        following = read[place + 1] if place + 1 < len(read) else None
        lines.append(_telling(passage, following, question))
    return Group(*lines)


def _gained(added: str, passage: Passage | None, question: str) -> str:
    """The words that the rewritten query shares with what it found and the question did not have.

    Where there is none, how the added text begins.
    """
    question_words = set(_WORDS.findall(question.casefold()))
    there = set(_WORDS.findall(passage.content.casefold())) if passage else set()
    words = [word for word in _WORDS.findall(added) if word.casefold() in there - question_words]
    named = sorted(dict.fromkeys(words), key=lambda word: word[0].islower())  # names first
    return ", ".join(named[:GAINED]) or f"“{_head(added, 120)}”"


def _how(place: int, hop: Hop, read: Sequence[Passage | None]) -> str:
    """How a passage was found, and from which hop where that shows in the texts."""
    if hop.link is None:
        return "found by search" if place else "found by the question"
    passage = read[place]
    for before in range(place - 1, -1, -1):
        other = read[before]
        if passage is None or other is None:
            continue
        if hop.link == "mentions" and _short(passage).casefold() in other.text.casefold():
            return f"named in hop {before + 1}"
        if hop.link == "mentioned_by" and _short(other).casefold() in passage.text.casefold():
            return f"names what hop {before + 1} read"
        if other.namespace == passage.namespace and any(
            link.target == hop.id and link.kind == hop.link for link in other.links
        ):
            return f"linked from hop {before + 1}: {hop.link}"
    named = {"mentions": "named in what was read", "mentioned_by": "names what was read"}
    return named.get(hop.link, f"linked with what was read: {hop.link.lstrip('~')}")


def _telling(passage: Passage, following: Passage | None, question: str) -> Text:
    """The sentence that led on: the one that names the next passage, or is nearest the question."""
    question_words = set(_WORDS.findall(question.casefold()))
    name = _short(following).casefold() if following else ""

    def score(sentence: str) -> tuple[bool, int]:
        folded = sentence.casefold()
        return bool(name) and name in folded, len(question_words & set(_WORDS.findall(folded)))

    best = max(_SENTENCES.split(passage.text.strip()), key=score)
    text = Text(_head(best, 160), style="italic dim")
    if name:
        start = text.plain.casefold().find(name)
        if start >= 0:
            text.stylize("not dim bold yellow", start, start + len(name))
    return text


def _short(passage: Passage) -> str:
    """A title as texts write it: without what stands in brackets."""
    return (passage.title or passage.id).split(" (")[0]


def _name(passage: Passage | None, id_: str) -> str:
    """What a passage is called, on one line."""
    return printable((passage.title if passage else None) or id_)


def _stop(trail: Trail) -> Text:
    return Text.assemble(
        ("STOP ", "bold red"),
        _STOPS.get(trail.stop_reason, printable(trail.stop_reason)),
        (f"  p {trail.probability:.0%}", "magenta"),
    )


def _panel(title: str, content: RenderableType, style: str, subtitle: Text | None = None) -> Panel:
    return Panel(
        content,
        title=title,
        title_align="left",
        subtitle=subtitle,
        subtitle_align="right",
        border_style=style,
        padding=(0, 1),
    )


def _ranking(hits: Sequence[Hit], marks: _Marks) -> RenderableType:
    table = Table.grid(padding=(0, 1), expand=True)
    table.add_column(justify="right", style="dim", width=2)
    table.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    for rank, hit in enumerate(hits, start=1):
        name = Text.assemble(marks.of(hit.passage.id), _name(hit.passage, hit.passage.id))
        table.add_row(str(rank), name)
    return table


def _found(ids: Sequence[str], marks: _Marks) -> Text | None:
    """How many of the needed passages are among the first that each of the two gives."""
    if not marks.gold:
        return None
    hits = len(marks.gold.intersection(ids))
    style = "bold green" if hits == len(marks.gold) else "bold red"
    return Text(f"top {len(ids)}: {hits} of {len(marks.gold)} needed", style=style)


def _one_line(text: str, style: str) -> Text:
    line = printable(" ".join(text.split()))
    return Text(line, style=style, no_wrap=True, overflow="ellipsis")


def _head(text: str, characters: int) -> str:
    """The beginning of a text, cut between words, on one line."""
    # Cut first: an escape is longer than what it stands for, and a text may be a book.
    text = printable(" ".join(text[: 4 * characters].split()))
    if len(text) <= characters:
        return text
    return text[:characters].rsplit(" ", 1)[0] + " …"
