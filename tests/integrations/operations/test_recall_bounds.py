"""How much a recall returns is the application's to say, and a program's for one call."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from hoptrail import InputError, Memory
from hoptrail.api.hit_selection import UncalibratedError
from hoptrail.integrations.function_calling import MemoryTools
from hoptrail.integrations.operations.bound_memory import BoundMemory
from hoptrail.integrations.operations.operation import OPERATIONS, PROGRAM_OPERATIONS
from hoptrail.integrations.operations.recall_bounds import RecallBounds
from hoptrail.memory.testing.hash_encoder import HashEncoder

QUESTION = "Who sails ship number 3 to port 4?"


class CountingEncoder(HashEncoder):
    """Counts words, so that a budget can be said in them."""

    def count_tokens(self, texts):
        return [len(text.split()) for text in texts]


@pytest.fixture
def ships(tmp_path):
    with Memory(tmp_path / "ships.db", encoder=CountingEncoder(384)) as memory:
        memory.add([f"Captain {n} sails ship number {n} to port {n + 1}." for n in range(60)])
        yield memory


def ids(outcome) -> list[str]:
    return [passage["id"] for passage in outcome.data["passages"]]


@pytest.mark.parametrize(
    "bounds", [{"tokens": 27}, {"min_score": 0.05}, {"patience": 30}, {"until": "complete"}]
)
def test_tools_return_what_the_memory_does(ships, bounds) -> None:
    expected = [hit.passage.id for hit in ships.recall(QUESTION, **bounds).hits]
    assert 0 < len(expected) < 50
    tools = MemoryTools(ships, bounds=RecallBounds(**bounds))
    assert ids(tools.call("recall", {"question": QUESTION})) == expected
    assert ids(tools.within(()).call("recall", {"question": QUESTION})) == expected
    few = MemoryTools(ships, k=1, bounds=RecallBounds(**bounds))
    assert ids(few.call("recall", {"question": QUESTION})) == expected[:1]
    assert "tokens" not in str(tools.openai())  # nothing that a model would have to know
    assert tools.call("recall", {"question": QUESTION, **bounds}).is_error
    program = BoundMemory(ships, operations=PROGRAM_OPERATIONS)
    assert ids(program.call("recall", {"question": QUESTION, **bounds})) == expected


def test_a_budget_fills_more_than_the_usual_number(ships) -> None:
    assert len(ids(MemoryTools(ships).call("recall", {"question": QUESTION}))) == 5
    tools = MemoryTools(ships, bounds=RecallBounds(tokens=9 * 8))
    assert len(ids(tools.call("recall", {"question": QUESTION}))) == 8


def test_a_call_goes_before_the_setting_of_the_same_name() -> None:
    bounds = RecallBounds(tokens=100, patience=20)

    def of(**call: object) -> RecallBounds:
        return bounds.or_of_call(SimpleNamespace(**call))

    assert of() == bounds
    assert of(tokens=10, min_score=None) == RecallBounds(tokens=10, patience=20)
    assert of(until="complete") == RecallBounds(tokens=100, until="complete")
    assert of(patience=5, min_score=0.5) == RecallBounds(tokens=100, patience=5, min_score=0.5)
    with pytest.raises(InputError, match="give one of them"):
        of(patience=5, until="complete")


@pytest.mark.parametrize(
    ("bounds", "complaint"),
    [
        ({"until": 3}, "until must be"),
        ({"tokens": 0}, "tokens"),
        ({"min_score": 2}, "min_score must be a probability"),
        ({"patience": 0}, "patience must be a number above 0"),
        ({"patience": 3, "until": "complete"}, "give one of them"),
    ],
)
def test_what_cannot_be_meant_is_refused_as_the_memory_does(ships, bounds, complaint) -> None:
    with pytest.raises(InputError, match=complaint) as of_bounds:
        RecallBounds(**bounds)
    with pytest.raises(InputError) as of_memory:
        ships.recall(QUESTION, **bounds)
    assert str(of_bounds.value) == str(of_memory.value)
    program = BoundMemory(ships, operations=PROGRAM_OPERATIONS)
    assert program.call("recall", {"question": QUESTION, **bounds}).is_error
    with pytest.raises(InputError, match="bounds must be RecallBounds, got dict"):
        BoundMemory(ships, bounds=bounds)


def test_a_policy_that_states_nothing_is_named(memory) -> None:
    tools = MemoryTools(memory, bounds=RecallBounds(patience=20))
    with pytest.raises(UncalibratedError, match="patience needs a policy that has learned"):
        tools.call("recall", {"question": "Where was Ada Lind born?"})


def test_models_and_programs_have_the_same_operations() -> None:
    names = [one.name for one in PROGRAM_OPERATIONS]
    assert names[: len(OPERATIONS)] == [one.name for one in OPERATIONS]
