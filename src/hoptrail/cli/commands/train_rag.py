"""The command that trains a retriever and a generator together, on the answers alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from hoptrail.cli.app import command
from hoptrail.cli.command import invocation_line
from hoptrail.cli.commands.train import train_commands
from hoptrail.cli.opening import (
    check_encoder_installed,
    check_readable,
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
    option,
    path_option,
    toggle,
    whole_argument,
)
from hoptrail.cli.printing import print_json, say
from hoptrail.errors import InputError, StoreUnavailable

if TYPE_CHECKING:
    from hoptrail.api.memory import Memory
    from hoptrail.learning.generation.joint_training import RagExample
    from hoptrail.memory.views.view import View
    from hoptrail.types import Question


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
    questions: Annotated[
        Path,
        path_option(
            "--questions",
            metavar="QUESTIONS.jsonl",
            help="questions with answers; their supporting passages need not be known",
        ),
    ],
    generator: Annotated[
        Path,
        path_option(
            "--generator",
            metavar="FOLDER",
            help="a sequence-to-sequence or causal model of Hugging Face, as save_pretrained "
            "writes it",
        ),
    ],
    out: OutOption,
    dev: Annotated[
        Path | None,
        path_option(
            "--dev", metavar="QUESTIONS.jsonl", help="questions to measure on, before and after"
        ),
    ] = None,
    mode: Annotated[
        Literal["sequence", "token"],
        option(
            "--mode",
            parser=None,
            help="one passage for the whole answer, or one for each token (default: sequence)",
        ),
    ] = "sequence",
    contexts: Annotated[
        int,
        option(
            "--contexts",
            parser=whole_argument,
            metavar="N",
            help="passages of a question that the generator reads (default: 5)",
        ),
    ] = 5,
    trails: Annotated[
        bool, toggle("--trails", "read the trails of a recall in place of single passages")
    ] = False,
    frozen: Annotated[
        bool, toggle("--frozen", "train the generator alone, and leave the retriever as it is")
    ] = False,
    namespace: NamespaceOption = None,
    seed: SeedOption = 0,
    epochs: EpochsOption = None,
    encoder: EncoderOption = None,
    json: JsonFlag = False,
) -> int:
    """Train a generator and the query side of the retriever through the answers.

    The folder holds both; `RagModel.load` of hoptrail.learning reads it. Passages keep their
    vectors.
    """
    from hoptrail.api.memory import Memory
    from hoptrail.cli import output
    from hoptrail.formats.jsonl import read_questions
    from hoptrail.learning.generation.generator import Generator
    from hoptrail.learning.generation.joint_training import RagConfig, rag_figures, train_rag
    from hoptrail.learning.generation.query_tower import QueryTower
    from hoptrail.learning.generation.rag_model import RagModel

    check_readable(questions, *([dev] if dev else []))
    check_encoder_installed(encoder)
    if not store.exists():
        raise StoreUnavailable(f"there is no store at {store}: hoptrail add makes one")
    settings: dict[str, Any] = {"seed": seed, "freeze_retriever": frozen}
    if epochs is not None:
        settings["epochs"] = epochs
    config = RagConfig(**settings)
    loaded = load_named_encoder(encoder)
    with (
        leaving_no_empty_folder(out),
        output.Steps() as steps,
        Memory(store, encoder=loaded, track_usage=False) as memory,
    ):
        view = memory.store.view(namespace or ())
        tower = QueryTower(loaded, seed=seed)
        model = RagModel(
            memory.store,
            tower,
            Generator.load(generator),
            namespace or (),
            mode=mode,
            contexts=contexts,
        )
        train, measured = (
            _examples(memory, view, read_questions(file) if file else [], trails)
            for file in (questions, dev)
        )
        before = rag_figures(model, measured) if measured else None
        collapse = train_rag(model, train, config, progress=steps)
        after = rag_figures(model, measured) if measured else None
        made_of = {
            "questions": len(train),
            "dev": {"before": before, "after": after},
            "collapse": collapse,
            "command": invocation_line(context),
        }
        model.save(out, made_of)
    if json:
        print_json(made_of)
        return 0
    if before and after:
        say(*(f"{name}: {before[name]:.3f} -> {after[name]:.3f}" for name in before))
    say(*(f"warning: {line}" for line in collapse["warnings"]))
    say(f"learned from {len(train)} questions and answers: {out}")
    return 0


def _examples(
    memory: Memory, view: View, questions: Sequence[Question], trails: bool
) -> list[RagExample]:
    """The questions that have an answer, with what is known of their passages.

    Raises:
        InputError: There are questions, and none has an answer.
    """
    from hoptrail.learning.generation.joint_training import RagExample

    examples = []
    for question in questions:
        if not question.answers:
            continue
        slots = [view.slot_of(id, question.namespace) for id in question.supporting_ids]
        contexts = _trail_contexts(memory, view, question) if trails else ()
        examples.append(
            RagExample(
                question.text,
                question.answers[0],
                frozenset(slot for slot in slots if slot is not None),
                tuple(contexts),
            )
        )
    if questions and not examples:
        raise InputError("there is nothing to learn from: no question has an answer")
    return examples


def _trail_contexts(memory: Memory, view: View, question: Question) -> list[Any]:
    """The trails of a recall, as contexts."""
    from hoptrail.learning.generation.rag_model import TrailContext

    recall = memory.recall(question.text, namespace=question.namespace)
    contexts = []
    for trail in recall.trails:
        slots = [view.slot_of(hop.id, hop.namespace) for hop in trail.hops]
        places = tuple(slot for slot in slots if slot is not None)
        if places and trail.probability > 0:
            contexts.append(TrailContext(places, math.log(trail.probability)))
    return contexts
