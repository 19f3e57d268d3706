"""Tables and graphs of other libraries as records, one for each passage.

Nothing of them is imported: whoever gives a DataFrame has pandas.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from io import IOBase
from typing import Any

from hoptrail.errors import InputError
from hoptrail.values.numbers import shown

MADE_BY = "made_by"
"""The attribute of a networkx graph that says whose it is."""

KINDS = ("kind", "relation", "type", "label")
"""Attributes of an edge that say what kind of link it is; the first that it has counts."""

DERIVED = ("mentions", "contains")
"""Types of the edges that a memory makes itself of what passages say."""


def records_of(table: Any) -> Iterator[dict[str, Any]] | None:
    """The records that a table or a graph stands for; None if it is neither.

    Raises:
        InputError: It cannot become passages without a loss; the message says what would be right.
    """
    library = type(table).__module__.partition(".")[0]
    name = type(table).__name__
    if library == "pandas" and name == "DataFrame":
        return _frame(table)
    if library == "pandas" and name == "Series" and "text" in table.index:
        return iter([_without_missing(table.to_dict())])
    if library == "polars" and name == "DataFrame":
        return _rows(table.columns, table.to_dicts())
    if library == "pyarrow" and name == "Table":
        return _rows(table.column_names, table.to_pylist())
    if library == "datasets" and name in ("Dataset", "IterableDataset"):
        # Without a format of arrays or tensors its rows are values of Python.
        return _rows(list(table.column_names or ["text"]), table.with_format(None))
    if library == "datasets" and name in ("DatasetDict", "IterableDatasetDict"):
        raise InputError(
            f"a data set has several splits, and each is a table: give one of {shown(list(table))}"
        )
    if _is_graph(table):
        return _graph(table)
    return None


def check_no_file(value: object) -> None:
    """Refuse what names or is a file: its bytes or lines would be taken for passages.

    Raises:
        InputError: It is one.
    """
    if isinstance(value, os.PathLike | IOBase):
        raise InputError(
            f"{shown(value)} is a file, not a passage: "
            "read_source(path) gives the passages of a folder, a text or a corpus"
        )
    if isinstance(value, bytes | bytearray | memoryview):
        raise InputError(f"passages are text, got {type(value).__name__}: decode it first")


def _frame(table: Any) -> Iterator[dict[str, Any]]:
    if not table.columns.is_unique:
        raise InputError(f"the table has a column twice: {shown(list(table.columns))}")
    if table.index.name is not None and table.index.name not in table.columns:
        table = table.reset_index()
    return _rows(list(table.columns), table.to_dict("records"))


def _rows(columns: list[Any], rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The rows of a table, without what is missing in them."""
    if "text" not in columns:
        raise InputError(
            f"a table of passages has a column 'text', and this one {shown(columns)}: rename the "
            "one that holds the texts"
        )
    return map(_without_missing, rows)


def _without_missing(row: Mapping[str, Any]) -> dict[str, Any]:
    record = {key: value for key, value in row.items() if not _missing(value)}
    identity = record.get("id")
    if identity is not None and not isinstance(identity, str):
        record["id"] = _id_of(identity, "the id of a row")
    return record


def _missing(value: Any) -> bool:
    """Whether a cell is empty: None, or what is not equal to itself (NaN, NaT)."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float) and value != value


def _id_of(value: Any, what: str) -> str:
    """An id as text: of a whole number, its digits."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        whole = isinstance(value, float) and value.is_integer()  # as pandas has them beside NaN
        if not whole:
            raise InputError(f"{what} must be a string or a whole number, got {shown(value)}")
    return str(int(value))


def _is_graph(value: object) -> bool:
    return any(
        base.__name__ == "Graph" and base.__module__.partition(".")[0] == "networkx"
        for base in type(value).__mro__
    )


def _graph(graph: Any) -> Iterator[dict[str, Any]]:
    """A passage for each node, with a link for each edge: both ways where edges have no direction.

    Raises:
        InputError: A node has no text, two have one id, or an edge has what no link keeps.
    """
    ours = graph.graph.get(MADE_BY) == "hoptrail"
    ids: dict[Any, str] = {}
    for node, data in graph.nodes(data=True):
        if ours and data.get("type") == "entity":
            continue
        ids[node] = _id_of(data.get("id", node), f"the id of node {shown(node)}")
        if not isinstance(data.get("text"), str):
            raise InputError(
                f"node {shown(node)} of the graph has no text: set graph.nodes[node]['text']"
            )
    places = [(_namespace(graph.nodes[node]), id_) for node, id_ in ids.items()]
    if len(set(places)) < len(places):
        raise InputError("two nodes of the graph have the same id as text: give them others")
    for node, id_ in ids.items():
        data = dict(graph.nodes[node])
        if ours:
            data.pop("type", None)
        links = [*(data.pop("links", None) or ()), *_links(graph, node, ids, ours)]
        yield {**data, "id": id_, "links": links}


def _namespace(data: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(data.get("namespace") or ())


def _links(graph: Any, node: Any, ids: Mapping[Any, str], ours: bool) -> Iterator[dict[str, Any]]:
    """The links that a node's edges stand for."""
    multi = graph.is_multigraph()
    edges = graph.edges(node, data=True, keys=True) if multi else graph.edges(node, data=True)
    for edge in edges:
        target, data = edge[1], dict(edge[-1])
        if ours and data.get("type") in DERIVED:
            continue
        where = f"the edge from {shown(node)} to {shown(target)}"
        kind = next((name for name in KINDS if name in data), None)
        named = multi and isinstance(edge[2], str)
        link = {
            "target": ids[target],
            "kind": data.pop(kind) if kind else edge[2] if named else "link",
            "weight": data.pop("weight", 1.0),
        }
        if ours:
            data.pop("type", None)
        if data:
            raise InputError(
                f"{where} has {', '.join(map(shown, data))}, which no link keeps: an edge has a "
                f"weight and its kind as {', '.join(KINDS)} or as the key of a multigraph's edge"
            )
        if not isinstance(link["kind"], str):
            raise InputError(f"{where}: its kind must be a string, got {shown(link['kind'])}")
        yield link
