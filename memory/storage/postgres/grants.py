"""Which role of a PostgreSQL server sees which namespaces of a store: held to by the server itself.

The role that made the tables sees everything. Every other one sees and writes what it was granted,
by row-level security, whatever program it connects with; its replicas hold nothing else.
"""

from __future__ import annotations

from hoptrail.errors import InputError
from hoptrail.memory.storage.database import BUSY_SECONDS
from hoptrail.memory.storage.namespaces import Scope
from hoptrail.memory.storage.postgres.server import Server, give_rights
from hoptrail.types import Namespace
from hoptrail.values.flags import flag
from hoptrail.values.strings import check_string


def grant_namespace(url: str, role: str, namespace: Namespace, *, write: bool = True) -> None:
    """Let a role see the passages of a namespace and of all that begin with it.

    What it has open has to be opened again.

    Args:
        url: The database, as the role that owns its tables.
        role: A role of the server that can log in.
        namespace: `()` for everything.
        write: Whether it may write as well, in all namespaces that it sees. Granting without takes
            the right away.

    Raises:
        InputError: It is no namespace, or the role no name.
        StoreUnavailable: The server refuses it, or there is no such role.
    """
    check_string(role, "a role")
    encoded, write = Scope.parse(namespace).encoded, flag(write, "write")
    server = Server(url, BUSY_SECONDS)
    try:
        with server.writing() as remote:
            execute = remote.connection.execute
            execute(
                "INSERT INTO hoptrail_grants VALUES (%s, %s) ON CONFLICT DO NOTHING",
                (role, encoded),
            )
            give_rights(remote.connection, role, write=write)
            remote.commit(remote.head.version)
    finally:
        server.close()


def revoke_namespace(url: str, role: str, namespace: Namespace) -> None:
    """Take back what `grant_namespace` gave.

    What the role has open refuses to be used at the next call, and its replica goes when it is
    opened again.

    Args:
        url: The database, as the role that owns its tables.
        role: A role of the server.
        namespace: As it was granted.

    Raises:
        InputError: The role was not granted just that.
        StoreUnavailable: The server refuses it.
    """
    check_string(role, "a role")
    encoded = Scope.parse(namespace).encoded
    server = Server(url, BUSY_SECONDS)
    try:
        with server.writing() as remote:
            count = remote.connection.execute(
                "DELETE FROM hoptrail_grants WHERE role_name = %s AND namespace = %s",
                (role, encoded),
            ).rowcount
            if not count:
                raise InputError(
                    f"the role {role!r} was not granted the namespace {namespace!r} of "
                    f"{server.name}"
                )
            remote.commit(remote.head.version)
    finally:
        server.close()
