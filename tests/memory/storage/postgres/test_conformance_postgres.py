"""A store on PostgreSQL does what every store must, on a real server."""

from __future__ import annotations

import pytest

from hoptrail.memory.store import Store
from hoptrail.memory.testing.hash_encoder import HashEncoder, StoreConformance

pytestmark = pytest.mark.slow


class TestStoreOnPostgres(StoreConformance):
    @pytest.fixture(autouse=True, params=["one host", "a host each"])
    def _server(self, request, cluster, host) -> None:
        self.cluster, self.schemas = cluster, {}
        self.host, self.apart = host, request.param == "a host each"
        self.hosts = 0

    def open(self, path, clock) -> Store:
        if path not in self.schemas:
            self.schemas[path] = self.cluster.new_schema()
        if self.apart:
            self.hosts += 1
            self.host(str(self.hosts))
        url = self.cluster.url(self.schemas[path])
        return Store(url, encoder=HashEncoder(), clock=clock)
