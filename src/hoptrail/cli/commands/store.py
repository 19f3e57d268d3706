"""The commands that look after a memory's file: info, verify, repair, backup, export and others."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from hoptrail.cli.app import EVERY_DAY, KEEPING, add_group, app, command
from hoptrail.cli.locations import path_argument
from hoptrail.cli.opening import check_readable, check_writable, new_memory, open_memory
from hoptrail.cli.options import (
    EncoderOption,
    IdsArgument,
    JsonFlag,
    NamespaceOption,
    NearOption,
    OnDuplicateOption,
    StoreOption,
    argument,
    number_argument,
    option,
    toggle,
)
from hoptrail.cli.printing import (
    changing_line,
    counted,
    duplicate_line,
    passage_name,
    print_json,
    say,
)
from hoptrail.outputs.printable import namespace_text, utc_text, validity_text

if TYPE_CHECKING:
    from hoptrail.api.memory import Memory
    from hoptrail.memory.passages.usage import History
    from hoptrail.types import Namespace

SOUND, UNSOUND = 0, 1

store_commands = add_group(
    "store",
    "Look after a memory's file: what it holds, whether it is sound, copies of it.",
    examples="""
store info --store agent.db
store verify --store agent.db
store backup --store agent.db agent-2026-01-31.db""",
    panel=KEEPING,
)


@command(
    store_commands,
    "info",
    examples="""
store info --store agent.db
store info --store agent.db --namespace team --json""",
)
def show_info(store: StoreOption, namespace: NamespaceOption = None, json: JsonFlag = False) -> int:
    """Say what a memory holds.

    Passages by namespace, bytes, its encoder, and how much of it was ever recalled.
    """
    from hoptrail.memory.passages import vector_rows
    from hoptrail.memory.storage import store_info
    from hoptrail.memory.storage.namespaces import Scope

    scope = namespace or ()
    with open_memory(store, read_only=True) as memory:
        spaces, recalls, recalled = _counts(memory, scope)
        with memory.store.reading() as connection:
            encoder = store_info.get(connection, "encoder")
            split = vector_rows.split_passages(connection, Scope.parse(scope))
            language = store_info.language(connection)
        change = memory.encoder_change()
        figures: dict[str, Any] = {
            "passages": sum(spaces.values()),
            "namespaces": spaces,
            "split_passages": split,
            "recalls": recalls,
            "ever_recalled": recalled,
            "encoder": encoder,
            "encoder_change": asdict(change) if change else None,
            "language": language,
            "version": memory.store.version,
            "bytes": memory.store.path.stat().st_size,
        }
    if json:
        print_json(figures)
        return 0
    lines = [
        f"{store}: {counted(figures['passages'], 'passage')}, {figures['bytes']:,} bytes, "
        f"version {figures['version']}, encoder {encoder or 'none yet'}, language {language}",
        f"{split} longer than the encoder's window, with a vector for each part",
        f"{recalled} were recalled, {counted(recalls, 'time')} in all",
        *([changing_line(change)] if change else []),
        *(f"  {space or '(root)'}: {count}" for space, count in spaces.items()),
    ]
    say(*lines)
    return 0


def _counts(memory: Memory, scope: Namespace) -> tuple[dict[str, int], int, int]:
    """Passages by namespace, how often any was recalled, and how many were."""
    from hoptrail.memory.passages import usage

    spaces: dict[str, int] = {}
    recalls = recalled = 0
    for entry in usage.histories(memory.store, scope):
        space = namespace_text(entry.namespace)
        spaces[space] = spaces.get(space, 0) + 1
        recalls += entry.counts.recalls
        recalled += entry.counts.recalls > 0
    return spaces, recalls, recalled


@command(store_commands, "history", examples="store history --store agent.db marie-curie")
def show_history(
    store: StoreOption,
    ids: IdsArgument,
    namespace: NamespaceOption = None,
    json: JsonFlag = False,
) -> int:
    """Say where passages come from, and what they said before.

    When they were written, how often and when they were recalled, and what took whose place.
    """
    from hoptrail.formats.jsonl import passage_record

    with open_memory(store, read_only=True) as memory:
        entries = [memory.history(id_, namespace or ()) for id_ in ids]
    if json:
        records = [
            {
                **asdict(replace(entry, chain=())),
                "chain": [passage_record(passage) for passage in entry.chain],
            }
            for entry in entries
        ]
        print_json(records)
    else:
        say(*(line for entry in entries for line in _history_lines(entry)))
    return 0


def _history_lines(entry: History) -> list[str]:
    counts = entry.counts
    added = utc_text(counts.added_at) if counts.added_at else "at a time that is not on record"
    lines = [
        f"[{passage_name(entry.namespace, entry.id)}]",
        f"  added {added}, last written {utc_text(entry.written_at)}, "
        f"changed {counted(counts.updates, 'time')}",
        f"  recalled {counted(counts.recalls, 'time')}"
        + (f", last {utc_text(counts.recalled_at)}" if counts.recalled_at else ""),
    ]
    if entry.source:
        lines.append(f"  from {entry.source}")
    if entry.merged_from:
        lines.append(f"  keeps {', '.join(entry.merged_from)}")
    intervals = [validity_text(p.valid_from, p.valid_until) for p in entry.chain]
    if len(intervals) > 1 or any(intervals):
        for passage, interval in zip(entry.chain, intervals, strict=True):
            lines.append(f"  {passage.id}, {interval or 'always valid'}: {passage.text}")
    return lines


@command(
    store_commands,
    "audit",
    examples="""
store audit --store agent.db
store audit --store agent.db --namespace team --near 0.95 --stale-days 90""",
)
def audit_memory(
    store: StoreOption,
    namespace: NamespaceOption = None,
    near: NearOption = None,
    stale_days: Annotated[
        float,
        option(
            "--stale-days",
            parser=number_argument,
            metavar="DAYS",
            help="after which a passage is stale (default: 365)",
        ),
    ] = 365.0,
    json: JsonFlag = False,
) -> int:
    """Say what a memory holds that nobody may miss.

    Exact and near duplicates, orphans that no link, mention or entity joins to the rest, passages
    that were neither written nor recalled for long, and links that lead nowhere; with --json also
    the passages that were never recalled. Nothing is changed.
    """
    with open_memory(store) as memory:
        report = memory.audit(
            namespace=namespace or (), similarity_threshold=near, stale_days=stale_days
        )
    if json:
        print_json(asdict(report))
        return 0
    lines = [
        f"{counted(report.passages, 'passage')}, {report.expiring} of them with a time to go, "
        f"{len(report.never_recalled)} never recalled"
    ]
    lines += map(duplicate_line, report.duplicates)
    lines += [f"orphan: {passage_name(*key)}" for key in report.orphans]
    lines += [f"stale: {passage_name(*key)}" for key in report.stale]
    lines += [
        f"dangling: {passage_name(space, source)} links to {target}, which is not there"
        for space, source, target in report.dangling
    ]
    say(*lines)
    return 0


@command(
    store_commands,
    "dedup",
    examples="""
store dedup --store agent.db
store dedup --store agent.db --namespace team --near 0.99 --apply""",
)
def merge_duplicates(
    store: StoreOption,
    namespace: NamespaceOption = None,
    near: NearOption = None,
    apply: Annotated[bool, toggle("--apply", "do it")] = False,
    json: JsonFlag = False,
) -> int:
    """Merge passages that say the same into the first of them.

    What goes is told by the history of what stays, and links to it are turned. Without --apply
    nothing is changed: it only says what would be.
    """
    with open_memory(store, read_only=not apply) as memory:
        report = memory.merge_duplicates(
            namespace=namespace or (), similarity_threshold=near, dry_run=not apply
        )
        total = memory.count()
    if json:
        print_json({**asdict(report), "passages": report.passages, "count": total})
        return 0
    verb = "merged into" if report.done else "would go into"
    lines = [
        f"{passage_name(merge.namespace, one.id)} {verb} "
        f"{passage_name(merge.namespace, merge.keeper)} "
        f"({'the same text' if one.exact else f'cosine {one.cosine:.3f}'})"
        for merge in report.merges
        for one in merge.merged
    ]
    tail = f"; {store} holds {total} now" if report.done else ""
    hint = ": --apply does it" if report.merges and not report.done else ""
    lines.append(
        f"{report.passages} of {total + report.passages * report.done} passages{tail}{hint}"
    )
    say(*lines)
    return 0


@command(
    store_commands,
    "verify",
    examples="""
store verify --store agent.db
store verify --store agent.db --json""",
)
def verify_store(store: StoreOption, json: JsonFlag = False) -> int:
    """Check a memory's file.

    Looks at SQLite's own structures, references, passages, vectors, index files, and at the graph
    against one built anew; exit code 1 if something is wrong. Nothing is changed.
    """
    with open_memory(store, read_only=True) as memory:
        problems = memory.verify()
        count = memory.count()
        change = memory.encoder_change()
    if json:
        report = {"problems": [asdict(p) for p in problems], "count": count}
        print_json({**report, "encoder_change": asdict(change) if change else None})
    else:
        lines = [f"{p.what}: {p.message}" for p in problems]
        if not problems:
            lines = [f"{store} is sound: {counted(count, 'passage')}"]
        elif all(problem.derived for problem in problems):
            lines.append("all of it can be built anew: hoptrail store repair")
        else:
            lines.append("not all of it can be built anew: restore a backup")
        lines += [changing_line(change)] if change else []
        say(*lines)
    return UNSOUND if problems else SOUND


@command(store_commands, "repair", examples="store repair --store agent.db")
def repair_store(store: StoreOption, encoder: EncoderOption = None, json: JsonFlag = False) -> int:
    """Build anew what is derived and wrong.

    Vectors, indexes and the graph follow from the passages; damaged passages need a backup.
    """
    with open_memory(store, encoder=encoder) as memory:
        repairs = memory.repair()
    with open_memory(store, read_only=True) as memory:  # a replica may have been given up
        problems = memory.verify()
    if json:
        print_json({"done": repairs, "problems": [asdict(p) for p in problems]})
    else:
        lines = repairs or ["nothing was wrong that could be built anew"]
        lines += [f"still wrong: {p.what}: {p.message}" for p in problems]
        say(*lines)
    return UNSOUND if problems else SOUND


@command(
    store_commands,
    "purge",
    examples="""
store purge --store agent.db
store purge --store agent.db --whole-cache""",
)
def purge_store(
    store: StoreOption,
    whole_cache: Annotated[
        bool,
        toggle(
            "--whole-cache",
            "leave in the vector cache nothing but what this memory holds; what other memories "
            "had there is encoded again when they need it",
        ),
    ] = False,
    json: JsonFlag = False,
) -> int:
    """Erase the bytes of what was deleted.

    The file is rewritten, its log emptied, index files removed (they come again by themselves), and
    the vectors of deleted texts leave the vector cache. Backups and exports are yours to erase. On
    a server the tables are rewritten, and other hosts erase their copies when they next use it.
    """
    with open_memory(store) as memory:
        done = memory.purge(whole_cache=whole_cache)
    if json:
        print_json(asdict(done))
        return 0
    say(
        f"{done.contents} deleted contents erased from {store}, {done.cached_vectors} "
        f"vectors from the cache, {done.snapshots} index files removed; "
        f"{done.bytes_before:,} bytes before, {done.bytes_after:,} now"
    )
    if done.unrecorded:
        say(
            "what was deleted by the first version of hoptrail is not on record: store purge "
            "--whole-cache erases its vectors"
        )
    return 0


@command(store_commands, "backup", examples="store backup --store agent.db agent-2026-01-31.db")
def backup_store(
    store: StoreOption,
    file: Annotated[Path, argument("FILE", "where to; it must not exist", path_argument)],
    json: JsonFlag = False,
) -> int:
    """Copy a memory to a new file while others use it.

    The copy is a memory.
    """
    with open_memory(store, read_only=True) as memory:
        path = memory.backup(file)
    size = path.stat().st_size
    if json:
        print_json({"file": str(file), "bytes": size})
    else:
        say(f"{store} copied to {file} ({size:,} bytes)")
    return 0


@command(
    store_commands,
    "export",
    examples="""
store export --store agent.db agent.jsonl
store export --store agent.db --namespace team/ann --vectors ann.jsonl""",
)
def export_passages(
    store: StoreOption,
    file: Annotated[Path, argument("FILE", "where to; replaced if it exists", path_argument)],
    namespace: NamespaceOption = None,
    vectors: Annotated[
        bool, toggle("--vectors", "carry the vectors, so that import encodes nothing")
    ] = False,
    json: JsonFlag = False,
) -> int:
    """Write passages to a file of JSON lines, without loss.

    Ids, namespaces, texts, titles, metadata, links and times; `hoptrail store import` reads it
    back.
    """
    check_writable(file)
    with open_memory(store, read_only=True) as memory:
        count = memory.export(file, namespace=namespace or (), vectors=vectors)
    if json:
        print_json({"file": str(file), "exported": count})
    else:
        say(f"{counted(count, 'passage')} exported to {file}")
    return 0


@command(store_commands, "import", examples="store import --store new.db agent.jsonl")
def import_passages(
    store: StoreOption,
    file: Annotated[Path, argument("FILE", "what `hoptrail store export` wrote", path_argument)],
    encoder: EncoderOption = None,
    on_duplicate: OnDuplicateOption = "error",
    json: JsonFlag = False,
) -> int:
    """Write the passages of an exported file to a memory.

    All of them are written, or none; what has expired since is left out.
    """
    from hoptrail.cli.output import Steps

    check_readable(file)
    with new_memory(store, encoder=encoder) as memory, Steps() as steps:
        done = memory.import_file(file, on_duplicate=on_duplicate, progress=steps.stage("encoding"))
        total = memory.count()
    if json:
        print_json({"imported": done.ids, "encoded": done.encoded, "count": total})
    else:
        say(f"{counted(len(done.ids), 'passage')} imported to {store}; it holds {total} now")
    return 0


command(app, "history", panel=EVERY_DAY, examples="history --store agent.db fram")(show_history)
# Programs call these without their group; a help need not show both.
command(app, "info", examples="store info --help", hidden=True)(show_info)
command(app, "export", examples="store export --help", hidden=True)(export_passages)
command(app, "import", examples="store import --help", hidden=True)(import_passages)
