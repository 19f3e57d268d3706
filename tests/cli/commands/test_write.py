"""Changing and filtering from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hoptrail import Memory, Passage
from hoptrail.formats.jsonl import passage_record, write_jsonl
from hoptrail.memory.encoders import transformer as encoders
from hoptrail.memory.testing.hash_encoder import HashEncoder


@pytest.fixture(autouse=True)
def _quick_encoder(monkeypatch) -> None:
    monkeypatch.setattr(encoders, "minilm", lambda **_: HashEncoder())


@pytest.fixture
def store(tmp_path) -> Path:
    file = tmp_path / "agent.db"
    with Memory(file, encoder=HashEncoder()) as memory:
        memory.add(
            [
                Passage(f"p{n}", f"river {n}", metadata={"source": {"page": n}}, namespace=space)
                for space in ((), ("team",))
                for n in range(4)
            ]
        )
    return file


def test_search_takes_a_filter_that_reaches_into_metadata(run, store) -> None:
    given = '{"source.page": {"$gt": 1}}'
    found = json.loads(run("search", "--store", store, "--json", "--filter", given, "river")[1])
    assert {p["id"] for p in found["passages"]} == {"p2", "p3"}
    code, _, err = run("search", "--store", store, "--filter", '{"$near": 1}', "river")
    assert (code, "there is no '$near'" in err) == (1, True)
    for wrong in ("{", "[1]"):
        code, _, err = run("search", "--store", store, "--filter", wrong, "river")
        assert (code, "--filter" in err) == (2, True)


def test_recall_takes_a_filter(run, store, tmp_path) -> None:
    import torch

    from hoptrail.policies.networks.network_config import NetworkConfig
    from hoptrail.policies.networks.policy_network import PolicyNetwork
    from hoptrail.policies.policy import Policy

    torch.manual_seed(0)
    Policy([PolicyNetwork(NetworkConfig())]).save(tmp_path / "policy")
    options = ("--store", store, "--policy", tmp_path / "policy", "--filter", '{"$id": "p2"}')
    found = json.loads(run("recall", *options, "--json", "Which river?")[1])
    assert [p["id"] for p in found["passages"]] == ["p2", "p2"]  # of two namespaces
    code, out, _ = run("recall", *options, "Which river?")
    assert code == 0
    assert "river 2" in out
    assert "river 1" not in out


def test_forget_counts_first_and_deletes_when_told(run, store) -> None:
    options = ("--store", store, "--namespace", "team", "--filter", '{"source.page": {"$lt": 3}}')
    code, out, _ = run("forget", *options)
    assert (code, out) == (0, "3 of 8 passages would be forgotten: repeat with --yes\n")
    assert json.loads(run("forget", *options, "--json")[1]) == {
        "fulfil": 3,
        "forgotten": 0,
        "count": 8,
    }
    assert json.loads(run("forget", *options, "--json", "--yes")[1])["forgotten"] == 3
    assert run("forget", *options, "--yes")[1] == f"0 passages forgotten; {store} holds 5 now\n"
    assert run("forget", "--store", store, "--namespace", "team", "--all")[1].startswith("1 of 5")
    assert run("forget", "--store", store, "--all", "--yes", "--json")[0] == 0
    with Memory(store) as memory:
        assert memory.count() == 0
    for wrong in ((), ("--all", "--filter", '{"a": 1}')):
        code, _, err = run("forget", "--store", store, "--yes", *wrong)
        assert (code, "either --filter, or --all" in err) == (1, True)
    code, _, err = run("forget", "--store", store, "--filter", "{}", "--yes")
    assert (code, "is fulfilled by all: say so with --all" in err) == (1, True)


def test_links_and_updates_print_the_passage_as_it_is(run, store) -> None:
    assert run("link", "--store", store, "p1", "p2", "--kind", "next", "--weight", "2")[1] == (
        "[p1]\n    river 1\n  next -> p2\n"
    )
    found = json.loads(run("link", "--store", store, "p1", "p3", "--json")[1])
    assert [link["target"] for link in found["links"]] == ["p2", "p3"]
    assert run("unlink", "--store", store, "p1", "p2", "--kind", "cites")[1].count("->") == 2
    assert run("unlink", "--store", store, "p1", "p2")[1] == "[p1]\n    river 1\n  link -> p3\n"
    changed = ("--text", "a lake", "--title", "Sorrel", "--ttl", "60")
    code, out, _ = run("update", "--store", store, "--namespace", "team", "p1", *changed)
    assert (code, out) == (0, "[p1] Sorrel\n    a lake\n")
    run("update", "--store", store, "p2", "--metadata", '{"a": [1]}', "--title", "")
    with Memory(store) as memory:
        assert memory.get("p1", ("team",)).expires_at > 60
        assert memory.get("p2").metadata == {"a": [1]}
    for wrong, says in ((["p1"], "nothing to change"), (["p1", "--ttl", "0"], "above 0 seconds")):
        code, _, err = run("update", "--store", store, *wrong)
        assert (code, says in err) == (1, True)


def test_upsert_says_what_it_did(run, store, tmp_path) -> None:
    with Memory(store) as memory:
        held = [memory.get(f"p{n}") for n in range(3)]
    batch = [*held[:2], Passage("p2", "a changed river"), Passage("new", "a new one")]
    write_jsonl(tmp_path / "corpus.jsonl", map(passage_record, batch))
    code, out, _ = run("upsert", "--store", store, tmp_path / "corpus.jsonl")
    assert (code, out) == (
        0,
        f"1 passage added to {store}, 1 updated, 2 unchanged; it holds 9 now\n",
    )
    again = json.loads(run("upsert", "--store", store, "--json", tmp_path / "corpus.jsonl")[1])
    assert (again["unchanged"], again["count"]) == (["p0", "p1", "p2", "new"], 9)


def test_add_takes_a_life_and_looks_for_duplicates(run, store, tmp_path) -> None:
    write_jsonl(
        tmp_path / "more.jsonl",
        [{"id": "twin", "text": "river 1"}, {"id": "other", "text": "something else entirely"}],
    )
    options = ("--store", store, tmp_path / "more.jsonl")
    found = json.loads(run("add", *options, "--duplicates", "skip", "--json")[1])
    assert found["added"] == ["other"]
    assert [d["of"] for d in found["duplicates"]] == ["p1"]
    write_jsonl(tmp_path / "more.jsonl", [{"id": "twin", "text": "river 1"}])
    code, out, _ = run("add", *options, "--duplicates", "report")
    assert (code, "twin says what p1 says" in out) == (0, True)
    assert run("add", *options, "--on-duplicate", "replace", "--ttl", "60")[0] == 0
    with Memory(store) as memory:
        assert memory.get("twin").expires_at is not None
    code, _, err = run("add", *options, "--duplicates", "skip", "--on-duplicate", "replace")
    assert (code, "--duplicates" in err) == (1, True)
