"""Our own store does what every store must, and stores that do not are found out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hoptrail.memory.index import ann_types
from hoptrail.memory.store import Store
from hoptrail.memory.testing.hash_encoder import HashEncoder, StoreConformance, failures


class TestOurStore(StoreConformance):
    def open(self, path, clock) -> Store:
        return Store(path, encoder=HashEncoder(), clock=clock)


class TestOurStoreWithAnApproximateIndex(StoreConformance):
    exact = False

    @pytest.fixture(params=["hnsw", "ivf"], autouse=True)
    def _kind(self, request, monkeypatch) -> None:
        monkeypatch.setattr(ann_types, "LEAST", 3)  # passages from which it is used
        self.kind = request.param

    def open(self, path, clock) -> Store:
        return Store(path, encoder=HashEncoder(), clock=clock, index=self.kind)


class LeaksNamespaces(Store):
    """Looks everywhere, as a store does that forgot to hand the scope on."""

    def search(self, query, k=10, *, namespace=(), **options):
        return super().search(query, k, namespace=(), **options)


class MatchesHalfParts(Store):
    """Takes ("ab",) for a namespace that begins with ("a",)."""

    def count(self, namespace=()):
        wanted = "/".join(namespace)
        return sum("/".join(p.namespace).startswith(wanted) for p in super().passages())


class ForgetsDeletes(Store):
    """Deletes from the records, and finds by an index that nobody told."""

    kept = ()

    def delete(self, ids, namespace=()):
        ids = list(ids)
        gone = super().get_many(ids, namespace) if "none" not in ids else []
        self.kept = [*self.kept, *gone]
        return super().delete(ids, namespace)

    def search(self, query, k=10, **options):
        hits = super().search(query, k, **options)
        return [*hits, *(type(hits[0])(p, 0.0) for p in self.kept)] if hits else hits


class IgnoresFilters(Store):
    def search(self, query, k=10, *, filter=None, **options):
        return super().search(query, k, **options)


class FiltersAfterwards(Store):
    """Finds k, then drops what does not fit: fewer come back than there are."""

    def search(self, query, k=10, *, filter=None, **options):
        kept = {h.passage.id for h in super().search(query, 1000, filter=filter, **options)}
        return [h for h in super().search(query, k, **options) if h.passage.id in kept]


class WritesOneByOne(Store):
    def add(self, passages, **options):
        return [id_ for p in passages for id_ in super(WritesOneByOne, self).add([p], **options)]


class RewritesWhatIsTheSame(Store):
    def upsert(self, passages, **options):
        batch = list(passages)
        done = super().upsert(batch, **options)
        self.add(batch, on_duplicate="replace")
        return done


class KeepsTheExpired(Store):
    def has(self, id, namespace=()):
        with self.reading() as connection:
            query = "SELECT 1 FROM passages WHERE id = ? AND namespace = ''"
            return connection.execute(query, (id,)).fetchone() is not None


class LosesLinksOnUpdate(Store):
    def update(self, id, *, links=None, **changes):
        return super().update(id, links=links or [], **changes)


class ForgetsOutsideTheScope(Store):
    def forget(self, filter, *, namespace=()):
        return super().forget(filter, namespace=namespace[:-1])


@pytest.mark.parametrize(
    ("broken", "test"),
    [
        (LeaksNamespaces, "test_a_search_stays_in_its_scope"),
        (MatchesHalfParts, "test_namespaces_are_prefixes_of_whole_parts"),
        (ForgetsDeletes, "test_delete_is_exact_and_whole"),
        (IgnoresFilters, "test_filters_are_inside_the_search"),
        (FiltersAfterwards, "test_filters_are_inside_the_search"),
        (WritesOneByOne, "test_a_batch_is_written_whole_or_not_at_all"),
        (RewritesWhatIsTheSame, "test_upsert_writes_what_differs"),
        (KeepsTheExpired, "test_what_has_expired_is_nowhere"),
        (LosesLinksOnUpdate, "test_update_changes_what_is_given"),
        (ForgetsOutsideTheScope, "test_forget_deletes_what_fulfils_a_filter"),
    ],
)
def test_a_broken_store_fails_where_it_is_broken(broken: type[Store], test: str) -> None:
    class Suite(StoreConformance):
        def open(self, path: Path, clock) -> Store:
            return broken(path, encoder=HashEncoder(), clock=clock)

    found = failures(Suite(), test)
    assert "expected" in found[test]


class Remembers(Store):
    """Loses what is in memory only, when it is closed."""

    def __init__(self, path: Path, **options) -> None:
        path.unlink(missing_ok=True)
        super().__init__(path, **options)


def test_what_a_store_does_not_promise_it_is_not_held_to() -> None:
    class Suite(StoreConformance):
        durable = shared = False

        def open(self, path: Path, clock) -> Store:
            return Remembers(path, encoder=HashEncoder(), clock=clock)

    test = "test_what_was_written_outlives_the_store"
    assert failures(Suite(), test) == {}
    Suite.durable = True
    assert list(failures(Suite(), "test_wh")) == [test]


def test_the_suite_needs_no_pytest() -> None:
    code = "import sys; import hoptrail.memory.testing.hash_encoder as t; t.StoreConformance; "
    code += "print('pytest' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_suite_that_opens_nothing_says_so() -> None:
    found = failures(StoreConformance())
    assert set(found.values()) == {"say in a subclass how a store is opened"}
