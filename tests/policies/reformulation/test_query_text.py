"""What the encoder reads in a state: the question, and the heads of what was read."""

from __future__ import annotations

import pytest

from hoptrail.policies.reformulation.query_text import BETWEEN, HEAD, TOTAL, query_text


def test_the_question_alone_where_nothing_was_read() -> None:
    assert query_text("Who built it?", []) == "Who built it?"


def test_short_passages_are_read_whole() -> None:
    assert query_text("Who?", ["One.", "Two."]) == "Who? | One. | Two."


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_passages_share_what_a_pass_reads(count) -> None:
    question, *heads = query_text("Who?", ["x" * 2000] * count).split(BETWEEN)
    assert question == "Who?"
    assert len(heads) == count
    assert {len(head) for head in heads} == {min(HEAD, TOTAL // count)}
