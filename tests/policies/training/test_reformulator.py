"""Training reformulators: none has seen the questions of its part, and they find what misses."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from hoptrail.errors import ConfigError, InputError, PolicyError
from hoptrail.policies.data.corpora import OpenCorpus
from hoptrail.policies.data.training_data import TrainingData, TrainingSet
from hoptrail.policies.environment.reformulation import Reformulator
from hoptrail.policies.networks.network_config import NetworkConfig
from hoptrail.policies.policy import Policy
from hoptrail.policies.reformulation.cross_fit import PARTS, CrossFit, part_file, question_key
from hoptrail.policies.reformulation.learned import FILE
from hoptrail.policies.training import reformulator as module
from hoptrail.policies.training.config import RunOptions, TrainConfig
from hoptrail.policies.training.encoders.query_encoder import QueryEncoderConfig
from hoptrail.policies.training.reformulator import deal_out, train_reformulators
from hoptrail.policies.training.run import train
from hoptrail.types import Passage

QUICK = QueryEncoderConfig(rank=2, epochs=2, batch=4, learning_rate=1e-2, anchor=0.0)
NETWORK = TrainConfig(
    networks=1, epochs=1, batch=4, network=NetworkConfig(width=8, layers=1, dropout=0.0)
)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HOPTRAIL_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def lessons(monkeypatch) -> list[set[str]]:
    """The questions that each reformulator learned from, in the order of training."""
    seen: list[set[str]] = []
    encoder, network = module.train_factors, module.train_latent_query

    def train_factors(questions, *rest, **options):
        seen.append({question.text for question in questions})
        return encoder(questions, *rest, **options)

    def train_latent_query(questions, *rest, **options):
        assert {question.text for question in questions} == seen[-1]
        return network(questions, *rest, **options)

    monkeypatch.setattr(module, "train_factors", train_factors)
    monkeypatch.setattr(module, "train_latent_query", train_latent_query)
    return seen


def questions_of(one: TrainingSet) -> list[dict]:
    return [json.loads(line) for line in one.questions.read_text().splitlines()]


def test_a_part_s_reformulator_has_not_seen_its_questions(apart, base, tmp_path, lessons) -> None:
    folder = tmp_path / "asking"
    cross_fit = train_reformulators(TrainingData([apart]), folder, QUICK, encoder=base, parts=3)
    records = questions_of(apart)
    texts = {record["question"] for record in records}
    whole, *others = lessons
    assert whole == texts
    for part, seen in enumerate(others):
        of_part = {text for text in texts if cross_fit.part(text) == part}
        assert of_part
        assert seen == texts - of_part
    gold: dict[int, set[str]] = {}
    for record in records:
        part = cross_fit.part(record["question"])
        gold.setdefault(part, set()).update(record["supporting_ids"])
    assert len(gold) == len(cross_fit.parts) == 3
    assert sum(map(len, gold.values())) == len(set.union(*gold.values()))
    names = {one.fingerprint for one in (cross_fit.whole, *cross_fit.parts)}
    assert len(names) == 4
    assert {one.base for one in (cross_fit.whole, *cross_fit.parts)} == {base.fingerprint}
    assert CrossFit.load(folder).fingerprint() == cross_fit.fingerprint()
    assert sorted(file.name for file in folder.iterdir()) == sorted(
        [FILE, PARTS, *(part_file(folder, part).name for part in range(3))]
    )


def test_questions_of_a_namespace_or_of_one_text_stay_together(tmp_path, base) -> None:
    corpus, questions = tmp_path / "spaces.jsonl", tmp_path / "spaces-questions.jsonl"
    spaces = ["one", "two", "three"]
    passages = [
        {"id": f"p{i}", "text": f"bridge {i}", "namespace": [space]}
        for space in spaces
        for i in range(4)
    ]
    rows = [
        {
            "id": f"{space}-{i}",
            "question": f"who {space} {i}",
            "namespace": [space],
            "supporting_ids": [f"p{i}"],
        }
        for space in spaces
        for i in range(4)
    ]
    rows.append({**rows[0], "id": "again", "namespace": ["two"]})  # asked in two namespaces
    corpus.write_text("\n".join(map(json.dumps, passages)))
    questions.write_text("\n".join(map(json.dumps, rows)))
    opened = OpenCorpus(corpus, questions, base)
    try:
        parts = deal_out([opened], 2, seed=0)
        with pytest.raises(InputError, match="2 clusters"):
            deal_out([opened], 3, seed=0)
    finally:
        opened.close()
    by_space = {
        space: {parts[question_key(f"who {space} {i}")] for i in range(4)} for space in spaces
    }
    assert by_space["one"] == by_space["two"] != by_space["three"]
    assert all(len(part) == 1 for part in by_space.values())


def test_a_seed_deals_the_parts_out(apart, base) -> None:
    opened = OpenCorpus(apart.corpus, apart.questions, base)
    try:
        dealt = [deal_out([opened], 3, seed) for seed in (0, 0, 1, 2, 3)]
    finally:
        opened.close()
    assert dealt[0] == dealt[1]
    assert any(other != dealt[0] for other in dealt[2:])


def test_a_run_goes_on_with_what_is_there(apart, base, tmp_path, lessons) -> None:
    folder, data = tmp_path / "asking", TrainingData([apart])
    options = {"encoder": base, "parts": 2}
    train_reformulators(data, folder, QUICK, **options)
    with pytest.raises(PolicyError, match="--resume"):
        train_reformulators(data, folder, QUICK, **options)
    files = {file.name: file.read_bytes() for file in folder.iterdir()}
    times = {name: (folder / name).stat().st_mtime_ns for name in files if name != PARTS}
    part_file(folder, 1).unlink()
    lessons.clear()
    train_reformulators(data, folder, QUICK, resume=True, **options)
    assert len(lessons) == 1
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == files
    times.pop(part_file(folder, 1).name)
    assert all((folder / name).stat().st_mtime_ns == time for name, time in times.items())


def test_another_run_s_folder_is_refused(apart, one_set, base, tmp_path) -> None:
    folder, data = tmp_path / "asking", TrainingData([apart])
    train_reformulators(data, folder, QUICK, encoder=base, parts=2)
    files = {file.name: file.read_bytes() for file in folder.iterdir()}
    for other, config, parts in (
        (TrainingData([one_set]), QUICK, 2),
        (data, replace(QUICK, rank=3), 2),
        (data, QUICK, 3),
    ):
        with pytest.raises(PolicyError, match="of other data, settings or another encoder"):
            train_reformulators(other, folder, config, encoder=base, parts=parts, resume=True)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == files
    for text in ("{", "[]", "{}"):
        (folder / PARTS).write_text(text)
        with pytest.raises(PolicyError, match="damaged"):
            train_reformulators(data, folder, QUICK, encoder=base, parts=2, resume=True)


def test_what_cannot_be_divided_is_refused(apart, one_set, base, tmp_path) -> None:
    folder = tmp_path / "asking"
    for parts in (0, 1, 1.5):
        with pytest.raises(ConfigError, match="parts"):
            train_reformulators(TrainingData([apart]), folder, encoder=base, parts=parts)
    with pytest.raises(InputError, match="clusters"):
        train_reformulators(TrainingData([apart]), folder, encoder=base, parts=4)
    with pytest.raises(InputError, match="1 clusters"):
        train_reformulators(TrainingData([one_set]), folder, encoder=base, parts=2)
    assert not folder.exists()


def test_progress_says_which_and_comes_to_its_end(apart, base, tmp_path) -> None:
    seen: dict[str, list[tuple[int, int]]] = {}

    def progress(stage, done, total, figures) -> None:
        seen.setdefault(stage, []).append((done, total))

    train_reformulators(
        TrainingData([apart]), tmp_path / "a", QUICK, encoder=base, parts=2, progress=progress
    )
    of = ["all questions", "all but part 1 of 2", "all but part 2 of 2"]
    stages = [
        f"{stage}, {name}" for name in of for stage in ("query encoder", "query over vectors")
    ]
    assert [stage for stage in seen if stage in stages] == stages
    assert all(seen[stage][-1][0] == seen[stage][-1][1] for stage in stages)


@pytest.mark.parametrize("reencode", [True, False])
def test_it_finds_what_is_missing_better_than_the_encoder_as_it_was(
    apart, base, tmp_path, world, reencode
) -> None:
    """A reformulator that changed nothing would be no better than the fixed rule."""
    config = replace(QUICK, rank=4, epochs=16)
    data = TrainingData([apart])
    learned = train_reformulators(data, tmp_path / "asking", config, encoder=base, parts=2).whole
    records = [json.loads(line) for line in apart.corpus.read_text().splitlines()]
    place = world([Passage(record["id"], record["text"]) for record in records], base)

    def rank_of_missing(reformulator) -> float:
        place.learned = reformulator
        ranks = []
        for record in questions_of(apart):
            for near, missing in (record["supporting_ids"], record["supporting_ids"][::-1]):
                pool = place.pool(record["question"])
                evidence = place.slots(near)
                place.enter(pool, evidence, reencode=reencode)
                nearest = place.view.dense.search(pool.query(evidence).vector[None], 9)[1][0]
                order = [slot for slot in nearest.tolist() if slot not in evidence]
                ranks.append(order.index(place.view.slot_of(missing)))
        return float(np.mean(ranks))

    assert rank_of_missing(learned) < 0.7 * rank_of_missing(None)


def test_a_policy_is_trained_by_who_has_not_seen_its_questions(
    apart, base, tmp_path, monkeypatch
) -> None:
    data = TrainingData([apart])
    cross_fit = train_reformulators(data, tmp_path / "asking", QUICK, encoder=base, parts=2)
    questions_by_name: dict[str, set[str]] = {}
    ask = Reformulator.enter

    def enter(self, states, *how):
        name = self.learned.fingerprint
        questions_by_name.setdefault(name, set()).update(pool.question for pool, _ in states)
        return ask(self, states, *how)

    monkeypatch.setattr(Reformulator, "enter", enter)
    out = tmp_path / "policy"
    card = train(data, out, NETWORK, encoder=base, cross_fit=cross_fit)
    texts = {record["question"] for record in questions_of(apart)}
    for part, one in enumerate(cross_fit.parts):
        assert questions_by_name[one.fingerprint] == {t for t in texts if cross_fit.part(t) == part}
    assert cross_fit.whole.fingerprint not in questions_by_name
    assert Policy.load(out).reformulator.fingerprint == cross_fit.whole.fingerprint
    assert card["reformulator"] == cross_fit.made_of


def test_a_policy_takes_the_reformulator_of_what_it_starts_from(apart, base, tmp_path) -> None:
    data = TrainingData([apart])
    cross_fit = train_reformulators(data, tmp_path / "asking", QUICK, encoder=base, parts=2)
    train(data, tmp_path / "one", NETWORK, encoder=base, cross_fit=cross_fit)
    start = Policy.load(tmp_path / "one")
    train(data, tmp_path / "two", NETWORK, encoder=base, start=start)
    assert Policy.load(tmp_path / "two").reformulator.fingerprint == cross_fit.whole.fingerprint


def test_a_run_is_bound_to_its_encoder_and_its_reformulators(
    apart, base, tmp_path, hash_encoder
) -> None:
    data = TrainingData([apart])
    one, other = (
        train_reformulators(
            data, tmp_path / f"asking-{seed}", replace(QUICK, seed=seed), encoder=base, parts=2
        )
        for seed in (0, 1)
    )
    with pytest.raises(ConfigError, match=f"{base.fingerprint}.*{hash_encoder.fingerprint}"):
        train(data, tmp_path / "p", NETWORK, encoder=hash_encoder, cross_fit=one)

    class Stopped(Exception):
        pass

    def stop(stage, done, total, figures) -> None:
        if stage == "imitation, network 1, epoch 2":
            raise Stopped

    config = replace(NETWORK, epochs=2)
    try:
        train(
            data,
            tmp_path / "p",
            config,
            encoder=base,
            cross_fit=one,
            options=RunOptions(progress=stop),
        )
    except Stopped:
        with pytest.raises(PolicyError):
            train(
                data,
                tmp_path / "p",
                config,
                encoder=base,
                cross_fit=other,
                options=RunOptions(resume=True),
            )
    else:
        pytest.fail("the run came to its end")


def test_early_stopping_is_refused(apart, base, tmp_path) -> None:
    config = replace(QUICK, stop_after=2)
    with pytest.raises(ConfigError, match="stop_after is 2, and a reformulator makes all its"):
        train_reformulators(TrainingData([apart]), tmp_path, config, encoder=base)
