"""The documentation site names what there is: every page, and only objects that exist.

The site itself is built by `make docs`, where a warning is an error; these are quick, so that a
rename breaks a test before it breaks the site.
"""

from __future__ import annotations

import inspect
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
FROM_THE_ROOT = {"index.md", "contributing.md", "changelog.md"}
REFERENCE = sorted((DOCS / "reference").glob("*.md"))
PACKAGES = "hoptrail memory graph learning policies evaluation integrations".split()


def pages(entry: Any) -> Iterator[str]:
    """The pages of a nav entry, at any depth."""
    if isinstance(entry, str):
        yield entry
    else:
        for below in entry.values() if isinstance(entry, dict) else entry:
            yield from pages(below)


def configuration() -> dict[str, Any]:
    """What mkdocs.yml says; a name of a Python object in it stays a string."""

    class Loader(yaml.SafeLoader):
        pass

    Loader.add_multi_constructor(
        "tag:yaml.org,2002:python/name:", lambda loader, suffix, node: suffix
    )
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    return dict(yaml.load(text, Loader=Loader))


def targets(page: Path) -> list[str]:
    return re.findall(r"^::: (\S+)$", page.read_text(encoding="utf-8"), re.MULTILINE)


def test_the_navigation_names_every_page_once() -> None:
    named = list(pages(configuration()["nav"]))
    lying = {file.relative_to(DOCS).as_posix() for file in DOCS.rglob("*.md")}
    assert sorted(named) == sorted(lying | FROM_THE_ROOT)


def test_every_package_has_a_page_of_reference() -> None:
    assert {page.stem for page in REFERENCE} == set(PACKAGES)


@pytest.mark.parametrize("page", REFERENCE, ids=lambda page: page.stem)
def test_what_a_page_of_reference_shows_exists_and_says_what_it_is(page) -> None:
    names = targets(page)
    assert names
    for name in names:
        item = pkgutil.resolve_name(name)
        if inspect.isclass(item) or inspect.isroutine(item) or inspect.ismodule(item):
            assert inspect.getdoc(item), f"{name} has no docstring to show"


def test_no_object_is_shown_twice() -> None:
    names = [name for page in REFERENCE for name in targets(page)]
    assert sorted(names) == sorted(set(names))


def test_examples_in_docstrings_stand_under_the_heading_that_is_shown_as_code() -> None:
    """To the site `Examples:` is a section of the Google style, `Example:` a note in prose."""
    folders = [ROOT / "src", *(ROOT / package for package in PACKAGES[1:])]
    for file in (file for folder in folders for file in folder.rglob("*.py")):
        assert not re.search(r"^ *Example:$", file.read_text(encoding="utf-8"), re.MULTILINE), file
