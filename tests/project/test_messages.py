"""What is said to a user names public things, not the modules that they happen to lie in."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ("src", "memory", "graph", "learning", "policies", "evaluation", "integrations")
INNER = re.compile(r"\bhoptrail\.[a-z_]+\.[a-z_]+")


def messages(source: str) -> Iterator[str]:
    """The texts that a module raises, or gives to whatever it calls."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Raise | ast.Call):
            for part in ast.walk(node):
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    yield part.value


def test_no_message_names_a_module_below_a_face() -> None:
    inner = {
        str(file.relative_to(ROOT)): named
        for folder in FOLDERS
        for file in (ROOT / folder).rglob("*.py")
        if (named := [text for text in messages(file.read_text()) if INNER.search(text)])
    }
    assert not inner
