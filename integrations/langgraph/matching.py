"""Which items and namespaces an operation of LangGraph's stores means."""

from __future__ import annotations

import operator as operators
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from langgraph.store.base import (
    GetOp,
    ListNamespacesOp,
    MatchCondition,
    Op,
    PutOp,
    SearchOp,
    validate_op_namespace,
)

from hoptrail.errors import InputError
from hoptrail.types import Namespace
from hoptrail.values.numbers import shown

_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "$gt": operators.gt,
    "$gte": operators.ge,
    "$lt": operators.lt,
    "$lte": operators.le,
}
OPERATORS = ("$eq", "$ne", *_COMPARE)


def check_filter(filter: Mapping[str, Any] | None) -> None:
    """Refuse operators that LangGraph's filters do not have, before anything is looked at.

    Raises:
        InputError: There is one.
    """
    for condition in (filter or {}).values():
        if isinstance(condition, Mapping):
            names = [name for name in condition if isinstance(name, str) and name[:1] == "$"]
            for name in condition if names else ():
                if name not in OPERATORS:
                    raise InputError(
                        f"a filter has the operators {', '.join(OPERATORS)}, got {shown(name)}"
                    )
            if not names:
                check_filter(condition)


def fulfils(value: Mapping[str, Any], filter: Mapping[str, Any] | None) -> bool:
    """Whether an item's value fulfils a filter: every key of it, nested values too.

    A range holds between what reads as numbers, and not where either is something else.
    """
    return all(_holds(value.get(key), condition) for key, condition in (filter or {}).items())


def _holds(value: Any, condition: Any) -> bool:
    if isinstance(condition, Mapping):
        if any(isinstance(name, str) and name[:1] == "$" for name in condition):
            return all(_compares(value, name, other) for name, other in condition.items())
        return isinstance(value, Mapping) and all(
            _holds(value.get(key), inner) for key, inner in condition.items()
        )
    if isinstance(condition, list | tuple):
        return (
            isinstance(value, list | tuple)
            and len(value) == len(condition)
            and all(_holds(one, other) for one, other in zip(value, condition, strict=True))
        )
    return bool(value == condition)


def _compares(value: Any, name: str, other: Any) -> bool:
    if name == "$eq":
        return bool(value == other)
    if name == "$ne":
        return bool(value != other)
    try:
        return _COMPARE[name](float(value), float(other))
    except (TypeError, ValueError, OverflowError):
        return False


def check_namespaces(operation: Op) -> None:
    """Refuse an operation whose namespaces cannot be used.

    Args:
        operation: As a caller made it.

    Raises:
        InvalidNamespaceError: A part is empty, no text, or has a full stop.
        InputError: One is text, which would mean its letters.
    """
    validate_op_namespace(operation)
    namespaces: list[object] = []
    if isinstance(operation, GetOp | PutOp):
        namespaces = [operation.namespace]
    elif isinstance(operation, SearchOp):
        namespaces = [operation.namespace_prefix]
    elif isinstance(operation, ListNamespacesOp):
        namespaces = [condition.path for condition in operation.match_conditions or ()]
    for namespace in namespaces:
        if isinstance(namespace, str):
            raise InputError(f'a namespace is a tuple of texts, ("{namespace}",) say, got text')


def matching_namespaces(
    namespaces: Sequence[Namespace], operation: ListNamespacesOp
) -> list[Namespace]:
    """The namespaces that a listing means: of these beginnings and ends, cut to a depth, a page.

    Raises:
        InputError: A condition is neither of a prefix nor of a suffix.
    """
    conditions = operation.match_conditions or ()
    members = [one for one in namespaces if all(_matches(one, test) for test in conditions)]
    cut = sorted({one[: operation.max_depth] for one in members})
    return cut[operation.offset : operation.offset + operation.limit]


def _matches(namespace: Namespace, condition: MatchCondition) -> bool:
    path = condition.path
    if condition.match_type not in ("prefix", "suffix"):
        raise InputError(f"namespaces match by prefix or suffix, got {condition.match_type!r}")
    if len(namespace) < len(path):
        return False
    part = namespace[: len(path)] if condition.match_type == "prefix" else namespace[-len(path) :]
    return not path or all(
        pattern in ("*", label) for pattern, label in zip(path, part, strict=True)
    )
