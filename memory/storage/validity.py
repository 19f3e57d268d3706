"""As of when passages are read: what is valid now, what was at a moment, or what ever was.

A passage is valid from `valid_from` on and until `valid_until`, which is the first moment at which
it is not. Every reading of passages judges by the `Moment` of the scope that it is given
(`Scope.moment`), so that one rule says who is seen, in SQL and in Python. What has expired is gone
for good, whatever the moment.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hoptrail.errors import InputError
from hoptrail.types import AsOf, Passage
from hoptrail.values.json_values import instant

EVER_TEXT = "ever"
"""What a caller gives for all that was valid at any time."""


@dataclass(frozen=True, slots=True)
class Moment:
    """As of when passages are read; `NOW` and `EVER` are two, `Moment.parse` gives others."""

    at: float | None = None
    """Seconds since 1970; None for now."""
    ever: bool = field(default=False, kw_only=True)
    """Whether passages are read whenever they were valid."""

    @classmethod
    def parse(cls, as_of: AsOf | Moment | None) -> Moment:
        """The moment that a caller means; one that was parsed is given back as it is.

        Args:
            as_of: A time that says its offset, "ever", or None for now.

        Raises:
            InputError: It is none of these.
        """
        if isinstance(as_of, Moment):
            return as_of
        if as_of is None:
            return NOW
        if isinstance(as_of, str) and as_of == EVER_TEXT:
            return EVER
        return cls(instant(as_of, 'as_of, where it is not "ever",'))

    @property
    def moves(self) -> bool:
        """Whether it goes with the clock: what is valid changes though nobody writes."""
        return self.at is None and not self.ever

    def judged_at(self, now: float) -> float:
        """When validity is judged; of no meaning where passages of any time are read.

        Args:
            now: Seconds since 1970.
        """
        return now if self.at is None else self.at

    def includes(self, passage: Passage, now: float) -> bool:
        """Whether a passage is read: it has not expired, and is valid then.

        Args:
            passage: Any.
            now: Seconds since 1970.
        """
        if passage.expires_at is not None and passage.expires_at <= now:
            return False
        return self.ever or holds(passage, self.judged_at(now))

    def condition(self, now: float, table: str = "") -> tuple[str, tuple[float, ...]]:
        """The same of a row of `passages`, as SQL and its parameters.

        Args:
            now: Seconds since 1970.
            table: The table's name in the statement, with a dot behind it.
        """
        alive = f"({table}expires_at IS NULL OR {table}expires_at > ?)"
        if self.ever:
            return alive, (now,)
        valid, values = self.valid(now, table)
        return f"{alive} AND {valid}", (now, *values)

    def valid(self, now: float, table: str = "") -> tuple[str, tuple[float, ...]]:
        """Whether a row is valid then, expired or not, as SQL and its parameters.

        Args:
            now: Seconds since 1970.
            table: The table's name in the statement, with a dot behind it.
        """
        if self.ever:
            return "1", ()
        at = self.judged_at(now)
        return (
            f"({table}valid_from IS NULL OR {table}valid_from <= ?) "
            f"AND ({table}valid_until IS NULL OR {table}valid_until > ?)",
            (at, at),
        )


NOW = Moment()
"""What is valid at the time of each reading."""

EVER = Moment(ever=True)
"""All that is stored, whenever it was valid."""


def holds(passage: Passage, at: float) -> bool:
    """Whether a passage is valid at a moment.

    Args:
        passage: Any.
        at: Seconds since 1970.
    """
    begun = passage.valid_from is None or passage.valid_from <= at
    return begun and (passage.valid_until is None or passage.valid_until > at)


def check_interval(valid_from: float | None, valid_until: float | None) -> None:
    """Refuse an interval that holds no moment.

    Args:
        valid_from: Seconds since 1970, or None.
        valid_until: Likewise.

    Raises:
        InputError: It ends before it begins, or with that.
    """
    if valid_from is not None and valid_until is not None and valid_until <= valid_from:
        raise InputError(
            f"valid_until must be after valid_from, got {valid_until!r} and {valid_from!r}"
        )
