"""A memory on PostgreSQL answers as one that is a file."""

from __future__ import annotations

import pytest

from hoptrail import Memory
from hoptrail.integrations.explorer.explorer_session import ExplorerSession
from hoptrail.integrations.explorer.requests import PassageRequest
from hoptrail.memory.testing.hash_encoder import HashEncoder
from hoptrail.types import Link, Passage

pytestmark = pytest.mark.slow

NAMES = "Archer Larvik Fram Nansen Oslo Bergen Amundsen Gjøa Tromsø Sverdrup".split()
QUESTIONS = [f"Where was the builder of {name} born, and who sailed it?" for name in NAMES]


def corpus() -> list[Passage]:
    """Forty passages that name and link each other, so that walks have somewhere to go."""
    passages = []
    for i in range(40):
        name, other, third = (NAMES[(i * step) % len(NAMES)] for step in (1, 3, 7))
        passages.append(
            Passage(
                f"p{i}",
                f"{name} number {i} was built near {other} and later seen by {third}.",
                f"{name} {i}",
                {"year": 1890 + i},
                namespace=("sea",) if i % 4 else (),
                links=(Link(f"p{(i * 7 + 1) % 40}", "cites"),),
            )
        )
    return passages


def written(memory: Memory) -> Memory:
    passages = corpus()
    memory.add(passages[20:])
    memory.upsert(passages[:25])
    memory.delete("p3", namespace=("sea",))
    memory.update("p8", text="Nansen was later seen near Oslo.")
    return memory


def answers(memory: Memory) -> list[object]:
    """All that rankings, walks and filters give, with their scores."""
    out: list[object] = []
    for question in QUESTIONS:
        for mode in ("hybrid", "dense", "sparse"):
            hits = memory.search(question, k=9, mode=mode)
            out.append([(hit.passage.id, hit.score) for hit in hits])
        hits = memory.search(question, k=9, filter={"year": {"$gte": 1910}}, namespace=("sea",))
        out.append([(hit.passage.id, hit.score) for hit in hits])
        recall = memory.recall(question, k=6)
        out.append([(hit.passage.id, hit.score, hit.probability) for hit in recall.hits])
        out.append([[(hop.id, hop.link) for hop in trail.hops] for trail in recall.trails])
    return out


def test_rankings_and_trails_are_those_of_a_file(url, host, tmp_path) -> None:
    with Memory(tmp_path / "a.db", encoder=HashEncoder(384)) as file:
        expected = answers(written(file))
        passages = [p.text for p in file.store.passages()]
    with Memory(url, encoder=HashEncoder(384)) as memory:
        assert answers(written(memory)) == expected
    host("two")
    with Memory(url, encoder=HashEncoder(384)) as memory:  # as another host has it
        assert answers(memory) == expected
        assert [p.text for p in memory.store.passages()] == passages


def test_a_recall_sees_what_another_host_has_just_written(url, host) -> None:
    with Memory(url, encoder=HashEncoder(384)) as one:
        one.add(corpus())
        question = "Where is the lighthouse of Andenes?"
        host("two")
        with Memory(url, encoder=HashEncoder(384)) as two:
            assert "lamp" not in [hit.passage.id for hit in one.recall(question, k=5).hits]
            two.add({"id": "lamp", "text": "The lighthouse of Andenes is red."})
            assert "lamp" in [hit.passage.id for hit in one.recall(question, k=5).hits]
            one.delete("lamp")
            assert "lamp" not in [hit.passage.id for hit in two.recall(question, k=5).hits]


def test_a_memory_moves_between_a_file_and_a_server(url, host, tmp_path) -> None:
    with Memory(tmp_path / "a.db", encoder=HashEncoder()) as file:
        file.add(corpus())
        expected = list(file.store.passages())
        file.export(tmp_path / "a.jsonl", vectors=True)
    with Memory(url, encoder=HashEncoder()) as memory:
        assert memory.import_file(tmp_path / "a.jsonl").encoded == 0
        assert list(memory.store.passages()) == expected
        memory.export(tmp_path / "b.jsonl", vectors=True)
    with Memory(tmp_path / "b.db", encoder=HashEncoder()) as file:
        file.import_file(tmp_path / "b.jsonl")
        assert list(file.store.passages()) == expected


def test_what_happened_to_a_passage_is_told_and_shown(url, host) -> None:
    with Memory(url, encoder=HashEncoder(384)) as memory:
        memory.add(corpus())
        memory.update("p0", text="Archer number 0 was built again.")
        memory.search("Archer number 0 was built again", k=1, mode="dense")
        memory.store.recorder.flush()
        counts = memory.history("p0").counts
        assert (counts.updates, counts.recalls) == (1, 1)
        never = {id_ for _, id_ in memory.audit().never_recalled}
        assert never == {f"p{i}" for i in range(1, 40)}
        page = ExplorerSession(memory).passage(PassageRequest(id="p0"))
        assert page["recalls"] == 1
