"""Where a server may listen, and by which names it is called."""

from __future__ import annotations

import socket

import pytest

from hoptrail import ConfigError, InputError
from hoptrail.integrations.web.addresses import (
    address_of,
    caller_names,
    is_loopback,
    listening_socket,
    origins_of,
)


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.0.1", False),
        ("localhost.evil.example", False),
    ],
)
def test_loopback_is_what_only_this_machine_reaches(host, local) -> None:
    assert is_loopback(host) is local


def test_loopback_is_known_by_itself_and_anything_else_by_the_names_given() -> None:
    assert {"127.0.0.1", "localhost:*", "[::1]:*"} <= set(caller_names("127.0.0.1"))
    assert caller_names("0.0.0.0", ["example.org"]) == ["example.org"]
    with pytest.raises(ConfigError, match="allowed hosts"):
        caller_names("0.0.0.0")
    assert origins_of(["a:*"]) == ["http://a:*", "https://a:*"]


def test_a_socket_listens_and_an_address_that_is_in_use_is_refused() -> None:
    with listening_socket("127.0.0.1", 0) as listening:
        port = listening.getsockname()[1]
        assert address_of("127.0.0.1", listening) == f"http://127.0.0.1:{port}"
        with pytest.raises(ConfigError, match="cannot listen"):
            listening_socket("127.0.0.1", port)
        assert address_of("::1", listening) == f"http://[::1]:{port}"
    with pytest.raises(InputError, match="port"):
        listening_socket("127.0.0.1", 70_000)
    with pytest.raises(ConfigError, match="cannot listen"):
        listening_socket("no.such.host.invalid", 0)
    assert isinstance(listening, socket.socket)
