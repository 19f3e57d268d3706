"""What the documents show runs: README's Python, the guides' Python and commands, the examples."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs" / "guides").glob("*.md"))]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


READER = r"""
import re, shlex, subprocess, sys
document = sys.argv[1]
text = open(document, encoding="utf-8").read()
session = {"__name__": "__main__"}
for match in re.finditer(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
    kind, block = match.groups()
    above = text.count("\n", 0, match.start()) + 1
    if kind == "python":
        exec(compile("\n" * above + block, document, "exec"), session)
    elif kind == "sh":
        for line in filter(None, block.splitlines()):
            program, *arguments = shlex.split(line)
            assert program == "hoptrail", line
            done = subprocess.run(
                [sys.executable, "-P", "-m", "hoptrail", *arguments],
                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            )
            assert done.returncode == 0, f"{line}\n{done.stderr}"
"""
"""Runs the blocks of a document in their order, in the folder at hand."""


def blocks(document: Path, language: str) -> list[str]:
    text = document.read_text(encoding="utf-8")
    return [block for name, block in _BLOCK.findall(text) if name == language]


def commands(document: Path) -> list[str]:
    """The command lines of `sh` blocks; `bash` blocks set a machine up and are not run."""
    return [line for block in blocks(document, "sh") for line in block.splitlines() if line]


def python(folder: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", *argv], cwd=folder, capture_output=True, text=True, check=False
    )


def test_the_python_of_the_readme_runs_and_finds_the_town(tmp_path) -> None:
    code = "\n".join(blocks(ROOT / "README.md", "python"))
    code += "\nprint(sorted(h.passage.id for h in recall.hits), [d.id for d in documents][:2])"
    done = python(tmp_path, "-c", code)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "Colin Archer" in done.stdout
    assert "['archer', 'fram']" in done.stdout.splitlines()[-1]


@pytest.mark.slow
@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda file: file.name)
def test_a_document_runs_from_top_to_bottom_in_one_folder(tmp_path, document) -> None:
    """As a reader would: one Python session, and each command where it stands."""
    (tmp_path / "program").mkdir()
    program = tmp_path / "program" / "reader.py"
    program.write_text(READER, encoding="utf-8")
    (folder := tmp_path / "folder").mkdir()
    done = python(folder, str(program), str(document))
    assert done.returncode == 0, done.stderr


def test_every_block_of_a_document_is_of_a_kind_that_is_run_or_that_is_no_program() -> None:
    """So that no block goes untested under another name; `bash` blocks set a machine up."""
    for document in DOCUMENTS:
        kinds = {name for name, _ in _BLOCK.findall(document.read_text(encoding="utf-8"))}
        assert kinds <= {"python", "sh", "bash", "json", "text", "mermaid", "toml"}, document.name
        assert document.name == "README.md" or "bash" not in kinds, document.name


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda file: file.name)
def test_an_example_runs_as_it_stands(tmp_path, example) -> None:
    done = python(tmp_path, str(example))
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_every_command_and_option_in_the_documents_exists(parse_command_line) -> None:
    """Quick where the test above is thorough: every line is parsed, and nothing is run."""
    lines = [line for document in DOCUMENTS for line in commands(document)]
    assert len(lines) > 10
    for line in lines:
        parse_command_line(shlex.split(line)[1:])


def test_the_guide_to_the_command_line_names_every_command() -> None:
    from hoptrail.cli.command import command_paths
    from hoptrail.cli.main import build_command

    guide = (ROOT / "docs" / "guides" / "command-line.md").read_text(encoding="utf-8")
    program = build_command()
    names = {path for path, command in command_paths(program, "hoptrail") if command.params}
    assert len(names) > 25
    missing = {name for name in names if f"`{name.removeprefix('hoptrail ')}`" not in guide}
    assert not missing


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "docs/design.md"])
def test_the_files_that_a_map_of_the_code_names_exist(name) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    files = set(re.findall(r"`((?:[\w.-]+/)+[\w.-]+\.(?:py|md|toml|txt))", text))
    assert files
    for file in files:
        assert (ROOT / file).is_file(), f"{name} names {file}"


def test_links_between_documents_lead_somewhere() -> None:
    for document in [*DOCUMENTS, *(ROOT / "docs").glob("*.md"), *(ROOT / "docs" / "adr").glob("*")]:
        for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", document.read_text("utf-8")):
            if not re.match(r"https?:", target):
                assert (document.parent / target).exists(), f"{document.name} links to {target}"


def test_the_readme_has_the_place_where_results_go() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert text.index("<!-- results -->") < text.index("<!-- /results -->")


def test_every_figure_of_the_results_and_the_readme_stands_in_the_laboratory() -> None:
    """Figures are measured once, in the laboratory's tables, and copied from there."""
    figure = re.compile(r"(?<![\w.])\d[\d,]*\.\d+(?![\w.]*\w)")
    measured = set(figure.findall((ROOT / "docs" / "laboratory.md").read_text("utf-8")))
    readme = (ROOT / "README.md").read_text("utf-8")
    texts = {
        "results.md": (ROOT / "docs" / "results.md").read_text("utf-8"),
        "README.md": readme[readme.index("<!-- results -->") : readme.index("<!-- /results -->")],
    }
    for name, text in texts.items():
        copied = set(figure.findall(text))
        assert len(copied) > 10
        assert copied <= measured, f"{name} has figures of its own: {sorted(copied - measured)}"


def test_nothing_in_the_documents_names_a_folder_of_one_machine() -> None:
    for document in [*DOCUMENTS, *(ROOT / "docs").rglob("*.md"), *EXAMPLES]:
        text = document.read_text(encoding="utf-8")
        assert "/work/" not in text
        assert os.sep + "root" + os.sep not in text
