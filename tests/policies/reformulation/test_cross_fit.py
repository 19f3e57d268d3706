"""The reformulators of a run as a folder."""

from __future__ import annotations

import json

import pytest

from hoptrail.errors import PolicyError
from hoptrail.policies.reformulation.cross_fit import PARTS, CrossFit, part_file, question_key
from hoptrail.policies.reformulation.learned import FILE


@pytest.fixture
def folder(random_reformulator, tmp_path):
    """Of two parts, with a question in each."""
    random_reformulator(0).save(tmp_path / FILE)
    for part in range(2):
        random_reformulator(part + 1).save(part_file(tmp_path, part))
    about = {
        "parts": 2,
        "part_of": {question_key("Who?"): 0, question_key("Where?"): 1},
        "made_of": {"command": "hoptrail train reformulator"},
    }
    (tmp_path / PARTS).write_text(json.dumps(about), encoding="utf-8")
    return tmp_path


def changed(folder, **values: object) -> None:
    about = json.loads((folder / PARTS).read_text(encoding="utf-8"))
    (folder / PARTS).write_text(json.dumps(about | values), encoding="utf-8")


def test_a_folder_is_loaded(folder, random_reformulator) -> None:
    cross_fit = CrossFit.load(folder)
    expected = [random_reformulator(seed).fingerprint for seed in range(3)]
    assert [cross_fit.whole.fingerprint, *(p.fingerprint for p in cross_fit.parts)] == expected
    assert [cross_fit.part(text) for text in ("Who?", "Where?", "When?")] == [0, 1, None]
    assert cross_fit.made_of == {"command": "hoptrail train reformulator"}
    assert cross_fit.fingerprint() == " ".join(expected)


def test_a_question_s_key_is_of_its_text_alone() -> None:
    assert question_key("Who?") == question_key("Who?") != question_key("Who? ")
    assert len(question_key("\ud800")) == 16  # half a character, as broken files have


@pytest.mark.parametrize("file", [FILE, "part-0.safetensors", "part-1.safetensors"])
def test_what_is_not_complete_is_refused(folder, file) -> None:
    (folder / file).unlink()
    with pytest.raises(PolicyError, match=r"not complete.*--resume"):
        CrossFit.load(folder)


def test_a_question_of_no_part_is_refused(folder) -> None:
    changed(folder, part_of={question_key("Who?"): 2})
    with pytest.raises(PolicyError, match="not complete"):
        CrossFit.load(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", '{"parts": "some"}'])
def test_damaged_parts_are_refused(folder, text) -> None:
    (folder / PARTS).write_text(text, encoding="utf-8")
    with pytest.raises(PolicyError, match="holds no reformulators, or damaged ones"):
        CrossFit.load(folder)


@pytest.mark.parametrize(
    "values", [{"part_of": []}, {"part_of": {"x": None}}, {"made_of": 3}, {"parts": None}]
)
def test_other_values_are_refused(folder, values) -> None:
    changed(folder, **values)
    with pytest.raises(PolicyError, match="holds no reformulators, or damaged ones"):
        CrossFit.load(folder)


def test_a_damaged_reformulator_is_refused(folder) -> None:
    part_file(folder, 1).write_bytes(b"nothing")
    with pytest.raises(PolicyError, match=r"part-1\.safetensors is damaged"):
        CrossFit.load(folder)


def test_a_folder_of_something_else_is_refused(tmp_path) -> None:
    for place in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(PolicyError, match="`hoptrail train reformulator` trains them"):
            CrossFit.load(place)
