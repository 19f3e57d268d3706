"""The commands of encoders: distill and tune make one, reencode gives a memory another."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hoptrail.cli.app import LEARNING, add_group, command
from hoptrail.cli.command import invocation_line, taking
from hoptrail.cli.commands.train_reader import DeviceOption
from hoptrail.cli.opening import (
    check_encoder_installed,
    check_readable,
    leaving_no_empty_folder,
    load_named_encoder,
    load_transformer,
    open_memory,
    training_sets,
)
from hoptrail.cli.options import (
    DevOption,
    EncoderOption,
    EpochsOption,
    JsonFlag,
    NamespaceOption,
    OutOption,
    ResumeFlag,
    SeedOption,
    StoreOption,
    dims_of,
    option,
    path_option,
    toggle,
    whole_argument,
)
from hoptrail.cli.printing import print_json, say
from hoptrail.cli.settings_file import (
    SettingsFileOption,
    StopAfterOption,
    WriteSettingsOption,
    training_config,
)
from hoptrail.cli.tracking import TrackerOption, training_progress
from hoptrail.cli.tuning import (
    ClozeCorporaOption,
    ClozeTuningOption,
    DepthOption,
    FeedbackOption,
    IndexCodesOption,
    Kind,
    KindOption,
    MaxAgeOption,
    NegativesOption,
    PrefixesOption,
    QueryObjectiveOption,
    SideOption,
    StartOption,
    TuningSetsOption,
    training_of,
)
from hoptrail.errors import InputError, StoreUnavailable

if TYPE_CHECKING:
    from hoptrail.api.memory import Memory
    from hoptrail.cli.locations import StoreLocation
    from hoptrail.policies.data.training_data import FeedbackSource, TrainingData
    from hoptrail.types import Namespace

encoder_commands = add_group(
    "encoder",
    "Make a quick encoder, train one or what reranks, and give a memory another one.",
    examples="""
encoder distill --corpus corpus.jsonl --out static
encoder tune --set corpus.jsonl questions.jsonl --out tuned
encoder tune --kind cross-encoder --set corpus.jsonl questions.jsonl --out crossed
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
    context: typer.Context,
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
    tracker: TrackerOption = None,
    settings_file: SettingsFileOption = None,
    settings_out: WriteSettingsOption = None,
    encoder: EncoderOption = None,
    json: JsonFlag = False,
) -> int:
    """Distil an encoder into a table of token vectors.

    Some hundred times as fast on a CPU and weaker by meaning; --encoder takes the folder it writes.
    The teacher reads every text once; its vectors are cached.
    """
    from hoptrail.formats.jsonl import read_questions, read_source
    from hoptrail.learning.distillation import DistillConfig
    from hoptrail.learning.distillation import distill as distill_teacher
    from hoptrail.memory.encoders.disk_cache import CachedEncoder

    check_encoder_installed(encoder)
    texts = [passage.content for source in corpus for passage in read_source(source)]
    asked_texts = [question.text for file in questions or () for question in read_questions(file)]
    options = {"dim": dim, "steps": steps, "seed": seed}
    config = training_config(context, DistillConfig, options)
    with training_progress(context, tracker, out, asdict(config)) as progress:
        teacher = CachedEncoder(load_named_encoder(encoder))
        student = distill_teacher(
            texts, teacher, questions=asked_texts, config=config, progress=progress
        )
        teacher.close()
        progress.keep_card(student.made_of)
    student.save(out)
    if json:
        print_json({"fingerprint": student.fingerprint, "dim": student.dim, **student.made_of})
    else:
        say(f"{student!r} made of {len(texts)} texts and {len(asked_texts)} questions: {out}")
    return 0


@command(
    encoder_commands,
    "tune",
    cls=taking(pairs=("--set", "--dev")),
    examples="""
encoder tune --set corpus.jsonl questions.jsonl --out tuned
encoder tune --set agent.db questions.jsonl --dev agent.db others.jsonl --out tuned
encoder tune --set agent.db questions.jsonl --objective contrastive --cloze 500 --out tuned
encoder tune --corpus agent.db --cloze 2000 --out tuned
encoder tune --from-feedback agent.db --namespace team --out tuned
encoder tune --set agent.db questions.jsonl --side both --dims 64,128 --out tuned
encoder tune --kind cross-encoder --set agent.db questions.jsonl --out crossed
encoder tune --kind sparse --set agent.db questions.jsonl --out weights
encoder tune --kind late-interaction --set agent.db questions.jsonl --out tokens
search --store agent.db --encoder tuned \"what was asked\"""",
)
def tune_encoder(
    context: typer.Context,
    out: OutOption,
    sets: TuningSetsOption = None,
    from_feedback: FeedbackOption = None,
    namespace: NamespaceOption = None,
    dev: DevOption = None,
    kind: KindOption = "vectors",
    side: SideOption = None,
    objective: QueryObjectiveOption = None,
    negatives: NegativesOption = None,
    cloze: ClozeTuningOption = None,
    corpus: ClozeCorporaOption = None,
    max_age: MaxAgeOption = None,
    codes: IndexCodesOption = None,
    dims: PrefixesOption = None,
    start: StartOption = None,
    depth: DepthOption = None,
    epochs: EpochsOption = None,
    stop_after: StopAfterOption = None,
    seed: SeedOption = 0,
    device: DeviceOption = None,
    tracker: TrackerOption = None,
    settings_file: SettingsFileOption = None,
    settings_out: WriteSettingsOption = None,
    encoder: EncoderOption = None,
    resume: ResumeFlag = False,
    json: JsonFlag = False,
) -> int:
    """Train what ranks passages: on questions, on what was judged useful, or on passages alone.

    Of an encoder one side or both. Of the query side alone passages keep their vectors, so that a
    memory can be asked by the folder that is written (--encoder) without being encoded anew; after
    the others, `encoder reencode` gives it to a memory. A cross-encoder and late interaction order
    what search brings (search --reranker), a sparse encoder weighs terms (search --learned). With
    --dev, search is measured before and after.
    """
    data = _tuning_data(sets, dev, corpus, cloze, _feedback_of(from_feedback, namespace))
    check_encoder_installed(encoder)
    tune = training_of(
        context,
        kind,
        {"objective": objective, "cloze": cloze, "epochs": epochs, "seed": seed}
        | {"stop_after": stop_after},
        {"side": side, "negatives": negatives, "max_age": max_age, "codes": codes}
        | {"dims": dims_of(dims)},
        {"depth": depth},
        start=start,
        resume=resume,
    )
    needs = "a side of a transformer can be trained, not that of a"
    base = load_transformer(encoder, needs, device)
    settings = asdict(tune.keywords["config"])
    with (
        leaving_no_empty_folder(out),
        training_progress(context, tracker, out, settings, together=True) as steps,
    ):
        tuned = tune(
            data,
            out,
            encoder=base,
            encoder_name=encoder,
            command=invocation_line(context),
            progress=steps,
        )
        steps.keep_card(tuned.made_of)
    sides = {"query": "query side", "passage": "passage side", "both": "two sides"}
    part = sides[side or "query"] if kind == "vectors" else kind
    _say_tuned(tuned, kind, f"the {part} of {base.fingerprint}", out, json)
    return 0


def _feedback_of(store: Path | None, namespace: Namespace | None) -> list[FeedbackSource]:
    """The feedback of a memory to learn from, if any."""
    from hoptrail.policies.data.training_data import FeedbackSource

    if store is None:
        if namespace:
            raise InputError("--namespace is for --from-feedback: it says whose is learned from")
        return []
    if not store.exists():
        raise StoreUnavailable(f"there is no store at {store}: recall.feedback writes to one")
    return [FeedbackSource(store, namespace or ())]


def _tuning_data(
    sets: list[Path] | None,
    dev: list[Path] | None,
    corpus: list[Path] | None,
    cloze: int | None,
    feedback: Sequence[FeedbackSource],
) -> TrainingData:
    """What a training learns from and is measured on, all of it readable."""
    from hoptrail.policies.data.training_data import TrainingData

    if corpus and not cloze:
        raise InputError("--corpus is for --cloze: a corpus alone has no questions")
    if not sets and not corpus and not feedback:
        raise InputError(
            "there is nothing to learn from: give --set, --from-feedback, or --corpus with "
            "--cloze N"
        )
    check_readable(*(sets or []), *(corpus or []), *(dev or []))
    return TrainingData(
        train=training_sets(sets or []),
        dev=training_sets(dev or []),
        unlabelled=corpus or [],
        feedback=feedback,
    )


def _say_tuned(tuned: Any, kind: Kind, part: str, out: Path, json: bool) -> None:
    """Print what a training measured and wrote: as JSON, or as a table and lines."""
    from hoptrail.cli import output
    from hoptrail.learning.execution.processes import is_first_process

    made_of = tuned.made_of
    if not is_first_process():
        return
    if json:
        name = "fingerprint" if kind == "vectors" else "folder"
        print_json({name: str(getattr(tuned, name)), "weights": tuned.size, **made_of})
        return
    if made_of["dev"]:
        searched = "dense search on" if kind == "vectors" else "search on"
        output.output().print(output.rows_table("", _recall_rows(searched, made_of["dev"])))
    if kind == "vectors":
        say(*_collapse_lines(made_of["collapse"]), *_index_lines(made_of.get("index")))
    say(f"{part}, {tuned.size:,} weights: {out}")


def _index_lines(index: dict[str, Any] | None) -> list[str]:
    """How stale the index of a training was, where it had one."""
    if not index or not index["staleness"]:
        return []
    looks = index["staleness"]
    oldest = max(look["oldest"] for look in looks)
    cosine = min(look["cosine"] for look in looks)
    changed = max(look["changed"] for look in looks)
    return [
        f"index: {index['encoded']} passages encoded anew in {index['steps']} steps, none looked "
        f"at was older than {oldest}; at worst a mean cosine of {cosine:.4f} with the encoder's "
        f"vectors, and {100 * changed:.1f} % of the nearest ten others"
    ]


def _recall_rows(searched: str, sets: list[dict[str, Any]]) -> list[list[str]]:
    """A table of what search found on each set before and after."""
    return [
        [searched, "", "recall@5", "recall@10"],
        *(
            [one["questions"], when, *(f"{share:.1f}" for share in one[when].values())]
            for one in sets
            for when in ("before", "after")
        ),
    ]


def _collapse_lines(collapse: dict[str, Any]) -> list[str]:
    """What the monitor of a training saw: the vectors before and after, and its warnings."""
    before, after = collapse["before"], collapse["after"]
    if before is None:
        return []
    figures = ", ".join(
        f"{name.replace('_', ' ')} {before[name]:.2f} -> {after[name]:.2f}"
        for name in before
        if before[name] is not None and after[name] is not None
    )
    return [f"vectors: {figures}", *(f"warning: {line}" for line in collapse["warnings"])]


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
        bool, toggle("--drop", "give up a change that has begun, with what it has done")
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


def _drop_change(memory: Memory, store: StoreLocation, json: bool) -> int:
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
