"""Graphs as GraphML: a passage a node, a link an edge.

The file is read by the standard library's parser of XML, which fetches nothing; a document type, by
which entities could grow without end, is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from hoptrail.errors import FormatError
from hoptrail.formats.readers.files import read_bytes
from hoptrail.formats.readers.registry import FileContent
from hoptrail.formats.tables import KINDS
from hoptrail.types import Link, Passage
from hoptrail.values.numbers import finite

TEXTS = ("text", "description", "abstract", "content", "label", "name", "title")
"""Attributes of a node that may be its text; the first that it has counts."""
TITLES = ("title", "label", "name")
_BOOLS = {"true": True, "1": True, "false": False, "0": False}


def read_graph_file(path: Path) -> FileContent:
    """The nodes of a graph that have a text, and the edges between them.

    A node without any text is called by its id. An edge's kind is its attribute `kind`, `relation`,
    `type` or `label`, its weight `weight`; one without direction is a link both ways.

    Raises:
        FormatError: It is no GraphML, or an edge has what no link keeps.
    """
    raw = read_bytes(path)
    if b"<!DOCTYPE" in raw or b"<!ENTITY" in raw:
        raise FormatError(f"{path} has a document type, which GraphML needs not: take it out")
    try:
        root = ElementTree.fromstring(raw)
    except ElementTree.ParseError as error:
        raise FormatError(f"{path} is no XML: {error}") from error
    if _tag(root) != "graphml":
        raise FormatError(f"{path} is no GraphML: it begins with <{_tag(root)}>")
    keys = {key.get("id", ""): key for key in root if _tag(key) == "key"}
    graphs = [one for one in root if _tag(one) == "graph"]
    if len(graphs) != 1:
        raise FormatError(f"{path} holds {len(graphs)} graphs: divide it, one a file")
    nodes = _nodes(graphs[0], keys, path)
    links: dict[str, list[Link]] = {name: [] for name in nodes}
    directed = graphs[0].get("edgedefault") != "undirected"
    for edge in _all(graphs[0], "edge"):
        source, target = str(edge.get("source")), str(edge.get("target"))
        for name in (source, target):
            if name not in nodes:
                raise FormatError(f"{path}: an edge leads to the node {name!r}, which is not there")
        kind, weight = _edge(_data(edge, keys, path), f"{path}, the edge {source} to {target}")
        links[source].append(Link(target, kind, weight))
        if not directed and edge.get("directed") != "true" and source != target:
            links[target].append(Link(source, kind, weight))
    return FileContent(
        records=tuple(_record(name, data, links[name]) for name, data in nodes.items())
    )


def _nodes(
    graph: ElementTree.Element, keys: Mapping[str, ElementTree.Element], path: Path
) -> dict[str, dict[str, Any]]:
    nodes: dict[str, dict[str, Any]] = {}
    for node in _all(graph, "node"):
        name = str(node.get("id"))
        if name in nodes:
            raise FormatError(f"{path}: two nodes have the id {name!r}")
        nodes[name] = _data(node, keys, path)
    return nodes


def _record(name: str, data: Mapping[str, Any], links: list[Link]) -> Passage:
    source = next((key for key in TEXTS if _said(data, key)), None)
    title = next((data[key] for key in TITLES if key != source and _said(data, key)), None)
    text = data[source] if source else name
    metadata = {key: value for key, value in data.items() if value != title and key != source}
    return Passage(name, text, title, {"node": name, **metadata}, (), tuple(dict.fromkeys(links)))


def _said(data: Mapping[str, Any], key: str) -> bool:
    return isinstance(data.get(key), str) and bool(data[key].strip())


def _edge(data: dict[str, Any], where: str) -> tuple[str, float]:
    weight = data.pop("weight", 1.0)
    number = finite(weight)
    if number is None or number <= 0:
        raise FormatError(f"{where}: its weight must be a number above 0, got {weight!r}")
    name = next((key for key in KINDS if key in data), None)
    kind = str(data.pop(name)) if name else "link"
    if data:
        raise FormatError(
            f"{where} has {', '.join(sorted(data))}, which no link keeps: an edge has a weight and "
            f"its kind as {', '.join(KINDS)}"
        )
    return kind or "link", number


def _data(item: ElementTree.Element, keys: Mapping[str, ElementTree.Element], path: Path) -> Any:
    """The attributes of a node or an edge, in the types that their keys name."""
    owner = _tag(item)
    values: dict[str, Any] = {}
    for key in keys.values():
        default = next((one.text for one in key if _tag(one) == "default"), None)
        if default is not None and key.get("for") in (owner, "all", None):
            values[key.get("attr.name", "")] = _typed(default, key, path)
    for one in item:
        own = keys.get(one.get("key", ""))
        if _tag(one) != "data" or own is None or own.get("attr.name") is None:
            continue  # of the program that drew it: shapes and colours
        values[own.get("attr.name", "")] = _typed(one.text or "", own, path)
    return values


def _typed(text: str, key: ElementTree.Element, path: Path) -> Any:
    kind = key.get("attr.type", "string")
    try:
        if kind in ("int", "long"):
            return int(text)
        if kind in ("float", "double"):
            return float(text)
        if kind == "boolean":
            return _BOOLS[text.strip().lower()]
    except (ValueError, KeyError) as error:
        raise FormatError(f"{path}: {key.get('attr.name')} must be {kind}, got {text!r}") from error
    return text


def _all(graph: ElementTree.Element, tag: str) -> Iterator[ElementTree.Element]:
    return (one for one in graph.iter() if _tag(one) == tag)


def _tag(item: ElementTree.Element) -> str:
    return str(item.tag).rpartition("}")[2]
