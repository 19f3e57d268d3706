"""Predictions as the benchmarks' own evaluations take them, and rankings as trec_eval does."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hoptrail.errors import FormatError, InputError
from hoptrail.formats.benchmarks.question_sets import BenchmarkQuestion, Fact, QuestionSet
from hoptrail.formats.jsonl import read_objects, write_json, write_jsonl
from hoptrail.formats.text_files import readable
from hoptrail.outputs import output_files
from hoptrail.types import Evidence, Namespace, Question

NO_ANSWER = "noanswer"
"""What HotpotQA and 2WikiMultiHopQA have for a question without an answer."""
QuestionKey = tuple[Namespace, str]


@dataclass(frozen=True, slots=True)
class Prediction:
    """What was answered to a question, and what it was said to rest on."""

    answer: str
    """Empty where none was given."""
    support: tuple[Fact | int, ...] = ()
    """Supporting facts or, for MuSiQue, numbers of paragraphs."""
    answerable: bool = True
    """Whether it was said that there is an answer."""


def prediction_of(
    item: BenchmarkQuestion, answer: str | None, evidence: Iterable[Evidence]
) -> Prediction:
    """What a benchmark is told of an answer.

    Evidence is a passage, perhaps with a span. For MuSiQue it is the paragraph's number; for the
    others the sentence that holds the span, and the first sentence of a passage without one.

    Args:
        item: The question.
        answer: The answer; None for none.
        evidence: What it rests on.
    """
    paragraphs = {one.passage.id: one for one in item.paragraphs}
    support: list[Fact | int] = []
    for one in evidence:
        paragraph = paragraphs.get(one.id)
        if paragraph is None:  # of another question: its own evaluation does not know it
            continue
        if not paragraph.sentences:
            support.append(paragraph.number)
            continue
        start = one.start if one.field == "text" and one.start is not None else 0
        sentence = max(
            (at for at, (begin, _) in enumerate(paragraph.sentences) if begin <= start), default=0
        )
        support.append((paragraph.passage.title or "", sentence))
    return Prediction(answer or "", tuple(dict.fromkeys(support)), answer is not None)


def write_predictions(
    path: str | Path, questions: QuestionSet, predictions: Mapping[QuestionKey, Prediction]
) -> None:
    """Write predictions as the benchmark's own evaluation reads them.

    Args:
        path: The file; JSON for HotpotQA and 2WikiMultiHopQA, JSON lines for MuSiQue.
        questions: The benchmark.
        predictions: By namespace and id of the question, one for each.

    Raises:
        InputError: A question has no prediction.
        FormatError: The file cannot be written.
    """
    for key in questions.by_id:
        if key not in predictions:
            raise InputError(f"there is no prediction for question {key[1]!r}")
    pairs = [(item, predictions[key]) for key, item in questions.by_id.items()]
    if questions.rules == "musique":
        write_jsonl(path, (_musique_line(item, prediction) for item, prediction in pairs))
        return
    answers = {item.published_id: one.answer or NO_ANSWER for item, one in pairs}
    support = {item.published_id: [list(fact) for fact in _facts(one)] for item, one in pairs}
    value: dict[str, Any] = {"answer": answers, "sp": support}
    if questions.rules == "2wikimultihopqa":
        value["evidence"] = {item.published_id: [] for item, _ in pairs}
    write_json(path, value)


def read_predictions(path: str | Path, questions: QuestionSet) -> dict[QuestionKey, Prediction]:
    """Predictions as they are handed in to a benchmark, whoever made them.

    Args:
        path: The file.
        questions: The benchmark.

    Returns:
        One for each question, by its namespace and id.

    Raises:
        FormatError: The file cannot be read, is no such file, or lacks a question.
    """
    path = readable(path)
    rows = _musique_rows(path) if questions.rules == "musique" else _wiki_rows(path)
    predictions = {}
    for key, item in questions.by_id.items():
        if not rows.get(item.published_id):
            raise FormatError(f"{path} has no prediction for question {item.published_id!r}")
        predictions[key] = rows[item.published_id].pop(0)
    return predictions


def write_trec_run(
    path: str | Path, rankings: Iterable[tuple[Question, Sequence[str]]], name: str
) -> None:
    """Write rankings as trec_eval reads them.

    The score is the place, counted from the last: trec_eval orders by the score alone, and breaks
    ties by id.

    Args:
        path: The file.
        rankings: Questions, each with ids of passages, best first.
        name: Of the run.

    Raises:
        InputError: An id holds white space, which the format cannot.
        FormatError: The file cannot be written.
    """
    tag = _word(name)
    _write_lines(
        path,
        (
            f"{_topic(question)} Q0 {_document(question, id_)} {rank} {len(ids) - rank + 1} {tag}"
            for question, ids in rankings
            for rank, id_ in enumerate(ids, 1)
        ),
    )


def write_trec_qrels(path: str | Path, questions: Iterable[Question]) -> None:
    """Write what the questions need as trec_eval reads it.

    Args:
        path: The file.
        questions: With their gold.

    Raises:
        InputError: An id holds white space, which the format cannot.
        FormatError: The file cannot be written.
    """
    _write_lines(
        path,
        (
            f"{_topic(question)} 0 {_document(question, id_)} 1"
            for question in questions
            for id_ in question.supporting_ids
        ),
    )


def _topic(question: Question) -> str:
    return _word("/".join((*question.namespace, question.id)))


def _document(question: Question, id_: str) -> str:
    return _word("/".join((*question.namespace, id_)))


def _word(text: str) -> str:
    if not text or any(character.isspace() for character in text):
        raise InputError(
            f"a TREC file separates by white space, so that no name holds it: {text!r}"
        )
    return text


def _write_lines(path: str | Path, lines: Iterable[str]) -> None:
    target = output_files.output_path(Path(path))
    try:
        with output_files.scratch(target) as part:
            part.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
            part.replace(target)
    except OSError as error:
        raise FormatError(f"{path} cannot be written: {error.strerror or error}") from error


def _musique_line(item: BenchmarkQuestion, prediction: Prediction) -> dict[str, Any]:
    return {
        "id": item.published_id,
        "predicted_answer": prediction.answer,
        "predicted_support_idxs": list(prediction.support),
        "predicted_answerable": prediction.answerable,
    }


def _facts(prediction: Prediction) -> list[Fact]:
    return [fact for fact in prediction.support if isinstance(fact, tuple)]


def _wiki_rows(path: Path) -> dict[str, list[Prediction]]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        return {
            id_: [
                Prediction(
                    _string(answer),
                    tuple((_string(title), _number(at)) for title, at in value["sp"].get(id_, ())),
                    answer != NO_ANSWER,
                )
            ]
            for id_, answer in value["answer"].items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise FormatError(
            f'{path} is no file of predictions with "answer" and "sp" by question: {error!r}'
        ) from error


def _musique_rows(path: Path) -> dict[str, list[Prediction]]:
    """Predictions by id; a question and its twin have one, and stand in the benchmark's order."""
    rows: dict[str, list[Prediction]] = {}
    for number, record in read_objects(path):
        try:
            answer = _string(record["predicted_answer"])
            support = tuple(map(_number, record["predicted_support_idxs"]))
            prediction = Prediction(answer, support, bool(record["predicted_answerable"]))
            id_ = _string(record["id"])
        except (KeyError, TypeError) as error:
            raise FormatError(f"{path}, line {number} is no prediction: {error!r}") from error
        rows.setdefault(id_, []).append(prediction)
    return rows


def _string(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"not a text: {value!r}")
    return value


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"not a whole number: {value!r}")
    return value


def support_of(item: BenchmarkQuestion) -> Collection[Fact | int]:
    """What a benchmark counts as the support of a question: facts, or numbers of paragraphs.

    Args:
        item: The question.
    """
    if item.facts:
        return item.facts
    supporting = set(item.question.supporting_ids)
    return [one.number for one in item.paragraphs if one.passage.id in supporting]
