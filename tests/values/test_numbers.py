"""Numbers as callers give them."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hoptrail import Memory
from hoptrail.errors import ConfigError, HoptrailError, InputError
from hoptrail.memory.testing.hash_encoder import HashEncoder
from hoptrail.values.numbers import above_zero, finite, real, shown, whole

NO_NUMBERS = [None, True, np.bool_(True), "3", b"3", [3], 1j, object()]
NOT_FINITE = [float("nan"), float("inf"), -float("inf"), 10**400, 10**4000, Decimal("NaN")]


@pytest.mark.parametrize("value", [3, 3.0, np.int8(3), np.uint64(3), np.float32(3), Decimal("3.0")])
def test_a_number_is_one_whoever_made_it(value: Any) -> None:
    assert finite(value) == real(value, "x") == above_zero(value, "x") == 3.0
    assert type(real(value, "x")) is float


@pytest.mark.parametrize("value", [*NO_NUMBERS, *NOT_FINITE])
def test_what_is_no_finite_number_is_refused_by_its_name(value: Any) -> None:
    assert finite(value) is None
    for check in (real, above_zero):
        with pytest.raises(InputError, match="the weight must be"):
            check(value, "the weight")
    assert len(shown(value)) <= 80


def test_whole_numbers_have_bounds_and_their_own_kind_of_error() -> None:
    assert whole(np.int32(4), "k", least=4) == 4
    for value, says in ((3, "least 4"), (4.0, "least 4"), (True, "least 4"), (11, "most 10")):
        with pytest.raises(ConfigError, match=f"k must be a whole number of at {says}, got"):
            whole(value, "k", least=4, most=10, error=ConfigError)


@pytest.mark.parametrize("value", [*NO_NUMBERS[1:], *NOT_FINITE])
def test_wherever_a_memory_takes_a_number_it_takes_no_other(tmp_path: Path, value: Any) -> None:
    with Memory(tmp_path / "m.db", encoder=HashEncoder()) as memory:
        memory.add({"id": "a", "text": "one river"})
        recall = memory.recall("river", 1)
        calls = [
            lambda: memory.add("x", ttl=value),
            lambda: memory.upsert("x", ttl=value),
            lambda: memory.link("a", "b", weight=value),
            lambda: memory.add({"text": "x", "links": [{"target": "a", "weight": value}]}),
            lambda: memory.add_distinct("x", similarity_threshold=value),
            lambda: memory.merge_duplicates(similarity_threshold=value),
            lambda: memory.audit(similarity_threshold=value),
            lambda: memory.audit(stale_days=value),
            lambda: memory.feedback(recall.id, value),
            lambda: memory.search("river", value),
            lambda: memory.recall("river", 1, explore=value),
        ]
        if not isinstance(value, str):
            calls.append(lambda: memory.count(filter={"$written_at": {"$gte": value}}))
            calls.append(lambda: memory.add({"text": "x", "expires_at": value}))
        for call in calls:
            with pytest.raises(HoptrailError):
                call()
        assert memory.count() == 1


def test_what_is_no_encoder_is_refused_before_a_file_is_made(tmp_path: Path) -> None:
    for wrong in (object(), "MiniLM", 5):
        with pytest.raises(InputError, match="encoder"):
            Memory(tmp_path / "m.db", encoder=wrong)
    assert not (tmp_path / "m.db").exists()
