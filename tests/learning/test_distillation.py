"""Distillation, from an instant teacher and from a tiny network."""

from __future__ import annotations

import numpy as np
import pytest

from hoptrail.errors import ConfigError, InputError
from hoptrail.learning.distillation import DistillConfig, distill
from hoptrail.memory.encoders.disk_cache import CachedEncoder
from hoptrail.memory.testing.hash_encoder import HashEncoder

SMALL = DistillConfig(dim=16, steps=60, seeds=8)
QUESTIONS = ["Where was Ada Lind born?", "Which river flows into Lake Sorrel?"]


@pytest.fixture
def texts(twelve) -> list[str]:
    return [passage.content for passage in twelve]


def agreement(encoder, teacher, texts) -> float:
    """How the cosines of pairs of texts correlate with the teacher's."""
    pairs = np.triu_indices(len(texts), 1)
    ours, theirs = (e.encode(texts) @ e.encode(texts).T for e in (encoder, teacher))
    return float(np.corrcoef(ours[pairs], theirs[pairs])[0, 1])


def test_the_fit_brings_the_table_s_cosines_to_the_teacher_s(texts) -> None:
    teacher = HashEncoder(32)
    before = distill(texts, teacher, config=DistillConfig(dim=16, steps=0, seeds=8))
    after = distill(texts, teacher, questions=QUESTIONS, config=SMALL)
    assert agreement(after, teacher, texts) > agreement(before, teacher, texts) + 0.02
    assert after.dim == 16
    assert after.made_of["teacher"] == "hash-32 (32 dim)"
    assert (after.made_of["texts"], after.made_of["questions"]) == (12, 2)
    assert after.made_of["collapse"]["after"]["effective_rank"] > 1
    found = after.encode(["the clock tower of Tolle"]) @ after.encode(texts).T
    assert {"Tolle", "Clock tower"} == {texts[i].split(".")[0] for i in np.argsort(-found[0])[:2]}


def test_a_seed_gives_the_same_table_and_another_another(texts) -> None:
    config = DistillConfig(dim=8, steps=5, seeds=4)
    one, again = (distill(texts, HashEncoder(), config=config) for _ in range(2))
    assert one.fingerprint == again.fingerprint
    other = distill(texts, HashEncoder(), config=DistillConfig(dim=8, steps=5, seeds=4, seed=1))
    assert other.fingerprint != one.fingerprint


def test_the_teacher_reads_each_text_once_and_reports(texts, tmp_path) -> None:
    teacher = HashEncoder()
    heard: list[tuple[str, int, int]] = []
    cached = CachedEncoder(teacher, tmp_path)
    config = DistillConfig(dim=8, steps=3, seeds=4)
    made = distill(
        [*texts, *texts], cached, config=config, progress=lambda *said: heard.append(said[:3])
    )
    read = teacher.texts_encoded
    assert distill(texts, cached, config=config).fingerprint == made.fingerprint
    cached.close()
    assert teacher.texts_encoded == read
    assert ("reading texts", 12, 12) in heard
    assert heard[-1] == ("fitting", 3, 3)


def test_what_cannot_be_distilled_is_refused(texts) -> None:
    with pytest.raises(ConfigError, match="at most the teacher's 32, got 64"):
        distill(texts, HashEncoder(32), config=DistillConfig(dim=64))
    with pytest.raises(InputError, match="at least 2 different texts, got 1"):
        distill([texts[0]] * 3, HashEncoder(), config=SMALL)
    with pytest.raises(ConfigError, match="dim must be at least 1"):
        DistillConfig(dim=0)
    with pytest.raises(ConfigError, match="above 0"):
        DistillConfig(temperature=0.0)
