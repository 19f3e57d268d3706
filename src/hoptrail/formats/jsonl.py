"""The files that people bring: corpora and questions as JSON lines, folders of text and Markdown.

Whatever cannot be used is refused with the file, the line and the value: a bad line is never
skipped, because a corpus that is silently short gives figures that are silently wrong.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO, TypeVar

from hoptrail.errors import FormatError, InputError
from hoptrail.formats.documents import Document, Skipped, Sources
from hoptrail.formats.folders import read_file, read_folder
from hoptrail.formats.text_files import lines_of, readable
from hoptrail.outputs import output_files
from hoptrail.types import MAX_TEXT, Link, Namespace, Passage, Question
from hoptrail.values.json_values import instant, seconds
from hoptrail.values.numbers import finite, shown

_Item = TypeVar("_Item", Passage, Question)
_PASSAGE_FIELDS = (
    "id",
    "text",
    "title",
    "metadata",
    "namespace",
    "links",
    "expires_at",
    "valid_from",
    "valid_until",
)
_VALIDITY = ("valid_from", "valid_until")
_TIMES = ("expires_at", *_VALIDITY)


def read_source(path: str | Path) -> Sources | Iterator[Passage]:
    """The passages of whatever the path is: a folder, a text or Markdown file, or a corpus.

    Raises:
        FormatError: It is none of these, or cannot be read.
    """
    if not isinstance(path, str | os.PathLike):
        raise InputError(f"a source is a path, got {shown(path)}")
    path = Path(path)
    if path.suffix.lower() == ".jsonl" and not path.is_dir():
        return read_corpus(path)
    return read_folder(path) if path.is_dir() else read_file(path)


def read_sources(paths: Iterable[str | Path], *, empty: bool = False) -> Sources:
    """What several paths hold, each as `read_source` takes it; a file named twice is read once.

    Args:
        paths: Folders, text and Markdown files, corpora.
        empty: Take folders that hold nothing to read.

    Raises:
        FormatError: As for `read_source`.
    """
    documents: dict[str, Document] = {}
    passages: list[Passage] = []
    skipped: list[Skipped] = []
    folders: list[str] = []
    read: list[str] = []
    unread: list[str] = []
    for path in map(Path, paths):
        source = read_folder(path, empty=empty) if path.is_dir() else read_source(path)
        if not isinstance(source, Sources):
            passages += source
            read.append(str(path))
            continue
        for document, file in zip(source.documents, source.read, strict=True):
            if documents.setdefault(document.name, document) is document:
                read.append(file)
        skipped += (Skipped(os.path.join(path, one.path), one.why) for one in source.skipped)
        folders += source.folders
        unread += source.unread
    return Sources(
        tuple(documents.values()),
        tuple(passages),
        tuple(skipped),
        tuple(folders),
        tuple(read),
        unread=tuple(unread),
    )


def read_corpus(path: str | Path) -> Iterator[Passage]:
    """The passages of a corpus of JSON lines, read as they are asked for.

    A line holds `id` and `text`, perhaps `title`, `namespace` (a list of names), `expires_at`
    (seconds since 1970, or ISO 8601), `valid_from` and `valid_until` (likewise, with an offset) and
    `links` (ids, or objects with `target`, `kind` and
    `weight`); every other key is metadata. Blank lines are passed over.

    Args:
        path: The file.

    Raises:
        FormatError: The file cannot be read, or a line cannot be used; a duplicate id is named
            with both of its lines.
    """
    path = readable(path)
    return _unique(path, parse_passage, lambda passage: (passage.namespace, passage.id))


def read_questions(path: str | Path) -> list[Question]:
    """The questions of a file of JSON lines.

    A line holds `id` and `question`, perhaps `answers`, `supporting_ids`, `kind`, `namespace`,
    `selection` and `answerable` (false where the corpus does not hold the answer); every other key
    is ignored.

    Args:
        path: The file.

    Raises:
        FormatError: As for `read_corpus`.
    """
    path = readable(path)
    return list(_unique(path, parse_question, lambda question: (question.namespace, question.id)))


def parse_passage(record: Mapping[str, Any], where: str) -> Passage:
    """The passage that a JSON object describes.

    Args:
        record: The object.
        where: Opens the message of an error.

    Raises:
        FormatError: A field is missing, empty or of another type.
    """
    metadata = {key: value for key, value in record.items() if key not in _PASSAGE_FIELDS}
    inner = record.get("metadata")
    if inner is not None and not isinstance(inner, Mapping):
        raise FormatError(f'{where}: "metadata" must be an object, got {_shown(inner)}')
    for key in metadata.keys() & (inner or {}).keys():
        _check_once(key, metadata[key], (inner or {})[key], where)
    return Passage(
        id=_string(record, "id", where),
        text=_string(record, "text", where),
        title=_optional_string(record, "title", where),
        metadata={**metadata, **(inner or {})},
        namespace=_namespace(record, where),
        links=tuple(_link(item, where) for item in _list(record, "links", where)),
        expires_at=_time(record, "expires_at", where),
        valid_from=_time(record, "valid_from", where),
        valid_until=_time(record, "valid_until", where),
    )


def _check_once(key: str, beside: object, inside: object, where: str) -> None:
    """Refuse two values of one key of the metadata, of which one would be lost."""
    plain = isinstance(beside, str | int | float) and type(beside) is type(inside)
    if beside is not inside and not (plain and beside == inside):
        raise FormatError(
            f'{where}: {_shown(key)} is {_shown(beside)} beside "metadata" and {_shown(inside)} in '
            "it: give one of the two"
        )


def parse_question(record: Mapping[str, Any], where: str) -> Question:
    """The question that a JSON object describes.

    Args:
        record: The object.
        where: Opens the message of an error.

    Raises:
        FormatError: A field is missing, empty or of another type.
    """
    return Question(
        id=_string(record, "id", where),
        text=_string(record, "question", where),
        answers=_strings(record, "answers", where),
        supporting_ids=_strings(record, "supporting_ids", where),
        kind=_optional_string(record, "kind", where),
        namespace=_namespace(record, where),
        selection=_optional_string(record, "selection", where),
        answerable=_answerable(record, where),
    )


def passage_record(passage: Passage) -> dict[str, Any]:
    """The JSON object that `parse_passage` reads back; the time of writing is left to the store."""
    record: dict[str, Any] = {"id": passage.id, "text": passage.text}
    if passage.title:
        record["title"] = passage.title
    if passage.namespace:
        record["namespace"] = list(passage.namespace)
    if passage.links:
        record["links"] = [
            {"target": link.target, "kind": link.kind, "weight": link.weight}
            for link in passage.links
        ]
    for name in _TIMES:
        if (time := getattr(passage, name)) is not None:
            record[name] = time
    if any(key in _PASSAGE_FIELDS for key in passage.metadata):
        return {**record, "metadata": dict(passage.metadata)}
    return {**record, **passage.metadata}


def question_record(question: Question) -> dict[str, Any]:
    """The JSON object that `parse_question` reads back."""
    record = {
        "id": question.id,
        "question": question.text,
        "answers": list(question.answers),
        "supporting_ids": list(question.supporting_ids),
        "kind": question.kind,
        "namespace": list(question.namespace),
        "selection": question.selection,
    }
    fields = {key: value for key, value in record.items() if value}
    return fields if question.answerable else {**fields, "answerable": False}


def write_jsonl(path: str | Path, records: Iterable[Mapping[str, Any]]) -> int:
    """Write one object a line, in UTF-8, and return how many; the file appears whole or not at all.

    Args:
        path: The file; one that is there is replaced.
        records: The objects.

    Raises:
        FormatError: The file cannot be written.
    """
    count = 0
    with _whole(Path(path)) as file:
        for record in records:
            file.write(json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n")
            count += 1
    return count


def write_json(path: str | Path, value: Mapping[str, Any]) -> None:
    """Write one JSON object, in UTF-8; the file appears whole or not at all.

    Raises:
        FormatError: The file cannot be written.
    """
    with _whole(Path(path)) as file:
        json.dump(value, file, ensure_ascii=False, allow_nan=False, indent=1)
        file.write("\n")


def sha256_of(path: str | Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal.

    Raises:
        FormatError: The file cannot be read.
    """
    path = readable(path)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _whole(path: Path) -> Iterator[TextIO]:
    """A file to write that takes its place only once it is complete."""
    target = output_files.output_path(path)
    try:
        with output_files.scratch(target) as part:
            with part.open("w", encoding="utf-8", newline="\n") as file:
                yield file
            part.replace(target)
    except OSError as error:
        raise FormatError(f"{path} cannot be written: {error.strerror or error}") from error


def _unique(
    path: Path,
    parse: Callable[[Mapping[str, Any], str], _Item],
    key: Callable[[_Item], tuple[Namespace, str]],
) -> Iterator[_Item]:
    """What the lines hold, refusing a second line with the key of an earlier one."""
    seen: dict[tuple[Namespace, str], int] = {}
    for number, record in read_objects(path):
        item = parse(record, f"{path}, line {number}")
        namespace, name = key(item)
        first = seen.setdefault((namespace, name), number)
        if first != number:
            within = f" in namespace {'/'.join(namespace)}" if namespace else ""
            raise FormatError(
                f"{path}, line {number}: id {name!r} is already on line {first}{within}; "
                "every line needs an id of its own"
            )
        yield item


def read_objects(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Each line's number, from 1, and the JSON object on it."""
    for number, line in lines_of(path):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        record = _loaded(line, where)
        if not isinstance(record, dict):
            raise FormatError(f"{where}: a line must hold a JSON object, got {_shown(record)}")
        yield number, record


def _loaded(line: str, where: str) -> object:
    """The JSON value of a line; values that no other program would read back are refused."""
    try:
        value = json.loads(line, parse_constant=_refuse_constant, parse_float=_finite)
        if "\\u" in line:  # an escape may spell half of a character, which UTF-8 cannot hold
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except json.JSONDecodeError as error:
        raise FormatError(
            f"{where}: not valid JSON ({error.msg} at column {error.colno})"
        ) from error
    except UnicodeEncodeError as error:
        raise FormatError(f"{where}: holds half of a surrogate pair, not a character") from error
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{where}: not valid JSON ({error})") from error
    return value


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not a JSON number")


def _finite(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise ValueError(f"{digits[:40]} is too large for a number")
    return value


def _string(record: Mapping[str, Any], key: str, where: str) -> str:
    if key not in record:
        raise FormatError(f'{where}: "{key}" is missing')
    value = record[key]
    if not isinstance(value, str) or not value.strip():
        raise FormatError(
            f'{where}: "{key}" must be a string that is not empty, got {_shown(value)}'
        )
    if len(value) > MAX_TEXT:
        raise FormatError(
            f'{where}: "{key}" has {len(value):,} characters, and {MAX_TEXT:,} is the most that a '
            "passage takes: cut it, or give it as a file of text"
        )
    return value


def _optional_string(record: Mapping[str, Any], key: str, where: str) -> str | None:
    value = record.get(key)
    if value is not None and not isinstance(value, str):
        raise FormatError(f'{where}: "{key}" must be a string or null, got {_shown(value)}')
    return value if value and value.strip() else None


def _answerable(record: Mapping[str, Any], where: str) -> bool:
    value = record.get("answerable", True)
    if not isinstance(value, bool):
        raise FormatError(f'{where}: "answerable" must be true or false, got {_shown(value)}')
    return value


def _list(record: Mapping[str, Any], key: str, where: str) -> list[Any]:
    value = record.get(key)
    if value is None:
        return []
    if not isinstance(value, list | tuple):
        raise FormatError(f'{where}: "{key}" must be a list, got {_shown(value)}')
    return list(value)


def _strings(record: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
    values = _list(record, key, where)
    for value in values:
        if not isinstance(value, str) or not value.strip():
            raise FormatError(
                f'{where}: "{key}" must hold strings that are not empty, got {_shown(value)}'
            )
    return tuple(values)


def _namespace(record: Mapping[str, Any], where: str) -> Namespace:
    return _strings(record, "namespace", where)


def _link(item: object, where: str) -> Link:
    """A link from an id, or from an object with `target` (or `id`), `kind` and `weight`."""
    if isinstance(item, Link):
        return item
    if isinstance(item, str) and item.strip():
        return Link(item)
    if not isinstance(item, Mapping):
        raise FormatError(
            f'{where}: a link must be an id or an object with "target", got {_shown(item)}'
        )
    kind = _optional_string(item, "kind", f"{where}, in a link") or "link"
    weight = item.get("weight", 1.0)
    strength = finite(weight)
    if strength is None or not strength > 0:
        raise FormatError(
            f'{where}, in a link: "weight" must be a number above 0, got {_shown(weight)}'
        )
    target = _string(item, "target" if "target" in item else "id", f"{where}, in a link")
    return Link(target, kind, strength)


def _time(record: Mapping[str, Any], key: str, where: str) -> float | None:
    """Seconds since 1970, from these or from ISO 8601 text; an end of validity says its offset."""
    value = record.get(key)
    if value is None:
        return None
    try:
        parse = instant if key in _VALIDITY else seconds
        return parse(value, f'{where}: "{key}"')
    except InputError as error:
        raise FormatError(str(error)) from error


def _shown(value: object) -> str:
    """A value as it stands in the file, cut to a length that fits a message."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        text = shown(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
