"""Published files become corpora and questions, pooled or each with its own paragraphs."""

from __future__ import annotations

import json

import pytest

from hoptrail.errors import FormatError
from hoptrail.formats.benchmarks.question_sets import is_question_set, read_question_set
from hoptrail.formats.jsonl import read_corpus, read_questions


def test_hotpotqa_is_a_corpus_with_each_paragraph_once(hotpotqa, tmp_path) -> None:
    questions = read_question_set(hotpotqa)
    assert questions.rules == "hotpotqa"
    corpus, file = questions.write(tmp_path)
    passages = {passage.title: passage for passage in read_corpus(corpus)}
    assert sorted(passages) == ["Ada Lind", "Tolle", "Varn"]
    assert passages["Varn"].text == "Varn is a town. It lies in Osk."
    first, second = read_questions(file)
    assert (first.id, first.answers, first.kind) == ("5a1", ("Osk",), "bridge")
    assert first.supporting_ids == (passages["Ada Lind"].id, passages["Varn"].id)
    assert second.supporting_ids == (passages["Varn"].id, passages["Tolle"].id)


def test_in_the_distractor_setting_a_question_has_its_paragraphs_to_itself(hotpotqa) -> None:
    questions = read_question_set(hotpotqa, distractor=True)
    assert [item.question.namespace for item in questions.items] == [("5a1",), ("5a2",)]
    assert len(questions.passages()) == 6


def test_2wikimultihopqa_brings_other_names_of_an_answer(two_wiki) -> None:
    questions = read_question_set(two_wiki, aliases=two_wiki.parent / "id_aliases.json")
    assert questions.rules == "2wikimultihopqa"
    assert questions.items[0].question.answers == ("Osk", "Land of Osk", "Oskian")
    assert read_question_set(two_wiki).items[0].question.answers == ("Osk",)


def test_musique_full_holds_a_question_and_its_twin(musique) -> None:
    first, twin = read_question_set(musique, distractor=True).items
    assert (first.published_id, twin.published_id) == ("2hop__1_2", "2hop__1_2")
    assert first.question.id != twin.question.id
    assert (first.question.answerable, twin.question.answerable) == (True, False)
    assert first.question.answers == ("Osk", "Land of Osk")
    assert first.question.kind == "2hop"
    assert len(first.question.supporting_ids) == 2
    with pytest.raises(FormatError, match=r"'2hop__1_2' has no answer in its own paragraphs"):
        read_question_set(musique)


def test_a_benchmark_is_told_from_plain_questions(hotpotqa, musique, tmp_path) -> None:
    plain = tmp_path / "dev.jsonl"
    plain.write_text('{"id": "1", "question": "Who?"}\n', encoding="utf-8")
    assert [is_question_set(file) for file in (hotpotqa, musique, plain)] == [True, True, False]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"supporting_facts": [["Nowhere", 0]]}, "the supporting fact 'Nowhere' is not among"),
        ({"answer": ""}, '"answer" must be a string that is not empty'),
        ({"context": [["Ada Lind", "text"]]}, "the context of 'Ada Lind' should be a list"),
        ({"context": {"Ada": []}}, '"context" must be a list of pairs'),
        ({"_id": "5a2"}, "the id '5a2' is there twice"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(hotpotqa, change, sentence) -> None:
    records = json.loads(hotpotqa.read_text(encoding="utf-8"))
    records[0].update(change)
    hotpotqa.write_text(json.dumps(records), encoding="utf-8")
    with pytest.raises(FormatError, match=sentence):
        read_question_set(hotpotqa)


@pytest.mark.parametrize("text", ["{}", "[1]", "[", "[]"])
def test_a_file_that_is_no_benchmark_is_refused(tmp_path, text) -> None:
    file = tmp_path / "a.json"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(FormatError, match=r"a\.json"):
        read_question_set(file)
