"""Python values as JSON has them: what is stored, and how what cannot be is named."""

from __future__ import annotations

import json
import time
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import StrEnum
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoptrail.errors import InputError
from hoptrail.values.json_values import copied, plain, plain_mapping, seconds


class Colour(StrEnum):
    RED = "red"


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (datetime(2024, 5, 3, 9, 30), "2024-05-03T09:30:00"),
        (datetime(2024, 5, 3, tzinfo=timezone(timedelta(hours=2))), "2024-05-03T00:00:00+02:00"),
        (date(2024, 5, 3), "2024-05-03"),
        (np.datetime64("2024-05-03"), "2024-05-03"),
        (np.datetime64("2024-05-03T09:30", "ns"), "2024-05-03T09:30:00"),
        (np.datetime64("NaT"), None),
        (np.int64(3), 3),
        (np.float32(0.5), 0.5),
        (np.bool_(True), True),
        (np.str_("x"), "x"),
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (np.array([1, "x"], dtype=object), [1, "x"]),
        (Decimal("1.50"), 1.5),
        (Decimal(12), 12),
        (Decimal(2**80), 2**80),
        (UUID(int=7), "00000000-0000-0000-0000-000000000007"),
        (PurePosixPath("a/b"), "a/b"),
        (Colour.RED, "red"),
        ((1, (2,)), [1, [2]]),
        (MappingProxyType({"a": MappingProxyType({})}), {"a": {}}),
        (2**80, 2**80),
    ],
)
def test_values_of_python_are_stored_as_json_has_them(value: Any, stored: Any) -> None:
    got = plain({"k": [value]}, "metadata")["k"][0]
    assert (got, type(got)) == (stored, type(stored))
    assert json.loads(json.dumps(got, allow_nan=False)) == stored


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({"a": {"b": [0, {1}]}}, r'metadata\["a"\]\["b"\]\[1\] is a set'),
        ({"a": {"b": {1: 2}}}, r'metadata\["a"\]\["b"\]: keys must be strings, got 1'),
        ({"a": [float("nan")]}, r'metadata\["a"\]\[0\] is a number that JSON cannot hold: nan'),
        ({"a": np.array([1, np.inf])}, r'metadata\["a"\]\[1\] is a number'),
        ({"a": 10**400}, r'metadata\["a"\] is a number'),
        ({"a": 10**9999}, r'metadata\["a"\] is a number'),
        ({"a": Decimal("NaN")}, r'metadata\["a"\] is a number'),
        ({"a": Decimal("1e999")}, r'metadata\["a"\] is a number'),
        ({"a": b"x"}, r'metadata\["a"\] is a bytes'),
        ({"a": timedelta(1)}, r'metadata\["a"\] is a timedelta'),
        ({"a": 1j}, r'metadata\["a"\] is a complex'),
        ({"a": "\ud800"}, r'metadata\["a"\] is not valid Unicode'),
        ({"\ud800": 1}, "a key of metadata is not valid Unicode"),
        ([1], "metadata must be a mapping, got list"),
    ],
)
def test_what_json_has_nothing_for_is_named_by_its_place(value: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        plain_mapping(value, "metadata")


def test_what_holds_itself_or_grows_without_end_is_refused_soon() -> None:
    ring: dict[str, Any] = {}
    ring["ring"] = ring
    tree: list[Any] = []
    for _ in range(200):
        tree = [tree, tree]
    wide: list[Any] = []
    wide += [wide, wide]
    started = time.perf_counter()
    for value in (ring, {"t": tree}, {"w": wide}):
        with pytest.raises(InputError, match=r"lists and dicts deep|1,000,000 values"):
            plain_mapping(value, "metadata")
    assert time.perf_counter() - started < 20


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=12,
)


@given(values)
def test_values_of_json_stay_as_they_are_and_share_nothing(value: Any) -> None:
    stored = plain(value, "x")
    assert json.dumps(stored) == json.dumps(value)
    assert json.dumps(copied(stored)) == json.dumps(value)
    if isinstance(value, list | dict):
        assert stored is not value
        assert copied(stored) is not stored


@pytest.mark.parametrize(
    "when",
    [
        86400,
        np.int64(86400),
        Decimal(86400),
        "1970-01-02",
        "1970-01-02T00:00:00Z",
        "1970-01-02T01:00:00+01:00",
        date(1970, 1, 2),
        datetime(1970, 1, 2),
        datetime(1970, 1, 2, tzinfo=UTC),
        np.datetime64("1970-01-02"),
    ],
)
def test_a_time_is_given_in_many_ways(when: Any) -> None:
    assert seconds(when, "expires_at") == 86400.0


@pytest.mark.parametrize(
    "when", ["soon", True, float("nan"), 10**400, "", None, [], np.datetime64("NaT"), object()]
)
def test_what_is_no_time_is_refused(when: Any) -> None:
    with pytest.raises(InputError, match="expires_at must be seconds since 1970 or a time"):
        seconds(when, "expires_at")
