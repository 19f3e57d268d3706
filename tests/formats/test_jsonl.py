from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoptrail.errors import FormatError
from hoptrail.formats.jsonl import (
    parse_passage,
    parse_question,
    passage_record,
    question_record,
    read_corpus,
    read_folder,
    read_questions,
    read_source,
    sha256_of,
    write_jsonl,
)
from hoptrail.types import Link, Passage, Question


def lines(path, *records) -> str:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return str(path)


def test_a_corpus_with_everything_a_line_may_hold(tmp_path) -> None:
    file = lines(
        tmp_path / "c.jsonl",
        {
            "id": "a",
            "text": "first",
            "title": "A",
            "links": ["b", {"target": "c", "kind": "cites"}],
        },
        {"id": "b", "text": "second", "title": "", "namespace": ["conv", "1"], "speaker": "Mel"},
        {"id": "c", "text": "third", "links": [{"id": "a", "weight": 2}], "metadata": {"year": 7}},
    )
    a, b, c = read_corpus(file)
    assert a == Passage("a", "first", "A", links=(Link("b"), Link("c", "cites")))
    assert b == Passage("b", "second", namespace=("conv", "1"), metadata={"speaker": "Mel"})
    assert b.content == "Mel: second"
    assert c == Passage("c", "third", links=(Link("a", "link", 2.0),), metadata={"year": 7})


def test_questions_keep_what_is_known_and_ignore_the_rest(tmp_path) -> None:
    file = lines(
        tmp_path / "q.jsonl",
        {
            "id": "1",
            "question": "Who?",
            "answers": ["Ada", "A."],
            "supporting_ids": ["a", "b"],
            "kind": None,
            "namespace": ["n"],
            "selection": "unbiased",
            "steps": [{"question": "x", "answer": "y"}],
        },
        {"id": "2", "question": "What?"},
    )
    assert read_questions(file) == [
        Question("1", "Who?", ("Ada", "A."), ("a", "b"), None, ("n",), "unbiased"),
        Question("2", "What?"),
    ]


def test_blank_lines_a_bom_and_odd_line_separators_are_no_trouble(tmp_path) -> None:
    file = tmp_path / "c.jsonl"
    text = '{"id": "a", "text": "one\u2028two"}\r\n\r\n{"id": "b", "text": "é"}'
    file.write_bytes(b"\xef\xbb\xbf" + text.encode("utf-8"))
    assert [passage.text for passage in read_corpus(file)] == ["one\u2028two", "é"]


GOOD = b'{"id": "a", "text": "fine"}\n'


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (b"{not json}", r"c\.jsonl, line 3: not valid JSON \(.* at column 2\)"),
        (b'["a"]', r"line 3: a line must hold a JSON object, got \[\"a\"\]"),
        (b'{"text": "t"}', r'line 3: "id" is missing'),
        (b'{"id": 7, "text": "t"}', r'line 3: "id" must be a string that is not empty, got 7'),
        (b'{"id": " ", "text": "t"}', r'line 3: "id" must be a string that is not empty, got " "'),
        (b'{"id": "b"}', r'line 3: "text" is missing'),
        (b'{"id": "b", "text": ""}', r'line 3: "text" must be a string that is not empty, got ""'),
        (b'{"id": "b", "text": null}', r'line 3: "text" must be .* got null'),
        (b'{"id": "b", "text": "t", "title": 1}', r'"title" must be a string or null, got 1'),
        (b'{"id": "b", "text": "t", "links": "a"}', r'line 3: "links" must be a list, got "a"'),
        (b'{"id": "b", "text": "t", "links": [3]}', r"a link must be an id or an object .* got 3"),
        (b'{"id": "b", "text": "t", "links": [{}]}', r'in a link: "id" is missing'),
        (
            b'{"id": "b", "text": "t", "links": [{"id": "a", "weight": 0}]}',
            r'"weight" must be a number above 0, got 0',
        ),
        (
            b'{"id": "b", "text": "t", "links": [{"id": "a", "weight": true}]}',
            r'"weight" must be a number above 0, got true',
        ),
        (b'{"id": "b", "text": "t", "namespace": "n"}', r'"namespace" must be a list, got "n"'),
        (b'{"id": "b", "text": "t", "namespace": [""]}', r'"namespace" must hold strings'),
        (b'{"id": "b", "text": "t", "metadata": []}', r'"metadata" must be an object, got \[\]'),
        (b'{"id": "b", "text": "t", "n": NaN}', r"line 3: not valid JSON \(NaN is not"),
        (b'{"id": "b", "text": "\\ud800"}', r"line 3: holds half of a surrogate pair"),
        (b'{"id": "b", "text": "caf\xe9"}', r"line 3: not UTF-8 \(byte 0xe9 at column 25\)"),
        (b'{"id": "a", "text": "t"}', r"line 3: id 'a' is already on line 1; every line needs"),
        (b"[" * 100_000, r"line 3: not valid JSON"),
    ],
)
def test_a_bad_line_is_named_with_its_number_and_value(tmp_path, bad, message) -> None:
    file = tmp_path / "c.jsonl"
    file.write_bytes(GOOD + b"\n" + bad + b"\n")
    with pytest.raises(FormatError, match=message):
        list(read_corpus(file))


def test_an_id_may_stand_once_in_each_namespace(tmp_path) -> None:
    a = {"id": "a", "text": "t"}
    file = lines(tmp_path / "c.jsonl", a, {**a, "namespace": ["n"]}, {**a, "namespace": ["n"]})
    with pytest.raises(FormatError, match="line 3: id 'a' is already on line 2 in namespace n"):
        list(read_corpus(file))


def test_a_bad_question_is_named(tmp_path) -> None:
    file = lines(tmp_path / "q.jsonl", {"id": "1", "question": "Who?", "supporting_ids": "a"})
    with pytest.raises(FormatError, match=r'q\.jsonl, line 1: "supporting_ids" must be a list'):
        read_questions(file)
    file = lines(tmp_path / "q.jsonl", {"id": "1", "question": ""})
    with pytest.raises(FormatError, match='"question" must be a string that is not empty'):
        read_questions(file)


@pytest.mark.parametrize("read", [read_corpus, read_questions, read_source, read_folder, sha256_of])
def test_a_path_that_is_not_there_is_said_at_once(tmp_path, read) -> None:
    with pytest.raises(FormatError, match=r"none\.jsonl does not exist"):
        read(tmp_path / "none.jsonl")


def test_a_folder_is_not_a_corpus_nor_a_file_a_folder(tmp_path) -> None:
    with pytest.raises(FormatError, match="is a folder: give a file of JSON lines"):
        read_corpus(tmp_path)
    (tmp_path / "a.md").write_text("x")
    with pytest.raises(FormatError, match=r"a\.md is not a folder"):
        read_folder(tmp_path / "a.md")
    (tmp_path / "a.png").write_text("x")
    with pytest.raises(FormatError, match=r"a\.png is a \.png file: give a folder"):
        read_source(tmp_path / "a.png")


def test_a_file_that_cannot_be_opened_is_named(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FormatError, match=r"c\.jsonl cannot be read: Not a directory"):
        read_corpus(tmp_path / "file" / "c.jsonl")


NAMES = st.text(st.characters(codec="utf-8"), min_size=1).filter(str.strip)
METADATA = st.dictionaries(NAMES, st.none() | st.booleans() | st.integers() | NAMES, max_size=3)
LINKS = st.builds(Link, NAMES, NAMES, st.floats(min_value=0.1, max_value=9))
PASSAGES = st.builds(
    Passage,
    id=NAMES,
    text=NAMES,
    title=st.none() | NAMES,
    metadata=METADATA | st.just({"id": 1, "text": 2}) | st.just({"metadata": 3}),
    namespace=st.lists(NAMES, max_size=2).map(tuple),
    links=st.lists(LINKS, max_size=2).map(tuple),
    written_at=st.just(0.0),
)
QUESTIONS = st.builds(
    Question,
    id=NAMES,
    text=NAMES,
    answers=st.lists(NAMES, max_size=2).map(tuple),
    supporting_ids=st.lists(NAMES, max_size=2).map(tuple),
    kind=st.none() | NAMES,
    namespace=st.lists(NAMES, max_size=2).map(tuple),
    selection=st.none() | NAMES,
    answerable=st.booleans(),
)


@given(PASSAGES)
def test_a_passage_comes_back_from_its_record(passage) -> None:
    assert parse_passage(json.loads(json.dumps(passage_record(passage))), "here") == passage


@given(QUESTIONS)
def test_a_question_comes_back_from_its_record(question) -> None:
    assert parse_question(json.loads(json.dumps(question_record(question))), "here") == question


def test_what_is_written_is_read_back(tmp_path, twelve) -> None:
    file = tmp_path / "c.jsonl"
    assert write_jsonl(file, map(passage_record, twelve)) == 12
    assert list(read_corpus(file)) == twelve
    assert [entry.name for entry in tmp_path.iterdir()] == ["c.jsonl"]
    assert sha256_of(file) == hashlib.sha256(file.read_bytes()).hexdigest()


def test_a_failed_write_leaves_what_was_there(tmp_path) -> None:
    file = tmp_path / "c.jsonl"
    file.write_text("before")

    def records():
        yield {"id": "a"}
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        write_jsonl(file, records())
    assert file.read_text() == "before"
    assert [entry.name for entry in tmp_path.iterdir()] == ["c.jsonl"]
    with pytest.raises(FormatError, match="cannot be written: there is no folder"):
        write_jsonl(tmp_path / "none" / "c.jsonl", [])


@pytest.mark.parametrize(("name", "count"), [("musique", 8674), ("locomo", 1451), ("cacm", 3204)])
def test_the_real_corpora_are_read_whole(data_folder, name, count) -> None:
    assert sum(1 for _ in read_corpus(data_folder / name / "corpus.jsonl")) == count


@pytest.mark.parametrize("value", [2, 1.0, True, "1", [1], {"a": 1}, None])
def test_a_key_with_two_values_is_refused_and_not_halved(value: object) -> None:
    record = {"id": "a", "text": "Tea.", "page": value, "metadata": {"page": 1}}
    with pytest.raises(FormatError, match=r'line 3: "page" is .* give one of the two'):
        parse_passage(record, "line 3")
    assert parse_passage({**record, "page": 1}, "line 3").metadata == {"page": 1}
