"""What the explorer's page asks of a large memory: milliseconds of a processor for each request.

    python benchmarks/server/explorer.py [--passages 100000] [--store FILE]

Passages of a dozen random words, half of them with three links, encoded by hashes: what is measured
is the memory and the cut of its graph, and no encoder. The first look at the graph extracts it from
all passages; after that each request is made twice, and the second counts.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from hoptrail import Link, Memory, Passage
from hoptrail.integrations.explorer import requests as ask
from hoptrail.integrations.explorer.explorer_session import ExplorerSession
from hoptrail.memory.testing.hash_encoder import HashEncoder


def passages(count: int) -> Iterator[Passage]:
    """That many passages, each with a name of its own and a town that it shares with others."""
    generator = random.Random(0)
    words = [f"w{i}" for i in range(5000)]
    for i in range(count):
        targets = {generator.randrange(count) for _ in range(3)} if i % 2 else set()
        yield Passage(
            f"p{i:06}",
            f"{' '.join(generator.choices(words, k=12))} Name{i} of Town{i % 2000}.",
            title=f"Name{i}",
            links=tuple(Link(f"p{target:06}", "cites") for target in sorted(targets)),
        )


def main() -> None:
    """Write the memory where there is none, and ask what the page asks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--passages", type=int, default=100_000)
    parser.add_argument("--store", type=Path, default=None)
    options = parser.parse_args()
    folder = tempfile.TemporaryDirectory() if options.store is None else None
    file = options.store or Path(folder.name if folder else "") / "explorer.db"
    with Memory(file, encoder=HashEncoder()) as memory:
        if not memory.count():
            memory.add(passages(options.passages))
        session = ExplorerSession(memory)
        one = ask.PassageRequest(id="p000102")
        around = ask.NeighbourhoodRequest(id="p000101", most=40)
        walk = ask.AskRequest(question="Which town is Name77 of?", effort="fast")
        calls: list[tuple[str, Callable[[], object]]] = [
            ("overview", lambda: session.overview(ask.OverviewRequest())),
            ("graph", lambda: session.neighbourhood(ask.NeighbourhoodRequest(most=40))),
            ("graph around one", lambda: session.neighbourhood(around)),
            ("list", lambda: session.browse(ask.BrowseRequest(limit=50))),
            ("words", lambda: session.browse(ask.BrowseRequest(words="Name77"))),
            ("recall", lambda: session.recall(walk)),
            ("forget", lambda: session.forget(one)),
            ("undo", lambda: session.undo(ask.UndoRequest())),
        ]
        print(f"{memory.count()} passages")
        for name, call in calls:
            times = [milliseconds(call) for _ in range(1 if name in ("forget", "undo") else 2)]
            print(f"{name}: {times[-1]:.1f} ms (first {times[0]:.1f} ms)", flush=True)
    if folder is not None:
        folder.cleanup()


def milliseconds(call: Callable[[], object]) -> float:
    """Processor time of a call."""
    started = time.process_time()
    call()
    return 1000 * (time.process_time() - started)


if __name__ == "__main__":
    main()
