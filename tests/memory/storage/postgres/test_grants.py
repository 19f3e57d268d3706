"""Namespaces are held apart by the server, whoever asks it."""

from __future__ import annotations

from contextlib import closing

import pytest

from hoptrail.errors import InputError, StoreUnavailable
from hoptrail.memory.storage.postgres.grants import grant_namespace, revoke_namespace
from hoptrail.memory.store import Store
from hoptrail.memory.testing.hash_encoder import HashEncoder
from hoptrail.types import Passage

psycopg = pytest.importorskip("psycopg", reason="hoptrail[postgres] is not installed")
pytestmark = pytest.mark.slow

ANN, BOB = ("team", "ann"), ("team", "bob")


@pytest.fixture
def schema(cluster) -> str:
    name = cluster.new_schema()
    cluster.execute(f"CREATE ROLE ann_{name} LOGIN")
    return name


@pytest.fixture
def role(schema) -> str:
    return f"ann_{schema}"


def opened(url: str):
    return closing(Store(url, encoder=HashEncoder()))


def test_a_role_sees_and_writes_its_namespaces_only(cluster, schema, role, host) -> None:
    url, hers = cluster.url(schema), cluster.url(schema, role)
    with opened(url) as owner:
        owner.add([Passage("a", "a river", namespace=ANN), Passage("b", "x", namespace=BOB)])
        owner.add([Passage("deep", "a bridge", namespace=(*ANN, "notes"))])
        grant_namespace(url, role, ANN)
        with opened(hers) as store:
            assert store.namespaces() == [ANN, (*ANN, "notes")]
            assert [hit.passage.id for hit in store.search("river", 9, mode="sparse")] == ["a"]
            with store.reading() as connection:  # nor does its replica hold anything else
                assert connection.execute("SELECT count(*) FROM passages").fetchone()[0] == 2
            store.add([Passage("c", "hers", namespace=ANN)])
            assert owner.get("c", ANN).text == "hers"
            for other in (BOB, (), ("team",), ("team", "anna")):
                with pytest.raises(StoreUnavailable, match="row-level security"):
                    store.add([Passage("d", "not hers", namespace=other)])
            assert store.count() == 3
            assert owner.count() == 4
            owner.delete(["a"], ANN)
            owner.delete(["b"], BOB)
            assert (store.has("a", ANN), store.version) == (False, owner.version)
        with psycopg.connect(hers) as connection:  # without hoptrail too
            rows = connection.execute("SELECT id FROM hoptrail_passages ORDER BY id").fetchall()
            assert rows == [("c",), ("deep",)]
            vectors = connection.execute("SELECT count(*) FROM hoptrail_vectors").fetchone()
            assert vectors == (2,)
            gone = connection.execute("SELECT id FROM hoptrail_deletions").fetchall()
            assert gone == [("a",)]
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute("INSERT INTO hoptrail_grants VALUES (current_user, '')")


def test_a_grant_shows_what_was_there_before_and_revoking_hides_it(
    cluster, schema, role, host
) -> None:
    url, hers = cluster.url(schema), cluster.url(schema, role)
    with opened(url) as owner:
        owner.add([Passage("a", "x", namespace=ANN), Passage("b", "x", namespace=BOB)])
    grant_namespace(url, role, ANN)
    with opened(hers) as store:
        first = store.path
        grant_namespace(url, role, BOB)
        with pytest.raises(StoreUnavailable, match="open it again"):
            store.count()
    with opened(hers) as store:
        assert store.namespaces() == [ANN, BOB]
        assert not first.exists()
        revoke_namespace(url, role, BOB)
        with pytest.raises(StoreUnavailable, match="open it again"):
            store.count()
    with opened(hers) as store:
        assert store.namespaces() == [ANN]
    with pytest.raises(InputError, match="was not granted"):
        revoke_namespace(url, role, BOB)


def test_a_role_that_may_only_read_reads(cluster, schema, role, host) -> None:
    url, hers = cluster.url(schema), cluster.url(schema, role)
    with closing(Store(url, encoder=HashEncoder(), clock=lambda: 1000.0)) as owner:
        owner.add([Passage("a", "a river"), Passage("old", "a river", expires_at=2000.0)])
    grant_namespace(url, role, (), write=False)
    with opened(hers) as store:  # for which the second has expired, and is the owner's to delete
        assert [hit.passage.id for hit in store.search("river", 9)] == ["a"]
        with pytest.raises(StoreUnavailable, match="permission denied"):
            store.add([Passage("b", "x")])
        assert store.count() == 1


def test_who_was_granted_nothing_gets_nowhere(cluster, schema, role, host) -> None:
    with opened(cluster.url(schema)):
        pass
    with pytest.raises(StoreUnavailable, match="permission denied"):
        Store(cluster.url(schema, role))
