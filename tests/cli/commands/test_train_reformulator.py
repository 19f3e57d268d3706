"""`hoptrail train reformulator`, and `train questions --reformulator`."""

from __future__ import annotations

import json

import pytest

from hoptrail.cli.main import main
from hoptrail.policies.policy import Policy
from hoptrail.policies.reformulation.cross_fit import CrossFit


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HOPTRAIL_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def files(tmp_path) -> list[str]:
    """A corpus and two questions that share no passage."""
    corpus, questions = tmp_path / "bridges.jsonl", tmp_path / "who.jsonl"
    texts = ["the old bridge", "who built it", "river under the city", "it and when"]
    passages = [{"id": f"p{i}", "text": text} for i, text in enumerate(texts)]
    rows = [
        {"id": "q0", "question": "who built the bridge", "supporting_ids": ["p0", "p1"]},
        {"id": "q1", "question": "when . the river", "supporting_ids": ["p2", "p3"]},
    ]
    corpus.write_text("\n".join(map(json.dumps, passages)))
    questions.write_text("\n".join(map(json.dumps, rows)))
    return [str(corpus), str(questions)]


def reformulator(files, tiny_bert, out, *more: str) -> list[str]:
    argv = ["train", "reformulator", "--set", *files, "--out", str(out), "--parts", "2"]
    return [*argv, "--encoder", str(tiny_bert), "--epochs", "1", "--rank", "2", *more]


def test_it_is_trained_and_a_policy_beside_it(capsys, files, tiny_bert, tmp_path) -> None:
    out, policy = tmp_path / "asking", tmp_path / "policy"
    assert main(reformulator(files, tiny_bert, out, "--json")) == 0
    said = json.loads(capsys.readouterr().out)
    cross_fit = CrossFit.load(out)
    assert said == {
        "fingerprint": cross_fit.whole.fingerprint,
        "weights": cross_fit.whole.size,
        "questions": 2,
        "parts": 2,
    }
    assert cross_fit.made_of["config"]["rank"] == 2
    assert cross_fit.made_of["command"].startswith("hoptrail train reformulator")
    argv = ["train", "questions", "--set", *files, "--encoder", str(tiny_bert)]
    argv += ["--reformulator", str(out), "--epochs", "1", "--networks", "1"]
    assert main([*argv, "--out", str(policy)]) == 0
    assert Policy.load(policy).reformulator.fingerprint == cross_fit.whole.fingerprint
    store = tmp_path / "memory.db"
    beside = ["--store", str(store), "--encoder", str(tiny_bert)]
    assert main(["add", *beside, files[0]]) == 0
    capsys.readouterr()
    argv = ["recall", *beside, "--policy", str(policy), "--json", "who built the bridge"]
    assert main(argv) == 0
    recalled = json.loads(capsys.readouterr().out)
    assert recalled["trails"][0]["hops"][0]["query"] == "who built the bridge"


def test_a_second_run_needs_another_folder_or_goes_on(capsys, files, tiny_bert, tmp_path) -> None:
    out = tmp_path / "asking"
    assert main(reformulator(files, tiny_bert, out)) == 0
    assert "trained on 2 questions" in capsys.readouterr().out
    assert main(reformulator(files, tiny_bert, out)) == 1
    assert "--resume" in capsys.readouterr().err
    assert main(reformulator(files, tiny_bert, out, "--resume")) == 0
    assert main(reformulator(files, tiny_bert, out, "--resume", "--seed", "3")) == 1
    assert "of other data, settings" in capsys.readouterr().err


def test_mistakes_are_one_sentence(capsys, files, tiny_bert, tmp_path, monkeypatch) -> None:
    out = tmp_path / "asking"
    assert main([*reformulator(files, tiny_bert, out), "--parts", "1"]) == 1
    assert "parts" in capsys.readouterr().err
    argv = ["train", "questions", "--set", *files, "--encoder", str(tiny_bert)]
    argv += ["--reformulator", str(tmp_path), "--out", str(tmp_path / "policy")]
    assert main(argv) == 1
    said = capsys.readouterr().err
    assert "`hoptrail train reformulator` trains them" in said
    assert not out.exists()


def test_an_encoder_that_is_no_transformer_is_refused(
    capsys, files, tiny_bert, tmp_path, monkeypatch
) -> None:
    static = tmp_path / "static"
    distill = ["encoder", "distill", "--encoder", str(tiny_bert), "--corpus", files[0]]
    distill += ["--dim", "4", "--steps", "2", "--out", str(static)]
    assert main(distill) == 0
    capsys.readouterr()
    assert main(reformulator(files, static, tmp_path / "asking")) == 1
    assert "changes a transformer, not a StaticEncoder" in capsys.readouterr().err
