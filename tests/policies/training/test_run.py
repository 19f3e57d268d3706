"""Training: it learns, it can be stopped and taken up, and it tells early what it cannot do."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from hoptrail.errors import ConfigError, FormatError, InputError, PolicyError
from hoptrail.learning.reader.tokens import encoded_text, trail_tokens
from hoptrail.memory.encoders.transformer import TransformerEncoder
from hoptrail.memory.testing.hash_encoder import HashEncoder
from hoptrail.metrics.ranking import recall_at
from hoptrail.policies.data.examples import Source
from hoptrail.policies.data.training_data import TrainingData, TrainingSet
from hoptrail.policies.networks.frozen_policy import WEIGHTS
from hoptrail.policies.networks.network_config import NetworkConfig
from hoptrail.policies.networks.policy_network import PolicyNetwork
from hoptrail.policies.objectives.imitation import LabelWeights, imitation_loss
from hoptrail.policies.objectives.marginal import load_reader
from hoptrail.policies.policy import Policy
from hoptrail.policies.training import preparation
from hoptrail.policies.training import run as train_module
from hoptrail.policies.training import trainer as trainer_module
from hoptrail.policies.training.calibration import stop
from hoptrail.policies.training.checkpoint import TENSORS
from hoptrail.policies.training.config import RunOptions, TrainConfig
from hoptrail.policies.training.next_queries import NextQueries
from hoptrail.policies.training.preparation import show_pseudo_questions
from hoptrail.policies.training.run import train
from hoptrail.policies.training.stage_run import StageRun
from hoptrail.policies.training.stages import make_objective

SMALL = TrainConfig(
    networks=1, epochs=2, batch=4, network=NetworkConfig(width=8, layers=1, dropout=0.1)
)


def run(one, out, config=SMALL, *, encoder=None, start=None, **options):
    """Train on one set; its card."""
    encoder = encoder or HashEncoder()
    options = RunOptions(**options)
    return train(TrainingData([one]), out, config, encoder=encoder, start=start, options=options)


class Stopped(Exception):
    """The run is killed here."""


def stop_at(label: str, step: int):
    """A progress that kills the run before the step after this one."""

    def progress(stage, done, total, figures) -> None:
        if stage == label and done == step:
            raise Stopped

    return progress


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory):
    """One cache for all of them: the demo is built once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOPTRAIL_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def sets(tmp_path_factory, demo_questions):
    """The demo's questions in two: some to learn from, the rest to be measured on."""
    folder = tmp_path_factory.mktemp("demo")
    corpus = Path(__file__).resolve().parents[3] / "src" / "hoptrail" / "demo" / "corpus.jsonl"

    def some(name, questions) -> TrainingSet:
        file = folder / name
        records = [
            {
                "id": q.id,
                "question": q.text,
                "answers": list(q.answers),
                "supporting_ids": list(q.supporting_ids),
            }
            for q in questions
        ]
        file.write_text("".join(json.dumps(r) + "\n" for r in records), encoding="utf-8")
        return TrainingSet(corpus, file)

    return {
        "learn": some("learn.jsonl", demo_questions[:40]),
        "held out": some("held-out.jsonl", demo_questions[40:]),
        "few": some("few.jsonl", demo_questions[:8]),
    }


@pytest.fixture(scope="module")
def tiny_bert(tmp_path_factory, demo_passages, demo_questions) -> TransformerEncoder:
    """A transformer of one layer that knows no language but has the demo's words."""
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp("bert")
    texts = [p.content for p in demo_passages] + [q.text for q in demo_questions]
    letters = sorted({c for text in texts for c in text.lower() if not c.isspace()})
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = sorted({w for text in texts for w in text.lower().split() if w.isalpha()})
    vocabulary = dict.fromkeys([*specials, *letters, *(f"##{c}" for c in letters), *words])
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    BertTokenizerFast(vocab_file=str(folder / "vocab.txt")).save_pretrained(folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = BertConfig(
            vocab_size=len(vocabulary),
            hidden_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=256,
        )
        BertModel(config).save_pretrained(folder)
    return TransformerEncoder(folder, device="cpu")


def weights(folder: Path) -> bytes:
    return (folder / WEIGHTS).read_bytes()


def test_imitation_learns_what_carries_over(sets, tmp_path, demo, demo_questions) -> None:
    """Held-out questions on the same passages, against the same untrained and plain search."""
    config = replace(SMALL, epochs=6, batch=8, network=NetworkConfig(width=24, layers=1))
    card = train(
        TrainingData([sets["learn"]], dev=[sets["held out"]]),
        tmp_path / "policy",
        config,
        encoder=HashEncoder(),
    )
    trained = Policy.load(tmp_path / "policy")
    untrained = []
    for seed in range(3):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            untrained.append(Policy([type(trained.members[0])(config.network)]))
        untrained[-1].members[0].mean.copy_(trained.members[0].mean)
        untrained[-1].members[0].scale.copy_(trained.members[0].scale)

    held = demo_questions[40:]

    def recall(ranked) -> float:
        found = [recall_at(ids, q.supporting_ids, 5) for ids, q in zip(ranked, held, strict=True)]
        return sum(found) / len(found)

    def recall_of(policy) -> float:
        walks = demo.walker(policy).retrieve([q.text for q in held], 5)
        return recall([demo.ids(walk.slots) for walk in walks])

    after = recall_of(trained)
    searched = recall([[hit.passage.id for hit in demo.store.search(q.text, 5)] for q in held])
    before = [recall_of(policy) for policy in untrained]
    assert after > np.mean(before) + 0.2, before
    assert after > searched
    assert card["dev"][0]["recall@5"] == pytest.approx(after, abs=1e-6)
    losses = [curve["loss"] for curve in card["curves"]]
    assert losses[-1] < 0.7 * losses[0]
    assert card["questions"] == 40
    assert trained.card == card
    text = (tmp_path / "policy" / "README.md").read_text(encoding="utf-8")
    assert "recall@5" in text
    assert "objective: imitation" in text
    assert not (tmp_path / "policy" / TENSORS).exists()


def test_the_seed_decides(sets, tmp_path) -> None:
    for name, seed in [("a", 3), ("b", 3), ("c", 4)]:
        config = replace(SMALL, seed=seed, epochs=1)
        run(sets["few"], tmp_path / name, config)
        torch.rand(1)  # what else draws from torch's generator must not matter
    assert weights(tmp_path / "a") == weights(tmp_path / "b")
    assert weights(tmp_path / "a") != weights(tmp_path / "c")


TWO_STAGES = replace(SMALL, objective="imitation,reinforce", networks=2, tuning_epochs=2)


@pytest.fixture(scope="module")
def never_stopped(sets, tmp_path_factory):
    """A run of two networks through two stages: its card and its weights."""
    out = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer_module, "SAMPLED", 3)
        card = run(sets["few"], out, TWO_STAGES)
    return card, weights(out)


@pytest.mark.parametrize(
    ("label", "step"),
    [
        ("imitation, network 1, epoch 2", 1),
        ("reinforce, network 1, epoch 1", 1),
        ("reinforce, network 1, epoch 2", 2),
        ("imitation, network 2, epoch 1", 1),
        ("reinforce, network 2, epoch 2", 1),
    ],
)
def test_taken_up_again_it_ends_as_if_never_stopped(
    sets, tmp_path, monkeypatch, never_stopped, label, step
) -> None:
    monkeypatch.setattr(trainer_module, "SAMPLED", 3)
    given = {"config": TWO_STAGES, "encoder": HashEncoder()}
    with pytest.raises(Stopped):
        run(sets["few"], tmp_path, **given, progress=stop_at(label, step))
    assert not (tmp_path / WEIGHTS).exists()
    torn = run(sets["few"], tmp_path, **given, resume=True)
    whole, expected = never_stopped
    assert weights(tmp_path) == expected
    assert torn["curves"] == whole["curves"]
    places = [(c["network"], c["stage"], c["epoch"]) for c in torn["curves"]]
    assert len(places) == len(set(places)) == 2 * (2 + 2)


def test_all_stages_run_and_are_taken_up(sets, tmp_path, tiny_bert) -> None:
    config = replace(SMALL, objective="imitation,marginal,reinforce", epochs=1, tuning_epochs=2)
    given = {"config": config, "encoder": tiny_bert}
    card = run(sets["few"], tmp_path / "whole", **given)
    by_stage = {curve["stage"]: curve for curve in card["curves"]}
    assert list(by_stage) == ["imitation", "marginal", "reinforce"]
    assert 0 < by_stage["marginal"]["prior mass covered"] <= 1
    assert 0 < by_stage["marginal"]["answerable"] <= 1
    assert by_stage["reinforce"]["return"] > -1
    with pytest.raises(Stopped):
        at = stop_at("marginal, network 1, epoch 2", 1)
        run(sets["few"], tmp_path / "torn", **given, progress=at)
    run(sets["few"], tmp_path / "torn", **given, resume=True)
    assert weights(tmp_path / "whole") == weights(tmp_path / "torn")
    reader = load_reader(tmp_path / "whole")
    again = load_reader(tmp_path / "torn").state_dict()
    assert all(torch.equal(value, again[name]) for name, value in reader.state_dict().items())
    question, content = "who?", "Colin Archer built the Fram."
    encoded = tiny_bert.encode_tokens([encoded_text(question, content)])
    answer, probability = reader.predict(
        trail_tokens(question, [content], encoded, dim=tiny_bert.dim)
    )
    assert answer in content or answer in ("yes", "no", "")
    assert 0 < probability <= 1


def test_a_reader_that_is_absent_or_damaged_is_told(tmp_path) -> None:
    with pytest.raises(PolicyError, match="only the objective marginal trains one"):
        load_reader(tmp_path)
    (tmp_path / "reader.safetensors").write_bytes(b"nothing of the kind")
    with pytest.raises(PolicyError, match="damaged"):
        load_reader(tmp_path)


@pytest.mark.parametrize(
    "objective", ["reinforce", "imitation, reinforce", "imitation, reinforce, imitation"]
)
def test_stages_by_name(sets, tmp_path, objective) -> None:
    config = replace(SMALL, objective=objective, epochs=1)
    card = run(sets["few"], tmp_path / "p", config)
    assert [curve["stage"] for curve in card["curves"]] == config.stages
    assert Policy.load(tmp_path / "p").card["objective"] == objective


def test_a_checkpoint_of_another_run_is_refused_before_anything_slow(
    sets, tmp_path, monkeypatch
) -> None:
    out, encoder = tmp_path / "p", HashEncoder()
    with pytest.raises(Stopped):
        at = stop_at("imitation, network 1, epoch 2", 1)
        run(sets["few"], out, SMALL, encoder=encoder, progress=at)

    def too_slow(*args):
        pytest.fail("it began to read the corpora")

    monkeypatch.setattr(train_module, "prepare_examples", too_slow)
    for config, data in [(replace(SMALL, seed=1), "few"), (SMALL, "learn")]:
        with pytest.raises(PolicyError, match="other settings or data"):
            run(sets[data], out, config, encoder=encoder, resume=True)
    with pytest.raises(PolicyError, match="other settings or data"):
        run(sets["few"], out, SMALL, encoder=HashEncoder(8), resume=True)
    file = out / TENSORS
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(PolicyError, match="damaged"):
        run(sets["few"], out, SMALL, encoder=encoder, resume=True)


def test_without_resume_a_run_begins_anew(sets, tmp_path) -> None:
    out, encoder = tmp_path / "p", HashEncoder()
    with pytest.raises(Stopped):
        at = stop_at("imitation, network 1, epoch 2", 1)
        run(sets["few"], out, SMALL, encoder=encoder, progress=at)
    other = replace(SMALL, seed=1)
    run(sets["few"], out, other, encoder=encoder)
    run(sets["few"], tmp_path / "q", other, encoder=encoder, resume=True)
    assert weights(out) == weights(tmp_path / "q")


def test_a_card_says_what_it_was_trained_on(sets, tmp_path) -> None:
    command = "hoptrail train --set corpus.jsonl few.jsonl"
    config = replace(SMALL, epochs=1)
    card = train(
        TrainingData([sets["few"], sets["few"]]),
        tmp_path / "p",
        config,
        encoder=HashEncoder(),
        options=RunOptions(command=command),
    )
    assert card["questions"] == 16
    assert card["command"] == command
    assert [one["questions"].split("/")[-1] for one in card["sets"]] == ["few.jsonl"] * 2
    assert card["config"]["network"]["width"] == 8
    assert card["encoder"] == "hash-32"
    assert card["dev"] == []


def test_questions_are_varied_and_the_seed_decides(sets, tmp_path) -> None:
    config = replace(SMALL, epochs=1, augmentation_share=0.5)
    card = run(sets["learn"], tmp_path / "a", config)
    assert card["questions"] == 40
    assert (
        20 < card["varied"] <= 32
    )  # 20 over untitled passages, and up to 12 of the inverse cloze task
    run(sets["learn"], tmp_path / "b", config)
    assert weights(tmp_path / "a") == weights(tmp_path / "b")
    plain = replace(config, augmentation_share=0.0)
    assert run(sets["learn"], tmp_path / "c", plain)["varied"] == 0
    assert weights(tmp_path / "a") != weights(tmp_path / "c")


@pytest.fixture
def lessons(monkeypatch) -> list[tuple[StageRun, list]]:
    """What is learned from: for each step the network in its stage, and its batch."""
    taken = []
    take = StageRun._step

    def step(run, batch, rng):
        taken.append((run, batch))
        return take(run, batch, rng)

    monkeypatch.setattr(StageRun, "_step", step)
    return taken


def test_variants_of_what_is_left_out_are_left_out_too(
    sets, tmp_path, monkeypatch, lessons
) -> None:
    monkeypatch.setattr(stop, "LEAST_LEFT_OUT", 2)
    unseen = []

    def calibrate_stop(network, examples, *rest, **options):
        unseen.extend(examples)
        return fit(network, examples, *rest, **options)

    fit = trainer_module.calibrate_stop
    monkeypatch.setattr(trainer_module, "calibrate_stop", calibrate_stop)
    config = replace(SMALL, epochs=1, augmentation_share=1.0)
    run(sets["learn"], tmp_path / "p", config)
    first, last = lessons[0][0], lessons[-1][0]
    questions = {example.question for example in unseen}
    assert questions
    assert all(example.source is Source.GIVEN for example in unseen)
    learned = [e for stage, batch in lessons if stage is first for e in batch]
    assert {e.question for e in learned} > questions
    calibrator = [e for stage, batch in lessons if stage is last for e in batch]
    assert {e.source for e in calibrator} == {Source.GIVEN, Source.AUGMENTED}
    assert not questions & {e.question for e in calibrator}


def test_every_other_network_learns_from_augmented_questions(sets, tmp_path, lessons) -> None:
    config = replace(SMALL, epochs=1, networks=3, augmentation_share=1.0)
    run(sets["few"], tmp_path / "p", config)
    sources: dict[StageRun, set[Source]] = {}
    for stage, batch in lessons:
        sources.setdefault(stage, set()).update(example.source for example in batch)
    both, given = {Source.GIVEN, Source.AUGMENTED}, {Source.GIVEN}
    assert list(sources.values()) == [both, given, both]


def test_augmented_questions_are_for_imitation_alone(sets, tmp_path, lessons) -> None:
    config = replace(SMALL, epochs=1, augmentation_share=1.0, objective="imitation,reinforce")
    run(sets["few"], tmp_path / "p", config)
    assert {(stage.stage, e.source) for stage, batch in lessons for e in batch} == {
        ("imitation", Source.GIVEN),
        ("imitation", Source.AUGMENTED),
        ("reinforce", Source.GIVEN),
    }


def test_mentions_are_shown_as_links_of_a_share_of_the_questions(sets, tmp_path, lessons) -> None:
    config = replace(SMALL, epochs=4, mentions_as_links=0.5)
    run(sets["few"], tmp_path / "p", config)
    views = [example for _, batch in lessons for example in batch]
    assert 0 < sum(view.mentions_as_links for view in views) < len(views)
    by_question: dict[str, set[bool]] = {}
    for view in views:
        by_question.setdefault(view.question.id, set()).add(view.mentions_as_links)
    assert {True, False} in by_question.values()  # an epoch leaves no trace in the next


def test_progress_is_told_to_the_end(sets, tmp_path) -> None:
    seen: dict[str, list[tuple[int, int]]] = {}

    def progress(stage, done, total, figures) -> None:
        seen.setdefault(stage, []).append((done, total))

    train(
        TrainingData([sets["few"]], dev=[sets["few"]]),
        tmp_path / "p",
        SMALL,
        encoder=HashEncoder(),
        options=RunOptions(progress=progress),
    )
    assert any(stage.startswith("prepare") for stage in seen)
    assert any(stage.startswith("measure") for stage in seen)
    for stage, steps in seen.items():
        assert steps[-1][0] == steps[-1][1], stage
        assert [done for done, _ in steps] == sorted(done for done, _ in steps)


def test_what_cannot_be_trained_on(sets, tmp_path) -> None:
    def questions(name, *records) -> TrainingSet:
        file = tmp_path / name
        file.write_text("".join(json.dumps(r) + "\n" for r in records), encoding="utf-8")
        return TrainingSet(sets["few"].corpus, file)

    with pytest.raises(InputError, match="nothing to train on"):
        run(questions("no-gold.jsonl", {"id": "q", "question": "What is it?"}), tmp_path / "p")
    lost = {"id": "q", "question": "What is it?", "supporting_ids": ["no-such"]}
    with pytest.raises(FormatError, match="'no-such'"):
        run(questions("lost.jsonl", lost), tmp_path / "p")
    with pytest.raises(FormatError, match="nowhere"):
        run(TrainingSet(tmp_path / "nowhere.jsonl", sets["few"].questions), tmp_path / "p")


def test_a_folder_that_cannot_be_made_is_told_at_once(sets, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(train_module, "prepare_examples", lambda *_: pytest.fail("too late"))
    (tmp_path / "file").touch()
    with pytest.raises(PolicyError, match="file cannot be written: it is no folder"):
        run(sets["few"], tmp_path / "file", SMALL)


def test_an_encoder_without_tokens_is_told_at_once(sets, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(train_module, "prepare_examples", lambda *_: pytest.fail("too late"))
    config = replace(SMALL, objective="imitation,marginal")
    with pytest.raises(ConfigError, match="TransformerEncoder, got HashEncoder"):
        run(sets["few"], tmp_path / "p", config)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"objective": "imitation,magic"}, "unknown objective"),
        ({"objective": " , "}, "unknown objective"),
        ({"networks": 0}, "at least 1"),
        ({"epochs": 0}, "at least 1"),
        ({"tuning_epochs": 0}, "at least 1"),
        ({"tuning_rate": 0.0}, "tuning_rate must be above 0"),
        ({"learning_rate": float("nan")}, "learning_rate must be above 0"),
        ({"epochs": 2.5}, "epochs must be a whole number of at least 1, got 2.5"),
        ({"networks": True}, "networks must be a whole number"),
        ({"mentions_as_links": "much"}, "mentions_as_links is a share"),
        ({"batch": 0}, "at least 1"),
        ({"samples": 1}, "at least 2"),
        ({"objective": ""}, "unknown objective"),
        ({"self_supervised": -1}, "self_supervised must be a whole number of at least 0"),
        ({"self_supervised": 5, "self_supervised_epochs": 0}, "at least 1"),
        ({"effort": "heroic"}, "no effort 'heroic'"),
    ],
)
def test_settings_out_of_range_are_refused(wrong, says) -> None:
    with pytest.raises(ConfigError, match=says):
        TrainConfig(**wrong)


def test_stop_is_calibrated_by_a_network_that_did_not_see_some_questions(
    sets, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(stop, "LEAST_LEFT_OUT", 2)
    config = replace(SMALL, networks=2)
    card = run(sets["learn"], tmp_path / "out", config)
    last = card["curves"][-1]
    assert (last["stage"], last["network"]) == ("calibration", 2)
    assert {c["network"] for c in card["curves"] if c["stage"] == "imitation"} == {0, 1, 2}
    policy = Policy.load(tmp_path / "out")
    assert len(policy.members) == 2
    for member in policy.members:
        assert float(member.stop_scale) == pytest.approx(last["scale"])
        assert float(member.stop_shift) == pytest.approx(last["shift"])

    def stop_before_judging(stage, done, total, figures) -> None:
        if stage == "imitation, network 3, epoch 2":
            raise Stopped

    torn = tmp_path / "torn"
    with pytest.raises(Stopped):
        run(sets["learn"], torn, config, progress=stop_before_judging)
    again = run(sets["learn"], torn, config, resume=True)
    assert again["curves"] == card["curves"]
    assert (torn / WEIGHTS).read_bytes() == (tmp_path / "out" / WEIGHTS).read_bytes()


def test_it_learns_from_passages_alone(sets, tmp_path, demo, demo_questions) -> None:
    """No label is seen; what is asked afterwards are people's questions about the same passages."""
    corpus = sets["few"].corpus
    config = replace(
        SMALL,
        objective="",
        self_supervised=60,
        self_supervised_epochs=6,
        batch=8,
        network=NetworkConfig(width=24, layers=1),
    )
    card = train(TrainingData(unlabelled=[corpus]), tmp_path / "p", config, encoder=HashEncoder())
    assert (card["objective"], card["questions"], card["made"]) == ("self-supervised", 0, 60)
    assert "corpus.jsonl" in card["unlabelled"][0]
    assert "60 made from passages" in (tmp_path / "p" / "README.md").read_text(encoding="utf-8")
    losses = [curve["loss"] for curve in card["curves"]]
    assert losses[-1] < 0.7 * losses[0]

    def recall(ranked) -> float:
        pairs = zip(ranked, demo_questions, strict=True)
        return float(np.mean([recall_at(ids, q.supporting_ids, 5) for ids, q in pairs]))

    walks = demo.walker(Policy.load(tmp_path / "p"), "fast").retrieve(
        [q.text for q in demo_questions], 5
    )
    hits = [demo.store.search(q.text, 5) for q in demo_questions]
    assert recall([demo.ids(walk.slots) for walk in walks]) > recall(
        [[hit.passage.id for hit in found] for found in hits]
    )


def test_a_store_is_a_corpus_too_and_a_policy_is_gone_on_from(demo, sets, tmp_path) -> None:
    config = replace(SMALL, objective="", self_supervised=12, self_supervised_epochs=1, epochs=1)
    stored = train(
        TrainingData(unlabelled=[demo.store.path]), tmp_path / "a", config, encoder=HashEncoder()
    )
    corpus = train(
        TrainingData(unlabelled=[sets["few"].corpus]), tmp_path / "b", config, encoder=HashEncoder()
    )
    assert stored["curves"] == corpus["curves"]
    assert weights(tmp_path / "a") == weights(tmp_path / "b")
    start = Policy.load(tmp_path / "a")
    both = replace(config, networks=3, network=NetworkConfig(), objective="imitation")
    card = run(sets["few"], tmp_path / "c", both, start=start)
    assert card["objective"] == "self-supervised, imitation"
    assert [curve["stage"] for curve in card["curves"]] == ["self-supervised", "imitation"]
    found = Policy.load(tmp_path / "c")
    assert (found.config, len(found.members)) == (start.config, 1)
    torch.testing.assert_close(found.members[0].mean, start.members[0].mean)
    assert found.fingerprint != start.fingerprint


def test_a_trained_policy_keeps_half_of_itself_when_it_learns_from_passages_alone(
    sets, tmp_path
) -> None:
    config = replace(SMALL, objective="", self_supervised=8, self_supervised_epochs=2)
    data, encoder = TrainingData(unlabelled=[sets["few"].corpus]), HashEncoder()
    train(data, tmp_path / "start", config, encoder=encoder)
    start = Policy.load(tmp_path / "start")
    ends = {}
    for share in (0.0, 0.5, 1.0):
        changed = replace(config, seed=1, weight_average=share)
        train(data, tmp_path / str(share), changed, encoder=encoder, start=start)
        ends[share] = Policy.load(tmp_path / str(share))
    for begun, gone, half, same in zip(
        *(policy.parameters() for policy in (start, ends[0.0], ends[0.5], ends[1.0])), strict=True
    ):
        torch.testing.assert_close(half, (begun + gone) / 2)
        torch.testing.assert_close(same, begun)
    assert ends[0.0].fingerprint != start.fingerprint
    with pytest.raises(ConfigError, match="weight_average is a share"):
        replace(config, weight_average=1.5)


def test_stopped_after_it_learned_from_passages_it_ends_as_if_never_stopped(sets, tmp_path) -> None:
    config = replace(SMALL, self_supervised=8, self_supervised_epochs=1)
    given = {"config": config, "encoder": HashEncoder()}
    run(sets["few"], tmp_path / "start", **given)
    given["start"] = Policy.load(tmp_path / "start")
    run(sets["few"], tmp_path / "whole", **given)
    with pytest.raises(Stopped):
        at = stop_at("imitation, network 1, epoch 1", 1)
        run(sets["few"], tmp_path / "torn", **given, progress=at)
    run(sets["few"], tmp_path / "torn", **given, resume=True)
    assert weights(tmp_path / "whole") == weights(tmp_path / "torn")


@pytest.fixture(scope="module")
def unlabelled(sets, demo_questions) -> dict[str, TrainingSet]:
    """The demo's questions with answers only, and with nothing."""
    few = sets["few"]

    def bare(name: str, **fields) -> TrainingSet:
        file = few.questions.with_name(name)
        records = [{"id": q.id, "question": q.text} for q in demo_questions[:8]]
        answers = [{"answers": list(q.answers)} if fields else {} for q in demo_questions[:8]]
        lines = [json.dumps({**r, **a}) + "\n" for r, a in zip(records, answers, strict=True)]
        file.write_text("".join(lines), encoding="utf-8")
        return TrainingSet(few.corpus, file)

    return {"answers": bare("answers.jsonl", answers=True), "nothing": bare("nothing.jsonl")}


def test_answers_alone_are_enough(unlabelled, tmp_path, tiny_bert) -> None:
    """The evidence is latent: no question of the file names a passage."""
    config = replace(SMALL, objective="marginal,reinforce", effort="fast")
    card = run(unlabelled["answers"], tmp_path / "p", config, encoder=tiny_bert)
    first, second = card["curves"]
    assert (first["stage"], second["stage"]) == ("marginal", "reinforce")
    assert 0 < first["answerable"] <= 1
    assert -1 < second["return"] <= 1
    assert card["reward"] == "evidence or answer"


def untrained() -> Policy:
    """A policy that knows nothing yet."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Policy([PolicyNetwork(SMALL.network)]).eval()


def test_evidence_is_inferred_from_answers(unlabelled, tmp_path, lessons) -> None:
    """Imitation then learns where no question of the file names a passage."""
    start = untrained()
    config = replace(SMALL, objective="imitation,reinforce", infer_evidence=True, effort="fast")
    card = run(unlabelled["answers"], tmp_path / "p", config, start=start)
    assert card["inferred"] > 0
    assert card["questions"] == 0
    assert card["inferred"] + card["not_inferred"] == 7  # one is answered by yes or no
    assert card["curves"][-1]["stage"] == "reinforce"  # STOP is calibrated on what people named
    taught = {
        e.question.id for stage, batch in lessons if stage.stage == "imitation" for e in batch
    }
    assert len(taught) == card["inferred"]
    assert Policy.load(tmp_path / "p").fingerprint != start.fingerprint
    assert (
        f"{card['inferred']} more with evidence inferred" in (tmp_path / "p/README.md").read_text()
    )


def test_inferred_evidence_counts_as_much_as_it_is_probable(small, random_policy) -> None:
    """And STOP is not learned from it: with all of it read, more may be missing."""
    policy = random_policy(spread=1.0)
    gold = small.slots("p-ada-lind", "p-varn")
    sure = small.example("Where was Ada Lind born?", gold)
    unsure = small.example("Which lake lies near Varn?", gold[1:])
    inferred = [
        replace(sure, source=Source.INFERRED, confidence=0.8),
        replace(unsure, source=Source.INFERRED, confidence=0.1),
    ]
    objective = make_objective("imitation", policy, NextQueries(small.encoder), SMALL)

    def loss_of(examples) -> float:
        loss, _ = objective.loss(examples, np.random.default_rng(0))
        return float(loss.detach())

    def expected(examples, weights, complete) -> float:
        label_weights = LabelWeights(torch.tensor(weights), torch.tensor(complete))
        rng = np.random.default_rng(0)
        return float(imitation_loss(policy, examples, rng, label_weights=label_weights)[0].detach())

    examples = [sure, unsure]
    assert loss_of(inferred) == pytest.approx(expected(examples, [0.8, 0.1], [False, False]))
    assert loss_of([sure, inferred[1]]) == pytest.approx(
        expected(examples, [1.0, 0.1], [True, False])
    )
    assert loss_of(examples) == pytest.approx(
        float(imitation_loss(policy, examples, np.random.default_rng(0))[0].detach())
    )
    assert loss_of(inferred) != pytest.approx(expected(examples, [1.0, 1.0], [True, True]))


def test_a_policy_keeps_half_of_itself_beside_inferred_evidence(unlabelled, tmp_path) -> None:
    start, weights = untrained(), {}
    for share in (0.0, 0.5):
        config = replace(SMALL, infer_evidence=True, effort="fast", weight_average=share)
        run(unlabelled["answers"], tmp_path / str(share), config, start=start)
        weights[share] = list(Policy.load(tmp_path / str(share)).members.parameters())
    for before, after, half in zip(start.members.parameters(), *weights.values(), strict=True):
        torch.testing.assert_close(half, (before + after) / 2, atol=1e-4, rtol=1e-3)


def test_evidence_that_cannot_be_inferred_is_told(unlabelled, sets, tmp_path) -> None:
    config = replace(SMALL, infer_evidence=True, effort="fast")
    with pytest.raises(ConfigError, match="a policy to go on from"):
        run(unlabelled["answers"], tmp_path / "p", config)
    with pytest.raises(InputError, match="or answers that are not yes or no"):
        run(unlabelled["nothing"], tmp_path / "p", config, start=untrained())
    file = tmp_path / "absent.jsonl"
    file.write_text('{"id": "a", "question": "Who is it?", "answers": ["Zanzibar Quux"]}\n')
    absent = TrainingSet(sets["few"].corpus, file)
    with pytest.raises(InputError, match="could be inferred for any of 1 questions"):
        run(absent, tmp_path / "p", config, start=untrained())


def test_a_reward_alone_is_enough(unlabelled, tmp_path) -> None:
    """A function of the caller's: here reading as much as can be is all that counts."""
    config = replace(
        SMALL, objective="reinforce", tuning_epochs=6, tuning_rate=3e-3, hop_cost=0.0, samples=8
    )
    config = replace(
        config, entropy_weight=0.0, effort="fast", reward=lambda question, read: len(read) / 4
    )
    card = run(unlabelled["nothing"], tmp_path / "p", config)
    read = [curve["passages read"] for curve in card["curves"]]
    assert read[-1] > read[0] or read[-1] > 3.8
    assert card["questions"] == 8


@pytest.mark.parametrize(
    ("objective", "needs"),
    [("imitation", "supporting_ids"), ("marginal", "answers"), ("reinforce", "a reward")],
)
def test_a_file_that_lacks_what_an_objective_needs_is_told(
    unlabelled, tmp_path, monkeypatch, tiny_bert, objective, needs
) -> None:
    monkeypatch.setattr(preparation, "open_corpora", lambda *_: pytest.fail("too late"))
    config = replace(SMALL, objective=objective)
    with pytest.raises(InputError, match=needs):
        run(unlabelled["nothing"], tmp_path / "p", config, encoder=tiny_bert)


def test_nothing_to_learn_from_is_told(sets, tmp_path) -> None:
    alone = tmp_path / "alone.jsonl"
    alone.write_text('{"id": "a", "text": "alder grows."}\n', encoding="utf-8")
    config = replace(SMALL, objective="", self_supervised=5)
    with pytest.raises(InputError, match="no question could be made"):
        train(TrainingData(unlabelled=[alone]), tmp_path / "p", config, encoder=HashEncoder())
    with pytest.raises(InputError, match="no question could be made"):
        show_pseudo_questions([alone], count=5, seed=0, encoder=HashEncoder())
    for wrong, given in ((SMALL, [sets["few"].corpus]), (config, [])):
        with pytest.raises(InputError, match="nothing to train on"):
            train(TrainingData(unlabelled=given), tmp_path / "p", wrong, encoder=HashEncoder())


HASTY = replace(SMALL, epochs=12, learning_rate=0.1, stop_after=2, held_out=0.4, seed=1)


@pytest.fixture(scope="module")
def ended_early(sets, tmp_path_factory):
    """A run that ended by what is held out: its card and its weights."""
    out = tmp_path_factory.mktemp("early")
    return run(sets["few"], out, HASTY), weights(out)


def test_imitation_ends_when_what_is_held_out_is_learned_no_better(
    ended_early, sets, tmp_path
) -> None:
    card, expected = ended_early
    losses = [curve["held_out_loss"] for curve in card["curves"]]
    best = int(np.argmin(losses))
    assert len(losses) == best + 1 + 2 < 12
    assert card["held_out"] == 3
    assert card["config"]["stop_after"] == 2
    # Whoever never stops, and is judged all the same, has the same losses, and then its best.
    longer = run(sets["few"], tmp_path / "longer", replace(HASTY, stop_after=12))
    assert [curve["held_out_loss"] for curve in longer["curves"]][: len(losses)] == losses
    if min(curve["held_out_loss"] for curve in longer["curves"]) == losses[best]:
        assert weights(tmp_path / "longer") == expected
    plain = run(sets["few"], tmp_path / "plain", replace(HASTY, stop_after=None))
    assert "held_out" not in plain
    assert weights(tmp_path / "plain") != expected


@pytest.mark.parametrize("epoch", [2, 4])
def test_taken_up_again_it_ends_early_where_it_would_have(
    ended_early, sets, tmp_path, epoch
) -> None:
    card, expected = ended_early
    assert len(card["curves"]) > epoch
    with pytest.raises(Stopped):
        stop = stop_at(f"imitation, network 1, epoch {epoch}", 1)
        run(sets["few"], tmp_path, HASTY, progress=stop)
    torn = run(sets["few"], tmp_path, HASTY, resume=True)
    assert torn["curves"] == card["curves"]
    assert weights(tmp_path) == expected


def test_no_stage_learns_from_what_is_held_out(sets, tmp_path, lessons) -> None:
    config = replace(HASTY, epochs=1, objective="imitation,reinforce", augmentation_share=1.0)
    card = run(sets["few"], tmp_path / "p", config)
    learned = [example for _, batch in lessons for example in batch]
    asked_by_people = {e.question for e in learned if e.source is Source.GIVEN}
    assert len(asked_by_people) == 8 - card["held_out"] == 5
    varied = {e.question.id for e in learned if e.source is Source.AUGMENTED}
    lines = sets["few"].questions.read_text(encoding="utf-8").splitlines()
    people = {json.loads(line)["id"] for line in lines}
    assert varied & people <= {question.id for question in asked_by_people}
    assert ["held_out_loss" in curve for curve in card["curves"]] == [True, False]


def test_early_stopping_that_cannot_be_is_told(sets, tmp_path) -> None:
    with pytest.raises(ConfigError, match="stop_after is 2, and no question is held out"):
        run(sets["few"], tmp_path / "p", replace(HASTY, held_out=0.05))
    with pytest.raises(ConfigError, match="stop_after is 2, and is for imitation"):
        replace(HASTY, objective="reinforce")
    with pytest.raises(ConfigError, match="held_out must be above 0 and below 1, got 1"):
        replace(HASTY, held_out=1)
