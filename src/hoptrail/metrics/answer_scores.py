"""How good an answer is, by the rules that the data sets publish, and the evidence beside it.

HotpotQA, 2WikiMultiHopQA and MuSiQue all compare normal forms (lower case, no ASCII punctuation, no
English article, single spaces) for exact match, and count their words in common for F1. They differ
in the rest, which `AnswerRules` says. All sources agree that the joint measures multiply precisions
and recalls of answer and support before the harmonic mean is taken.

Sources: Rajpurkar et al. 2016, arXiv:1606.05250 (normal form, F1); Yang et al. 2018,
arXiv:1809.09600, section 5.1 (support and joint); Ho et al. 2020, arXiv:2011.01060 (aliases);
Trivedi et al. 2022, arXiv:2108.00573, section 5 (sufficiency in pairs).
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass

from hoptrail.errors import InputError

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


@dataclass(frozen=True, slots=True)
class AnswerRules:
    """In what the published evaluation of a data set differs from the others."""

    name: str
    """Of the data set."""
    words_of_their_own: frozenset[str] = frozenset()
    """Normal forms that are worth nothing against any other answer, whatever words they share."""
    empty_matches: bool = False
    """An answer, or a support, without anything in it is right where nothing is needed."""
    titles_folded: bool = False
    """Titles of supporting facts are compared in lower case."""


_CLASSES = frozenset({"yes", "no", "noanswer"})
RULES: Mapping[str, AnswerRules] = {
    "hotpotqa": AnswerRules("hotpotqa", _CLASSES),
    "2wikimultihopqa": AnswerRules("2wikimultihopqa", _CLASSES, titles_folded=True),
    "musique": AnswerRules("musique", empty_matches=True),
}
"""By the name of the data set."""


@dataclass(frozen=True, slots=True)
class Overlap:
    """How far what was said covers what is right; each in [0, 1]."""

    exact: float
    """1.0 where they are the same, else 0.0."""
    precision: float
    recall: float
    f1: float


_NOTHING = Overlap(0.0, 0.0, 0.0, 0.0)
_ALL = Overlap(1.0, 1.0, 1.0, 1.0)


def answer_rules(name: str) -> AnswerRules:
    """The rules of that name.

    Args:
        name: A key of `RULES`.

    Raises:
        InputError: There are none.
    """
    if name not in RULES:
        raise InputError(f"there are no rules {name!r}: choose from {', '.join(RULES)}")
    return RULES[name]


def answer_form(text: str) -> str:
    """What is compared of an answer: lower case, no punctuation of ASCII, no English article.

    Args:
        text: An answer.

    Examples:
        >>> answer_form("The  U.S. of A.")
        'us of'
    """
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_NO_PUNCTUATION)).split())


def score_answer(prediction: str, answers: Sequence[str], rules: AnswerRules) -> Overlap:
    """How good an answer is against the best of those that are accepted.

    Args:
        prediction: What was answered; empty for no answer.
        answers: Accepted answers, at least one. Each measure is the highest that any of them gives,
            by itself, as the evaluation of 2WikiMultiHopQA takes it.
        rules: Whose evaluation.

    Raises:
        InputError: There is no accepted answer.

    Examples:
        >>> score_answer("the Beatles band", ["Beatles"], RULES["hotpotqa"]).f1
        0.6666666666666666
    """
    if isinstance(answers, str) or not answers:
        raise InputError(f"an answer is compared with a list of accepted ones, got {answers!r}")
    overlaps = [_compare(answer_form(prediction), answer_form(one), rules) for one in answers]
    return Overlap(
        max(overlap.exact for overlap in overlaps),
        max(overlap.precision for overlap in overlaps),
        max(overlap.recall for overlap in overlaps),
        max(overlap.f1 for overlap in overlaps),
    )


def score_support(
    prediction: Collection[Hashable], gold: Collection[Hashable], rules: AnswerRules
) -> Overlap:
    """How good evidence is, as a set.

    Args:
        prediction: Of whatever is compared: passage ids, numbers of paragraphs, or supporting facts
            as pairs of a title and the number of a sentence.
        gold: What is needed, likewise.
        rules: Whose evaluation.

    Examples:
        >>> score_support({1, 2}, {2, 3, 4}, RULES["musique"]).f1
        0.4
    """
    said, needed = _support(prediction, rules), _support(gold, rules)
    if not said and not needed:
        return _ALL if rules.empty_matches else Overlap(1.0, 0.0, 0.0, 0.0)
    hits = sum(one in needed for one in said)
    missed = sum(one not in said for one in needed)
    precision = hits / len(said) if said else 0.0
    recall = hits / (hits + missed) if hits + missed else 0.0
    exact = float(hits == len(said) and not missed)
    return Overlap(exact, precision, recall, _harmonic(precision, recall))


def score_jointly(answer: Overlap, support: Overlap) -> Overlap:
    """Answer and support as one: Yang et al. 2018, section 5.1.

    Args:
        answer: What `score_answer` gave.
        support: What `score_support` gave.
    """
    precision = answer.precision * support.precision
    recall = answer.recall * support.recall
    return Overlap(answer.exact * support.exact, precision, recall, _harmonic(precision, recall))


def pair_sufficiency(
    predictions: Sequence[bool], answerable: Sequence[bool], score: float
) -> float:
    """What a question and its twin without an answer are worth together, as MuSiQue-Full has it.

    Args:
        predictions: For both, whether it was said to be answerable.
        answerable: For both, whether it is.
        score: Of the answer, or of the support, to the one that is answerable.

    Returns:
        The score where both were told apart, else 0.

    Raises:
        InputError: There are not two of each.
    """
    if len(predictions) != 2 or len(answerable) != 2:
        raise InputError(
            "sufficiency is measured on a question and its twin, got "
            f"{len(predictions)} predictions for {len(answerable)} questions"
        )
    return score if list(predictions) == list(answerable) else 0.0


def _compare(said: str, right: str, rules: AnswerRules) -> Overlap:
    exact = float(said == right)
    if not exact and {said, right} & rules.words_of_their_own:
        return _NOTHING
    words, right_words = said.split(), right.split()
    if not words or not right_words:
        return _ALL if exact and rules.empty_matches else Overlap(exact, 0.0, 0.0, 0.0)
    common = (Counter(words) & Counter(right_words)).total()
    precision, recall = common / len(words), common / len(right_words)
    return Overlap(exact, precision, recall, _harmonic(precision, recall))


def _support(items: Collection[Hashable], rules: AnswerRules) -> list[Hashable]:
    """The different items; folded only after that, so that two titles stay two."""
    different = list(dict.fromkeys(items))
    return [_folded(one) for one in different] if rules.titles_folded else different


def _folded(fact: Hashable) -> Hashable:
    if isinstance(fact, tuple) and fact and isinstance(fact[0], str):
        return (fact[0].lower(), *fact[1:])
    return fact


def _harmonic(precision: float, recall: float) -> float:
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0
