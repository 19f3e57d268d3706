"""Training a reader: it learns, says what it was made of, goes on where it stopped, and refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from hoptrail import Passage
from hoptrail.errors import ConfigError, FormatError, InputError, PolicyError, ReaderError
from hoptrail.learning.answering.extractive_reader import WEIGHTS, ExtractiveReader
from hoptrail.memory.encoders.transformer import TransformerEncoder
from hoptrail.policies.data.training_data import TrainingData, TrainingSet
from hoptrail.policies.reading import reader_trainer
from hoptrail.policies.reading.reader_trainer import ReaderConfig, settings_of_changes, train_reader
from hoptrail.policies.training.checkpoint import Checkpoint

WORDS = "old bridge river city under built".split()
QUICK = ReaderConfig(
    rank=8, cloze=0, epochs=60, batch=8, learning_rate=1e-2, held_out=0.2, weight_decay=0.0
)


@pytest.fixture
def base(tiny_bert: Path) -> TransformerEncoder:
    return TransformerEncoder(tiny_bert, device="cpu")


@pytest.fixture
def one_set(tmp_path: Path) -> TrainingSet:
    """Passages in which a word stands behind "who", and questions after that word."""
    corpus, questions = tmp_path / "corpus.jsonl", tmp_path / "questions.jsonl"
    passages = [
        {"id": f"{one}-{other}", "text": f"the {one} who {other} . the {one}"}
        for one in WORDS
        for other in WORDS
        if one != other
    ]
    lines = [
        {
            "id": f"q{i}",
            "question": f"the {passage['id'].split('-')[0]} who",
            "answers": [passage["id"].split("-")[1]],
            "supporting_ids": [passage["id"]],
        }
        for i, passage in enumerate(passages)
    ]
    corpus.write_text("\n".join(map(json.dumps, passages)))
    questions.write_text("\n".join(map(json.dumps, lines)))
    return TrainingSet(corpus, questions)


def test_what_it_was_trained_for_it_answers(one_set, base, tmp_path) -> None:
    data = TrainingData(train=[one_set], dev=[one_set])
    out = tmp_path / "reader"
    reader = train_reader(data, out, QUICK, encoder=base, command="hoptrail train reader")
    losses = [one["loss"] for one in reader.made_of["curve"]]
    assert losses[-1] < 0.7 * losses[0]
    (dev,) = reader.made_of["dev"]
    assert dev["gold_em"] > 30
    assert dev["gold_em"] <= dev["gold_f1"] <= 100
    assert dev["count"] == 30
    assert reader.made_of["held_out"][0]["count"] == 6
    assert reader.made_of["command"] == "hoptrail train reader"
    again = ExtractiveReader.load(out, encoder=base)
    trail = ("the city who", [Passage("p", "the city who built . the city")])
    assert again.read(*trail) == reader.read(*trail)
    assert again.made_of == reader.made_of
    assert not (out / "checkpoint.safetensors").exists()


def test_a_run_goes_on_where_it_was_stopped(one_set, base, tmp_path) -> None:
    data = TrainingData(train=[one_set])
    config = ReaderConfig(rank=2, cloze=20, epochs=2, batch=8)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train_reader(data, whole, config, encoder=base)

    class Stopped(Exception):
        pass

    def stop(stage: str, done: int, total: int, figures: object) -> None:
        if stage == "questions" and done == total:
            raise Stopped

    with pytest.raises(Stopped):
        train_reader(data, parts, config, encoder=base, progress=stop)
    other = ReaderConfig(rank=2, cloze=20, epochs=3, batch=8)
    with pytest.raises(PolicyError, match="other settings or data"):
        train_reader(data, parts, other, encoder=base, resume=True)
    steps = []
    train_reader(
        data,
        parts,
        config,
        encoder=base,
        resume=True,
        progress=lambda stage, done, total, figures: steps.append((stage, done)),
    )
    assert {stage for stage, _ in steps} == {"questions"}
    assert (whole / WEIGHTS).read_bytes() == (parts / WEIGHTS).read_bytes()


def test_a_reader_that_goes_on_reads_something_else(one_set, base, tmp_path, monkeypatch) -> None:
    read: list[bytes] = []
    batches = reader_trainer._batches

    def noted(trails, size, rng):
        read.append(b"".join(passage.ids.tobytes() for one in trails for passage in one.passages))
        return batches(trails, size, rng)

    monkeypatch.setattr(reader_trainer, "_batches", noted)
    config = ReaderConfig(rank=2, cloze=0, epochs=1, batch=8)
    data = TrainingData(train=[one_set])
    first = train_reader(data, tmp_path / "first", config, encoder=base)
    second = train_reader(data, tmp_path / "second", config, encoder=base, start=first)
    train_reader(data, tmp_path / "third", config, encoder=base, start=second)
    assert len(read) == len(set(read)) == 3


HASTY = replace(QUICK, rank=2, epochs=20, learning_rate=0.1, stop_after=2)


def test_training_ends_when_what_is_held_out_is_read_no_better(one_set, base, tmp_path) -> None:
    data = TrainingData(train=[one_set])
    curve = train_reader(data, tmp_path / "r", HASTY, encoder=base).made_of["curve"]
    losses = [row["held_out_loss"] for row in curve]
    assert len(losses) < HASTY.epochs
    assert losses.index(min(losses)) == len(losses) - 1 - 2
    to_best = replace(HASTY, stop_after=len(losses))  # the same passes, and the best of them
    longer = train_reader(data, tmp_path / "s", to_best, encoder=base).made_of["curve"]
    assert [row["held_out_loss"] for row in longer[: len(losses)]] == losses


def test_the_best_weights_outlive_a_run_that_was_stopped(one_set, base, tmp_path) -> None:
    data = TrainingData(train=[one_set])
    whole = train_reader(data, tmp_path / "whole", HASTY, encoder=base).made_of["curve"]

    class Stopped(Exception):
        pass

    def stop(stage: str, done: int, total: int, figures: object) -> None:
        if done == total // HASTY.epochs * (len(whole) - 1) + 1:  # in the last pass
            raise Stopped

    with pytest.raises(Stopped):
        train_reader(data, tmp_path / "parts", HASTY, encoder=base, progress=stop)
    train_reader(data, tmp_path / "parts", HASTY, encoder=base, resume=True)
    one, two = (tmp_path / name / WEIGHTS for name in ("whole", "parts"))
    assert one.read_bytes() == two.read_bytes()
    other = train_reader(data, tmp_path / "last", replace(HASTY, stop_after=None), encoder=base)
    assert (tmp_path / "last" / WEIGHTS).read_bytes() != one.read_bytes()
    assert len(other.made_of["curve"]) == HASTY.epochs


def test_there_must_be_something_to_judge_by(one_set, base, tmp_path) -> None:
    config = replace(HASTY, held_out=0.001)
    with pytest.raises(ConfigError, match="stop_after is 2, and no question is held out"):
        train_reader(TrainingData(train=[one_set]), tmp_path / "r", config, encoder=base)


def test_training_goes_on_from_a_reader(one_set, base, tmp_path) -> None:
    data = TrainingData(train=[one_set])
    first = train_reader(data, tmp_path / "first", QUICK, encoder=base, command="the first")
    settings = settings_of_changes(first)
    assert settings == {"rank": QUICK.rank, "layers": 1}
    config = replace(QUICK, epochs=1, learning_rate=1e-6, **settings)
    second = train_reader(data, tmp_path / "second", config, encoder=base, start=first)
    assert second.made_of["curve"][0]["loss"] < 0.8 * first.made_of["curve"][0]["loss"]
    assert second.made_of["start"]["weights"] == first.fingerprint != second.fingerprint
    assert second.made_of["start"]["command"] == "the first"


def test_a_start_that_does_not_fit_is_refused(one_set, base, tmp_path) -> None:
    data = TrainingData(train=[one_set])
    config = replace(QUICK, epochs=1)
    first = train_reader(data, tmp_path / "first", config, encoder=base)
    with pytest.raises(ReaderError, match=r"at rank 8, got \d+ linear layers at rank 4"):
        train_reader(data, tmp_path / "r", replace(config, rank=4), encoder=base, start=first)


def test_a_time_limit_ends_it_with_a_reader(one_set, base, tmp_path) -> None:
    config = ReaderConfig(rank=2, cloze=0, epochs=10_000, batch=8, time_limit=0.5)
    reader = train_reader(TrainingData(train=[one_set]), tmp_path / "r", config, encoder=base)
    assert len(reader.made_of["curve"]) < 1000


def test_there_must_be_something_to_learn_from(one_set, base, tmp_path) -> None:
    lines = map(json.loads, one_set.questions.read_text().splitlines())
    one_set.questions.write_text("\n".join(json.dumps({**line, "answers": []}) for line in lines))
    with pytest.raises(InputError, match="nothing to learn from"):
        train_reader(TrainingData(train=[one_set]), tmp_path / "r", QUICK, encoder=base)


def test_evidence_that_is_not_there_is_named(one_set, base, tmp_path) -> None:
    one_set.questions.write_text(
        '{"id": "q", "question": "who", "answers": ["city"], "supporting_ids": ["lost"]}'
    )
    with pytest.raises(FormatError, match="question 'q' needs passage 'lost'"):
        train_reader(TrainingData(train=[one_set]), tmp_path / "r", QUICK, encoder=base)


@pytest.mark.parametrize(
    "setting",
    [
        {"rank": 0},
        {"epochs": 0},
        {"cloze": -1},
        {"learning_rate": 0.0},
        {"held_out": 1.0},
        {"time_limit": 0.0},
        {"evidence_weight": -1.0},
    ],
)
def test_settings_that_cannot_be_are_refused(setting: dict) -> None:
    with pytest.raises(ConfigError, match=next(iter(setting))):
        ReaderConfig(**setting)


def test_a_checkpoint_of_another_run_is_no_reader(one_set, base, tmp_path) -> None:
    Checkpoint(tmp_path / "r", {"config": {}}).save({"rounds": 1, "curve": []}, {}, None)
    with pytest.raises(PolicyError, match="other settings or data"):
        train_reader(
            TrainingData(train=[one_set]), tmp_path / "r", QUICK, encoder=base, resume=True
        )
