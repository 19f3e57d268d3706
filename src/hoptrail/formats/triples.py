"""Knowledge graphs as files of triples, and questions about their entities.

A line is `head|relation|tail`, or the three parts divided by tabs. Every entity becomes a passage
whose id and whose text are its name, every triple a link of that kind from its head.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hoptrail.errors import FormatError
from hoptrail.formats.jsonl import read_objects
from hoptrail.types import Link, Namespace, Passage, Question

Triple = tuple[str, str, str]
"""Head, relation, tail."""


@dataclass(frozen=True, slots=True)
class EntityQuestion:
    """A question whose answers are entities of a knowledge graph."""

    question: Question
    """Its answers are names, and its supporting passages the entities of these names."""
    topic: str | None
    """The entity that it starts from, where the file says it."""
    path: tuple[str, ...]
    """The relations from the topic to the answers, `~` before one that is walked against its
    direction; empty where the file does not say them."""


def read_triples(path: str | Path, namespace: Namespace = ()) -> Iterator[Passage]:
    """The passages of a file of triples, in the order of their names.

    Blank lines are passed over, and so is a triple that was there before.

    Args:
        path: A line `head|relation|tail` for each triple.
        namespace: Where its passages go.

    Raises:
        FormatError: The file cannot be read, or a line is not a triple.
    """
    return entities(_triples(Path(path)), namespace)


def entities(triples: Iterable[Triple], namespace: Namespace = ()) -> Iterator[Passage]:
    """A passage for every entity of some triples, in the order of their names.

    Args:
        triples: Head, relation and tail of each.
        namespace: Where the passages go.

    Examples:
        >>> [passage.id for passage in entities([("Tolle", "lies_on", "Ister Beck")])]
        ['Ister Beck', 'Tolle']
    """
    leaving: dict[str, set[tuple[str, str]]] = {}
    for head, relation, tail in triples:
        leaving.setdefault(head, set()).add((relation, tail))
        leaving.setdefault(tail, set())
    for name in sorted(leaving):
        links = tuple(Link(tail, relation) for relation, tail in sorted(leaving[name]))
        yield Passage(id=name, text=name, namespace=namespace, links=links)


def read_entity_questions(path: str | Path) -> list[EntityQuestion]:
    """The questions of a file of JSON lines.

    A line holds `question` and `answers`, perhaps `id`, `topic`, `path` (relations) and `kind` or
    `qtype`; every other key is ignored. What has no id is named after its line.

    Args:
        path: The file.

    Raises:
        FormatError: The file cannot be read, or a line cannot be used.
    """
    path = Path(path)
    try:
        return [
            _question(record, f"{path.stem}:{number}", f"{path}, line {number}")
            for number, record in read_objects(path)
        ]
    except OSError as error:
        raise FormatError(f"{path} cannot be read: {error.strerror or error}") from error


def _triples(path: Path) -> Iterator[Triple]:
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield _triple(line, f"{path}, line {number}")
    except OSError as error:
        raise FormatError(f"{path} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise FormatError(f"{path} is not UTF-8: save the file as UTF-8") from error


def _triple(line: str, where: str) -> Triple:
    parts = [part.strip() for part in line.split("\t" if "\t" in line else "|")]
    if len(parts) != 3 or not all(parts):
        excerpt = line.strip() if len(line) <= 60 else f"{line[:57].strip()}..."
        raise FormatError(f"{where}: a line must be head|relation|tail, got {excerpt!r}")
    if parts[1].startswith("~"):
        raise FormatError(f"{where}: ~ marks a relation's inverse, got the relation {parts[1]!r}")
    return parts[0], parts[1], parts[2]


def _question(record: Mapping[str, Any], name: str, where: str) -> EntityQuestion:
    text, topic = record.get("question"), record.get("topic")
    if not isinstance(text, str) or not text.strip():
        raise FormatError(f'{where}: "question" must be a string that is not empty')
    if topic is not None and not isinstance(topic, str):
        raise FormatError(f'{where}: "topic" must be a string or null')
    answers = _strings(record, "answers", where)
    kind = record.get("kind") or record.get("qtype")
    question = Question(
        id=str(record.get("id") or name),
        text=text,
        answers=answers,
        supporting_ids=answers,
        kind=str(kind) if kind else None,
    )
    return EntityQuestion(question, topic, _strings(record, "path", where))


def _strings(record: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
    values = record.get(key) or []
    if not isinstance(values, list) or not all(isinstance(v, str) and v.strip() for v in values):
        raise FormatError(f'{where}: "{key}" must be a list of strings that are not empty')
    return tuple(values)
