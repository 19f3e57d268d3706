"""Namespaces as they are stored, and the scopes that they open.

A namespace is stored as one string, each of its parts closed by a separator, so that "begins with"
is a range of an index and ("a",) does not begin ("ab",).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from hoptrail.errors import InputError
from hoptrail.memory.storage.validity import NOW, Moment
from hoptrail.types import AsOf, Namespace
from hoptrail.values.strings import check_string

SEPARATOR = "\x1f"
"""Closes each part of a stored namespace; ASCII's own unit separator."""


def encode_namespace(namespace: Namespace) -> str:
    """A namespace that was checked, as it is stored.

    Args:
        namespace: A passage's, or that of a `Scope`.
    """
    return "".join(part + SEPARATOR for part in namespace)


def decode_namespace(stored: str) -> Namespace:
    """The namespace that was stored.

    Args:
        stored: As `encode_namespace` gave it.
    """
    return tuple(stored.split(SEPARATOR)[:-1])


def checked_namespace(namespace: object) -> Namespace:
    """A namespace that can be stored.

    Args:
        namespace: As a caller gave it.

    Raises:
        InputError: It is not a tuple of strings that are neither empty nor hold the separator.
    """
    if not isinstance(namespace, tuple):
        raise InputError(
            f"a namespace is a tuple of strings such as ('team', 'ann'), got {namespace!r}"
        )
    parts = tuple(namespace)  # of a subclass too, such as a named tuple
    for part in parts:
        check_string(part, "each part of a namespace")
        if SEPARATOR in part:
            raise InputError(f"a namespace must not hold the control character 1f, got {part!r}")
    return parts


@dataclass(frozen=True, slots=True)
class Scope:
    """A namespace that was checked, with all that begin with it, as of a moment.

    Made by `Scope.parse`.

    What names one passage takes `encoded`, which is exactly this namespace; what ranges over
    passages takes `bounds`.
    """

    namespace: Namespace
    encoded: str = field(compare=False)
    """The namespace as it is stored."""
    bounds: tuple[str, str | bytes] = field(compare=False)
    """`low <= n < high` of the stored namespaces that begin with this one."""
    moment: Moment = NOW
    """As of when its passages are read."""

    @classmethod
    def parse(cls, namespace: Namespace | Scope) -> Scope:
        """The scope that a namespace opens; one that was parsed is given back as it is.

        Args:
            namespace: A tuple of strings, as a caller gave it; `()` opens all there is.

        Raises:
            InputError: It is not a tuple of strings that are neither empty nor hold the separator.
        """
        if isinstance(namespace, Scope):
            return namespace
        namespace = checked_namespace(namespace)
        encoded = encode_namespace(namespace)
        if not encoded:
            return cls(namespace, encoded, ("", b""))  # to SQLite any blob is above any text
        return cls(namespace, encoded, (encoded, encoded[:-1] + chr(ord(SEPARATOR) + 1)))

    def at(self, as_of: AsOf | Moment | None) -> Scope:
        """The same namespaces as of another time.

        Args:
            as_of: A time, "ever" for what was valid at any, or None for now.

        Raises:
            InputError: It is none of these.
        """
        return replace(self, moment=Moment.parse(as_of))

    def includes(self, namespace: Namespace) -> bool:
        """Whether a namespace begins with this one.

        Args:
            namespace: One that was checked.
        """
        return namespace[: len(self.namespace)] == self.namespace


EVERYTHING = Scope.parse(())
"""The scope of all namespaces."""

ScopeLike = Namespace | Scope
"""What a caller may give for a scope: a namespace, or one that was parsed before."""
