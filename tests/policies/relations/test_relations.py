"""Walking relations: what leads it, where it ends, what it shows, and learning it from answers."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from hoptrail.errors import ConfigError, InputError, PolicyError
from hoptrail.formats.triples import entities
from hoptrail.memory.encoders.onnx_encoder import SUFFIXES
from hoptrail.memory.testing.hash_encoder import HashEncoder
from hoptrail.policies.environment.efforts import EFFORTS
from hoptrail.policies.networks.relation_network import RelationScorer
from hoptrail.policies.networks.relation_scorer import (
    FILE,
    Trained,
    padded,
    relation_vectors,
    relation_words,
)
from hoptrail.policies.policy import Policy
from hoptrail.policies.relations.relation_beam import RelationRetriever, scorer_of
from hoptrail.policies.relations.relation_paths import connecting, known_path, meant_paths
from hoptrail.policies.relations.similarity import Similarity
from hoptrail.policies.relations.training import Asked, RelationConfig, loss_of, train_relations
from hoptrail.policies.retriever import PolicyRetriever
from hoptrail.types import Passage

STEPS = ("painted_by", "lives_in", "lies_on")
RIVER = "where lies on a river the home of who painted [Mist at Varn 0]?"


class Table:
    """A scorer that says what it was told: probabilities by path, STOP under None."""

    def __init__(self, names, table):
        self.names, self.table = [*names, None], table

    def read(self, questions):
        self.questions = list(questions)
        return np.arange(len(self.questions)), [0] * len(self.questions)

    def log_probs(self, asked, paths, available):
        told = [self.table.get(tuple(self.names[r] for r in path), {}) for path in paths]
        rows = [[chances.get(name, 1e-9) for name in self.names] for chances in told]
        rows = np.where(available, np.asarray(rows), 0.0)
        with np.errstate(divide="ignore"):
            return np.log(rows / rows.sum(1, keepdims=True))


@pytest.fixture
def art(world, triples):
    return world(list(entities(triples)))


@pytest.fixture
def led(art):
    """A walker led by a table."""

    def make(table, hops=3):
        scorer = Table(art.graph.relations().names, table)
        return RelationRetriever(art.view, art.graph, scorer, art.encoder, hops)

    return make


def top(art, walk):
    """What the trails may end at, with its score."""
    pairs = zip(art.ids(walk.slots), walk.scores.tolist(), strict=True)
    return {name: score for name, score in pairs if score > 0.01}


def test_an_answer_scores_the_probability_of_the_paths_that_end_at_it(art, led) -> None:
    walker = led(
        {
            (): {"painted_by": 0.75, "shows": 0.25},
            ("painted_by",): {"lives_in": 0.8, None: 0.2},
            ("painted_by", "lives_in"): {None: 1.0},
            ("shows",): {None: 1.0},
        }
    )
    [walk] = walker.retrieve(["Where is [Mist at Varn 0]?"], 8)
    assert top(art, walk) == pytest.approx({"Varn": 0.85, "Bram Osk": 0.15}, abs=1e-4)
    assert len(walk.slots) == len(set(walk.slots.tolist())) == 8
    assert (np.diff(walk.scores) <= 0).all()
    likeliest = walk.trails[0]
    assert [hop.id for hop in likeliest.hops] == ["Mist at Varn 0", "Bram Osk", "Varn"]
    assert [hop.link for hop in likeliest.hops] == [None, "painted_by", "lives_in"]
    assert [hop.probability for hop in likeliest.hops] == pytest.approx([1, 0.75, 0.8])
    assert [hop.stop_probability for hop in likeliest.hops] == pytest.approx([0, 0, 0.2])
    assert likeliest.hops[-1].query.endswith("> painted by > lives in")
    assert (likeliest.stop_reason, likeliest.stop_probability) == ("policy", pytest.approx(1))
    assert likeliest.probability == pytest.approx(0.6)
    assert walker._scorer.questions == ["Where is it?"]


def test_trails_end_where_the_budget_or_the_links_do(art, led) -> None:
    onward = {(): {"lies_on": 1.0}, ("lies_on",): {"ends_in": 1.0}}
    [walk] = led(onward).retrieve(["[Varn]"], 3)
    assert walk.trails[0].stop_reason == "policy"
    [walk] = led(onward, hops=1).retrieve(["[Varn]"], 3)
    assert (walk.trails[0].stop_reason, walk.trails[0].hops[-1].id) == ("budget", "Ister Beck")


def test_where_a_relation_leads_nowhere_new_another_is_followed(art, led) -> None:
    """From its only town the river leads back alone: no entity is entered twice."""
    back = {
        (): {"lies_on": 1.0},
        ("lies_on",): {"~lies_on": 0.9, "ends_in": 0.1},
        ("lies_on", "ends_in"): {None: 1.0},
    }
    [walk] = led(back).retrieve(["[Tolle]"], 3)
    assert list(top(art, walk)) == ["Lake Anning"]


def test_two_topics_share_the_answers_that_both_lead_to(art, led) -> None:
    walker = led({(): {"lives_in": 1.0}, ("lives_in",): {None: 1.0}})
    [walk] = walker.retrieve(["Where do [Bram Osk], [Jon Reth] and [Ida Lund] live?"], 5)
    assert top(art, walk) == pytest.approx({"Varn": 2 / 3, "Tolle": 1 / 3}, abs=1e-4)


def test_questions_together_get_what_each_gets_alone(art, random_policy) -> None:
    walker = art.walker(random_policy())
    asked = [RIVER, "what was painted by [Ida Lund]?", "Who knows?", "where lives Una Sorn?"]
    for one, alone in zip(
        walker.retrieve(asked), (walker.retrieve([q])[0] for q in asked), strict=True
    ):
        np.testing.assert_array_equal(one.slots, alone.slots)
        np.testing.assert_array_equal(one.scores, alone.scores)
        assert [t.hops for t in one.trails] == [t.hops for t in alone.trails]


def test_without_training_the_words_of_relations_lead(art, random_policy) -> None:
    walker = art.walker(random_policy())
    paintings = {f"{what} at Tolle 1" for what in ("Mist", "Trout", "Bells", "Snow")}
    for question, answers in (
        ("what was painted by [Ida Lund]?", paintings),
        ("where lives who painted [Mist at Varn 0]?", {"Varn"}),
        ("on what lies the town where lives who painted [Mist at Varn 0]?", {"Ister Beck"}),
    ):
        [walk] = walker.retrieve([question], 4)
        assert set(art.ids(walk.slots[: len(answers)])) == answers
        assert 0 < sum(trail.probability for trail in walk.trails) <= 1 + 1e-9


def test_a_filter_bounds_what_is_walked_through(art, led) -> None:
    table = {(): {"lies_on": 1.0}, ("lies_on",): {"~lies_on": 1.0}}
    allowed = np.ones(art.view.capacity, dtype=np.bool_)
    allowed[list(art.slots("Ister Beck"))] = False
    walker = led(table)
    assert top(art, walker.retrieve(["[Varn]"], 3)[0])
    assert not top(art, walker.retrieve(["[Varn]"], 3, allowed)[0])
    allowed[list(art.slots("Varn"))] = False
    assert walker.topics("[Varn]", allowed) == []


@pytest.mark.parametrize("trained", [False, True])
def test_a_walk_counts_the_texts_that_its_encoder_saw(art, trained) -> None:
    names = art.graph.relations().names
    scorer = (
        Trained(RelationScorer("x", art.encoder.dim, width=8).arrays(), names, art.encoder)
        if trained
        else Similarity(names, art.encoder)
    )
    walker = RelationRetriever(art.view, art.graph, scorer, art.encoder, 2)
    questions = [RIVER, "what was painted by [Ida Lund]?", "[Varn] and [Tolle] have which river?"]
    before = art.encoder.texts_encoded
    results = walker.retrieve(questions, 5)
    assert sum(r.texts_encoded for r in results) == art.encoder.texts_encoded - before
    assert results[0].texts_encoded > 1  # its words too
    before = art.encoder.texts_encoded
    [again] = walker.retrieve(questions[2:], 5)
    assert again.texts_encoded == art.encoder.texts_encoded - before
    assert again.texts_encoded == (3 if trained else 1)  # the words are known by now


def test_a_renamed_and_shuffled_graph_is_walked_alike(world, art, triples, random_policy) -> None:
    other = world(list(entities(triples))[::-1])
    for question in (RIVER, "what was painted by [Ida Lund]?"):
        ours, theirs = (w.walker(random_policy()).retrieve([question])[0] for w in (art, other))
        assert art.ids(ours.slots) == other.ids(theirs.slots)
        np.testing.assert_array_equal(ours.scores, theirs.scores)


def test_passages_that_say_something_are_read_and_not_walked_over(world, random_policy) -> None:
    """A typed link between texts changes nothing: the walk over what passages say is as it was."""
    texts = [Passage("a", "Tolle lies on a river.", "Tolle"), Passage("b", "A river.", "Ister")]
    plain = world(texts)
    linked = world([Passage("a", texts[0].text, "Tolle", links=()), texts[1]])
    walker = linked.walker(random_policy())
    assert walker._over_relations is None
    assert [t.hops for t in walker.retrieve(["Where is Tolle?"])[0].trails] == [
        t.hops for t in plain.walker(random_policy()).retrieve(["Where is Tolle?"])[0].trails
    ]


# Learning


def slots_of(art, *names):
    return np.asarray(art.slots(*names))


def test_the_paths_between_two_entities_are_all_found(art) -> None:
    relations = art.graph.relations()
    [river], start = art.slots("Ister Beck"), slots_of(art, "Mist at Varn 0")
    found = {
        tuple(relations.names[r] for r in path) for path in connecting(relations, start, river, 3)
    }
    assert found == {("shows", "lies_on"), STEPS}
    assert connecting(relations, start, river, 1) == set()


def test_a_path_is_meant_as_far_as_it_ends_at_the_answers(art) -> None:
    relations = art.graph.relations()
    start = slots_of(art, "Mist at Varn 0")
    answers = slots_of(art, "Bells at Varn 0", "Snow at Varn 0", "Trout at Varn 0")
    meant = {
        tuple(relations.names[r] for r in path.relations): path
        for path in meant_paths(relations, start, answers, 3)
    }
    assert meant["painted_by", "~painted_by"].fit == 1
    assert meant["shows", "~shows"].fit == pytest.approx(2 * 3 / (3 + 7))
    available = meant["painted_by", "~painted_by"].available
    assert available.shape == (3, len(relations) + 1)
    assert available[:, -1].tolist() == [False, True, True]
    at_painter = {relations.names[i] for i in np.flatnonzero(available[1, :-1])}
    assert at_painter == {"lives_in", "~painted_by"}
    assert known_path(relations, start, answers, [relations.names.index("ends_in")]) is None
    assert meant_paths(relations, start, slots_of(art, "Lake Anning"), 1) == []


def test_the_loss_is_the_latent_marginal(art) -> None:
    """Against each path's probability multiplied out by hand."""
    relations = art.graph.relations()
    start, answer = slots_of(art, "Mist at Varn 0"), slots_of(art, "Varn")
    meant = meant_paths(relations, start, answer, 3)
    assert len(meant) > 1
    torch.manual_seed(0)
    scorer = RelationScorer("x", 32, width=8).eval()
    known = torch.from_numpy(relation_vectors(relations.names, art.encoder))
    vector = torch.from_numpy(art.encoder.encode(["where?", "which town?"]))
    with torch.no_grad():
        loss = loss_of(
            scorer, [Asked("where?", tuple(meant)), Asked("", (meant[0],))], vector, known
        )
    by_hand = []
    for row, paths in ((0, meant), (1, meant[:1])):
        total = 0.0
        for path in paths:
            chance = path.fit**2
            for t, action in enumerate((*path.relations, len(relations))):
                with torch.no_grad():
                    log_pi = scorer(
                        vector[row : row + 1],
                        torch.from_numpy(padded([path.relations[:t]])),
                        torch.from_numpy(path.available[t : t + 1]),
                        known,
                    )
                chance *= float(log_pi[0, action].exp())
            total += chance
        by_hand.append(-np.log(total))
    assert float(loss) == pytest.approx(np.mean(by_hand), rel=1e-4)


@pytest.fixture
def files(tmp_path, triples, entity_questions, monkeypatch):
    monkeypatch.setenv("HOPTRAIL_CACHE", str(tmp_path / "cache"))
    (tmp_path / "kb.txt").write_text("".join("|".join(t) + "\n" for t in triples), encoding="utf-8")
    (tmp_path / "qa.jsonl").write_text(
        "".join(json.dumps(q) + "\n" for q in entity_questions), encoding="utf-8"
    )
    return SimpleNamespace(
        triples=tmp_path / "kb.txt", questions=tmp_path / "qa.jsonl", out=tmp_path / "policy"
    )


@pytest.mark.parametrize("supervision", ["answers", "paths"])
def test_trained_on_answers_it_answers_questions_about_other_entities(
    art, files, entity_questions, random_policy, hash_encoder, supervision
) -> None:
    config = RelationConfig(first=64, supervision=supervision, width=32, epochs=25, batch=16)
    told = []
    card = train_relations(
        files.triples,
        [files.questions],
        files.out,
        config=config,
        encoder=hash_encoder,
        policy=random_policy(),
        progress=lambda *args: told.append(args[0]),
        command="hoptrail train …",
    )
    assert card["relations"]["trained on"] == 64
    assert card["relations"]["curve"][-1]["loss"] < 0.5 * card["relations"]["curve"][0]["loss"]
    assert {"find paths", "train relations"} <= set(told)
    walker = PolicyRetriever(
        Policy.load(files.out), art.view, art.graph, art.encoder, EFFORTS["fast"]
    )
    unseen = entity_questions[64:]
    walks = walker.retrieve([q["question"] for q in unseen], 1)
    hits = [art.ids(w.slots)[0] in q["answers"] for w, q in zip(walks, unseen, strict=True)]
    assert len(hits) >= 20
    assert np.mean(hits) >= 0.9


def test_the_same_seed_trains_the_same_scorer(files, random_policy, hash_encoder) -> None:
    seen = []
    for seed in (0, 0, 1):
        config = RelationConfig(seed=seed, first=10, width=8, epochs=2)
        train_relations(
            files.triples, [files.questions], files.out,
            config=config, encoder=hash_encoder, policy=random_policy(),
        )  # fmt: skip
        seen.append((files.out / FILE).read_bytes())
    assert seen[0] == seen[1] != seen[2]


def test_what_cannot_be_trained_is_refused(files, random_policy, hash_encoder) -> None:
    for wrong in ({"supervision": "hope"}, {"hops": 0}, {"first": 0, "epochs": 0}):
        with pytest.raises(ConfigError):
            RelationConfig(**wrong)
    files.questions.write_text('{"question": "who is [Nobody]?", "answers": ["Ida Lund"]}\n')
    with pytest.raises(InputError, match="nothing to train on"):
        train_relations(
            files.triples, [files.questions], files.out,
            config=RelationConfig(), encoder=hash_encoder, policy=random_policy(),
        )  # fmt: skip


def test_a_policy_keeps_its_scorer_and_may_have_none(random_policy, tmp_path) -> None:
    policy = random_policy()
    policy.relations = RelationScorer("hash-32", 32, width=8)
    policy.save(tmp_path)
    loaded = Policy.load(tmp_path)
    assert loaded.relations is not None
    assert repr(loaded.relations) == repr(policy.relations)
    for a, b in zip(
        loaded.relations.state_dict().values(), policy.relations.state_dict().values(), strict=True
    ):
        assert torch.equal(a, b)
    assert loaded.first(1).relations is loaded.relations
    (tmp_path / FILE).write_bytes(b"nothing")
    with pytest.raises(PolicyError, match="damaged"):
        Policy.load(tmp_path)
    policy.relations = None
    with pytest.raises(PolicyError, match="or it is damaged"):
        policy.save(tmp_path)
    (tmp_path / FILE).unlink()
    policy.save(tmp_path)
    assert Policy.load(tmp_path).relations is None


def test_a_scorer_of_another_encoder_is_not_used(art, random_policy) -> None:
    policy = random_policy()
    plain = art.walker(policy).retrieve([RIVER])[0]
    policy.relations = RelationScorer("another", 7)
    np.testing.assert_array_equal(art.walker(policy).retrieve([RIVER])[0].scores, plain.scores)
    policy.relations = RelationScorer(art.encoder.fingerprint, 32)
    assert not np.array_equal(art.walker(policy).retrieve([RIVER])[0].scores, plain.scores)


class Exported(HashEncoder):
    """As an encoder's export in 8 bits is: other in name, near in its vectors."""

    fingerprint = HashEncoder().fingerprint + SUFFIXES["int8"]


def test_a_scorer_is_used_beside_the_export_of_its_encoder(random_policy) -> None:
    policy = random_policy()
    policy.relations = RelationScorer(HashEncoder().fingerprint, 32)
    assert isinstance(scorer_of(policy, ["a", "~a"], Exported()), Trained)
    assert isinstance(scorer_of(policy, ["a", "~a"], HashEncoder(16)), Similarity)


def test_names_of_relations_are_read_as_words() -> None:
    assert relation_words("~film/starred-actors") == "film starred actors"
    assert relation_words("hasGenre") == "has genre"
