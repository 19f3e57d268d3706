"""A URL of a server is shown without its password, whatever else is wrong with it."""

from __future__ import annotations

import pytest

from hoptrail.values.server_urls import names_server, without_passwords


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("postgresql://ann:pw@host:5432/db", "postgresql://ann:***@host:5432/db"),
        ("postgres://ann:p@w/x@host/db", "postgres://ann:***@host/db"),
        ("postgresql://ann:pw/db", "postgresql://ann:***/db"),
        ("postgresql:ann:pw@host", "postgresql:ann:***@host"),
        ("a postgresql://h/d?password=pw&x=1 b", "a postgresql://h/d?password=***&x=1 b"),
        ("postgresql://ann@host:5432/db?x=1", "postgresql://ann@host:5432/db?x=1"),
        ("postgresql://host:5432/db", "postgresql://host:5432/db"),
        ("postgresql://one:1,two:2/db", "postgresql://one:1,two:2/db"),
        ("postgresql:///db", "postgresql:///db"),
        ("password=pw in a note", "password=pw in a note"),
    ],
)
def test_a_password_is_left_out_and_nothing_else(text, masked) -> None:
    assert without_passwords(text) == masked


def test_a_server_is_told_from_a_path() -> None:
    assert names_server("postgresql://host/db")
    assert not names_server("postgres/agent.db")
