"""What a person sees in a terminal: progress bars, trails as trees, rankings side by side."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from types import TracebackType
from typing import Self

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from hoptrail.types import Cost, Hit, Hop, Passage, Recall, Trail

NARROW = 72
"""Columns below which what stands side by side is put one under the other."""
WIDE = 96
"""Columns from which the scores of vector search are shown beside its titles."""
TRAILS = 3
"""Trails that are drawn into one tree."""
QUIET_SECONDS = 20.0
"""Between two lines of progress where stderr is no terminal."""

_STOPS = {
    "policy": "it has read enough",
    "budget": "no hops left",
    "exhausted": "nothing left to read",
}
_LINKS = {"mentions": "named in what was read", "mentioned_by": "names what was read"}


def output() -> Console:
    """Where results go."""
    return Console(highlight=False)


class Steps:
    """Progress bars on stderr, one a stage; a stage that is over leaves a line behind.

    Where stderr is no terminal there are only lines, one now and then. Call it with a stage, how
    much of it is done, how much there is, and figures to show.
    """

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
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
        shown = figures_line(figures or {})
        now = time.monotonic()
        began = self._began.setdefault(stage, now)
        if done >= total:
            self._drop(stage)
            self._console.print(
                f"{stage}: {done} in {now - began:.0f} s  {shown}".rstrip(),
                markup=False,
                soft_wrap=True,
            )
        elif self._console.is_terminal:
            if stage not in self._tasks:
                self._tasks[stage] = self._bars.add_task(stage, total=total, figures="")
            self._bars.update(self._tasks[stage], completed=done, total=total, figures=shown)
        elif now - self._spoke.setdefault(stage, now) >= QUIET_SECONDS:
            self._spoke[stage] = now
            self._console.print(
                f"{stage}: {done}/{total}  {shown}".rstrip(), markup=False, soft_wrap=True
            )

    def stage(self, name: str) -> Stage:
        """The bar of one stage, as something to call with (done, total)."""
        return Stage(self, name)

    def _drop(self, stage: str) -> None:
        """Forget a stage that is over; the same name may begin again."""
        task = self._tasks.pop(stage, None)
        if task is not None:
            self._bars.remove_task(task)
        self._began.pop(stage, None)
        self._spoke.pop(stage, None)


class Stage:
    """One stage of several steps."""

    def __init__(self, steps: Steps, name: str) -> None:
        self._steps, self._name = steps, name

    def __call__(self, done: int, total: int) -> None:
        """Show how far it is."""
        self._steps(self._name, done, total)


def figures_line(figures: Mapping[str, float]) -> str:
    """Figures on one line, each with its name."""
    return "  ".join(f"{name} {value:.4g}" for name, value in figures.items())


def rows_table(title: str, rows: Sequence[Sequence[str]]) -> Table:
    """A table from a row of headings and rows of cells; the first column is a name."""
    table = Table(title=title or None, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for number, heading in enumerate(rows[0]):
        table.add_column(heading, justify="right" if number else "left")
    for row in rows[1:]:
        table.add_row(*(Text(cell) for cell in row))
    return table


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
    k = len(plain)
    trails = Panel(
        trail_tree(recall, marks),
        title="the walk",
        title_align="left",
        subtitle=_found([hit.passage.id for hit in recall.hits[:k]], marks),
        subtitle_align="right",
        border_style="green",
        padding=(0, 1),
    )
    vector = Panel(
        _ranking(plain, marks, scores=console.width >= WIDE),
        title="plain vector search",
        title_align="left",
        subtitle=_found([hit.passage.id for hit in plain], marks),
        subtitle_align="right",
        border_style="yellow",
        padding=(0, 1),
    )
    if console.width < NARROW:
        return Group(trails, vector)
    grid = Table.grid(expand=True, padding=0)
    grid.add_column(ratio=58)
    grid.add_column(ratio=42)
    grid.add_row(trails, vector)
    return grid


def trail_tree(recall: Recall, marks: _Marks | None = None) -> RenderableType:
    """The likeliest trails as one tree: where they agree, they share a branch."""
    marks = marks or _Marks((), output())
    known = {hit.passage.id: hit.passage for hit in recall.hits}
    if not recall.trails:
        return Text("nothing was read", style="dim")
    root = Tree(Text(recall.question, style="bold"), guide_style="dim")
    branches: dict[tuple[str, ...], Tree] = {(): root}
    for trail in recall.trails[:TRAILS]:
        path: tuple[str, ...] = ()
        for hop in trail.hops:
            before, path = path, (*path, hop.id)
            if path not in branches:
                label = _hop(hop, recall.question, known, marks, before)
                branches[path] = branches[before].add(label)
        branches[path].add(_stop(trail))
    return root


def hits_table(hits: Sequence[Hit], *, width: int) -> Table:
    """Ranked passages with the head of their texts."""
    table = Table.grid(padding=(0, 1))
    table.add_column(justify="right", style="dim")
    table.add_column(overflow="fold", max_width=width - 6)
    for rank, hit in enumerate(hits, start=1):
        passage = hit.passage
        line = Text.assemble(
            (passage.title or passage.id, "bold"), (f"  {passage.id}", "dim"), overflow="ellipsis"
        )
        line.no_wrap = True
        table.add_row(str(rank), Group(line, Text(_head(passage.text, 2 * (width - 8)))))
    return table


def cost_line(cost: Cost) -> Text:
    """What a recall took, on one line."""
    return Text(
        f"{cost.milliseconds:.0f} ms, {cost.passages_read} passages read out of "
        f"{cost.candidates} candidates, {cost.texts_encoded} texts encoded",
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
    hop: Hop,
    question: str,
    known: Mapping[str, Passage],
    marks: _Marks,
    before: tuple[str, ...],
) -> RenderableType:
    """What was read, how it was found, and the words of the query that were new."""
    passage = known.get(hop.id)
    title = (passage.title if passage else None) or hop.id
    lines = [
        Text.assemble(
            marks.of(hop.id), (title, "bold cyan"), (f"  {hop.probability:.0%}", "magenta")
        )
    ]
    how = "found by the question" if not before else "found by the rewritten query"
    if hop.link:
        how = _LINKS.get(hop.link) or _link_words(hop.link)
    lines.append(_one_line(how, "yellow" if hop.link else "dim"))
    added = hop.query.removeprefix(question).strip()
    if before and added:
        lines.append(_one_line(f"query + “{_head(added, 80)}”", "dim"))
    if passage:
        lines.append(_one_line(passage.text, "italic dim"))
    return Group(*lines)


def _link_words(kind: str) -> str:
    return f"linked from there ({kind[1:]})" if kind.startswith("~") else f"linked: {kind}"


def _stop(trail: Trail) -> Text:
    return Text.assemble(
        ("STOP", "bold red"),
        f" {_STOPS.get(trail.stop, trail.stop)}",
        (f"  {trail.probability:.0%}", "magenta"),
        overflow="ellipsis",
        no_wrap=True,
    )


def _ranking(hits: Sequence[Hit], marks: _Marks, *, scores: bool) -> RenderableType:
    table = Table.grid(padding=(0, 1), expand=True)
    table.add_column(justify="right", style="dim", width=2)
    table.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    if scores:
        table.add_column(justify="right", style="dim")
    for rank, hit in enumerate(hits, start=1):
        name = Text.assemble(marks.of(hit.passage.id), hit.passage.title or hit.passage.id)
        table.add_row(str(rank), name, *([f"{hit.score:.2f}"] if scores else []))
    return table


def _found(ids: Sequence[str], marks: _Marks) -> Text | None:
    """How many of the needed passages are among the first that each of the two gives."""
    if not marks.gold:
        return None
    hits = len(marks.gold.intersection(ids))
    style = "bold green" if hits == len(marks.gold) else "bold red"
    return Text(f"top {len(ids)}: {hits} of {len(marks.gold)} needed", style=style)


def _one_line(text: str, style: str) -> Text:
    return Text(" ".join(text.split()), style=style, no_wrap=True, overflow="ellipsis")


def _head(text: str, characters: int) -> str:
    """The beginning of a text, cut between words."""
    text = " ".join(text.split())
    if len(text) <= characters:
        return text
    return text[:characters].rsplit(" ", 1)[0] + " …"
