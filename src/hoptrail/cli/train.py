"""The command that trains a policy."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hoptrail.cli import triples
from hoptrail.cli.arguments import (
    number_argument,
    path_argument,
    seed_argument,
    whole_argument,
)
from hoptrail.cli.feedback import check_options, feedback_options, train_from_feedback
from hoptrail.cli.options import (
    Commands,
    command,
    encoder_of,
    encoder_option,
    leaving_no_empty_folder,
    readable,
    say,
    schedule_options,
)
from hoptrail.errors import InputError

if TYPE_CHECKING:
    from hoptrail.policies.objectives.rewards import RewardFunction
    from hoptrail.policies.policy import Policy

OPTIONS = (
    *("objective", "seed", "epochs", "tuning_epochs", "tuning_rate"),
    *("networks", "self_supervised", "joint", "augmentation_share"),
)
"""Options of `train` that are settings by the same name."""
VARIED = 0.35
"""The share of the questions that are varied where it is not said how many."""
MADE = 600
"""Questions that are made where it is not said how many."""


def register(commands: Commands) -> None:
    """Add the command to the program's parser."""
    parser = command(
        commands,
        "train",
        train,
        description="Train a policy: on questions, on questions that are made from the passages "
        "themselves, or on the feedback in a memory. Writes a folder that --policy reads.",
        examples="""
hoptrail train --set corpus.jsonl questions.jsonl --out my-policy
hoptrail train --self-supervised --corpus agent.db --out my-policy
hoptrail train --self-supervised --corpus corpus.jsonl --show 10
hoptrail train --set a.jsonl qa.jsonl --set b.jsonl qb.jsonl --dev c.jsonl qc.jsonl --out both
hoptrail train --set corpus.jsonl questions.jsonl --resume --out my-policy
hoptrail train --from-feedback agent.db --out my-policy
hoptrail train --triples graph.txt --questions qa.jsonl --first 1000 --out my-policy""",
    )
    pair: dict[str, Any] = {
        "action": "append",
        "nargs": 2,
        "type": path_argument,
        "metavar": ("CORPUS", "QUESTIONS"),
    }
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--set",
        default=[],
        dest="sets",
        help="a corpus (or a store) and its questions; repeatable",
        **pair,
    )
    feedback_options(parser, source)
    triples.train_options(parser, source)
    parser.add_argument("--dev", default=[], help="as --set, for measuring only", **pair)
    parser.add_argument(
        "--objective",
        metavar="NAMES",
        help="imitation, marginal, reinforce, or several with commas (default: imitation)",
    )
    parser.add_argument(
        "--reward",
        metavar="NAME",
        help="what reinforce goes by: evidence (the supporting passages), answer (whether what was "
        "read holds an answer), or module:function (default: evidence where known, else answer)",
    )
    _varied_option(parser)
    _register_self_supervision(parser)
    parser.add_argument("--seed", type=seed_argument, default=0, metavar="N", help="(default: 0)")
    schedule_options(parser)
    parser.add_argument(
        "--networks", type=whole_argument, metavar="N", help="networks that are averaged"
    )
    parser.add_argument(
        "--joint",
        action="store_true",
        default=None,
        help="fit what effort thorough counts, too, on a fifth of the questions held back",
    )
    parser.add_argument("--resume", action="store_true", help="go on where a run was stopped")
    parser.add_argument(
        "--out",
        type=path_argument,
        metavar="POLICY_DIR",
        help="the folder to write; other files in it stay",
    )
    encoder_option(parser)


def _varied_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--varied",
        dest="augmentation_share",
        nargs="?",
        type=number_argument,
        const=VARIED,
        metavar="SHARE",
        help="ask a share of the questions of --set again over other kinds of memory that are made "
        "from its corpus: texts without titles, and what is like a passage that is left out; "
        "from these every other network learns, the first included "
        f"(SHARE by default: {VARIED})",
    )


def _register_self_supervision(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--self-supervised",
        nargs="?",
        type=whole_argument,
        const=MADE,
        default=0,
        metavar="N",
        help="first learn from N questions made from the passages, with no labels; a policy "
        f"that is trained already keeps half of its weights (N by default: {MADE})",
    )
    parser.add_argument(
        "--corpus",
        dest="unlabelled",
        action="append",
        default=[],
        type=path_argument,
        metavar="PATH",
        help="a corpus or a store to make them of; repeatable (default: the corpora of --set)",
    )
    parser.add_argument(
        "--show",
        type=whole_argument,
        metavar="N",
        help="make N of these questions, print them, and stop",
    )
    parser.add_argument(
        "--start",
        metavar="POLICY",
        help="what to go on from: shipped, a policy's folder, or nothing "
        "(default: nothing where questions are given, shipped otherwise)",
    )


def train(args: argparse.Namespace) -> int:
    """Train a policy."""
    check_options(args)
    if args.out is None and args.show is None:
        raise InputError("the folder to write is missing: give --out POLICY_DIR")
    if args.from_feedback:
        return train_from_feedback(args)
    if args.triples:
        return triples.train(args)
    from hoptrail.cli import output
    from hoptrail.policies.data.training_data import TrainingData, TrainingSet
    from hoptrail.policies.training.config import RunOptions, TrainConfig
    from hoptrail.policies.training.run import train as train_policy

    for corpus, questions in [*args.sets, *args.dev]:
        readable(corpus, questions)
    readable(*args.unlabelled)
    if args.show is not None:
        return _show_made(args)
    if args.unlabelled and not args.self_supervised:
        raise InputError("--corpus is for --self-supervised: a corpus alone has no questions")
    if not args.sets and not args.unlabelled:
        raise InputError(
            "there is nothing to train on: give --set CORPUS QUESTIONS, "
            "or --self-supervised and --corpus PATH"
        )
    chosen = {name: getattr(args, name) for name in OPTIONS}
    if not args.sets and args.objective is None:
        chosen["objective"] = ""
    chosen["reward"] = _reward(args.reward)
    config = TrainConfig(**{name: value for name, value in chosen.items() if value is not None})
    data = TrainingData(
        train=[TrainingSet(*pair) for pair in args.sets],
        dev=[TrainingSet(*pair) for pair in args.dev],
        unlabelled=args.unlabelled,
    )
    with leaving_no_empty_folder(args.out), output.Steps() as steps:
        card = train_policy(
            data,
            args.out,
            config,
            encoder=encoder_of(args),
            start=_start(args),
            options=RunOptions(args.resume, steps, args.command),
        )
    console = output.output()
    console.print(output.rows_table("", _last_of_curves(card["curves"])))
    if card["dev"]:
        console.print(output.rows_table("", _dev_rows(card["dev"])))
    made = f", {card['made']} of them made" if card["made"] else ""
    say(f"trained on {card['questions'] + card['made']} questions{made}: {args.out}")
    return 0


def _start(args: argparse.Namespace) -> Policy | None:
    """The policy that training goes on from."""
    from hoptrail.policies.policy import Policy

    start = args.start or ("nothing" if args.sets else "shipped")
    if start == "nothing":
        return None
    return Policy.shipped() if start == "shipped" else Policy.load(start)


def _reward(name: str | None) -> str | RewardFunction | None:
    """What `--reward` names: a reward of ours, or a function found as Python finds modules.

    Raises:
        InputError: There is no such function.
    """
    if name is None or ":" not in name:
        return name
    module, _, attribute = name.partition(":")
    sys.path.insert(0, "")  # as `python -m` does: a function in the folder at hand is found
    try:
        found: RewardFunction = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(f"--reward {name} cannot be loaded: {error}") from error
    finally:
        sys.path.remove("")
    if not callable(found):
        raise InputError(f"--reward {name} is not a function")
    return found


def _show_made(args: argparse.Namespace) -> int:
    """Print questions that would be made, each with its answer and the passages it takes."""
    from hoptrail.cli import output
    from hoptrail.policies.training.preparation import show_pseudo_questions

    corpora = args.unlabelled or list(dict.fromkeys(corpus for corpus, _ in args.sets))
    if not corpora:
        raise InputError("there is nothing to make questions of: give --corpus PATH")
    with output.Steps() as steps:
        made = show_pseudo_questions(
            corpora, count=args.show, seed=args.seed, encoder=encoder_of(args), progress=steps
        )
    for question, passages in made:
        answer = f"  ({question.answers[0]})" if question.answers else ""
        say(f"{question.text}{answer}")
        for passage in passages:
            said = passage.title or passage.text[:60]
            say(f"    {passage.id}  {said}")
    return 0


def _last_of_curves(curves: Sequence[dict[str, Any]]) -> list[list[str]]:
    """The figures of the last epoch of each network and stage."""
    last = {(curve["network"], curve["stage"]): curve for curve in curves}
    named = dict.fromkeys(name for curve in last.values() for name in curve)
    figures = [name for name in named if name not in ("network", "stage", "epoch")]
    rows = [["stage", "network", "epochs", *figures]]
    for (network, stage), curve in last.items():
        values = [f"{curve[name]:.4g}" if name in curve else "" for name in figures]
        rows.append([stage, str(network + 1), str(curve["epoch"]), *values])
    return rows


def _dev_rows(sets: Sequence[dict[str, Any]]) -> list[list[str]]:
    """How the policy does on the sets that it was not trained on."""
    measures = [name for name in sets[0] if name.startswith("recall@")]
    rows = [["measured on", *measures]]
    rows += [[one["questions"], *(f"{100 * one[m]:.1f}" for m in measures)] for one in sets]
    return rows
