"""The next query of a state: what it reads, what it costs, and who asks it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from hoptrail.policies.environment import reformulation
from hoptrail.policies.environment.reformulation import (
    CrossFittedReformulator,
    Reformulator,
    candidate_content,
    in_order,
)
from hoptrail.policies.reformulation.query_text import query_text

LAKE = "Into which lake flows the river of the town where Ada Lind was born?"
BRIDGE, CITY, RIVER = "who built the old bridge", "when . the city", "a river under it"


@pytest.fixture
def encoded_texts(monkeypatch) -> list[str]:
    """What queries are encoded of, as the encoder gets it."""
    texts: list[str] = []
    make = reformulation.for_questions

    class Noting:
        def __init__(self, encoder) -> None:
            self.inner = make(encoder)
            self.dim, self.fingerprint = self.inner.dim, self.inner.fingerprint

        def encode(self, batch):
            texts.extend(batch)
            return self.inner.encode(batch)

    monkeypatch.setattr(reformulation, "for_questions", Noting)
    return texts


def test_a_state_asks_by_the_question_and_all_that_was_read(small) -> None:
    pool = small.pool(LAKE)
    read = small.slots("p-ada-lind", "p-varn", "p-tolle")
    texts = set()
    for order in itertools.permutations(read):
        small.enter(pool, order)
        contents = [candidate_content(pool, slot) for slot in in_order(pool, order)]
        assert pool.query(order).text == query_text(LAKE, contents)
        texts.add(pool.query(order).text)
        [vector] = small.encoder.encode([pool.query(order).text])
        np.testing.assert_allclose(pool.query(order).vector, vector, atol=1e-6)
    assert len(texts) == 1
    cosines = pool.scope.view.dense.cosines(pool.vector, np.asarray(in_order(pool, read)))
    assert (np.diff(cosines) <= 1e-4).all()


def test_without_an_encoder_pass_the_rule_moves_the_first_query(small) -> None:
    pool = small.pool(LAKE)
    read = small.slots("p-ada-lind", "p-varn", "p-tolle")
    small.enter(pool, read, reencode=False)
    mean = small.view.dense.vectors(np.asarray(read)).mean(0)
    expected = (pool.vector + mean) / np.linalg.norm(pool.vector + mean)
    np.testing.assert_allclose(pool.query(read).vector, expected, atol=1e-6)
    assert pool.query(read).text is None


@pytest.mark.parametrize("reencode", [True, False])
def test_a_hop_is_one_dense_search(small, monkeypatch, reencode: bool) -> None:
    pools = [small.pool(LAKE), small.pool("Who painted trout?")]
    a, b, c = small.slots("p-ada-lind", "p-varn", "p-tolle")
    states = [(pool, evidence) for pool in pools for evidence in ((a,), (b, c))]
    reformulator = small.reformulator(reencode=reencode)
    batches: list[int] = []
    dense = small.view.dense
    search = dense.search
    monkeypatch.setattr(
        dense,
        "search",
        lambda queries, k, **options: batches.append(len(queries)) or search(queries, k, **options),
    )
    reformulator.enter(states)
    # Three passages and two states each; unless texts are read, one is asked by the same query.
    assert batches == [10 if reencode else 8]
    for pool in pools:
        alone = small.pool(pool.question)
        for evidence in ((a,), (b, c)):
            small.enter(alone, evidence, reencode=reencode)
            one, other = pool.query(evidence), alone.query(evidence)
            np.testing.assert_allclose(one.vector, other.vector, atol=1e-6)
            assert one.hits == other.hits
        assert {s: read.introduced for s, read in pool.reads.items()} == {
            s: read.introduced for s, read in alone.reads.items()
        }


def test_entering_reads_what_was_not_read_and_asks_once(small, encoded_texts) -> None:
    pool, other = small.pool(LAKE), small.pool("Who painted trout?")
    reformulator = small.reformulator()
    a, b, c = small.slots("p-ada-lind", "p-varn", "p-tolle")
    assert reformulator.enter([(pool, ())]) == [0]  # that of the question is there
    counts = reformulator.enter([(pool, (a, b)), (pool, (b, a)), (other, (a, b)), (pool, (c,))])
    assert counts == [1, 0, 1, 1]
    assert set(pool.reads) == {a, b, c}
    assert set(other.reads) == {a, b}
    assert set(pool.queries) == {frozenset(), frozenset({a, b}), frozenset({c})}
    assert len(encoded_texts) == 3
    reads = dict(pool.reads)
    assert reformulator.enter([(pool, (b, a)), (pool, (c, b))]) == [0, 1]
    assert len(encoded_texts) == 4
    assert all(pool.reads[slot] is read for slot, read in reads.items())
    assert reformulator.enter([]) == []


def test_what_is_not_worth_a_pass_moves_and_is_asked_in_the_same_search(
    small, encoded_texts, monkeypatch
) -> None:
    pool = small.pool(LAKE)
    a, b, c = small.slots("p-ada-lind", "p-varn", "p-tolle")
    batches: list[int] = []
    search = small.view.dense.search
    monkeypatch.setattr(
        small.view.dense,
        "search",
        lambda queries, k, **options: batches.append(len(queries)) or search(queries, k, **options),
    )
    states = [(pool, (a,)), (pool, (a, b)), (pool, (b, c))]
    assert small.reformulator().enter(states, [False, True, False]) == [0, 1, 0]
    assert encoded_texts == [pool.query((a, b)).text]
    assert batches == [5]  # three passages, of which the first leads where its state does
    moved = small.pool(LAKE)
    for evidence in ((a,), (b, c)):
        assert pool.query(evidence).text is None
        small.enter(moved, evidence, reencode=False)
        one, other = pool.query(evidence), moved.query(evidence)
        np.testing.assert_allclose(one.vector, other.vector, atol=1e-6)
        assert one.hits == other.hits
    assert small.reformulator(reencode=False).enter([(pool, (a, c))], [True]) == [0]


def test_a_state_opens_what_its_query_brings(demo, demo_questions) -> None:
    pool = demo.pool(demo_questions[0].text)
    evidence = tuple(pool.slots[:2])
    demo.enter(pool, evidence)
    query = pool.query(evidence)
    near = demo.view.dense.search(query.vector[None], 10 + len(evidence))[1][0].tolist()
    expected = [slot for slot in near if slot not in evidence][:10]
    assert query.hits == set(expected)
    is_open = dict(zip(pool.slots, pool.action_mask(evidence), strict=True))
    assert all(is_open[slot] for slot in expected)
    everything = demo.view.dense.cosines(query.vector, np.flatnonzero(demo.view.alive))
    assert query.mean == pytest.approx(everything.mean(), abs=1e-5)
    assert query.spread == pytest.approx(everything.std(), abs=1e-5)


def test_a_state_that_was_not_entered_is_not_made_up(small) -> None:
    pool = small.pool(LAKE)
    a, b = small.slots("p-ada-lind", "p-varn")
    small.enter(pool, (a,), (b,))
    with pytest.raises(KeyError):
        pool.action_mask((a, b))


def test_only_what_may_be_read_is_brought(demo, demo_questions) -> None:
    allowed = np.arange(demo.view.capacity) % 2 == 0
    pool = demo.pool(demo_questions[3].text, allowed=allowed)
    demo.enter(pool, pool.slots[:2])
    assert all(allowed[slot] for slot in pool.slots)
    assert len(pool.query(pool.slots[:2]).hits) == 10


@pytest.mark.parametrize("reencode", [True, False])
@pytest.mark.parametrize("with_learned", [False, True])
def test_walks_together_ask_what_each_asks_alone(
    words, random_reformulator, reencode, with_learned
) -> None:
    words.learned = random_reformulator() if with_learned else None
    together = [words.pool(text) for text in (BRIDGE, CITY, RIVER)]
    states = [(pool, tuple(pool.slots[:n])) for pool in together for n in (1, 3)]
    words.reformulator(reencode=reencode).enter(states)
    for pool, evidence in states:
        alone = words.pool(pool.question)
        words.enter(alone, evidence, reencode=reencode)
        assert alone.query(evidence).text == pool.query(evidence).text
        np.testing.assert_allclose(
            alone.query(evidence).vector, pool.query(evidence).vector, atol=1e-5
        )


def test_a_question_is_asked_by_who_has_not_seen_it(words, transformer, random_reformulator):
    reformulators = [
        Reformulator(transformer, reencode=True, learned=random_reformulator(seed))
        for seed in range(3)
    ]
    whole, *parts = reformulators
    part_of = {BRIDGE: 1, CITY: 0}
    crossed = CrossFittedReformulator(whole, parts, part_of.get)
    questions = [BRIDGE, RIVER, CITY, BRIDGE]
    expected = [parts[1], whole, parts[0], parts[1]]
    vectors = transformer.encode(questions)
    firsts = crossed.first(questions, vectors)
    states, own = [], []
    for row, (question, one) in enumerate(zip(questions, expected, strict=True)):
        [first] = one.first([question], vectors[row : row + 1])
        np.testing.assert_allclose(firsts[row], first, atol=1e-5)
        evidence = tuple(words.pool(question).slots[:2])
        states.append((words.pool(question), evidence))
        own.append((words.pool(question), evidence))
        assert one.enter([own[-1]]) == [1]
    assert crossed.enter(states) == [1, 1, 1, 1]
    for (pool, evidence), (alone, _) in zip(states, own, strict=True):
        ours, theirs = pool.query(evidence), alone.query(evidence)
        np.testing.assert_allclose(ours.vector, theirs.vector, atol=1e-5)
        assert ours.text == theirs.text
    for other in reformulators:  # and nobody else would have asked so
        if other is not parts[1]:
            assert np.abs(other.first([BRIDGE], vectors[:1])[0] - firsts[0]).max() > 1e-2
    assert crossed.reencode


@pytest.mark.parametrize("effort", ["fast", "balanced"])
@pytest.mark.parametrize("with_learned", [False, True])
def test_a_walk_counts_what_it_encodes(
    words, random_policy, random_reformulator, encoded_texts, effort, with_learned
) -> None:
    policy = random_policy(spread=1.0)
    policy.reformulator = random_reformulator() if with_learned else None
    walker = words.walker(policy, effort)
    [walk] = walker.retrieve([BRIDGE])
    # The memory's own encoder has read the question besides.
    assert walk.texts_encoded == 1 + len(encoded_texts)
