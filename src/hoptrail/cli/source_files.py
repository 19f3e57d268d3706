"""What `hoptrail add` and `upsert` share: reading their sources, and saying what was read."""

from __future__ import annotations

import os
import sys
from collections import Counter
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from hoptrail.cli.printing import say
from hoptrail.errors import FormatError, InputError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from hoptrail.api.memory import Memory
    from hoptrail.formats.documents import Skipped, Sources
    from hoptrail.types import Namespace, Passage

NAMED = 20
"""Lines about files that were read, and that were skipped, on stderr; `--json` has them all."""
STDIN = "-"
"""The source that stands for the text on standard input."""


def read_command_sources(
    paths: Sequence[Path],
    *,
    texts: Sequence[str] | None = None,
    triples: bool = False,
    sync: bool = False,
    sequence: str | None = None,
) -> Sources:
    """What a command's sources hold; read before the store is opened, so that a bad file is named.

    Args:
        paths: Files and folders; `-` is the text on standard input.
        texts: Passages that stand on the command line itself.
        triples: The files are knowledge graphs.
        sync: The folders are read whole, even those that hold nothing.
        sequence: The field by which the passages of a corpus follow each other.

    Raises:
        InputError: There is nothing to write, or an option goes with other sources.
        FormatError: A file cannot be read.
    """
    from hoptrail.formats.documents import Sources
    from hoptrail.formats.jsonl import read_sources
    from hoptrail.formats.sequences import in_sequence
    from hoptrail.formats.triples import read_triples

    files = [path for path in paths if str(path) != STDIN]
    spoken = [*(texts or ()), *([_standard_input()] if len(files) < len(paths) else [])]
    if not files and not spoken:
        raise InputError("there is nothing to write: give a SOURCE, or --text TEXT")
    if triples:
        passages = [passage for file in files for passage in read_triples(file)]
        sources = Sources(passages=tuple(passages), read=tuple(map(str, files)))
    else:
        sources = read_sources(files, empty=sync)
    sources = replace(sources, passages=(*sources.passages, *map(_passage_of, spoken)))
    if not (sources.passages or sources.documents or sources.folders):
        places = ", ".join(map(str, files))
        raise InputError(f"{places}: no passage in it, so there is nothing to write")
    if sync and not sources.folders:
        raise InputError("--sync goes with a folder: give one among the sources")
    if sequence is not None:
        if not sources.passages:
            raise InputError(
                "--sequence goes with a corpus: the parts of a document follow each other anyhow"
            )
        linked = tuple(in_sequence(sources.passages, sequence))
        sources = replace(sources, passages=linked)
    return sources


def _standard_input() -> str:
    """All that stands on standard input."""
    stream = sys.stdin
    if stream is None:
        raise InputError("standard input is closed: there is no text to read for -")
    try:
        text = stream.buffer.read().decode("utf-8") if hasattr(stream, "buffer") else stream.read()
    except UnicodeDecodeError as error:
        raise FormatError(f"standard input is not UTF-8: {error}") from error
    if not text.strip():
        raise InputError("standard input holds no text")
    return text.strip()


def _passage_of(text: str) -> Passage:
    """A text that has no id: it is named by its content."""
    from hoptrail.memory.passages import cleaning
    from hoptrail.memory.passages.identity import content_id
    from hoptrail.types import Passage

    passage = cleaning.cleaned(Passage(id="(no id yet)", text=text))
    return replace(passage, id=content_id(passage))


def files_read(
    sources: Sources,
    memory: Memory,
    namespace: Namespace | None,
    *,
    written: Collection[str] | None = None,
    quiet: bool = False,
) -> dict[str, Any]:
    """What was read and what was skipped, as data; on stderr too, unless that is JSON's.

    Args:
        sources: What was read.
        memory: Where it was written.
        namespace: Where in it.
        written: The ids that were written, where the memory's own were passed over.
        quiet: Say nothing.
    """
    from hoptrail.formats.documents import Skipped, first_id
    from hoptrail.memory.passages import whole_documents

    with memory.store.reading() as connection:
        names = whole_documents.names(connection, namespace or ())
    skipped = list(sources.remarks())
    as_named = {os.path.realpath(file): file for file in sources.read}
    files = {
        document.name: as_named.get(os.path.realpath(document.place), document.place)
        for document in sources.documents
    }
    empty = [file for name, file in files.items() if name not in names]
    skipped += (Skipped(file, "it holds no text") for file in empty)
    if written is not None:
        skipped += (
            Skipped(files[document.name], "the memory has it: hoptrail upsert replaces it")
            for document in sources.documents
            if document.name in names and first_id(names[document.name]) not in written
        )
    read = [file for file in sources.read if file not in empty]
    if not quiet and (read or skipped):
        _say_files(read, skipped)
    return {"read": read, "skipped": [asdict(one) for one in skipped]}


def _say_files(read: Sequence[str], skipped: Sequence[Skipped]) -> None:
    """Name what was read and what was skipped, the first of each."""
    files = "1 file" if len(read) == 1 else f"{len(read)} files"
    lines = [f"{files} read, {len(skipped)} skipped"]
    lines += (f"read: {file}" for file in read[:NAMED])
    if len(read) > NAMED:
        lines.append(f"read: {len(read) - NAMED} more; --json names them all")
    lines += (f"skipped: {one.path}: {one.why}" for one in skipped[:NAMED])
    if rest := skipped[NAMED:]:
        reasons = Counter(one.why for one in rest).most_common()
        lines.append(
            f"skipped: {len(rest)} more ({', '.join(f'{count} {why}' for why, count in reasons)}); "
            "--json names them all"
        )
    say(*lines, stream=sys.stderr)
