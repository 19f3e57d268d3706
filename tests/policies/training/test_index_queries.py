"""What an index is trained on: vectors, queries, and the rows of what they ask for."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hoptrail.formats.jsonl import write_jsonl
from hoptrail.memory.testing.hash_encoder import HashEncoder
from hoptrail.policies.training.index_queries import ASKED, CLOZE, index_data


def test_gold_is_the_row_of_its_passage_whatever_its_namespace(tmp_path: Path) -> None:
    texts = {
        (owner, number): f"{owner} keeps {thing} number {number} in a shed by the river {number}"
        for owner, thing in (("ann", "boats"), ("ben", "coats"), ("cat", "clocks"))
        for number in range(4)
    }
    write_jsonl(
        tmp_path / "corpus.jsonl",
        [{"id": str(i), "namespace": [owner], "text": text} for (owner, i), text in texts.items()],
    )
    write_jsonl(
        tmp_path / "questions.jsonl",
        [
            {
                "id": f"{owner}{i}",
                "namespace": [owner],
                "question": text,
                "supporting_ids": [str(i)],
            }
            for (owner, i), text in texts.items()
        ],
    )
    questions = [tmp_path / "questions.jsonl"]
    encoder = HashEncoder(64)
    data = index_data(tmp_path / "corpus.jsonl", questions, cloze=6, seed=0, encoder=encoder)
    cosines = data.queries.vectors @ data.passages.T
    for kind, least in ((ASKED, 0.999), (CLOZE, 0.4)):
        rows = np.flatnonzero(data.queries.kinds == kind)
        assert len(rows)
        assert all(cosines[row, data.queries.gold[row]].min() > least for row in rows)
