"""The commands that change what a memory holds: add, upsert, update, link, delete and the like."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal

from hoptrail.cli import source_files
from hoptrail.cli.app import CHANGING, EVERY_DAY, app, command
from hoptrail.cli.opening import check_encoder_installed, new_memory, open_memory
from hoptrail.cli.options import (
    EncoderOption,
    FilterOption,
    IdsArgument,
    JsonFlag,
    LanguageOption,
    NamespaceOption,
    NearOption,
    OnDuplicate,
    OnDuplicateOption,
    SequenceOption,
    SourcesArgument,
    StoreOption,
    TtlOption,
    argument,
    json_object_argument,
    number_argument,
    option,
    toggle,
)
from hoptrail.cli.printing import counted, duplicate_line, passage_lines, print_json, say
from hoptrail.errors import InputError
from hoptrail.types import Namespace

if TYPE_CHECKING:
    from hoptrail.cli.locations import StoreLocation
    from hoptrail.formats.documents import Sources
    from hoptrail.types import Passage

Duplicates = Literal["report", "skip", "merge"]
"""What becomes of a passage that says what another says."""


@command(
    app,
    "add",
    panel=EVERY_DAY,
    examples="""
add --store agent.db notes/
add --store agent.db --text "Fram was designed by Colin Archer."
add --store agent.db --namespace team/ann corpus.jsonl
add --store agent.db --on-duplicate replace corpus.jsonl
add --store agent.db --sequence session turns.jsonl
add --store films.db --triples films.txt
add --store agent.db --duplicates merge notes/
add --store agent.db - < notes.txt""",
)
def add_passages(
    store: StoreOption,
    sources: SourcesArgument = [],  # noqa: B006 Typer gives each call its own
    text: Annotated[
        list[str] | None,
        option("--text", metavar="TEXT", help="a text to remember, beside sources or alone"),
    ] = None,
    namespace: NamespaceOption = None,
    encoder: EncoderOption = None,
    language: LanguageOption = None,
    on_duplicate: OnDuplicateOption = "error",
    duplicates: Annotated[
        Duplicates | None,
        option(
            "--duplicates",
            parser=None,
            help="look for passages that say what another says: write them all the same, leave "
            "them out, or let the first keep them (default: do not look)",
        ),
    ] = None,
    near: NearOption = None,
    ttl: TtlOption = None,
    sequence: SequenceOption = None,
    triples: Annotated[
        bool,
        toggle(
            "--triples",
            "the sources are knowledge graphs, a line head|relation|tail: entities become "
            "passages, triples typed links",
        ),
    ] = False,
    json: JsonFlag = False,
) -> int:
    """Write passages to a memory.

    All of them are written, or none. What was skipped of a folder, and why, is said on stderr. The
    source `-` is the text on standard input.
    """
    check_encoder_installed(encoder)
    batch = source_files.read_command_sources(
        sources, texts=text, triples=triples, sequence=sequence
    )
    if duplicates:
        if on_duplicate != "error" or ttl is not None:
            raise InputError("--duplicates goes with neither --on-duplicate nor --ttl")
        with new_memory(store, encoder=encoder, language=language) as memory:
            done = memory.add_distinct(
                batch, then=duplicates, similarity_threshold=near, namespace=namespace
            )
            total = memory.count()
            files = source_files.files_read(batch, memory, namespace, quiet=json)
        if json:
            same = [asdict(duplicate) for duplicate in done.duplicates]
            print_json({"added": done.ids, "duplicates": same, "count": total, **files})
        else:
            say(*map(duplicate_line, done.duplicates))
            say(f"{counted(len(done.ids), 'passage')} added to {store}; it holds {total} now")
        return 0
    return _write(batch, store, namespace, encoder, language, on_duplicate, ttl, json)


def _write(
    batch: Sources,
    store: StoreLocation,
    namespace: Namespace | None,
    encoder: str | None,
    language: str | None,
    on_duplicate: OnDuplicate,
    ttl: float | None,
    json: bool,
) -> int:
    """Write passages whatever they say."""
    from hoptrail.cli.output import Steps

    with new_memory(store, encoder=encoder, language=language) as memory, Steps() as steps:
        ids = memory.add(
            batch,
            namespace=namespace,
            on_duplicate=on_duplicate,
            ttl=ttl,
            progress=steps.stage("encoding"),
        )
        total = memory.count()
        skipping = set(ids) if on_duplicate == "skip" else None
        files = source_files.files_read(batch, memory, namespace, written=skipping, quiet=json)
    if json:
        print_json({"added": ids, "count": total, **files})
    else:
        written = set(ids)
        skipped = sum(passage.id not in written for passage in batch.passages)
        tail = f" ({skipped} skipped)" if skipped else ""
        say(f"{counted(len(ids), 'passage')} added to {store}{tail}; it holds {total} now")
    return 0


@command(
    app,
    "upsert",
    panel=CHANGING,
    examples="""
upsert --store agent.db corpus.jsonl
upsert --store agent.db --sync notes/""",
)
def upsert_passages(
    store: StoreOption,
    sources: SourcesArgument,
    namespace: NamespaceOption = None,
    encoder: EncoderOption = None,
    language: LanguageOption = None,
    ttl: TtlOption = None,
    sync: Annotated[
        bool,
        toggle(
            "--sync",
            "delete the documents of these folders, in this namespace, that were renamed or "
            "deleted since",
        ),
    ] = False,
    json: JsonFlag = False,
) -> int:
    """Make a memory hold these passages as they are.

    What is the same is left alone, what differs is written over, and only new texts are encoded. A
    text or Markdown file is replaced whole: what it no longer holds is deleted.
    """
    from hoptrail.cli.output import Steps

    check_encoder_installed(encoder)
    batch = source_files.read_command_sources(sources, sync=sync)
    with new_memory(store, encoder=encoder, language=language) as memory, Steps() as steps:
        done = memory.upsert(
            batch, namespace=namespace, ttl=ttl, sync=sync, progress=steps.stage("encoding")
        )
        total = memory.count()
        files = source_files.files_read(batch, memory, namespace, quiet=json)
    if json:
        print_json({**asdict(done), "count": total, **files})
        return 0
    say(*(f"deleted: {id_}" for id_ in done.deleted), stream=sys.stderr)
    gone = f"{len(done.deleted)} deleted, " if done.deleted else ""
    say(
        f"{counted(len(done.added), 'passage')} added to {store}, "
        f"{len(done.updated)} updated, {gone}{len(done.unchanged)} unchanged; it holds {total} now"
    )
    return 0


@command(
    app,
    "update",
    panel=CHANGING,
    examples="""
update --store agent.db fram --text "Fram lies in Oslo."
update --store agent.db fram --text "Fram lies in dock." --keep-history
update --store agent.db note-1 --metadata '{"year": 1892}'""",
)
def update_passage(
    store: StoreOption,
    id: Annotated[str, argument("ID", "the passage")],
    namespace: NamespaceOption = None,
    encoder: EncoderOption = None,
    text: Annotated[str | None, option("--text", metavar="TEXT", help="the new text")] = None,
    title: Annotated[
        str | None,
        option("--title", metavar="TITLE", help="the new title; an empty one takes it away"),
    ] = None,
    metadata: Annotated[
        dict[str, Any] | None,
        option(
            "--metadata",
            parser=json_object_argument,
            metavar="JSON",
            help="in place of all that was there",
        ),
    ] = None,
    ttl: TtlOption = None,
    valid_from: Annotated[
        str | None, option("--valid-from", metavar="TIME", help="when it begins to hold")
    ] = None,
    valid_until: Annotated[
        str | None,
        option("--valid-until", metavar="TIME", help="when it ceases to; empty for not yet"),
    ] = None,
    keep_history: Annotated[
        bool, toggle("--keep-history", "keep what it said until now, for --as-of")
    ] = False,
    json: JsonFlag = False,
) -> int:
    """Change a passage.

    What is not given stays as it is.
    """
    changes: dict[str, Any] = {}
    if text is not None:
        changes["text"] = text
    if metadata is not None:
        changes["metadata"] = metadata
    if title is not None:
        changes["title"] = title or None
    if ttl is not None:
        if ttl <= 0:
            raise InputError(f"--ttl must be above 0 seconds, got {ttl:g}")
        changes["expires_at"] = time.time() + ttl
    for name, value in (("valid_from", valid_from), ("valid_until", valid_until)):
        if value is not None:
            changes[name] = value or None
    if not changes:
        raise InputError(
            "nothing to change: give --text, --title, --metadata, --ttl, --valid-from or "
            "--valid-until"
        )
    with open_memory(store, encoder=encoder) as memory:
        passage = memory.update(id, namespace=namespace or (), keep_history=keep_history, **changes)
    return _print_passage(passage, json)


@command(
    app,
    "supersede",
    panel=CHANGING,
    examples="""
supersede --store agent.db fram --text "Fram lies in the dry dock."
supersede --store agent.db fram --by dock --at 2026-01-31""",
)
def supersede_passage(
    store: StoreOption,
    id: Annotated[str, argument("ID", "the passage that no longer holds")],
    text: Annotated[str | None, option("--text", metavar="TEXT", help="what holds instead")] = None,
    title: Annotated[
        str | None, option("--title", metavar="TITLE", help="the title of that text")
    ] = None,
    new_id: Annotated[
        str | None, option("--new-id", metavar="ID", help="its id (default: made of its content)")
    ] = None,
    by: Annotated[
        str | None,
        option("--by", metavar="ID", help="a passage that is there, in place of a text"),
    ] = None,
    at: Annotated[
        str | None,
        option("--at", metavar="TIME", help="since when, as --as-of takes it (default: now)"),
    ] = None,
    namespace: NamespaceOption = None,
    encoder: EncoderOption = None,
    json: JsonFlag = False,
) -> int:
    """Put a passage in the place of another.

    The other one is returned by nothing from then on, but to --as-of; `hoptrail history` shows
    both.
    """
    if (text is None) == (by is None) or (by is not None and (title or new_id)):
        raise InputError("supersede takes --text, with --title and --new-id, or --by")
    scope = namespace or ()
    with open_memory(store, encoder=encoder) as memory:
        new: Passage | dict[str, object] = (
            {"id": new_id, "text": text, "title": title}
            if by is None
            else memory.get(by, scope, as_of="ever")
        )
        passage = memory.supersede(id, new, at=at, namespace=scope)
    return _print_passage(passage, json)


@command(
    app,
    "link",
    panel=CHANGING,
    examples="link --store agent.db fram archer --kind designed_by",
)
def link_passages(
    store: StoreOption,
    source: Annotated[str, argument("ID", "the passage that holds the link")],
    target: Annotated[str, argument("TARGET", "where it leads")],
    kind: Annotated[
        str, option("--kind", metavar="KIND", help="what the link says (default: link)")
    ] = "link",
    weight: Annotated[
        float,
        option("--weight", parser=number_argument, metavar="W", help="above 0 (default: 1)"),
    ] = 1.0,
    namespace: NamespaceOption = None,
    json: JsonFlag = False,
) -> int:
    """Join a passage to another of its namespace.

    A link of a kind that is there already gets the weight; the target may be written later.
    """
    with open_memory(store) as memory:
        passage = memory.link(source, target, kind, weight, namespace=namespace or ())
    return _print_passage(passage, json)


@command(app, "unlink", panel=CHANGING, examples="unlink --store agent.db fram archer")
def unlink_passages(
    store: StoreOption,
    source: Annotated[str, argument("ID", "the passage that holds the links")],
    target: Annotated[str, argument("TARGET", "where they lead")],
    kind: Annotated[
        str | None, option("--kind", metavar="KIND", help="only those of this kind (default: all)")
    ] = None,
    namespace: NamespaceOption = None,
    json: JsonFlag = False,
) -> int:
    """Take a passage's links to another away."""
    with open_memory(store) as memory:
        passage = memory.unlink(source, target, kind, namespace=namespace or ())
    return _print_passage(passage, json)


def _print_passage(passage: Passage, json: bool) -> int:
    """Print a passage as it now is."""
    from hoptrail.formats.jsonl import passage_record

    if json:
        print_json(passage_record(passage))
    else:
        sys.stdout.write(passage_lines(passage))
    return 0


@command(app, "delete", panel=CHANGING, examples="delete --store agent.db marie-curie")
def delete_passages(
    store: StoreOption,
    ids: IdsArgument,
    namespace: NamespaceOption = None,
    json: JsonFlag = False,
) -> int:
    """Delete passages by id.

    All of them are deleted, or none. Their bytes go with `hoptrail store purge`.
    """
    with open_memory(store) as memory:
        count = memory.delete(ids, namespace or ())
        total = memory.count()
    if json:
        print_json({"deleted": count, "count": total})
    else:
        say(f"{counted(count, 'passage')} deleted from {store}; it holds {total} now")
    return 0


@command(
    app,
    "forget",
    panel=CHANGING,
    examples="""
forget --store agent.db --filter '{"year": {"$lt": 1900}}'
forget --store agent.db --namespace team/ann --all --yes""",
)
def forget_passages(
    store: StoreOption,
    namespace: NamespaceOption = None,
    filter: FilterOption = None,
    all_: Annotated[bool, toggle("--all", "without a filter: all of the namespace")] = False,
    yes: Annotated[bool, toggle("--yes", "delete them")] = False,
    json: JsonFlag = False,
) -> int:
    """Delete whatever fulfils a filter.

    Without --yes it only says how many passages that would be. Their bytes go with `hoptrail store
    purge`.
    """
    if (filter is None) != all_:
        raise InputError("forget takes either --filter, or --all for the whole namespace")
    if filter == {}:
        raise InputError("a filter without a condition is fulfilled by all: say so with --all")
    scope = namespace or ()
    with open_memory(store, read_only=not yes) as memory:
        if yes:
            count = memory.forget(filter, namespace=scope)
        else:
            count = memory.count(scope, filter=filter)
        total = memory.count()
    if json:
        print_json({"fulfil": count, "forgotten": count if yes else 0, "count": total})
    elif yes:
        say(f"{counted(count, 'passage')} forgotten; {store} holds {total} now")
    else:
        say(f"{count} of {total} passages would be forgotten: repeat with --yes")
    return 0
