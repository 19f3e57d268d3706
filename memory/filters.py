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

import dataclasses
import json
import operator as operators
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hoptrail.errors import InputError
from hoptrail.types import Filter, Passage
from hoptrail.values.json_values import plain_mapping, seconds
from hoptrail.values.numbers import shown

OWN = ("$id", "$title", "$written_at", "$expires_at")
"""Fields that a passage has by itself; every other name is a key of its metadata."""
TIMES = ("$written_at", "$expires_at")
_COMPARE: dict[str, Callable[[Any, Any], object]] = {
    "$gt": operators.gt,
    "$gte": operators.ge,
    "$lt": operators.lt,
    "$lte": operators.le,
}
EQUALITIES = ("$eq", "$ne", "$in", "$nin")
OPERATORS = ("$eq", "$ne", "$in", "$nin", *_COMPARE, "$contains", "$exists")
JOINS = ("$and", "$or", "$not")
DEEPEST = 32
"""Filters inside one another."""
MOST_TESTS = 1000
"""Conditions in one filter."""


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
    keys: frozenset[str] = dataclasses.field(default=frozenset(), repr=False)
    """Of an operator that asks for equality: what `key_of` gives for each of its values."""


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
    if not isinstance(given, Mapping):
        raise InputError(f"the filter must be a dict, got {shown(given)}")
    condition = _parse(plain_mapping(given, "the filter"), "the filter", 0)
    tests = _count(condition)
    if tests > MOST_TESTS:
        raise InputError(
            f"the filter has {tests:,} conditions, and {MOST_TESTS:,} is the most that one takes: "
            "$in asks for many values at once"
        )
    return condition


def plain(given: Filter) -> Filter:
    """A filter of JSON values that says the same and shares nothing with what was given.

    Raises:
        InputError: It is none; the message says where and why.
    """
    parse(given)
    return plain_mapping(given, "the filter")


def mask(condition: Condition, column: Callable[[str], Column], rows: int) -> NDArray[np.bool_]:
    """Which rows a condition holds for, `(rows,)`.

    Args:
        condition: From `parse`.
        column: Gives a field's values.
        rows: How many there are.
    """
    return _mask(condition, column, rows, {})


def _mask(
    condition: Condition,
    column: Callable[[str], Column],
    rows: int,
    keys: dict[str, list[str]],
) -> NDArray[np.bool_]:
    """As `mask`; `keys` are those of the values of fields that were asked for so far."""
    if isinstance(condition, Test):
        # Tested once for each different value: rows are many, languages and years are few.
        field = column(condition.field)
        if condition.operator in EQUALITIES:
            known = keys.get(condition.field)
            if known is None:
                known = keys[condition.field] = [key_of(value) for value in field.values]
            wanted = condition.operator in ("$eq", "$in")
            held = ((key in condition.keys) == wanted for key in known)
        else:
            held = (_holds(condition, value) for value in field.values)
        return np.fromiter(held, np.bool_, len(field.values))[field.codes]
    any_of = condition.how == "$or"
    out = np.full(rows, not any_of)
    for part in condition.parts:
        one = _mask(part, column, rows, keys)
        (np.logical_or if any_of else np.logical_and)(out, one, out=out)
    return ~out if condition.how == "$not" else out


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
    dots = [at for at, mark in enumerate(name) if mark == "."]
    pending: list[tuple[Mapping[str, Any], int]] = [(metadata, 0)]
    while pending:  # no dict is looked at twice: each stands at one path
        inner, start = pending.pop()
        if name[start:] in inner:
            return inner[name[start:]]
        if len(inner) < len(dots):
            keys = sorted((k for k in inner if name.startswith(f"{k}.", start)), key=len)
        else:
            keys = [name[start:at] for at in dots if at >= start and name[start:at] in inner]
        pending += (
            (inner[key], start + len(key) + 1)
            for key in reversed(keys)
            if isinstance(inner[key], Mapping)
        )
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
        raise InputError(f"{where} must be a dict, got {shown(given)}")
    if depth > DEEPEST:
        raise InputError(f"{where} is more than {DEEPEST} filters deep")
    parts: list[Condition] = []
    for name, wanted in given.items():
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
        raise InputError(f"{where} takes a list of filters, at least one, got {shown(given)}")
    return Join(how, tuple(_parse(part, where, depth + 1) for part in given))


def _parse_field(name: str, wanted: object, where: str) -> list[Condition]:
    """The tests of one field: of operators where its dict has some, of equality otherwise."""
    if not isinstance(wanted, Mapping) or not any(str(key).startswith("$") for key in wanted):
        return [_test(name, "$eq", _value(name, wanted, where))]
    tests: list[Condition] = []
    for operator, value in wanted.items():
        if operator not in OPERATORS:
            raise InputError(
                f"{where}: there is no operator {operator!r}: it is one of {', '.join(OPERATORS)}"
            )
        tests.append(_test(name, operator, _operand(name, operator, value, f"{where} {operator}")))
    return tests


def _test(name: str, operator: str, value: Any) -> Test:
    several = value if operator in ("$in", "$nin") else [value]
    asks = operator in EQUALITIES or operator == "$contains"
    return Test(name, operator, value, frozenset(map(key_of, several)) if asks else frozenset())


def _operand(name: str, operator: str, value: object, where: str) -> Any:
    if operator in ("$in", "$nin"):
        if not isinstance(value, list | tuple):
            raise InputError(f"{where} takes a list, got {shown(value)}")
        return [_value(name, item, where) for item in value]
    if operator == "$exists":
        if not isinstance(value, bool):
            raise InputError(f"{where} takes true or false, got {shown(value)}")
        return value
    found = _value(name, value, where)
    if operator in _COMPARE and (
        isinstance(found, bool) or not isinstance(found, int | float | str)
    ):
        raise InputError(f"{where} takes a number or a string, got {shown(value)}")
    return found


def _value(name: str, value: object, where: str) -> Any:
    """A value; of a time, the seconds."""
    return seconds(value, where) if name in TIMES and value is not None else value


def _holds(test: Test, value: Any) -> bool:
    if test.operator == "$exists":
        return bool((value is not ABSENT) == test.value)
    if test.operator == "$contains":
        return isinstance(value, list) and any(key_of(one) in test.keys for one in value)
    return _in_range(value, test.operator, test.value)


def _in_range(value: Any, operator: str, bound: Any) -> bool:
    kind = str if isinstance(bound, str) else (int, float)
    if isinstance(value, bool) or not isinstance(value, kind):
        return False
    compare = _COMPARE[operator]
    return bool(compare(value, bound))


def key_of(value: Any) -> str:
    """A text that is the same for equal values: 1 and 1.0, but not 1 and true.

    Raises:
        InputError: It is too deep to be compared.
    """
    if value is ABSENT or value is None:
        return "null"
    if isinstance(value, str):
        return f'"{value}'
    try:
        text = json.dumps(value, sort_keys=True)
        if "." in text or "e" in text or "E" in text:  # perhaps a float
            text = json.dumps(json.loads(text, parse_float=_number), sort_keys=True)
        return text
    except RecursionError as error:
        raise InputError("a list or dict is too deep to be compared by a filter") from error


def _number(text: str) -> int | float:
    """A number of JSON, one without a fraction as a whole one."""
    number = float(text)
    return int(number) if number.is_integer() else number


def _count(condition: Condition) -> int:
    """How many tests a condition has."""
    if isinstance(condition, Test):
        return 1
    return sum(map(_count, condition.parts))
