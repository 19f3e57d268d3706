"""A namespace is checked once and stands for a range of stored ones: those that begin with it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoptrail.errors import InputError
from hoptrail.memory.storage.namespaces import (
    EVERYTHING,
    SEPARATOR,
    Scope,
    decode_namespace,
    encode_namespace,
)

letters = st.characters(exclude_categories=("Cs",), exclude_characters=SEPARATOR)
parts = st.text(letters, min_size=1, max_size=3).filter(str.strip)
namespaces = st.lists(parts, max_size=3).map(tuple)


def in_bounds(stored: str, scope: Scope) -> bool:
    """Whether SQLite would find it: any blob is above any text."""
    low, high = scope.bounds
    return stored >= low and (isinstance(high, bytes) or stored < high)


@given(namespaces, namespaces)
def test_bounds_hold_what_begins_with_the_namespace_and_nothing_else(outer, inner) -> None:
    scope = Scope.parse(outer)
    for other in (inner, outer + inner, outer):
        begins = other[: len(outer)] == outer
        assert scope.includes(other) == begins
        assert in_bounds(encode_namespace(other), scope) == begins
        assert decode_namespace(encode_namespace(other)) == other


@pytest.mark.parametrize(
    ("namespace", "says"),
    [
        ("team", r"a namespace is a tuple of strings such as \('team', 'ann'\), got 'team'"),
        (["team"], r"a namespace is a tuple of strings such as"),
        (("team", 1), "each part of a namespace must be a string, got int"),
        (("team", " "), "each part of a namespace must not be empty"),
        ((f"a{SEPARATOR}b",), "must not hold the control character 1f"),
    ],
)
def test_what_is_no_namespace_is_refused(namespace: object, says: str) -> None:
    with pytest.raises(InputError, match=says):
        Scope.parse(namespace)


def test_a_scope_that_was_parsed_is_given_back_as_it_is() -> None:
    scope = Scope.parse(("team", "ann"))
    assert Scope.parse(scope) is scope
    assert scope == Scope.parse(("team", "ann")) != EVERYTHING
    assert len({scope, Scope.parse(("team", "ann"))}) == 1
