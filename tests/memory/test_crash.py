"""Killed at any moment, a store keeps what it acknowledged and nothing half."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from hoptrail.memory.store import Store
from hoptrail.memory.testing import HashEncoder
from hoptrail.memory.view import View
from hoptrail.types import Passage

BATCH = 7
QUERIES = ["river bridge 3", "a painter of batch 5", "passage 2"]

WRITER = f"""
import json, sys
from hoptrail.memory import snapshot
from hoptrail.memory.store import Store
from hoptrail.memory.testing import HashEncoder
from hoptrail.types import Link, Passage

snapshot.MINIMUM = 5  # so that it is also killed while it writes one
path, turn = sys.argv[1], sys.argv[2]
store = Store(path, encoder=HashEncoder())
say = lambda *words: print(json.dumps(words), flush=True)
say("ready")
for batch in range(100_000):
    ids = [f"{{turn}}-{{batch}}-{{i}}" for i in range({BATCH})]
    store.add([
        Passage(id=x, text=f"river bridge painter of batch {{batch}} passage {{i}}",
                links=(Link(ids[0], "cites"),))
        for i, x in enumerate(ids)
    ])
    say("added", ids)
    store.update(ids[1], text=f"changed in batch {{batch}}")
    say("changed", ids[1], f"changed in batch {{batch}}")
    store.delete(ids[2:4])
    say("deleted", ids[2:4])
    store.view()
"""


def write_and_be_killed(path: Path, turn: int, seconds: float) -> list[list]:
    """What a writer acknowledged before it was killed, some time after it was ready."""
    child = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), str(turn)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stderr is not None
    with child.stdout, child.stderr:
        assert child.stdout.readline() == '["ready"]\n', child.stderr.read()
        try:
            child.wait(seconds)
        except subprocess.TimeoutExpired:
            child.kill()
        said = child.stdout.read().splitlines(keepends=True)
        child.wait()
    return [json.loads(line) for line in said if line.endswith("\n")]


def test_nothing_acknowledged_is_lost_and_nothing_is_half_written(
    tmp_path: Path, fresh: Callable[[Iterable[Passage]], View]
) -> None:
    path, rng = tmp_path / "a.db", random.Random(20)
    texts: dict[str, str] = {}
    gone: set[str] = set()
    batches: set[tuple[str, ...]] = set()
    for turn in range(10):
        for what, *rest in write_and_be_killed(path, turn, rng.uniform(0, 0.25)):
            if what == "added":
                batches.add(tuple(rest[0]))
                texts.update(dict.fromkeys(rest[0], ""))
            elif what == "changed":
                texts[rest[0]] = rest[1]
            else:
                gone.update(rest[0])
        with Store(path, encoder=HashEncoder()) as store:
            check(store, texts, gone, batches)
    assert len(batches) > 10, "the writers got nowhere"
    with Store(path, encoder=HashEncoder()) as store:
        view, built = store.view(), fresh(list(store.passages()))
        for query in QUERIES:
            assert ranked(view, query) == ranked(built, query)


def ranked(view: View, query: str) -> list[tuple[str, float]]:
    scores, slots = view.sparse.search(query, 30)
    return sorted(
        (p.id, float(s))
        for p, s in zip(view.passages(slots), scores, strict=True)
        if s > scores[-1]  # the contents repeat: which of the last equals is in may differ
    )


def check(
    store: Store, texts: dict[str, str], gone: set[str], batches: set[tuple[str, ...]]
) -> None:
    held = {p.id: p for p in store.passages()}
    for id_, text in texts.items():
        if id_ in gone:
            assert id_ not in held
        elif id_ in held:
            assert held[id_].text.startswith(text)
        else:  # the last delete may have been done and not yet said
            assert id_.rsplit("-", 1)[1] in "23"
    for id_ in held:
        turn, batch, _ = id_.split("-")
        whole = {f"{turn}-{batch}-{i}" for i in range(BATCH)}
        missing = whole - held.keys()
        assert missing in (set(), {f"{turn}-{batch}-2", f"{turn}-{batch}-3"})
        assert held[id_].links[0].target == f"{turn}-{batch}-0" or "changed" in held[id_].text
    with store.reading() as connection:
        count = connection.execute("SELECT count(*) FROM vectors").fetchone()[0]
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        assert not connection.execute("PRAGMA foreign_key_check").fetchall()
    assert count == len(held) == len(store.view())


def test_a_store_damaged_on_disk_says_so(tmp_path: Path) -> None:
    from hoptrail.errors import StoreUnavailable

    path = tmp_path / "a.db"
    with Store(path, encoder=HashEncoder()) as store:
        store.add([Passage(id=str(i), text=f"river {i} " * 50) for i in range(200)])
    content = bytearray(path.read_bytes())
    content[8192:] = b"\xff" * (len(content) - 8192)
    path.write_bytes(content)
    with pytest.raises(StoreUnavailable, match="malformed"), Store(path) as store:
        list(store.passages())
