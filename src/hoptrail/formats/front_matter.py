"""What stands above a Markdown document between `---` lines (YAML) or `+++` lines (TOML)."""

from __future__ import annotations

import base64
import datetime
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

LONGEST = 50_000
"""Characters of front matter at most; what is longer is text."""

VALUES = 10_000
"""Values in it at most: a few lines of YAML can spell billions."""

DEPTH = 50
"""Lists and mappings inside each other at most."""


@dataclass(frozen=True, slots=True)
class FrontMatter:
    """The metadata above a document, and where its text begins."""

    values: Mapping[str, Any] = field(default_factory=dict)
    """JSON values: times as ISO text, names as strings."""
    lines: int = 0
    """How many lines it takes, its marks among them."""
    complaint: str = ""
    """Why these lines are kept as text after all; empty where they are metadata."""

    @property
    def title(self) -> str:
        """The title that it names, on one line; empty if it names none."""
        title = self.values.get("title")
        return " ".join(str(title).split()) if isinstance(title, str | int | float) else ""

    @property
    def aliases(self) -> tuple[str, ...]:
        """Other names of the document."""
        aliases = [self.values.get(key) for key in ("aliases", "alias")]
        names = [name for one in aliases for name in (one if isinstance(one, list) else [one])]
        return tuple(str(name) for name in names if name not in (None, ""))


class _Unusable(ValueError):
    """Values that cannot be metadata."""


def read_front_matter(lines: list[str]) -> FrontMatter:
    """The front matter that a document's lines begin with."""
    mark = lines[0].rstrip() if lines else ""
    if mark not in ("---", "+++"):
        return FrontMatter()
    ends = ("---", "...") if mark == "---" else ("+++",)
    length = 0
    for number, line in enumerate(lines[1:], start=1):
        length += len(line) + 1
        if length > LONGEST:
            return FrontMatter()
        if line.rstrip() in ends:
            return _parsed("\n".join(lines[1:number]), mark, number + 1)
    return FrontMatter()


def _parsed(text: str, mark: str, lines: int) -> FrontMatter:
    try:
        loaded = _yaml(text) if mark == "---" else _toml(text)
        if loaded is None and mark == "---":
            return FrontMatter({}, lines) if not text.strip() else FrontMatter()
        if not isinstance(loaded, dict):
            return FrontMatter()  # a text between two thematic breaks
        return FrontMatter(_Plain().mapping(loaded, 0), lines)
    except (ValueError, RecursionError, TypeError, AttributeError, OverflowError) as error:
        language = "YAML" if mark == "---" else "TOML"
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        complaint = f"front matter is no valid {language} ({reason}): kept as text"
        return FrontMatter({}, lines, complaint)


def _yaml(text: str) -> object:
    import yaml

    # Not by libyaml: it overflows the stack on what nests deeply.
    class Loader(yaml.SafeLoader):  # type: ignore[misc]
        """One that merges (`<<`) a bounded number of values: each can hold all before it again."""

        merged = 0

        def flatten_mapping(self, node: yaml.MappingNode) -> None:
            super().flatten_mapping(node)
            self.merged += len(node.value)
            if self.merged > VALUES:
                raise _Unusable(f"more than {VALUES} values, those that are merged among them")

    try:
        return yaml.load(text, Loader)  # as safe as the one it extends
    except yaml.YAMLError as error:
        raise _Unusable(getattr(error, "problem", None) or str(error)) from error


def _toml(text: str) -> object:
    import tomllib

    return tomllib.loads(text)


class _Plain:
    """Makes JSON values of what YAML and TOML have, a bounded number of them."""

    def __init__(self) -> None:
        self._left = VALUES
        self._characters = LONGEST

    def mapping(self, values: Mapping[Any, Any], depth: int) -> dict[str, Any]:
        return {self._key(key): self._value(value, depth + 1) for key, value in values.items()}

    def _key(self, key: object) -> str:
        plain = self._value(key, 1)
        return plain if isinstance(plain, str) else str(key)

    def _value(self, value: object, depth: int) -> Any:
        self._left -= 1
        if self._left < 0 or depth > DEPTH:
            raise _Unusable(f"more than {VALUES} values, or {DEPTH} inside each other")
        if isinstance(value, Mapping):
            return self.mapping(value, depth)
        if isinstance(value, list | tuple | set | frozenset):
            return [self._value(item, depth + 1) for item in value]
        plain = _scalar(value)
        self._characters -= len(plain) if isinstance(plain, str) else 0
        if self._characters < 0:  # what stands there once, and is named many times
            raise _Unusable(f"more than {LONGEST} characters")
        return plain


def _scalar(value: object) -> object:
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, int):
        str(value)  # nor can JSON hold what Python does not write out
    if isinstance(value, str):
        value.encode("utf-8")  # an escape may spell half of a character
    return value
