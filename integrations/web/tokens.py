"""Bearer tokens of an HTTP server: each opens one namespace, and nothing else."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from hoptrail.api.inputs import parse_scope
from hoptrail.errors import ConfigError, FormatError
from hoptrail.types import Namespace
from hoptrail.values.flags import flag

MIN_TOKEN = 20
"""Characters of a token at least, so that nobody guesses one."""


@dataclass(frozen=True, slots=True)
class Access:
    """What a token opens."""

    namespace: Namespace
    read_only: bool = False
    metrics: bool = False
    """Whether it also opens the metrics of a server that has some."""


_FLAGS = ("read_only", "metrics")


class TokenTable:
    """Knows tokens by their digests: comparing those takes the same time for every token.

    Args:
        tokens: What each token opens.

    Raises:
        ConfigError: There is none, or one is too short to be a secret.
    """

    def __init__(self, tokens: Mapping[str, Access]) -> None:
        if not tokens:
            raise ConfigError("there is no token: give at least one, or none at all")
        for token in tokens:
            check_token(token)
        self.access = {_digest(token): access for token, access in tokens.items()}

    def caller(self, token: str) -> str | None:
        """The digest of a token, which names its caller in `access`; None if it is not known.

        Args:
            token: As a request has it.
        """
        digest = _digest(token)
        return digest if digest in self.access else None


def check_token(token: str) -> None:
    """Refuse a token that somebody could guess, or that no header can carry.

    Raises:
        ConfigError: It is too short, or has other characters.
    """
    if len(token) < MIN_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigError(
            f"a token has at least {MIN_TOKEN} ASCII characters and no blank, "
            f"got one of {len(token)}: `openssl rand -hex 32` makes one"
        )


def bearer_token(header: str) -> str | None:
    """The token of an Authorization header, None if it has none.

    Args:
        header: As a request has it; empty for none.
    """
    scheme, _, token = header.partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else None


def _digest(token: str) -> str:
    return sha256(token.encode("utf-8", "replace")).hexdigest()


def read_tokens(path: str | Path) -> dict[str, Access]:
    """The tokens of a file: `{"<token>": {"namespace": ["team", "ann"], "read_only": false}}`.

    Args:
        path: Of the file; only its owner may read it.

    Raises:
        FormatError: The file cannot be read or holds something else.
        ConfigError: Others than its owner may read it.
    """
    file = Path(path)
    try:
        if os.name == "posix" and file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise ConfigError(f"others may read the tokens in {file}: chmod 600 {file}")
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise FormatError(f"the file of tokens {file} cannot be read: {error}") from error
    if not isinstance(value, dict):
        raise FormatError(f"{file} must hold one JSON object, a token to a key")
    return {token: _access(entry, file) for token, entry in value.items()}


def _access(entry: object, file: Path) -> Access:
    where = f"each token of {file}"
    if not isinstance(entry, dict) or not {"namespace"} <= set(entry) <= {"namespace", *_FLAGS}:
        names = " and ".join(f'"{name}"' for name in _FLAGS)
        raise FormatError(f'{where} has a "namespace", perhaps {names}, and nothing else')
    namespace: Sequence[str] = entry["namespace"]
    if not isinstance(namespace, list):
        raise FormatError(f'{where} has a "namespace" that is a list such as ["team", "ann"]')
    flags = {name: flag(entry.get(name, False), name) for name in _FLAGS}
    return Access(parse_scope(namespace).namespace, **flags)
