"""The graph of a memory by itself: its tables are made at once, it is opened late, and once."""

from __future__ import annotations

import threading

import pytest

from hoptrail.api.graph_slot import GraphSlot
from hoptrail.errors import SchemaMismatch, StoreError
from hoptrail.graph import maintenance
from hoptrail.graph.graph import Graph
from hoptrail.memory.store import Store
from hoptrail.memory.testing.hash_encoder import HashEncoder


def test_threads_get_one_graph_and_a_closed_slot_opens_another(tmp_path) -> None:
    with Store(tmp_path / "a.db", encoder=HashEncoder()) as store:
        slot = GraphSlot(store)
        assert maintenance.has_graph(store)
        graphs: list[Graph] = []
        threads = [threading.Thread(target=lambda: graphs.append(slot.get())) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert len(graphs) == 8
        assert {id(graph) for graph in graphs} == {id(slot.get())}
        slot.close()
        assert slot.get() is not graphs[0]
    slot.close()
    with pytest.raises(StoreError, match="closed"):
        slot.get()


def test_a_file_that_cannot_be_written_is_opened_all_the_same(tmp_path) -> None:
    Store(tmp_path / "a.db").close()
    with Store(tmp_path / "a.db", read_only=True) as store:
        slot = GraphSlot(store)
        with pytest.raises(SchemaMismatch):
            slot.get()
