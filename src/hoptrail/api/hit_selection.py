"""How much a recall returns: so many passages, those needed or worth reading, or a budget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Literal

from hoptrail.errors import InputError, PolicyError
from hoptrail.values.numbers import finite, shown, whole

if TYPE_CHECKING:
    from hoptrail.types import Hit

USUAL = 5
"""Passages that come back where nothing says how many."""
MOST = 50
"""Passages that come back at most where something else than `k` decides."""

Until = Literal["complete"]


class UncalibratedError(PolicyError):
    """What is to come back depends on what a policy has not learned to state."""


@dataclass(frozen=True, slots=True)
class HitSelection:
    """Which of a ranking come back: the longest prefix that every limit allows."""

    k: int
    """So many at most."""
    complete: bool = False
    """Only the set that is needed; see `expected_best`."""
    tokens: int | None = None
    """Only what fits, in the encoder's tokens of `Passage.content`."""
    min_score: float | None = None
    """Only what is needed with at least this probability."""
    patience: float | None = None
    """Only what is worth reading to whom finding everything is worth so many passages."""

    @classmethod
    def parse(
        cls,
        k: int | None = None,
        until: Until | None = None,
        tokens: int | None = None,
        min_score: float | None = None,
        patience: float | None = None,
    ) -> HitSelection:
        """What a caller asks for, checked.

        Args:
            k: As `Memory.recall` takes it, and the others too.
            until: "complete" or None.
            tokens: At least 1.
            min_score: In [0, 1].
            patience: A number above 0; not beside `until`.

        Raises:
            InputError: One is not what it should be, or two of them contradict each other.
        """
        if until not in (None, "complete"):
            raise InputError(
                f'until must be "complete" or None, got {shown(until)}: a number of passages is k'
            )
        if tokens is not None:
            whole(tokens, "tokens", least=1)
        least = None if min_score is None else finite(min_score)
        if min_score is not None and (least is None or not 0 <= least <= 1):
            raise InputError(f"min_score must be a probability in [0, 1], got {shown(min_score)}")
        decides = (until, tokens, patience)
        usual = USUAL if all(one is None for one in decides) else MOST
        count = usual if k is None else whole(k, "k", least=1)
        return cls(count, until is not None, tokens, least, _checked_patience(patience, until))

    def reach(
        self,
        count: int,
        probabilities: Sequence[float] | None,
        prices: Sequence[float] | None = None,
    ) -> int:
        """How many of a ranking come back, as far as its texts have no say in it.

        Args:
            count: Passages ranked.
            probabilities: `(n,)` that each is needed, never rising; None where there are none.
            prices: `(n,)` up to which price each is read, never rising; None where there are none.

        Raises:
            UncalibratedError: There are none, and they are needed.
        """
        length = min(self.k, count)
        if count and self.patience is not None:
            if prices is None:
                raise UncalibratedError(
                    "patience needs a policy that has learned when to stop, and this one has not "
                    "(`hoptrail train calibration` fits it), or the question was walked over "
                    "relations; say k or tokens instead"
                )
            length = min(length, sum(price * self.patience >= 1 for price in prices))
        if not count or not (self.complete or self.min_score is not None):
            return length
        if probabilities is None:
            name = 'until="complete"' if self.complete else "min_score"
            raise UncalibratedError(
                f"{name} needs calibrated scores, and there are none: this policy has no "
                "calibration (`hoptrail train calibration` fits one), or the question was walked "
                "over relations; say k or tokens instead"
            )
        if self.complete:
            length = min(length, expected_best(probabilities))
        if self.min_score is not None:
            least = self.min_score
            length = min(length, sum(probability >= least for probability in probabilities))
        return length

    def fitting(
        self, hits: Sequence[Hit], count_tokens: Callable[[Sequence[str]], list[int]]
    ) -> tuple[Hit, ...]:
        """The first hits, as many as fit.

        Args:
            hits: The best first.
            count_tokens: Of each text, in the encoder's tokens.
        """
        if self.tokens is None:
            return tuple(hits)
        totals = accumulate(count_tokens([hit.passage.content for hit in hits]))
        return tuple(hits[: sum(total <= self.tokens for total in totals)])


def _checked_patience(patience: object, until: Until | None) -> float | None:
    """The patience that is meant; None for none.

    Raises:
        InputError: It is no number above 0, or something else says when to stop.
    """
    if patience is None:
        return None
    number = finite(patience)
    if number is None or number <= 0:
        raise InputError(f"patience must be a number above 0, got {shown(patience)}")
    if until is not None:
        raise InputError(
            f'until="{until}" and patience both say when to stop reading: give one of them'
        )
    return number


def token_counter(encoder: object, tokens: int | None) -> Callable[[Sequence[str]], list[int]]:
    """What counts tokens of texts, as the encoder's tokenizer has them.

    Args:
        encoder: The memory's.
        tokens: The budget; None where there is none, and nothing is counted.

    Raises:
        InputError: There is a budget, and the encoder does not count tokens.
    """
    from hoptrail.memory.encoders.windows import count_tokens, counts_tokens

    if tokens is not None and not counts_tokens(encoder):
        raise InputError(
            f"tokens needs an encoder that counts tokens, which {type(encoder).__name__} does not: "
            "say k instead"
        )
    return lambda texts: count_tokens(encoder, texts)


def expected_best(probabilities: Sequence[float]) -> int:
    """The length of the prefix that is probably nearest to the set of what is needed.

    Of the first k, with s the sum of all probabilities, F1 is expected to be about
    2 Σ over i <= k of p(i) / (k + s); the smallest k where this is highest is taken.

    Source: Lewis 1995, "Evaluating and optimizing autonomous text classification systems", with
    the expectation taken above and below.

    Args:
        probabilities: Of each passage of a ranking, never rising.

    Returns:
        At least 1 where there is one.
    """
    total, inside, best, length = sum(probabilities), 0.0, -1.0, 0
    for count, probability in enumerate(probabilities, start=1):
        inside += probability
        expected = inside / (count + total)
        if expected > best:
            best, length = expected, count
    return length
