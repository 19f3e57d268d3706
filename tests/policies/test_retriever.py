"""A walk from the question to k passages and the trails that led there."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from hoptrail.errors import ConfigError
from hoptrail.memory.search import hybrid_search
from hoptrail.policies.environment.efforts import EFFORTS, Effort, effort
from hoptrail.policies.reformulation.query_text import BETWEEN, HEAD
from hoptrail.policies.retriever import PolicyRetriever
from hoptrail.policies.search.explanation import link_between
from hoptrail.types import Link, Passage

LAKE = "Into which lake flows the river of the town where Ada Lind was born?"


class CountingEncoder:
    """An encoder that counts its passes and texts."""

    def __init__(self, inner) -> None:
        self.inner, self.passes, self.texts = inner, 0, 0
        self.queries: list[str] = []
        self.fingerprint, self.dim = inner.fingerprint, inner.dim

    def encode(self, texts):
        self.passes += 1
        self.texts += len(texts)
        self.queries += texts
        return self.inner.encode(texts)


@pytest.mark.parametrize("name", EFFORTS)
def test_k_passages_come_wherever_there_are_as_many(demo, demo_questions, random_policy, name):
    walker = demo.walker(random_policy(), name)
    for k in (1, 5, 60, 100, 101, 200, 257, 1000):
        [walk] = walker.retrieve([demo_questions[0].text], k)
        assert len(walk.slots) == len(walk.scores) == min(k, 257)
        assert len(set(walk.slots.tolist())) == len(walk.slots)
        assert (np.diff(walk.scores) <= 0).all()
        beyond = walk.scores[walk.candidates :]
        assert (beyond < 0).all()
        assert (np.diff(beyond) < 0).all()
        assert (walk.scores[: walk.candidates] >= 0).all()


def test_a_longer_list_begins_with_the_shorter(demo, demo_questions, random_policy) -> None:
    walker = demo.walker(random_policy())
    for question in demo_questions[:5]:
        longest = walker.retrieve([question.text], 257)[0].slots.tolist()
        assert sorted(longest) == list(range(257))
        for k in (3, 60, 99, 130):
            assert walker.retrieve([question.text], k)[0].slots.tolist() == longest[:k]


@pytest.mark.parametrize("count", [0, 1, 3])
@pytest.mark.parametrize("name", EFFORTS)
def test_a_scope_with_few_passages(world, twelve, random_policy, count, name) -> None:
    place = world(twelve[:count])
    for question in (LAKE, "zzyzx", "?"):
        [walk] = place.walker(random_policy(), name).retrieve([question], 10)
        assert sorted(walk.slots.tolist()) == list(range(count))
        assert walk.candidates == count
        assert np.isfinite(walk.scores).all()
        assert sum(t.probability for t in walk.trails) <= 1 + 1e-4
        assert bool(walk.trails) == bool(count)
    assert place.walker(random_policy()).retrieve([]) == []


def test_an_empty_scope_costs_nothing(world, random_policy) -> None:
    place = world([])
    walker = PolicyRetriever(
        random_policy(),
        place.view,
        place.graph,
        encoder := CountingEncoder(place.encoder),
        EFFORTS["balanced"],
    )
    [walk] = walker.retrieve(["Is there anything?"])
    assert (walk.texts_encoded, walk.candidates, walk.read, walk.trails) == (0, 0, (), ())
    assert encoder.passes == 0


@pytest.mark.parametrize("name", EFFORTS)
def test_walking_together_equals_walking_one_by_one(demo, demo_questions, random_policy, name):
    asked = [question.text for question in demo_questions[:8]]
    walker = demo.walker(random_policy(2), name)
    together = walker.retrieve(asked, 50)
    alone = [walker.retrieve([question], 50)[0] for question in asked]
    for a, b in zip(together, alone, strict=True):
        assert a.slots.tolist() == b.slots.tolist()
        np.testing.assert_allclose(a.scores, b.scores, rtol=5e-4)
        assert a.read == b.read
        assert a.texts_encoded == b.texts_encoded
        assert [[h.id for h in t.hops] for t in a.trails] == [
            [h.id for h in t.hops] for t in b.trails
        ]


def test_the_same_question_gets_the_same_walk(demo, demo_questions, random_policy) -> None:
    """Whatever was asked of this walker before, and of another one."""
    policy = random_policy(2)
    walker = demo.walker(policy)
    question = demo_questions[11].text
    [first] = walker.retrieve([question])
    walker.retrieve([q.text for q in demo_questions[:8]])
    for [again] in (walker.retrieve([question]), demo.walker(policy).retrieve([question])):
        np.testing.assert_array_equal(first.slots, again.slots)
        np.testing.assert_array_equal(first.scores, again.scores)
        assert first.trails == again.trails


def test_fast_encodes_once_and_balanced_once_a_hop(demo, demo_questions, random_policy) -> None:
    asked = [question.text for question in demo_questions[:3]]
    passes = {}
    for name in EFFORTS:
        encoder = CountingEncoder(demo.encoder)
        bounds = replace(EFFORTS[name], encode_above=0.0)  # random weights are sure of no state
        walker = PolicyRetriever(random_policy(spread=1.0), demo.view, demo.graph, encoder, bounds)
        walks = walker.retrieve(asked)
        passes[name] = encoder.passes
        assert encoder.texts == sum(walk.texts_encoded for walk in walks)
        assert all(walk.read for walk in walks)
        if name == "fast":
            assert all(walk.texts_encoded == 1 for walk in walks)
        elif name == "balanced":
            # One text a state of the beam: at most as many as it is wide, hop by hop.
            effort_ = EFFORTS[name]
            most = 1 + effort_.beam_width * effort_.max_hops
            assert all(1 < walk.texts_encoded <= most for walk in walks)
        else:
            assert all(walk.texts_encoded > 1 + len(walk.read) for walk in walks)
    assert passes["fast"] == 1
    assert 1 < passes["balanced"] <= 1 + EFFORTS["balanced"].max_hops


@pytest.mark.parametrize("name", ["balanced", "thorough"])
def test_an_effort_spares_the_passes_of_states_that_are_hardly_probable(
    demo, demo_questions, random_policy, name
) -> None:
    questions = [question.text for question in demo_questions[:3]]
    texts = {}
    for above in (0.0, EFFORTS[name].encode_above):
        bounds = replace(EFFORTS[name], encode_above=above)
        policy = random_policy(spread=1.0)
        walker = PolicyRetriever(policy, demo.view, demo.graph, demo.encoder, bounds)
        texts[above] = sum(walk.texts_encoded for walk in walker.retrieve(questions))
    every, probable = texts.values()
    assert probable < every


def test_an_effort_that_does_not_exist_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"'heroic'.*fast, balanced, thorough"):
        effort("heroic")
    assert [effort(name).name for name in EFFORTS] == list(EFFORTS)


def test_the_ranking_is_that_of_enumeration(
    world, table_policy, enumerate_walks, few_candidates
) -> None:
    few_candidates(2, read=10)
    place = world([Passage(f"p{i}", f"word{i} thing{i % 3} other{i % 2}.") for i in range(6)])
    bounds = Effort(
        "everything", beam_width=1000, max_hops=2, max_reads=100, reencode=True, prune_below=1e-300
    )
    expected = enumerate_walks(place, table_policy(5), "word1 thing0", 2)
    [walk] = place.walker(table_policy(5), bounds).retrieve(["word1 thing0"])
    slots = np.asarray(list(expected.score))
    [vector] = place.encoder.encode(["word1 thing0"])
    hybrid = hybrid_search.hybrid_scores(place.view, "word1 thing0", vector, slots)
    read = np.asarray(list(expected.score.values()))
    sure = np.minimum(read, 1)
    fit = hybrid + 10 * (sure @ words_in_common(place, slots)) / sure.sum()  # all were read
    prior = np.exp(0.3 * (1 - sure) * (fit - fit.max()))
    score = dict(zip(slots.tolist(), read * prior, strict=True))
    best = sorted(score, key=lambda slot: -score[slot])
    assert walk.slots[: len(best)].tolist() == best
    assert walk.scores[: len(best)] == pytest.approx([score[s] for s in best], rel=1e-4)
    assert walk.candidates == len(best)
    of_set: dict[frozenset[int], dict[str, float]] = {}
    for (evidence, reason), probability in expected.ends.items():
        of_set.setdefault(evidence, {})[reason] = probability
    ends = sorted((sum(ends.values()) for ends in of_set.values()), reverse=True)
    assert [trail.probability for trail in walk.trails] == pytest.approx(
        ends[: len(walk.trails)], rel=1e-6
    )
    for trail in walk.trails:
        ends_of_it = of_set[frozenset(place.slots(*(hop.id for hop in trail.hops)))]
        assert trail.probability == pytest.approx(sum(ends_of_it.values()))
        assert trail.stop_reason == max(ends_of_it, key=lambda reason: ends_of_it[reason])


def words_in_common(place, slots) -> np.ndarray:
    """The cosines of passages' words, weighted by idf, `(n, n)`."""
    lexicon = place.scope.lexicon
    idf = lexicon.idf()
    words = np.zeros((len(slots), len(idf)))
    for row, known in enumerate(lexicon.passage_terms(slots.tolist())):
        words[row, known.terms] = idf[known.terms]
    words /= np.linalg.norm(words, axis=1, keepdims=True)
    return words @ words.T


def test_a_trail_shows_its_queries_links_and_stop(small, random_policy) -> None:
    bounds = Effort("three", beam_width=3, max_hops=3, max_reads=8, reencode=True)
    policy, encoder = random_policy(spread=1.0), CountingEncoder(small.encoder)
    [walk] = PolicyRetriever(policy, small.view, small.graph, encoder, bounds).retrieve([LAKE])
    assert walk.trails
    known = set(small.ids(walk.read))
    for trail in walk.trails:
        assert trail.stop_reason in ("policy", "budget", "exhausted")
        assert len(trail.hops) == 3 or trail.stop_reason == "policy"
        assert len({hop.id for hop in trail.hops}) == len(trail.hops)
        pool = small.pool(LAKE)
        for i, hop in enumerate(trail.hops):
            assert hop.id in known
            assert 0 < hop.probability <= 1
            evidence = small.slots(*(before.id for before in trail.hops[:i]))
            small.enter(pool, evidence)
            assert hop.query == pool.query(evidence).text
            assert hop.query in encoder.queries
            heads = [small.store.get(before.id).content[:HEAD] for before in trail.hops[:i]]
            assert sorted(hop.query.split(BETWEEN)) == sorted([LAKE, *heads])
        # Other orders of the same passages count too, and for a budget all that could come.
        product = math.prod(hop.probability for hop in trail.hops)
        end = (
            1 - trail.stop_probability if trail.stop_reason == "budget" else trail.stop_probability
        )
        assert product * end * (1 - 1e-6) <= trail.probability <= 1
    probabilities = [trail.probability for trail in walk.trails]
    assert probabilities == sorted(probabilities, reverse=True)


def test_a_trail_without_encoder_passes_shows_the_question(small, random_policy) -> None:
    policy = random_policy(spread=1.0)
    bounds = Effort("latent", 3, 3, 8, reencode=False, prune_below=1e-9)
    [walk] = small.walker(policy, bounds).retrieve([LAKE])
    assert {hop.query for trail in walk.trails for hop in trail.hops} == {LAKE}
    assert max(len(trail.hops) for trail in walk.trails) > 1


def test_which_edge_led_to_a_passage(world) -> None:
    place = world(
        [
            Passage("a", "Alder knows Benta well.", title="Alder", links=(Link("c", "cites"),)),
            Passage("b", "Nothing else.", title="Benta"),
            Passage("c", "Far off.", title="Corvan", links=(Link("b", "z"), Link("b", "next"))),
            Passage("d", "Quite alone.", title="Dorn"),
        ]
    )
    a, b, c, d = place.slots("a", "b", "c", "d")
    pool = place.pool("Alder")
    place.enter(pool, [a, b, c, d])
    assert link_between(pool, (), a) is None
    assert link_between(pool, (a,), b) == "mentions"
    assert link_between(pool, (b,), a) == "mentioned_by"
    assert link_between(pool, (a,), c) == "cites"
    assert link_between(pool, (c,), a) == "~cites"
    assert link_between(pool, (c,), b) == "next"
    assert link_between(pool, (a, c), b) == "next"  # the latest read first
    assert link_between(pool, (a, b, c), d) is None


def test_many_equals_are_ranked_to_the_end(world, random_policy) -> None:
    place = world([Passage(f"p{i}", "The same words.") for i in range(130)])
    [walk] = place.walker(random_policy()).retrieve(["The same words?"], 130)
    assert sorted(walk.slots.tolist()) == list(range(130))
    assert (np.diff(walk.scores) <= 0).all()


def test_a_namespace_is_walked_without_its_neighbours(tmp_path, twelve, random_policy) -> None:
    from dataclasses import replace

    from hoptrail.graph.graph import Graph
    from hoptrail.memory.store import Store
    from hoptrail.memory.testing.hash_encoder import HashEncoder

    policy, encoder = random_policy(), HashEncoder()
    walks = []
    for others in (0, 5):
        with Store(tmp_path / f"{others}.db", encoder=encoder) as store:
            store.add([replace(p, namespace=("mine",)) for p in twelve])
            store.add(
                replace(p, namespace=(f"other{i}",), text=p.text * 2)
                for i in range(others)
                for p in twelve
            )
            view = store.view(("mine",))
            walker = PolicyRetriever(
                policy, view, Graph(store).view(view), encoder, EFFORTS["balanced"]
            )
            [walk] = walker.retrieve([LAKE])
            walks.append(([p.id for p in view.passages(walk.slots)], walk.scores, walk.trails))
    assert walks[0][0] == walks[1][0]
    np.testing.assert_allclose(walks[0][1], walks[1][1], rtol=1e-4)
    assert len(walks[0][0]) == 12


def test_an_answer_of_many_words_does_not_hide_a_turn_that_says_it(
    world, random_policy, monkeypatch
) -> None:
    """Where pages stand beside turns, a page that touches on everything comes after the turn."""
    pages_say = "a blue boat or a boat of Varn is kept blue and kept afloat "
    fact = "the blue boat of Varn is kept in the boathouse"
    pages = [Passage(f"page-{i}", f"page{i} {30 * pages_say}") for i in range(60)]
    turns = [Passage(f"turn-{i}", f"turn {i} says word{i} and word{i + 1}") for i in range(60)]
    place = world([*pages, *turns, Passage("fact", fact)])
    question = "Where is the blue boat of Varn kept?"

    def ranks() -> list[int]:
        places = []
        for seed in range(6):
            retriever = place.walker(random_policy(seed=seed), "fast")
            ranking = retriever.retrieve([question], 130)[0].slots
            places.append(place.ids(ranking).index("fact"))
        return places

    by_length = ranks()
    monkeypatch.setattr("hoptrail.policies.search.scoring.LENGTH_SPREAD", math.inf)
    assert max(by_length) < 3 < max(ranks())
