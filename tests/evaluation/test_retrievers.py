from __future__ import annotations

from dataclasses import replace

import pytest

from hoptrail.errors import InputError
from hoptrail.evaluation.benchmark import run
from hoptrail.evaluation.retrievers import BASELINES, RecallRetriever, baseline
from hoptrail.graph.graph import Graph
from hoptrail.graph.ranking.pagerank import pagerank_ranking
from hoptrail.memory.encoders.disk_cache import CachedEncoder
from hoptrail.memory.store import Store
from hoptrail.types import Cost, Hit, Question, Recall


@pytest.fixture
def store(tmp_path, hash_encoder, twelve):
    with Store(tmp_path / "s.db", encoder=hash_encoder) as store:
        store.add(twelve)
        yield store


@pytest.fixture
def retrievers(store):
    graph = Graph(store)
    return {name: baseline(name, store, graph) for name in BASELINES}


def test_every_baseline_ranks_everything_once(retrievers, three_hops, twelve) -> None:
    for name, retriever in retrievers.items():
        ranking = retriever.rank(three_hops, 100)
        assert retriever.name == name
        assert sorted(ranking.ids) == sorted(passage.id for passage in twelve)
        assert list(ranking.scores) == sorted(ranking.scores, reverse=True)
        assert ranking.hops == 0
        assert retriever.rank(three_hops, 3).ids == ranking.ids[:3]


def test_words_that_nothing_holds_still_give_a_full_ranking(retrievers) -> None:
    ranking = retrievers["bm25"].rank(Question("q", "quixotic zeugma"), 5)
    assert len(ranking.ids) == 5
    assert ranking.scores == (0.0,) * 5


def test_bm25_and_the_indexes_find_what_is_named(retrievers) -> None:
    question = Question("q", "a clockmaker born in Varn")
    assert retrievers["bm25"].rank(question, 2).ids[0] == "p-ada-lind"
    assert retrievers["hybrid"].rank(question, 2).ids[0] == "p-ada-lind"
    assert retrievers["dense"].rank(question, 2).ids[0] == "p-ada-lind"


def test_pagerank_reaches_what_the_words_do_not(retrievers) -> None:
    question = Question("q", "Ada Lind clockmaker")
    lake = "p-ister-beck"  # two mentions away, and it shares no word with the question
    assert retrievers["bm25"].rank(question, 12).scores[-1] == 0.0
    order = retrievers["pagerank"].rank(question, 12).ids
    assert order[0] == "p-ada-lind"
    assert order.index("p-varn") < order.index(lake) < 6


def test_pagerank_is_the_graph_s_own_from_the_hybrid_hits(retrievers, store, three_hops) -> None:
    hits = store.search(three_hops.text, 100)
    view = store.view()
    scores = {view.slot_of(hit.passage.id): hit.score for hit in hits}
    slots, shares = pagerank_ranking(Graph(store).view(view), scores, three_hops.text)
    ranking = retrievers["pagerank"].rank(three_hops, 12)
    assert ranking.ids == tuple(passage.id for passage in view.passages(slots))
    assert ranking.scores == tuple(shares)


def test_a_namespace_is_honoured(tmp_path, hash_encoder, twelve, three_hops) -> None:
    with Store(tmp_path / "n.db", encoder=hash_encoder) as store:
        store.add([replace(passage, namespace=("a",)) for passage in twelve[:4]])
        store.add([replace(passage, namespace=("b",)) for passage in twelve])
        graph = Graph(store)
        for name in BASELINES:
            ranking = baseline(name, store, graph).rank(replace(three_hops, namespace=("a",)), 100)
            assert sorted(ranking.ids) == sorted(passage.id for passage in twelve[:4])
            both = baseline(name, store, graph).rank(three_hops, 100)
            assert sorted(both.ids) == sorted(passage.id for passage in twelve)


@pytest.mark.parametrize("name", BASELINES)
def test_an_empty_namespace_gives_an_empty_ranking(retrievers, three_hops, name) -> None:
    ranking = retrievers[name].rank(replace(three_hops, namespace=("nobody",)), 100)
    assert ranking.ids == ()


def test_the_time_of_a_question_includes_its_encoding(tmp_path, hash_encoder, twelve) -> None:
    questions = [Question("1", "Where is Varn?", supporting_ids=("p-varn",))]
    with Store(tmp_path / "c.db", encoder=CachedEncoder(hash_encoder, tmp_path)) as store:
        store.add(twelve)
        graph = Graph(store)
        before = hash_encoder.texts_encoded
        run([baseline(name, store, graph) for name in ("dense", "hybrid", "pagerank")], questions)
        # Each of the three, once to warm up and once timed, though a disk cache is there.
        assert hash_encoder.texts_encoded == before + 6


def test_order_and_ids_of_the_corpus_carry_nothing(tmp_path, hash_encoder, twelve) -> None:
    question = Question("q", "river trout of the lake town clock")
    renamed = {passage.id: f"x{len(twelve) - place}" for place, passage in enumerate(twelve)}
    shuffled = [
        replace(
            passage,
            id=renamed[passage.id],
            links=tuple(replace(link, target=renamed[link.target]) for link in passage.links),
        )
        for passage in reversed(twelve)
    ]
    found = []
    for name, corpus in (("a", twelve), ("b", shuffled)):
        with Store(tmp_path / f"{name}.db", encoder=hash_encoder) as store:
            store.add(corpus)
            graph = Graph(store)
            found.append({n: baseline(n, store, graph).rank(question, 12) for n in BASELINES})
    for name in BASELINES:
        first, second = found[0][name], found[1][name]
        assert [renamed[id_] for id_ in first.ids] == list(second.ids)
        assert first.scores == pytest.approx(second.scores, abs=1e-6)


def test_a_recall_is_a_ranking(twelve) -> None:
    class Walker:
        def recall(self, question, k, namespace, effort) -> Recall:
            assert (question, k, namespace, effort) == ("Who?", 2, ("n",), "fast")
            hits = (Hit(twelve[1], 0.5), Hit(twelve[0], 0.25))
            return Recall(question, hits, (), Cost(1.0, 1, 9, 3))

    retriever = RecallRetriever(Walker(), "fast")
    ranking = retriever.rank(Question("q", "Who?", namespace=("n",)), 2)
    assert ranking.ids == ("p-varn", "p-ada-lind")
    assert ranking.scores == (0.5, 0.25)
    assert ranking.hops == 3
    assert repr(retriever) == "<RecallRetriever policy, effort fast>"


def test_an_unknown_baseline_is_refused_by_name(store) -> None:
    with pytest.raises(InputError, match="no baseline 'colbert': choose from bm25, dense, hybrid"):
        baseline("colbert", store, Graph(store))
