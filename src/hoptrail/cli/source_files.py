"""What `hoptrail add` and `upsert` share: reading their sources, and saying what was read."""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from hoptrail.cli.options import say
from hoptrail.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from hoptrail.api.memory import Memory
    from hoptrail.formats.documents import Skipped, Sources

NAMED = 20
"""Lines about files that were read, and that were skipped, on stderr; `--json` has them all."""


def read(args: argparse.Namespace) -> Sources:
    """What the command's sources hold, read before the store is opened."""
    from hoptrail.formats.documents import Sources
    from hoptrail.formats.jsonl import read_sources
    from hoptrail.formats.sequences import in_sequence
    from hoptrail.formats.triples import read_triples

    given = vars(args)
    if given.get("triples"):
        passages = [passage for source in args.sources for passage in read_triples(source)]
        sources = Sources(passages=tuple(passages), read=tuple(map(str, args.sources)))
    else:
        sources = read_sources(args.sources, empty=bool(given.get("sync")))
    if not (sources.passages or sources.documents or sources.folders):
        places = ", ".join(map(str, args.sources))
        raise InputError(f"{places}: no passage in it, so there is nothing to write")
    if given.get("sync") and not sources.folders:
        raise InputError("--sync goes with a folder: give one among the sources")
    if given.get("sequence") is not None:
        if not sources.passages:
            raise InputError(
                "--sequence goes with a corpus: the parts of a document follow each other anyhow"
            )
        linked = tuple(in_sequence(sources.passages, args.sequence))
        sources = replace(sources, passages=linked)
    return sources


def reading(
    args: argparse.Namespace, sources: Sources, memory: Memory, written: Collection[str] = ()
) -> dict[str, Any]:
    """What was read and what was skipped, as data; on stderr too, unless that is JSON's.

    Args:
        args: The command's.
        sources: What was read.
        memory: Where it was written.
        written: The ids that `add` has written.
    """
    from hoptrail.formats.documents import Skipped, first_id
    from hoptrail.memory.passages import whole_documents

    with memory.store.reading() as connection:
        names = whole_documents.names(connection, args.namespace or ())
    skipped = list(sources.remarks())
    as_given = {os.path.realpath(file): file for file in sources.read}
    files = {
        document.name: as_given.get(os.path.realpath(document.place), document.place)
        for document in sources.documents
    }
    empty = [file for name, file in files.items() if name not in names]
    skipped += (Skipped(file, "it holds no text") for file in empty)
    if vars(args).get("on_duplicate") == "skip":
        new = set(written)
        skipped += (
            Skipped(files[document.name], "the memory has it: hoptrail upsert replaces it")
            for document in sources.documents
            if document.name in names and first_id(names[document.name]) not in new
        )
    read = [file for file in sources.read if file not in empty]
    if not args.json:
        _say(read, skipped)
    return {"read": read, "skipped": [asdict(one) for one in skipped]}


def _say(read: Sequence[str], skipped: Sequence[Skipped]) -> None:
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
