"""Ways to make one ranking of two, and their weights fitted to questions."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.optimize import check_grad

from hoptrail.errors import ConfigError, FormatError, InputError
from hoptrail.memory.search import fit_fusion, fusion, hybrid_search
from hoptrail.memory.search.fit_fusion import FusionExample, fit_per_query, fit_weighted, judge
from hoptrail.memory.search.fusion import (
    FEATURES,
    FusionInputs,
    LinearFusion,
    MinRank,
    QueryAdaptiveFusion,
    ReciprocalRank,
    load_rule,
    rule_of,
    save_rule,
)
from hoptrail.memory.store import Store

QUERY = "the clock tower of the town of Tolle"


@pytest.fixture
def store(tmp_path, twelve, hash_encoder):
    with Store(tmp_path / "s.db", encoder=hash_encoder) as store:
        store.add(twelve)
        yield store


def no_features() -> np.ndarray:
    raise AssertionError("a rule that looks at no feature has none worked out")


def fusion_inputs(dense, sparse, features=None) -> FusionInputs:
    dense, sparse = np.asarray(dense, float), np.asarray(sparse, float)
    ranks = [np.argsort(np.argsort(-side)) + 1.0 for side in (dense, sparse)]
    values = np.zeros(len(FEATURES)) if features is None else np.asarray(features, float)
    return FusionInputs(dense, sparse, ranks[0], ranks[1], lambda: values)


def ids(hits) -> list[str]:
    return [hit.passage.id for hit in hits]


def test_equal_weights_are_the_default_and_one_side_alone_is_its_mode(store) -> None:
    plain = store.search(QUERY, 12)
    assert store.search(QUERY, 12, fusion=LinearFusion()) == plain
    dense = ids(store.search(QUERY, 12, mode="dense"))
    assert ids(store.search(QUERY, 12, fusion=LinearFusion(1.0, 0.0))) == dense
    sparse = ids(store.search(QUERY, 12, mode="sparse"))
    assert ids(store.search(QUERY, 12, fusion=LinearFusion(0.0, 1.0)))[: len(sparse)] == sparse


def test_without_a_fusion_not_a_bit_differs(store) -> None:
    view = store.view()
    vector = store.encode_queries([QUERY])[0]
    scores, slots = hybrid_search.search(view, QUERY, vector, 5)
    hits = store.search(QUERY, 5)
    assert [hit.score for hit in hits] == scores.tolist()
    assert ids(hits) == [p.id for p in view.passages(slots)]


def test_ranks_are_fused_as_the_formulas_say() -> None:
    found = FusionInputs(
        np.zeros(3), np.zeros(3), np.array([1.0, 2, np.inf]), np.array([3.0, 2, 1]), no_features
    )
    assert ReciprocalRank(c=60).fuse(found) == pytest.approx([1 / 61 + 1 / 63, 2 / 62, 1 / 61])
    scores = MinRank().fuse(found)
    assert np.argsort(-scores).tolist() == [0, 2, 1]  # first of a side before second of both
    assert scores[0] > scores[2]  # the other rank decides between equals


def test_a_better_least_rank_is_never_passed() -> None:
    best = np.arange(1.0, 301)
    worst = FusionInputs(np.zeros(300), np.zeros(300), best, np.full(300, np.inf), no_features)
    even = FusionInputs(np.zeros(300), np.zeros(300), best, best, no_features)
    assert (MinRank().fuse(worst)[:-1] > MinRank().fuse(even)[1:]).all()


def test_the_default_is_the_sum_of_both_z_scores_to_the_bit(store) -> None:
    view, vector = store.view(), store.encode_queries([QUERY])[0]
    pool, inputs = hybrid_search.fusion_inputs(view, QUERY, vector)
    total = (inputs.dense + inputs.sparse).round(6).astype(np.float32)
    assert hybrid_search.hybrid_scores(view, QUERY, vector, pool).tolist() == total.tolist()
    for rule in (rule_of(None), LinearFusion(1.0, 1.0)):
        scores, slots = hybrid_search.search(view, QUERY, vector, 12, rule=rule)
        assert scores.tolist() == total[np.searchsorted(pool, slots)].tolist()
    assert [hit.score for hit in store.search(QUERY, 12)] == scores.tolist()


def test_by_name_and_within_namespace_and_filter(store, twelve) -> None:
    for name in ("reciprocal-rank", "min-rank"):
        hits = store.search(QUERY, 3, fusion=name)
        assert ids(hits)[0] == "p-tolle"
        only = store.search(QUERY, 12, fusion=name, filter={"$title": {"$in": ["Varn", "Tolle"]}})
        assert set(ids(only)) == {"p-varn", "p-tolle"}
        assert store.search(QUERY, 3, fusion=name, namespace=("another",)) == []


def test_what_is_no_fusion_is_refused(store) -> None:
    with pytest.raises(ConfigError, match="there is no fusion 'rrf'"):
        store.search(QUERY, fusion="rrf")
    with pytest.raises(ConfigError, match="or a rule with a method fuse"):
        rule_of(3)
    with pytest.raises(InputError, match="takes the place of the mode, got mode 'dense'"):
        store.search(QUERY, mode="dense", fusion="min-rank")
    with pytest.raises(ConfigError, match="not both 0"):
        LinearFusion(0.0, 0.0)
    with pytest.raises(ConfigError, match="9 values"):
        QueryAdaptiveFusion((1.0,), 0.0, (0.0,), (1.0,))


def test_features_say_how_a_query_looks_and_not_how_wide_its_vector_is(store) -> None:
    view = store.view()
    vector = store.encode_queries([QUERY])[0]
    _, found = hybrid_search.fusion_inputs(view, QUERY, vector)
    named = dict(zip(FEATURES, found.features, strict=True))
    assert named["unknown"] == 0
    assert named["terms"] == pytest.approx(np.log1p(len(view.sparse.terms(QUERY))))
    assert 0 < named["idf_mean"] <= named["idf_max"] < 1
    assert named["sparse_best"] == pytest.approx(found.sparse.max())
    _, odd = hybrid_search.fusion_inputs(view, "zzyzx", vector)
    named = dict(zip(FEATURES, odd.features, strict=True))
    assert (named["unknown"], named["sparse_best"], named["shared"]) == (1, 0, 0)


def noisy(rng, trust_words: bool) -> FusionExample:
    """A question whose gold one side finds and the other does not; its first feature tells."""
    gold = np.zeros(20, dtype=bool)
    gold[rng.integers(20)] = True
    good, bad = gold * 4 + rng.normal(size=20), rng.normal(size=20) * 2
    features = np.zeros(len(FEATURES))
    features[0] = 1.0 if trust_words else -1.0
    sides = (bad, good) if trust_words else (good, bad)
    return FusionExample(fusion_inputs(*sides, features), gold)


def share_right(rule, judged) -> float:
    return float(np.mean([one.gold[rule.fuse(one.inputs).argmax()] for one in judged]))


def test_the_fit_learns_which_side_to_trust_and_for_which_query() -> None:
    rng = np.random.default_rng(0)
    words = [noisy(rng, True) for _ in range(60)]
    assert fit_weighted(words).alpha < 0.2
    mixed = [noisy(rng, bool(i % 2)) for i in range(200)]
    rule = fit_per_query([*mixed, None])
    held_out = [noisy(rng, bool(i % 2)) for i in range(200)]
    assert rule.alpha(held_out[1].inputs) < 0.2 < 0.8 < rule.alpha(held_out[0].inputs)
    assert share_right(rule, held_out) > share_right(fit_weighted(mixed), held_out) + 0.1


def test_the_gradient_is_the_loss_s() -> None:
    rng = np.random.default_rng(1)
    judged = [noisy(rng, bool(i % 2)) for i in range(6)]
    features = rng.normal(size=(6, 3))
    point = rng.normal(size=5)
    error = check_grad(
        lambda p: fit_fusion._loss(p, judged, features)[0],
        lambda p: fit_fusion._loss(p, judged, features)[1],
        point,
    )
    assert error < 1e-5


def test_questions_are_judged_by_what_either_side_finds(store, three_hops) -> None:
    (judged,) = judge(store, [three_hops])
    assert judged is not None
    assert judged.gold.sum() == 3
    rule = fit_weighted([judged])
    assert rule.alpha + rule.beta == pytest.approx(1)
    with pytest.raises(InputError, match="no question has a gold passage"):
        fit_per_query([None])


def test_a_rule_is_kept_as_json(tmp_path) -> None:
    rng = np.random.default_rng(0)
    fitted = fit_per_query([noisy(rng, bool(i % 2)) for i in range(20)])
    for rule in (fitted, LinearFusion(0.25, 0.75), ReciprocalRank(10.0), MinRank()):
        save_rule(rule, tmp_path / "rule.json")
        assert load_rule(tmp_path / "rule.json") == rule
    found = json.loads((tmp_path / "rule.json").read_text())
    (tmp_path / "rule.json").write_text(json.dumps({**found, "rule": "magic"}))
    with pytest.raises(FormatError, match="holds no fusion rule"):
        load_rule(tmp_path / "rule.json")
    with pytest.raises(ConfigError, match="can be saved"):
        save_rule(object(), tmp_path / "rule.json")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "[" * 50_000,
        '{"format": 7}',
        '{"format": "%s", "rule": "weighted", "alpha": NaN, "beta": 1}',
        '{"format": "%s", "rule": "weighted", "alpha": 1e999, "beta": 1}',
        '{"format": "%s", "rule": "weighted", "alpha": "much", "beta": 1}',
        '{"format": "%s", "rule": "reciprocal-rank", "c": Infinity}',
        '{"format": "%s", "rule": "none"}',
    ],
)
def test_a_file_that_holds_no_rule_is_refused(tmp_path, text) -> None:
    file = tmp_path / "rule.json"
    file.write_text(text.replace("%s", str(fusion.FORMAT)))
    with pytest.raises(FormatError):
        fusion.load_rule(file)
