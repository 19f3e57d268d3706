"""The commands that write to a memory and ask it: add, get, delete, search, recall."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from hoptrail.cli import source_files
from hoptrail.cli.arguments import path_argument
from hoptrail.cli.options import (
    Commands,
    command,
    count_option,
    counted,
    duplicate_line,
    encoder_option,
    filter_option,
    index_option,
    json_option,
    language_option,
    near_option,
    new_memory,
    open_memory,
    passage_lines,
    policy_options,
    print_json,
    say,
    sequence_option,
    show_walk,
    store_option,
    ttl_option,
)
from hoptrail.errors import InputError
from hoptrail.outputs.printable import namespace_text

if TYPE_CHECKING:
    from hoptrail.formats.documents import Sources

MODES = ("hybrid", "dense", "sparse")


def register(commands: Commands) -> None:
    """Add the commands to the program's parser."""
    _register_add(commands)
    _register_recall(commands)
    _register_search(commands)
    _register_get(commands)
    _register_delete(commands)


def _register_add(commands: Commands) -> None:
    parser = command(
        commands,
        "add",
        add,
        description="Write passages to a memory. All of them are written, or none. What was "
        "skipped of a folder, and why, is said on stderr.",
        examples="""
hoptrail add --store agent.db notes/
hoptrail add --store agent.db --namespace team/ann corpus.jsonl
hoptrail add --store agent.db --on-duplicate replace corpus.jsonl
hoptrail add --store agent.db --sequence session turns.jsonl
hoptrail add --store films.db --triples films.txt
hoptrail add --store agent.db --duplicates merge notes/""",
    )
    store_option(parser)
    encoder_option(parser)
    language_option(parser)
    parser.add_argument(
        "--on-duplicate",
        choices=("error", "replace", "skip"),
        default="error",
        help="what to do with an id that is taken (default: error, and nothing is written; "
        "`hoptrail upsert` writes what differs)",
    )
    parser.add_argument(
        "--duplicates",
        choices=("report", "skip", "merge"),
        help="look for passages that say what another says: write them all the same, leave them "
        "out, or let the first keep them (default: do not look)",
    )
    near_option(parser)
    ttl_option(parser)
    sequence_option(parser)
    parser.add_argument(
        "--triples",
        action="store_true",
        help="the sources are knowledge graphs, a line head|relation|tail: entities become "
        "passages, triples typed links",
    )
    parser.add_argument(
        "sources",
        nargs="+",
        type=path_argument,
        metavar="SOURCE",
        help="a folder of text and Markdown, a .txt or .md file, or a corpus of JSON lines "
        "(id, text, title, namespace, links; other keys are metadata)",
    )
    json_option(parser)


def _register_recall(commands: Commands) -> None:
    parser = command(
        commands,
        "recall",
        recall,
        description="Walk a memory for the passages that a question needs. Prints the trails hop "
        "by hop beside plain vector search, then the passages.",
        examples="""
hoptrail recall --store agent.db "Where was the founder of the observatory born?"
hoptrail recall --store agent.db --k 10 --effort fast --json "Who taught Ada's tutor?"
hoptrail recall --store agent.db --policy my-policy/ --namespace team "Who wrote it?" """,
    )
    store_option(parser)
    encoder_option(parser)
    index_option(parser)
    policy_options(parser)
    count_option(parser)
    filter_option(parser)
    json_option(parser)
    parser.add_argument("question")


def _register_search(commands: Commands) -> None:
    parser = command(
        commands,
        "search",
        search,
        description="Find passages in one hop. No policy, no trail: the indexes' own ranking.",
        examples="""
hoptrail search --store agent.db "ice ages"
hoptrail search --store agent.db --mode sparse --k 10 "Milankovitch"
hoptrail search --store agent.db --filter '{"year": {"$gte": 2001}}' "ice ages" """,
    )
    store_option(parser)
    encoder_option(parser)
    index_option(parser)
    count_option(parser)
    filter_option(parser)
    parser.add_argument(
        "--mode", choices=MODES, default="hybrid", help="by meaning, by words, or both (default)"
    )
    json_option(parser)
    parser.add_argument("query")


def _register_get(commands: Commands) -> None:
    parser = command(
        commands,
        "get",
        get,
        description="Print passages by id.",
        examples="""
hoptrail get --store agent.db marie-curie
hoptrail get --store agent.db --namespace team/ann --json note-1 note-2""",
    )
    store_option(parser)
    parser.add_argument("ids", nargs="+", metavar="ID")
    json_option(parser)


def _register_delete(commands: Commands) -> None:
    parser = command(
        commands,
        "delete",
        delete,
        description="Delete passages by id. All of them are deleted, or none.",
        examples="hoptrail delete --store agent.db marie-curie",
    )
    store_option(parser)
    parser.add_argument("ids", nargs="+", metavar="ID")
    json_option(parser)


def add(args: argparse.Namespace) -> int:
    """Write passages."""
    from hoptrail.cli.output import Steps

    sources = source_files.read(args)  # before the store is opened: a bad file is an error at once
    if args.duplicates:
        return _add_distinct(args, sources)
    with new_memory(args) as memory, Steps() as steps:
        ids = memory.add(
            sources,
            namespace=args.namespace,
            on_duplicate=args.on_duplicate,
            ttl=args.ttl,
            progress=steps.stage("encoding"),
        )
        total = memory.count()
        reading = source_files.reading(args, sources, memory, written=ids)
    if args.json:
        print_json({"added": ids, "count": total, **reading})
    else:
        written = set(ids)
        skipped = sum(passage.id not in written for passage in sources.passages)
        tail = f" ({skipped} skipped)" if skipped else ""
        say(f"{counted(len(ids), 'passage')} added to {args.store}{tail}; it holds {total} now")
    return 0


def _add_distinct(args: argparse.Namespace, sources: Sources) -> int:
    """Write passages that say something new; say which do not."""
    if args.on_duplicate != "error" or args.ttl is not None:
        raise InputError("--duplicates goes with neither --on-duplicate nor --ttl")
    with new_memory(args) as memory:
        done = memory.add_distinct(
            sources, then=args.duplicates, similarity_threshold=args.near, namespace=args.namespace
        )
        total = memory.count()
        reading = source_files.reading(args, sources, memory)
    if args.json:
        found = [asdict(duplicate) for duplicate in done.duplicates]
        print_json({"added": done.ids, "duplicates": found, "count": total, **reading})
        return 0
    lines = [duplicate_line(duplicate) for duplicate in done.duplicates]
    lines.append(f"{counted(len(done.ids), 'passage')} added to {args.store}; it holds {total} now")
    say(*lines)
    return 0


def get(args: argparse.Namespace) -> int:
    """Print passages."""
    from hoptrail.formats.jsonl import passage_record

    with open_memory(args, read_only=True) as memory:
        passages = [memory.get(id_, args.namespace or ()) for id_ in args.ids]
    if args.json:
        print_json([passage_record(passage) for passage in passages])
        return 0
    sys.stdout.write("".join(map(passage_lines, passages)))
    return 0


def delete(args: argparse.Namespace) -> int:
    """Delete passages."""
    with open_memory(args) as memory:
        count = memory.delete(args.ids, args.namespace or ())
        total = memory.count()
    if args.json:
        print_json({"deleted": count, "count": total})
    else:
        say(f"{counted(count, 'passage')} deleted from {args.store}; it holds {total} now")
    return 0


def search(args: argparse.Namespace) -> int:
    """Find passages in one hop."""
    from hoptrail.formats.json_views import hit_data

    with open_memory(args) as memory:
        scope = args.namespace or ()
        hits = memory.search(args.query, args.k, scope, mode=args.mode, filter=args.filter)
    if args.json:
        print_json({"query": args.query, "passages": [hit_data(hit) for hit in hits]})
    elif not hits:
        say(f"no passage {_searched(args)} was a hit", stream=sys.stderr)
    else:
        from hoptrail.cli import output

        console = output.output()
        console.print(output.hits_table(hits, width=console.width))
    return 0


def _searched(args: argparse.Namespace) -> str:
    """What a search that came back empty looked through."""
    where = f"in {namespace_text(args.namespace)}" if args.namespace else f"of {args.store}"
    return f"{where} that fulfils the filter" if args.filter else where


def recall(args: argparse.Namespace) -> int:
    """Walk a memory."""
    from hoptrail.formats.json_views import recall_data

    scope = args.namespace or ()
    with open_memory(args) as memory:
        if args.json:
            found = memory.recall(args.question, args.k, scope, args.effort, filter=args.filter)
            print_json(recall_data(found))
            return 0
        from hoptrail.cli import output

        found = show_walk(memory, args.question, args, namespace=scope, filter=args.filter)
    console = output.output()
    console.print(output.hits_table(found.hits[: args.k], width=console.width))
    return 0
