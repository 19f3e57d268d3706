"""`hoptrail train rag`: a generator and questions in, a model with its figures out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

from hoptrail import Memory
from hoptrail.cli.main import main
from hoptrail.learning import RagModel
from hoptrail.memory.encoders import transformer as encoders
from hoptrail.memory.testing.hash_encoder import HashEncoder

PASSAGES = [
    {"id": "house", "text": "the house is red"},
    {"id": "boat", "text": "the boat is blue"},
]
QUESTIONS = [
    {"id": "1", "question": "what is the house", "answers": ["red"], "supporting_ids": ["house"]},
    {"id": "2", "question": "what is the boat", "answers": ["blue"], "supporting_ids": ["boat"]},
]


HASHED = """
from hoptrail.memory.encoders import transformer
from hoptrail.memory.testing.hash_encoder import HashEncoder
transformer.minilm = lambda **_: HashEncoder()
"""


@pytest.fixture
def arguments(tmp_path: Path, monkeypatch) -> list[str]:
    """A store, questions and a small random generator, as the command takes them."""
    monkeypatch.setattr(encoders, "minilm", lambda **_: HashEncoder())
    with Memory(tmp_path / "a.db", encoder=HashEncoder()) as memory:
        memory.add(PASSAGES)
    questions = tmp_path / "questions.jsonl"
    questions.write_text("\n".join(json.dumps(row) for row in QUESTIONS), encoding="utf-8")
    names = "<pad> </s> question: context: what is the house boat red blue".split()
    words = Tokenizer(models.WordLevel({name: i for i, name in enumerate(names)}, "<pad>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    config = T5Config(
        vocab_size=len(names),
        d_model=8,
        d_kv=4,
        d_ff=8,
        num_layers=1,
        num_heads=2,
        dropout_rate=0.0,
        pad_token_id=0,
        eos_token_id=1,
        decoder_start_token_id=0,
    )
    torch.manual_seed(0)
    T5ForConditionalGeneration(config).save_pretrained(tmp_path / "t5")
    PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", eos_token="</s>"
    ).save_pretrained(tmp_path / "t5")
    options = {"--store": "a.db", "--questions": "questions.jsonl", "--generator": "t5"}
    paths = [part for name, file in options.items() for part in (name, str(tmp_path / file))]
    return ["train", "rag", *paths, "--contexts", "2", "--epochs", "2"]


@pytest.mark.slow
def test_two_processes_train_what_one_does(arguments, tmp_path, run_two, monkeypatch) -> None:
    monkeypatch.setenv("HOPTRAIL_CACHE", str(tmp_path / "cache"))
    (tmp_path / "rag.toml").write_text("batch = 3\nuniform = 0.5")
    questions = tmp_path / "questions.jsonl"
    questions.write_text(
        "\n".join(json.dumps({**QUESTIONS[i % 2], "id": str(i)}) for i in range(4))
    )
    commands = {
        name: [
            [
                *arguments,
                "--config",
                str(tmp_path / "rag.toml"),
                *more,
                "--out",
                tmp_path / name / out,
            ]
            for out, more in (("plain", []), ("trails", ["--trails"]), ("frozen", ["--frozen"]))
        ]
        for name in ("one", "two")
    }
    for argv in commands["one"]:
        assert main([str(part) for part in argv]) == 0
    done = run_two(*commands["two"], before=HASHED)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("learned from 4 questions") == 3, "the second process says nothing"
    for out in ("plain", "trails", "frozen"):
        for file in ("rag.safetensors", "generator/model.safetensors"):
            one, two = (load_file(tmp_path / name / out / file) for name in ("one", "two"))
            assert one.keys() == two.keys()
            for key, tensor in one.items():
                np.testing.assert_allclose(tensor, two[key], atol=2e-5, err_msg=f"{out} {key}")


@pytest.mark.parametrize("more", [[], ["--trails", "--mode", "token"]])
def test_it_writes_a_model_that_answers(arguments, tmp_path, capsys, more) -> None:
    out, dev = tmp_path / "rag", tmp_path / "questions.jsonl"
    options = [*more, "--dev", str(dev), "--out", str(out), "--json"]
    assert main([*arguments, *options]) == 0, capsys.readouterr().err
    made_of = json.loads(capsys.readouterr().out)
    assert made_of["questions"] == 2
    assert made_of["dev"]["after"]["log_likelihood"] > made_of["dev"]["before"]["log_likelihood"]
    with Memory(tmp_path / "a.db", encoder=HashEncoder()) as memory:
        model = RagModel.load(out, memory.store)
        assert model.mode == ("token" if more else "sequence")
        assert model.answer("what is the house")
    asking = ["generate", "--store", str(tmp_path / "a.db"), "--model", str(out)]
    walk = ["--trails"] if more else []
    assert main([*asking, *walk, "--json", "what is the house"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["answers"][0].keys() == {"text", "log_likelihood"}
    assert sum(each["share"] for each in answer["contexts"]) == pytest.approx(1)
    assert main([*asking, "what is the house"]) == 0
    assert "%" in capsys.readouterr().out


def test_figures_are_printed_and_a_missing_generator_is_refused(
    arguments, tmp_path, capsys
) -> None:
    dev = str(tmp_path / "questions.jsonl")
    assert main([*arguments, "--frozen", "--dev", dev, "--out", str(tmp_path / "rag")]) == 0
    assert "log_likelihood: " in capsys.readouterr().out
    nothing = [*arguments, "--generator", str(tmp_path / "nothing")]
    assert main([*nothing, "--out", str(tmp_path / "other")]) == 1
    assert "no generator can be read" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_a_passage_that_is_not_there_is_refused(arguments, tmp_path, capsys) -> None:
    row = {"id": "1", "question": "what", "answers": ["red"], "supporting_ids": ["tree"]}
    (tmp_path / "questions.jsonl").write_text(json.dumps(row), encoding="utf-8")
    assert main([*arguments, "--out", str(tmp_path / "rag")]) == 1
    assert "'tree', which is not in the memory" in capsys.readouterr().err


def test_questions_without_answers_are_refused(arguments, tmp_path, capsys) -> None:
    (tmp_path / "questions.jsonl").write_text('{"id": "1", "question": "what"}')
    assert main([*arguments, "--out", str(tmp_path / "rag")]) == 1
    assert "no question has an answer" in capsys.readouterr().err
