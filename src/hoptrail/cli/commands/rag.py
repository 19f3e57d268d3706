"""The commands of generation: train a retriever and a generator together, and answer with them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from hoptrail.cli.app import EVERY_DAY, app, command
from hoptrail.cli.command import invocation_line
from hoptrail.cli.commands.train import train_commands
from hoptrail.cli.opening import (
    check_encoder_installed,
    check_readable,
    check_store,
    leaving_no_empty_folder,
    load_named_encoder,
)
from hoptrail.cli.options import (
    EncoderOption,
    EpochsOption,
    JsonFlag,
    NamespaceOption,
    OutOption,
    SeedOption,
    StoreOption,
    argument,
    option,
    path_option,
    toggle,
    whole_argument,
)
from hoptrail.cli.printing import print_json, say
from hoptrail.cli.settings_file import SettingsFileOption, WriteSettingsOption, training_config
from hoptrail.cli.tracking import TrackerOption, training_progress
from hoptrail.errors import InputError

if TYPE_CHECKING:
    from hoptrail.api.memory import Memory
    from hoptrail.cli.locations import StoreLocation
    from hoptrail.learning.generation.joint_training import RagExample
    from hoptrail.learning.generation.rag_model import RagMode, RagModel, TrailContext
    from hoptrail.memory.encoders.transformer import Encoder
    from hoptrail.memory.views.view import View
    from hoptrail.types import Namespace, Question


AnsweredOption = Annotated[
    Path,
    path_option(
        "--questions",
        metavar="QUESTIONS.jsonl",
        help="questions with answers; their supporting passages need not be known",
    ),
]
GeneratorOption = Annotated[
    Path,
    path_option(
        "--generator",
        metavar="FOLDER",
        help="a sequence-to-sequence or causal model of Hugging Face, as save_pretrained writes it",
    ),
]
MeasuredOption = Annotated[
    Path | None,
    path_option(
        "--dev", metavar="QUESTIONS.jsonl", help="questions to measure on, before and after"
    ),
]
ModeOption = Annotated[
    Literal["sequence", "token"],
    option(
        "--mode",
        parser=None,
        help="one passage for the whole answer, or one for each token (default: sequence)",
    ),
]
ContextsOption = Annotated[
    int,
    option(
        "--contexts",
        parser=whole_argument,
        metavar="N",
        help="passages of a question that the generator reads (default: 5)",
    ),
]
TrailsFlag = Annotated[
    bool, toggle("--trails", "read the trails of a recall in place of single passages")
]
FrozenFlag = Annotated[
    bool, toggle("--frozen", "train the generator alone, and leave the retriever as it is")
]
ModelOption = Annotated[
    Path, path_option("--model", metavar="FOLDER", help="what `hoptrail train rag` wrote")
]
BeamsOption = Annotated[
    int,
    option(
        "--beams",
        parser=whole_argument,
        metavar="N",
        help="answers that are followed, and printed at most (default: 4)",
    ),
]


@command(
    train_commands,
    "rag",
    examples="""
train rag --store agent.db --questions train.jsonl --generator t5-small --out rag
train rag --store agent.db --questions train.jsonl --dev dev.jsonl --generator t5-small --out rag
train rag --store agent.db --questions train.jsonl --generator gpt2 --mode token --trails --out rag
train rag --store agent.db --questions train.jsonl --generator t5-small --frozen --out rag""",
)
def train_rag_model(
    context: typer.Context,
    store: StoreOption,
    questions: AnsweredOption,
    generator: GeneratorOption,
    out: OutOption,
    dev: MeasuredOption = None,
    mode: ModeOption = "sequence",
    contexts: ContextsOption = 5,
    trails: TrailsFlag = False,
    freeze_retriever: FrozenFlag = False,
    namespace: NamespaceOption = None,
    seed: SeedOption = 0,
    epochs: EpochsOption = None,
    tracker: TrackerOption = None,
    settings_file: SettingsFileOption = None,
    settings_out: WriteSettingsOption = None,
    encoder: EncoderOption = None,
    json: JsonFlag = False,
) -> int:
    """Train a generator and the query side of the retriever through the answers.

    The folder holds both, for `hoptrail generate`. Passages keep their vectors.
    """
    from hoptrail.api.memory import Memory
    from hoptrail.formats.jsonl import read_questions
    from hoptrail.learning.execution.processes import is_first_process, joined_processes
    from hoptrail.learning.generation.joint_training import RagConfig, rag_figures, train_rag
    from hoptrail.learning.generation.rag_model import check_rag_folder

    check_rag_folder(out)
    _check_store(store, encoder, questions, *([dev] if dev else []))
    options = {"seed": seed, "freeze_retriever": freeze_retriever or None, "epochs": epochs}
    config = training_config(context, RagConfig, options)
    loaded = load_named_encoder(encoder)
    with (
        leaving_no_empty_folder(out),
        training_progress(context, tracker, out, asdict(config), together=True) as steps,
        joined_processes(),
        Memory(store.place, encoder=loaded, track_usage=False) as memory,
    ):
        view = memory.store.view(namespace or ())
        model = _untrained(memory, loaded, generator, namespace, mode, contexts, seed)
        train, measured = (
            _examples(memory, view, read_questions(file) if file else [], trails)
            for file in (questions, dev)
        )
        measured = measured if is_first_process() else []
        before = rag_figures(model, measured) if measured else None
        collapse = train_rag(model, train, config, progress=steps)
        after = rag_figures(model, measured) if measured else None
        made_of = {
            "questions": len(train),
            "dev": {"before": before, "after": after},
            "collapse": collapse,
            "command": invocation_line(context),
        }
        if not is_first_process():
            return 0
        model.save(out, made_of)
        steps.keep_card(made_of)
    if json:
        print_json(made_of)
        return 0
    say(*_figure_lines(made_of), f"learned from {len(train)} questions and answers: {out}")
    return 0


def _untrained(
    memory: Memory,
    encoder: Encoder,
    generator: Path,
    namespace: Namespace | None,
    mode: RagMode,
    contexts: int,
    seed: int,
) -> RagModel:
    """The model that training begins with."""
    from hoptrail.learning.generation.generator import Generator
    from hoptrail.learning.generation.query_tower import QueryTower
    from hoptrail.learning.generation.rag_model import RagModel

    tower, reading = QueryTower(encoder, seed=seed), Generator.load(generator)
    return RagModel(memory.store, tower, reading, namespace or (), mode=mode, contexts=contexts)


def _figure_lines(made_of: Mapping[str, Any]) -> Iterator[str]:
    """What was measured before and after a training, and what it warns of."""
    before, after = made_of["dev"]["before"], made_of["dev"]["after"]
    for name in before or ():
        yield f"{name}: {before[name]:.3f} -> {after[name]:.3f}"
    for line in made_of["collapse"]["warnings"]:
        yield f"warning: {line}"


@command(
    app,
    "generate",
    panel=EVERY_DAY,
    examples="""
generate --store agent.db --model rag "Who designed Fram?"
generate --store agent.db --model rag --trails --json "Where was the designer of Fram born?\"""",
)
def generate_answer(
    question: Annotated[str, argument("QUESTION", "what to answer")],
    store: StoreOption,
    model: ModelOption,
    trails: TrailsFlag = False,
    beams: BeamsOption = 4,
    namespace: NamespaceOption = None,
    encoder: EncoderOption = None,
    json: JsonFlag = False,
) -> int:
    """Answer a question by a generator that reads what is retrieved.

    Each answer has its log-likelihood over the passages that were read; below them is the share of
    each passage.
    """
    from hoptrail.api.memory import Memory
    from hoptrail.learning.generation.rag_model import RagModel

    _check_store(store, encoder)
    with Memory(store.place, encoder=load_named_encoder(encoder), track_usage=False) as memory:
        loaded = RagModel.load(model, memory.store, namespace or ())
        view = memory.store.view(namespace or ())
        contexts = None
        if trails:
            walked = _trail_contexts(memory, view, question, namespace or ())
            contexts = loaded.read_trails([question], [walked])
        contexts = contexts or loaded.read([question])
        answers = loaded.answer(question, contexts, beams=beams)
        shares = contexts.log_prior[0].exp().tolist()
        passages = [[passage.id for passage in view.passages(slots)] for slots in contexts.slots[0]]
    if json:
        rows = [{"text": one.text, "log_likelihood": one.log_likelihood} for one in answers]
        contexts_read = [
            {"ids": ids, "share": share} for ids, share in zip(passages, shares, strict=True)
        ]
        print_json({"question": question, "answers": rows, "contexts": contexts_read})
        return 0
    say(*(f"{one.log_likelihood:8.2f}  {one.text}" for one in answers))
    for ids, share in zip(passages, shares, strict=True):
        say(f"   {share:6.1%} {', '.join(ids)}")
    return 0


def _check_store(store: StoreLocation, encoder: str | None, *files: Path) -> None:
    """Refuse to begin where a file cannot be read, there is no store, or no encoder is installed.

    Raises:
        StoreUnavailable: There is none.
        MissingExtra: The default encoder is not installed.
    """
    check_readable(*files)
    check_encoder_installed(encoder)
    check_store(store)


def _examples(
    memory: Memory, view: View, questions: Sequence[Question], trails: bool
) -> list[RagExample]:
    """The questions that have an answer, with what is known of their passages.

    Raises:
        InputError: There are questions, and none has an answer; or one names a passage that is not
            in the memory.
    """
    from hoptrail.learning.generation.joint_training import RagExample

    examples = []
    for question in questions:
        if not question.answers:
            continue
        gold = set()
        for id in question.supporting_ids:
            slot = view.slot_of(id, question.namespace)
            if slot is None:
                raise InputError(
                    f"question {question.id!r} names the passage {id!r}, which is not in the memory"
                )
            gold.add(slot)
        contexts: tuple[TrailContext, ...] = ()
        if trails:
            contexts = tuple(_trail_contexts(memory, view, question.text, question.namespace))
        examples.append(RagExample(question.text, question.answers[0], frozenset(gold), contexts))
    if questions and not examples:
        raise InputError("there is nothing to learn from: no question has an answer")
    return examples


def _trail_contexts(
    memory: Memory, view: View, question: str, namespace: Namespace
) -> list[TrailContext]:
    """The trails of a recall, as contexts."""
    from hoptrail.learning.generation.rag_model import TrailContext

    recall = memory.recall(question, namespace=namespace)
    contexts = []
    for trail in recall.trails:
        slots = [view.slot_of(hop.id, hop.namespace) for hop in trail.hops]
        places = tuple(slot for slot in slots if slot is not None)
        if places and trail.probability > 0:
            contexts.append(TrailContext(places, math.log(trail.probability)))
    return contexts
