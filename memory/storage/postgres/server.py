"""The PostgreSQL server under a store: its connections, its transactions, its errors in our words.

One connection asks for the newest version, before every reading; another one reads changes and
writes, for the one thread at a time that has the replica's writer. Each is opened again where it
was lost.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from hoptrail.errors import (
    InputError,
    MissingExtra,
    SchemaMismatch,
    StoreBusy,
    StoreUnavailable,
)
from hoptrail.memory.guarded import guarded
from hoptrail.memory.storage.postgres import shared_tables
from hoptrail.values.server_urls import without_passwords

if TYPE_CHECKING:
    from psycopg import Connection

CONNECT_SECONDS = 10
"""How long a connection is waited for, where the URL does not say."""

ALL = "all"
"""What `Head.visible` is of a role that sees every row."""

_inherited: list[Connection[Any]] = []  # of the parent process, which goes on with them


class NoTablesError(StoreUnavailable):
    """A database has no tables of a store."""


class OldTablesError(SchemaMismatch):
    """The tables of a store are of an older form, and whoever asks may not change them."""


@dataclass(frozen=True, slots=True)
class Head:
    """What the server holds at a moment."""

    version: int
    """The newest."""
    token: str
    """Of the last commit; empty where there was none."""
    visible: str
    """Tells which rows this role sees from what another role, or it at another time, does."""


@dataclass(frozen=True, slots=True)
class Remote:
    """A transaction on the server."""

    connection: Connection[Any]
    head: Head
    """What was there when it began; nobody writes meanwhile if it writes itself."""
    server: Server

    def commit(self, version: int) -> str:
        """Make what was written the newest version, for everybody; its token.

        Args:
            version: The highest of what was written.

        Raises:
            StoreUnavailable: The connection was lost; the message says whether it was written.
        """
        token = uuid4().hex
        execute = self.connection.execute
        execute("UPDATE hoptrail_head SET version = %s, token = %s", (version, token))
        execute("INSERT INTO hoptrail_commits VALUES (%s, %s)", (token, version))
        self.server.commit(self.connection, token)
        return token


class Server:
    """The server that a URL names, with the tables of a store.

    Args:
        url: As libpq takes it: `postgresql://user@host:5432/database`.
        patience: Seconds that a writer waits for others.
        read_only: Make no tables where there are none, and leave older ones as they are.

    Raises:
        MissingExtra: `hoptrail[postgres]` is not installed.
        InputError: The URL cannot be read.
        StoreUnavailable: It cannot be reached, or has no tables of a store and no right to make
            some.
        SchemaMismatch: The tables were made by a newer version, or by an older one and it is
            read-only.
    """

    def __init__(self, url: str, patience: float, *, read_only: bool = False) -> None:
        try:
            import pgvector.psycopg
            import psycopg
        except ImportError as error:
            what = "a store on PostgreSQL needs psycopg and pgvector"
            raise MissingExtra(what, "postgres") from error
        self._psycopg, self._register = psycopg, pgvector.psycopg.register_vector
        self._url, self._patience = url, patience
        self.name = without_passwords(url)
        """What messages call it: its URL without a password."""
        self.store = self.role = ""
        """The name of the store, which no other has, and the role that is connected as."""
        self._asking = threading.RLock()  # held while the connection that asks is used
        self._asks: Connection[Any] | None = None
        self._works: Connection[Any] | None = None  # only by who has the replica's writer
        try:
            self._options = self._read_url()
            with self._errors("opened"):
                self._open(read_only=read_only)
        except BaseException:
            self.close()
            raise

    def _read_url(self) -> dict[str, Any]:
        """The options of a connection that the URL names.

        Raises:
            InputError: It is none. The driver's message would show what it holds.
        """
        authority, _, rest = self._url.partition("?")[0].partition("://")[2].partition("/")
        try:
            if authority.count("@") > 1 or "@" in rest:
                raise ValueError
            options: dict[str, Any] = self._psycopg.conninfo.conninfo_to_dict(self._url)
            if not all(map(str.isdigit, filter(None, str(options.get("port", "")).split(",")))):
                raise ValueError
        except (self._psycopg.ProgrammingError, ValueError):
            raise InputError(
                f"{self.name} is no URL of a PostgreSQL database: give "
                "postgresql://user@host:port/database, with signs such as @ / : ? in a password "
                "as %40 %2F %3A %3F"
            ) from None
        return options

    def _open(self, *, read_only: bool) -> None:
        connection = self._asks = self._connected()
        info = connection.info
        schema, self.role = _row(connection, "SELECT current_schema(), current_user")
        self.name = f"postgresql://{info.user}@{info.host}:{info.port}/{info.dbname}"
        if schema != "public":
            self.name += f" (schema {schema})"
        there = "SELECT to_regclass('hoptrail_head') IS NOT NULL"
        if not _row(connection, there)[0]:
            if read_only:
                raise NoTablesError(f"there is no store at {self.name}")
            self._make_tables(connection)
        self.store, form = _row(connection, "SELECT store, tables FROM hoptrail_head")
        if form > shared_tables.TABLES:
            raise SchemaMismatch(
                f"{self.name} has tables of form {form} and this hoptrail knows "
                f"{shared_tables.TABLES}: they were made by a newer version, install that one"
            )
        if form < shared_tables.TABLES:
            if read_only:
                raise OldTablesError(
                    f"the tables of {self.name} are older than this hoptrail, and it is opened "
                    "read-only: open it once for writing, as the role that made them"
                )
            self._upgrade_tables(connection)

    def _upgrade_tables(self, connection: Connection[Any]) -> None:
        """Bring older tables to the present form, with the rights that roles have on them."""
        try:
            with connection.transaction():
                form = _row(connection, "SELECT tables FROM hoptrail_head FOR UPDATE")[0]
                for statements in shared_tables.UPGRADES[form - 1 :]:
                    for statement in statements:
                        connection.execute(statement)
                for role, writes in connection.execute(shared_tables.ROLES).fetchall():
                    give_rights(connection, role, write=writes)
                connection.execute("UPDATE hoptrail_head SET tables = %s", (shared_tables.TABLES,))
        except self._psycopg.errors.InsufficientPrivilege as error:
            raise StoreUnavailable(
                f"the tables of {self.name} are older than this hoptrail: open the store once as "
                "the role that made them"
            ) from error

    def _make_tables(self, connection: Connection[Any]) -> None:
        """Make them, once whoever does the same has had their turn."""
        errors = self._psycopg.errors
        try:
            with connection.transaction():
                for statement in shared_tables.CREATE:
                    connection.execute(statement)
                connection.execute(shared_tables.INSERT_HEAD, (uuid4().hex,))
        except (errors.UniqueViolation, errors.DuplicateTable, errors.DuplicateObject):
            connection.execute("SELECT 1 FROM hoptrail_head")  # another has made them

    def close(self) -> None:
        """Close the connections; a second time does nothing."""
        for connection in (self._asks, self._works):
            if connection is not None:
                connection.close()
        self._asks = self._works = None

    def another(self, patience: float) -> Server:
        """The same with connections of its own, which look for no tables to make.

        Args:
            patience: Seconds that a writer waits for others.
        """
        return Server(self._url, patience, read_only=True)

    def forked(self) -> None:
        """In a forked child: forget the connections, which are the parent's."""
        self._asking = threading.RLock()
        _inherited.extend(one for one in (self._asks, self._works) if one is not None)
        self._asks = self._works = None

    def head(self) -> Head:
        """The newest version, as it is now.

        Raises:
            StoreUnavailable: The server cannot be reached.
        """
        with self._errors("read"), self._asking:
            try:
                return self._head(self._asking_connection())
            except self._psycopg.OperationalError:  # it was lost since: once more on a new one
                return self._head(self._asking_connection(again=True))

    def _asking_connection(self, *, again: bool = False) -> Connection[Any]:
        if self._asks is None or self._asks.closed or again:
            if self._asks is not None:
                self._asks.close()
            self._asks = self._connected()
        return self._asks

    def _head(self, connection: Connection[Any], lock: str = "") -> Head:
        version, token, secured, granted = _row(connection, shared_tables.HEAD + lock)
        return Head(int(version), token, f"{secured} {granted}" if secured else ALL)

    @guarded
    def reading(self) -> Iterator[Remote]:
        """One state of the server, however many statements read it."""
        with self._errors("read"):
            connection = self._working_connection("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            try:
                yield Remote(connection, self._head(connection), self)
            finally:
                self._roll_back(connection)

    @guarded
    def writing(self, *, wait: bool | float = True) -> Iterator[Remote]:
        """A transaction, while nobody else writes; undone unless it is committed.

        Args:
            wait: For other writers, or fail at once if there is one, or so many seconds.

        Raises:
            StoreBusy: Another one writes.
            StoreUnavailable: The server cannot be reached, or was lost meanwhile.
        """
        seconds = self._patience if wait is True else float(wait)
        with self._errors("written"):
            connection = self._working_connection("BEGIN")
            try:
                # For this transaction alone: the connection may be a pooler's. And a commit is on
                # the disk when it is answered, whatever the server's default.
                connection.execute("SET LOCAL synchronous_commit = on")
                connection.execute(f"SET LOCAL lock_timeout = {int(1000 * seconds)}")
                lock = " FOR UPDATE" if seconds else " FOR UPDATE NOWAIT"
                yield Remote(connection, self._head(connection, lock), self)
            finally:
                self._roll_back(connection)

    @guarded
    def maintaining(self) -> Iterator[tuple[Connection[Any], float]]:
        """A connection of its own, in no transaction, and how long it is to wait for others.

        Raises:
            StoreBusy: They are in the way.
            StoreUnavailable: The server cannot be reached, or was lost meanwhile.
        """
        with self._errors("rewritten"):
            connection = self._connected()
            try:
                yield connection, self._patience
            finally:
                connection.close()

    def commit(self, connection: Connection[Any], token: str) -> None:
        """Commit a transaction; where the answer does not come, ask whether it was done.

        Args:
            connection: In the transaction.
            token: What it has written last.

        Raises:
            StoreUnavailable: It was not, or nobody can tell.
        """
        try:
            connection.execute("COMMIT")
        except self._psycopg.OperationalError as lost:
            try:
                again = self._working_connection("BEGIN", anew=True)
                again.execute("SELECT 1 FROM hoptrail_head FOR UPDATE")  # once the other has ended
                query = "SELECT 1 FROM hoptrail_commits WHERE token = %s"
                done = again.execute(query, (token,)).fetchone()
                again.execute("ROLLBACK")
            except self._psycopg.Error:
                raise StoreUnavailable(
                    f"{self.name} was lost while a write was committed, and whether it was written "
                    "cannot be told: look for it, or write it once more by upsert"
                ) from lost
            if not done:
                raise

    def _working_connection(self, begin: str, *, anew: bool = False) -> Connection[Any]:
        """The connection that works, in a transaction; a new one where it was lost."""
        if self._works is not None and (anew or self._works.closed):
            self._works.close()
            self._works = None
        if self._works is not None:
            try:
                self._roll_back(self._works)  # whoever began one was interrupted
                self._works.execute(begin)
                return self._works
            except self._psycopg.OperationalError:
                self._works.close()
        self._works = self._connected()
        self._works.execute(begin)
        return self._works

    def _roll_back(self, connection: Connection[Any]) -> None:
        idle = self._psycopg.pq.TransactionStatus.IDLE
        with suppress(self._psycopg.Error):
            if not connection.closed and connection.info.transaction_status != idle:
                connection.execute("ROLLBACK")

    def _connected(self) -> Connection[Any]:
        """A connection in autocommit mode."""
        conninfo = self._psycopg.conninfo
        options = {"connect_timeout": CONNECT_SECONDS, "application_name": "hoptrail"}
        options |= self._options
        url = conninfo.make_conninfo(**options)
        # What is prepared would stay with one connection of a pooler.
        connection = self._psycopg.connect(url, autocommit=True, prepare_threshold=None)
        try:
            if self.store:
                self._register(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    @guarded
    def _errors(self, what: str) -> Iterator[None]:
        psycopg = self._psycopg
        try:
            yield
        except psycopg.errors.LockNotAvailable as error:
            raise StoreBusy(
                f"{self.name} could not be {what}: another writer has it locked"
            ) from error
        except (psycopg.DataError, psycopg.errors.ProgramLimitExceeded) as error:
            raise InputError(
                f"PostgreSQL cannot hold what was to be written: {_sentence(error)}"
            ) from error
        except psycopg.Error as error:
            raise StoreUnavailable(
                f"{self.name} could not be {what}: {_sentence(error)}"
            ) from error


def has_store(url: str) -> bool:
    """Whether a database has the tables of a store; nothing is made.

    Args:
        url: Of the database.

    Raises:
        MissingExtra: `hoptrail[postgres]` is not installed.
        StoreUnavailable: The server cannot be reached.
        SchemaMismatch: The tables were made by a newer version.
    """
    try:
        Server(url, 0.0, read_only=True).close()
    except NoTablesError:
        return False
    except OldTablesError:
        pass
    return True


def give_rights(connection: Connection[Any], role: str, *, write: bool) -> None:
    """Give a role the rights on the tables that row-level security then narrows.

    Args:
        connection: In a transaction, as the role that owns the tables.
        role: That is to have them.
        write: Whether it may write as well.
    """
    from psycopg import sql

    def execute(statement: str, **names: str) -> None:
        identifiers: dict[str, Any] = {key: sql.Identifier(name) for key, name in names.items()}
        connection.execute(sql.SQL(statement).format(**identifiers))

    schema = _row(connection, "SELECT current_schema()")[0] or ""
    execute("GRANT USAGE ON SCHEMA {schema} TO {role}", schema=schema, role=role)
    for table, rights in shared_tables.RIGHTS.items():
        execute("REVOKE ALL ON {table} FROM {role}", table=table, role=role)
        execute("GRANT SELECT ON {table} TO {role}", table=table, role=role)
        if write and rights:
            execute(f"GRANT {rights} ON {{table}} TO {{role}}", table=table, role=role)


def _row(connection: Connection[Any], query: str) -> tuple[Any, ...]:
    """The first row of a query that always has one."""
    row: tuple[Any, ...] | None = connection.execute(query).fetchone()
    if row is None:
        raise StoreUnavailable("a table of the store on the server is empty: restore a backup")
    return row


def _sentence(error: Exception) -> str:
    """The first line of what the server or its driver says."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
