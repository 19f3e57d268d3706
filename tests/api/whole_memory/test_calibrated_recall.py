"""What a recall states of its passages, and how that decides what comes back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

import hoptrail
from hoptrail import Memory
from hoptrail.errors import InputError, PolicyError
from hoptrail.formats.json_views import recall_data
from hoptrail.formats.jsonl import read_corpus, read_questions
from hoptrail.memory.testing.hash_encoder import HashEncoder
from hoptrail.policies.policy import Policy

DEMO = Path(hoptrail.__file__).parent / "demo"


class CountingEncoder(HashEncoder):
    """The hash encoder with words for tokens."""

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) for text in texts]


@pytest.fixture(scope="module")
def memory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Memory]:
    path = tmp_path_factory.mktemp("calibrated") / "demo.db"
    with Memory(path, encoder=CountingEncoder()) as opened:
        opened.add(read_corpus(DEMO / "corpus.jsonl"))
        yield opened


@pytest.fixture(scope="module")
def question() -> str:
    return read_questions(DEMO / "questions.jsonl")[0].text


def test_every_passage_has_a_probability_and_every_prefix_too(memory, question) -> None:
    recall = memory.recall(question, 20, effort="fast")
    needed = [hit.probability for hit in recall.hits]
    complete = [hit.complete for hit in recall.hits]
    assert len(needed) == 20
    assert needed == sorted(needed, reverse=True)
    assert complete == sorted(complete)
    assert all(0 < value < 1 for value in (*needed, *complete))
    assert recall.complete == complete[-1]
    shorter = memory.recall(question, 4, effort="fast")
    assert [hit.probability for hit in shorter.hits] == pytest.approx(needed[:4])
    assert shorter.complete == pytest.approx(complete[3])


def test_what_the_memory_does_not_hold_is_not_complete(memory, question) -> None:
    inside = memory.recall(question, effort="fast")
    outside = memory.recall("Which zorgon invented the flumox of Qwertyland?", effort="fast")
    assert outside.complete < 0.1 < inside.complete


def test_until_complete_is_the_smallest_prefix_of_the_ranking(memory, question) -> None:
    everything = memory.recall(question, 20, effort="fast")
    needed = memory.recall(question, effort="fast", until="complete")
    assert 1 <= len(needed.hits) < 20
    assert needed.passages == everything.passages[: len(needed.hits)]
    assert len(memory.recall(question, 1, effort="fast", until="complete").hits) == 1


@pytest.mark.parametrize("budget", [1, 60, 150])
def test_a_budget_of_tokens_is_never_exceeded(memory, question, budget) -> None:
    recall = memory.recall(question, effort="fast", tokens=budget)
    words = [len(passage.content.split()) for passage in recall.passages]
    assert sum(words) <= budget
    ranking = memory.recall(question, 20, effort="fast").passages
    assert sum(words) + len(ranking[len(words)].content.split()) > budget
    assert recall.passages == ranking[: len(words)]
    if not words:
        assert recall.complete == 0.0


def test_nothing_less_probable_than_asked_for_comes_back(memory, question) -> None:
    ranking = memory.recall(question, 20, effort="fast").hits
    least = ranking[2].probability
    kept_hits = memory.recall(question, 20, effort="fast", min_score=least).hits
    assert kept_hits == tuple(hit for hit in ranking if hit.probability >= least)
    assert memory.recall(question, effort="fast", min_score=1.0).hits == ()


def test_who_has_more_patience_reads_on_along_the_same_ranking(memory, question) -> None:
    ranking = memory.recall(question, 50, effort="fast").passages
    recalls = [
        memory.recall(question, effort="fast", patience=patience) for patience in (0.5, 3, 20, 1e6)
    ]
    lengths = [len(recall.hits) for recall in recalls]
    assert lengths[0] == 1 < lengths[2] < lengths[3] == 50
    assert lengths == sorted(lengths)
    for recall in recalls:
        assert recall.passages == ranking[: len(recall.hits)]
    assert len(memory.recall(question, 3, effort="fast", patience=1e6).hits) == 3
    both = memory.recall_many([question], effort="fast", patience=20)[0]
    assert both.passages == recalls[2].passages


def test_the_json_carries_the_numbers(memory, question) -> None:
    recall = memory.recall(question, 3, effort="fast")
    data = recall_data(recall)
    assert data["complete"] == recall.complete
    for passage, hit in zip(data["passages"], recall.hits, strict=True):
        assert (passage["probability"], passage["complete"]) == (hit.probability, hit.complete)


def test_a_search_states_no_probability(memory, question) -> None:
    assert {hit.probability for hit in memory.search(question)} == {None}


def test_a_policy_without_a_calibration_states_nothing_and_says_so(tmp_path, question) -> None:
    policy = Policy.shipped()
    policy.scores = None
    with Memory(tmp_path / "m.db", encoder=HashEncoder(), policy=policy) as plain:
        plain.add([{"id": "a", "text": "The Fram was a ship."}, {"id": "b", "text": "A town."}])
        recall = plain.recall(question, effort="fast")
        assert {hit.probability for hit in recall.hits} == {recall.complete} == {None}
        for options in ({"until": "complete"}, {"min_score": 0.5}, {"patience": 20}):
            with pytest.raises(PolicyError, match="hoptrail train calibration"):
                plain.recall(question, effort="fast", **options)
        with pytest.raises(InputError, match="HashEncoder"):
            plain.recall(question, effort="fast", tokens=100)


def test_an_empty_memory_is_not_complete(tmp_path, question) -> None:
    with Memory(tmp_path / "m.db", encoder=HashEncoder()) as empty:
        assert empty.recall(question, until="complete").complete == 0.0
