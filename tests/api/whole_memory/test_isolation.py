"""No call gives a passage of another namespace, or one outside its filter, by whichever way."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hoptrail import Link, Memory, Passage
from hoptrail.integrations.langchain import HoptrailRetriever, recall_tool
from hoptrail.memory.filters import Filter
from hoptrail.memory.passages.usage import histories
from hoptrail.memory.search.codecs import Scalar
from hoptrail.memory.search.compressed import Clustered, Compressed
from hoptrail.memory.search.first_stages import Full, Prefix, Search
from hoptrail.memory.search.pipeline import Pipeline
from hoptrail.memory.search.rerankers.judge import Judge
from hoptrail.memory.testing.hash_encoder import HashEncoder
from hoptrail.policies.networks.network_config import NetworkConfig
from hoptrail.policies.networks.policy_network import PolicyNetwork
from hoptrail.policies.policy import Policy

SPACES = [("a",), ("a", "x"), ("ab",), ("b",)]
NAMES = ["Ada Lind", "Varn", "Ister Beck", "Lake Sorrel"]

spaces = st.sampled_from(SPACES)
names = st.sampled_from(NAMES)
passages = st.builds(
    lambda space, name, others, n, to: Passage(
        id=f"p{NAMES.index(name)}",
        title=name,
        text=f"{name} is near " + " and ".join(others) + ".",
        namespace=space,
        metadata={"n": n},
        links=tuple(Link(f"p{i}") for i in sorted(to)),
    ),
    spaces,
    names,
    st.lists(names, min_size=1, max_size=3),
    st.integers(0, 2),
    st.sets(st.integers(0, 3), max_size=2),
)
conditions = st.sampled_from(
    [None, {"n": 1}, {"n": {"$gte": 1}}, {"$not": {"n": 0}}, {"$title": {"$gt": "J"}}, {"n": 9}]
)


@pytest.fixture(scope="module")
def policy() -> Policy:
    torch.manual_seed(0)
    return Policy([PolicyNetwork(NetworkConfig())])


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    batch=st.lists(passages, min_size=1, max_size=14),
    scope=st.sampled_from([("a",), ("a", "x"), ("b",), ("c",)]),
    filter=conditions,
    question=st.sampled_from(["Where is Ada Lind?", "Which lake is near the Ister Beck of Varn?"]),
    effort=st.sampled_from(["fast", "balanced", "thorough"]),
)
def test_nothing_comes_from_elsewhere(
    tmp_path_factory, policy, batch, scope, filter, question, effort
) -> None:
    path: Path = tmp_path_factory.mktemp("isolation") / "a.db"
    with Memory(path, encoder=HashEncoder(), policy=policy) as memory:
        memory.upsert(batch)
        inside = list(memory.store.passages(scope))
        if filter is not None:
            held = Filter.parse(filter).passages_mask(inside)
            inside = [p for p, holds in zip(inside, held, strict=True) if holds]
        keys = {(p.namespace, p.id) for p in inside}
        for mode in ("hybrid", "dense", "sparse"):
            hits = memory.search(question, 20, scope, mode=mode, filter=filter)
            assert {(h.passage.namespace, h.passage.id) for h in hits} <= keys
            assert mode == "sparse" or len(hits) == len(keys)
        recall = memory.recall(question, 20, scope, effort, filter=filter)
        found = [(h.passage.namespace, h.passage.id) for h in recall.hits]
        assert sorted(found) == sorted(keys)
        texts = {p.text for p in inside}
        for trail in recall.trails:
            for hop in trail.hops:
                assert hop.id in {p.id for p in inside}
                # A rewritten query holds the text of the passage that was read before.
                assert hop.query == question or any(text[:20] in hop.query for text in texts)
        graph = memory.graph.view(memory.store.view(scope))
        view = graph.view
        for p in memory.store.passages(scope):
            slot = view.slot_of(p.id, p.namespace)
            for other in [
                *(m.target for m in graph.out_mentions(slot)),
                *(m.source for m in graph.in_mentions(slot)),
                *(target for target, *_ in graph.links(slot)),
                *(source for source, *_ in graph.back_links(slot)),
                *(s for name in graph.entities(slot) for s in graph.slots_of_entity(name)),
            ]:
                assert view.passages([other])[0].namespace[: len(scope)] == scope


STAGES = [
    (Search(keep=20), Full(keep=20)),
    (Prefix(8, keep=20), Judge(lambda question, shown: [len(p.text) for p in shown], keep=20)),
    (Compressed(Scalar(4), keep=20),),
    (Clustered(keep=20, probe=2), Full(keep=20)),
]
QUESTIONS = ["Where is Ada Lind?", "Which lake is near the Ister Beck of Varn?"]


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    batch=st.lists(passages, min_size=4, max_size=16, unique_by=lambda p: (p.namespace, p.id)),
    scope=st.sampled_from([("a",), ("a", "x"), ("b",), ("c",)]),
    question=st.sampled_from(QUESTIONS),
)
def test_no_report_names_another_s_passage(
    tmp_path_factory, policy, batch, scope, question
) -> None:
    """Statistics, audits, exports and what LangChain is given, whoever asked before."""
    folder: Path = tmp_path_factory.mktemp("isolation")
    with Memory(folder / "a.db", encoder=HashEncoder(), policy=policy) as memory:
        memory.add(batch)
        keys = {(p.namespace, p.id) for p in batch if p.namespace[: len(scope)] == scope}
        texts = {p.text for p in batch if p.namespace[: len(scope)] == scope}
        others = {p.text for p in batch} - texts

        retriever = HoptrailRetriever(memory=memory, k=20, namespace=scope)
        found = retriever.invoke(question)
        assert {(tuple(d.metadata["hoptrail"]["namespace"]), d.id) for d in found} == keys
        call = {"name": "recall", "args": {"question": question}, "id": "1", "type": "tool_call"}
        told = recall_tool(memory, k=20, namespace=scope).invoke(call)
        assert {p["text"] for p in told.artifact["passages"]} == texts
        said = told.content + json.dumps(told.artifact, ensure_ascii=False)
        assert not any(text in said for text in others)

        memory.search(question, 20, scope)
        counted = {(h.namespace, h.id): h.counts.recalls for h in histories(memory.store)}
        assert counted == {key: 3 if key in keys else 0 for key in counted}
        assert {(h.namespace, h.id) for h in histories(memory.store, scope)} == keys

        memory.search(question, 20, ("a", "x"))  # what others ask is no business of the scope's
        audit = memory.audit(namespace=scope, similarity_threshold=0.5)
        named = {*audit.orphans, *audit.stale, *audit.never_recalled}
        named |= {(space, source) for space, source, _ in audit.dangling}
        named |= {(d.namespace, id_) for d in audit.duplicates for id_ in (d.id, d.of)}
        assert named <= keys
        assert audit.passages == memory.count(scope) == len(keys)

        for asked in (scope, ("b", "other")):
            if (recall := memory.recall(question, 5, asked)).hits:
                memory.feedback(recall.id, 1.0)
        rows = {row for f in memory.feedback_given(scope) for row in f.recall.returned}
        judged = {(p.namespace, p.id) for p in memory.store.read_rows(sorted(rows)).values()}
        assert judged <= keys
        assert bool(judged) == bool(keys)

        memory.export(folder / "scope.jsonl", namespace=scope)
        lines = list(map(json.loads, (folder / "scope.jsonl").read_text().splitlines()))[1:]
        assert {(tuple(line["namespace"]), line["id"]) for line in lines} == keys

        memory.forget(None, namespace=scope)
        assert {(p.namespace, p.id) for p in memory.store.passages()} == set(counted) - keys
        assert {(h.namespace, h.id) for h in histories(memory.store)} == set(counted) - keys
        assert memory.feedback_given() == []  # nobody else's was judged


@settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    batch=st.lists(passages, min_size=4, max_size=16, unique_by=lambda p: (p.namespace, p.id)),
    scope=st.sampled_from([("a",), ("a", "x"), ("b",)]),
    filter=conditions,
    seed=st.integers(0, 3),
)
def test_no_stage_draw_merge_or_other_encoder_leads_out(
    tmp_path_factory, policy, batch, scope, filter, seed
) -> None:
    folder: Path = tmp_path_factory.mktemp("isolation")
    with Memory(folder / "a.db", encoder=HashEncoder(), policy=policy) as memory:
        memory.add(batch)

        def inside() -> set[tuple[tuple[str, ...], str]]:
            held = list(memory.store.passages(scope))
            if filter is not None:
                kept = Filter.parse(filter).passages_mask(held)
                held = [p for p, keeps in zip(held, kept, strict=True) if keeps]
            return {(p.namespace, p.id) for p in held}

        def found() -> list[set[tuple[tuple[str, ...], str]]]:
            asked = {"namespace": scope, "filter": filter}
            hits = [
                memory.search(QUESTIONS[0], 20, scope, filter=filter, pipeline=Pipeline([*stages]))
                for stages in STAGES
            ]
            hits += [memory.search(QUESTIONS[1], 20, scope, filter=filter, fusion="min-rank")]
            hits += [
                r.hits
                for r in memory.recall_many(QUESTIONS, 20, effort="fast", explore=seed, **asked)
            ]
            return [{(h.passage.namespace, h.passage.id) for h in one} for one in hits]

        for keys in found():
            assert keys <= inside()
        memory.change_encoder(HashEncoder(24))
        for keys in found():
            assert keys <= inside()

        others = [p for p in memory.store.passages() if p.namespace[: len(scope)] != scope]
        same = [Passage(f"new{i}", p.text, p.title, namespace=scope) for i, p in enumerate(others)]
        distinct = memory.add_distinct(same, similarity_threshold=2.0)
        own = {p.content for p in batch if p.namespace == scope}
        for d in distinct.duplicates:  # of the scope's own, or of each other
            assert d.of.startswith("new") or memory.get(d.of, scope).content in own
        merged = memory.merge_duplicates(namespace=scope, similarity_threshold=0.5, dry_run=False)
        for merge in merged.merges:
            assert merge.namespace[: len(scope)] == scope
            assert {m.namespace for m in merge.merged} == {merge.namespace}
        left = [p for p in memory.store.passages() if p.namespace[: len(scope)] != scope]
        assert left == others
        for p in left:
            assert memory.history(p.id, p.namespace).merged_from == ()


def test_a_tenant_moves_no_score_of_another(tmp_path: Path, policy: Policy) -> None:
    def scores() -> list[tuple[str, float]]:
        hits = memory.search("Where is Ada Lind of Varn?", 10, ("a",))
        walked = memory.recall("Where is Ada Lind of Varn?", 10, ("a",)).hits
        return [(hit.passage.id, hit.score) for hit in [*hits, *walked]]

    with Memory(tmp_path / "a.db", encoder=HashEncoder(), policy=policy) as memory:
        memory.add([Passage(f"p{i}", f"{n} by Varn.", n, {}, ("a",)) for i, n in enumerate(NAMES)])
        before = scores()
        memory.add(
            Passage(f"q{i}", f"Ada Lind of Varn {i}.", "Varn", {}, ("ab",)) for i in range(50)
        )
        assert scores() == before
