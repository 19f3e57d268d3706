"""Conditions on passages: a small typed language in JSON values, and its masks over slots.

A filter is a dict. Each key names a field, each value what it must be; all of them must hold:

    {"lang": "en"}                              equal to
    {"year": {"$gte": 2001, "$lt": 2010}}       a range: $gt, $gte, $lt, $lte
    {"lang": {"$in": ["en", "de"]}}             one of; $nin is none of, $ne not equal to
    {"tags": {"$contains": "river"}}            a list that holds it
    {"draft": {"$exists": false}}               whether the key is there at all
    {"source.page": {"$lte": 12}}               of a dict in the metadata, any depth
    {"$written_at": {"$gte": "2026-01-31"}}     of the passage itself, as $expires_at, $id, $title
    {"$and": [f, g]}, {"$or": [f, g]}, {"$not": f}

A key that is absent counts as null. True is not 1, but 1 is 1.0. A range holds between two numbers
or two strings, never between one and the other. Times are seconds since 1970 or ISO 8601, which
without an offset is UTC.
"""

from __future__ import annotations

import json
import math
import operator as operators
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hoptrail.errors import InputError
from hoptrail.types import Filter, Passage

OWN = ("$id", "$title", "$written_at", "$expires_at")
"""Fields that a passage has by itself; every other name is a key of its metadata."""
TIMES = ("$written_at", "$expires_at")
_COMPARE: dict[str, Callable[[Any, Any], object]] = {
    "$gt": operators.gt,
    "$gte": operators.ge,
    "$lt": operators.lt,
    "$lte": operators.le,
}
OPERATORS = ("$eq", "$ne", "$in", "$nin", *_COMPARE, "$contains", "$exists")
JOINS = ("$and", "$or", "$not")
DEEPEST = 32
"""Filters inside one another."""


class _Absent:
    """What a key has that is not there."""


ABSENT = _Absent()


@dataclass(frozen=True, slots=True)
class Test:
    """One field against one value."""

    __test__ = False  # not pytest's

    field: str
    operator: str
    value: Any


@dataclass(frozen=True, slots=True)
class Join:
    """Several conditions: all of them ("$and"), one of them ("$or"), or none ("$not")."""

    how: str
    parts: tuple[Condition, ...]


Condition = Test | Join


@dataclass(frozen=True, slots=True)
class Column:
    """A field's values: which, and for each row the number of its own."""

    codes: NDArray[np.int32]
    """`(n,)`."""
    values: list[Any]


def parse(given: Filter) -> Condition:
    """A filter, checked.

    Raises:
        InputError: It is none; the message says where and why.
    """
    return _parse(given, "the filter", 0)


def mask(condition: Condition, column: Callable[[str], Column], rows: int) -> NDArray[np.bool_]:
    """Which rows a condition holds for, `(rows,)`.

    Args:
        condition: From `parse`.
        column: Gives a field's values.
        rows: How many there are.
    """
    if isinstance(condition, Test):
        found = column(condition.field)
        # Tested once for each different value: rows are many, languages and years are few.
        held = (_holds(condition, value) for value in found.values)
        return np.fromiter(held, np.bool_, len(found.values))[found.codes]
    masks = [mask(part, column, rows) for part in condition.parts]
    if condition.how == "$or":
        return np.logical_or.reduce(masks) if masks else np.zeros(rows, dtype=np.bool_)
    both = np.logical_and.reduce(masks) if masks else np.ones(rows, dtype=np.bool_)
    return ~both if condition.how == "$not" else both


def passages_mask(condition: Condition, passages: Iterable[Passage]) -> NDArray[np.bool_]:
    """Which of some passages a condition holds for, `(n,)`."""
    rows = list(passages)
    return mask(condition, lambda name: column_of(value_of(p, name) for p in rows), len(rows))


def value_of(passage: Passage, name: str) -> Any:
    """A passage's value of a field."""
    if name in OWN:
        own = getattr(passage, name[1:])
        return ABSENT if own is None else own
    return inside(passage.metadata, name)


def inside(metadata: Mapping[str, Any], name: str) -> Any:
    """The value of a key, or of a path of keys through dicts; a key with dots comes first."""
    if name in metadata:
        return metadata[name]
    at = name.find(".")
    while at >= 0:
        inner = metadata.get(name[:at])
        if isinstance(inner, Mapping) and (found := inside(inner, name[at + 1 :])) is not ABSENT:
            return found
        at = name.find(".", at + 1)
    return ABSENT


def column_of(values: Iterable[Any], before: Column | None = None) -> Column:
    """Values as a column, below those that were there before."""
    different = list(before.values) if before else []
    number = {_key(value): i for i, value in enumerate(different)}
    codes = []
    for value in values:
        code = number.setdefault(_key(value), len(number))
        if code == len(different):
            different.append(value)
        codes.append(code)
    new = np.asarray(codes, dtype=np.int32)
    return Column(np.concatenate([before.codes, new]) if before else new, different)


def _key(value: Any) -> Any:
    if value is ABSENT or isinstance(value, str):
        return value
    if isinstance(value, int | float):
        return type(value), value
    return type(value), json.dumps(value, sort_keys=True)


def _parse(given: object, where: str, depth: int) -> Condition:
    if not isinstance(given, Mapping):
        raise InputError(f"{where} must be a dict, got {given!r}")
    if depth > DEEPEST:
        raise InputError(f"{where} is more than {DEEPEST} filters deep")
    parts: list[Condition] = []
    for name, wanted in given.items():
        if not isinstance(name, str):
            raise InputError(f"{where}: a field must be a string, got {name!r}")
        if name in JOINS:
            parts.append(_parse_join(name, wanted, f"{where}: {name}", depth))
        elif name.startswith("$") and name not in OWN:
            raise InputError(
                f"{where}: there is no {name!r}: a key of the metadata, one of "
                f"{', '.join(OWN)}, or {', '.join(JOINS)}"
            )
        else:
            parts += _parse_field(name, wanted, f"{where}: {name!r}")
    return parts[0] if len(parts) == 1 else Join("$and", tuple(parts))


def _parse_join(how: str, given: object, where: str, depth: int) -> Join:
    if how == "$not":
        return Join(how, (_parse(given, where, depth + 1),))
    if not isinstance(given, list | tuple) or not given:
        raise InputError(f"{where} takes a list of filters, at least one, got {given!r}")
    return Join(how, tuple(_parse(part, where, depth + 1) for part in given))


def _parse_field(name: str, wanted: object, where: str) -> list[Condition]:
    """The tests of one field: of operators where its dict has some, of equality otherwise."""
    if not isinstance(wanted, Mapping) or not any(str(key).startswith("$") for key in wanted):
        return [Test(name, "$eq", _value(name, wanted, where))]
    tests: list[Condition] = []
    for operator, value in wanted.items():
        if operator not in OPERATORS:
            raise InputError(
                f"{where}: there is no operator {operator!r}: it is one of {', '.join(OPERATORS)}"
            )
        tests.append(Test(name, operator, _operand(name, operator, value, f"{where} {operator}")))
    return tests


def _operand(name: str, operator: str, value: object, where: str) -> Any:
    if operator in ("$in", "$nin"):
        if not isinstance(value, list | tuple):
            raise InputError(f"{where} takes a list, got {value!r}")
        return [_value(name, item, where) for item in value]
    if operator == "$exists":
        if not isinstance(value, bool):
            raise InputError(f"{where} takes true or false, got {value!r}")
        return value
    found = _value(name, value, where)
    if operator in _COMPARE and (
        isinstance(found, bool) or not isinstance(found, int | float | str)
    ):
        raise InputError(f"{where} takes a number or a string, got {value!r}")
    return found


def _value(name: str, value: object, where: str) -> Any:
    """A value as JSON would give it back; of a time, the seconds."""
    if name in TIMES and value is not None:
        return _seconds(value, where)
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"{where} takes JSON values only: {error}") from error


def _seconds(value: object, where: str) -> float:
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            raise InputError(
                f"{where} takes seconds since 1970 or a time such as 2026-01-31T12:00:00Z, "
                f"got {value!r}"
            ) from None
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InputError(f"{where} takes seconds since 1970 or an ISO 8601 time, got {value!r}")
    return float(value)


def _holds(test: Test, value: Any) -> bool:
    if test.operator == "$exists":
        return bool((value is not ABSENT) == test.value)
    if value is ABSENT:
        value = None
    match test.operator:
        case "$eq":
            return same(value, test.value)
        case "$ne":
            return not same(value, test.value)
        case "$in":
            return any(same(value, one) for one in test.value)
        case "$nin":
            return not any(same(value, one) for one in test.value)
        case "$contains":
            return isinstance(value, list) and any(same(one, test.value) for one in value)
    return _in_range(value, test.operator, test.value)


def _in_range(value: Any, operator: str, bound: Any) -> bool:
    kind = str if isinstance(bound, str) else (int, float)
    if isinstance(value, bool) or not isinstance(value, kind):
        return False
    compare = _COMPARE[operator]
    return bool(compare(value, bound))


def same(a: Any, b: Any) -> bool:
    """Whether two JSON values are equal; True is not 1, as it is to Python."""
    if isinstance(a, bool) or isinstance(b, bool):
        return bool(a is b)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return bool(a.keys() == b.keys() and all(same(a[key], b[key]) for key in a))
    return bool(a == b)
