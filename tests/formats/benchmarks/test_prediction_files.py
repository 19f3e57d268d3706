"""What benchmarks and trec_eval read is written as they read it."""

from __future__ import annotations

import json

import pytest

from hoptrail.errors import FormatError, InputError
from hoptrail.formats.benchmarks.prediction_files import (
    Prediction,
    prediction_of,
    read_predictions,
    support_of,
    write_predictions,
    write_trec_qrels,
    write_trec_run,
)
from hoptrail.formats.benchmarks.question_sets import read_question_set
from hoptrail.types import Evidence, Question


def test_a_span_names_its_sentence_and_a_passage_its_first(hotpotqa) -> None:
    item = read_question_set(hotpotqa).items[0]
    ada, varn, tolle = (one.passage for one in item.paragraphs)
    place = varn.text.index("Osk")
    evidence = [
        Evidence(varn.id, start=place, end=place + 3),
        Evidence(ada.id),
        Evidence(tolle.id, field="title", start=0, end=5),
        Evidence("elsewhere"),
    ]
    prediction = prediction_of(item, "Osk", evidence)
    assert prediction.support == (("Varn", 1), ("Ada Lind", 0), ("Tolle", 0))
    assert support_of(item) == (("Ada Lind", 1), ("Varn", 1))


def test_predictions_are_written_as_hotpotqa_reads_them(hotpotqa, tmp_path) -> None:
    questions = read_question_set(hotpotqa, distractor=True)
    first, second = questions.by_id
    file = tmp_path / "predictions.json"
    predictions = {
        first: Prediction("Osk", (("Varn", 1),)),
        second: Prediction("", (), answerable=False),
    }
    write_predictions(file, questions, predictions)
    assert json.loads(file.read_text(encoding="utf-8")) == {
        "answer": {"5a1": "Osk", "5a2": "noanswer"},
        "sp": {"5a1": [["Varn", 1]], "5a2": []},
    }
    again = read_predictions(file, questions)
    assert again[first] == predictions[first]
    assert not again[second].answerable
    with pytest.raises(InputError, match="no prediction for question '5a2'"):
        write_predictions(file, questions, {first: predictions[first]})


def test_2wikimultihopqa_wants_evidence_beside_them(two_wiki, tmp_path) -> None:
    questions = read_question_set(two_wiki)
    file = tmp_path / "predictions.json"
    write_predictions(file, questions, dict.fromkeys(questions.by_id, Prediction("Osk")))
    assert json.loads(file.read_text(encoding="utf-8"))["evidence"] == {"5a1": [], "5a2": []}


def test_musique_has_a_line_for_a_question_and_one_for_its_twin(musique, tmp_path) -> None:
    questions = read_question_set(musique, distractor=True)
    item = questions.items[0]
    evidence = [Evidence(one.passage.id) for one in item.paragraphs[1:]]
    first, twin = questions.by_id
    predictions = {first: prediction_of(item, "Osk", evidence), twin: prediction_of(item, None, [])}
    file = tmp_path / "predictions.jsonl"
    write_predictions(file, questions, predictions)
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert lines == [
        {
            "id": "2hop__1_2",
            "predicted_answer": "Osk",
            "predicted_support_idxs": [1, 2],
            "predicted_answerable": True,
        },
        {
            "id": "2hop__1_2",
            "predicted_answer": "",
            "predicted_support_idxs": [],
            "predicted_answerable": False,
        },
    ]
    assert read_predictions(file, questions) == predictions
    assert list(support_of(item)) == [1, 2]


@pytest.mark.parametrize("text", ["[]", "{", '{"answer": {"5a1": 3}, "sp": {}}', '{"answer": 1}'])
def test_what_is_no_file_of_predictions_is_refused(hotpotqa, tmp_path, text) -> None:
    file = tmp_path / "predictions.json"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(FormatError, match=r"predictions\.json is no file of predictions"):
        read_predictions(file, read_question_set(hotpotqa))
    file.write_text('{"answer": {"5a1": "Osk"}, "sp": {}}', encoding="utf-8")
    with pytest.raises(FormatError, match="no prediction for question '5a2'"):
        read_predictions(file, read_question_set(hotpotqa))


def test_runs_and_judgements_are_written_as_trec_eval_reads_them(tmp_path) -> None:
    question = Question("q1", "Who?", supporting_ids=("b",), namespace=("n",))
    run, qrels = tmp_path / "a.run", tmp_path / "qrels"
    write_trec_run(run, [(question, ["a", "b"])], "dense")
    assert run.read_text() == "n/q1 Q0 n/a 1 2 dense\nn/q1 Q0 n/b 2 1 dense\n"
    write_trec_qrels(qrels, [question])
    assert qrels.read_text() == "n/q1 0 n/b 1\n"
    with pytest.raises(InputError, match="no name holds it: 'a b'"):
        write_trec_run(run, [(Question("q", "?"), ["a b"])], "dense")
