"""A store's vectors as points of Qdrant: in a folder, by its embedded edition, or on a server.

A point's number is the rowid of a passage, its vector that of the passage as a whole, and its
payload the namespaces that the passage's begins with. Number 0, which no passage has, carries the
mark: how far along the store's versions the points are.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from hoptrail.errors import MissingExtra, StoreUnavailable
from hoptrail.memory.encoders.vectors import Vectors

EXTRA = "qdrant"

VECTOR, SCOPES, MARK = "passage", "scopes", "mark"

WIDTH = 128
"""Candidates that a search in the graph of neighbours goes through, at least (`hnsw_ef`)."""

SECONDS = 20
"""That a server has for a request."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Up to where points follow a store."""

    encoder: str
    """Whose vectors they are, and since which version."""
    version: int
    """Of the store: what was written and deleted up to it is among the points."""
    rowid: int
    """Of the passage that has this version; 0 where none had it any more."""


class PointCollection(Protocol):
    """Points in one place. Every method raises StoreUnavailable where that cannot be used."""

    def mark(self) -> Mark | None:
        """The mark; None where there are no points that have one."""

    def put_mark(self, mark: Mark, dim: int) -> None:
        """Write the mark, as a vector of zeros, once all that was written before is safe."""

    def make(self, dim: int) -> None:
        """Begin anew with nothing, for vectors of a width."""

    def upsert(
        self, rowids: Sequence[int], vectors: Vectors, scopes: Sequence[Sequence[str]]
    ) -> None:
        """Write points, over those that are there."""

    def delete(self, rowids: Sequence[int]) -> None:
        """Delete points; those that are not there are passed over."""

    def nearest(self, queries: Vectors, count: int, scope: str) -> list[list[tuple[int, float]]]:
        """The rowids nearest to each query in a scope, with their products, best first."""

    def settle(self) -> None:
        """Index what came, where the engine does not do it by itself."""

    def drop(self) -> None:
        """Erase all points."""

    def close(self) -> None:
        """Let go of the place."""


class EdgePoints:
    """Points in a folder of this machine, by Qdrant Edge. One process has it at a time.

    Args:
        folder: Where they lie; made when points are.
    """

    def __init__(self, folder: Path) -> None:
        self._edge = _edge_module()
        self._folder = folder
        self._shard: Any = None
        self._lock = threading.Lock()  # held while it is opened or closed

    def mark(self) -> Mark | None:
        """As `PointCollection.mark`."""
        shard = self._opened()
        if shard is None:
            return None
        with _errors(self._folder):
            records = shard.retrieve([0], True, False)
        return _mark_of(records[0].payload if records else None)

    def put_mark(self, mark: Mark, dim: int) -> None:
        """As `PointCollection.put_mark`."""
        with _errors(self._folder):
            self._ready().flush()
            point = self._edge.Point(0, {VECTOR: [0.0] * dim}, {MARK: asdict(mark)})
            self._ready().update(self._edge.UpdateOperation.upsert_points([point]))
            self._ready().flush()

    def make(self, dim: int) -> None:
        """As `PointCollection.make`."""
        edge = self._edge
        self.drop()
        with _errors(self._folder), self._lock:
            self._folder.mkdir(parents=True, exist_ok=True)
            vectors = edge.EdgeVectorParams(size=dim, distance=edge.Distance.Dot)
            config = edge.EdgeConfig(vectors={VECTOR: vectors})
            self._shard = edge.EdgeShard.create(str(self._folder), config)
            index = edge.UpdateOperation.create_field_index(SCOPES, edge.PayloadSchemaType.Keyword)
            self._shard.update(index)

    def upsert(
        self, rowids: Sequence[int], vectors: Vectors, scopes: Sequence[Sequence[str]]
    ) -> None:
        """As `PointCollection.upsert`."""
        points = [
            self._edge.Point(rowid, {VECTOR: vector}, {SCOPES: list(names)})
            for rowid, vector, names in zip(rowids, vectors.tolist(), scopes, strict=True)
        ]
        with _errors(self._folder):
            self._ready().update(self._edge.UpdateOperation.upsert_points(points))

    def delete(self, rowids: Sequence[int]) -> None:
        """As `PointCollection.delete`."""
        with _errors(self._folder):
            self._ready().update(self._edge.UpdateOperation.delete_points(list(rowids)))

    def nearest(self, queries: Vectors, count: int, scope: str) -> list[list[tuple[int, float]]]:
        """As `PointCollection.nearest`."""
        edge = self._edge
        only = None
        if scope:
            match = edge.FieldCondition(key=SCOPES, match=edge.MatchValue(scope))
            only = edge.Filter(must=[match])
        with _errors(self._folder):
            results = [
                self._ready().query(
                    edge.QueryRequest(
                        limit=count,
                        query=edge.Query.Nearest(vector, using=VECTOR),
                        filter=only,
                        params=edge.SearchParams(hnsw_ef=max(WIDTH, count)),
                        with_vector=False,
                        with_payload=False,
                    )
                )
                for vector in queries.tolist()
            ]
        return [[(int(hit.id), float(hit.score)) for hit in hits] for hits in results]

    def settle(self) -> None:
        """As `PointCollection.settle`."""
        with _errors(self._folder):
            self._ready().optimize()

    def drop(self) -> None:
        """As `PointCollection.drop`."""
        if self._folder.exists():
            self._opened()  # not while another process has it
        self.close()
        with _errors(self._folder):
            if self._folder.exists():
                shutil.rmtree(self._folder)

    def close(self) -> None:
        """As `PointCollection.close`."""
        with self._lock, _errors(self._folder):
            if self._shard is not None:
                self._shard.close()
            self._shard = None

    def _opened(self) -> Any:
        """The shard; None where none was made."""
        with self._lock, _errors(self._folder):
            if self._shard is None and (self._folder / "edge_config.json").exists():
                self._shard = self._edge.EdgeShard.load(str(self._folder))
            return self._shard

    def _ready(self) -> Any:
        shard = self._opened()
        if shard is None:
            raise StoreUnavailable(f"there are no points in {self._folder}")
        return shard


class ServerPoints:
    """Points on a Qdrant server, as a collection of their own.

    Args:
        url: Of the server.
        name: Of the collection.
        client: What speaks to the server; `qdrant_client.QdrantClient`.
    """

    def __init__(self, url: str, name: str, client: Any) -> None:
        self._where, self._name, self._client = f"{url} ({name})", name, client
        self._models = _client_module().models

    def mark(self) -> Mark | None:
        """As `PointCollection.mark`."""
        with _errors(self._where):
            if not self._client.collection_exists(self._name):
                return None
            records = self._client.retrieve(self._name, ids=[0], with_payload=True)
        return _mark_of(records[0].payload if records else None)

    def put_mark(self, mark: Mark, dim: int) -> None:
        """As `PointCollection.put_mark`."""
        with _errors(self._where):
            point = self._models.PointStruct(
                id=0, vector={VECTOR: [0.0] * dim}, payload={MARK: asdict(mark)}
            )
            self._client.upsert(self._name, points=[point], wait=True)

    def make(self, dim: int) -> None:
        """As `PointCollection.make`."""
        models = self._models
        self.drop()
        vectors = models.VectorParams(size=dim, distance=models.Distance.DOT)
        with _errors(self._where):
            self._client.create_collection(self._name, vectors_config={VECTOR: vectors})
            self._client.create_payload_index(
                self._name, SCOPES, field_schema=models.PayloadSchemaType.KEYWORD, wait=True
            )

    def upsert(
        self, rowids: Sequence[int], vectors: Vectors, scopes: Sequence[Sequence[str]]
    ) -> None:
        """As `PointCollection.upsert`."""
        batch = self._models.Batch(
            ids=list(rowids),
            vectors={VECTOR: vectors.tolist()},
            payloads=[{SCOPES: list(names)} for names in scopes],
        )
        with _errors(self._where):
            self._client.upsert(self._name, points=batch, wait=True)

    def delete(self, rowids: Sequence[int]) -> None:
        """As `PointCollection.delete`."""
        selector = self._models.PointIdsList(points=list(rowids))
        with _errors(self._where):
            self._client.delete(self._name, points_selector=selector, wait=True)

    def nearest(self, queries: Vectors, count: int, scope: str) -> list[list[tuple[int, float]]]:
        """As `PointCollection.nearest`."""
        models = self._models
        only = None
        if scope:
            match = models.FieldCondition(key=SCOPES, match=models.MatchValue(value=scope))
            only = models.Filter(must=[match])
        requests = [
            models.QueryRequest(
                query=vector,
                using=VECTOR,
                limit=count,
                filter=only,
                params=models.SearchParams(hnsw_ef=max(WIDTH, count)),
            )
            for vector in queries.tolist()
        ]
        with _errors(self._where):
            results = self._client.query_batch_points(self._name, requests=requests)
        return [[(int(hit.id), float(hit.score)) for hit in one.points] for one in results]

    def settle(self) -> None:
        """Nothing: a server indexes by itself."""

    def drop(self) -> None:
        """As `PointCollection.drop`."""
        with _errors(self._where):
            self._client.delete_collection(self._name)

    def close(self) -> None:
        """As `PointCollection.close`."""
        with _errors(self._where):
            self._client.close()


def server_client(url: str, api_key: str | None) -> Any:
    """What speaks to a Qdrant server.

    Args:
        url: Of the server.
        api_key: Of who asks, where the server wants one.

    Raises:
        MissingExtra: The client is not installed.
    """
    return _client_module().QdrantClient(
        url=url, api_key=api_key, timeout=SECONDS, check_compatibility=False
    )


def _edge_module() -> Any:
    try:
        import qdrant_edge
    except ImportError as error:
        raise MissingExtra("vectors in a folder of Qdrant need qdrant-edge-py", EXTRA) from error
    return qdrant_edge


def _client_module() -> Any:
    try:
        import qdrant_client
    except ImportError as error:
        raise MissingExtra("vectors on a Qdrant server need qdrant-client", EXTRA) from error
    return qdrant_client


def _mark_of(payload: Any) -> Mark | None:
    """The mark in a payload; None where it has none, or one that this version cannot read."""
    try:
        fields = payload[MARK]
        return Mark(str(fields["encoder"]), int(fields["version"]), int(fields["rowid"]))
    except (KeyError, TypeError, ValueError):
        return None


@contextmanager
def _errors(where: Path | str) -> Iterator[None]:
    """Say in our words what an engine or the way to it could not do."""
    try:
        yield
    except StoreUnavailable:
        raise
    except Exception as error:  # the engine's have no base of their own
        raise StoreUnavailable(f"Qdrant at {where} cannot be used: {error}") from error
