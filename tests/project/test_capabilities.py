"""What the page of capabilities names exists: files, names, commands with options, and tests."""

from __future__ import annotations

import pkgutil
import re
from pathlib import Path
from typing import NamedTuple

import pytest

from hoptrail.cli.command import command_paths
from hoptrail.cli.main import build_command

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "capabilities.md"


class Capability(NamedTuple):
    """A row of the page; its cells without backticks."""

    what: str
    file: str
    name: str
    command: str
    test: str


def capabilities() -> list[Capability]:
    """The rows of its tables, but for their heads."""
    rows = re.findall(r"^\| (.+) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    cells = [[cell.strip().strip("`") for cell in row.split(" | ")] for row in rows]
    return [Capability(*row) for row in cells if row[0] not in {"what", "---"}]


def options_of_commands() -> dict[str, set[str]]:
    """By command, its options as they are typed."""
    program = build_command()
    return {
        path.removeprefix("hoptrail "): {name for one in command.params for name in one.opts}
        for path, command in command_paths(program, "hoptrail")
    }


def test_the_page_has_tables() -> None:
    assert len(capabilities()) > 60


@pytest.mark.parametrize("one", capabilities(), ids=lambda one: one.what)
def test_a_capability_is_where_the_page_says(one: Capability) -> None:
    text = (ROOT / one.file).read_text(encoding="utf-8")
    last = re.escape(one.name.rpartition(".")[2])
    assert re.search(rf"^ *(class|def) {last}\b|^{last}\b", text, re.MULTILINE), one.file
    assert pkgutil.resolve_name(f"hoptrail.{one.name}") is not None


def test_the_commands_and_options_that_the_page_names_exist() -> None:
    options = options_of_commands()
    for one in capabilities():
        if one.command == "Python":
            continue
        *words, last = one.command.split()
        typed = [last] if last.startswith("--") else []
        command = " ".join(words if typed else [*words, last])
        assert set(typed) <= options[command], one.command


def test_the_tests_that_the_page_names_exist() -> None:
    for one in capabilities():
        file, _, name = one.test.partition("::")
        assert file.startswith("tests/"), one.what
        text = (ROOT / file).read_text(encoding="utf-8")
        assert re.search(rf"^(async )?def {name}\(", text, re.MULTILINE), one.test
