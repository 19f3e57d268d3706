"""A reader that needs no model: it reads words."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest

from hoptrail.types import Answer, Evidence, Passage, Reader


class LastNameReader:
    """Answers with the last name of two words that it read, and rests on all that it read."""

    def __repr__(self) -> str:
        return "<LastNameReader>"

    def read(self, question: str, passages: Sequence[Passage]) -> Answer:
        names = [
            (passage.id, match)
            for passage in passages
            for match in re.finditer(r"[A-Z][a-z]+(?: [A-Z][a-z]+)+", passage.text)
        ]
        if not names:
            return Answer(question, None, 0.5, 0.25, passages=tuple(passages))
        id_, match = names[-1]
        spans = {id_: match.span()}
        evidence = tuple(
            Evidence(one.id, one.namespace, "text", *spans.get(one.id, (None, None)))
            for one in passages
        )
        return Answer(question, match.group(), 0.75, 0.75, evidence, tuple(passages))


@pytest.fixture
def last_name_reader() -> Reader:
    return LastNameReader()
