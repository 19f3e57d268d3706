"""Python values as JSON has them: what a metadata or a filter may hold, and what becomes of it.

Text, numbers, true, false, None, lists and dicts stay. Times become ISO 8601 text; numbers of numpy
and decimals become numbers; arrays and tuples lists; ids (UUID), paths and enumerations text or
what they stand for. All else is refused, named by where it stands: `metadata["a"]["b"][3]`.
"""

from __future__ import annotations

import json
import marshal
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

from hoptrail.errors import InputError
from hoptrail.values.numbers import finite, shown

DEEPEST = 640
"""Lists and dicts inside one another: what SQLite and Python's reader of JSON can follow."""

MOST_VALUES = 1_000_000
"""Values in one metadata: lists that share a list would else grow without end."""


def plain(value: object, where: str) -> Any:
    """A value of JSON that shares nothing with what was given.

    Args:
        value: Whatever a caller gave.
        where: What it is; opens the message of an error.

    Raises:
        InputError: JSON has nothing for it; the message says where it stands.
    """
    return _read(value, _Place(None, where, 0))


def plain_mapping(value: object, where: str) -> dict[str, Any]:
    """A mapping of JSON values that shares nothing with what was given.

    Raises:
        InputError: It is no mapping, or holds something that JSON has nothing for.
    """
    if not isinstance(value, Mapping):
        raise InputError(f"{where} must be a mapping, got {type(value).__name__}")
    mapping: dict[str, Any] = plain(value, where)
    return mapping


def copied(value: Any) -> Any:
    """A JSON value that shares nothing with this one, however deep it is."""
    return marshal.loads(marshal.dumps(value))


def moment(value: object) -> datetime | date | time | None:
    """A time, whoever's (Python's, pandas' or numpy's), as Python has it; None if it is none."""
    if isinstance(value, datetime | date | time):
        return value
    if _is_numpy(value) and type(value).__name__ == "datetime64":
        scalar: Any = value
        item = scalar.astype("datetime64[us]").item() if scalar == scalar else None
        if isinstance(item, datetime):
            return item.date() if str(scalar.dtype) == "datetime64[D]" else item
    return None


def seconds(value: object, what: str) -> float:
    """Seconds since 1970 of a time: a number, ISO 8601 text, or a time of Python, pandas or numpy.

    What has no offset is UTC.

    Raises:
        InputError: It is something else.
    """
    when: object = _parsed(value) if isinstance(value, str) else moment(value)
    if isinstance(when, date) and not isinstance(when, datetime):
        when = datetime(when.year, when.month, when.day)
    if isinstance(when, datetime) and not _is_missing(value):
        try:
            return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
        except (OverflowError, ValueError):
            pass
    number = finite(value)
    if number is None:
        raise InputError(
            f"{what} must be seconds since 1970 or a time such as 2026-01-31T12:00:00Z, "
            f"got {shown(value)}"
        )
    return number


def instant(value: object, what: str) -> float:
    """As `seconds`, of a time that says its offset: an interval of validity must mean one moment.

    A date alone begins at midnight, UTC.

    Raises:
        InputError: It is no time, or a time of day without an offset.
    """
    when = _parsed(value) if isinstance(value, str) else moment(value)
    if isinstance(when, datetime) and when.tzinfo is None and not _is_date_text(value):
        raise InputError(
            f"{what} must say its offset from UTC, such as 2026-01-31T12:00:00Z, got {shown(value)}"
        )
    return seconds(value, what)


def _parsed(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _is_date_text(value: object) -> bool:
    """Whether a text is a date without a time of day."""
    try:
        return isinstance(value, str) and bool(date.fromisoformat(value))
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a value stands: a key inside of what stands at `outer`."""

    outer: _Place | None
    key: str | int
    depth: int

    def __str__(self) -> str:
        keys: list[str] = []
        place: _Place | None = self
        while place is not None and place.outer is not None:
            keys.append(f"[{json.dumps(place.key, ensure_ascii=False)}]")
            place = place.outer
        path = "".join(reversed(keys)) if len(keys) <= 20 else "[…]" + "".join(keys[20::-1])
        return f"{place.key if place else ''}{path}"


def _read(value: object, place: _Place) -> Any:
    """The value as JSON has it. Not recursive: Python would give up on what JSON can hold."""
    root: list[Any] = [None]
    pending: list[tuple[object, Any, Any, _Place]] = [(value, root, 0, place)]
    count = 0
    while pending:
        item, target, key, place = pending.pop()
        count += 1
        if count > MOST_VALUES or place.depth > DEEPEST:
            raise InputError(
                f"{place} is more than {DEEPEST} lists and dicts deep"
                if place.depth > DEEPEST
                else f"{place} is one of more than {MOST_VALUES:,} values"
            )
        inner: list[tuple[Any, object]]
        if isinstance(item, Mapping):
            target[key], inner = {}, [(_key(name, place), one) for name, one in item.items()]
            target[key].update(dict.fromkeys(name for name, _ in inner))  # in their order
        elif isinstance(item, list | tuple) or _is_array(item):
            inner = list(enumerate(_items(item)))
            target[key] = [None] * len(inner)
        else:
            target[key] = _scalar(item, place)
            continue
        pending += (
            (one, target[key], name, _Place(place, name, place.depth + 1))
            for name, one in reversed(inner)
        )
    return root[0]


def _key(key: object, place: _Place) -> str:
    if not isinstance(key, str) or isinstance(key, Enum):
        raise InputError(f"{place}: keys must be strings, got {shown(key)}")
    return _text(key, f"a key of {place}")


def _items(value: Any) -> list[Any]:
    """The items of a list, a tuple or an array, numbers as Python's."""
    if not _is_array(value):
        return list(value)
    if not value.shape:
        return [value.item()]
    return list(value.tolist() if value.dtype.kind in "biufU" else value)


def _scalar(value: object, where: object) -> Any:
    """A value that holds no others."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Enum):
        return _scalar(value.value, where)
    if isinstance(value, str):
        return _text(value, where)
    if isinstance(value, UUID | os.PathLike):
        return _text(str(value), where)
    if _is_missing(value):
        return None  # missing, as pandas and numpy say it
    if (when := moment(value)) is not None:
        return when.isoformat()
    return _number(value, where)


def _number(value: Any, where: object) -> Any:
    if _is_numpy(value) and value.dtype.kind in "biuf":
        value = value.item()
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float | Decimal):
        number = finite(value)
        if number is None:
            raise InputError(f"{where} is a number that JSON cannot hold: {shown(value)}")
        if isinstance(value, float):
            return number
        # Whole numbers stay whole, and exact.
        whole = isinstance(value, int) or value.as_tuple().exponent == 0
        return int(value) if whole else number
    raise InputError(
        f"{where} is a {type(value).__name__}, for which JSON has nothing: give text, a number, "
        f"true or false, None, a time, a list or a dict, got {shown(value)}"
    )


def _text(value: str, where: object) -> str:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(f"{where} is not valid Unicode: {error}") from error
    return str.__str__(value)


def _is_missing(value: Any) -> bool:
    if type(value).__name__ in ("NAType", "NaTType"):
        return True
    return _is_numpy(value) and value.dtype.kind == "M" and not _is_array(value) and value != value


def _is_numpy(value: object) -> bool:
    return type(value).__module__.partition(".")[0] == "numpy" and hasattr(value, "dtype")


def _is_array(value: object) -> bool:
    return _is_numpy(value) and type(value).__name__ == "ndarray"
