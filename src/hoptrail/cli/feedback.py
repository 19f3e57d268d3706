"""Training from use: `hoptrail train --from-feedback`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from hoptrail.cli.arguments import namespace_argument, path_argument
from hoptrail.cli.options import REFUSED, encoder_of, say
from hoptrail.errors import ConfigError, StoreUnavailable

_OF_SETS = (
    *("dev", "objective", "reward", "networks", "resume"),
    *("tuning_epochs", "tuning_rate"),
    *("self_supervised", "unlabelled", "show", "start"),
)
"""Options of training on questions, those that are made among them."""
_WAYS = ("from_feedback", "triples", "sets")
"""What a policy may be trained from, as the parser calls it."""
_GO_WITH = {
    **dict.fromkeys(_OF_SETS, ("sets",)),
    **dict.fromkeys(("policy", "questions"), ("from_feedback", "triples")),
    **dict.fromkeys(("first", "paths"), ("triples",)),
    "namespace": ("from_feedback",),
}
"""The ways in which an option means something; those not here go with all."""


def feedback_options(parser: argparse.ArgumentParser, source: Any) -> None:
    """`--from-feedback` beside `--set`, and what goes with it."""
    source.add_argument(
        "--from-feedback",
        type=path_argument,
        metavar="STORE",
        help="learn from the feedback in this memory; refused (exit code 3) unless it does no harm",
    )
    parser.add_argument(
        "--policy",
        type=path_argument,
        metavar="DIR",
        help="what --from-feedback starts from, and what --triples takes over to walk texts",
    )
    parser.add_argument(
        "--questions",
        nargs="+",
        type=path_argument,
        metavar="QUESTIONS.jsonl",
        help="with --triples, files of questions and their answers; with --from-feedback, 100 "
        "questions or more about the memory to judge by: otherwise a fifth of the feedback is "
        "held back for that",
    )
    parser.add_argument(
        "--namespace",
        type=namespace_argument,
        metavar="A/B",
        help="only feedback of this namespace",
    )


def check_options(args: argparse.Namespace) -> None:
    """Refuse options that the way of training has no use for.

    Raises:
        ConfigError: One was given.
    """
    given = vars(args)
    way = next((name for name in _WAYS if given[name]), "sets")
    wrong = [name for name, ways in _GO_WITH.items() if given[name] and way not in ways]
    if wrong:
        raise ConfigError(f"--{_said(wrong[0])} does not go with --{_said(way)}")
    if way == "from_feedback" and len(args.questions or ()) > 1:
        raise ConfigError("--from-feedback takes one file of --questions")


def _said(name: str) -> str:
    """An option as it is written on the command line."""
    return {"sets": "set", "unlabelled": "corpus"}.get(name, name.replace("_", "-"))


def train_from_feedback(args: argparse.Namespace) -> int:
    """Let a policy learn from a memory's feedback, and write it if it does no harm."""
    from hoptrail.api.recalling import loaded_policy
    from hoptrail.cli import output
    from hoptrail.evaluation.use import learn_from_use
    from hoptrail.memory.store import Store
    from hoptrail.policies.feedback.off_policy import TuneConfig

    file: Path = args.from_feedback
    if not file.exists():
        raise StoreUnavailable(f"there is no store at {file}: recall.feedback writes to one")
    chosen = {"seed": args.seed, "epochs": args.epochs}
    config = TuneConfig(**{name: value for name, value in chosen.items() if value is not None})
    policy = loaded_policy(args.policy or "shipped")
    with output.Steps() as steps:
        # Not the one with the disk cache: what users asked should leave no vector there.
        encoder = encoder_of(args)
        with Store(file, encoder=encoder) as store:
            update = learn_from_use(
                store,
                policy,
                args.out,
                encoder=encoder,
                config=config,
                namespace=args.namespace or (),
                questions=args.questions[0] if args.questions else None,
                progress=steps,
                command=args.command,
            )
    if not update.verdict.accepted:
        sentence = f"the update was refused and nothing was written: {update.verdict}"
        say(f"hoptrail: {sentence}", stream=sys.stderr)
        return REFUSED
    say(f"{update.verdict}")
    say(f"learned from {update.learned} recalls: {args.out}")
    return 0
