"""A store with its graph, and what its tables say, free of rowids."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hoptrail.graph.graph import Graph
from hoptrail.memory.store import Store
from hoptrail.memory.testing.hash_encoder import HashEncoder


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "memory.db", encoder=HashEncoder(8)) as opened:
        yield opened


@pytest.fixture
def graph(store: Store) -> Graph:
    return Graph(store)
