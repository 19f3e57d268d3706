"""A store's language: settled when it is made, and the same for whoever opens it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hoptrail import Memory
from hoptrail.errors import ConfigError, FormatError
from hoptrail.memory.store import Store
from hoptrail.memory.testing.hash_encoder import HashEncoder
from hoptrail.types import Passage

HOUSES = Passage("h", "Alte Häuser am Fluss.")


def store_at(path: Path, **settings) -> Store:
    return Store(path, encoder=HashEncoder(), **settings)


def ids(store: Store, query: str) -> list[str]:
    return [hit.passage.id for hit in store.search(query, mode="sparse")]


def test_words_go_through_the_stemmer_of_the_language(tmp_path: Path) -> None:
    with store_at(tmp_path / "german.db", language="german") as german:
        german.add([HOUSES])
        assert german.language == "german"
        assert ids(german, "Haus") == ["h"]
        assert [hit.passage.id for hit in german.search("Haus", namespace=(), mode="sparse")]
    with store_at(tmp_path / "none.db", language="none") as plain:
        plain.add([HOUSES])
        assert ids(plain, "Haus") == []
        assert ids(plain, "hauser") == ["h"]


def test_who_names_no_language_gets_the_one_that_is_recorded(tmp_path: Path) -> None:
    path = tmp_path / "german.db"
    store_at(path, language="german").close()
    with store_at(path) as again:
        assert again.language == "german"
        again.add([HOUSES])
        assert ids(again, "Haus") == ["h"]
    with Store(path, read_only=True, language="german") as readable:
        assert ids(readable, "Haus") == ["h"]


@pytest.mark.parametrize("read_only", [False, True])
def test_another_language_than_the_recorded_is_refused(tmp_path: Path, read_only: bool) -> None:
    path = tmp_path / "a.db"
    with store_at(path) as store:
        store.add([HOUSES])
        assert store.language == "english"
    with pytest.raises(ConfigError, match=r"stemmed as english.*got language 'german'"):
        Store(path, language="german", read_only=read_only)
    with pytest.raises(ConfigError, match="the language 'english', got 'german'"):
        Memory(Store(path), language="german")
    Memory(path, language="english", encoder=None).close()


def test_an_unknown_language_leaves_no_file_behind(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="language must be one of"):
        Memory(tmp_path / "a.db", language="klingon")
    assert not list(tmp_path.iterdir())


def test_an_export_and_a_backup_carry_the_language(tmp_path: Path) -> None:
    file, copy = tmp_path / "all.jsonl", tmp_path / "copy.db"
    with Memory(tmp_path / "a.db", encoder=HashEncoder(), language="german") as memory:
        memory.add({"id": "h", "text": HOUSES.text})
        memory.export(file)
        memory.backup(copy)
    with Store(copy) as same:
        assert ids(same, "Haus") == ["h"]
    with Memory(tmp_path / "b.db", encoder=HashEncoder()) as other:
        assert other.search("Haus", mode="sparse") == []
        other.import_file(file)
        assert other.store.language == "german"
        assert other.search("Haus", mode="sparse")[0].passage.id == "h"
    with Memory(tmp_path / "c.db", encoder=HashEncoder(), language="none") as settled:
        settled.import_file(file)
        assert settled.store.language == "none"
    header, *rest = file.read_text().splitlines()
    file.write_text("\n".join([json.dumps(json.loads(header) | {"language": ["x"]}), *rest]))
    with (
        Memory(tmp_path / "d.db", encoder=HashEncoder()) as memory,
        pytest.raises(FormatError, match="line 1: there is no stemmer"),
    ):
        memory.import_file(file)
