"""Flags, choices, functions and paths that are none are refused wherever a memory takes them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hoptrail import Memory
from hoptrail.errors import ConfigError, InputError
from hoptrail.memory.testing.hash_encoder import HashEncoder
from hoptrail.values.flags import check_function, flag

NO_FLAGS: list[Any] = [np.array([True, False]), np.array([[1]]), "no", "", 0, 1, 0.0, None, []]
NO_NAMES: list[Any] = [np.array(["a", "b"]), np.array([1, 2, 3]), [], {}, {"error"}, 1, b"skip"]


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    with Memory(tmp_path / "m.db", encoder=HashEncoder()) as opened:
        opened.add({"id": "a", "text": "one river"})
        yield opened


@pytest.mark.parametrize("truth", [True, False])
def test_a_flag_is_true_or_false_whoever_has_it(truth: bool) -> None:
    assert flag(truth, "it") is truth
    assert flag(np.bool_(truth), "it") is truth
    check_function(None, "it")
    check_function(print, "it")


@pytest.mark.parametrize("value", NO_FLAGS, ids=repr)
def test_what_is_no_flag_is_refused_by_its_name(memory: Memory, value: Any, tmp_path: Path) -> None:
    for name, call in {
        "read_only": lambda: Memory(tmp_path / "n.db", read_only=value),
        "track_usage": lambda: Memory(tmp_path / "n.db", track_usage=value),
        "sync": lambda: memory.upsert([], sync=value),
        "dry_run": lambda: memory.merge_duplicates(dry_run=value),
        "whole_cache": lambda: memory.purge(whole_cache=value),
        "vectors": lambda: memory.export(tmp_path / "x.jsonl", vectors=value),
        "background": lambda: memory.change_encoder(HashEncoder(), background=value),
    }.items():
        with pytest.raises(InputError, match=f"{name} must be True or False, got "):
            call()
    assert not (tmp_path / "n.db").exists()
    assert not (tmp_path / "x.jsonl").exists()


@pytest.mark.parametrize("value", NO_NAMES, ids=repr)
def test_what_is_no_name_of_a_choice_is_refused(memory: Memory, value: Any, tmp_path: Path) -> None:
    memory.export(tmp_path / "x.jsonl")
    for call in (
        lambda: Memory(tmp_path / "n.db", index=value),
        lambda: Memory(tmp_path / "n.db", language=value),
        lambda: memory.add("x", on_duplicate=value),
        lambda: memory.add_distinct("x", then=value),
        lambda: memory.search("river", mode=value),
        lambda: memory.search("river", pipeline=value),
        lambda: memory.recall("river", effort=value),
        lambda: memory.import_file(tmp_path / "x.jsonl", on_duplicate=value),
    ):
        with pytest.raises((InputError, ConfigError)):
            call()
    assert memory.count() == 1
    assert not (tmp_path / "n.db").exists()


def test_what_cannot_be_called_is_no_progress(memory: Memory, tmp_path: Path) -> None:
    memory.export(tmp_path / "x.jsonl")
    for value in (np.array([1, 2]), "", "print", 0, 1, ()):
        wrong: Any = value
        for call in (
            lambda wrong: memory.add("x", progress=wrong),
            lambda wrong: memory.upsert("x", progress=wrong),
            lambda wrong: memory.import_file(tmp_path / "x.jsonl", progress=wrong),
            lambda wrong: memory.change_encoder(HashEncoder(), progress=wrong),
        ):
            with pytest.raises(InputError, match="progress must be a function or None"):
                call(wrong)
    assert memory.count() == 1


def test_arrays_and_numbers_are_no_filters_and_no_lists_of_passages(memory: Memory) -> None:
    recall = memory.recall("river", 1, effort="fast")
    for wrong in (np.array([1, 2]), np.array([["a"]]), 5, object()):
        value: Any = wrong
        with pytest.raises(InputError, match="the filter must be a dict"):
            memory.forget(value)
        with pytest.raises(InputError):
            recall.feedback(1.0, passages=value)
    assert memory.count() == 1


def test_an_empty_memory_looks_at_what_a_search_is_given_too(tmp_path: Path) -> None:
    with Memory(tmp_path / "n.db", encoder=HashEncoder()) as empty:
        mode: Any = "lexical"
        with pytest.raises(InputError, match="mode must be one of"):
            empty.search("river", mode=mode)
        with pytest.raises(InputError, match="filter"):
            empty.search("river", filter={"year": {"$above": 3}})


def test_a_path_that_no_file_system_has_is_refused(tmp_path: Path) -> None:
    for name in ("\ud800", "a\udfffb.db", f"{tmp_path}/\ud83d.db"):
        with pytest.raises(InputError, match="a path must be valid Unicode"):
            Memory(name, encoder=HashEncoder())


def test_times_are_taken_however_they_are_said(memory: Memory) -> None:
    moment = datetime(2099, 1, 31, tzinfo=UTC)
    for said in (moment, moment.isoformat(), moment.timestamp(), moment.date()):
        assert memory.update("a", expires_at=said).expires_at == moment.timestamp()
    assert memory.update("a", expires_at=None).expires_at is None
    (id_,) = memory.add("two rivers", ttl=timedelta(days=1))
    assert memory.get(id_).expires_at is not None
