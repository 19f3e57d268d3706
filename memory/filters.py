"""Conditions on passages: a small typed language in JSON values, and its masks over slots.

A filter is a dict. Each key names a field, each value what it must be; all of them must hold:

    {"lang": "en"}                              equal to
    {"year": {"$gte": 2001, "$lt": 2010}}       a range: $gt, $gte, $lt, $lte
    {"lang": {"$in": ["en", "de"]}}             one of; $nin is none of, $ne not equal to
    {"tags": {"$contains": "river"}}            a list that holds it
    {"draft": {"$exists": false}}               whether the key is there at all
    {"source.page": {"$lte": 12}}               of a dict in the metadata, any depth
    {"$written_at": {"$gte": "2026-01-31"}}     of the passage itself, as $expires_at, $valid_from,
                                                $valid_until, $id and $title
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
from hoptrail.types import FilterDict, Passage
from hoptrail.values.json_values import plain_mapping, seconds
from hoptrail.values.numbers import shown

OWN = ("$id", "$title", "$written_at", "$expires_at", "$valid_from", "$valid_until")
"""Fields that a passage has by itself; every other name is a key of its metadata."""
TIMES = ("$written_at", "$expires_at", "$valid_from", "$valid_until")
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
MOST_COMPARISONS = 1000
"""Conditions in one filter."""


class _Absent:
    """What a key has that is not there."""


ABSENT = _Absent()


@dataclass(frozen=True, slots=True)
class Comparison:
    """One field against one value."""

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


Condition = Comparison | Join


@dataclass(frozen=True, slots=True)
class Column:
    """A field's values: which, and for each row the number of its own."""

    codes: NDArray[np.int32]
    """`(n,)`."""
    values: list[Any]


@dataclass(frozen=True, slots=True)
class Filter:
    """A filter that was checked; made by `Filter.parse`, and taken wherever a dict is.

    Examples:
        >>> english = Filter.parse({"lang": "en"})
        >>> english.passages_mask([Passage("a", "text", metadata={"lang": "en"})]).tolist()
        [True]
    """

    condition: Condition
    json: FilterDict = dataclasses.field(repr=False, compare=False)
    """The JSON values that say it; nobody else holds them."""

    @classmethod
    def parse(cls, conditions: FilterLike) -> Filter:
        """The filter that a dict says; one that was parsed is given back as it is.

        Args:
            conditions: As a caller gave them.

        Raises:
            InputError: They are no filter; the message says where and why.
        """
        if isinstance(conditions, Filter):
            return conditions
        if not isinstance(conditions, Mapping):
            raise InputError(f"the filter must be a dict, got {shown(conditions)}")
        plain = plain_mapping(conditions, "the filter")
        condition = _parse(plain, "the filter", 0)
        count = _count(condition)
        if count > MOST_COMPARISONS:
            raise InputError(
                f"the filter has {count:,} conditions, and {MOST_COMPARISONS:,} is the most that "
                "one takes: $in asks for many values at once"
            )
        return cls(condition, plain)

    @classmethod
    def parse_optional(cls, conditions: FilterLike | None) -> Filter | None:
        """As `parse`; None, which lets everything through, stays None.

        Args:
            conditions: As a caller gave them.

        Raises:
            InputError: They are no filter; the message says where and why.
        """
        return None if conditions is None else cls.parse(conditions)

    def mask(self, column: Callable[[str], Column], rows: int) -> NDArray[np.bool_]:
        """Which rows it lets through, `(rows,)`.

        Args:
            column: Gives a field's values.
            rows: How many there are.
        """
        return _mask(self.condition, column, rows, {})

    def passages_mask(self, passages: Iterable[Passage]) -> NDArray[np.bool_]:
        """Which of n passages it lets through, `(n,)`.

        Args:
            passages: n of them.
        """
        rows = list(passages)
        return self.mask(lambda name: column_of(value_of(p, name) for p in rows), len(rows))


FilterLike = FilterDict | Filter
"""What a caller may give for a filter: a dict, or one that was parsed before."""


def _mask(
    condition: Condition,
    column: Callable[[str], Column],
    rows: int,
    keys: dict[str, list[str]],
) -> NDArray[np.bool_]:
    """As `mask`; `keys` are those of the values of fields that were asked for so far."""
    if isinstance(condition, Comparison):
        # Compared once for each different value: rows are many, languages and years are few.
        values = column(condition.field)
        if condition.operator in EQUALITIES:
            value_keys = keys.get(condition.field)
            if value_keys is None:
                value_keys = keys[condition.field] = [key_of(value) for value in values.values]
            among = condition.operator in ("$eq", "$in")
            truths = ((key in condition.keys) == among for key in value_keys)
        else:
            truths = (_holds(condition, value) for value in values.values)
        return np.fromiter(truths, np.bool_, len(values.values))[values.codes]
    any_of = condition.how == "$or"
    out = np.full(rows, not any_of)
    for part in condition.parts:
        one = _mask(part, column, rows, keys)
        (np.logical_or if any_of else np.logical_and)(out, one, out=out)
    return ~out if condition.how == "$not" else out


def value_of(passage: Passage, name: str) -> Any:
    """A passage's value of a field.

    Args:
        passage: Any.
        name: The field's, as filters spell it.
    """
    if name in OWN:
        own = getattr(passage, name[1:])
        return ABSENT if own is None else own
    return value_at(passage.metadata, name)


def value_at(metadata: Mapping[str, Any], name: str) -> Any:
    """The value of a key, or of a path of keys through dicts; a key with dots comes first.

    Args:
        metadata: A passage's.
        name: The field's, as filters spell it.
    """
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
    """Values as a column, below those that were there before.

    Args:
        values: n of them.
        before: The column of the rows before; None if there are none.
    """
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


def _parse(conditions: object, where: str, depth: int) -> Condition:
    if not isinstance(conditions, Mapping):
        raise InputError(f"{where} must be a dict, got {shown(conditions)}")
    if depth > DEEPEST:
        raise InputError(f"{where} is more than {DEEPEST} filters deep")
    parts: list[Condition] = []
    for name, operand in conditions.items():
        if name in JOINS:
            parts.append(_parse_join(name, operand, f"{where}: {name}", depth))
        elif name.startswith("$") and name not in OWN:
            raise InputError(
                f"{where}: there is no {name!r}: a key of the metadata, one of "
                f"{', '.join(OWN)}, or {', '.join(JOINS)}"
            )
        else:
            parts += _parse_field(name, operand, f"{where}: {name!r}")
    return parts[0] if len(parts) == 1 else Join("$and", tuple(parts))


def _parse_join(how: str, parts: object, where: str, depth: int) -> Join:
    if how == "$not":
        return Join(how, (_parse(parts, where, depth + 1),))
    if not isinstance(parts, list | tuple) or not parts:
        raise InputError(f"{where} takes a list of filters, at least one, got {shown(parts)}")
    return Join(how, tuple(_parse(part, where, depth + 1) for part in parts))


def _parse_field(name: str, operand: object, where: str) -> list[Condition]:
    """A field's comparisons: by the operators that its dict has, by equality where it has none."""
    if not isinstance(operand, Mapping) or not any(str(key).startswith("$") for key in operand):
        return [_comparison(name, "$eq", _value(name, operand, where))]
    comparisons: list[Condition] = []
    for operator, value in operand.items():
        if operator not in OPERATORS:
            raise InputError(
                f"{where}: there is no operator {operator!r}: it is one of {', '.join(OPERATORS)}"
            )
        value = _operand(name, operator, value, f"{where} {operator}")
        comparisons.append(_comparison(name, operator, value))
    return comparisons


def _comparison(name: str, operator: str, value: Any) -> Comparison:
    several = value if operator in ("$in", "$nin") else [value]
    asks = operator in EQUALITIES or operator == "$contains"
    keys = frozenset(map(key_of, several)) if asks else frozenset()
    return Comparison(name, operator, value, keys)


def _operand(name: str, operator: str, value: object, where: str) -> Any:
    if operator in ("$in", "$nin"):
        if not isinstance(value, list | tuple):
            raise InputError(f"{where} takes a list, got {shown(value)}")
        return [_value(name, item, where) for item in value]
    if operator == "$exists":
        if not isinstance(value, bool):
            raise InputError(f"{where} takes true or false, got {shown(value)}")
        return value
    bound = _value(name, value, where)
    if operator in _COMPARE and (
        isinstance(bound, bool) or not isinstance(bound, int | float | str)
    ):
        raise InputError(f"{where} takes a number or a string, got {shown(value)}")
    return bound


def _value(name: str, value: object, where: str) -> Any:
    """A value; of a time, the seconds."""
    return seconds(value, where) if name in TIMES and value is not None else value


def _holds(comparison: Comparison, value: Any) -> bool:
    if comparison.operator == "$exists":
        return bool((value is not ABSENT) == comparison.value)
    if comparison.operator == "$contains":
        return isinstance(value, list) and any(key_of(one) in comparison.keys for one in value)
    return _in_range(value, comparison.operator, comparison.value)


def _in_range(value: Any, operator: str, bound: Any) -> bool:
    kind = str if isinstance(bound, str) else (int, float)
    if isinstance(value, bool) or not isinstance(value, kind):
        return False
    compare = _COMPARE[operator]
    return bool(compare(value, bound))


def key_of(value: Any) -> str:
    """A text that is the same for equal values: 1 and 1.0, but not 1 and true.

    Args:
        value: Of JSON, or `ABSENT`.

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
    """How many comparisons a condition has."""
    if isinstance(condition, Comparison):
        return 1
    return sum(map(_count, condition.parts))
