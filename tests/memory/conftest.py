"""What the memory's tests share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from hoptrail.memory.store import Store
from hoptrail.memory.testing.hash_encoder import HashEncoder
from hoptrail.memory.views.view import View
from hoptrail.types import Passage

WORDS = (
    "river bridge canal Delft Nantes Loire old stone boat museum painter north city king".split()
)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "data: reads the real data sets (skipped without them)")


@pytest.fixture
def store(tmp_path: Path):
    with Store(tmp_path / "a.db", encoder=HashEncoder()) as opened:
        yield opened


@pytest.fixture
def corpus() -> list[Passage]:
    """Sixty different passages out of few words, so that scores tie often."""
    return [
        Passage(
            id=f"p{i}",
            title=WORDS[i % 7].title(),
            text=" ".join(WORDS[(i * step + i // 7) % len(WORDS)] for step in (1, 2, 3, 5)) + ".",
        )
        for i in range(60)
    ]


@pytest.fixture
def fresh(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[Iterable[Passage]], View]]:
    """A view built from scratch, in a store of its own."""
    with ExitStack() as stores:

        def build(passages: Iterable[Passage]) -> View:
            path = tmp_path_factory.mktemp("fresh") / "fresh.db"
            store = stores.enter_context(Store(path, encoder=HashEncoder()))
            store.add(passages)
            return store.view()

        yield build
