from __future__ import annotations

from dataclasses import replace

import pytest

from hoptrail.errors import DuplicateId, InputError
from hoptrail.memory.passages.whole_documents import Whole
from hoptrail.memory.store import Store
from hoptrail.memory.testing.hash_encoder import HashEncoder
from hoptrail.types import MAX_TEXT, Passage


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "a.db", encoder=HashEncoder()) as store:
        yield store


def parts(name: str, *texts: str, namespace: tuple[str, ...] = ()) -> list[Passage]:
    """A document's parts, as cutting makes them."""
    return [
        Passage(f"{name}#{n}", text, namespace=namespace, document=name, parts=len(texts))
        for n, text in enumerate(texts, start=1)
    ]


def ids(store: Store) -> set[str]:
    return {passage.id for passage in store.passages()}


@pytest.mark.parametrize("write", ["upsert", "add"])
def test_a_document_given_again_is_replaced_whole(store, write) -> None:
    store.upsert([*parts("a", "one", "two", "three"), *parts("b", "four"), Passage("c", "five")])
    again = parts("a", "one", "new")
    if write == "upsert":
        done = store.upsert(again)
        assert (done.unchanged, done.updated, done.deleted) == (("a#1",), ("a#2",), ("a#3",))
    else:
        store.add(again, on_duplicate="replace")
    assert ids(store) == {"a#1", "a#2", "b#1", "c"}


def test_one_part_that_was_read_and_written_back_takes_nothing_with_it(store) -> None:
    store.upsert(parts("a", "one", "two"))
    first = store.get("a#1")
    assert (first.document, first.parts) == ("a", 0)
    assert store.upsert([replace(first, metadata={"seen": True})]).updated == ("a#1",)
    store.upsert([Passage("a#2", "two, corrected")])  # names no document: it stays in its own
    store.add(parts("a", "x", "y", "z")[:1], on_duplicate="replace")  # not all of it was given
    assert ids(store) == {"a#1", "a#2"}
    assert store.upsert(parts("a", "one")).deleted == ("a#2",)


def test_a_document_that_holds_nothing_any_more_goes(store) -> None:
    store.upsert([*parts("a", "one"), *parts("a", "two", namespace=("n",)), *parts("b", "three")])
    done = store.upsert([], whole=Whole(frozenset({((), "a")})))
    assert done.deleted == ("a#1",)
    assert sorted(p.text for p in store.passages()) == ["three", "two"]


def test_a_folder_given_whole_loses_what_was_not_given_and_nothing_else(store) -> None:
    names = ["/x/a", "/x/sub/b", "/xy/c", "/x", "/w/d"]
    store.upsert([part for name in names for part in parts(name, f"text of {name}")])
    store.upsert([*parts("/x/e", "elsewhere", namespace=("n",)), Passage("/x/own", "my own")])
    done = store.upsert(parts("/x/a", "new"), whole=Whole(folders=frozenset({((), "/x/")})))
    assert done.deleted == ("/x/sub/b#1",)
    assert ids(store) == {"/x/a#1", "/xy/c#1", "/x#1", "/w/d#1", "/x/e#1", "/x/own"}


def test_a_document_never_takes_the_id_of_another(store) -> None:
    store.upsert([*parts("a", "one"), Passage("own", "mine")])
    for write in (store.upsert, lambda batch: store.add(batch, on_duplicate="replace")):
        with pytest.raises(DuplicateId, match="'a#1' of document 'z' is taken by a part of"):
            write([Passage("a#1", "other", document="z", parts=1)])
        with pytest.raises(DuplicateId, match="'own' of document 'z' is taken by a passage of its"):
            write([Passage("own", "other", document="z", parts=1)])
    assert sorted(p.text for p in store.passages()) == ["mine", "one"]


def test_a_document_that_is_there_is_skipped_whole(store) -> None:
    store.upsert(parts("a", "one"))
    assert store.add(parts("a", "one", "two"), on_duplicate="skip") == []
    assert store.add([*parts("b", "x", "y")], on_duplicate="skip") == ["b#1", "b#2"]
    with pytest.raises(DuplicateId, match="upsert writes what differs"):
        store.add(parts("a", "one"))


def test_a_document_survives_export_and_import(store, tmp_path) -> None:
    from hoptrail.memory.maintenance import export

    store.upsert(parts("a", "one", "two"))
    export.export(store, tmp_path / "a.jsonl")
    with Store(tmp_path / "b.db", encoder=HashEncoder()) as other:
        export.import_file(other, tmp_path / "a.jsonl")
        assert other.upsert(parts("a", "one")).deleted == ("a#2",)


def test_a_text_has_a_size_at_most(store) -> None:
    text = "x" * (MAX_TEXT + 1)
    with pytest.raises(InputError, match="the text has 1,000,001 characters, and 1,000,000 is"):
        store.add([Passage("a", text)])
    with pytest.raises(InputError, match="the title has 1,000,001 characters"):
        store.upsert([Passage("a", "x", text)])
    store.add([Passage("a", text[1:])])
    for call in (
        lambda: store.update("a", text=text),
        lambda: store.search(text),
        lambda: store.add([Passage("b", "x", metadata={"big": text})]),
        lambda: store.add([Passage(text, "x")]),
        lambda: store.get(text),
    ):
        with pytest.raises(InputError, match="characters") as caught:
            call()
        assert len(str(caught.value)) < 400
    assert store.count() == 1


@pytest.mark.parametrize("other", ["z", None])
def test_one_batch_holds_no_id_of_two_documents(store, other) -> None:
    batch = [*parts("a", "one"), Passage("a#1", "other", document=other, parts=1)]
    for write in (store.upsert, lambda batch: store.add(batch, on_duplicate="skip")):
        for given in (batch, batch[::-1]):
            with pytest.raises(DuplicateId, match="'a#1' is given twice, of document"):
                write(given)
    assert ids(store) == set()
