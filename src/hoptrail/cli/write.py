"""The commands that change what a memory holds: upsert, update, link, unlink, forget, prune."""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from hoptrail.cli import source_files
from hoptrail.cli.arguments import number_argument, object_of, path_argument
from hoptrail.cli.options import (
    Commands,
    command,
    counted,
    encoder_option,
    filter_option,
    json_option,
    language_option,
    name_of,
    new_memory,
    open_memory,
    passage_lines,
    print_json,
    say,
    store_option,
    ttl_option,
)
from hoptrail.errors import InputError

if TYPE_CHECKING:
    from hoptrail.types import Passage


def register(commands: Commands) -> None:
    """Add the commands to the program's parser."""
    _register_upsert(commands)
    _register_update(commands)
    _register_links(commands)
    _register_forget(commands)
    _register_prune(commands)


def _register_upsert(commands: Commands) -> None:
    parser = command(
        commands,
        "upsert",
        upsert,
        description="Make a memory hold these passages as given. What is the same is left alone, "
        "what differs is written over, and only new texts are encoded. A text or Markdown file is "
        "replaced whole: what it no longer holds is deleted.",
        examples="""
hoptrail upsert --store agent.db corpus.jsonl
hoptrail upsert --store agent.db --sync notes/""",
    )
    store_option(parser)
    encoder_option(parser)
    language_option(parser)
    ttl_option(parser)
    parser.add_argument(
        "--sync",
        action="store_true",
        help="delete the documents of these folders, in this namespace, that were renamed or "
        "deleted since",
    )
    parser.add_argument(
        "sources",
        nargs="+",
        type=path_argument,
        metavar="SOURCE",
        help="as `hoptrail add` takes them",
    )
    json_option(parser)


def _register_update(commands: Commands) -> None:
    parser = command(
        commands,
        "update",
        update,
        description="Change a passage. What is not given stays as it is.",
        examples="""
hoptrail update --store agent.db fram --text "Fram lies in Oslo."
hoptrail update --store agent.db --namespace team/ann note-1 --metadata '{"year": 1892}' """,
    )
    store_option(parser)
    encoder_option(parser)
    parser.add_argument("id", metavar="ID")
    parser.add_argument("--text", help="the new text")
    parser.add_argument("--title", help="the new title; an empty one takes it away")
    parser.add_argument(
        "--metadata", type=object_of, metavar="JSON", help="in place of all that was there"
    )
    ttl_option(parser)
    json_option(parser)


def _register_links(commands: Commands) -> None:
    parser = command(
        commands,
        "link",
        link,
        description="Join a passage to another of its namespace. A link of a kind that is there "
        "already gets the weight that is given; the target may be written later.",
        examples="hoptrail link --store agent.db fram archer --kind designed_by",
    )
    store_option(parser)
    parser.add_argument("source", metavar="ID", help="the passage that holds the link")
    parser.add_argument("target", metavar="TARGET", help="where it leads")
    parser.add_argument("--kind", default="link", help="what the link says (default: link)")
    parser.add_argument(
        "--weight", type=number_argument, default=1.0, metavar="W", help="above 0 (default: 1)"
    )
    json_option(parser)
    parser = command(
        commands,
        "unlink",
        unlink,
        description="Take a passage's links to another away.",
        examples="hoptrail unlink --store agent.db fram archer",
    )
    store_option(parser)
    parser.add_argument("source", metavar="ID", help="the passage that holds the links")
    parser.add_argument("target", metavar="TARGET", help="where they lead")
    parser.add_argument("--kind", help="only those of this kind (default: all)")
    json_option(parser)


def _register_forget(commands: Commands) -> None:
    parser = command(
        commands,
        "forget",
        forget,
        description="Delete whatever fulfils a filter. Without --yes it only says how many "
        "passages that would be. Their bytes go with `hoptrail purge`.",
        examples="""
hoptrail forget --store agent.db --filter '{"year": {"$lt": 1900}}'
hoptrail forget --store agent.db --namespace team/ann --all --yes""",
    )
    store_option(parser)
    filter_option(parser)
    parser.add_argument("--all", action="store_true", help="without a filter: all of the namespace")
    parser.add_argument("--yes", action="store_true", help="delete them")
    json_option(parser)


def upsert(args: argparse.Namespace) -> int:
    """Write what differs."""
    from hoptrail.cli.output import Steps

    sources = source_files.read(args)
    with new_memory(args) as memory, Steps() as steps:
        done = memory.upsert(
            sources,
            namespace=args.namespace,
            ttl=args.ttl,
            sync=args.sync,
            progress=steps.stage("encoding"),
        )
        total = memory.count()
        reading = source_files.reading(args, sources, memory)
    if args.json:
        print_json({**asdict(done), "count": total, **reading})
        return 0
    say(*(f"deleted: {id_}" for id_ in done.deleted), stream=sys.stderr)
    gone = f"{len(done.deleted)} deleted, " if done.deleted else ""
    say(
        f"{counted(len(done.added), 'passage')} added to {args.store}, "
        f"{len(done.updated)} updated, {gone}{len(done.unchanged)} unchanged; it holds {total} now"
    )
    return 0


def update(args: argparse.Namespace) -> int:
    """Change a passage."""
    changes: dict[str, Any] = {}
    if args.text is not None:
        changes["text"] = args.text
    if args.metadata is not None:
        changes["metadata"] = args.metadata
    if args.title is not None:
        changes["title"] = args.title or None
    if args.ttl is not None:
        if args.ttl <= 0:
            raise InputError(f"--ttl must be above 0 seconds, got {args.ttl:g}")
        changes["expires_at"] = time.time() + args.ttl
    if not changes:
        raise InputError("nothing to change: give --text, --title, --metadata or --ttl")
    with open_memory(args) as memory:
        passage = memory.update(args.id, namespace=args.namespace or (), **changes)
    return _changed(passage, args)


def link(args: argparse.Namespace) -> int:
    """Join a passage to another."""
    with open_memory(args) as memory:
        passage = memory.link(
            args.source, args.target, args.kind, args.weight, namespace=args.namespace or ()
        )
    return _changed(passage, args)


def unlink(args: argparse.Namespace) -> int:
    """Take links away."""
    with open_memory(args) as memory:
        passage = memory.unlink(args.source, args.target, args.kind, namespace=args.namespace or ())
    return _changed(passage, args)


def _changed(passage: Passage, args: argparse.Namespace) -> int:
    """Print a passage as it now is."""
    from hoptrail.formats.jsonl import passage_record

    if args.json:
        print_json(passage_record(passage))
    else:
        sys.stdout.write(passage_lines(passage))
    return 0


def forget(args: argparse.Namespace) -> int:
    """Delete what fulfils a filter, or say how much that is."""
    if (args.filter is None) != args.all:
        raise InputError("forget takes either --filter, or --all for the whole namespace")
    if args.filter == {}:
        raise InputError("a filter without a condition is fulfilled by all: say so with --all")
    scope = args.namespace or ()
    with open_memory(args, read_only=not args.yes) as memory:
        if args.yes:
            count = memory.forget(args.filter, namespace=scope)
        else:
            count = memory.count(scope, filter=args.filter)
        total = memory.count()
    if args.json:
        print_json({"fulfil": count, "forgotten": count if args.yes else 0, "count": total})
    elif args.yes:
        say(f"{counted(count, 'passage')} forgotten; {args.store} holds {total} now")
    else:
        say(f"{count} of {total} passages would be forgotten: repeat with --yes")
    return 0


def _register_prune(commands: Commands) -> None:
    parser = command(
        commands,
        "prune",
        prune,
        description="Merge passages that say the same into the first of them. What goes is "
        "told by the history of what stays, and links to it are turned. Without --apply nothing "
        "is changed: it only says what would be.",
        examples="""
hoptrail prune --store agent.db
hoptrail prune --store agent.db --namespace team --near 0.99 --apply""",
    )
    store_option(parser)
    parser.add_argument(
        "--near",
        type=number_argument,
        metavar="COSINE",
        help="cosine from which passages with the same words are merged; above 1, only the same "
        "text (default: 0.97)",
    )
    parser.add_argument("--apply", action="store_true", help="do it")
    json_option(parser)


def prune(args: argparse.Namespace) -> int:
    """Merge duplicates."""
    with open_memory(args, read_only=not args.apply) as memory:
        found = memory.merge_duplicates(
            namespace=args.namespace or (), similarity_threshold=args.near, dry_run=not args.apply
        )
        total = memory.count()
    if args.json:
        print_json({**asdict(found), "passages": found.passages, "count": total})
        return 0
    verb = "merged into" if found.done else "would go into"
    lines = [
        f"{name_of(merge.namespace, one.id)} {verb} "
        f"{name_of(merge.namespace, merge.keeper)} "
        f"({'the same text' if one.exact else f'cosine {one.cosine:.3f}'})"
        for merge in found.merges
        for one in merge.merged
    ]
    tail = f"; {args.store} holds {total} now" if found.done else ""
    hint = ": --apply does it" if found.merges and not found.done else ""
    lines.append(f"{found.passages} of {total + found.passages * found.done} passages{tail}{hint}")
    say(*lines)
    return 0
