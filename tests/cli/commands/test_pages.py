"""What the command line shows as pages: a recall in a file, and a memory in a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hoptrail import Memory
from hoptrail.cli.main import main
from hoptrail.integrations.explorer import exploring
from hoptrail.memory.encoders import transformer as encoders
from hoptrail.memory.testing.hash_encoder import HashEncoder

QUESTION = "Into which lake flows the river of the town where Ada Lind was born?"


@pytest.fixture
def store(tmp_path, twelve, monkeypatch) -> Path:
    monkeypatch.setattr(encoders, "minilm", lambda **_: HashEncoder())
    file = tmp_path / "agent.db"
    with Memory(file, encoder=HashEncoder()) as memory:
        memory.add(twelve)
    return file


def test_a_recall_is_written_as_a_page_beside_what_is_printed(store, tmp_path, capsys) -> None:
    page = tmp_path / "walk.html"
    assert main(["recall", "--store", str(store), "--html", str(page), QUESTION]) == 0
    assert "Ada Lind" in capsys.readouterr().out
    assert QUESTION in page.read_text(encoding="utf-8")
    again = ["recall", "--store", str(store), "--html", str(page), "--json", "Who rings bells?"]
    assert main(again) == 0
    assert capsys.readouterr().out.startswith("{")
    assert "Who rings bells?" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("content", ["<!doctype html>\n<html>theirs</html>", "notes", ""])
def test_a_page_takes_the_place_of_nothing_but_pages_of_ours(
    store, tmp_path, capsys, content
) -> None:
    page = tmp_path / "index.html"
    page.write_text(content)
    status = main(["recall", "--store", str(store), "--html", str(page), QUESTION])
    if content:
        assert status != 0
        assert "no page of ours" in capsys.readouterr().err
        assert page.read_text() == content
    else:
        assert status == 0
    assert main(["recall", "--store", str(store), "--html", str(store), QUESTION]) != 0


def test_explore_opens_the_memory_and_the_policies_that_are_compared(
    store, monkeypatch, capsys
) -> None:
    calls: list[dict[str, Any]] = []

    def explore(memory: Memory, **settings: Any) -> None:
        settings["announce"]("http://127.0.0.1:1/#token=x")
        calls.append({**settings, "count": memory.count()})

    monkeypatch.setattr(exploring, "explore", explore)
    line = ["explore", "--store", str(store), "--port", "0", "--namespace", "a/b"]
    assert main([*line, "--compare", "mine", "--read-only"]) == 0
    [call] = calls
    assert call["count"] == 12
    assert list(call["policies"]) == ["mine"]
    assert call["policies"]["mine"].store.read_only
    assert (call["namespace"], call["read_only"], call["port"]) == (("a", "b"), True, 0)
    assert "open http://127.0.0.1:1/#token=x" in capsys.readouterr().err
    assert main(["explore", "--store", str(store.with_name("none.db"))]) != 0
