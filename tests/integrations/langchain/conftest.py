"""One memory for all tests that only read."""

from __future__ import annotations

from pathlib import Path

import pytest

from hoptrail import Memory
from hoptrail.memory.testing.hash_encoder import HashEncoder


@pytest.fixture(scope="session")
def shared_memory(tmp_path_factory, small_policy) -> Memory:
    path: Path = tmp_path_factory.mktemp("langchain") / "agent.db"
    memory = Memory(path, encoder=HashEncoder(), policy=small_policy)
    memory.add(
        [
            {"id": "ada", "title": "Ada Lind", "text": "Ada Lind was born in Varn.", "page": 3},
            {"id": "varn", "title": "Varn", "text": "Varn stands on the Ister Beck."},
            {"id": "ister", "title": "Ister Beck", "text": "It flows into Lake Sorrel."},
            {"id": "trout", "title": "Trout", "text": "The trout is a fish of cold lakes."},
            {"id": "tolle", "title": "Tolle", "text": "Tolle has a tower of seven bells."},
        ]
    )
    memory.add("Only Ann knows of the pike.", namespace=("ann",))
    return memory
