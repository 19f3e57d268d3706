"""Judging candidates jointly with what was read: effort `thorough`."""

from __future__ import annotations

import re

import numpy as np
import pytest

from hoptrail.api.memory import Memory
from hoptrail.memory.encoders.disk_cache import CachedEncoder
from hoptrail.memory.encoders.query_cache import QueryCache, RememberingEncoder
from hoptrail.memory.testing.hash_encoder import HashEncoder
from hoptrail.policies.policy import RERANK_WEIGHT, Policy
from hoptrail.policies.search import reranker as reranker_module
from hoptrail.policies.search.beam import Episode
from hoptrail.policies.search.reranker import Reranker, RerankFit
from hoptrail.policies.search.scoring import Scores
from hoptrail.types import Passage

QUESTION = "How many people work at the school that holds the Kanter Archive?"
PASSAGES = [
    Passage("archive", "The Kanter Archive is held by the University of Varn.", "Kanter Archive"),
    Passage("staff", "Some 900 people work at the University of Varn.", "Work in Varn"),
    Passage("school", "A school is a place of learning.", "School"),
    Passage("river", "The Ister Beck is a river of trout and mist.", "Ister Beck"),
    Passage("tower", "The clock tower of Tolle has seven bells.", "Clock tower"),
]


class TokenHashEncoder(HashEncoder):
    """A vector for each word as well."""

    def encode_tokens(self, texts):
        out = []
        for text in texts:
            words = list(re.finditer(r"\w+", text))
            vectors = self.encode([word.group() for word in words])
            self.texts_encoded += 1 - len(words)
            spans = np.asarray([word.span() for word in words], dtype=np.int64).reshape(-1, 2)
            out.append((3 * vectors, spans, vectors.sum(0)))
        return out


@pytest.fixture
def place(world):
    return world(PASSAGES)


def walked(place, scores: dict[str, float], read: tuple[str, ...] = ("archive",)) -> Episode:
    """An episode that has read some passages and holds these scores."""
    pool = place.pool(QUESTION)
    place.enter(pool, place.slots(*read))
    episode = Episode(pool)
    episode.read = set(place.slots(*read))
    episode.read_mass = dict(zip(place.slots(*scores), scores.values(), strict=True))
    return episode


def rerank(scorer: Reranker, *episodes: Episode) -> list[tuple[Scores, RerankFit]]:
    """With the read mass as the scores."""
    return scorer.rerank(episodes, [episode.read_mass for episode in episodes])


def ranked(place, scores: Scores) -> list[str]:
    return place.ids(sorted(scores, key=lambda slot: -scores[slot]))


EVEN = {"archive": 0.9, "river": 0.11, "school": 0.1, "staff": 0.09, "tower": 0.08}


@pytest.mark.parametrize("tokens", [False, True])
def test_what_answers_the_open_part_of_a_name_that_was_read_comes_next(place, tokens) -> None:
    encoder = TokenHashEncoder(256) if tokens else place.encoder
    scorer = Reranker(place.scope, encoder, 5, 1.2)
    episode = walked(place, EVEN)
    [(scores, fit)] = rerank(scorer, episode)
    assert ranked(place, scores)[:2] == ["archive", "staff"]
    [staff] = place.slots("staff")
    assert fit.sub_questions[staff] == (
        "How many people work at the school that holds the University of Varn"
    )
    assert fit.pairs == 5 * len({*fit.sub_questions.values()})


def test_the_total_stays_and_what_is_not_judged_stays_behind(place) -> None:
    episode = walked(place, EVEN)
    [(scores, _)] = rerank(Reranker(place.scope, place.encoder, 3, 5.0), episode)
    assert sum(scores.values()) == pytest.approx(sum(episode.read_mass.values()))
    first = ranked(place, episode.read_mass)[:3]
    assert set(ranked(place, scores)[:3]) == set(first)


def test_a_passage_does_not_answer_what_it_left_open_itself(place) -> None:
    """Its name is in every one of its own sub-questions: that would always speak for it."""
    episode = walked(place, EVEN)
    scorer = Reranker(place.scope, place.encoder, 5, 1.2)
    questions = scorer._sub_questions(episode, episode.read_mass)
    slots = list(episode.read_mass)
    fit = np.full((len(questions), 5), 0.2)
    fit[:, slots.index(place.slots("archive")[0])] = 0.9
    np.testing.assert_allclose(reranker_module._lead(fit, questions, slots), 0.0)


def test_nothing_to_ask_leaves_the_ranking_alone(place) -> None:
    scorer = Reranker(place.scope, place.encoder, 5, 1.2)
    for episode in (walked(place, EVEN, read=()), walked(place, {"archive": 0.9})):
        encoded = place.encoder.texts_encoded
        assert rerank(scorer, episode) == [(episode.read_mass, reranker_module.NOT_RERANKED)]
        assert place.encoder.texts_encoded == encoded
    assert scorer.rerank([], []) == []


def test_several_questions_are_judged_as_each_alone(place) -> None:
    other = {"archive": 0.2, "staff": 0.3, "tower": 0.4}
    episodes = [walked(place, EVEN), walked(place, {"archive": 1.0}), walked(place, other)]
    scorer = Reranker(place.scope, TokenHashEncoder(), 5, 1.2)
    together = rerank(scorer, *episodes)
    for episode, (scores, fit) in zip(episodes, together, strict=True):
        [(alone, again)] = rerank(scorer, episode)
        assert alone == pytest.approx(scores, rel=1e-5)
        assert again.sub_questions == fit.sub_questions


def test_token_vectors_are_kept_for_the_next_question(place, monkeypatch) -> None:
    encoder = TokenHashEncoder()
    scorer = Reranker(place.scope, encoder, 5, 1.2)
    [(_, first)] = rerank(scorer, walked(place, EVEN))
    assert encoder.texts_encoded == first.texts
    [(_, second)] = rerank(scorer, walked(place, EVEN))
    assert encoder.texts_encoded == first.texts + second.texts
    assert first.texts - second.texts == 5  # the candidates were known
    monkeypatch.setattr(reranker_module, "REMEMBERED", 2)
    rerank(scorer, walked(place, EVEN))
    assert len(scorer._known) == 2


def test_what_keeps_whole_vectors_does_not_hide_the_token_vectors(place, tmp_path) -> None:
    """A memory puts caches before its encoder."""
    inner = TokenHashEncoder(256)
    cached = RememberingEncoder(CachedEncoder(inner, folder=tmp_path), QueryCache(100))
    episode = walked(place, EVEN)
    [(ours, _)] = rerank(Reranker(place.scope, inner, 5, 1.2), episode)
    [(theirs, _)] = rerank(Reranker(place.scope, cached, 5, 1.2), episode)
    assert ours == theirs != episode.read_mass


def test_equal_fits_change_nothing() -> None:
    np.testing.assert_array_equal(reranker_module._z(np.full(3, 0.1)), np.zeros(3))


def test_thorough_reorders_the_best_of_balanced_and_says_what_was_asked(
    tmp_path, random_policy, demo_passages, demo_questions, hash_encoder
) -> None:
    policy = random_policy()
    with Memory(tmp_path / "m.db", encoder=hash_encoder, policy=policy) as memory:
        memory.add(demo_passages)
        changed = 0
        for question in demo_questions[:5]:
            plain = memory.recall(question.text, 20)
            found = memory.recall(question.text, 20, effort="thorough")
            assert {h.passage.id for h in plain.hits} == {h.passage.id for h in found.hits}
            changed += plain.passages != found.passages
            assert plain.trails == found.trails
            assert plain.cost.pairs_scored == 0 < found.cost.pairs_scored
            assert found.cost.texts_encoded > plain.cost.texts_encoded
            assert all(hit.sub_question is None for hit in plain.hits)
            assert all(hit.sub_question for hit in found.hits)
        assert changed


def test_a_policy_keeps_its_rerank_weight(tmp_path, random_policy) -> None:
    policy = random_policy()
    assert policy.rerank_weight == RERANK_WEIGHT
    policy.rerank_weight = 0.5
    policy.save(tmp_path)
    assert Policy.load(tmp_path).rerank_weight == 0.5
    assert policy.first(1).rerank_weight == 0.5
