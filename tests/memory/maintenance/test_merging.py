"""Merging the duplicates that are there already, with all that they were."""

from __future__ import annotations

import pytest

from hoptrail import Memory
from hoptrail.cli.main import main
from hoptrail.errors import InputError
from hoptrail.memory.maintenance.merging import merge_duplicates
from hoptrail.memory.passages.usage import history
from hoptrail.memory.store import Store
from hoptrail.types import Link, Passage


@pytest.fixture
def store(tmp_path, hash_encoder):
    with Store(tmp_path / "s.db", encoder=hash_encoder) as store:
        store.add(
            [
                Passage("a", "The Fram sailed north.", links=(Link("ice", "saw", 2.0),)),
                Passage("b", "the fram sailed north", metadata={"by": "Ann"}, links=(Link("a"),)),
                Passage("c", "The Fram sailed north.", title=None, links=(Link("crew"),)),
                Passage("ice", "Ice of the pole.", links=(Link("b", "bore"), Link("a", "bore"))),
                Passage("crew", "Thirteen men.", links=(Link("c", "were on", 0.5),)),
            ]
        )
        store.add([Passage("b", "The Fram sailed north.", namespace=("another",))])
        yield store


def everything(store) -> list[Passage]:
    return list(store.passages())


def test_a_dry_run_says_what_would_be_done_and_changes_nothing(store) -> None:
    before = everything(store)
    found = merge_duplicates(store)
    (merge,) = found.merges
    assert (merge.namespace, merge.keeper, found.passages, found.done) == ((), "a", 2, False)
    assert [(one.id, one.exact) for one in merge.merged] == [("b", False), ("c", True)]
    assert everything(store) == before


def test_the_first_stays_and_keeps_what_the_others_were(store) -> None:
    found = merge_duplicates(store, dry_run=False)
    assert found.done
    assert {p.id for p in everything(store) if not p.namespace} == {"a", "ice", "crew"}
    kept = store.get("a")
    assert kept.text == "The Fram sailed north."
    assert kept.metadata == {}
    assert [(one.id, one.text, one.metadata) for one in history(store, "a").merged] == [
        ("b", "the fram sailed north", {"by": "Ann"}),
        ("c", "The Fram sailed north.", {}),
    ]
    assert {(link.target, link.kind, link.weight) for link in kept.links} == {
        ("ice", "saw", 2.0),
        ("crew", "link", 1.0),
    }
    assert store.get("crew").links == (Link("a", "were on", 0.5),)
    assert store.get("ice").links == (Link("a", "bore"),)


def test_namespaces_are_never_merged_and_nothing_is_left_to_do(store) -> None:
    merge_duplicates(store, dry_run=False)
    assert store.get("b", ("another",)).text == "The Fram sailed north."
    assert merge_duplicates(store, dry_run=False).merges == ()
    version = store.version
    assert not merge_duplicates(store, dry_run=False).done
    assert store.version == version


def test_a_bound_above_one_takes_the_same_text_only(store) -> None:
    found = merge_duplicates(store, similarity_threshold=1.5)
    assert [one.id for merge in found.merges for one in merge.merged] == ["c"]
    with pytest.raises(InputError, match="similarity_threshold must be a cosine"):
        merge_duplicates(store, similarity_threshold=0)


def test_prune_on_the_command_line_is_a_dry_run_until_told(store, tmp_path, capsys) -> None:
    store.close()
    file = str(tmp_path / "s.db")
    assert main(["store", "dedup", "--store", file]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "b would go into a (cosine 1.000)"
    assert out[-1] == "2 of 6 passages: --apply does it"
    assert main(["store", "dedup", "--store", file, "--apply"]) == 0
    assert "c merged into a (the same text)" in capsys.readouterr().out
    with Memory(file, encoder=None) as memory:
        assert memory.count() == 4
        assert memory.merge_duplicates().merges == ()
