"""A trained reformulator: its file, whom it suits, and what it does to queries."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from hoptrail.errors import FormatError, PolicyError
from hoptrail.memory.encoders.disk_cache import CachedEncoder
from hoptrail.memory.encoders.query_side import for_questions
from hoptrail.memory.encoders.transformer import TransformerEncoder
from hoptrail.memory.testing.hash_encoder import HashEncoder
from hoptrail.policies.environment.reformulation import Reformulator
from hoptrail.policies.policy import Policy
from hoptrail.policies.reformulation.learned import FILE, LearnedReformulator

TEXTS = ["who built it", "the old bridge", "city under the river | who"]


@pytest.fixture
def other_transformer(tiny_bert, tmp_path) -> TransformerEncoder:
    """One of the same shape with other weights."""
    import shutil

    import torch
    from transformers import BertModel

    folder = tmp_path / "other-bert"
    shutil.copytree(tiny_bert, folder)
    for record in folder.glob("hoptrail*"):
        record.unlink()
    model = BertModel.from_pretrained(folder)
    with torch.no_grad():
        model.embeddings.word_embeddings.weight.mul_(-1.5)
    model.save_pretrained(folder)
    return TransformerEncoder(folder, device="cpu")


def test_a_file_brings_back_what_was_written(random_reformulator, tmp_path) -> None:
    learned = random_reformulator()
    assert LearnedReformulator.load(tmp_path / FILE) is None
    learned.save(tmp_path / FILE)
    again = LearnedReformulator.load(tmp_path / FILE)
    assert (again.base, again.fingerprint, again.size) == (
        learned.base,
        learned.fingerprint,
        learned.size,
    )
    assert again.factors.keys() == learned.factors.keys()
    for name, pair in learned.factors.items():
        for one, other in zip(pair, again.factors[name], strict=True):
            assert one.dtype == other.dtype == np.float16
            np.testing.assert_array_equal(one, other)
    for name, tensor in learned.latent.tensors().items():
        np.testing.assert_array_equal(again.latent.tensors()[name], tensor)
    assert [file.name for file in tmp_path.iterdir()] == [FILE]


def test_a_fingerprint_tells_reformulators_apart(random_reformulator, transformer) -> None:
    one, same, other = (random_reformulator(seed) for seed in (1, 1, 2))
    assert one.fingerprint == same.fingerprint != other.fingerprint
    mixed = LearnedReformulator(one.base, one.factors, other.latent)
    assert mixed.fingerprint not in (one.fingerprint, other.fingerprint)
    assert len({r.query_encoder(transformer).fingerprint for r in (one, same, mixed)}) == 1
    assert (
        other.query_encoder(transformer).fingerprint != one.query_encoder(transformer).fingerprint
    )


def without(name: str):
    def damage(file) -> None:
        metadata = {"reformulator": json.dumps({"base": "x"})}
        tensors = {n: t for n, t in load_file(file).items() if not n.startswith(name)}
        save_file(tensors, file, metadata=metadata)

    return damage


def without_metadata(file) -> None:
    save_file(load_file(file), file)


def cut(file) -> None:
    file.write_bytes(file.read_bytes()[:-40])


def other_bytes(file) -> None:
    file.write_bytes(b"not tensors at all")


def not_finite(file) -> None:
    tensors = load_file(file)
    tensors["latent.shares"][0] = np.nan
    save_file(tensors, file, metadata={"reformulator": json.dumps({"base": "x"})})


def of_another_shape(file) -> None:
    tensors = load_file(file)
    tensors["latent.leave"] = tensors["latent.leave"][:-1].copy()
    save_file(tensors, file, metadata={"reformulator": json.dumps({"base": "x"})})


@pytest.mark.parametrize(
    "damage",
    [
        cut,
        other_bytes,
        without_metadata,
        not_finite,
        of_another_shape,
        without("b."),
        without("latent.enter"),
    ],
)
def test_a_damaged_file_is_refused_in_a_sentence(random_reformulator, tmp_path, damage) -> None:
    file = tmp_path / FILE
    random_reformulator().save(file)
    damage(file)
    with pytest.raises(PolicyError, match=f"{FILE} is damaged"):
        LearnedReformulator.load(file)


def test_it_changes_queries_and_leaves_the_encoder_alone(random_reformulator, transformer) -> None:
    before, fingerprint = transformer.encode(TEXTS), transformer.fingerprint
    learned = random_reformulator()
    changed = learned.query_encoder(transformer)
    cosines = (changed.encode(TEXTS) * before).sum(1)
    assert cosines.max() < 0.95
    np.testing.assert_array_equal(transformer.encode(TEXTS), before)
    assert transformer.fingerprint == fingerprint
    assert changed.fingerprint != fingerprint
    assert changed.dim == transformer.dim
    assert learned.query_encoder(transformer) is changed
    assert learned.query_encoder(CachedEncoder(transformer)) is changed


def test_changes_of_nothing_change_nothing(random_reformulator, transformer) -> None:
    same = random_reformulator(spread=0.0).query_encoder(transformer)
    np.testing.assert_allclose(same.encode(TEXTS), transformer.encode(TEXTS), atol=1e-6)


def test_changes_of_another_network_are_refused(random_reformulator, transformer) -> None:
    learned = random_reformulator()
    factors = {f"elsewhere.{name}": pair for name, pair in learned.factors.items()}
    strange = LearnedReformulator(learned.base, factors, learned.latent)
    with pytest.raises(FormatError, match="do not fit"):
        strange.query_encoder(transformer).encode(TEXTS)


def test_whom_it_suits(random_reformulator, transformer, other_transformer) -> None:
    learned = random_reformulator()
    assert learned.suits(transformer)
    assert learned.suits(CachedEncoder(transformer))
    assert other_transformer.fingerprint != transformer.fingerprint
    assert not learned.suits(other_transformer)
    assert not learned.suits(HashEncoder())


def test_beside_another_encoder_the_fixed_rule_asks(
    random_reformulator, other_transformer, world, twelve
) -> None:
    for encoder in (other_transformer, HashEncoder()):
        place = world(twelve, encoder)
        place.learned = random_reformulator()
        assert place.reformulator().learned is None
        pool = place.pool("who built the old bridge")
        np.testing.assert_array_equal(pool.query(()).vector, pool.vector)
        evidence = pool.slots[:2]
        place.enter(pool, evidence)
        [expected] = for_questions(encoder).encode([pool.query(evidence).text])
        np.testing.assert_allclose(pool.query(evidence).vector, expected, atol=1e-5)


def test_a_policy_keeps_its_reformulator(random_policy, random_reformulator, tmp_path) -> None:
    policy = random_policy(2)
    policy.reformulator = random_reformulator()
    policy.save(tmp_path / "p")
    loaded = Policy.load(tmp_path / "p")
    assert loaded.reformulator.fingerprint == policy.reformulator.fingerprint
    assert loaded.first(1).reformulator is loaded.reformulator
    loaded.reformulator = None
    loaded.save(tmp_path / "p")
    assert not (tmp_path / "p" / FILE).exists()
    assert Policy.load(tmp_path / "p").reformulator is None


def test_somebody_else_s_tensors_are_not_written_over(random_policy, tmp_path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    save_file({"w": np.zeros(3, dtype=np.float32)}, theirs / FILE)
    with pytest.raises(PolicyError, match=FILE):
        random_policy().save(theirs)
    assert (theirs / FILE).exists()


def test_a_policy_that_has_asked_is_copied_whole(
    words, transformer, random_policy, random_reformulator
) -> None:
    """As learning from use copies what it starts from."""
    policy = random_policy()
    policy.reformulator = random_reformulator()
    [walk] = words.walker(policy).retrieve(["who built the old bridge"], 5)
    copied = copy.deepcopy(policy)
    [again] = words.walker(copied).retrieve(["who built the old bridge"], 5)
    np.testing.assert_array_equal(again.slots, walk.slots)
    np.testing.assert_allclose(again.scores, walk.scores, rtol=1e-4)


def test_a_walk_is_asked_by_the_policy_s_own(words, random_policy, random_reformulator) -> None:
    """Were the reformulator left out on the way, trails would be those of the fixed rule."""
    policy, question = random_policy(), "who built the old bridge"
    [fixed] = words.walker(policy).retrieve([question], 30)
    policy.reformulator = random_reformulator()
    [learned] = words.walker(policy).retrieve([question], 30)
    policy.reformulator = random_reformulator(spread=0.0)
    [unchanged] = words.walker(policy).retrieve([question], 30)
    np.testing.assert_allclose(unchanged.scores, fixed.scores, rtol=1e-3)
    assert np.abs(learned.scores - fixed.scores).max() > 1e-3


@pytest.mark.parametrize("reencode", [True, False])
def test_the_first_query_and_the_next_are_the_changed_ones(
    words, transformer, random_reformulator, reencode
) -> None:
    words.learned = learned = random_reformulator()
    changed = learned.query_encoder(transformer)
    pool = words.pool("who built the old bridge")
    [first] = changed.encode([pool.question])
    np.testing.assert_allclose(pool.query(()).vector, first, atol=1e-4)
    np.testing.assert_allclose(pool.vector, transformer.encode([pool.question])[0], atol=1e-4)
    evidence = tuple(pool.slots[:3])
    words.enter(pool, evidence, reencode=reencode)
    query = pool.query(evidence)
    if reencode:
        [expected] = changed.encode([query.text])
    else:
        vectors = words.view.dense.vectors(np.asarray(evidence))
        owner = np.zeros(3, dtype=np.int64)
        [expected] = learned.latent.move(first[None], vectors, owner)
        assert query.text is None
    np.testing.assert_allclose(query.vector, expected, atol=1e-4)
    assert Reformulator(transformer, reencode=reencode, learned=learned).learned is learned
