"""URLs of servers: told from paths, and shown without the password that they may hold."""

from __future__ import annotations

import re

SERVERS = ("postgresql:", "postgres:")
"""How the URL of a server begins."""

# Up to the last @ of a word, for a password that should have been percent-encoded may hold one; or
# where a port should be.
_USER = re.compile(r"(postgres(?:ql)?:/*[^:@/\s]*):(?:\S*(?=@)|(?!\d*(?:[,/?\s]|$))[^\s/?]*)")
_PARAMETER = re.compile(r"\b((?:ssl)?password)(\s*=\s*)[^&\s\"']*")


def names_server(name: object) -> bool:
    """Whether the name of a store is the URL of a server rather than a path.

    Args:
        name: As a caller gave it.
    """
    return str(name).startswith(SERVERS)


def without_passwords(text: str) -> str:
    """A text in which no URL of a server has its password.

    Args:
        text: A URL, or a message or a command line that may hold some.
    """
    if "postgres" not in text:
        return text
    return _PARAMETER.sub(r"\1\2***", _USER.sub(r"\1:***", text))
