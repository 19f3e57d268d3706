"""Training and measuring on knowledge graphs: `train --triples` and `evaluate --triples`."""

from __future__ import annotations

import argparse
from typing import Any

from hoptrail.cli.arguments import path_argument, whole_argument
from hoptrail.cli.options import check_results, encoder_of, say
from hoptrail.errors import InputError


def train_options(parser: argparse.ArgumentParser, source: Any) -> None:
    """`--triples` beside the other ways to train, and what goes with it alone."""
    source.add_argument(
        "--triples",
        type=path_argument,
        metavar="TRIPLES",
        help="learn to walk a knowledge graph, a line head|relation|tail, from --questions",
    )
    group = parser.add_argument_group("with --triples")
    group.add_argument(
        "--first", type=whole_argument, metavar="N", help="only the first N of each file"
    )
    group.add_argument(
        "--paths",
        action="store_true",
        help="learn from the relations that the files give as path, not from the answers",
    )


def evaluate_options(parser: argparse.ArgumentParser) -> None:
    """The options of `evaluate` that go with `--triples`."""
    group = parser.add_argument_group("with --triples, on questions whose answers are entities")
    group.add_argument(
        "--first", type=whole_argument, metavar="N", help="only the first N of each file"
    )
    group.add_argument(
        "--last", type=whole_argument, metavar="N", help="only the last N of each file"
    )


def train(args: argparse.Namespace) -> int:
    """Train what leads walks over relations."""
    from hoptrail.api.recalling import loaded_policy
    from hoptrail.cli import output
    from hoptrail.policies.relations.training import RelationConfig, train_relations

    if not args.questions:
        raise InputError("train --triples needs --questions: files of questions and answers")
    chosen = {name: getattr(args, name) for name in ("seed", "epochs", "first")}
    config = RelationConfig(
        **{name: value for name, value in chosen.items() if value is not None},
        supervision="paths" if args.paths else "answers",
    )
    with output.Steps() as steps:
        card = train_relations(
            args.triples,
            args.questions,
            args.out,
            config=config,
            encoder=encoder_of(args),
            policy=loaded_policy(args.policy or "shipped"),
            progress=steps,
            command=args.command,
        )["relations"]
    say(
        f"trained on {card['trained on']} questions, loss {card['curve'][-1]['loss']:.3f}: "
        f"{args.out}"
    )
    return 0


def evaluate(args: argparse.Namespace) -> int:
    """Hits@1 of retrievers."""
    from hoptrail.cli import output
    from hoptrail.evaluation.entity_questions import EntitySettings, evaluate_entities, rows
    from hoptrail.formats.jsonl import write_json

    if args.plot:
        raise InputError("--plot does not go with --triples")
    names = (name.strip() for name in args.retrievers.split(","))
    settings = EntitySettings(
        tuple(filter(None, names)),
        first=args.first,
        last=args.last,
        effort=args.effort,
        seed=args.seed,
    )
    check_results(args, inputs=(args.triples, *args.questions))
    with output.Steps() as steps:
        found = evaluate_entities(
            args.triples,
            args.questions,
            settings,
            encoder=encoder_of(args),
            policy=args.policy or "shipped",
            progress=steps.stage("asking"),
        )
    if args.json:
        write_json(args.json, found)
    questions = sum(one["questions"] for one in found["files"])
    console = output.output()
    console.print(output.rows_table(f"{questions} questions, intervals over topics", rows(found)))
    return 0
