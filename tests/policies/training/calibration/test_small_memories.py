"""Small memories made of a corpus: they hold what their questions need, and differ in size."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from hoptrail.memory.testing.hash_encoder import HashEncoder
from hoptrail.policies.data.corpora import OpenCorpus
from hoptrail.policies.training.calibration.small_memories import TOGETHER, small_memories

DEMO = Path(__file__).resolve().parents[4] / "src" / "hoptrail" / "demo"
COUNT = 11


@pytest.fixture
def corpus(tmp_path):
    with closing(
        OpenCorpus(DEMO / "corpus.jsonl", DEMO / "questions.jsonl", HashEncoder())
    ) as opened:
        yield opened


def test_each_holds_what_its_questions_need(corpus) -> None:
    memories = list(small_memories(corpus, COUNT, seed=0))
    question_ids = [question.id for memory in memories for question in memory.questions]
    assert len(question_ids) == len(set(question_ids)) == COUNT
    for memory in memories:
        assert 1 <= len(memory.questions) <= TOGETHER
        passage_ids = {(passage.namespace, passage.id) for passage in memory.passages}
        assert len(passage_ids) == len(memory.passages)
        for question in memory.questions:
            assert {(question.namespace, one) for one in question.supporting_ids} <= passage_ids


def test_they_differ_in_size_and_come_again_by_the_seed(corpus) -> None:
    def sizes(seed: int) -> list[tuple[str, ...]]:
        return [
            tuple(passage.id for passage in memory.passages)
            for memory in small_memories(corpus, COUNT, seed)
        ]

    assert sizes(0) == sizes(0)
    assert sizes(0) != sizes(1)
    assert len({len(one) for seed in range(3) for one in sizes(seed)}) > 2
