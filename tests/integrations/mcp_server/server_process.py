"""A server in a process of its own; its arguments are the memory's file and settings as JSON."""
# ruff: noqa: T201

from __future__ import annotations

import json
import sys

from hoptrail import Memory
from hoptrail.integrations.mcp_server.serving import serve
from hoptrail.integrations.web.tokens import Access
from hoptrail.memory.testing.hash_encoder import HashEncoder


class TalkativeEncoder(HashEncoder):
    """Prints while it works, as careless libraries do."""

    def encode(self, texts, **options):
        print("encoding", len(texts), flush=True)
        return super().encode(texts, **options)


if __name__ == "__main__":
    settings = json.loads(sys.argv[2])
    if "tokens" in settings:
        settings["tokens"] = {
            token: Access(tuple(namespace), read_only)
            for token, (namespace, read_only) in settings["tokens"].items()
        }
    with Memory(sys.argv[1], encoder=TalkativeEncoder()) as memory:
        serve(memory, announce=lambda url: print(url, flush=True), **settings)
