"""hoptrail train answers: a reader and a policy from the command line."""

from __future__ import annotations

import json

import pytest

from hoptrail.cli.main import main
from hoptrail.learning.answering.extractive_reader import ExtractiveReader
from hoptrail.memory.encoders.transformer import TransformerEncoder
from hoptrail.policies.policy import Policy
from hoptrail.policies.reading.trainable_reader import TrainableReader

WORDS = "old bridge river city under built".split()


@pytest.fixture
def files(tmp_path):
    """A corpus, and questions with their answers."""
    passages = [{"id": one, "text": f"the {one} who {WORDS[i - 1]}"} for i, one in enumerate(WORDS)]
    questions = [
        {
            "id": one,
            "question": f"the {one} who",
            "answers": [WORDS[i - 1]],
            "supporting_ids": [one],
        }
        for i, one in enumerate(WORDS)
    ]
    corpus, file = tmp_path / "corpus.jsonl", tmp_path / "questions.jsonl"
    corpus.write_text("\n".join(map(json.dumps, passages)))
    file.write_text("\n".join(map(json.dumps, questions)))
    return corpus, file


@pytest.fixture
def train(tmp_path, tiny_bert, files, capsys):
    """Runs the command with a reader that has learned nothing; its exit code, stdout and stderr."""
    base = TransformerEncoder(tiny_bert, device="cpu")
    start = TrainableReader(base, rank=2, layers=1, window=64, seed=0).reader()
    start.save(tmp_path / "start")

    def run(*options: object) -> tuple[int, str, str]:
        capsys.readouterr()
        argv = ["train", "answers", "--set", *files, "--encoder", tiny_bert, "--device", "cpu"]
        argv += ["--reader", tmp_path / "start", *options]
        code = main([str(arg) for arg in argv])
        return code, *capsys.readouterr()

    return run


def test_a_reader_and_a_policy_are_written(train, tiny_bert, tmp_path) -> None:
    reader, policy = tmp_path / "reader", tmp_path / "policy"
    code, out, err = train("--policy-out", policy, "--out", reader, "--json")
    assert code == 0, err
    made_of = json.loads(out)
    base = TransformerEncoder(tiny_bert, device="cpu")
    assert ExtractiveReader.load(reader, encoder=base).made_of == made_of
    assert made_of["command"].startswith("hoptrail train answers --set ")
    assert made_of["policy"] == {"weights": Policy.shipped().fingerprint, "learns": True}
    assert Policy.load(policy).fingerprint != Policy.shipped().fingerprint


def test_what_is_wrong_is_said_in_one_sentence(train, tmp_path) -> None:
    code, out, err = train("--trails", "0", "--out", tmp_path / "reader")
    assert (code, out) == (1, "")
    assert "trails must be" in err
    code, out, err = train(
        *("--policy-out", tmp_path / "policy", "--trails-file", tmp_path / "trails"),
        *("--out", tmp_path / "reader"),
    )
    assert (code, out) == (1, "")
    assert err.count("\n") == 1
    assert "trails are kept for a policy that stays as it is" in err
    assert not (tmp_path / "reader").exists()
