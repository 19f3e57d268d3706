"""What a person sees: trails, rankings, progress."""

from __future__ import annotations

import io
import sys

import pytest
from rich.console import Console

from hoptrail.cli import output
from hoptrail.cli.opening import waiting
from hoptrail.types import Cost, Hit, Hop, Link, Passage, Recall, Trail

QUESTION = "Where was the designer of the Fram born?"
FRAM = Passage("fram", "She lies in Oslo. Colin Archer designed her.", "Fram (ship)")
ARCHER = Passage("archer", "He built boats. Colin Archer was born in Larvik.", "Colin Archer")
LARVIK = Passage("larvik", "A town by the sea.", "Larvik", links=(Link("archer", "home_of"),))


def recall(*hops: Hop, stop: str = "policy") -> Recall:
    hits = (Hit(FRAM, 0.9), Hit(ARCHER, 0.6), Hit(LARVIK, 0.1))
    trails = (Trail(hops, 0.4, stop), Trail(hops[:1], 0.1, "policy"))
    return Recall(QUESTION, hits, trails, Cost(12.3, 3, 20, 2))


def drawn(found: Recall, *, gold: tuple[str, ...] = (), width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    plain = [Hit(FRAM, 0.8), Hit(LARVIK, 0.3)]
    console.print(output.walked(found, plain, gold=gold, console=console))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


TWO = (
    Hop(QUESTION, "fram", None, 0.5),
    Hop(f"{QUESTION} Fram (ship). She lies in Oslo. Colin Archer", "archer", "mentions", 0.8),
)


def test_a_trail_is_drawn_hop_by_hop_with_what_led_on() -> None:
    text = drawn(recall(*TWO))
    for part in (
        "1 Fram (ship)  p 50%",
        "found by the question",
        "Colin Archer designed her.",
        "2 Colin Archer  p 80%",
        "named in hop 1",
        "query gained: Colin, Archer",
        "Colin Archer was born in Larvik.",
        "STOP it has read enough  p 40%",
        "or p 10% Fram (ship), STOP",
    ):
        assert part in text
    assert "She lies in Oslo." not in text  # another sentence led on


def test_it_stands_beside_plain_vector_search_or_above_it() -> None:
    wide, narrow = drawn(recall(*TWO)), drawn(recall(*TWO), width=60)
    first = next(line for line in wide.splitlines() if "the walk, hop by hop" in line)
    assert "plain vector search" in first
    assert "plain vector search" in narrow
    assert max(map(len, narrow.splitlines())) <= 60


def test_what_is_needed_is_marked_and_counted() -> None:
    text = drawn(recall(*TWO), gold=("fram", "archer"))
    assert "✓ Colin Archer" in text
    assert "top 2: 1 of 2 needed" in text
    assert "top 2: 2 of 2 needed" in text
    assert "✓" not in drawn(recall(*TWO))


@pytest.mark.parametrize(
    ("link", "passage", "words"),
    [
        ("mentioned_by", "fram", "names what hop 1 read"),
        ("home_of", "archer", "linked from hop 1: home_of"),
        ("~home_of", "larvik", "linked with what was read: home_of"),
        ("mentions", "larvik", "named in what was read"),
        (None, "larvik", "found by search"),
    ],
)
def test_how_a_passage_was_found(link, passage, words) -> None:
    first = {"mentioned_by": "archer", "home_of": "larvik"}.get(link or "", "fram")
    hops = (Hop(QUESTION, first, None, 0.5), Hop(f"{QUESTION} More.", passage, link, 0.5))
    assert words in drawn(recall(*hops))


@pytest.mark.parametrize(
    ("stop", "words"),
    [("budget", "no hops left"), ("exhausted", "nothing left to read"), ("tired", "STOP tired")],
)
def test_why_a_trail_ended(stop, words) -> None:
    assert words in drawn(recall(*TWO, stop=stop))


def test_a_recall_that_read_nothing_and_a_passage_that_is_not_among_the_hits() -> None:
    assert "nothing was read" in drawn(Recall(QUESTION, (), (), Cost(0.0, 0, 0, 0)))
    assert "1 nobody  p 50%" in drawn(recall(Hop(QUESTION, "nobody", None, 0.5)))


def test_text_is_not_taken_for_markup() -> None:
    odd = Passage("odd", "[bold]Not bold[/bold] [red]", "[x] A [/b]")
    found = Recall(
        "[red]?",
        (Hit(odd, 1.0),),
        (Trail((Hop("[red]?", "odd", None, 1.0),), 1.0, "policy"),),
        Cost(1.0, 1, 1, 1),
    )
    text = drawn(found)
    assert "[red]?" in text
    assert "[x] A [/b]" in text
    assert "[bold]Not bold[/bold]" in text


def test_a_terminal_that_has_no_tick_gets_a_star() -> None:
    raw = io.BytesIO()
    console = Console(file=io.TextIOWrapper(raw, encoding="ascii", errors="replace"), width=80)
    console.print(output.walked(recall(*TWO), [Hit(FRAM, 1.0)], gold=("fram",), console=console))
    console.file.flush()
    assert b"* Fram" in raw.getvalue()


def test_progress_leaves_a_line_for_each_stage(capsys, monkeypatch) -> None:
    for terminal in (False, True):
        if terminal:
            monkeypatch.setenv("FORCE_COLOR", "1")
            monkeypatch.setenv("TERM", "xterm")
        with output.Steps() as steps:
            steps.stage("reading")(0, 2)
            steps("reading", 1, 2, {"loss": 0.51234})
            steps("reading", 2, 2, {"loss": 0.25})
            steps.stage("writing")(3, 3)
        out, err = capsys.readouterr()
        assert out == ""
        assert "reading: 2 in 0 s  loss 0.25" in err
        assert "writing: 3 in 0 s" in err
        assert ("━" in err) == terminal


def test_cost_and_tables() -> None:
    console = Console(file=io.StringIO(), width=80)
    console.print(output.cost_line(Cost(12.3, 3, 20, 2)))
    console.print(output.rows_table("Two", [["", "a"], ["x", "1.0"]]))
    console.print(output.hits_table([Hit(FRAM, 1.0)], width=40))
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert "12 ms, 2 passages read out of 20 candidates, 3 texts encoded" in text
    assert "Fram (ship)  fram" in text


def test_a_table_wider_than_the_terminal_is_turned() -> None:
    rows = [["retriever", *(f"measure {n}" for n in range(8))], ["hybrid", *map(str, range(8))]]
    wide, narrow = (output.rows_table("", rows, width=width) for width in (120, 80))
    assert [len(table.columns) for table in (wide, narrow)] == [9, 2]
    console = Console(file=io.StringIO(), width=80)
    console.print(narrow)
    assert isinstance(console.file, io.StringIO)
    lines = [line.split() for line in console.file.getvalue().splitlines()]
    assert ["retriever", "hybrid"] in lines
    assert ["measure", "7", "7"] in lines


def test_an_id_is_never_cut_however_narrow_the_terminal_is() -> None:
    console = Console(file=io.StringIO(), width=30)
    long = Passage("notes/2026/" + "x" * 60, "A note.", namespace=("team", "ann"))
    titled = Passage("fram", "She lies in Oslo.", "The polar ship that the ice was to lift")
    console.print(output.passages_table([long, titled], width=30))
    console.print(output.hits_table([Hit(long, 1.0), Hit(titled, 0.5)], width=30))
    assert isinstance(console.file, io.StringIO)
    lines = [line.strip() for line in console.file.getvalue().splitlines()]
    assert "".join(lines).replace("1 1.00 ", "").count(f"{long.id}  in team/ann") == 2
    assert lines.count("fram") == 2


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_wait_is_shown_on_a_terminal_only(monkeypatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    for stream, is_shown in ((Terminal(), True), (io.StringIO(), False)):
        monkeypatch.setattr(sys, "stderr", stream)
        with waiting("walking the memory"):
            pass
        assert ("walking the memory" in stream.getvalue()) == is_shown
