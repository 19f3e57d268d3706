"""Every peer finds what it should in a corpus of our own; one not installed is skipped by name."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from hoptrail.memory.testing import HashEncoder
from hoptrail.types import Passage, Question

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # benchmarks are not installed

os.environ["ANONYMIZED_TELEMETRY"] = "False"

from benchmarks.peers import comparison, kills, tables  # noqa: E402
from benchmarks.peers.entity_graph import EntityGraph, Walk, named_sentences  # noqa: E402
from benchmarks.peers.linear_rag import LinearRag  # noqa: E402
from benchmarks.peers.peer import SharedEncoder, reciprocal_rank, top  # noqa: E402
from benchmarks.peers.plain import RawVectors  # noqa: E402
from benchmarks.peers.registry import PEERS, missing  # noqa: E402

PASSAGES = [
    Passage(
        id="fram",
        title="Fram",
        text="Fram was a polar ship designed by Colin Archer. The ice lifted it.",
    ),
    Passage(
        id="archer",
        title="Colin Archer",
        text="Colin Archer was born in Larvik. He built pilot boats there.",
    ),
    Passage(
        id="larvik", title="Larvik", text="Larvik lies at the mouth of a fjord in southern Norway."
    ),
    Passage(
        id="zebra",
        title="Zebra",
        text="A zebra grazes on the plains, and its stripes confuse flies.",
    ),
    Passage(id="tin", title="Tin", text="Tin melts at low heat, which is why solder holds it."),
]
QUESTION = "Who designed the polar ship Fram?"


@pytest.fixture
def encoder(tmp_path) -> SharedEncoder:
    return SharedEncoder(HashEncoder(64), tmp_path / "vectors")


@pytest.fixture(params=PEERS, ids=lambda peer: peer.name)
def peer(request):
    absent = missing(request.param)
    if absent:
        pytest.skip(f"{request.param.name} needs {', '.join(absent)}, not installed")
    return request.param


@pytest.mark.filterwarnings("ignore")
def test_a_peer_finds_the_ship_and_writes_what_it_can(peer, encoder, tmp_path) -> None:
    (folder := tmp_path / "index").mkdir()
    index = peer.index(PASSAGES, encoder, folder)
    hits = index.search(QUESTION, 3)
    assert "fram" in [id_ for id_, _ in hits][:2]
    assert 1 <= len(hits) <= 3
    index.save(folder)
    assert comparison.bytes_in(folder) > 0 or peer.persists is None


def test_linear_rag_goes_from_the_ship_to_its_designer_s_passage(encoder, tmp_path) -> None:
    pytest.importorskip("scipy")
    ranking = LinearRag().index(PASSAGES, encoder, tmp_path).search(QUESTION, 5)
    assert [id_ for id_, _ in ranking][:2] == ["fram", "archer"]


def test_sentences_come_with_the_names_in_them() -> None:
    sentences = list(named_sentences(PASSAGES[0]))
    assert sentences == [
        ("Fram was a polar ship designed by Colin Archer.", ["fram", "fram", "colin archer"]),
    ]


def test_names_of_one_sentence_stand_together(encoder) -> None:
    graph = EntityGraph(PASSAGES, encoder)
    names = list(graph.entities)
    pairs = {(names[a], names[b]) for a, b, _ in graph.together()}
    assert ("colin archer", "larvik") in pairs


def test_a_walker_is_nearer_to_where_it_starts() -> None:
    walk = Walk(4, [(0, 1, 1.0), (1, 2, 1.0)])
    import numpy as np

    shares = walk.shares(np.array([1.0, 0.0, 0.0, 0.0]), 0.5)
    assert shares[0] > shares[1] > shares[2] > shares[3] == 0
    assert shares.sum() == pytest.approx(1)


def test_fusion_prefers_what_both_rankings_have() -> None:
    fused = reciprocal_rank([[("a", 3.0), ("b", 2.0)], [("c", 9.0), ("b", 1.0)]], 2)
    assert fused[0][0] == "b"
    import numpy as np

    assert top(np.array([0.1, 0.9, 0.5]), ["a", "b", "c"], 2) == [("b", 0.9), ("c", 0.5)]


@pytest.mark.filterwarnings("ignore")
def test_the_same_questions_are_drawn_each_time_in_their_order(tmp_path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "corpus.jsonl").write_text('{"id": "p", "text": "The Fram was a ship."}\n')
    lines = [{"id": f"q{n}", "question": f"Ship {n}?", "supporting_ids": ["p"]} for n in range(30)]
    (folder / "dev.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

    def drawn(count: int | None) -> list[str]:
        test_set = comparison.load_set(tmp_path, "set", "dev.jsonl", None, count=count)
        return [question.id for question in test_set.questions]

    every = drawn(None)
    assert every == drawn(40) == [line["id"] for line in lines]
    assert len(drawn(8)) == 8
    assert drawn(8) == [id_ for id_ in every if id_ in drawn(8)] != every[:8]


def test_a_comparison_has_every_row_with_its_interval_and_its_time(encoder, capsys) -> None:
    questions = [
        Question("q1", QUESTION, supporting_ids=("fram",)),
        Question("q2", "Where was Colin Archer born?", supporting_ids=("archer", "larvik")),
    ]
    test_set = comparison.TestSet("musique", PASSAGES, questions)
    report = comparison.compare(test_set, [RawVectors()], encoder)
    assert comparison.add_intervals(report["rows"], questions, resamples=50) == 2
    assert set(report["rows"]) == {
        "raw vectors",
        "hoptrail hybrid",
        "hoptrail fast",
        "hoptrail balanced",
    }
    for name, row in report["rows"].items():
        low, high = row["recall@5 interval"]
        assert low <= row["recall@5"] <= high
        assert row["index_bytes"] > 0
        assert row["cpu_ms_median"] > 0
        assert (name == "raw vectors") == (row["times_raw_vectors"] == 1)
    tables.print_tables(json.loads(json.dumps({"sets": {"musique": report}})))
    assert "| hoptrail fast |" in capsys.readouterr().out


def test_a_peer_that_fails_is_named_and_the_others_go_on(encoder) -> None:
    class Broken(RawVectors):
        name = "broken"

        def index(self, passages, encoder, folder):
            raise RuntimeError("no disk")

    questions = [Question("q1", QUESTION, supporting_ids=("fram",))]
    test_set = comparison.TestSet("musique", PASSAGES, questions)
    report = comparison.compare(test_set, [RawVectors(), Broken()], encoder, own=[])
    assert report["failed"] == {"broken": "RuntimeError: no disk"}
    assert list(report["rows"]) == ["raw vectors"]


def test_what_is_killed_is_looked_at_by_another_process() -> None:
    outcome = kills.survive_kills(lambda line: None, kills=1, names=[kills.HOPTRAIL])
    row = outcome["rows"][kills.HOPTRAIL]
    assert row["opened"] == row["whole"] == 1
    assert row["acknowledged"] >= kills.WARM * kills.BATCH
    assert "LangGraph InMemoryStore" in outcome["keep nothing"]
