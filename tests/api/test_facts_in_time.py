"""Facts in time at the front door: what is not valid is seen nowhere, unless it is asked for."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest

from hoptrail import Memory, Passage, Recall, Store
from hoptrail.errors import DuplicateId, FormatError, HoptrailError, InputError, UnknownId
from hoptrail.graph.audit import audit
from hoptrail.memory import Full, Pipeline, Prefix, Search
from hoptrail.memory.passages import usage
from hoptrail.memory.storage.namespaces import Scope
from hoptrail.memory.testing.hash_encoder import Clock, HashEncoder
from hoptrail.policies.feedback.dataset import prepare_feedback

SECRET = "Zanzibar"
WHEN = 1_700_000_000.0
PASSAGES = [
    {"id": "old", "title": SECRET, "text": f"Ann moors her boat in {SECRET}.", "namespace": ["a"]},
    {"id": "ann", "title": "Ann", "text": f"Ann sails from {SECRET}.", "namespace": ["a"]},
    {"id": "pier", "text": "The pier of stone.", "links": ["old"], "namespace": ["a"]},
    {"id": "lone", "text": f"{SECRET} alone.", "namespace": ["b"]},
    {"id": "twin", "text": f"{SECRET} alone.", "namespace": ["b"]},
    *({"id": f"p{i}", "text": f"Boat {i} lies at the quay.", "namespace": ["a"]} for i in range(5)),
]
QUESTION = f"Who is in {SECRET}?"


@pytest.fixture
def clock() -> Clock:
    clock = Clock()
    clock.now = WHEN
    return clock


@pytest.fixture
def memory(tmp_path: Path, clock: Clock) -> Iterator[Memory]:
    with Store(tmp_path / "a.db", encoder=HashEncoder(), clock=clock) as store:
        memory = Memory(store)
        memory.add(PASSAGES)
        yield memory


def end(memory: Memory, clock: Clock) -> None:
    """Have nothing with the secret be valid, in each of the ways that there are."""
    clock.now += 10
    memory.supersede("old", "Ann moors her boat in Oslo.", namespace=("a",))
    memory.update("ann", text="Ann sails.", keep_history=True, namespace=("a",))
    for id_ in ("lone", "twin"):
        memory.update(id_, valid_until=clock.now - 1, namespace=("b",))
    memory.add({"id": "later", "text": SECRET, "valid_from": WHEN + 1e6}, namespace=("a",))


def graph_sights(memory: Memory) -> list[object]:
    view = memory.store.view()
    graph = memory.graph.view(view)
    slots = np.flatnonzero(view.alive).tolist()
    rows = graph.mentioned(slots)[1].tolist()
    return [
        view.passages(slots),
        view.passages(graph.named(QUESTION)),
        view.passages(rows),
        [view.passages([target for target, *_ in graph.links(slot)]) for slot in slots],
        [view.passages([source for source, *_ in graph.back_links(slot)]) for slot in slots],
        [view.passages([m.target for m in graph.out_mentions(slot)]) for slot in slots],
        [view.passages([m.source for m in graph.in_mentions(slot)]) for slot in slots],
        view.passages(np.flatnonzero(graph.pagerank({slots[0]: 1.0})).tolist()),
        SECRET * bool(graph.slots_of_entity(SECRET.lower()) or graph.entity_df(SECRET.lower())),
    ]


def shown(recall: Recall) -> list[object]:
    """What a recall returns, without the question."""
    hops = [hop.id for trail in recall.trails for hop in trail.hops]
    hits = [replace(hit, sub_question=None) for hit in recall.hits]
    return [hits, SECRET * bool({"old", "lone", "twin", "later", "ann@1"} & {*hops})]


def told(call: Callable[[], object]) -> object:
    """What a call returns, or the sentence that refuses it."""
    try:
        return call()
    except HoptrailError as error:
        return str(error)


STAGES = Pipeline([Search(keep=20), Full(keep=9)])
SIGHTS: dict[str, Callable[[Memory], object]] = {
    "get": lambda m: told(lambda: m.get("old", ("a",))),
    "get many": lambda m: told(lambda: m.store.get_many(["lone"], ("b",))),
    "has": lambda m: SECRET * m.store.has("lone", ("b",)),
    "count": lambda m: SECRET * m.count(("b",)),
    "count with a filter": lambda m: SECRET * m.count(filter={"$title": SECRET}),
    "holds any": lambda m: SECRET * m.store.holds_any(("b",)),
    "namespaces": lambda m: SECRET * (("b",) in m.store.namespaces()),
    "list": lambda m: list(m.store.passages()),
    **{
        f"{mode} search": lambda m, mode=mode: m.search(QUESTION, 20, mode=mode)
        for mode in ("hybrid", "dense", "sparse")
    },
    **{
        f"search by {rule}": lambda m, rule=rule: m.search(SECRET, 20, fusion=rule)
        for rule in ("reciprocal-rank", "min-rank")
    },
    "search with a filter": lambda m: m.search(SECRET, 20, filter={"$title": SECRET}),
    "pipeline": lambda m: m.search(SECRET, 9, pipeline=STAGES),
    "pipeline of prefixes": lambda m: m.search(SECRET, 9, pipeline=Pipeline([Prefix(8, keep=9)])),
    **{
        f"{effort} recall": lambda m, effort=effort: shown(m.recall(QUESTION, 20, (), effort))
        for effort in ("fast", "balanced", "thorough")
    },
    "recall that explores": lambda m: shown(m.recall(QUESTION, 20, explore=3)),
    "recalls of several": lambda m: list(map(shown, m.recall_many([QUESTION, "Ann?"], 20))),
    "recall of what links to it": lambda m: shown(m.recall("The pier of stone?", 20)),
    "graph": graph_sights,
    "networkx": lambda m: [
        [node.get("text"), node.get("name")]
        for _, node in m.graph.view(m.store.view()).to_networkx().nodes(data=True)
    ],
    "duplicates": lambda m: SECRET * len(m.merge_duplicates().merges),
    "what is like a new one": lambda m: (
        SECRET * len(m.add_distinct(f"{SECRET} alone.", then="skip", namespace=("b",)).duplicates)
    ),
    "what is counted": lambda m: SECRET * any(one.id == "lone" for one in usage.histories(m.store)),
    "audit": lambda m: (
        SECRET * (("b", "lone") in [(*s, i) for s, i in audit(m.graph).orphans])
        + SECRET * len(audit(m.graph).duplicates)
    ),
}


@pytest.mark.parametrize("sight", SIGHTS)
def test_what_is_not_valid_is_seen_nowhere(memory: Memory, clock: Clock, sight: str) -> None:
    assert SECRET.casefold() in repr(SIGHTS[sight](memory)).casefold(), "the test would see nothing"
    end(memory, clock)
    assert SECRET.casefold() not in repr(SIGHTS[sight](memory)).casefold()


def test_a_filter_that_names_the_past_finds_nothing_of_it(memory: Memory, clock: Clock) -> None:
    end(memory, clock)
    assert memory.count(filter={"$valid_until": {"$lte": clock.now}}) == 0
    assert memory.count(filter={"$valid_until": {"$lte": clock.now}}, as_of="ever") == 4
    assert memory.count(filter={"$valid_from": {"$exists": True}}) == 2
    assert memory.search("Ann", filter={"$valid_from": WHEN + 10}, k=9) != []


def test_feedback_on_what_is_not_valid_any_more_teaches_nothing(
    memory: Memory, clock: Clock
) -> None:
    for id_ in ("old", "pier"):
        recall = memory.recall(QUESTION, 20)
        memory.feedback(recall.id, 1.0, passages=[memory.get(id_, ("a",))])

    def lessons() -> list[tuple[str, ...]]:
        entries = memory.feedback_given()
        judged = prepare_feedback(memory.store, entries, memory.store.encoder)
        return sorted(one.example.question.supporting_ids for one in judged)

    assert lessons() == [("old",), ("pier",)]
    end(memory, clock)
    assert lessons() == [(), ("pier",)]
    rows = {row for one in memory.feedback_given() for row in one.recall.returned}
    assert SECRET not in repr(memory.store.read_rows(sorted(rows)))


def test_as_of_shows_all_of_then_and_nothing_of_now(memory: Memory, clock: Clock) -> None:
    before = {p.id: p for p in memory.store.passages()}
    hits = [(h.passage.text, h.score) for h in memory.search(QUESTION, 20)]
    walked = [(h.passage.text, h.score) for h in memory.recall(QUESTION, 20).hits]
    end(memory, clock)
    then = {"as_of": WHEN + 5}
    assert [(h.passage.text, h.score) for h in memory.search(QUESTION, 20, **then)] == hits
    assert [(h.passage.text, h.score) for h in memory.recall(QUESTION, 20, **then).hits] == walked
    # The id of what a passage said before is another; all else is as it was.
    assert memory.get("old", ("a",), **then).text == before["old"].text
    assert memory.count(**then) == len(before)
    assert {h.passage.id for h in memory.search(SECRET, 50, as_of="ever")} >= {
        "old",
        "ann",
        "ann@1",
    }
    assert {h.passage.id for h in memory.recall(SECRET, 50, as_of="ever").hits} >= {"old", "ann@1"}


def test_what_begins_and_ends_by_the_clock_needs_nobody_to_write(
    tmp_path: Path, clock: Clock
) -> None:
    with Store(tmp_path / "a.db", encoder=HashEncoder(), clock=clock) as store:
        memory = Memory(store)
        memory.add(
            [
                {"id": "quay", "text": "Bram Osk waits.", "links": ["mill"]},
                {"id": "sea", "title": "Bram Osk", "text": "At sea.", "valid_until": WHEN + 10},
                {"id": "mill", "title": "Bram Osk", "text": "At a mill.", "valid_from": WHEN + 10},
            ]
        )
    for read_only in (False, True):
        clock.now = WHEN
        options = {"encoder": HashEncoder(), "clock": clock, "read_only": read_only}
        with Store(tmp_path / "a.db", **options) as store:
            memory = Memory(store)
            for now, ids in ((WHEN, {"quay", "sea"}), (WHEN + 10, {"quay", "mill"})):
                clock.now = now
                assert {h.passage.id for h in memory.search("Bram Osk", 9)} == ids
                recall = memory.recall("Where is Bram Osk?", 9)
                assert {h.passage.id for h in recall.hits} == ids
                view = store.view()
                graph, slot = memory.graph.view(view), view.slot_of("quay")
                [mention] = graph.out_mentions(slot)
                assert {p.id for p in view.passages([slot, mention.target])} == ids
                assert len(graph.links(slot)) == ("mill" in ids)
            clock.now = WHEN + 1  # set back to before it began
            assert {h.passage.id for h in memory.search("Bram Osk", 9)} == {"quay", "sea"}


def test_moments_between_which_nothing_happened_share_a_view(memory: Memory, clock: Clock) -> None:
    end(memory, clock)
    views = [memory.store.view(Scope.parse(()).at(WHEN + at)) for at in (1, 2, 8.9, 11, 12)]
    assert len({id(view) for view in views}) == 2
    assert memory.store.view() not in views


@pytest.mark.parametrize("at", range(9))
def test_a_view_as_of_a_time_is_dropped_for_later_ones(memory: Memory, at: int) -> None:
    for n in range(9):
        memory.add({"id": f"v{n}", "text": f"river {n}", "valid_until": WHEN + 100 + n})
    for n in [*range(9), at]:
        ids = {h.passage.id for h in memory.search("river", 40, as_of=WHEN + 99.5 + n)}
        assert len([id_ for id_ in ids if id_.startswith("v")]) == 9 - n
    assert len(memory.store._views.stats()) <= 5


OFFSET = timezone(timedelta(hours=2))


@pytest.mark.parametrize(
    "time",
    [
        WHEN,
        int(WHEN),
        "2023-11-14T22:13:20Z",
        "2023-11-15T00:13:20+02:00",
        datetime.fromtimestamp(WHEN, UTC),
        datetime.fromtimestamp(WHEN, OFFSET),
    ],
)
def test_a_moment_may_be_said_in_many_ways(memory: Memory, time: object) -> None:
    new = memory.update("pier", valid_from=time, namespace=("a",))
    assert new.valid_from == WHEN
    assert memory.count(as_of=time) == len(PASSAGES)
    assert memory.add({"text": "x", "valid_until": "2999-01-01"}) != []
    assert memory.update("pier", valid_from=date(1970, 1, 2), namespace=("a",)).valid_from == 86_400


NAIVE = [datetime(2026, 1, 1), "2026-01-01T12:00:00", np.datetime64("2026-01-01T12:00")]
NO_TIMES = ["then", True, float("nan"), [1], np.datetime64("NaT")]


@pytest.mark.parametrize("time", [*NAIVE, *NO_TIMES], ids=repr)
def test_a_time_without_an_offset_or_that_is_none_is_refused_by_name(
    memory: Memory, time: object
) -> None:
    for name, call in {
        "valid_from": lambda: memory.add({"text": "x", "valid_from": time}),
        "valid_until": lambda: memory.add([Passage("x", "x", valid_until=time)]),
        "as_of": lambda: memory.recall("x", as_of=time),
        "as_of,?": lambda: memory.get("x", as_of=time),
        "at": lambda: memory.supersede("old", "x", at=time, namespace=("a",)),
        "valid_from ?": lambda: memory.update("old", valid_from=time, namespace=("a",)),
    }.items():
        with pytest.raises((InputError, FormatError), match=name.strip(" ?")) as refused:
            call()
        assert "offset" in str(refused.value) or time not in NAIVE
    assert memory.count(as_of="ever") == len(PASSAGES)


def test_an_interval_that_holds_no_moment_is_refused(memory: Memory, tmp_path: Path) -> None:
    for until in (5.0, 4.0):
        for call in (
            lambda until=until: memory.add({"text": "x", "valid_from": 5, "valid_until": until}),
            lambda until=until: memory.update(
                "pier", valid_from=5, valid_until=until, namespace=("a",)
            ),
        ):
            with pytest.raises(InputError, match="valid_until must be after valid_from"):
                call()
    memory.update("pier", valid_from=WHEN - 5, namespace=("a",))
    with pytest.raises(InputError, match=r"'pier' is valid from .* cannot cease"):
        memory.supersede("pier", "The pier of wood.", at=WHEN - 5, namespace=("a",))
    with pytest.raises(InputError, match=r"'pier' is valid from .* cannot cease"):
        memory.update(
            "pier", text="Of wood.", valid_from=WHEN - 9, keep_history=True, namespace=("a",)
        )
    with pytest.raises(InputError, match="which supersede takes"):
        memory.update(
            "pier", text="Of wood.", valid_from=WHEN + 9, keep_history=True, namespace=("a",)
        )
    assert memory.history("pier", ("a",)).chain[0].valid_until is None


def test_what_supersedes_is_refused_where_it_cannot(memory: Memory, clock: Clock) -> None:
    end(memory, clock)
    a: dict = {"namespace": ("a",)}
    refusals = {
        "was superseded by": lambda: memory.supersede("old", "Rome.", **a),
        "cannot supersede itself": lambda: memory.supersede(
            "pier", memory.get("pier", ("a",)), **a
        ),
        "is not valid at": lambda: memory.supersede(
            "pier", memory.get("ann@1", ("a",), as_of="ever"), **a
        ),
        "give one of the two": lambda: memory.supersede(
            "pier", {"text": "x", "valid_from": WHEN}, at=WHEN + 1, **a
        ),
        "says namespace": lambda: memory.supersede(
            "pier", Passage("q", "x", namespace=("b",)), **a
        ),
        "got 2": lambda: memory.supersede("pier", ["x", "y"], **a),
    }
    for words, call in refusals.items():
        with pytest.raises(InputError, match=words):
            call()
    with pytest.raises(DuplicateId, match="an id of its own"):
        memory.supersede("pier", {"id": "p1", "text": "another"}, **a)
    with pytest.raises(UnknownId):
        memory.supersede("none", "x", **a)
    with pytest.raises(UnknownId, match="is not valid now: its history tells"):
        memory.get("old", ("a",))


def test_a_passage_that_is_there_supersedes_as_it_is(memory: Memory, clock: Clock) -> None:
    clock.now += 7
    other = memory.get("p1", ("a",))
    new = memory.supersede("old", other, at=WHEN + 3, namespace=("a",))
    assert new == replace(other, links=new.links, valid_from=WHEN + 3)
    assert [link.target for link in new.links] == ["old"]
    assert memory.get("old", ("a",), as_of=WHEN).valid_until == WHEN + 3


def test_the_chain_is_told_from_each_of_its_links(memory: Memory, clock: Clock) -> None:
    end(memory, clock)
    [new] = memory.search("Oslo", 1, ("a",), mode="sparse")
    clock.now += 10
    memory.update(new.passage.id, text="Ann lives in Oslo.", keep_history=True, namespace=("a",))
    clock.now += 10
    memory.supersede(new.passage.id, {"id": "rome", "text": "Rome."}, namespace=("a",))
    ids = ["old", f"{new.passage.id}@1", new.passage.id, "rome"]
    for id_ in ids:
        assert [p.id for p in memory.history(id_, ("a",)).chain] == ids
    assert [p.id for p in memory.history("p1", ("a",)).chain] == ["p1"]
    with pytest.raises(UnknownId):
        memory.history("none", ("a",))


def test_a_corpus_given_again_leaves_closed_what_was_superseded(
    memory: Memory, clock: Clock
) -> None:
    end(memory, clock)
    assert "old" in memory.upsert(PASSAGES[0]).unchanged
    assert not memory.store.has("old", ("a",))
    # Another text under its id, or the same said anew, is news.
    assert memory.upsert({**PASSAGES[0], "text": "Ann is back."}).updated == ("old",)
    assert memory.get("old", ("a",)).text == "Ann is back."
    assert memory.upsert({**PASSAGES[3], "id": "lone"}).updated == ("lone",)


def test_a_text_that_holds_again_is_a_new_passage(memory: Memory, clock: Clock) -> None:
    [first] = memory.add("Bob lives in Bergen.")
    clock.now += 1
    second = memory.supersede(first, "Bob lives in Oslo.").id
    clock.now += 1
    third = memory.supersede(second, "Bob lives in Bergen.").id
    assert len({first, second, third}) == 3
    assert [h.passage.id for h in memory.search("Bob lives", 3)][:1] == [third]
    assert memory.add("Bob lives in Bergen.") == [third]
    assert [p.id for p in memory.history(first).chain] == [first, second, third]


def test_what_a_passage_said_goes_with_it(memory: Memory, clock: Clock) -> None:
    for n in range(3):
        clock.now += 1
        memory.update("lone", text=f"{SECRET} {n}", keep_history=True, namespace=("b",))
    memory.store.link(
        "pier", replace(memory.get("pier", ("a",)).links[0], kind="revises"), namespace=("a",)
    )
    assert memory.count(("b",), as_of="ever") == 5
    assert memory.delete("lone", ("b",)) == 4
    assert memory.count(("b",), as_of="ever") == 1
    clock.now += 1
    memory.update("twin", text="x", keep_history=True, namespace=("b",))
    memory.update("twin", expires_at=clock.now + 5, namespace=("b",))
    clock.now += 5
    assert memory.store.sweep() == 2
    assert memory.count(("b",), as_of="ever") == 0
    # A link of a user's own that bears the name takes nothing along.
    memory.update("old", valid_until=clock.now, namespace=("a",))
    assert memory.delete("pier", ("a",)) == 1
    assert memory.verify() == []


def test_forget_and_purge_take_what_is_not_valid(memory: Memory, clock: Clock) -> None:
    end(memory, clock)
    assert memory.forget({"$title": SECRET}, namespace=("a",)) == 1
    assert memory.forget(None) == memory.count(as_of="ever") + 12
    memory.purge(whole_cache=True)
    assert SECRET.encode() not in memory.store.path.read_bytes()


def test_export_carries_all_of_it(memory: Memory, clock: Clock, tmp_path: Path) -> None:
    end(memory, clock)
    everything = Scope.parse(()).at("ever")
    count = memory.export(tmp_path / "x.jsonl", vectors=True)
    with Store(tmp_path / "b.db", encoder=HashEncoder(), clock=clock) as store:
        other = Memory(store)
        done = other.import_file(tmp_path / "x.jsonl")
        assert (len(done.ids), done.encoded) == (count, 0)
        assert list(store.passages(everything)) == list(memory.store.passages(everything))
        assert list(store.passages()) == list(memory.store.passages())
        assert other.history("ann", ("a",)).chain == memory.history("ann", ("a",)).chain
        assert other.verify() == []


def test_an_interval_that_was_damaged_is_named(memory: Memory, clock: Clock) -> None:
    end(memory, clock)
    path = memory.store.path
    assert memory.verify() == []
    memory.close()
    for column, value in (("valid_until", None), ("valid_from", 5.0), ("valid_until", "soon")):
        with sqlite3.connect(path) as connection:
            (before,) = connection.execute(
                f"SELECT {column} FROM passages WHERE id = 'old'"
            ).fetchone()
            connection.execute(f"UPDATE passages SET {column} = ? WHERE id = 'old'", (value,))
        with Memory(path, encoder=HashEncoder()) as damaged:
            assert any("'old' is not as it was written" in p.message for p in damaged.verify())
        with sqlite3.connect(path) as connection:
            connection.execute(f"UPDATE passages SET {column} = ? WHERE id = 'old'", (before,))


def test_a_store_of_before_is_brought_up_to_it(memory: Memory, clock: Clock) -> None:
    """As the version before wrote it: without the columns, their indexes, and the migration."""
    passages, path = list(memory.store.passages()), memory.store.path
    ranking = [(h.passage.id, h.score) for h in memory.search(QUESTION, 20)]
    memory.close()
    with sqlite3.connect(path) as connection:
        for index in ("passages_valid_from", "passages_valid_until", "passages_ended"):
            connection.execute(f"DROP INDEX {index}")
        for column in ("valid_from", "valid_until"):
            connection.execute(f"ALTER TABLE passages DROP COLUMN {column}")
        connection.execute("UPDATE migrations SET steps = steps - 1 WHERE owner = 'memory'")
    connection.close()
    with pytest.raises(HoptrailError, match="open it once for writing"):
        Memory(path, encoder=HashEncoder(), read_only=True)
    with Store(path, encoder=HashEncoder(), clock=clock) as store:
        again = Memory(store)
        assert again.verify() == []
        assert list(store.passages()) == passages
        assert [(h.passage.id, h.score) for h in again.search(QUESTION, 20)] == ranking
        end(again, clock)
        assert SECRET not in repr(again.search(QUESTION, 20))
