"""Hits@1 over a knowledge graph: what counts, against whom, and on which questions."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from hoptrail.cli.main import main
from hoptrail.errors import FormatError, InputError, PolicyError
from hoptrail.evaluation.entity_questions import EntitySettings, evaluate_entities, rows
from hoptrail.policies.networks.network_config import NetworkConfig
from hoptrail.policies.networks.policy_network import PolicyNetwork
from hoptrail.policies.policy import Policy


@pytest.fixture
def files(tmp_path, triples, entity_questions, monkeypatch):
    monkeypatch.setenv("HOPTRAIL_CACHE", str(tmp_path / "cache"))
    (tmp_path / "kb.txt").write_text("".join("|".join(t) + "\n" for t in triples), encoding="utf-8")
    lines = [json.dumps(q) + "\n" for q in entity_questions if len(q["path"]) == 1]
    (tmp_path / "one.jsonl").write_text("".join(lines), encoding="utf-8")
    return SimpleNamespace(triples=tmp_path / "kb.txt", one=tmp_path / "one.jsonl", folder=tmp_path)


@pytest.fixture(scope="module")
def policy():
    return Policy([PolicyNetwork(NetworkConfig(width=8))])


def test_the_walk_leads_what_ranks_by_names(files, hash_encoder, policy) -> None:
    report = evaluate_entities(
        files.triples,
        [files.one],
        EntitySettings(last=20),
        encoder=hash_encoder,
        policy=policy,
    )
    [first] = report["files"]
    assert (first["questions"], report["triples"]["entities"]) == (20, 27)
    found = first["retrievers"]
    assert found["policy"]["hits@1"] > 0.8
    assert found["policy"]["low"] <= found["policy"]["hits@1"] <= found["policy"]["high"]
    for name in ("bm25", "dense", "hybrid", "pagerank"):
        lead = found["policy"]["hits@1"] - found[name]["hits@1"]
        assert found[name]["policy_leads_by"] == pytest.approx(lead)
        assert lead > 0
    head, *lines = rows(report)
    assert head == ["Hits@1", "one", "median ms"]
    assert [line[0] for line in lines] == ["bm25", "dense", "hybrid", "pagerank", "policy"]


def test_the_first_and_the_last_questions_are_other_ones(files, hash_encoder, policy) -> None:
    asked = EntitySettings(retrievers=("policy",), first=8), EntitySettings(retrievers=("policy",))
    few, all_ = (
        evaluate_entities(files.triples, [files.one], s, encoder=hash_encoder, policy=policy)
        for s in asked
    )
    assert few["files"][0]["questions"] == 8 < all_["files"][0]["questions"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"retrievers": ()},
        {"retrievers": ("policy", "policy")},
        {"retrievers": ("oracle",)},
        {"first": 3, "last": 3},
        {"last": -1},
    ],
)
def test_settings_that_mean_nothing_are_refused(wrong) -> None:
    with pytest.raises(InputError):
        EntitySettings(**wrong)


def test_what_cannot_be_measured_is_refused(files, hash_encoder, policy) -> None:
    files.one.write_text('{"question": "who is [Varn]?"}\n', encoding="utf-8")
    with pytest.raises(InputError, match="one:1"):
        evaluate_entities(
            files.triples, [files.one], EntitySettings(), encoder=hash_encoder, policy=policy
        )
    with pytest.raises(FormatError, match="nowhere"):
        evaluate_entities(
            files.triples, [files.folder / "nowhere"], EntitySettings(), encoder=hash_encoder
        )
    files.one.write_text('{"question": "who?", "answers": ["Varn"]}\n', encoding="utf-8")
    with pytest.raises(PolicyError, match="nowhere"):
        evaluate_entities(
            files.triples,
            [files.one],
            EntitySettings(),
            encoder=hash_encoder,
            policy=files.folder / "nowhere",
        )


@pytest.fixture
def hashed(monkeypatch, hash_encoder):
    monkeypatch.setattr("hoptrail.memory.encoders.transformer.minilm", lambda **_: hash_encoder)


def test_one_command_trains_and_one_measures(files, hashed, capsys) -> None:
    graph = ["--triples", str(files.triples), "--questions", str(files.one)]
    out = str(files.folder / "policy")
    assert main(["train", *graph, "--first", "16", "--epochs", "2", "--out", out]) == 0
    assert "trained on 16 questions" in capsys.readouterr().out
    card = json.loads((files.folder / "policy" / "policy.json").read_text())["card"]["relations"]
    assert card["command"].startswith("hoptrail train --triples")
    report = files.folder / "report.json"
    assert main(["evaluate", *graph, "--last", "4", "--policy", out, "--json", str(report)]) == 0
    assert "pagerank" in capsys.readouterr().out
    assert json.loads(report.read_text())["settings"]["relations"] == "trained"


def test_a_graph_is_added_and_walked_from_the_command_line(files, hashed, capsys) -> None:
    store = str(files.folder / "art.db")
    assert main(["add", "--store", store, "--triples", str(files.triples)]) == 0
    capsys.readouterr()
    asked = "what was painted by [Ida Lund]?"
    assert main(["recall", "--store", store, "--json", "--k", "4", asked]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {p["id"] for p in found["passages"]} == {
        f"{what} at Tolle 1" for what in ("Mist", "Trout", "Bells", "Snow")
    }
    assert [hop["link"] for hop in found["trails"][0]["hops"]] == [None, "~painted_by"]


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        (["train", "--set", "c", "q", "--first", "3", "--out", "p"], "No such option: --first"),
        (["train", "--triples", "t", "--out", "p"], "Missing option '--questions'"),
        (
            ["train", "--triples", "t", "--questions", "q", "--resume", "--out", "p"],
            "No such option: --resume",
        ),
        (["evaluate", "--corpus", "c", "--questions", "q", "r"], "one file of questions"),
        (
            ["evaluate", "--corpus", "c", "--questions", "q", "--last", "3"],
            "No such option: --last",
        ),
        (
            ["evaluate", "--triples", "t", "--questions", "q", "--plot", "p.png"],
            "No such option: --plot",
        ),
    ],
)
def test_options_that_do_not_go_together_are_refused(wrong, complaint, capsys) -> None:
    assert main(wrong) in (1, 2)
    assert complaint in capsys.readouterr().err
