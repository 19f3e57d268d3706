"""What a trail earns: by gold, by answer, by a function; and who can learn from what."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hoptrail.errors import ConfigError, InputError
from hoptrail.policies.objectives.rewards import Reward, answered
from hoptrail.policies.training.config import TrainConfig
from hoptrail.policies.training.supervision import usable
from hoptrail.types import Question

LAKE = "Into which lake flows the river of the town where Ada Lind was born?"
GOLD = Question("g", LAKE, supporting_ids=("p-varn",))
ANSWER = Question("a", LAKE, answers=("Lake Sorrel",))
YES = Question("y", LAKE, answers=("Yes", " "))
BARE = Question("b", LAKE)


@pytest.fixture
def example(small):
    return small.example(LAKE, small.slots("p-ada-lind", "p-varn"))


def test_evidence_is_f1(small, example) -> None:
    ada, varn, tolle = small.slots("p-ada-lind", "p-varn", "p-tolle")
    reward = Reward("evidence")
    assert reward.of(example, (ada, varn)) == pytest.approx(1.0)
    assert reward.of(example, (varn,)) == pytest.approx(2 / 3)
    assert reward.of(example, (ada, varn, tolle)) == pytest.approx(0.8)
    assert reward.of(example, ()) == 0.0


def test_an_answer_counts_where_it_was_read(small, example) -> None:
    example = replace(example, question=ANSWER)
    ada, beck = small.slots("p-ada-lind", "p-ister-beck")
    for reward in (Reward("answer"), Reward("answer")):
        assert reward.of(example, (ada, beck)) == 1.0
        assert reward.of(example, (ada,)) == reward.of(example, ()) == 0.0


def test_by_default_gold_decides_where_it_is_known(small, example) -> None:
    ada, beck = small.slots("p-ada-lind", "p-ister-beck")
    example = replace(example, question=ANSWER)
    assert Reward().of(example, (ada,)) == pytest.approx(2 / 3)
    assert Reward().of(replace(example, gold=()), (beck,)) == 1.0


def test_an_answer_is_whole_words() -> None:
    assert answered(ANSWER, ["it flows into LAKE SORREL."])
    assert not answered(ANSWER, ["into Lake Sorrelton", "the Lake", "Sorrel"])
    assert not answered(YES, ["Yes, it does"])


def test_a_function_sees_what_was_read(small, example) -> None:
    seen = []

    def short(question, passages) -> float:
        seen.append((question.text, [p.id for p in passages]))
        return -len(passages)

    reward = Reward(short)
    ada, varn = small.slots("p-ada-lind", "p-varn")
    assert reward.of(example, (varn, ada)) == -2.0
    assert seen == [(LAKE, ["p-varn", "p-ada-lind"])]
    assert reward.name.endswith("short")
    for wrong in (None, "much", float("nan"), float("inf")):
        with pytest.raises(InputError, match="finite number"):
            Reward(lambda q, p, wrong=wrong: wrong).of(example, ())


def test_which_rewards_apply() -> None:
    def applies(given) -> list[bool]:
        return [Reward(given).applies(q) for q in (GOLD, ANSWER, YES, BARE)]

    assert applies(None) == [True, True, False, False]
    assert applies("evidence") == [True, False, False, False]
    assert applies("answer") == [False, True, False, False]
    assert applies(lambda q, p: 0.0) == [True] * 4
    with pytest.raises(ConfigError, match="unknown reward 'magic'"):
        Reward("magic")


@pytest.mark.parametrize(
    ("objective", "kept"),
    [
        ("imitation", [GOLD]),
        ("marginal", [ANSWER, YES]),
        ("reinforce", [GOLD, ANSWER]),
        ("imitation,marginal", [GOLD, ANSWER, YES]),
    ],
)
def test_a_stage_takes_the_questions_that_it_can_learn_from(objective, kept) -> None:
    config = TrainConfig(objective=objective)
    every = [GOLD, ANSWER, YES, BARE]
    assert usable(every, config, Path("q.jsonl")) == kept
    with pytest.raises(InputError) as told:
        usable([BARE], config, Path("q.jsonl"))
    assert "none of the 1 questions of q.jsonl" in str(told.value)
    assert f"objective {objective.split(',')[0]} learns from" in str(told.value)
