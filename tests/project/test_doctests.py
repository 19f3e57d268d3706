"""The examples in docstrings run, imported by their full names as users import them."""

from __future__ import annotations

import doctest
import importlib
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"][
    "setuptools"
]["package-dir"]
MODULES = sorted(
    ".".join(
        [
            package,
            *(p for p in file.relative_to(ROOT / folder).with_suffix("").parts if p != "__init__"),
        ]
    )
    for package, folder in FOLDERS.items()
    for file in (ROOT / folder).rglob("*.py")
    if ">>>" in file.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module(name) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0
