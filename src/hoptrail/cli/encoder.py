"""The commands of encoders: distill makes one, reencode gives a memory another."""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

from hoptrail.cli.arguments import path_argument, seed_argument, whole_argument
from hoptrail.cli.options import (
    Commands,
    command,
    encoder_of,
    encoder_option,
    file_option,
    json_option,
    open_memory,
    print_json,
    say,
)

if TYPE_CHECKING:
    from hoptrail.api.memory import Memory


def register(commands: Commands) -> None:
    """Add the commands to the program's parser."""
    parser = command(
        commands,
        "distill",
        _distill,
        description="Distil an encoder into a table of token vectors. Some hundred times as fast "
        "on a CPU and weaker by meaning; --encoder takes the folder it writes. The teacher reads "
        "every text once; its vectors are cached.",
        examples="""
hoptrail distill --corpus corpus.jsonl --out static
hoptrail distill --corpus a.jsonl b.jsonl --questions train.jsonl --dim 128 --out static
hoptrail add --store fast.db --encoder static notes/""",
    )
    parser.add_argument(
        "--corpus",
        required=True,
        nargs="+",
        type=path_argument,
        metavar="SOURCE",
        help="texts like those that it is for: corpora, folders or files, as for `hoptrail add`",
    )
    parser.add_argument(
        "--questions",
        nargs="+",
        default=[],
        type=path_argument,
        metavar="QUESTIONS.jsonl",
        help="questions like those that will be asked; only their texts are used",
    )
    parser.add_argument(
        "--dim", type=whole_argument, metavar="N", help="width of a vector (default: 256)"
    )
    parser.add_argument(
        "--steps", type=whole_argument, metavar="N", help="batches of the fit (default: 600)"
    )
    parser.add_argument("--seed", type=seed_argument, default=0, metavar="N", help="(default: 0)")
    encoder_option(parser)
    parser.add_argument(
        "--out", required=True, type=path_argument, metavar="DIR", help="folder to write"
    )
    json_option(parser)
    parser = command(
        commands,
        "reencode",
        reencode,
        description="Give a memory another encoder. Every passage is encoded anew beside the "
        "vectors in use, while others search and write with the old encoder; then one transaction "
        "switches. Interrupted or killed, the same command goes on from there.",
        examples="""
hoptrail reencode --store agent.db --encoder static
hoptrail reencode --store agent.db
hoptrail reencode --store agent.db --drop""",
    )
    file_option(parser)
    encoder_option(parser)
    parser.add_argument(
        "--batch",
        type=whole_argument,
        metavar="N",
        help="passages in a transaction (default: 256, and more of a quick encoder)",
    )
    parser.add_argument(
        "--drop", action="store_true", help="give up a change that has begun, with what it has done"
    )
    json_option(parser)


def _distill(args: argparse.Namespace) -> int:
    """Distil an encoder."""
    from hoptrail.cli import output
    from hoptrail.formats.jsonl import read_questions, read_source
    from hoptrail.learning.distillation import DistillConfig
    from hoptrail.learning.distillation import distill as distilled
    from hoptrail.memory.encoders.disk_cache import CachedEncoder

    texts = [passage.content for source in args.corpus for passage in read_source(source)]
    questions = [question.text for file in args.questions for question in read_questions(file)]
    chosen = {name: getattr(args, name) for name in ("dim", "steps", "seed")}
    config = DistillConfig(**{name: value for name, value in chosen.items() if value is not None})
    with output.Steps() as steps:
        teacher = CachedEncoder(encoder_of(args))
        encoder = distilled(texts, teacher, questions=questions, config=config, progress=steps)
        teacher.close()
    encoder.save(args.out)
    if args.json:
        print_json({"fingerprint": encoder.fingerprint, "dim": encoder.dim, **encoder.made_of})
    else:
        say(f"{encoder!r} made of {len(texts)} texts and {len(questions)} questions: {args.out}")
    return 0


def reencode(args: argparse.Namespace) -> int:
    """Give a memory another encoder, or give that up."""
    encoder = None if args.drop else encoder_of(args)
    args.encoder = None
    with open_memory(args, encoder=None) as memory:
        if encoder is None:
            return _drop(memory, args)
        from hoptrail.cli.output import Steps

        began = time.perf_counter()
        try:
            with Steps() as steps:
                done = memory.change_encoder(
                    encoder, batch=args.batch, progress=steps.stage("encoding")
                )
        except KeyboardInterrupt:
            if found := memory.encoder_change():
                say(
                    f"{found.done} of {found.total} passages are done: the same command goes on",
                    stream=sys.stderr,
                )
            raise
        seconds = time.perf_counter() - began
        total = memory.count()
    if args.json:
        figures = {"fingerprint": encoder.fingerprint, "dim": encoder.dim, "passages": total}
        print_json({**figures, "encoded": done.encoded, "seconds": seconds})
    else:
        say(
            f"{args.store} has the encoder {encoder.fingerprint} ({encoder.dim} dim) now: {total} "
            f"passages, {done.encoded} of them encoded in {seconds:.1f} s"
        )
    return 0


def _drop(memory: Memory, args: argparse.Namespace) -> int:
    found = memory.drop_encoder_change()
    if args.json:
        print_json({"dropped": asdict(found) if found else None})
    elif found:
        say(
            f"the change of {args.store} to encoder {found.encoder} was dropped, with "
            f"{found.done} of {found.total} passages"
        )
    else:
        say(f"{args.store} is in no change of its encoder")
    return 0
