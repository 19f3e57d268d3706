"""The commands that learn how a memory's vectors are searched: `hoptrail index`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hoptrail.cli.app import LEARNING, add_group, command
from hoptrail.cli.opening import (
    check_encoder_installed,
    check_readable,
    load_named_encoder,
)
from hoptrail.cli.options import (
    EncoderOption,
    JsonFlag,
    SeedOption,
    dims_of,
    json_object_argument,
    option,
    path_option,
    whole_argument,
)
from hoptrail.cli.printing import print_json, say
from hoptrail.cli.settings_file import SettingsFileOption, WriteSettingsOption, training_config
from hoptrail.cli.tracking import TrackerOption, training_progress
from hoptrail.errors import InputError

if TYPE_CHECKING:
    from hoptrail.policies.training.index_queries import IndexData
    from hoptrail.values.progress import TrainingProgress

index_commands = add_group(
    "index",
    "Learn how a memory's vectors are searched, from questions or from its passages alone.",
    examples="""
index rotate --corpus agent.db --questions questions.jsonl --out rotation.safetensors
search --store agent.db --learned rotation.safetensors \"ice ages\"""",
    panel=LEARNING,
)

CorpusOption = Annotated[
    Path, path_option("--corpus", metavar="PATH", help="a store, or a corpus of JSON lines")
]
QuestionsOption = Annotated[
    list[Path] | None,
    path_option(
        "--questions",
        metavar="QUESTIONS.jsonl…",
        help="questions about it that name their supporting passages",
    ),
]
ClozeOption = Annotated[
    int,
    option(
        "--cloze",
        parser=whole_argument,
        metavar="N",
        help="queries that are made besides: words of a passage, which ask for it (default: 5000)",
    ),
]
FileOption = Annotated[
    Path, path_option("--out", metavar="FILE", help="the file to write, in safetensors")
]
IndexStepsOption = Annotated[
    int | None, option("--steps", parser=whole_argument, metavar="N", help="batches of training")
]
CLOZE = 5000


@command(
    index_commands,
    "rotate",
    examples="""
index rotate --corpus agent.db --out rotation.safetensors
index rotate --corpus agent.db --questions questions.jsonl --dims 32,64 --out rotation.safetensors
search --store agent.db --learned rotation.safetensors \"ice ages\"""",
)
def learn_matryoshka(
    context: typer.Context,
    corpus: CorpusOption,
    out: FileOption,
    questions: QuestionsOption = None,
    cloze: ClozeOption = CLOZE,
    dims: Annotated[
        str | None,
        option(
            "--dims",
            metavar="M,M…",
            help="lengths of the prefixes, ascending (default: 16,32,64,128)",
        ),
    ] = None,
    steps: IndexStepsOption = None,
    seed: SeedOption = 0,
    tracker: TrackerOption = None,
    settings_file: SettingsFileOption = None,
    settings_out: WriteSettingsOption = None,
    encoder: EncoderOption = None,
    json: JsonFlag = False,
) -> int:
    """Learn a rotation of the vectors whose first dimensions find what all of them do.

    No passage is encoded anew, and whole vectors rank as before: `search --learned FILE` compares a
    few dimensions of every passage, and all of the best ones.
    """
    from hoptrail.learning.indexes.matryoshka import MatryoshkaConfig, learn_rotation

    options: dict[str, Any] = {"steps": steps, "dims": dims_of(dims), "seed": seed}
    config = training_config(context, MatryoshkaConfig, options)
    with training_progress(context, tracker, out, asdict(config)) as progress:
        data = _index_data(corpus, questions, cloze, seed, encoder, progress)
        rotation = learn_rotation(data.passages, data.queries, config, progress=progress)
        progress.keep_card(rotation.made_of)
    rotation.save(out)
    if json:
        print_json({"fingerprint": rotation.fingerprint, "dim": rotation.dim, **rotation.made_of})
    else:
        say(f"{rotation!r} learned of {len(data.queries)} queries: {out}")
    return 0


@command(
    index_commands,
    "route",
    examples="""
index route --corpus agent.db --out router.safetensors
index route --corpus agent.db --questions questions.jsonl --probes 4 --out router.safetensors
search --store agent.db --learned router.safetensors \"ice ages\"""",
)
def learn_routing(
    context: typer.Context,
    corpus: CorpusOption,
    out: FileOption,
    questions: QuestionsOption = None,
    cloze: ClozeOption = CLOZE,
    shards: Annotated[
        int | None,
        option(
            "--shards",
            parser=whole_argument,
            metavar="N",
            help="lists that passages lie in (default: a power of two near 1.5 √passages)",
        ),
    ] = None,
    probes: Annotated[
        int | None,
        option(
            "--probes",
            parser=whole_argument,
            metavar="N",
            help="lists that a question is looked for in (default: 8)",
        ),
    ] = None,
    costs: Annotated[
        dict[str, Any] | None,
        option(
            "--costs",
            parser=json_object_argument,
            metavar="JSON",
            help="what latency, locality, cache and bandwidth cost, beside finding what is needed "
            '(default: {"latency": 1})',
        ),
    ] = None,
    steps: IndexStepsOption = None,
    seed: SeedOption = 0,
    tracker: TrackerOption = None,
    settings_file: SettingsFileOption = None,
    settings_out: WriteSettingsOption = None,
    encoder: EncoderOption = None,
    json: JsonFlag = False,
) -> int:
    """Learn which lists of passages a question is looked for in, and which each passage lies in.

    `search --learned FILE`, or `Memory(path, index=Router.load(FILE))`, searches these lists from
    a thousand passages on; with fewer, every passage is compared.
    """
    from hoptrail.learning.indexes.routing import RoutingConfig, learn_router

    options: dict[str, Any] = {"shards": shards, "probes": probes, "steps": steps, "seed": seed}
    config = training_config(context, RoutingConfig, options | _costs(costs or {}))
    with training_progress(context, tracker, out, asdict(config)) as progress:
        data = _index_data(corpus, questions, cloze, seed, encoder, progress)
        router = learn_router(data.passages, data.queries, config, progress=progress)
        progress.keep_card(router.made_of)
    router.save(out)
    if json:
        figures = {"shards": router.shards, "probes": router.probes, **router.made_of}
        print_json({"fingerprint": router.fingerprint, **figures})
    else:
        say(f"{router!r} learned of {len(data.queries)} queries: {out}")
    return 0


@command(
    index_commands,
    "ids",
    examples="""
index ids --corpus agent.db --questions questions.jsonl --out ids.safetensors
search --store agent.db --learned ids.safetensors \"ice ages\"""",
)
def learn_ids(
    context: typer.Context,
    corpus: CorpusOption,
    out: FileOption,
    questions: QuestionsOption = None,
    cloze: ClozeOption = CLOZE,
    levels: Annotated[
        int | None,
        option("--levels", parser=whole_argument, metavar="N", help="codes of an id (default: 3)"),
    ] = None,
    codes: Annotated[
        int | None,
        option(
            "--codes", parser=whole_argument, metavar="N", help="codes to choose from (default: 32)"
        ),
    ] = None,
    steps: IndexStepsOption = None,
    seed: SeedOption = 0,
    tracker: TrackerOption = None,
    settings_file: SettingsFileOption = None,
    settings_out: WriteSettingsOption = None,
    encoder: EncoderOption = None,
    json: JsonFlag = False,
) -> int:
    """Give passages hierarchical ids by meaning, and learn to generate them for a question.

    `search --learned FILE` ranks the passages whose ids are generated. New passages get ids without
    training. On the sets that it was measured on it finds less than dense search.
    """
    from hoptrail.learning.indexes.id_training import SemanticIdsConfig, learn_semantic_ids

    options: dict[str, Any] = {"levels": levels, "codes": codes, "steps": steps, "seed": seed}
    config = training_config(context, SemanticIdsConfig, options)
    with training_progress(context, tracker, out, asdict(config)) as progress:
        data = _index_data(corpus, questions, cloze, seed, encoder, progress)
        ids = learn_semantic_ids(data.passages, data.queries, config, progress=progress)
        progress.keep_card(ids.made_of)
    ids.save(out)
    if json:
        print_json({"fingerprint": ids.fingerprint, **ids.made_of})
    else:
        say(f"{ids!r} learned of {len(data.queries)} queries: {out}")
    return 0


def _costs(costs: dict[str, Any]) -> dict[str, Any]:
    names = ("latency", "locality", "cache", "bandwidth")
    for name, value in costs.items():
        if name not in names or not isinstance(value, int | float):
            raise InputError(f"--costs are numbers for {', '.join(names)}, got {name}: {value!r}")
    return costs


def _index_data(
    corpus: Path,
    questions: list[Path] | None,
    cloze: int,
    seed: int,
    encoder: str | None,
    progress: TrainingProgress,
) -> IndexData:
    from hoptrail.policies.training.index_queries import index_data

    check_readable(corpus, *(questions or []))
    check_encoder_installed(encoder)
    return index_data(
        corpus,
        questions or [],
        cloze=cloze,
        seed=seed,
        encoder=load_named_encoder(encoder),
        progress=progress,
    )
