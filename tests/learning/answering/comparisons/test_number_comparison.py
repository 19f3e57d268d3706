"""Which of two has more is computed from the numbers that the passages give."""

from __future__ import annotations

import pytest

from hoptrail import Passage
from hoptrail.learning.answering.comparisons.number_comparison import compare_numbers

PASSAGES = [
    Passage("a", "The Grey Swan is an opera in three acts of 1901.", title="The Grey Swan"),
    Passage("b", "Nora's Lamp is an opera in 2 acts, written in 1887.", title="Nora's Lamp"),
    Passage("c", "Mount Ulv is 2,410 m (7,907 ft) high.", title="Mount Ulv"),
    Passage("d", "Hestfjell rises to 8,100 feet, 3 km from the coast.", title="Hestfjell"),
    Passage("e", "The population of Tolle was 31,200 in 1990.", title="Tolle"),
    Passage("f", "Vik: its population (2010) is 1.2 million.", title="Vik (city)"),
    Passage("g", "Lake Sol covers 2 square miles.", title="Lake Sol"),
    Passage("h", "Lake Mane has an area of 600 hectares.", title="Lake Mane"),
    Passage("i", "Kit Bell made four full-length studio albums.", title="Kit Bell"),
    Passage("j", "The Moles are a band; since 2012 eleven albums came out.", title="The Moles"),
]


@pytest.mark.parametrize(
    ("question", "answer", "words"),
    [
        ("Which opera has more acts, The Grey Swan or Nora's Lamp?", "The Grey Swan", "three acts"),
        ("Which opera has fewer acts, The Grey Swan or Nora's Lamp?", "Nora's Lamp", "2 acts"),
        ("Which mountain is higher, Mount Ulv or Hestfjell?", "Hestfjell", "8,100 feet"),
        ("Which has a greater population, Tolle or Vik?", "Vik", "1.2 million"),
        ("Which lake is larger, Lake Sol or Lake Mane?", "Lake Mane", "600 hectares"),
        ("Between Lake Sol and Lake Mane, which lake is smaller?", "Lake Sol", "2 square miles"),
        ("Who made more studio albums, Kit Bell or The Moles?", "The Moles", "eleven albums"),
    ],
)
def test_what_the_passages_count_decides(question: str, answer: str, words: str) -> None:
    comparison = compare_numbers(question, PASSAGES)
    assert comparison is not None
    assert comparison.text == answer
    said = [PASSAGES[place].text[start:end] for place, start, end in comparison.places]
    assert words in said
    assert len(said) == 2


@pytest.mark.parametrize(
    "question",
    [
        "Which opera has more arias, The Grey Swan or Nora's Lamp?",  # neither is said
        "Which is higher, Mount Ulv or Lake Sol?",  # one is said
        "Who is more popular, Kit Bell or The Moles?",
        "What is higher than Mount Ulv?",
        "Is Mount Ulv or Hestfjell a mountain?",
    ],
)
def test_what_is_not_compared_or_not_said_is_left_to_the_reader(question: str) -> None:
    assert compare_numbers(question, PASSAGES) is None


def test_what_is_equal_decides_nothing() -> None:
    equal = [Passage(str(i), "It has 12 floors.", title=title) for i, title in enumerate("AB")]
    assert compare_numbers("Which has more floors, A or B?", equal) is None
