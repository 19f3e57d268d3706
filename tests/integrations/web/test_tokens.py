"""Tokens: where they come from, and by what they are known."""

from __future__ import annotations

import json

import pytest

from hoptrail import ConfigError, InputError
from hoptrail.integrations.web.tokens import Access, TokenTable, bearer_token, read_tokens

ANN, BOB = "ann-" + "a" * 20, "bob-" + "b" * 20


def test_tokens_are_read_from_a_file_that_nobody_else_may_read(tmp_path) -> None:
    file = tmp_path / "tokens.json"
    file.write_text(
        json.dumps(
            {ANN: {"namespace": ["a"]}, BOB: {"namespace": [], "read_only": True, "metrics": True}}
        )
    )
    file.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        read_tokens(file)
    file.chmod(0o600)
    assert read_tokens(file) == {ANN: Access(("a",)), BOB: Access((), True, True)}
    for wrong in (
        "[]",
        "{",
        '{"t": {}}',
        '{"t": {"namespace": "a/b"}}',
        '{"t": {"namespace": [""]}}',
        '{"t": {"namespace": [], "read_only": "yes"}}',
        '{"t": {"namespace": [], "admin": true}}',
    ):
        file.write_text(wrong)
        with pytest.raises(InputError):
            read_tokens(file)
    with pytest.raises(InputError, match="cannot be read"):
        read_tokens(tmp_path / "nowhere.json")


def test_a_token_is_known_by_its_whole() -> None:
    table = TokenTable({ANN: Access(())})
    caller = table.caller(ANN)
    assert caller is not None
    assert table.access[caller] == Access(())
    assert ANN not in caller
    for wrong in (ANN[:-1], ANN + "x", "", "\ud800"):
        assert table.caller(wrong) is None


def test_a_header_has_a_token_or_none() -> None:
    assert bearer_token(f"Bearer {ANN}") == bearer_token(f"bearer  {ANN} ") == ANN
    for other in ("", ANN, "Bearer", "Bearer ", f"Basic {ANN}", f"Bearer{ANN}"):
        assert bearer_token(other) is None
