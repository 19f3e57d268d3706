"""Nothing that hoptrail did not write is replaced by what it writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from hoptrail import FormatError, Memory, PolicyError
from hoptrail.cli.main import main
from hoptrail.evaluation.plots import new_figure, save_figure
from hoptrail.learning.distillation import DistillConfig, distill
from hoptrail.memory.encoders import transformer as encoders
from hoptrail.memory.testing.hash_encoder import HashEncoder
from hoptrail.outputs.replaceable import check_copy, check_picture, check_report
from hoptrail.policies.card import readme
from hoptrail.policies.networks.network_config import NetworkConfig
from hoptrail.policies.networks.policy_network import PolicyNetwork
from hoptrail.policies.policy import Policy


@pytest.fixture(autouse=True)
def _quick_encoder(monkeypatch) -> None:
    monkeypatch.setattr(encoders, "minilm", lambda **_: HashEncoder())
    monkeypatch.setenv("HOPTRAIL_TRACEBACK", "1")


def policy() -> Policy:
    torch.manual_seed(0)
    return Policy([PolicyNetwork(NetworkConfig())])


THEIRS = [
    ("README.md", "# My project\n"),
    ("policy.json", '{"Version": "2012-10-17", "Statement": []}'),
    ("policy.json", "not JSON"),
    ("policy.safetensors", "weights of something else"),
    ("relations.safetensors", "theirs"),
    ("checkpoint.safetensors", "theirs"),
    ("reader.safetensors", "theirs"),
]


@pytest.mark.parametrize(("name", "text"), THEIRS)
def test_a_policy_replaces_no_file_that_is_not_a_policy_s(tmp_path, capsys, name, text) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(PolicyError, match=f"{name} is there already and hoptrail did not write"):
        policy().save(tmp_path, readme=readme(policy()))
    questions = tmp_path / "q.jsonl"
    questions.write_text('{"id": "q", "question": "What is Varn?", "supporting_ids": ["v"]}\n')
    corpus = tmp_path / "c.jsonl"
    corpus.write_text('{"id": "v", "text": "Varn is a town."}\n')
    before = sorted(tmp_path.iterdir())
    argv = ["train", "--set", corpus, questions, "--epochs", 1, "--networks", 1, "--out", tmp_path]
    assert main([str(word) for word in argv]) == 1
    assert name in capsys.readouterr().err
    assert (sorted(tmp_path.iterdir()), (tmp_path / name).read_text()) == (before, text)


def test_a_policy_replaces_a_policy_and_lies_beside_other_files(tmp_path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    for _ in range(2):
        policy().save(tmp_path, readme=readme(policy()))
    assert "\n# A hoptrail policy\n" in (tmp_path / "README.md").read_text()
    (tmp_path / "README.md").write_text("mine")
    policy().save(tmp_path)  # without a card
    assert (tmp_path / "README.md").read_text() == "mine"


def test_a_static_encoder_replaces_no_other_model(tmp_path) -> None:
    config = DistillConfig(dim=8, steps=2, seeds=2)
    made = distill(["A lamp in the window.", "Rain on Ada."] * 4, HashEncoder(), config=config)
    made.save(tmp_path / "static")
    made.save(tmp_path / "static")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "tokenizer.json").write_text("{}")
    with pytest.raises(FormatError, match="is no static encoder's"):
        made.save(tmp_path / "model")
    assert [file.name for file in (tmp_path / "model").iterdir()] == ["tokenizer.json"]


def test_a_report_replaces_reports_only_and_never_what_it_is_made_from(tmp_path) -> None:
    new, report, other = (tmp_path / name for name in ("new", "report.json", "corpus.jsonl"))
    report.write_text('{\n "retrievers": [],\n "questions": []\n}\n')
    other.write_text('{"id": "a", "text": "mine"}\n')
    check_report(new)
    check_report(report)
    for file, inputs in ((other, []), (report, [report]), (tmp_path, [])):
        with pytest.raises(FormatError):
            check_report(file, inputs=inputs)
    (tmp_path / "link").symlink_to(report)
    with pytest.raises(FormatError, match="what the result is made from"):
        check_report(tmp_path / "link", inputs=[report])


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf", "jpg"])
def test_a_picture_replaces_pictures_of_ours_only(tmp_path, suffix) -> None:
    pytest.importorskip("matplotlib")
    file = tmp_path / f"recall.{suffix}"
    check_picture(file)
    for _ in range(2):
        save_figure(new_figure(3, 2), file)
        check_picture(file)
    (tmp_path / "text.png").write_text("a note")
    with pytest.raises(FormatError, match="was not drawn here"):
        check_picture(tmp_path / "text.png")


def test_evaluate_and_stopping_refuse_before_they_work(tmp_path, capsys) -> None:
    corpus, questions, notes = (tmp_path / name for name in ("c.jsonl", "q.jsonl", "notes.txt"))
    corpus.write_text('{"id": "v", "text": "Varn is a town."}\n')
    questions.write_text('{"id": "q", "question": "What is Varn?", "supporting_ids": ["v"]}\n')
    notes.write_text("mine")
    line = ["evaluate", "--corpus", str(corpus), "--questions", str(questions)]
    for option in ("--json", "--plot"):
        for file in (corpus, questions, notes):
            before = file.read_text()
            assert main([*line, option, str(file)]) == 1
            assert "cannot be written" in (err := capsys.readouterr().err) or "already" in err
            assert file.read_text() == before
        assert main(["stopping", str(notes), option, str(notes)]) == 1
    both = str(tmp_path / "both")
    assert main([*line, "--json", both, "--plot", both]) == 1


def test_the_demo_exports_over_nothing_but_its_own_files(tmp_path, capsys) -> None:
    assert main(["demo", "--export", str(tmp_path / "demo")]) == 0
    assert main(["demo", "--export", str(tmp_path / "demo")]) == 0
    (tmp_path / "questions.jsonl").write_text("mine")
    assert main(["demo", "--export", str(tmp_path)]) == 1
    assert "questions.jsonl is there already" in capsys.readouterr().err
    assert not (tmp_path / "corpus.jsonl").exists()
    with pytest.raises(FormatError):
        check_copy(tmp_path / "questions.jsonl", tmp_path / "demo" / "corpus.jsonl")


def test_the_demo_writes_to_no_memory_of_somebody_s(tmp_path, capsys) -> None:
    store = tmp_path / "mine.db"
    with Memory(store, encoder=HashEncoder()) as memory:
        memory.add({"id": "mine", "text": "my own note"})
    line = ["demo", "--store", str(store), "--effort", "fast", "--question", "Who wrote Unix?"]
    assert main(line) == 1
    assert "holds other passages than the demo's, 'mine' among them" in capsys.readouterr().err
    with Memory(store, encoder=HashEncoder()) as memory:
        assert memory.count() == 1
    notes = Path(tmp_path / "notes.txt")
    notes.write_text("mine")
    assert main([*line[:2], str(notes), *line[3:]]) == 1
    assert notes.read_text() == "mine"
    assert main([*line[:2], str(tmp_path / "demo.db"), *line[3:]]) == 0
    assert main([*line[:2], str(tmp_path / "demo.db"), *line[3:]]) == 0  # its own memory again


def test_training_on_a_namespace_without_passages_is_one_sentence(tmp_path, capsys) -> None:
    corpus, questions = tmp_path / "c.jsonl", tmp_path / "q.jsonl"
    corpus.write_text('{"id": "v", "text": "Varn is a town."}\n')
    line = {"id": "q", "question": "What is Varn?", "supporting_ids": ["v"]}
    questions.write_text(json.dumps({**line, "namespace": ["a/b", "c"]}) + "\n")
    argv = ["train", "--set", corpus, questions, "--epochs", 1, "--networks", 1]
    assert main([str(word) for word in [*argv, "--out", tmp_path / "policy"]]) == 1
    assert """'q' is of the namespace '["a/b", "c"]', in which""" in capsys.readouterr().err
    assert not (tmp_path / "policy").exists()
