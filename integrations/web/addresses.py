"""Where a server listens, and the names that its callers reach it by."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence

from hoptrail.errors import ConfigError
from hoptrail.values.numbers import whole

LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")
"""Names of this machine by which nobody else can call."""


def is_loopback(host: str) -> bool:
    """Whether an address can be reached from this machine only.

    Args:
        host: The address.
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def caller_names(host: str, allowed_hosts: Sequence[str] = ()) -> list[str]:
    """What a request may have for its Host; `name:*` is a name with any port.

    Args:
        host: The address that a server listens at.
        allowed_hosts: Names that callers reach it by, `name` or `name:port`; of loopback, which
            is known by itself, none are needed.

    Raises:
        ConfigError: Others could reach it by no name.
    """
    names = list(allowed_hosts)
    if is_loopback(host):
        return [*names, *LOOPBACK_NAMES, *(f"{name}:*" for name in LOOPBACK_NAMES)]
    if not names:
        raise ConfigError(
            f"a server at {host} must know the names that callers reach it by: "
            "give its allowed hosts, such as memory.example.org"
        )
    return names


def origins_of(names: Sequence[str]) -> list[str]:
    """What a request may have for its Origin: a page elsewhere cannot have a browser call us.

    Args:
        names: As `caller_names` gives them.
    """
    return [f"{scheme}://{name}" for name in names for scheme in ("http", "https")]


def listening_socket(host: str, port: int) -> socket.socket:
    """A socket that listens, to be closed by the caller.

    Args:
        host: The address.
        port: 0 is any that is free.

    Raises:
        InputError: It is no port.
        ConfigError: The address cannot be used.
    """
    whole(port, "port", most=65_535)
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise ConfigError(f"cannot listen at {host}, port {port}: {error}") from error


def address_of(host: str, listening: socket.socket) -> str:
    """The URL of a server without a path.

    Args:
        host: The address that it listens at.
        listening: Its socket.
    """
    name = f"[{host}]" if ":" in host else host
    return f"http://{name}:{listening.getsockname()[1]}"
