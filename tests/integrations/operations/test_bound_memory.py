"""The seven operations: what each does, what a model may do wrong, and what it cannot reach."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from hoptrail import (
    Answer,
    ConfigError,
    EncoderMissing,
    Evidence,
    InputError,
    Memory,
    Passage,
    UnknownId,
)
from hoptrail.integrations.operations.bound_memory import BoundMemory
from hoptrail.integrations.operations.operation import OPERATIONS
from hoptrail.memory.testing.hash_encoder import HashEncoder

QUESTION = "Into which lake flows the river of the town where Ada Lind was born?"
ANN = ("team", "ann")


@pytest.fixture
def bound(memory) -> BoundMemory:
    return BoundMemory(memory, namespace=ANN, k=4)


def test_a_recall_gives_its_id_and_passages_to_a_model_and_all_of_it_to_a_program(bound) -> None:
    outcome = bound.call("recall", {"question": QUESTION})
    assert not outcome.is_error
    assert outcome.text.startswith(f'Recall (recall: "{outcome.data["id"]}")\n\n[1] "')
    assert {p["id"] for p in outcome.data["passages"]} == {"ada", "varn", "ister", "deep"}
    assert any(trail["hops"] for trail in outcome.data["trails"])
    assert '(id: "deep", namespace: ["team", "ann", "diary"])' in outcome.text
    assert len(bound.call("recall", {"question": QUESTION, "k": 2}).data["passages"]) == 2


def test_a_search_finds_by_words_and_by_meaning(bound) -> None:
    outcome = bound.call("search", {"query": "Sorrel", "k": 1, "mode": "sparse"})
    assert outcome.text == '[1] "Ister Beck" (id: "ister")\n> It flows into Lake Sorrel.'
    assert outcome.data["passages"][0]["id"] == "ister"
    assert bound.call("search", {"query": "Zzyzx", "mode": "sparse"}).text == (
        "Nothing is remembered here."
    )


def test_what_is_remembered_is_there_with_all_that_was_said_of_it(bound) -> None:
    outcome = bound.call(
        "remember",
        {
            "text": "Lake Sorrel is deep.",
            "title": "Lake Sorrel",
            "metadata": {"source": "atlas"},
            "links": [{"target": "ister", "kind": "fed_by"}, {"target": "varn"}],
            "expires_at": "2096-10-02T07:06:40Z",
        },
    )
    passage = bound.memory.get(outcome.data["id"], ANN)
    assert outcome.text == f'Remembered (id: "{passage.id}").'
    assert (passage.text, passage.title) == ("Lake Sorrel is deep.", "Lake Sorrel")
    assert passage.metadata == {"source": "atlas"}
    assert [(link.target, link.kind) for link in passage.links] == [
        ("ister", "fed_by"),
        ("varn", "link"),
    ]
    assert passage.expires_at == 4e9


def test_what_is_remembered_already_is_not_written_twice(bound) -> None:
    first = bound.call("remember", {"text": "Tolle has seven bells."})
    for text in ("Tolle has seven bells.", "Tolle has seven bells!"):
        again = bound.call("remember", {"text": text})
        assert again.data == {"id": first.data["id"], "written": False}
        assert "nothing was written" in again.text
    other = bound.call("remember", {"text": "Tolle has eight bells."})
    assert other.data["written"]


def test_an_update_changes_what_is_given_and_leaves_the_rest(bound) -> None:
    bound.call("update", {"id": "ada", "text": "Ada Lind was born in Tolle.", "metadata": None})
    passage = bound.memory.get("ada", ANN)
    assert (passage.text, passage.title) == ("Ada Lind was born in Tolle.", "Ada Lind")
    assert passage.metadata == {"page": 3}
    outcome = bound.call(
        "update", {"id": "ada", "title": "", "metadata": {}, "expires_at": "2096-10-02"}
    )
    assert outcome.data["title"] is None
    assert outcome.data["metadata"] == {}
    assert outcome.data["expires_at"] is not None
    assert bound.call("update", {"id": "ada", "expires_at": ""}).data["expires_at"] is None


def test_what_is_forgotten_is_gone_and_a_list_with_a_wrong_id_forgets_nothing(bound) -> None:
    failed = bound.call("forget", {"ids": ["ada", "nobody"]})
    assert failed.is_error
    assert "nobody" in failed.text
    assert bound.memory.get("ada", ANN)
    assert bound.call("forget", {"ids": ["ada", "varn", "ada"]}).data == {
        "deleted": ["ada", "varn"]
    }
    with pytest.raises(UnknownId):
        bound.memory.get("ada", ANN)


def test_a_link_joins_passages_that_are_there(bound) -> None:
    outcome = bound.call("link", {"source": "ada", "target": "varn", "kind": "born_in"})
    assert outcome.text == 'Linked "ada" to "varn" (kind: "born_in").'
    assert bound.memory.get("ada", ANN).links[0].kind == "born_in"
    assert bound.call("link", {"source": "ada", "target": "varnn"}).is_error
    assert bound.call("remember", {"text": "x", "links": [{"target": "varnn"}]}).is_error
    assert len(bound.memory.get("ada", ANN).links) == 1


def test_feedback_reaches_the_recall_by_the_id_that_the_model_read(bound) -> None:
    recall = bound.call("recall", {"question": QUESTION}).data["id"]
    outcome = bound.call("feedback", {"recall": recall, "reward": 1, "ids": ["ada"]})
    assert not outcome.is_error
    assert bound.memory.feedback_given(ANN)[0].recall.id == recall
    assert bound.call("feedback", {"recall": "0" * 16, "reward": 1}).is_error
    assert bound.call("feedback", {"recall": recall, "reward": 1, "ids": ["nobody"]}).is_error


MISTAKES: list[tuple[str, Any, str]] = [
    ("recall", {"question": " "}, "question"),
    ("recall", {"question": None}, "question"),
    ("recall", {"question": "\ud800"}, "question"),
    ("recall", {"question": "long " * 10_000}, "question"),
    ("recall", {"question": "Who?", "k": 0}, "k: "),
    ("recall", {"question": "Who?", "k": 51}, "k: "),
    ("recall", {"question": "Who?", "k": "3"}, "k: "),
    ("recall", {"question": "Who?", "k": True}, "k: "),
    ("recall", {"question": "Who?", "namespace": ["team", "bob"]}, "namespace: "),
    ("recall", {"query": "Who?"}, "recall takes question, k"),
    ("recall", {}, "question"),
    ("recall", None, "question"),
    ("recall", "", "question"),
    ("recall", "{'question': 'Who?'}", "no JSON"),
    ("recall", "[" * 100_000, "no JSON"),
    ("recall", '["Who?"]', "one JSON object"),
    ("recall", ["Who?"], "one JSON object"),
    ("search", {"query": "x", "mode": "fuzzy"}, "mode: "),
    ("remember", {"text": ""}, "text"),
    ("remember", {"text": "x" * 100_001}, "text: "),
    ("remember", {"text": "x", "id": "mine"}, "id: "),
    ("remember", {"text": "x", "metadata": {"a": "x" * 20_000}}, "metadata"),
    ("remember", {"text": "x", "metadata": {"a": float("nan")}}, "metadata"),
    ("remember", {"text": "x", "metadata": []}, "metadata"),
    ("remember", {"text": "x", "expires_at": "tomorrow"}, "expires_at"),
    ("remember", {"text": "x", "links": [{"to": "ada"}]}, "links.0.target"),
    ("remember", {"text": "x", "links": [{"target": "ada"}] * 51}, "links"),
    ("update", {"id": "ada"}, "needs a text"),
    ("update", {"id": "ada", "text": None}, "needs a text"),
    ("update", {"id": "nobody", "text": "x"}, "nobody"),
    ("update", {"id": "pike", "text": "x"}, "pike"),
    ("update", {"id": "ada", "text": " "}, "text"),
    ("forget", {"ids": []}, "ids"),
    ("forget", {"ids": "ada"}, "ids"),
    ("forget", {"ids": ["pike"]}, "pike"),
    ("forget", {"ids": ["deep"]}, "deep"),
    ("link", {"source": "ada", "target": "ada", "kind": ""}, "kind"),
    ("link", {"source": "pike", "target": "ada"}, "pike"),
    ("feedback", {"recall": "x", "reward": 2}, "reward: "),
    ("feedback", {"recall": "x", "reward": "good"}, "reward: "),
    ("recal", {"question": "Who?"}, "use one of recall, search, remember"),
    ("\x1b[2J\u202e", {}, "use one of"),
]


@pytest.mark.parametrize(("name", "arguments", "complaint"), MISTAKES, ids=lambda v: str(v)[:40])
def test_a_model_is_told_what_is_wrong_with_its_call(bound, name, arguments, complaint) -> None:
    before = bound.memory.count()
    outcome = bound.call(name, arguments)
    assert outcome.is_error
    assert outcome.data == {}
    assert complaint in outcome.text
    assert outcome.text.startswith("This call cannot be used: ")
    assert len(outcome.text.splitlines()) == 1
    assert not set(outcome.text) & set("\x1b\u202e")
    assert bound.memory.count() == before


def test_nothing_of_another_namespace_is_read_or_changed(bound) -> None:
    for name, arguments in [
        ("recall", {"question": "Who knows of the pike?", "k": 50}),
        ("search", {"query": "pike", "k": 50}),
    ]:
        assert "Bob" not in bound.call(name, arguments).text
    bound.call("remember", {"text": "Ann likes tea."})
    assert bound.memory.count(("team", "bob")) == 1
    assert bound.memory.get("pike", ("team", "bob")).text == "Only Bob knows of the pike."


def test_reading_only_offers_nothing_that_writes(memory) -> None:
    bound = BoundMemory(memory, namespace=ANN, read_only=True)
    assert [operation.name for operation in bound.operations] == ["recall", "search"]
    outcome = bound.call("remember", {"text": "x"})
    assert outcome.is_error
    assert "use one of recall, search" in outcome.text


def test_what_no_other_arguments_would_mend_is_raised(tmp_path, memory) -> None:
    closed = BoundMemory(memory, namespace=ANN)
    with Memory(tmp_path / "agent.db", encoder=None) as other, pytest.raises(EncoderMissing):
        BoundMemory(other, namespace=ANN).call("recall", {"question": "Who?"})
    memory.close()
    with pytest.raises(Exception, match="closed"):
        closed.call("forget", {"ids": ["ada"]})


def test_how_a_memory_is_bound_is_checked_when_it_is_bound(memory) -> None:
    with pytest.raises(InputError, match="a Memory"):
        BoundMemory("agent.db")
    with pytest.raises(InputError, match="namespace"):
        BoundMemory(memory, namespace="ann")
    with pytest.raises(InputError, match="k must"):
        BoundMemory(memory, k=0)
    with pytest.raises(ConfigError):
        BoundMemory(memory, effort="frantic")
    with pytest.raises(InputError, match="read_only"):
        BoundMemory(memory, read_only="yes")


def test_results_are_what_their_schemas_say(bound) -> None:
    from jsonschema import validate

    calls: dict[str, dict[str, Any]] = {
        "recall": {"question": QUESTION},
        "search": {"query": "Varn"},
        "remember": {"text": "Tolle has seven bells."},
        "update": {"id": "ada", "metadata": {"a": [1, None]}},
        "link": {"source": "ada", "target": "varn"},
        "forget": {"ids": ["ister"]},
    }
    data = {name: bound.call(name, arguments).data for name, arguments in calls.items()}
    calls["feedback"] = {"recall": data["recall"]["id"], "reward": 0.5}
    data["feedback"] = bound.call("feedback", calls["feedback"]).data
    for operation in bound.operations:
        validate(calls[operation.name], operation.input_schema())
        validate(data[operation.name], operation.output_schema())
        assert data[operation.name]
        json.dumps(data[operation.name])


def test_hostile_texts_are_carried_as_quotations_by_every_reading_tool(
    tmp_path, small_policy, hostile_texts
) -> None:
    with Memory(tmp_path / "h.db", encoder=HashEncoder(), policy=small_policy) as memory:
        memory.add(
            [
                {"id": f"{n} {text}"[:900], "title": text, "text": f"pond {n} {text}"}
                for n, text in enumerate(hostile_texts)
            ]
        )
        bound = BoundMemory(memory)
        for name, arguments in (
            ("recall", {"question": "pond?", "k": 50}),
            ("search", {"query": "pond", "k": 50}),
        ):
            outcome = bound.call(name, arguments)
            lines = [line for line in outcome.text.splitlines() if line and line[0] != ">"]
            assert len(lines) == 50 + (name == "recall")
            assert not set(outcome.text) & set("\x1b\x07\r\x85\u2028\u202e\u2066\u200b\ufeff")


class LastWord:
    """A reader that answers by the last word of what it reads first, if it is asked where."""

    def read(self, question: str, passages: Sequence[Passage]) -> Answer:
        if not question.startswith("Where"):
            return Answer(question, None, 0.9, 0.1)
        first = passages[0]
        word = first.text.rstrip(".").split()[-1]
        start = first.text.rindex(word)
        evidence = Evidence(first.id, first.namespace, "text", start, start + len(word))
        return Answer(question, word, 0.75, 0.8, (evidence,))


def test_a_memory_that_answers_offers_to_be_asked(tmp_path, memory, small_policy) -> None:
    from jsonschema import validate

    assert "ask" not in [one.name for one in BoundMemory(memory).operations]
    file = memory.store.path
    with Memory(file, encoder=HashEncoder(), policy=small_policy, reader=LastWord()) as answering:
        bound = BoundMemory(answering, namespace=ANN, read_only=True)
        assert [one.name for one in bound.operations] == ["recall", "ask", "search"]
        outcome = bound.call("ask", {"question": "Where was Ada Lind born?", "k": 1})
        data = outcome.data
        recall = data["recall"]
        (passage,) = recall["passages"]
        assert outcome.text.startswith(
            f'Answer: "{data["answer"]}" (recall: "{recall["id"]}", probability: 0.75)\n\n'
            f"It rests on:\n\n[1] "
        )
        assert f'(id: "{passage["id"]}"' in outcome.text
        (evidence,) = data["evidence"]
        assert passage["text"][evidence["start"] : evidence["end"]] == data["answer"]
        operation = next(one for one in OPERATIONS if one.name == "ask")
        validate(data, operation.output_schema())
        assert set(data) == set(operation.result.model_fields)
        nothing = bound.call("ask", {"question": "Who sank it?"})
        assert nothing.text.startswith("The memory does not hold an answer (recall: ")
        assert not nothing.is_error
        assert not nothing.data["known"]
