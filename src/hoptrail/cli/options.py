"""What the commands share: their options, opening a memory, and writing files of results."""

from __future__ import annotations

import argparse
import json
import os
import sys
import textwrap
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TextIO

from hoptrail.cli.arguments import (
    namespace_argument,
    number_argument,
    object_of,
    path_argument,
    whole_argument,
)
from hoptrail.errors import FormatError, StoreUnavailable
from hoptrail.outputs.printable import (
    namespace_text,
    printable,
    printable_json,
    printable_lines,
)
from hoptrail.types import Namespace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from hoptrail.api.memory import Memory
    from hoptrail.memory.encoders.transformer import Encoder
    from hoptrail.memory.maintenance.near_duplicates import Duplicate
    from hoptrail.memory.storage.next_vectors import ReencodingProgress
    from hoptrail.types import FilterDict, Passage, Recall

Commands = Any
"""argparse's subparsers; their class is private."""

REFUSED = 3
"""Exit code of a command that did its work and would not let the result through."""


class _Help(argparse.RawDescriptionHelpFormatter):
    """Wraps a description to the terminal, and leaves examples as they are written."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if "\n" in text:
            return super()._fill_text(text, width, indent)
        return textwrap.fill(text, width, initial_indent=indent, subsequent_indent=indent)


def command(
    commands: Commands,
    name: str,
    run: Callable[[argparse.Namespace], int],
    *,
    description: str,
    examples: str,
) -> argparse.ArgumentParser:
    """A command's parser, with its examples below its options."""
    lines = "\n".join(f"  {line}" for line in examples.strip().splitlines())
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=description.split(". ")[0].rstrip("."),
        description=description,
        epilog=f"examples:\n{lines}",
        formatter_class=_Help,
    )
    parser.set_defaults(run=run)
    return parser


def file_option(parser: argparse.ArgumentParser) -> None:
    """`--store`, for the commands that concern the whole file."""
    parser.add_argument(
        "--store", required=True, type=path_argument, metavar="FILE", help="the memory's file"
    )


def store_option(parser: argparse.ArgumentParser) -> None:
    """`--store` and `--namespace`."""
    file_option(parser)
    parser.add_argument(
        "--namespace",
        type=namespace_argument,
        metavar="A/B",
        help="the namespace, its parts divided by /, or a JSON list of them where a part holds "
        'a slash: \'["a/b", "c"]\' (default: the root)',
    )


def schedule_options(parser: argparse.ArgumentParser) -> None:
    """How long a policy is trained, and how fast it learns in the stages after imitation."""
    parser.add_argument(
        "--epochs", type=whole_argument, metavar="N", help="passes of imitation, or of feedback"
    )
    parser.add_argument(
        "--tuning-epochs",
        type=whole_argument,
        metavar="N",
        help="passes of marginal and of reinforce",
    )
    parser.add_argument(
        "--tuning-rate",
        type=number_argument,
        metavar="RATE",
        help="the peak learning rate of marginal and of reinforce",
    )


def encoder_option(parser: argparse.ArgumentParser) -> None:
    """`--encoder`."""
    parser.add_argument(
        "--encoder",
        metavar="MODEL",
        help="a sentence-transformers model (a folder, or a name that the hub knows), or a folder "
        "that `hoptrail distill` wrote (default: MiniLM, from hoptrail[minilm])",
    )


def language_option(parser: argparse.ArgumentParser) -> None:
    """`--language`."""
    parser.add_argument(
        "--language",
        help="of a new memory: whose stemmer words go through, by Snowball's name (german), or "
        "none (default: english, or what the memory has)",
    )


def index_option(parser: argparse.ArgumentParser) -> None:
    """`--index`."""
    parser.add_argument(
        "--index",
        default="auto",
        metavar="KIND",
        help="of the dense index: auto by size, flat (exact), or an approximate one: sq8, lsh, "
        "hnsw, ivf, ivf-sq8, ivf-pq, ivf-pq4 (default: auto)",
    )


def policy_options(parser: argparse.ArgumentParser) -> None:
    """`--policy` and `--effort`."""
    parser.add_argument(
        "--policy",
        type=path_argument,
        metavar="DIR",
        help="a policy that `hoptrail train` wrote (default: the one in the package)",
    )
    parser.add_argument(
        "--effort",
        default="balanced",
        metavar="fast|balanced|thorough",
        help="what a recall may cost (default: balanced)",
    )


def json_option(parser: argparse.ArgumentParser) -> None:
    """`--json`, for the commands that print their result."""
    parser.add_argument("--json", action="store_true", help="print JSON, and nothing else")


def count_option(parser: argparse.ArgumentParser) -> None:
    """`--k`."""
    parser.add_argument(
        "--k", type=whole_argument, default=5, metavar="N", help="passages (default: 5)"
    )


def ttl_option(parser: argparse.ArgumentParser) -> None:
    """`--ttl`."""
    parser.add_argument(
        "--ttl",
        type=number_argument,
        metavar="SECONDS",
        help="from now until it expires (default: never)",
    )


def sequence_option(parser: argparse.ArgumentParser) -> None:
    """`--sequence`."""
    parser.add_argument(
        "--sequence",
        metavar="FIELD",
        help="lines of a corpus that have the same value of this field (and namespace) follow "
        "each other, as the turns of one session: what stands before and after a passage counts",
    )


def near_option(parser: argparse.ArgumentParser) -> None:
    """`--near`."""
    parser.add_argument(
        "--near",
        type=number_argument,
        metavar="COSINE",
        help="cosine from which passages with the same words are duplicates (default: 0.97)",
    )


def filter_option(parser: argparse.ArgumentParser) -> None:
    """`--filter`."""
    parser.add_argument(
        "--filter",
        type=object_of,
        metavar="JSON",
        help='only passages that fulfil it, such as \'{"year": {"$gte": 2001}}\' (default: all)',
    )


def encoder_of(args: argparse.Namespace) -> Encoder:
    """The encoder that `--encoder` names, loaded."""
    from hoptrail.memory.encoders.static import load_encoder
    from hoptrail.memory.encoders.transformer import minilm

    return load_encoder(args.encoder) if args.encoder else minilm()


def open_memory(
    args: argparse.Namespace,
    *,
    exists: bool = True,
    read_only: bool = False,
    encoder: Literal["auto"] | None = "auto",
) -> Memory:
    """The memory at `--store`, with what `--encoder` and `--policy` name.

    Args:
        args: The command's arguments.
        exists: Refuse a path where there is no file, rather than make one.
        read_only: Never write to it.
        encoder: What it has where `--encoder` names none: MiniLM, or none at all.

    Raises:
        StoreUnavailable: There is no such file, or it is not a store.
    """
    from hoptrail.api.memory import Memory

    if exists and not args.store.exists():
        raise StoreUnavailable(
            f"there is no store at {args.store}: make one with  hoptrail add --store {args.store} …"
        )
    given = vars(args)
    return Memory(
        args.store,
        encoder=encoder_of(args) if given.get("encoder") else encoder,
        policy=given.get("policy") or "shipped",
        read_only=read_only,
        index=given.get("index") or "auto",
        language=given.get("language"),
    )


@contextmanager
def new_memory(args: argparse.Namespace) -> Iterator[Memory]:
    """The memory at `--store`, made where there is none: for a command that writes to it.

    One that was made and not written to goes again when the command fails.
    """
    from hoptrail.memory.maintenance import unused

    before = os.path.lexists(args.store)
    try:
        with open_memory(args, exists=False) as memory:
            yield memory
    except BaseException:
        if not before:
            unused.discard(args.store)
        raise


def show_walk(
    memory: Memory,
    question: str,
    args: argparse.Namespace,
    *,
    namespace: Namespace = (),
    filter: FilterDict | None = None,
    gold: Sequence[str] = (),
) -> Recall:
    """Print a question's trails beside what plain vector search gives; the recall.

    It is as deep as a walk ranks, so that whatever its trails read has its title and text.
    """
    from hoptrail.api.recalling import RANKED
    from hoptrail.cli import output
    from hoptrail.memory.passages import usage

    depth = max(args.k, RANKED) if args.k > 0 else args.k
    with memory.store.recorder.paused():  # of all that, the k best are what is returned
        found = memory.recall(question, depth, namespace, args.effort, filter=filter)
        plain = memory.search(question, args.k, namespace, mode="dense", filter=filter)
    usage.note(memory.store, found.passages[: args.k])
    console = output.output()
    console.print(output.walked(found, plain, gold=gold, console=console))
    console.print(output.cost_line(found.cost))
    return found


def passage_lines(passage: Passage) -> str:
    """A passage as it is printed: its name, its text and its links, each indented otherwise.

    So no line of a text can pass for the head of another passage.
    """
    head = f"[{passage.id}] {passage.title or ''}".rstrip()
    text = "".join(f"    {line}\n" for line in printable_lines(passage.text))
    links = "".join(f"  {printable(f'{link.kind} -> {link.target}')}\n" for link in passage.links)
    return f"{printable(head)}\n{text}{links}"


def changing_line(change: ReencodingProgress) -> str:
    """A change of encoder that is under way, as it is printed."""
    return (
        f"changing to encoder {change.encoder}: {change.done} of {change.total} passages "
        "(hoptrail reencode goes on, --drop gives it up)"
    )


def duplicate_line(duplicate: Duplicate) -> str:
    """A duplicate as it is printed."""
    how = "the same text" if duplicate.exact else f"cosine {duplicate.cosine:.3f}"
    name = name_of(duplicate.namespace, duplicate.id)
    return f"duplicate: {name} says what {duplicate.of} says ({how})"


def name_of(namespace: Namespace, id_: str) -> str:
    """A passage as it is named in a line."""
    return f"{namespace_text(namespace)}: {id_}" if namespace else id_


def counted(count: int, noun: str) -> str:
    """A number of things, as it is read: `1 passage`, `2 passages`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def say(*lines: object, stream: TextIO | None = None) -> None:
    """Print each as one line, whatever stored text, file names or messages it is made of.

    Every command prints by this, by `passage_lines`, by `print_json` or by `hoptrail.cli.output`.
    """
    (stream or sys.stdout).write("".join(f"{printable(line)}\n" for line in lines))


def print_json(value: object) -> None:
    """One JSON value on stdout; the same value, also where a terminal would obey it."""
    spelled = json.dumps(value, ensure_ascii=False, indent=2)
    sys.stdout.write(printable_json(spelled) + "\n")


def readable(*files: Path) -> None:
    """Refuse a wrong path before anything is loaded."""
    from hoptrail.formats.jsonl import sha256_of

    for file in files:
        sha256_of(file)


def writable(file: Path) -> None:
    """Refuse a file that could not be written, before the work whose result it should hold.

    Raises:
        FormatError: Its folder is not there, or it belongs to a memory.
    """
    from hoptrail.outputs import output_files

    output_files.checked(file)


def check_results(args: argparse.Namespace, *, inputs: Iterable[Path]) -> None:
    """Refuse files of results that must not be written, before the work that makes them.

    Raises:
        FormatError: `--json` or `--plot` names what is no result of ours, or an input.
    """
    from hoptrail.outputs import replaceable

    sources = list(inputs)
    if args.json:
        replaceable.check_report(args.json, inputs=sources)
    if args.plot:
        replaceable.check_picture(args.plot, inputs=sources)
    if args.json and args.plot and args.json.resolve() == args.plot.resolve():
        raise FormatError(f"--json and --plot both name {args.json}")


@contextmanager
def leaving_no_empty_folder(folder: Path) -> Iterator[None]:
    """Remove a folder that was made for a result, where there is none in the end."""
    there = folder.exists()
    try:
        yield
    except BaseException:
        if not there:
            with suppress(OSError):  # something is in it: a checkpoint, to go on from
                folder.rmdir()
        raise
