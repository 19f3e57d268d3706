"""What the first filter over a field costs a view, beside reading every passage for it.

    python benchmarks/store/first_filter.py [--passages 100000] [--out FILE]

Passages have a language of four, a year of seventy, a page inside a source and a number of their
own as metadata. Times are the processor's, in seconds; the view is there already.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from store_texts import Texts, WordVectors

from hoptrail.memory.filters import Filter
from hoptrail.memory.storage import records
from hoptrail.memory.store import Store
from hoptrail.types import Passage

AT_ONCE = 20_000
FILTERS = {
    "language": {"lang": "en"},
    "range of years": {"year": {"$gte": 2000}},
    "key inside another": {"source.page": 7},
    "time of writing": {"$written_at": {"$gte": 0}},
    "all different": {"n": {"$lt": 500}},
}


def main() -> None:
    """Build a store and ask it each filter once."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--passages", type=int, default=100_000)
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    args = parser.parse_args()
    seconds: dict[str, dict[str, float]] = {}
    with (
        tempfile.TemporaryDirectory() as folder,
        Store(Path(folder) / "memory.db", encoder=WordVectors(16), index="flat") as store,
    ):
        for start in range(0, args.passages, AT_ONCE):
            count = min(AT_ONCE, args.passages - start)
            texts = Texts(start).texts(count)
            store.add(_passage(i, text) for i, text in enumerate(texts, start))
        view = store.view()
        for name, conditions in FILTERS.items():
            chosen = Filter.parse(conditions)
            every, before = _timed(lambda chosen=chosen: _by_passages(store, chosen))  # type: ignore[misc]
            mask, after = _timed(lambda chosen=chosen: view.allowed(chosen))  # type: ignore[misc]
            assert np.array_equal(every, mask)
            seconds[name] = {"every passage": before, "first": after, "times": before / after}
            seconds[name]["again"] = _timed(lambda chosen=chosen: view.allowed(chosen))[1]  # type: ignore[misc]
            sys.stdout.write(f"{name}: {json.dumps(seconds[name])}\n")
            sys.stdout.flush()
    if args.out:
        figures = {"passages": args.passages, "seconds": seconds}
        args.out.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def _passage(i: int, text: str) -> Passage:
    lang = ("en", "de", "fr", "es")[i % 4]
    metadata = {"lang": lang, "year": 1950 + i % 70, "source": {"page": i % 300}, "n": i}
    return Passage(id=f"p{i}", text=text, metadata=metadata)


def _by_passages(store: Store, chosen: Filter) -> np.ndarray:
    """The mask, of all passages, in the order of slots."""
    rows = store.view().rowids.tolist()
    masks = []
    for start in range(0, len(rows), AT_ONCE):
        part = rows[start : start + AT_ONCE]
        with store.reading() as connection:
            read = records.passages_at(connection, part, links=False)
        masks.append(chosen.passages_mask([read[row] for row in part]))
    return np.concatenate(masks)


def _timed(work: Callable[[], np.ndarray]) -> tuple[np.ndarray, float]:
    started = time.process_time()
    return work(), time.process_time() - started


if __name__ == "__main__":
    main()
