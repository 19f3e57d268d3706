"""A service in a process of its own; its arguments are the memory's file and settings as JSON."""
# ruff: noqa: T201

from __future__ import annotations

import json
import sys
import time

from hoptrail import Memory
from hoptrail.integrations.http_server.http_serving import serve_http
from hoptrail.integrations.http_server.server_limits import ServerLimits
from hoptrail.integrations.web.bounded_connections import ConnectionLimits
from hoptrail.memory.testing.hash_encoder import HashEncoder


class SlowEncoder(HashEncoder):
    """Takes its time over texts that ask for it."""

    def encode(self, texts, **options):
        if any("slowly" in text for text in texts):
            time.sleep(1.5)
        return super().encode(texts, **options)


if __name__ == "__main__":
    settings = json.loads(sys.argv[2])
    connections = ConnectionLimits(**settings.pop("connections", {}))
    limits = ServerLimits(**settings.pop("limits", {}), connections=connections)
    with Memory(sys.argv[1], encoder=SlowEncoder(), policy=None) as memory:
        serve_http(
            memory, port=0, limits=limits, announce=lambda url: print(url, flush=True), **settings
        )
    print("closed", flush=True)
