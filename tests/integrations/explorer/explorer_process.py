"""An explorer in a process of its own, for a browser to open: FILE and the settings as JSON."""

from __future__ import annotations

import json
import os
import sys

from hoptrail import Memory
from hoptrail.integrations.explorer.exploring import explore
from hoptrail.memory.testing.hash_encoder import HashEncoder

if __name__ == "__main__":
    with Memory(sys.argv[1], encoder=HashEncoder()) as memory:
        settings = json.loads(sys.argv[2])
        explore(memory, port=0, announce=lambda url: os.write(1, f"{url}\n".encode()), **settings)
