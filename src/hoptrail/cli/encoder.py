"""The commands of encoders: distill makes one, reencode gives a memory another."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from hoptrail.cli.app import LEARNING, add_group, command
from hoptrail.cli.opening import check_encoder, load_named_encoder, open_memory
from hoptrail.cli.options import (
    EncoderOption,
    JsonFlag,
    OutOption,
    SeedOption,
    StoreOption,
    flag,
    option,
    path_option,
    whole_argument,
)
from hoptrail.cli.printing import print_json, say

if TYPE_CHECKING:
    from hoptrail.api.memory import Memory

encoder_commands = add_group(
    "encoder",
    "Make a quick encoder, and give a memory another one.",
    examples="""
encoder distill --corpus corpus.jsonl --out static
encoder reencode --store agent.db --encoder static""",
    panel=LEARNING,
)


@command(
    encoder_commands,
    "distill",
    examples="""
encoder distill --corpus corpus.jsonl --out static
encoder distill --corpus a.jsonl b.jsonl --questions train.jsonl --out static
add --store fast.db --encoder static notes/""",
)
def distill_encoder(
    corpus: Annotated[
        list[Path],
        path_option(
            "--corpus",
            metavar="SOURCE…",
            help="texts like those that it is for: corpora, folders or files, as for `hoptrail "
            "add`",
        ),
    ],
    out: OutOption,
    questions: Annotated[
        list[Path] | None,
        path_option(
            "--questions",
            metavar="QUESTIONS.jsonl…",
            help="questions like those that will be asked; only their texts are used",
        ),
    ] = None,
    dim: Annotated[
        int | None,
        option(
            "--dim", parser=whole_argument, metavar="N", help="width of a vector (default: 256)"
        ),
    ] = None,
    steps: Annotated[
        int | None,
        option(
            "--steps", parser=whole_argument, metavar="N", help="batches of the fit (default: 600)"
        ),
    ] = None,
    seed: SeedOption = 0,
    encoder: EncoderOption = None,
    json: JsonFlag = False,
) -> int:
    """Distil an encoder into a table of token vectors.

    Some hundred times as fast on a CPU and weaker by meaning; --encoder takes the folder it writes.
    The teacher reads every text once; its vectors are cached.
    """
    from hoptrail.cli import output
    from hoptrail.formats.jsonl import read_questions, read_source
    from hoptrail.learning.distillation import DistillConfig
    from hoptrail.learning.distillation import distill as distill_teacher
    from hoptrail.memory.encoders.disk_cache import CachedEncoder

    check_encoder(encoder)
    texts = [passage.content for source in corpus for passage in read_source(source)]
    asked_texts = [question.text for file in questions or () for question in read_questions(file)]
    options = {"dim": dim, "steps": steps, "seed": seed}
    config = DistillConfig(**{name: value for name, value in options.items() if value is not None})
    with output.Steps() as progress:
        teacher = CachedEncoder(load_named_encoder(encoder))
        student = distill_teacher(
            texts, teacher, questions=asked_texts, config=config, progress=progress
        )
        teacher.close()
    student.save(out)
    if json:
        print_json({"fingerprint": student.fingerprint, "dim": student.dim, **student.made_of})
    else:
        say(f"{student!r} made of {len(texts)} texts and {len(asked_texts)} questions: {out}")
    return 0


@command(
    encoder_commands,
    "reencode",
    examples="""
encoder reencode --store agent.db --encoder static
encoder reencode --store agent.db
encoder reencode --store agent.db --drop""",
)
def reencode_memory(
    store: StoreOption,
    encoder: EncoderOption = None,
    batch: Annotated[
        int | None,
        option(
            "--batch",
            parser=whole_argument,
            metavar="N",
            help="passages in a transaction (default: 256, and more of a quick encoder)",
        ),
    ] = None,
    drop: Annotated[
        bool, flag("--drop", "give up a change that has begun, with what it has done")
    ] = False,
    json: JsonFlag = False,
) -> int:
    """Give a memory another encoder.

    Every passage is encoded anew beside the vectors in use, while others search and write with the
    old encoder; then one transaction switches. Interrupted or killed, the same command goes on from
    there.
    """
    if drop:
        with open_memory(store, default_encoder=None) as memory:
            return _drop_change(memory, store, json)
    from hoptrail.cli.output import Steps

    loaded = load_named_encoder(encoder)
    with open_memory(store, default_encoder=None) as memory:
        began = time.perf_counter()
        try:
            with Steps() as steps:
                done = memory.change_encoder(loaded, batch=batch, progress=steps.stage("encoding"))
        except KeyboardInterrupt:
            if change := memory.encoder_change():
                say(
                    f"{change.done} of {change.total} passages are done: the same command goes on",
                    stream=sys.stderr,
                )
            raise
        seconds = time.perf_counter() - began
        total = memory.count()
    if json:
        figures = {"fingerprint": loaded.fingerprint, "dim": loaded.dim, "passages": total}
        print_json({**figures, "encoded": done.encoded, "seconds": seconds})
    else:
        say(
            f"{store} has the encoder {loaded.fingerprint} ({loaded.dim} dim) now: {total} "
            f"passages, {done.encoded} of them encoded in {seconds:.1f} s"
        )
    return 0


def _drop_change(memory: Memory, store: Path, json: bool) -> int:
    change = memory.drop_encoder_change()
    if json:
        print_json({"dropped": asdict(change) if change else None})
    elif change:
        say(
            f"the change of {store} to encoder {change.encoder} was dropped, with "
            f"{change.done} of {change.total} passages"
        )
    else:
        say(f"{store} is in no change of its encoder")
    return 0
