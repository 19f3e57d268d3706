"""HotpotQA, 2WikiMultiHopQA and MuSiQue as they are published, each question with its paragraphs.

HotpotQA and 2WikiMultiHopQA are one JSON list; a question has `context`, pairs of a title and
sentences, and `supporting_facts`, pairs of a title and the number of a sentence. MuSiQue is JSON
lines; a question has `paragraphs`, of which some are `is_supporting`. All paragraphs together are a
corpus to search in, or each question has its own to itself: the distractor setting.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hoptrail.errors import FormatError
from hoptrail.formats.jsonl import passage_record, question_record, read_objects, write_jsonl
from hoptrail.formats.text_files import lines_of, readable
from hoptrail.types import Passage, Question

Fact = tuple[str, int]
"""A title and the number of a sentence, from 0."""

TWIN = "#unanswerable"
"""Behind the id of a question of MuSiQue-Full whose twin, with an answer, has the same id."""


@dataclass(frozen=True, slots=True)
class ContextParagraph:
    """A paragraph as a question has it."""

    passage: Passage
    number: int
    """Its place in the question's context, or its `idx`."""
    sentences: tuple[tuple[int, int], ...] = ()
    """Where each sentence of the passage's text begins and ends; none where there are no facts."""


@dataclass(frozen=True, slots=True)
class BenchmarkQuestion:
    """A question of a benchmark, with what its own evaluation needs."""

    question: Question
    published_id: str
    """As the file has it."""
    paragraphs: tuple[ContextParagraph, ...]
    facts: tuple[Fact, ...] = ()
    """The supporting facts; MuSiQue has none, only supporting paragraphs."""


@dataclass(frozen=True, slots=True)
class QuestionSet:
    """A benchmark's file."""

    rules: str
    """Whose it is: a key of `hoptrail.metrics.RULES`."""
    items: tuple[BenchmarkQuestion, ...]
    distractor: bool = False
    """Whether each question's paragraphs are in a namespace of their own."""
    by_id: Mapping[tuple[tuple[str, ...], str], BenchmarkQuestion] = field(init=False, repr=False)
    """By the namespace and the id of the question."""

    def __post_init__(self) -> None:
        index = {(item.question.namespace, item.question.id): item for item in self.items}
        object.__setattr__(self, "by_id", index)

    def passages(self) -> list[Passage]:
        """All paragraphs, each once."""
        passages = (one.passage for item in self.items for one in item.paragraphs)
        return list({(passage.namespace, passage.id): passage for passage in passages}.values())

    def write(self, folder: Path) -> tuple[Path, Path]:
        """Write corpus and questions as the JSON lines that every command takes.

        Args:
            folder: Where; it must exist.

        Returns:
            The files of the corpus and of the questions.
        """
        corpus, questions = folder / "corpus.jsonl", folder / "questions.jsonl"
        write_jsonl(corpus, map(passage_record, self.passages()))
        write_jsonl(questions, (question_record(item.question) for item in self.items))
        return corpus, questions


def is_question_set(path: str | Path) -> bool:
    """Whether a file is a benchmark's, with its paragraphs, and not questions by themselves.

    Args:
        path: A file; `.json` is HotpotQA's or 2WikiMultiHopQA's, lines with `paragraphs` MuSiQue's.

    Raises:
        FormatError: It cannot be read.
    """
    path = readable(path)
    if path.suffix.lower() == ".json":
        return True
    first = next((line for _, line in lines_of(path) if line.strip()), "")
    return '"paragraphs"' in first


def read_question_set(
    path: str | Path, *, distractor: bool = False, aliases: str | Path | None = None
) -> QuestionSet:
    """The questions of a published file, with their paragraphs.

    Args:
        path: The file, as it was downloaded.
        distractor: Let each question be asked of its own paragraphs only.
        aliases: The file of names for the answers of 2WikiMultiHopQA (`id_aliases.json`).

    Raises:
        FormatError: The file is none of these, or a question cannot be used.
    """
    path = readable(path)
    records = list(_records(path))
    if not records:
        raise FormatError(f"{path} holds no questions")
    musique = "paragraphs" in records[0][1]
    rules = "musique" if musique else _wiki_rules(records)
    other_names = _aliases(Path(aliases)) if aliases else {}
    items = [
        _musique(record, where) if musique else _wiki(record, where, other_names)
        for where, record in records
    ]
    if not distractor:
        _check_pooled(items, path)
    return QuestionSet(rules, tuple(_placed(items, path, distractor)), distractor)


def _records(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each question's place, for messages, and its JSON object."""
    if path.suffix.lower() != ".json":
        yield from ((f"{path}, line {number}", record) for number, record in read_objects(path))
        return
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise FormatError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
        raise FormatError(f"{path} should be a list of questions, as HotpotQA publishes them")
    yield from ((f"{path}, question {number}", value) for number, value in enumerate(values, 1))


def _wiki_rules(records: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    """2WikiMultiHopQA's questions have evidence triples beside what HotpotQA's have."""
    triples = any("evidences" in record for _, record in records)
    return "2wikimultihopqa" if triples else "hotpotqa"


def _wiki(
    record: Mapping[str, Any], where: str, other_names: Mapping[str, Sequence[str]]
) -> BenchmarkQuestion:
    """A question of HotpotQA or 2WikiMultiHopQA."""
    published_id, text = _text(record, "_id", where), _text(record, "question", where)
    answer = _text(record, "answer", where)
    names = other_names.get(str(record.get("answer_id")), ())
    paragraphs = [
        _sentences(title, sentences, number, where)
        for number, (title, sentences) in enumerate(_pairs(record, "context", where))
    ]
    facts = [(title, number) for title, number in _pairs(record, "supporting_facts", where)]
    ids = {one.passage.title: one.passage.id for one in paragraphs}
    lacking = next((title for title, _ in facts if title not in ids), None)
    if lacking is not None:
        raise FormatError(
            f"{where}: the supporting fact {lacking!r} is not among the paragraphs: take the file "
            "of the distractor setting, which holds all that is needed"
        )
    kind = record.get("type")
    question = Question(
        id=published_id,
        text=text,
        answers=tuple(dict.fromkeys([answer, *names])),
        supporting_ids=tuple(dict.fromkeys(ids[title] for title, _ in facts)),
        kind=kind if isinstance(kind, str) else None,
    )
    return BenchmarkQuestion(question, published_id, tuple(paragraphs), tuple(facts))


def _musique(record: Mapping[str, Any], where: str) -> BenchmarkQuestion:
    published_id = _text(record, "id", where)
    answerable = record.get("answerable", True)
    paragraphs, supporting = [], []
    for entry in _objects(record, "paragraphs", where):
        number = entry.get("idx")
        if not isinstance(number, int):
            raise FormatError(f'{where}: a paragraph\'s "idx" must be a whole number')
        passage = _passage(_text(entry, "title", where), _text(entry, "paragraph_text", where))
        paragraphs.append(ContextParagraph(passage, number))
        if entry.get("is_supporting"):
            supporting.append(passage.id)
    other_names = record.get("answer_aliases") or []
    question = Question(
        id=published_id if answerable else published_id + TWIN,
        text=_text(record, "question", where),
        answers=tuple(dict.fromkeys([_text(record, "answer", where), *other_names])),
        supporting_ids=tuple(dict.fromkeys(supporting)),
        kind=published_id.partition("__")[0],
        answerable=bool(answerable),
    )
    return BenchmarkQuestion(question, published_id, tuple(paragraphs))


def _sentences(title: str, sentences: object, number: int, where: str) -> ContextParagraph:
    """A paragraph of which each sentence's place is known."""
    if not isinstance(sentences, list) or not all(isinstance(one, str) for one in sentences):
        raise FormatError(f"{where}: the context of {title!r} should be a list of sentences")
    text, places = "", []
    for sentence in sentences:
        if text and sentence and not (text[-1].isspace() or sentence[0].isspace()):
            text += " "
        places.append((len(text), len(text) + len(sentence)))
        text += sentence
    return ContextParagraph(_passage(title, text), number, tuple(places))


def _passage(title: str, text: str) -> Passage:
    """A paragraph by an id that its content decides, so that equal ones are one passage."""
    text = text if text.strip() else title
    digest = hashlib.sha256(f"{title}\0{text}".encode()).hexdigest()
    return Passage(id=digest[:16], text=text, title=title)


def _placed(
    items: Sequence[BenchmarkQuestion], path: Path, distractor: bool
) -> Iterator[BenchmarkQuestion]:
    """The questions, each in its namespace; none may have another's id."""
    seen: set[str] = set()
    for item in items:
        question = item.question
        if question.id in seen:
            raise FormatError(f"{path}: the id {item.published_id!r} is there twice")
        seen.add(question.id)
        if not distractor:
            yield item
            continue
        namespace = (question.id,)
        yield replace(
            item,
            question=replace(question, namespace=namespace),
            paragraphs=tuple(
                replace(one, passage=replace(one.passage, namespace=namespace))
                for one in item.paragraphs
            ),
        )


def _check_pooled(items: Sequence[BenchmarkQuestion], path: Path) -> None:
    """Refuse questions without an answer where another question's paragraphs may hold it."""
    absent = next((item for item in items if not item.question.answerable), None)
    if absent is not None:
        raise FormatError(
            f"{path}: question {absent.published_id!r} has no answer in its own paragraphs, but "
            "another question's may hold it: ask each of its own, in the distractor setting"
        )


def _aliases(path: Path) -> dict[str, list[str]]:
    """Other names of an answer by its id, from lines with `Q_id`, `aliases` and `demonyms`."""
    names: dict[str, list[str]] = {}
    for number, record in read_objects(readable(path)):
        both = [*(record.get("aliases") or []), *(record.get("demonyms") or [])]
        if not isinstance(record.get("Q_id"), str) or not all(isinstance(n, str) for n in both):
            raise FormatError(f'{path}, line {number}: should hold "Q_id", "aliases", "demonyms"')
        names[record["Q_id"]] = [name for name in both if name.strip()]
    return names


def _text(record: Mapping[str, Any], key: str, where: str) -> str:
    value = record.get(key)
    if not isinstance(value, str) or not value.strip():
        raise FormatError(f'{where}: "{key}" must be a string that is not empty')
    return value


def _objects(record: Mapping[str, Any], key: str, where: str) -> list[Mapping[str, Any]]:
    value = record.get(key)
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise FormatError(f'{where}: "{key}" must be a list of objects')
    return value


def _pairs(record: Mapping[str, Any], key: str, where: str) -> list[tuple[str, Any]]:
    value = record.get(key)
    if not isinstance(value, list) or not all(
        isinstance(one, list) and len(one) == 2 and isinstance(one[0], str) for one in value
    ):
        raise FormatError(f'{where}: "{key}" must be a list of pairs that begin with a title')
    return [(title, rest) for title, rest in value]
