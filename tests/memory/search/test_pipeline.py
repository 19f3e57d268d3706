"""The pipeline: what each stage sees, keeps, remembers and takes."""

from __future__ import annotations

import numpy as np
import pytest

from hoptrail.errors import ConfigError, EncoderMissing, InputError
from hoptrail.memory.filters import Filter
from hoptrail.memory.search.codecs import Half, Product, Scalar
from hoptrail.memory.search.compressed import Clustered, Compressed, sample_vectors
from hoptrail.memory.search.first_stages import Full, Prefix, Search
from hoptrail.memory.search.pipeline import Pipeline, QueryState, Stage
from hoptrail.memory.search.rerankers.judge import Judge
from hoptrail.memory.store import Store
from hoptrail.types import Passage

QUERY = "the clock tower of the town of Tolle"


@pytest.fixture
def store(tmp_path, twelve, hash_encoder):
    with Store(tmp_path / "s.db", encoder=hash_encoder) as store:
        store.add(twelve)
        yield store


class Lengths(Stage):
    """Prefers long passages; writes down what it was shown."""

    name = "lengths"

    def __init__(self, keep: int) -> None:
        super().__init__(keep)
        self.seen: list[list[str]] = []

    def score(self, batch: list[QueryState]) -> list[np.ndarray]:
        self.seen += [
            [asked.passages[int(s)].id for s in asked.slots] for asked in self._read(batch)
        ]
        return [np.asarray([len(text) for text in a.contents()], np.float32) for a in batch]

    def _read(self, batch):
        for asked in batch:
            asked.contents()
        return batch


def ids(hits) -> list[str]:
    return [hit.passage.id for hit in hits]


OPENINGS = {
    "search": lambda: Search(keep=12),
    "sparse": lambda: Search("sparse", keep=12),
    "min-rank": lambda: Search(keep=12, fusion="min-rank"),
    "full": lambda: Full(keep=12),
    "prefix": lambda: Prefix(16, keep=12),
    "compressed": lambda: Compressed(Scalar(8), keep=12),
    "clustered": lambda: Clustered(keep=12, probe=1),
}


@pytest.fixture(params=OPENINGS, ids=str)
def opening(request):
    return OPENINGS[request.param]()


def test_a_stage_sees_what_the_one_before_it_kept(store) -> None:
    last = Lengths(keep=2)
    pipeline = Pipeline([Search(keep=5), last])
    found = pipeline.search(store, QUERY, 2)
    assert last.seen == [ids(store.search(QUERY, 5))]
    longest = sorted(last.seen[0], key=lambda id_: -len(store.get(id_).content))[:2]
    assert ids(found.hits) == longest
    assert [hit.score for hit in found.hits] == [len(store.get(i).content) for i in longest]
    assert repr(pipeline) == "<Pipeline hybrid -> lengths>"


def test_the_costs_of_stages_add_up(store) -> None:
    found = Pipeline([Search(keep=5), Full(keep=3), Lengths(keep=1)]).search(store, QUERY, 1)
    assert [(s.name, s.taken, s.kept) for s in found.stages] == [
        ("hybrid", 12, 5),
        ("full", 5, 3),
        ("lengths", 3, 1),
    ]
    assert sum(s.share for s in found.stages) == pytest.approx(1)
    assert 0 < sum(s.milliseconds for s in found.stages) <= found.milliseconds


def test_every_stage_keeps_as_many_as_are_asked_for(store) -> None:
    found = Pipeline([Search(keep=2), Lengths(keep=1)]).search(store, QUERY, 7)
    assert len(found.hits) == 7


def test_full_width_stages_rank_as_dense_search_does(store) -> None:
    dense = store.search(QUERY, 12, mode="dense")
    for stage in (
        Full(keep=12),
        Prefix(32, keep=12),
        Clustered(keep=12),
        Compressed(Half(), keep=12),
    ):
        hits = Pipeline([stage]).search(store, QUERY, 12).hits
        assert ids(hits)[:3] == ids(dense)[:3]
        assert [h.score for h in hits] == pytest.approx([h.score for h in dense], abs=2e-3)
    assert store.search(QUERY, 4, pipeline=Pipeline([Full(keep=4)])) == dense[:4]


def test_a_prefix_is_the_cosine_of_the_first_dimensions(store, hash_encoder) -> None:
    hit = Pipeline([Prefix(8, keep=12)]).search(store, QUERY, 1).hits[0]
    one, other = (hash_encoder.encode([t])[0, :8] for t in (QUERY, hit.passage.content))
    expected = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
    assert hit.score == pytest.approx(float(expected), abs=1e-6)


def test_namespace_and_filter_hold_at_every_stage(store, opening) -> None:
    store.add([Passage(f"t{i}", f"The town of Tolle {i}.", namespace=("x",)) for i in range(6)])
    last = Lengths(keep=12)
    pipeline = Pipeline([opening, last])
    found = pipeline.search(store, QUERY, 12, namespace=("x",))
    assert {hit.passage.namespace for hit in found.hits} == {("x",)}
    only = {"$title": {"$in": ["Varn", "Tolle"]}}
    found = pipeline.search(store, QUERY, 12, filter=only)
    assert set(ids(found.hits)) <= {"p-varn", "p-tolle"}
    assert "p-tolle" in ids(found.hits)
    assert set(last.seen[1]) <= {"p-varn", "p-tolle"}
    assert pipeline.search(store, QUERY, 3, namespace=("nobody",)).hits == ()


def test_writes_and_deletes_are_seen_at_once(store, opening) -> None:
    pipeline = Pipeline([opening])
    assert "p-tolle" in ids(pipeline.search(store, QUERY, 3).hits)
    store.delete(["p-tolle"])
    store.add([Passage("new", "The clock tower of the town of Tolle.")])
    found = ids(pipeline.search(store, QUERY, 13).hits)
    assert found[0] == "new"
    assert "p-tolle" not in found


def test_what_changed_while_a_slow_stage_ran_is_not_returned(store) -> None:
    class Meanwhile(Lengths):
        def score(self, batch):
            if store.has("p-tolle"):  # another process would do this
                store.delete(["p-tolle"])
                store.update("p-varn", text="Something else altogether.")
            return super().score(batch)

    stage = Meanwhile(keep=12)
    found = Pipeline([Search(keep=12), stage]).search(store, QUERY, 12)
    assert len(stage.seen) == 2  # the first time, what was there when it began
    assert len(found.hits) == 11
    assert "p-tolle" not in ids(found.hits)
    assert [h.passage for h in found.hits if h.passage.id == "p-varn"] == [store.get("p-varn")]


def test_what_came_after_the_filter_was_asked_is_not_found(store, opening) -> None:
    """Another thread may refresh the view between the filter and the first stage."""
    view = store.view()
    allowed = view.allowed(Filter.parse({"$title": "Tolle"}))
    store.add([Passage("new", "A market town.", title="Tolle")])
    assert store.view() is view
    asked = QueryState(view, QUERY, store.encode_queries([QUERY])[0], allowed)
    _, slots = opening.open(asked, 5)
    assert [p.id for p in view.passages(slots)] == ["p-tolle"]


def test_several_questions_go_together_and_get_their_own(store) -> None:
    queries = [QUERY, "grey trout of the lake", "a mountain road in winter"]
    pipeline = Pipeline([Prefix(16, keep=8), Full(keep=3)])
    together = pipeline.search_many(store, queries, 2)
    alone = [pipeline.search(store, query, 2) for query in queries]
    assert [one.hits for one in together] == [one.hits for one in alone]
    assert together[0].stages[1].taken == 24


def test_a_product_code_is_fitted_to_the_scope_s_vectors(tmp_path, hash_encoder) -> None:
    with Store(tmp_path / "s.db", encoder=hash_encoder) as store:
        store.add(Passage(str(i), f"Ship {i} of harbour {i % 7} sails.") for i in range(300))
        codec = Product(16).fit(sample_vectors(store, count=280))
        found = Pipeline([Compressed(codec, keep=50), Full(keep=5)]).search(
            store, "ship 17 of harbour 3", 5
        )
        assert found.hits[0].passage.id == "17"
        assert found.stages[0].name == "product 16"


def test_clusters_grow_with_the_view_and_are_found_anew(store) -> None:
    stage = Clustered(keep=3, probe=1, clusters=3)
    view = store.view()
    first = stage.clusters(view)
    assert (first.centroids.shape, first.of.shape) == ((3, 32), (12,))
    store.add([Passage("a", "The ice of the pass.")])
    grown = stage.clusters(store.view())
    assert (len(grown.of), grown.fitted) == (13, 12)
    assert grown.centroids is first.centroids
    store.add([Passage(f"b{i}", f"The ice of the pass {i}.") for i in range(20)])
    assert stage.clusters(store.view()).fitted == 33


def test_a_judge_sees_each_passage_once(store) -> None:
    shown: list[int] = []

    def judge(question, passages):
        shown.append(len(passages))
        return [1.0 if "trout" in p.text else 0.0 for p in passages]

    pipeline = Pipeline([Search(keep=6), Judge(judge, keep=2, at_once=4, name="rule")])
    first = pipeline.search(store, "grey trout of the lake", 2)
    assert shown == [4, 2]
    assert all("trout" in hit.passage.text for hit in first.hits)
    again = pipeline.search(store, "grey trout of the lake", 2)
    assert shown == [4, 2]
    assert again.stages[1].cached == 6
    assert again.hits == first.hits
    store.update(first.hits[0].passage.id, text="No fish at all.")
    pipeline.search(store, "grey trout of the lake", 2)
    assert shown[2:] in ([1], [2])  # what it says of a content is not said of another


def test_a_judge_that_says_too_little_is_named(store) -> None:
    with pytest.raises(InputError, match="must give 3 finite scores for 3 passages"):
        Pipeline([Search(keep=3), Judge(lambda q, p: [1.0], keep=1)]).search(store, QUERY, 1)
    with pytest.raises(ConfigError, match="called with a question and passages"):
        Judge("gpt")  # type: ignore[arg-type]


def test_words_alone_need_no_encoder(store, tmp_path) -> None:
    store.close()
    with Store(tmp_path / "s.db") as bare:
        pipeline = Pipeline([Search("sparse", keep=5), Lengths(keep=1)])
        assert len(pipeline.search(bare, QUERY, 1).hits) == 1
        with pytest.raises(EncoderMissing):
            Pipeline([Full(keep=5)]).search(bare, QUERY, 1)


def test_what_is_no_pipeline_is_refused(store) -> None:
    with pytest.raises(ConfigError, match=r"first stage finds the candidates.*got 'lengths'"):
        Pipeline([Lengths(keep=3)])
    with pytest.raises(ConfigError, match="got none"):
        Pipeline([])
    with pytest.raises(ConfigError, match="full: keep must be a whole number"):
        Full(keep=0)
    with pytest.raises(ConfigError, match="dims must be"):
        Prefix(0, keep=3)
    with pytest.raises(ConfigError, match="probe and clusters"):
        Clustered(keep=3, probe=0)
    with pytest.raises(ConfigError, match="a codec is Half, Scalar, Sign"):
        Compressed("int8", keep=3)  # type: ignore[arg-type]
    pipeline = Pipeline([Full(keep=3)])
    with pytest.raises(InputError, match="k must be"):
        pipeline.search(store, QUERY, 0)
    with pytest.raises(InputError, match="list of queries"):
        pipeline.search_many(store, QUERY)
    with pytest.raises(InputError, match="takes the place of the mode"):
        store.search(QUERY, mode="dense", pipeline=pipeline)
    with pytest.raises(InputError, match="Search\\(fusion"):
        store.search(QUERY, pipeline=pipeline, fusion="min-rank")
