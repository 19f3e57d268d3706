"""The command that makes an encoder: distill."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from hoptrail.cli_common import Commands, command, encoder_of, encoder_option, json_option


def register(commands: Commands) -> None:
    """Add the command to the program's parser."""
    parser = command(
        commands,
        "distill",
        distill,
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
        type=Path,
        metavar="SOURCE",
        help="texts like those that it is for: corpora, folders or files, as for `hoptrail add`",
    )
    parser.add_argument(
        "--questions",
        nargs="+",
        default=[],
        type=Path,
        metavar="QUESTIONS.jsonl",
        help="questions like those that will be asked; only their texts are used",
    )
    parser.add_argument("--dim", type=int, metavar="N", help="width of a vector (default: 256)")
    parser.add_argument("--steps", type=int, metavar="N", help="batches of the fit (default: 600)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="(default: 0)")
    encoder_option(parser)
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder to write")
    json_option(parser)


def distill(args: argparse.Namespace) -> int:
    """Distil an encoder."""
    from hoptrail import show
    from hoptrail.cli_common import print_json
    from hoptrail.formats import read_questions, read_source
    from hoptrail.learning.distill import DistillConfig
    from hoptrail.learning.distill import distill as distilled
    from hoptrail.memory.vector_cache import CachedEncoder

    texts = [passage.content for source in args.corpus for passage in read_source(source)]
    questions = [question.text for file in args.questions for question in read_questions(file)]
    chosen = {name: getattr(args, name) for name in ("dim", "steps", "seed")}
    config = DistillConfig(**{name: value for name, value in chosen.items() if value is not None})
    with show.Steps() as steps:
        teacher = CachedEncoder(encoder_of(args))
        encoder = distilled(texts, teacher, questions=questions, config=config, progress=steps)
        teacher.close()
    encoder.save(args.out)
    if args.json:
        print_json({"fingerprint": encoder.fingerprint, "dim": encoder.dim, **encoder.made_of})
    else:
        sys.stdout.write(
            f"{encoder!r} made of {len(texts)} texts and {len(questions)} questions: {args.out}\n"
        )
    return 0
