"""What each error is, as far as those who catch it depend on that."""

from __future__ import annotations

import json

import pytest

from hoptrail import Memory
from hoptrail.errors import ConfigError, EncoderMissing, FormatError, InputError, StoreError
from hoptrail.memory import load_rule
from hoptrail.memory.search.fusion import FORMAT, RULES


def test_a_missing_encoder_is_a_fault_of_the_settings_and_not_of_the_store(tmp_path) -> None:
    with (
        Memory(tmp_path / "a.db", encoder=None, policy=None) as memory,
        pytest.raises(ConfigError, match="pass encoder=") as raised,
    ):
        memory.add("a river")
    assert raised.type is EncoderMissing
    assert not isinstance(raised.value, StoreError)


def test_a_setting_that_cannot_be_is_no_fault_of_the_input(tmp_path) -> None:
    with pytest.raises(ConfigError, match="'annoy'") as raised:
        Memory(tmp_path / "a.db", policy=None, index="annoy")  # type: ignore[arg-type]
    assert not isinstance(raised.value, InputError | ValueError)


def test_a_setting_in_a_file_that_cannot_be_is_a_fault_of_the_file(tmp_path) -> None:
    file = tmp_path / "rule.json"
    rule = {"format": FORMAT, "rule": next(iter(RULES)), "alpha": 0, "beta": 0}
    file.write_text(json.dumps(rule))
    with pytest.raises(FormatError, match=r"holds no fusion rule: alpha and beta"):
        load_rule(file)
