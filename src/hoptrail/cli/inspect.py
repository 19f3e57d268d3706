"""The commands that tell of a memory without asking it anything: info, history."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from hoptrail.cli.options import (
    Commands,
    changing_line,
    command,
    counted,
    json_option,
    name_of,
    open_memory,
    print_json,
    say,
    store_option,
)
from hoptrail.outputs.printable import namespace_text

if TYPE_CHECKING:
    from hoptrail.memory.passages.usage import History

_YEAR_10000 = 253402300800.0
"""In seconds since 1970; no calendar of Python's goes so far."""


def register(commands: Commands) -> None:
    """Add the commands to the program's parser."""
    parser = command(
        commands,
        "info",
        info,
        description="Say what a memory holds: passages by namespace, bytes, its encoder, and how "
        "much of it was ever recalled.",
        examples="hoptrail info --store agent.db\nhoptrail info --store agent.db --namespace team",
    )
    store_option(parser)
    json_option(parser)
    parser = command(
        commands,
        "history",
        history,
        description="Say where passages come from, when they were written, and how often and when "
        "they were recalled.",
        examples="hoptrail history --store agent.db marie-curie",
    )
    store_option(parser)
    parser.add_argument("ids", nargs="+", metavar="ID")
    json_option(parser)


def info(args: argparse.Namespace) -> int:
    """Say what a memory holds."""
    from hoptrail.memory.passages import usage, vector_rows
    from hoptrail.memory.storage import store_info
    from hoptrail.memory.storage.namespaces import Scope

    scope = args.namespace or ()
    with open_memory(args, read_only=True) as memory:
        spaces: dict[str, int] = {}
        recalls = recalled = 0
        for entry in usage.histories(memory.store, scope):
            space = namespace_text(entry.namespace)
            spaces[space] = spaces.get(space, 0) + 1
            recalls += entry.counts.recalls
            recalled += entry.counts.recalls > 0
        with memory.store.reading() as connection:
            encoder = store_info.get(connection, "encoder")
            split = vector_rows.split_passages(connection, Scope.parse(scope))
            language = store_info.language(connection)
        change = memory.encoder_change()
        found: dict[str, Any] = {
            "passages": sum(spaces.values()),
            "namespaces": spaces,
            "split_passages": split,
            "recalls": recalls,
            "ever_recalled": recalled,
            "encoder": encoder,
            "encoder_change": asdict(change) if change else None,
            "language": language,
            "version": memory.store.version,
            "bytes": args.store.stat().st_size,
        }
    if args.json:
        print_json(found)
        return 0
    lines = [
        f"{args.store}: {counted(found['passages'], 'passage')}, {found['bytes']:,} bytes, "
        f"version {found['version']}, encoder {encoder or 'none yet'}, language {language}",
        f"{split} longer than the encoder's window, with a vector for each part",
        f"{recalled} were recalled, {counted(recalls, 'time')} in all",
        *([changing_line(change)] if change else []),
        *(f"  {space or '(root)'}: {count}" for space, count in spaces.items()),
    ]
    say(*lines)
    return 0


def history(args: argparse.Namespace) -> int:
    """Say where passages come from."""
    with open_memory(args, read_only=True) as memory:
        found = [memory.history(id_, args.namespace or ()) for id_ in args.ids]
    if args.json:
        print_json([asdict(entry) for entry in found])
    else:
        say(*(line for entry in found for line in _lines(entry)))
    return 0


def _lines(entry: History) -> list[str]:
    counts = entry.counts
    added = _time(counts.added_at) if counts.added_at else "at a time that is not on record"
    lines = [
        f"[{name_of(entry.namespace, entry.id)}]",
        f"  added {added}, last written {_time(entry.written_at)}, "
        f"changed {counted(counts.updates, 'time')}",
        f"  recalled {counted(counts.recalls, 'time')}"
        + (f", last {_time(counts.recalled_at)}" if counts.recalled_at else ""),
    ]
    if entry.source:
        lines.append(f"  from {entry.source}")
    if entry.merged_from:
        lines.append(f"  keeps {', '.join(entry.merged_from)}")
    return lines


def _time(seconds: float) -> str:
    if not 0 <= seconds < _YEAR_10000:
        return f"{seconds:g} seconds after 1970"
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
