"""The commands that look after a memory's file: purge, verify, repair, backup, export, import."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from hoptrail.cli.arguments import number_argument, path_argument
from hoptrail.cli.options import (
    Commands,
    changing_line,
    command,
    counted,
    duplicate_line,
    encoder_option,
    file_option,
    json_option,
    name_of,
    near_option,
    new_memory,
    open_memory,
    print_json,
    readable,
    say,
    store_option,
    writable,
)

SOUND, UNSOUND = 0, 1


def register(commands: Commands) -> None:
    """Add the commands to the program's parser."""
    parser = command(
        commands,
        "purge",
        purge,
        description="Erase the bytes of what was deleted. The file is rewritten, its log emptied, "
        "index files removed (they come again by themselves), and the vectors of deleted texts "
        "leave the vector cache. Backups and exports are yours to erase.",
        examples="hoptrail purge --store agent.db\nhoptrail purge --store agent.db --whole-cache",
    )
    file_option(parser)
    parser.add_argument(
        "--whole-cache",
        action="store_true",
        help="leave in the vector cache nothing but what this memory holds; what other memories "
        "had there is encoded again when they need it",
    )
    json_option(parser)
    parser = command(
        commands,
        "verify",
        verify,
        description="Check a memory's file. Looks at SQLite's own structures, references, "
        "passages, vectors, index files, and at the graph against one built anew; exit code 1 if "
        "something is wrong. Nothing is changed.",
        examples="hoptrail verify --store agent.db\nhoptrail verify --store agent.db --json",
    )
    file_option(parser)
    json_option(parser)
    parser = command(
        commands,
        "repair",
        repair,
        description="Build anew what is derived and wrong. Vectors, indexes and the graph follow "
        "from the passages; damaged passages need a backup.",
        examples="hoptrail repair --store agent.db",
    )
    file_option(parser)
    encoder_option(parser)
    json_option(parser)
    parser = command(
        commands,
        "backup",
        backup,
        description="Copy a memory to a new file while others use it. The copy is a memory.",
        examples="hoptrail backup --store agent.db agent-2026-01-31.db",
    )
    file_option(parser)
    parser.add_argument(
        "file", type=path_argument, metavar="FILE", help="where to; it must not exist"
    )
    json_option(parser)
    _register_audit(commands)
    _register_export(commands)
    _register_import(commands)


def _register_audit(commands: Commands) -> None:
    parser = command(
        commands,
        "audit",
        audit,
        description="Say what a memory holds that nobody may miss. Exact and near duplicates, "
        "orphans that no link, mention or entity joins to the rest, passages that were neither "
        "written nor recalled for long, and links that lead nowhere; with --json also the passages "
        "that were never recalled. Nothing is changed.",
        examples="""
hoptrail audit --store agent.db
hoptrail audit --store agent.db --namespace team --near 0.95 --stale-days 90 --json""",
    )
    store_option(parser)
    near_option(parser)
    parser.add_argument(
        "--stale-days",
        type=number_argument,
        default=365.0,
        metavar="DAYS",
        help="after which a passage is stale (default: 365)",
    )
    json_option(parser)


def _register_export(commands: Commands) -> None:
    parser = command(
        commands,
        "export",
        export,
        description="Write passages to a file of JSON lines, without loss. `hoptrail import` reads "
        "it back: ids, namespaces, texts, titles, metadata, links and times.",
        examples="""
hoptrail export --store agent.db agent.jsonl
hoptrail export --store agent.db --namespace team/ann --vectors ann.jsonl""",
    )
    store_option(parser)
    parser.add_argument(
        "--vectors", action="store_true", help="carry the vectors, so that import encodes nothing"
    )
    parser.add_argument(
        "file", type=path_argument, metavar="FILE", help="where to; replaced if it exists"
    )
    json_option(parser)


def _register_import(commands: Commands) -> None:
    parser = command(
        commands,
        "import",
        import_,
        description="Write the passages of an exported file to a memory. All of them are written, "
        "or none; what has expired since is left out.",
        examples="hoptrail import --store new.db agent.jsonl",
    )
    file_option(parser)
    encoder_option(parser)
    parser.add_argument(
        "--on-duplicate",
        choices=("error", "replace", "skip"),
        default="error",
        help="what to do with an id that is taken (default: error, and nothing is written)",
    )
    parser.add_argument(
        "file", type=path_argument, metavar="FILE", help="what `hoptrail export` wrote"
    )
    json_option(parser)


def purge(args: argparse.Namespace) -> int:
    """Erase what was deleted."""
    with open_memory(args) as memory:
        done = memory.purge(whole_cache=args.whole_cache)
    if args.json:
        print_json(asdict(done))
    else:
        say(
            f"{done.contents} deleted contents erased from {args.store}, {done.cached_vectors} "
            f"vectors from the cache, {done.snapshots} index files removed; "
            f"{done.bytes_before:,} bytes before, {done.bytes_after:,} now"
        )
        if done.unrecorded:
            say(
                "what was deleted by the first version of hoptrail is not on record: purge "
                "--whole-cache erases its vectors"
            )
    return 0


def verify(args: argparse.Namespace) -> int:
    """Check a file."""
    with open_memory(args, read_only=True) as memory:
        problems = memory.verify()
        count = memory.count()
        change = memory.encoder_change()
    if args.json:
        found = {"problems": [asdict(p) for p in problems], "count": count}
        print_json({**found, "encoder_change": asdict(change) if change else None})
    else:
        lines = [f"{p.what}: {p.message}" for p in problems]
        if not problems:
            lines = [f"{args.store} is sound: {counted(count, 'passage')}"]
        elif all(problem.derived for problem in problems):
            lines.append("all of it can be built anew: hoptrail repair")
        else:
            lines.append("not all of it can be built anew: restore a backup")
        lines += [changing_line(change)] if change else []
        say(*lines)
    return UNSOUND if problems else SOUND


def repair(args: argparse.Namespace) -> int:
    """Build anew what is derived."""
    with open_memory(args) as memory:
        done = memory.repair()
        left = memory.verify()
    if args.json:
        print_json({"done": done, "problems": [asdict(p) for p in left]})
    else:
        lines = done or ["nothing was wrong that could be built anew"]
        lines += [f"still wrong: {p.what}: {p.message}" for p in left]
        say(*lines)
    return UNSOUND if left else SOUND


def backup(args: argparse.Namespace) -> int:
    """Copy a memory."""
    with open_memory(args, read_only=True) as memory:
        path = memory.backup(args.file)
    size = path.stat().st_size
    if args.json:
        print_json({"file": str(args.file), "bytes": size})
    else:
        say(f"{args.store} copied to {args.file} ({size:,} bytes)")
    return 0


def audit(args: argparse.Namespace) -> int:
    """Say what nobody may miss."""
    with open_memory(args) as memory:
        found = memory.audit(
            namespace=args.namespace or (),
            similarity_threshold=args.near,
            stale_days=args.stale_days,
        )
    if args.json:
        print_json(asdict(found))
        return 0
    lines = [
        f"{counted(found.passages, 'passage')}, {found.expiring} of them with a time to go, "
        f"{len(found.never_recalled)} never recalled"
    ]
    lines += map(duplicate_line, found.duplicates)
    lines += [f"orphan: {name_of(*key)}" for key in found.orphans]
    lines += [f"stale: {name_of(*key)}" for key in found.stale]
    lines += [
        f"dangling: {name_of(space, source)} links to {target}, which is not there"
        for space, source, target in found.dangling
    ]
    say(*lines)
    return 0


def export(args: argparse.Namespace) -> int:
    """Write passages to a file."""
    writable(args.file)
    with open_memory(args, read_only=True) as memory:
        count = memory.export(args.file, namespace=args.namespace or (), vectors=args.vectors)
    if args.json:
        print_json({"file": str(args.file), "exported": count})
    else:
        say(f"{counted(count, 'passage')} exported to {args.file}")
    return 0


def import_(args: argparse.Namespace) -> int:
    """Read passages from a file."""
    from hoptrail.cli.output import Steps

    readable(args.file)
    with new_memory(args) as memory, Steps() as steps:
        done = memory.import_file(
            args.file, on_duplicate=args.on_duplicate, progress=steps.stage("encoding")
        )
        total = memory.count()
    if args.json:
        print_json({"imported": done.ids, "encoded": done.encoded, "count": total})
    else:
        say(f"{counted(len(done.ids), 'passage')} imported to {args.store}; it holds {total} now")
    return 0
