"""Killed at any moment, a store keeps what it acknowledged and nothing half."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from hoptrail.graph import maintenance as graph_upkeep
from hoptrail.memory.maintenance import checks
from hoptrail.memory.store import Store
from hoptrail.memory.testing.hash_encoder import HashEncoder
from hoptrail.memory.views.view import View
from hoptrail.types import Link, Passage

BATCH = 7
QUERIES = ["river bridge 3", "a painter of batch 5", "passage 2"]

WRITER = f"""
import json, sys
from hoptrail.graph.graph import Graph
from hoptrail.memory.index import snapshot
from hoptrail.memory.store import Store
from hoptrail.memory.testing.hash_encoder import HashEncoder
from hoptrail.types import Link, Passage

snapshot.MINIMUM = 5  # so that it is also killed while it writes one
path, turn = sys.argv[1], sys.argv[2]
store = Store(path, encoder=HashEncoder())
graph = Graph(store)
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
    store.upsert([Passage(id=ids[4], text=f"changed by upsert in batch {{batch}}",
                          metadata={{"batch": [turn, batch]}})])
    say("changed", ids[4], f"changed by upsert in batch {{batch}}")
    store.link(ids[5], Link(ids[6], "next"))
    say("linked", ids[5], ids[6])
    store.add([Passage(id=f"{{turn}}-{{batch}}-x{{i}}", text="brief", metadata={{"batch": batch}})
               for i in range(3)], ttl=0.001)
    with store.transaction():  # both or neither
        store.add([Passage(id=f"{{turn}}-{{batch}}-y", text="to be forgotten")])
        store.forget({{"$id": {{"$in": [f"{{turn}}-{{batch - 1}}-y"]}}}})
    graph.view(store.view())
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


@pytest.mark.parametrize("rounds", [10, pytest.param(200, marks=pytest.mark.slow)])
def test_nothing_acknowledged_is_lost_and_nothing_is_half_written(
    tmp_path: Path, fresh: Callable[[Iterable[Passage]], View], rounds: int
) -> None:
    path, rng = tmp_path / "a.db", random.Random(20)
    texts: dict[str, str] = {}
    gone: set[str] = set()
    batches: set[tuple[str, ...]] = set()
    links: dict[str, str] = {}
    for turn in range(rounds):
        for what, *rest in write_and_be_killed(path, turn, rng.uniform(0, 0.25)):
            if what == "added":
                batches.add(tuple(rest[0]))
                texts.update(dict.fromkeys(rest[0], ""))
            elif what == "changed":
                texts[rest[0]] = rest[1]
            elif what == "linked":
                links[rest[0]] = rest[1]
            else:
                gone.update(rest[0])
        with Store(path, encoder=HashEncoder()) as store:
            time.sleep(0.002)  # for what was just written to expire
            check(store, texts, gone, batches)
            for source, target in links.items():
                assert Link(target, "next") in store.get(source).links
            if turn % 20 == 9:
                assert checks.verify(store) == graph_upkeep.verify_graph(store) == []
    # Two and more a round on an idle machine, and one at times on one that is busy.
    assert len(batches) > rounds / 4, "the writers got nowhere"
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
    marks = [id_ for id_ in held if id_.endswith("y")]
    assert len(marks) == len({id_.split("-")[0] for id_ in marks}), "one of a turn's at a time"
    held = {id_: p for id_, p in held.items() if id_ not in marks}
    assert not [id_ for id_ in held if "x" in id_], "what has expired"
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
        assert "changed" in held[id_].text or held[id_].links[0].target == f"{turn}-{batch}-0"
    store.sweep()
    with store.reading() as connection:
        count = connection.execute("SELECT count(*) FROM vectors").fetchone()[0]
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        assert not connection.execute("PRAGMA foreign_key_check").fetchall()
    assert count == len(held) + len(marks) == len(store.view())


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


FILLER = """
import json, resource, sys
from hoptrail.errors import StoreUnavailable
from hoptrail.memory.store import Store
from hoptrail.memory.testing.hash_encoder import HashEncoder
from hoptrail.types import Passage

done = []
with Store(sys.argv[1], encoder=HashEncoder()) as store:
    store.add([Passage("first", "a river")])
    store.search("river", 1)
    # No file may grow beyond this: to SQLite it is a disk that is full.
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
    error = None
    for batch in range(200):
        try:
            ids = [f"{batch}-{i}" for i in range(20)]
            store.add([Passage(x, "old stone bridge " * 20, metadata={"x": x}) for x in ids])
            done.append(ids)
        except StoreUnavailable as failure:
            error = error or str(failure)
            break
    found = store.search("old bridge", 3)
    left = store.count()
    try:
        store.delete(["first"])
        deleted = True
    except StoreUnavailable:
        deleted = False
print(json.dumps([done, error, len(found), left, deleted]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit on the size of files")
def test_a_full_disk_is_an_error_and_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    child = subprocess.run(
        [sys.executable, "-c", FILLER, str(path)], capture_output=True, text=True, check=False
    )
    assert child.returncode == 0, child.stderr
    done, error, found, left, deleted = json.loads(child.stdout)
    assert done
    assert "could not be written" in error
    assert found == 3, "it can still be searched"
    assert left == 1 + 20 * len(done)
    with Store(path, encoder=HashEncoder()) as store:
        assert checks.verify(store) == []
        expected = {x for ids in done for x in ids} | (set() if deleted else {"first"})
        assert {p.id for p in store.passages()} == expected
        store.add([Passage("later", "there is room again")])
        assert store.search("room again", 1)[0].passage.id == "later"


READER = """
import os, sys
from hoptrail.errors import StoreError
from hoptrail.memory.store import Store
from hoptrail.memory.testing.hash_encoder import HashEncoder
from hoptrail.types import Passage
import faiss, Stemmer  # before it may read less

os.setuid(65534)
with Store(sys.argv[1], encoder=HashEncoder(), read_only=True) as store:
    print(store.search("river", 1)[0].passage.id)
try:
    with Store(sys.argv[1], encoder=HashEncoder()) as store:
        store.add([Passage("b", "a canal")])
except StoreError as error:
    print(error)
"""


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs to become a user without rights"
)
def test_a_file_that_may_only_be_read() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder, path = Path(name), Path(name) / "a.db"
        with Store(path, encoder=HashEncoder()) as store:
            store.add([Passage("a", "a river")])
        path.chmod(0o444)
        folder.chmod(0o555)
        child = subprocess.run(
            [sys.executable, "-c", READER, name + "/a.db"],
            capture_output=True,
            text=True,
            check=False,
        )
        folder.chmod(0o755)
    found, refused = child.stdout.splitlines()
    assert found == "a", child.stderr
    assert "readonly database" in refused or "cannot be opened" in refused
