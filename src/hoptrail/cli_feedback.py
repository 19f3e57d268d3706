"""Training from use: `hoptrail train --from-feedback`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from hoptrail.cli_common import REFUSED, encoder_of, namespace_of
from hoptrail.errors import ConfigError, StoreUnavailable

_OF_SETS = ("dev", "objective", "networks", "resume")
"""Options of training on questions, which mean nothing here."""
_OF_FEEDBACK = ("policy", "questions", "namespace")
"""Options of learning from feedback, which mean nothing there."""


def feedback_options(parser: argparse.ArgumentParser, source: Any) -> None:
    """`--from-feedback` beside `--set`, and what goes with it."""
    source.add_argument(
        "--from-feedback",
        type=Path,
        metavar="STORE",
        help="learn from the feedback in this memory; refused (exit code 3) unless it does no harm",
    )
    parser.add_argument(
        "--policy", type=Path, metavar="DIR", help="what --from-feedback starts from"
    )
    parser.add_argument(
        "--questions",
        type=Path,
        metavar="QUESTIONS.jsonl",
        help="100 questions or more about the memory, to judge --from-feedback by; otherwise a "
        "fifth of the feedback is held back for that",
    )
    parser.add_argument(
        "--namespace", type=namespace_of, metavar="A/B", help="only feedback of this namespace"
    )


def check_options(args: argparse.Namespace) -> None:
    """Refuse options that the way of training has no use for.

    Raises:
        ConfigError: One was given.
    """
    given = vars(args)
    wrong = [name for name in (_OF_SETS if args.from_feedback else _OF_FEEDBACK) if given[name]]
    if wrong:
        way = "--from-feedback" if args.from_feedback else "--set"
        raise ConfigError(f"--{wrong[0]} does not go with {way}")


def train_from_feedback(args: argparse.Namespace) -> int:
    """Let a policy learn from a memory's feedback, and write it if it does no harm."""
    from hoptrail import show
    from hoptrail.evaluation.use import learn_from_use
    from hoptrail.front import loaded_policy
    from hoptrail.memory.store import Store
    from hoptrail.policies.tune import TuneConfig

    file: Path = args.from_feedback
    if not file.exists():
        raise StoreUnavailable(f"there is no store at {file}: recall.feedback writes to one")
    chosen = {"seed": args.seed, "epochs": args.epochs}
    config = TuneConfig(**{name: value for name, value in chosen.items() if value is not None})
    policy = loaded_policy(args.policy or "shipped")
    with show.Steps() as steps:
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
                questions=args.questions,
                progress=steps,
                command=args.command,
            )
    if not update.verdict.accepted:
        sentence = f"the update was refused and nothing was written: {update.verdict}"
        sys.stderr.write(f"hoptrail: {sentence}\n")
        return REFUSED
    sys.stdout.write(f"{update.verdict}\n")
    sys.stdout.write(f"learned from {update.learned} recalls: {args.out}\n")
    return 0
