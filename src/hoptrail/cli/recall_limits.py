"""How much `hoptrail recall` returns: the options, and what is said of it."""

from __future__ import annotations

from typing import Annotated, Literal

from hoptrail.cli.options import number_argument, option, whole_argument
from hoptrail.errors import InputError
from hoptrail.types import Recall

LimitOption = Annotated[
    int | None,
    option(
        "--k",
        parser=whole_argument,
        metavar="N",
        help="passages (default: 5, and at most 50 with --until, --tokens or --patience)",
    ),
]
UntilOption = Annotated[
    Literal["complete"] | None,
    option("--until", parser=None, help="`complete`: as many passages as are needed"),
]
BudgetOption = Annotated[
    int | None,
    option(
        "--tokens",
        parser=whole_argument,
        metavar="N",
        help="as many passages as have no more tokens together, as the encoder counts them",
    ),
]
MinScoreOption = Annotated[
    float | None,
    option(
        "--min-score",
        parser=number_argument,
        metavar="P",
        help="only passages that are needed with at least this probability",
    ),
]
PatienceOption = Annotated[
    float | None,
    option(
        "--patience",
        parser=number_argument,
        metavar="N",
        help="read on while the next passage is expected to bring 1/N of what is needed",
    ),
]


ServedBudgetOption = Annotated[
    int | None,
    option(
        "--recall-tokens",
        parser=whole_argument,
        metavar="N",
        help="a recall returns as many passages as have no more tokens together, as the encoder "
        "counts them",
    ),
]
"""Of a server, whose `--tokens` are those of its callers."""


def check_limits(
    trail: bool, until: object, tokens: object, min_score: object, patience: object
) -> None:
    """Refuse limits beside --trail, which shows a walk with all that it ranked.

    Raises:
        InputError: One is given.
    """
    named = {
        "--until": until,
        "--tokens": tokens,
        "--min-score": min_score,
        "--patience": patience,
    }
    for name, value in named.items():
        if trail and value is not None:
            raise InputError(
                f"{name} does not go with --trail, which shows the whole walk: say --k instead"
            )


def completeness_line(recall: Recall) -> str:
    """How probably the passages of a recall suffice, for a person."""
    if recall.complete is None:
        return "how probably they suffice is not known: these scores are not calibrated"
    return f"they suffice with a probability of {recall.complete:.0%}"
