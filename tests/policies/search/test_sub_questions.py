"""What a passage leaves open of a question, asked of each name that it brings."""

from __future__ import annotations

import pytest

from hoptrail.policies.search.sub_questions import names_brought, open_part, subquestions
from hoptrail.types import Passage

ARCHIVE = Passage(
    "archive",
    "The Kanter Archive is held by the University of Varn. In Tolle it fills two halls of the "
    "University of Varn.",
    "Kanter Archive",
)
QUESTION = "How many people work at the school that holds the Kanter Archive?"


@pytest.fixture
def sparse(world):
    return world([ARCHIVE]).view.sparse


def test_words_that_the_passage_holds_are_taken_out_whatever_their_form(sparse) -> None:
    left = open_part(QUESTION, ARCHIVE, sparse)
    assert left == "How many people work at the school that holds the"
    assert open_part("Which archives?", ARCHIVE, sparse) == "Which"
    assert open_part("Is it in the hall of Tolle?", ARCHIVE, sparse) == "Is it in the of"


def test_the_names_that_the_question_lacks_come_by_how_often_they_stand_there(sparse) -> None:
    assert names_brought(QUESTION, ARCHIVE) == [
        ("university of varn", "University of Varn"),
        ("tolle", "Tolle"),
    ]
    asked = [one.text for one in subquestions(QUESTION, 7, ARCHIVE, sparse, 4)]
    assert asked == [
        "How many people work at the school that holds the University of Varn",
        "How many people work at the school that holds the Tolle",
    ]


def test_a_title_is_a_name_that_its_passage_brings(sparse) -> None:
    [(name, written)] = names_brought("Who?", Passage("p", "it is cold.", "Lake Sorrel (lake)"))
    assert (name, written) == ("lake sorrel", "Lake Sorrel (lake)")


def test_only_so_many_are_asked_and_none_without_names(sparse) -> None:
    assert len(subquestions(QUESTION, 7, ARCHIVE, sparse, 1)) == 1
    assert subquestions(QUESTION, 7, Passage("p", "it is cold here."), sparse, 4) == []
    [one] = subquestions("Kanter Archive", 7, ARCHIVE, sparse, 1)
    assert (one.read, one.text) == (7, "University of Varn")
