"""What a caller may hand to a memory, what becomes of it, and that nothing is shared."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import networkx
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hoptrail import Link, Memory, Passage
from hoptrail.errors import DuplicateId, FormatError, InputError
from hoptrail.formats.jsonl import passage_record, read_corpus, write_jsonl
from hoptrail.memory.testing.hash_encoder import Clock, HashEncoder


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    with Memory(tmp_path / "m.db", encoder=HashEncoder()) as opened:
        yield opened


# Encoders


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        (HashEncoder, "an encoder is an object, got the class HashEncoder"),
        (lambda texts: texts, "a fingerprint, a dim and a method encode, got function"),
        (SimpleNamespace(fingerprint=None, dim=4), "must be a text, got None"),
        (SimpleNamespace(fingerprint="", dim=4), "must be a text, got ''"),
        (SimpleNamespace(fingerprint="a", dim=4.0), "a whole number of at least 1, got 4.0"),
        (SimpleNamespace(fingerprint="a", dim=0), "a whole number of at least 1, got 0"),
    ],
)
def test_what_is_no_encoder_is_refused_before_a_file_is_made(
    tmp_path: Path, encoder: Any, message: str
) -> None:
    with pytest.raises(InputError, match=message), Memory(tmp_path / "m.db", encoder=encoder):
        pass
    assert not list(tmp_path.iterdir())


# Ids


def test_a_text_given_again_is_there_and_changes_nothing(memory: Memory) -> None:
    ids = memory.add(["one", "two", "one", {"text": "two"}])
    assert (ids[0], ids[1]) == (ids[2], ids[3])
    before = list(memory.store.passages())
    assert memory.add(["two", {"text": "one"}, "three"])[:2] == [ids[1], ids[0]]
    assert memory.add_distinct(["one", "three"]).ids == []
    assert [p for p in memory.store.passages() if p.id in ids] == before
    assert memory.count() == 3


def test_equal_texts_with_different_metadata_are_two_passages(memory: Memory) -> None:
    given = [{"text": "All rights reserved.", "page": page} for page in (1, 2, 3)]
    given += [{"text": "All rights reserved."}, {"text": "reserved.", "title": "All rights"}]
    given += [{"text": "All rights reserved.", "links": ["x"]}]
    ids = memory.add(given)
    assert len(set(ids)) == memory.count() == 6
    assert memory.add(given) == ids
    assert memory.upsert(given).unchanged == tuple(ids)


def test_a_text_whose_id_was_given_another_is_added_beside_it(memory: Memory) -> None:
    [id_] = memory.add("The lock opens at six.")
    memory.update(id_, text="The lock opens at seven.")
    [other] = memory.add("The lock opens at six.")
    assert memory.add(["The lock opens at six.", "A bridge."])[0] == other != id_
    assert memory.upsert("The lock opens at six.").unchanged == (other,)
    assert {p.text for p in memory.store.passages()} == {
        "The lock opens at six.",
        "The lock opens at seven.",
        "A bridge.",
    }


def test_what_a_passage_has_got_since_stays_when_it_is_given_again(memory: Memory) -> None:
    [id_] = memory.add("A text.", ttl=60)
    memory.update(id_, metadata={"seen": True}, links=[Link("x")])
    assert memory.add("A text.") == [id_]
    kept = memory.get(id_)
    assert (kept.metadata, kept.links, kept.expires_at) == ({"seen": True}, (Link("x"),), None)


def test_an_id_of_the_callers_is_never_taken_for_one_of_content(memory: Memory) -> None:
    [id_] = memory.add("one")
    with pytest.raises(DuplicateId):
        memory.add({"id": id_, "text": "two"})
    with pytest.raises(DuplicateId):
        memory.add([{"id": "a", "text": "one"}, {"id": "a", "text": "one"}])


# Times


@pytest.mark.parametrize("as_what", [float, str, datetime])
def test_a_dict_says_when_it_expires(tmp_path: Path, as_what: type) -> None:
    clock = Clock()
    due = datetime.fromtimestamp(clock.now + 60, UTC)
    when: Any = {float: clock.now + 60, str: due.isoformat(), datetime: due}[as_what]
    from hoptrail.memory.store import Store

    with Store(tmp_path / "s.db", encoder=HashEncoder(), clock=clock) as store:
        store.add([Passage("a", "x", expires_at=when)])
        assert store.get("a").expires_at == clock.now + 60
        store.add([Passage("b", "x")], ttl=timedelta(seconds=30))
        clock.now += 40
        assert [p.id for p in store.passages()] == ["a"]
        clock.now += 40
        assert len(store) == 0


def test_a_corpus_line_keeps_its_time_to_go(memory: Memory, tmp_path: Path) -> None:
    due = time.time() + 1000
    memory.add({"id": "a", "text": "x", "expires_at": due, "metadata": {"expires_at": "never"}})
    passage = memory.get("a")
    assert (passage.expires_at, passage.metadata) == (due, {"expires_at": "never"})
    write_jsonl(tmp_path / "c.jsonl", [passage_record(passage)])
    [again] = read_corpus(tmp_path / "c.jsonl")
    assert (again.expires_at, again.metadata) == (due, {"expires_at": "never"})
    (tmp_path / "c.jsonl").write_text('{"id": "a", "text": "x", "expires_at": "soon"}\n')
    with pytest.raises(FormatError, match='line 1: "expires_at" must be seconds since 1970'):
        list(read_corpus(tmp_path / "c.jsonl"))


# Tables and graphs


def frame(name: str, module: str, **members: Any) -> Any:
    """Looks like a table of a library that need not be installed."""
    return type(name, (), {"__module__": module, **members})()


def test_a_table_is_a_passage_a_row(memory: Memory) -> None:
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame(
        {
            "id": [1, 2],
            "text": ["Fram lies in Oslo.", "Gjøa lies there too."],
            "year": [1892, None],
            "built": pandas.to_datetime(["1892-10-26", None]),
        }
    )
    assert memory.add(table) == ["1", "2"]
    assert memory.get("1").metadata == {"year": 1892.0, "built": "1892-10-26T00:00:00"}
    assert memory.get("2").metadata == {}


@pytest.mark.parametrize(("library", "reader"), [("polars", "to_dicts"), ("pyarrow", "to_pylist")])
def test_rows_lose_what_they_lack_and_keep_the_rest(
    memory: Memory, library: str, reader: str
) -> None:
    rows = [
        {"id": np.int64(7), "text": "Fram.", "year": None, "n": np.float64(1.5)},
        {"id": "b", "text": "Gjøa.", "year": 1872, "n": float("nan")},
    ]
    name = {"polars": "DataFrame", "pyarrow": "Table"}[library]
    columns = {"columns": list(rows[0]), "column_names": list(rows[0])}
    table = frame(name, library, **columns, **{reader: lambda self: rows})
    assert memory.add(table) == ["7", "b"]
    assert [p.metadata for p in memory.store.passages()] == [{"n": 1.5}, {"year": 1872}]
    without = frame(name, library, columns=["body"], column_names=["body"], **{reader: list})
    with pytest.raises(InputError, match="a table of passages has a column 'text'"):
        memory.add(without)


def test_a_data_set_of_hugging_face_is_a_passage_a_row(memory: Memory, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    launch = datetime(1892, 10, 26)
    table = datasets.Dataset.from_dict(
        {
            "id": [1, 2],
            "text": ["Fram lies in Oslo.", "Gjøa lies there too."],
            "year": [1892, None],
            "built": [launch, None],
            "tags": [["ship", "polar"], []],
        }
    )
    table.save_to_disk(tmp_path / "saved")
    table.to_parquet(tmp_path / "table.parquet")
    streamed = datasets.load_dataset(
        "parquet", data_files=str(tmp_path / "table.parquet"), split="train", streaming=True
    )
    ways = {
        "whole": table,
        "streamed": streamed,
        "saved": datasets.load_from_disk(tmp_path / "saved"),
        "formatted": table.with_format("numpy"),
    }
    for name, way in ways.items():
        assert memory.add(way, namespace=(name,)) == ["1", "2"]
        first = memory.get("1", (name,)).metadata
        assert first == {"year": 1892, "built": launch.isoformat(), "tags": ["ship", "polar"]}
        assert memory.get("2", (name,)).metadata == {"tags": []}
    with pytest.raises(InputError, match=r"several splits.*give one of \['train'\]"):
        memory.add(datasets.DatasetDict(train=table))
    with pytest.raises(InputError, match="a table of passages has a column 'text'"):
        memory.add(table.rename_column("text", "body"))


def test_a_data_set_is_read_without_its_format_and_split_by_split(memory: Memory) -> None:
    """As the real library has it, which need not be installed."""
    rows = [{"id": 1, "text": "Fram."}, {"id": 2, "text": "Gjøa.", "year": None}]
    table = frame(
        "IterableDataset",
        "datasets.iterable_dataset",
        column_names=None,
        with_format=lambda self, kind: rows if kind is None else ["tensors"],
    )
    assert memory.add(table) == ["1", "2"]
    for name in ("DatasetDict", "IterableDatasetDict"):
        splits = type(name, (dict,), {"__module__": "datasets.dataset_dict"})(train=table)
        with pytest.raises(InputError, match=r"give one of \['train'\]"):
            memory.add(splits)


@pytest.mark.parametrize(
    "kind", [networkx.Graph, networkx.DiGraph, networkx.MultiGraph, networkx.MultiDiGraph]
)
def test_a_graph_keeps_texts_edges_and_their_types(memory: Memory, kind: type) -> None:
    graph = kind()
    graph.add_node("fram", text="Fram was built by Archer.", title="Fram", year=1892)
    graph.add_node(7, text="Archer was born in Larvik.")
    graph.add_edge("fram", 7, kind="built_by", weight=np.float32(0.5))
    assert memory.add(graph, namespace=("ships",)) == ["fram", "7"]
    fram = memory.get("fram", ("ships",))
    assert (fram.title, fram.metadata) == ("Fram", {"year": 1892})
    assert fram.links == (Link("7", "built_by", 0.5),)
    back = () if graph.is_directed() else (Link("fram", "built_by", 0.5),)
    assert memory.get("7", ("ships",)).links == back


def test_a_graph_that_a_memory_gave_goes_into_another(memory: Memory, tmp_path: Path) -> None:
    memory.add(
        [
            Passage(
                "a", "Ada met Bo in Varn.", "Ada", {"page": [1]}, links=(Link("b", "met", 2.0),)
            ),
            Passage("b", "Bo lives in Varn.", namespace=()),
        ]
    )
    graph = memory.graph.view(memory.store.view()).to_networkx()
    with Memory(tmp_path / "other.db", encoder=HashEncoder()) as other:
        other.add(graph)
        for mine, theirs in zip(memory.store.passages(), other.store.passages(), strict=True):
            assert (mine.content, mine.metadata, mine.links) == (
                theirs.content,
                theirs.metadata,
                theirs.links,
            )


@pytest.mark.parametrize(
    ("nodes", "edge", "says"),
    [
        ({"a": {}}, None, "node 'a' of the graph has no text"),
        ({"a": {"text": 5}}, None, "node 'a' of the graph has no text"),
        ({(1, 2): {"text": "x"}}, None, r"the id of node \(1, 2\) must be a string"),
        ({1: {"text": "x"}, "1": {"text": "y"}}, None, "two nodes of the graph have the same id"),
        ({"a": {"text": "x"}}, {"since": 1892}, "has 'since', which no link keeps"),
        ({"a": {"text": "x"}}, {"kind": 5}, "its kind must be a string, got 5"),
        ({"a": {"text": "x"}}, {"weight": -1}, "weight"),
    ],
)
def test_a_graph_that_would_lose_something_is_refused(
    memory: Memory, nodes: dict, edge: dict | None, says: str
) -> None:
    graph = networkx.DiGraph()
    graph.add_nodes_from(nodes.items())
    if edge is not None:
        graph.add_edge("a", "a", **edge)
    with pytest.raises(InputError, match=says):
        memory.add(graph)
    assert memory.count() == 0


@pytest.mark.parametrize(
    "wrong",
    [b"bytes", Path("notes.md"), io.StringIO("a\nb"), {"text": ["a", "b"]}, [("a", "b")], 5],
)
def test_what_would_be_taken_apart_is_refused(memory: Memory, wrong: Any) -> None:
    with pytest.raises(InputError):
        memory.add(wrong)
    assert memory.count() == 0


# Nothing is shared

metadata = st.dictionaries(
    st.text(max_size=5),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
        max_leaves=5,
    ),
    max_size=4,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(metadata)
def test_metadata_comes_back_as_it_was_given_however_it_is_found(
    memory: Memory, given: dict[str, Any]
) -> None:
    memory.upsert({"id": "a", "text": "one river", "metadata": given})
    assert memory.get("a").metadata == given
    assert memory.search("river", 1)[0].passage.metadata == given
    assert memory.recall("river", 1).hits[0].passage.metadata == given


def test_what_is_done_to_a_result_stays_with_it(memory: Memory) -> None:
    mine = {"tags": ["a"], "deep": {"n": [1]}}
    memory.add(Passage("a", "one river", metadata=mine))
    stored = {"tags": ["a"], "deep": {"n": [1]}}
    mine["tags"].append("mine")

    def spoil(passage: Passage) -> None:
        assert passage.metadata == stored
        passage.metadata["tags"].append("b")
        passage.metadata["deep"]["n"].clear()
        passage.metadata["more"] = 1

    for _ in range(3):
        spoil(memory.get("a"))
        spoil(memory.search("river", 1)[0].passage)
        spoil(memory.recall("river", 1).hits[0].passage)
        spoil(next(iter(memory.store.passages())))
        spoil(memory.update("a", title=None))
    assert memory.count(filter={"tags": {"$contains": "b"}}) == 0


def test_passages_hits_and_recalls_stand_in_sets(memory: Memory) -> None:
    memory.add(Passage("a", "one river", metadata={"tags": ["x"]}))
    hits = memory.search("river", 1) + memory.search("river", 1)
    assert len({hit.passage for hit in hits}) == len(set(hits)) == 1
    assert len({memory.recall("river", 1).hits[0].passage, memory.get("a")}) == 1
    assert Passage("a", "x") != Passage("a", "x", metadata={"n": 1})
    hash(memory.recall("river", 1))


@pytest.mark.parametrize("wrong", [None, 5, 1.5, [None], [["a"]], b"a", {"a": 1}, object()])
def test_what_is_no_id_is_refused(memory: Memory, wrong: Any) -> None:
    for call in (memory.delete, memory.get):
        with pytest.raises(InputError):
            call(wrong)


@pytest.mark.parametrize(
    "change",
    [
        lambda memory: memory.update("a", links=5),
        lambda memory: memory.update("a", links="b"),
        lambda memory: memory.update("a", metadata={"x": {1}}),
        lambda memory: memory.update("a", expires_at="soon"),
        lambda memory: memory.link("a", 5),
        lambda memory: memory.unlink("a", "b", kind=5),
        lambda memory: memory.recall_many(5),
        lambda memory: memory.add("x", ttl="1h"),
        lambda memory: memory.add(Passage("q", "x", metadata=None)),
        lambda memory: memory.add(Passage("q", "x", links=None)),
        lambda memory: memory.count(filter={"x": {"$in": {1, 2}}}),
        lambda memory: memory.forget(5),
    ],
)
def test_wrong_values_are_errors_of_ours_and_change_nothing(memory: Memory, change: Any) -> None:
    memory.add({"id": "a", "text": "one river"})
    before = list(memory.store.passages())
    with pytest.raises(InputError):
        change(memory)
    assert list(memory.store.passages()) == before


@pytest.mark.parametrize("wrong", [0, -1, True, 1.5, "3", None, 10**400 * -1, np.bool_(True)])
def test_k_is_a_whole_number_above_zero_everywhere(memory: Memory, wrong: Any) -> None:
    memory.add("one river")
    # None is the default of a recall: 5, or what something else allows.
    for call in (memory.search, memory.recall) if wrong is not None else (memory.search,):
        with pytest.raises(InputError, match="k must be a whole number of at least 1"):
            call("river", wrong)
    assert len(memory.search("river", np.int64(1))) == len(memory.recall("river", np.int8(1)).hits)
