"""What a walk says of how sure it may be."""

from __future__ import annotations

import numpy as np

from hoptrail.policies.networks.score_calibration import PASSAGE_FEATURES, PREFIX_FEATURES
from hoptrail.policies.policy import Policy

UNCOVERED = "question terms that no passage covers"


def features_of(demo, question: str, k: int = 60, **options):
    [result] = demo.walker(Policy.shipped(), "fast").retrieve([question], k, **options)
    return result


def test_features_do_not_depend_on_how_many_passages_are_asked_for(demo, demo_questions) -> None:
    question = demo_questions[0].text
    few, many = features_of(demo, question, 3), features_of(demo, question, 60)
    assert len(few.slots) == len(few.probabilities) == len(few.complete) == 3
    for name in PASSAGE_FEATURES:
        np.testing.assert_allclose(
            few.features.passages[name][:3], many.features.passages[name][:3]
        )
    np.testing.assert_allclose(few.probabilities, many.probabilities[:3])
    np.testing.assert_allclose(few.complete, many.complete[:3])


def test_a_passage_adds_the_terms_that_none_before_it_holds(demo, demo_questions) -> None:
    lexicon = demo.scope.lexicon
    for question in demo_questions[:4]:
        result = features_of(demo, question.text)
        terms, idf = lexicon.ids(question.text).tolist(), lexicon.idf()
        before: set[int] = set()
        expected: list[float] = []
        for passage in lexicon.passage_terms(result.slots.tolist()):
            new = set(passage.terms.tolist()).intersection(terms) - before
            expected.append(float(sum(idf[term] for term in new)))
            before |= new
        total = float(idf[terms].sum())
        added = result.features.passages["question terms that it adds"][: len(expected)]
        np.testing.assert_allclose(added, np.asarray(expected) / total, atol=1e-6)
        assert sum(value > 0 for value in expected) > 1


def test_what_is_known_of_prefixes_rises_along_the_ranking(demo, demo_questions) -> None:
    for question in demo_questions[:4]:
        result = features_of(demo, question.text)
        for name in PREFIX_FEATURES:
            assert (np.diff(result.features.prefixes[name]) >= -1e-9).all()


def test_words_that_no_passage_holds_are_seen(demo, demo_questions) -> None:
    question = demo_questions[0].text
    plain = features_of(demo, question).features.passages[UNCOVERED][0]
    strange = features_of(demo, question + " zqxjk wvutr").features.passages[UNCOVERED][0]
    assert strange > plain + 0.1


def test_a_question_without_its_passages_is_less_surely_complete(demo, demo_questions) -> None:
    gone, given = [], []
    for question in demo_questions[:8]:
        allowed = demo.view.alive.copy()
        allowed[list(demo.slots(*question.supporting_ids))] = False
        given.append(features_of(demo, question.text, 5).complete[-1])
        gone.append(features_of(demo, question.text, 5, allowed=allowed).complete[-1])
    assert np.mean(given) > np.mean(gone) + 0.15


def test_trails_over_one_set_are_one(demo, demo_questions) -> None:
    for question in demo_questions[:6]:
        [result] = demo.walker(Policy.shipped(), "balanced").retrieve([question.text], 5)
        sets = [frozenset(hop.id for hop in trail.hops) for trail in result.trails]
        assert len(sets) == len(set(sets))
        probabilities = [trail.probability for trail in result.trails]
        assert probabilities == sorted(probabilities, reverse=True)
        assert sum(probabilities) <= 1 + 1e-6
