"""A store as JSON lines, and back, without loss.

The first line says what the file is; each that follows is a passage with all its fields. Vectors
are made again on import, unless the file carries them and the store's encoder is the one that made
them.
"""

from __future__ import annotations

import base64
import json
import os
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np

from hoptrail.errors import FormatError, InputError
from hoptrail.formats.jsonl import parse_passage, read_objects
from hoptrail.memory.analysis import analyzer
from hoptrail.memory.analysis.analyzer import ENGLISH
from hoptrail.memory.encoders.transformer import Encoder, Vectors
from hoptrail.memory.encoders.vectors import sound
from hoptrail.memory.passages import provenance, usage
from hoptrail.memory.passages.batches import Key, OnDuplicate
from hoptrail.memory.passages.provenance import Merged
from hoptrail.memory.passages.usage import Counts
from hoptrail.memory.storage import records, store_info
from hoptrail.memory.storage.namespaces import Scope, ScopeLike, encode_namespace
from hoptrail.memory.storage.validity import EVER
from hoptrail.memory.store import Store
from hoptrail.outputs import output_files
from hoptrail.types import Passage
from hoptrail.values.flags import check_function, flag
from hoptrail.values.progress import Progress
from hoptrail.values.strings import check_choice

FORMAT = 1
"""Of the lines; a file of a later one is refused."""

_FIELDS = {"id", "text", "metadata", "namespace", "links"}


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import wrote."""

    ids: list[str]
    encoded: int
    """Passages whose vectors the file did not carry."""


def export(
    store: Store, path: str | Path, *, namespace: ScopeLike = (), vectors: bool = False
) -> int:
    """Write the scope's passages to a file of JSON lines, of one state of the store; how many.

    They are written whether they are valid now or not.

    Args:
        store: What to read.
        path: The file; one that is there is replaced when the new one is whole.
        namespace: The scope.
        vectors: Carry the vectors too: some 2 kB a passage, and nothing is encoded on import.

    Raises:
        FormatError: The file cannot be written.
    """
    vectors, scope = flag(vectors, "vectors"), Scope.parse(namespace).at(EVER)
    target = output_files.output_path(path)
    with store.reading():  # a store that is not there any more is no fault of the target's
        pass
    count = 0
    try:
        store.recorder.flush(wait=False)
        with (
            output_files.scratch(target, store.database.path) as part,
            part.open("w", encoding="utf-8") as file,
            store.reading() as connection,
        ):
            header = {
                "hoptrail": FORMAT,
                "encoder": store_info.get(connection, "encoder"),
                "language": store_info.language(connection),
            }
            file.write(json.dumps(header) + "\n")
            # A transaction is open: however long it takes, all is read from one state.
            for passage in store.passages(scope):
                record = record_of(passage)
                counts = usage.counts_record(connection, passage)
                if counts:
                    record["counts"] = counts
                if merged := provenance.of_key(
                    connection, encode_namespace(passage.namespace), passage.id
                ):
                    record["merged"] = [asdict(entry) for entry in merged]
                if vectors:
                    record["vector"] = _vector_text(connection, passage)
                file.write(json.dumps(record, ensure_ascii=False) + "\n")
                count += 1
            file.flush()
            os.fsync(file.fileno())
            os.replace(part, target)
    except OSError as error:
        raise FormatError(f"{path} cannot be written: {error}") from error
    return count


def import_file(
    store: Store,
    path: str | Path,
    *,
    on_duplicate: OnDuplicate = "error",
    encoder: Encoder | None = None,
    progress: Progress | None = None,
) -> Imported:
    """Write the passages of an exported file, all of them or none, with their times.

    What has expired since the export is left out. A new store takes over the language.

    Args:
        store: Where they go.
        path: As `export` wrote it.
        on_duplicate: As for `Store.add`.
        encoder: What makes the vectors that the file lacks; the store's own by default.
        progress: Called with (texts encoded, texts in all).

    Raises:
        FormatError: A line cannot be read; the message names it.
        DuplicateId: An id is taken and `on_duplicate` is "error".
        EncoderMissing: Vectors must be made and there is no encoder.
        EncoderMismatch: The store's vectors are another encoder's.
    """
    check_function(progress, "progress")
    check_choice(on_duplicate, get_args(OnDuplicate), "on_duplicate")
    source = Path(path)
    lines = read_objects(source)
    language, made_by = _header(source, lines)
    encoder = store.encoder if encoder is None else encoder
    usable = encoder is None or store_info.describe_encoder(encoder) == made_by
    passages: list[Passage] = []
    vectors: dict[Key, Vectors] = {}
    counts: dict[Key, Counts] = {}
    merged: dict[Key, tuple[Merged, ...]] = {}
    now = store.clock()
    for number, record in lines:
        where = f"{source}, line {number}"
        passage = passage_of(record, where)
        if passage.expires_at is not None and passage.expires_at <= now:
            continue
        passages.append(passage)
        if usable and record.get("vector") is not None:
            vectors[passage.namespace, passage.id] = _vector_of(record, where, made_by)
        if record.get("counts") is not None:
            counts[passage.namespace, passage.id] = usage.counts_of(record["counts"], where)
        if record.get("merged") is not None:
            merged[passage.namespace, passage.id] = provenance.parse_merged(record["merged"], where)
    store.take_language(language)
    ids = store.restore(
        passages,
        vectors,
        counts=counts,
        merged=merged,
        made_by=made_by,
        on_duplicate=on_duplicate,
        encoder=encoder,
        progress=progress,
    )
    return Imported(ids, len(passages) - len(vectors))


def _header(source: Path, lines: Iterator[tuple[int, Mapping[str, Any]]]) -> tuple[str, str | None]:
    """The language and the encoder that the first line of an export names.

    Raises:
        FormatError: It is no such line.
    """
    try:
        header = next(lines, (0, {}))[1]
    except OSError as error:
        raise FormatError(f"{source} cannot be read: {error.strerror or error}") from error
    if header.get("hoptrail") != FORMAT:
        raise FormatError(
            f'{source}, line 1: an export begins with {{"hoptrail": {FORMAT}}}, this does not '
            "(a corpus of passages is read by hoptrail add)"
        )
    language = header.get("language", ENGLISH)
    if language not in analyzer.LANGUAGES:
        raise FormatError(f"{source}, line 1: there is no stemmer for the language {language!r}")
    made_by = header.get("encoder")
    if not isinstance(made_by, str | None):
        raise FormatError(f"{source}, line 1: the encoder should be named, got {made_by!r}")
    return language, made_by


def record_of(passage: Passage) -> dict[str, Any]:
    """A passage with all its fields, as JSON values.

    Args:
        passage: Any.
    """
    return {
        "id": passage.id,
        "text": passage.text,
        "title": passage.title,
        "namespace": list(passage.namespace),
        "metadata": dict(passage.metadata),
        "links": [{"target": x.target, "kind": x.kind, "weight": x.weight} for x in passage.links],
        "written_at": passage.written_at,
        "expires_at": passage.expires_at,
        "document": passage.document,
        "valid_from": passage.valid_from,
        "valid_until": passage.valid_until,
    }


def passage_of(record: Mapping[str, Any], where: str) -> Passage:
    """The passage that `record_of` wrote; `where` opens the message of an error.

    Args:
        record: A line of the file.
        where: Opens the message of an error.

    Raises:
        FormatError: A field is missing or of another type.
    """
    fields = {key: record[key] for key in _FIELDS & record.keys()}
    passage = replace(
        parse_passage(fields, where),
        title=record.get("title"),  # also an empty one
        written_at=record.get("written_at", 0.0),
        expires_at=record.get("expires_at"),
        document=record.get("document"),
        valid_from=record.get("valid_from"),
        valid_until=record.get("valid_until"),
    )
    try:
        records.check_passage(passage)
        records.check_time(passage.written_at, "written_at")
    except InputError as error:
        raise FormatError(f"{where}: {error}") from error
    return passage


def _vector_text(connection: sqlite3.Connection, passage: Passage) -> str:
    row = connection.execute(
        "SELECT v.vector FROM passages p JOIN vectors v ON v.passage = p.rowid "
        "WHERE p.namespace = ? AND p.id = ?",
        (encode_namespace(passage.namespace), passage.id),
    ).fetchone()
    return base64.b64encode(row[0]).decode()


def _vector_of(record: Mapping[str, Any], where: str, made_by: object) -> Vectors:
    """The vectors that a line carries, `(m, d)`: of the whole, and of each window."""
    width = store_info.width(str(made_by))
    try:
        vector = np.frombuffer(base64.b64decode(record["vector"], validate=True), dtype="<f4")
    except (TypeError, ValueError) as error:  # binascii's is one
        raise FormatError(f"{where}: the vector is no base64 of 32-bit floats") from error
    if not width or not len(vector) or len(vector) % width:
        raise FormatError(
            f"{where}: the vector must be {width} numbers, as {made_by} makes them, or as many for "
            f"each window of a long text, got {len(vector)}"
        )
    rows = vector.reshape(-1, width)
    if not sound(rows):
        raise FormatError(f"{where}: the vector must be finite and of length 1")
    return rows.astype(np.float32)
