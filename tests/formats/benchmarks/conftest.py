"""Small files as the benchmarks publish them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest


def wiki_records() -> list[dict]:
    context = [
        ["Ada Lind", ["Ada Lind was a clockmaker.", " She was born in Varn."]],
        ["Varn", ["Varn is a town.", " It lies in Osk."]],
        ["Tolle", ["Tolle is a market town."]],
    ]
    return [
        {
            "_id": "5a1",
            "question": "In what land was Ada Lind born?",
            "answer": "Osk",
            "type": "bridge",
            "level": "hard",
            "supporting_facts": [["Ada Lind", 1], ["Varn", 1]],
            "context": context,
        },
        {
            "_id": "5a2",
            "question": "Are Varn and Tolle both towns?",
            "answer": "yes",
            "type": "comparison",
            "level": "easy",
            "supporting_facts": [["Varn", 0], ["Tolle", 0]],
            "context": list(reversed(context)),
        },
    ]


@pytest.fixture
def hotpotqa(tmp_path: Path) -> Path:
    file = tmp_path / "hotpot_dev_distractor_v1.json"
    file.write_text(json.dumps(wiki_records()), encoding="utf-8")
    return file


@pytest.fixture
def two_wiki(tmp_path: Path) -> Path:
    file = tmp_path / "2wiki.json"
    records = [
        {**record, "evidences": [["Varn", "country", "Osk"]], "answer_id": "Q7"}
        for record in wiki_records()
    ]
    file.write_text(json.dumps(records), encoding="utf-8")
    (tmp_path / "id_aliases.json").write_text(
        '{"Q_id": "Q7", "aliases": ["Land of Osk"], "demonyms": ["Oskian"]}\n', encoding="utf-8"
    )
    return file


def musique_records() -> list[dict]:
    paragraphs = [
        {"idx": 0, "title": "Tolle", "paragraph_text": "A town.", "is_supporting": False},
        {"idx": 1, "title": "Ada", "paragraph_text": "Born in Varn.", "is_supporting": True},
        {"idx": 2, "title": "Varn", "paragraph_text": "It lies in Osk.", "is_supporting": True},
    ]
    record = {
        "id": "2hop__1_2",
        "question": "In what land was Ada born?",
        "answer": "Osk",
        "answer_aliases": ["Land of Osk"],
        "answerable": True,
        "paragraphs": paragraphs,
    }
    return [record, {**record, "answerable": False, "paragraphs": paragraphs[:2]}]


@pytest.fixture
def musique(tmp_path: Path) -> Path:
    file = tmp_path / "musique_full_v1.0_dev.jsonl"
    lines = "".join(json.dumps(record) + "\n" for record in musique_records())
    file.write_text(lines, encoding="utf-8")
    return file
