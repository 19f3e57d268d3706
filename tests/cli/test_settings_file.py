"""`--config`: a training takes its settings from a file, and `--write-config` writes such a one."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from hoptrail.cli.command import command_paths
from hoptrail.cli.main import build_command, main
from hoptrail.memory.encoders import transformer as encoders
from hoptrail.memory.testing.hash_encoder import HashEncoder


@pytest.fixture(autouse=True)
def _quick_encoder(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(encoders, "minilm", lambda **_: HashEncoder())
    monkeypatch.setenv("HOPTRAIL_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def settings(tmp_path: Path, corpus: Path, questions: Path) -> Path:
    """A file of settings of `train questions`: options, fields, and a table of the network."""
    file = tmp_path / "run.toml"
    lines = [
        f'set = [["{corpus}", "{questions}"]]',
        f'out = "{tmp_path / "policy"}"',
        'objective = ["imitation", "reinforce"]',
        "epochs = 2",
        "networks = 1",
        "varied = 0.25",
        "joint = false",
        "samples = 3",
        "learning_rate = 1",
        "[network]",
        "width = 16",
    ]
    file.write_text("\n".join(lines))
    return file


def card_of(folder: Path) -> dict:
    return json.loads((folder / "policy.json").read_text())["card"]


def test_every_command_that_trains_takes_and_writes_a_file() -> None:
    options = {
        path: {name for one in command.params for name in one.opts}
        for path, command in command_paths(build_command(), "hoptrail")
    }
    training = [path for path, names in options.items() if "--tracker" in names]
    assert len(training) >= 12
    lacking = [path for path in training if not options[path] >= {"--config", "--write-config"}]
    assert lacking == []


def test_the_command_line_goes_before_the_file_and_the_file_before_defaults(
    settings, tmp_path
) -> None:
    assert main(["train", "questions", "--config", str(settings), "--epochs", "1"]) == 0
    config = card_of(tmp_path / "policy")["config"]
    assert (config["epochs"], config["networks"], config["samples"]) == (1, 1, 3)
    assert (config["learning_rate"], config["augmentation_share"]) == (1.0, 0.25)
    assert config["objective"] == "imitation,reinforce"
    assert config["network"] == {"width": 16, "layers": 2, "dropout": 0.1}
    assert config["batch"] == 16


def test_what_a_run_writes_makes_the_same_run(settings, tmp_path) -> None:
    written, again = tmp_path / "written.toml", tmp_path / "again.toml"
    argv = ["train", "--config", str(settings), "--seed", "5"]
    assert main([*argv, "--write-config", str(written)]) == 0
    table = tomllib.loads(written.read_text())
    assert (table["seed"], table["varied"], table["batch"]) == (5, 0.25, 16)
    assert "reward" not in table
    other = ["--out", str(tmp_path / "other")]
    argv = ["train", "questions", "--config", str(written), *other]
    assert main([*argv, "--write-config", str(again)]) == 0
    assert tomllib.loads(again.read_text()) == {**table, "out": other[1]}
    one, two = card_of(tmp_path / "policy"), card_of(tmp_path / "other")
    assert one["config"] == two["config"]
    assert one["curves"] == two["curves"]


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("epoch = 2", "sets 'epoch': it may set batch, corpus, "),
        ("resume = true", "sets 'resume': it may set "),
        ('epochs = "two"', "epochs: must be a whole number, got 'two'"),
        ("epochs = [1, 2]", "epochs must be a text or a number, got [1, 2]"),
        ("joint = 1", "joint must be true or false, got 1"),
        ('dev = ["a.jsonl"]', "dev must be pairs, [[CORPUS QUESTIONS], …], got ['a.jsonl']"),
        ('trails = "six"', "trails must be a whole number, got 'six'"),
        ("trails = 2.5", "trails must be a whole number, got 2.5"),
        ("trails = 0", "trails must be a whole number of at least 1"),
        ("augmentation_share = 0.5\nvaried = 0.5", "sets 'varied' twice"),
        ("network = {wide = 3}", "network sets 'wide': it may set dropout, layers, width"),
        ('network = {dropout = "no"}', "network.dropout must be a number, got 'no'"),
        ("epochs =", "cannot be read: "),
    ],
)
def test_what_there_is_not_is_refused_by_name(
    tmp_path, corpus, questions, line, sentence, capsys
) -> None:
    file = tmp_path / "run.toml"
    file.write_text(line)
    argv = ["train", "questions", "--set", str(corpus), str(questions), "--config", str(file)]
    assert main([*argv, "--out", str(tmp_path / "policy")]) == 1
    error = capsys.readouterr().err
    assert sentence in error
    assert str(file) in error or sentence.startswith("trails must be a whole number of")
    assert not (tmp_path / "policy").exists()


@pytest.mark.parametrize(
    ("kind", "line", "sentence"),
    [
        ("vectors", "flops = 0.1", "sets 'flops': it may set anchor, "),
        ("vectors", 'side = "both"\nhard = "all"', "hard must be a whole number, got 'all'"),
        ("cross-encoder", "rank = 2", "sets 'rank': it may set "),
        ("sparse", "flops = true", "flops must be a number, got True"),
        ("late-interaction", "max-age = 3", "--max-age is for --kind vectors"),
    ],
)
def test_each_kind_of_ranker_has_settings_of_its_own(
    tmp_path, corpus, questions, tiny_bert, kind, line, sentence, capsys
) -> None:
    file = tmp_path / "run.toml"
    file.write_text(line)
    argv = ["encoder", "tune", "--set", str(corpus), str(questions), "--kind", kind]
    argv += ["--encoder", str(tiny_bert), "--config", str(file), "--out", str(tmp_path / "tuned")]
    assert main(argv) == 1
    assert sentence in capsys.readouterr().err


def test_what_an_option_derives_is_set_in_one_place(tmp_path, corpus, capsys) -> None:
    file, written = tmp_path / "run.toml", tmp_path / "written.toml"
    argv = ["index", "route", "--corpus", str(corpus), "--cloze", "12", "--steps", "2"]
    argv += ["--config", str(file), "--out", str(tmp_path / "router.safetensors")]
    file.write_text("latency = 0.2\nshards = 2\n[costs]\nlatency = 1")
    assert main(argv) == 1
    assert "sets 'latency', which the command or another option" in capsys.readouterr().err
    file.write_text("shards = 2\n[costs]\nlatency = 1")
    assert main([*argv, "--write-config", str(written)]) == 0
    table = tomllib.loads(written.read_text())
    assert table["costs"] == {"latency": 1}
    assert "latency" not in table
    assert main([*argv[:-4], "--config", str(written), *argv[-2:]]) == 0


def test_a_command_without_a_configuration_refuses_fields(tmp_path, corpus, questions, capsys):
    file = tmp_path / "run.toml"
    file.write_text("batch = 3")
    argv = ["train", "calibration", str(tmp_path), "--set", str(corpus), str(questions)]
    assert main([*argv, "--config", str(file)]) == 1
    assert "sets 'batch': it may set effort, encoder, policy, " in capsys.readouterr().err


def test_settings_replace_nothing_but_settings(settings, corpus, capsys) -> None:
    before = corpus.read_text()
    argv = ["train", "questions", "--config", str(settings), "--write-config", str(corpus)]
    assert main(argv) == 1
    assert "is there already and holds no settings" in capsys.readouterr().err
    assert corpus.read_text() == before
