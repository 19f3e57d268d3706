"""Bearer tokens of an HTTP server: each opens one namespace, and nothing else."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from mcp.server.auth.provider import AccessToken

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


class TokenTable:
    """Knows tokens by their digests, as the SDK's `TokenVerifier`.

    Args:
        tokens: What each token opens.

    Raises:
        ConfigError: There is none, or one is too short to be a secret.
    """

    def __init__(self, tokens: Mapping[str, Access]) -> None:
        if not tokens:
            raise ConfigError("there is no token: give at least one, or none at all")
        for token in tokens:
            if len(token) < MIN_TOKEN or not token.isascii() or " " in token:
                raise ConfigError(
                    f"a token has at least {MIN_TOKEN} ASCII characters and no blank, "
                    f"got one of {len(token)}: `openssl rand -hex 32` makes one"
                )
        self.access = {_digest(token): access for token, access in tokens.items()}

    async def verify_token(self, token: str) -> AccessToken | None:
        """The caller, if the token is known; comparing digests takes the same time for each."""
        digest = _digest(token)
        if digest not in self.access:
            return None
        return AccessToken(token=token, client_id=digest, scopes=[])


def _digest(token: str) -> str:
    return sha256(token.encode("utf-8", "replace")).hexdigest()


def read_tokens(path: str | Path) -> dict[str, Access]:
    """The tokens of a file: `{"<token>": {"namespace": ["team", "ann"], "read_only": false}}`.

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
    if not isinstance(entry, dict) or not {"namespace"} <= set(entry) <= {"namespace", "read_only"}:
        raise FormatError(f'{where} has a "namespace", perhaps "read_only", and nothing else')
    namespace: Sequence[str] = entry["namespace"]
    if not isinstance(namespace, list):
        raise FormatError(f'{where} has a "namespace" that is a list such as ["team", "ann"]')
    read_only = flag(entry.get("read_only", False), "read_only")
    return Access(parse_scope(namespace).namespace, read_only)
