"""The graph follows the store: after any writes it is what a build from nothing gives."""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from sqlite3 import Connection
from threading import Event
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hoptrail.errors import InputError, SchemaMismatch
from hoptrail.graph.adjacency import induced as among_module
from hoptrail.graph.adjacency.induced import EdgeList
from hoptrail.graph.extraction import schema, sync
from hoptrail.graph.extraction.names import words
from hoptrail.graph.graph import Graph
from hoptrail.graph.view import KINDS, GraphView
from hoptrail.memory.index import snapshot
from hoptrail.memory.store import Store
from hoptrail.memory.testing.hash_encoder import HashEncoder
from hoptrail.types import Link, Namespace, Passage


def tables(store: Store) -> dict[str, Any]:
    """All that the graph's tables say, with ids in place of rowids."""
    key = "(SELECT p.namespace || p.id FROM passages p WHERE p.rowid = {})"
    queries = {
        "names": "SELECT namespace, name, head FROM graph_names",
        "passages": f"SELECT {key.format('g.passage')} FROM graph_passages g",
        "titles": f"SELECT {key.format('t.passage')}, t.alias, n.namespace, n.name "
        "FROM graph_titles t LEFT JOIN graph_names n ON n.id = t.name",
        "mentions": f'SELECT {key.format("m.passage")}, m.start, m."end", n.namespace, n.name '
        "FROM graph_mentions m LEFT JOIN graph_names n ON n.id = m.name",
        "entities": f'SELECT {key.format("e.passage")}, e.start, e."end", e.entity '
        "FROM graph_entities e",
        "words": f"SELECT {key.format('w.rowid')}, w.keys FROM graph_words w",
        "lost": "SELECT name FROM graph_lost",
    }
    with store.reading() as connection:
        return {
            table: sorted(connection.execute(query).fetchall(), key=repr)
            for table, query in queries.items()
        }


def mentioned(view: GraphView, id: str, namespace: Namespace = ()) -> list[tuple[str, str]]:
    """What a passage mentions: the id, and the words that name it."""
    slot = view.view.slot_of(id, namespace)
    assert slot is not None
    text = view.view.passages([slot])[0].text
    return [
        (view.view.passages([m.target])[0].id, text[m.start : m.end])
        for m in view.out_mentions(slot)
    ]


def test_mentions_of_titles_are_edges_both_ways(graph: Graph, twelve: list[Passage]) -> None:
    graph.store.add(twelve)
    view = graph.view(graph.store.view())
    assert mentioned(view, "p-ada-lind") == [("p-varn", "Varn"), ("p-tolle", "Tolle")]
    assert mentioned(view, "p-varn") == [("p-ister-beck", "Ister Beck")]
    varn = view.view.slot_of("p-varn")
    assert varn is not None
    [mention] = view.in_mentions(varn)
    assert view.view.passages([mention.source])[0].id == "p-ada-lind"
    assert repr(view).startswith("<GraphView 12 passages, ")


def test_a_passage_does_not_mention_its_own_title(graph: Graph) -> None:
    graph.store.add(
        [
            Passage("1", "Custody is a film. Rose stars.", "Custody (2007 film)"),
            Passage("2", "Custody is older.", "Custody (1991 film)"),
            Passage("3", "Custody made Rose famous.", "Rose"),
        ]
    )
    view = graph.view(graph.store.view())
    assert mentioned(view, "1") == [("3", "Rose")]
    assert sorted(mentioned(view, "3")) == [("1", "Custody"), ("2", "Custody")]


def test_a_name_that_too_many_share_makes_no_edge_until_fewer_do(graph: Graph) -> None:
    springfields = [Passage(f"s{i}", f"Town {i}.", "Springfield") for i in range(13)]
    graph.store.add([*springfields, Passage("x", "He lives in Springfield.", "Homer")])
    view = graph.view(graph.store.view())
    assert mentioned(view, "x") == []
    assert view.named("Springfield") == []
    graph.store.delete(["s0"])
    assert graph.view(graph.store.view()) is view
    assert len(mentioned(view, "x")) == len(view.named("Springfield")) == 12


def test_a_new_name_is_found_in_older_passages(graph: Graph) -> None:
    graph.store.add([Passage(f"n{i}", f"Filler number {i}.", f"Filler {i}") for i in range(20)])
    graph.store.add([Passage("old", "The New York City Council met.", "Meeting")])
    graph.sync()
    graph.store.add([Passage("ny", "A state.", "New York")])
    view = graph.view(graph.store.view())
    assert mentioned(view, "old") == [("ny", "New York")]
    graph.store.add([Passage("nyc", "A city.", "New York City")])
    view.refresh()
    assert mentioned(view, "old") == [("nyc", "New York City")]
    graph.store.delete(["nyc"])
    view.refresh()
    assert mentioned(view, "old") == [("ny", "New York")]
    graph.store.update("ny", title="Empire State")
    view.refresh()
    assert mentioned(view, "old") == []


def test_an_alias_names_a_passage_while_nothing_else_is_called_so(graph: Graph) -> None:
    graph.store.add(
        [
            Passage("bill", "William Jefferson Clinton was president.", "Bill Clinton"),
            Passage("1", "She met William Jefferson Clinton in Plainview.", "Meeting"),
            Passage("place", "It is a place.", "Plainview, Texas"),
        ]
    )
    view = graph.view(graph.store.view())
    found = [("bill", "William Jefferson Clinton"), ("place", "Plainview")]
    assert mentioned(view, "1") == found
    assert mentioned(view, "bill") == []
    graph.store.add([Passage("other", "It is another place.", "Plainview, Ohio")])
    view.refresh()
    assert mentioned(view, "1") == found[:1]
    graph.store.update("other", title="Plainview (Ohio)")
    view.refresh()
    assert mentioned(view, "1") == [*found[:1], ("other", "Plainview")]
    graph.store.delete(["other"])
    view.refresh()
    assert mentioned(view, "1") == found


def test_names_stay_within_their_namespace(graph: Graph) -> None:
    ann, bob = ("team", "ann"), ("team", "bob")
    rome = Passage("rome", "Rome is a city.", "Rome", namespace=ann, links=(Link("trip"),))
    graph.store.add(
        [
            rome,
            Passage("trip", "Ann went to Rome with Zoe Li.", "Trip of Ann", namespace=ann),
            replace(rome, namespace=bob, links=()),
            Passage("talk", "Bob spoke of Rome with Zoe Li.", "Talk of Bob", namespace=bob),
            Passage("trip", "Nobody went to Rome with Zoe Li.", "Trip"),
        ]
    )
    view = graph.view(graph.store.view())
    slots = [view.view.slot_of("trip", ann), view.view.slot_of("talk", bob)]
    assert [len(view.out_mentions(slot)) for slot in slots if slot is not None] == [1, 1]
    edges = view.edges(list(range(5)))
    spaces = [passage.namespace for passage in view.view.passages(range(5))]
    assert all(spaces[a] == spaces[b] for a, b in edges.index.T)
    assert set(edges.kind.tolist()) == set(range(len(KINDS)))
    assert view.entity_df("zoe li") == 3
    only_ann = graph.view(graph.store.view(ann))
    assert only_ann.entity_df("zoe li") == 1
    assert len(only_ann.named("Rome")) == 1
    assert len(view.named("Rome")) == 2
    both = graph.view(graph.store.view(("team",)))
    assert len(both.named("Rome")) == 2


def test_links_are_edges_once_their_target_is_written(graph: Graph) -> None:
    graph.store.add(
        [Passage("a", "First.", links=(Link("b", "cites", 0.5), Link("a"))), Passage("c", "Third.")]
    )
    view = graph.view(graph.store.view())
    a, c = view.view.slot_of("a"), view.view.slot_of("c")
    assert a is not None
    assert c is not None
    assert view.links(a) == [(a, "link", 1.0)]
    graph.store.add([Passage("b", "Second.", links=(Link("c"),))])
    view.refresh()
    b = view.view.slot_of("b")
    assert b is not None
    assert sorted(view.links(a)) == [(a, "link", 1.0), (b, "cites", 0.5)]
    assert view.back_links(b) == [(a, "cites", 0.5)]
    edges = view.edges([b, a, c])
    found = {
        (KINDS[kind], *pair, weight)
        for kind, pair, weight in zip(
            edges.kind.tolist(), edges.index.T.tolist(), edges.weight.tolist(), strict=True
        )
        for pair in [tuple(pair)]
    }
    assert found == {
        ("link", 1, 0, 0.5),
        ("linked_by", 0, 1, 0.5),
        ("link", 0, 2, 1.0),
        ("linked_by", 2, 0, 1.0),
        ("link", 1, 1, 1.0),
        ("linked_by", 1, 1, 1.0),
    }
    graph.store.delete(["b"])
    view.refresh()
    assert view.links(a) == [(a, "link", 1.0)]


def test_edges_among_slots_are_positions_in_the_order_given(
    graph: Graph, twelve: list[Passage]
) -> None:
    graph.store.add(twelve)
    view = graph.view(graph.store.view())
    ada, varn = view.view.slot_of("p-ada-lind"), view.view.slot_of("p-varn")
    assert ada is not None
    assert varn is not None
    for slots, pair in (([ada, varn], [0, 1]), ([varn, ada], [1, 0])):
        edges = view.edges(slots)
        assert edges.index[:, edges.kind == KINDS.index("mentions")].T.tolist() == [pair]
        assert edges.index[:, edges.kind == KINDS.index("mentioned_by")].T.tolist() == [pair[::-1]]
        shared = edges.kind == KINDS.index("entity")
        assert sorted(edges.index[:, shared].T.tolist()) == [[0, 1], [1, 0]]
        assert (edges.weight[shared] > 0).all()
    assert view.edges([]).index.shape == (2, 0)
    with pytest.raises(InputError, match="slots must be from 0 to 11"):
        view.edges([12])
    with pytest.raises(InputError, match="twice"):
        view.edges([1, 1])


def test_many_slots_have_the_same_edges_as_few(
    graph: Graph, twelve: list[Passage], monkeypatch: pytest.MonkeyPatch
) -> None:
    graph.store.add(twelve)
    view = graph.view(graph.store.view())
    few = view.edges(range(12))
    monkeypatch.setattr(among_module, "DENSE", 0)
    many = view.edges(range(12))

    def listed(edges: EdgeList) -> list[tuple[float, ...]]:
        columns = (edges.kind, *edges.index, edges.weight.round(5))
        return sorted(zip(*(column.tolist() for column in columns), strict=True))

    assert listed(few) == listed(many)
    assert (few.kind == KINDS.index("entity")).any()


def test_deleting_a_passage_takes_what_it_brought_in_the_same_transaction(graph: Graph) -> None:
    graph.store.add(
        [Passage("1", "Zyx Kwep met Ann Bo.", "Zyx Kwep"), Passage("2", "Bo.", "Ann Bo")]
    )
    graph.sync()
    graph.store.delete(["1"])
    later = ("names", "lost", "gone", "words")  # the index of words may be damaged: sync's to do
    found = repr({k: v for k, v in tables(graph.store).items() if k not in later})
    assert "zyx" not in found
    graph.sync()
    assert "zyx" not in repr(tables(graph.store))


def test_an_untouched_store_needs_no_sync(graph: Graph) -> None:
    assert not graph.sync()
    graph.store.add([Passage("1", "One.")])
    assert "1 versions behind" in repr(graph)
    assert graph.sync()
    assert not graph.sync()
    view = graph.view(graph.store.view())
    assert not view.refresh()
    assert "up to date" in repr(graph)


def test_a_view_survives_a_rebuild(graph: Graph, twelve: list[Passage]) -> None:
    graph.store.add(twelve)
    view = graph.view(graph.store.view())
    before = tables(graph.store)
    graph.rebuild()
    assert tables(graph.store) == before
    graph.store.add([Passage("new", "Ada Lind met him.", "Someone")])
    view.refresh()
    assert mentioned(view, "new") == [("p-ada-lind", "Ada Lind")]
    assert mentioned(view, "p-varn") == [("p-ister-beck", "Ister Beck")]


def test_rows_made_by_older_rules_are_made_anew(
    graph: Graph, twelve: list[Passage], monkeypatch: pytest.MonkeyPatch
) -> None:
    graph.store.add(twelve)
    graph.sync()
    before = tables(graph.store)
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, schema.MIGRATIONS[-1]))
    newer = Graph(graph.store)
    assert newer.version == 0
    assert newer.sync()
    assert tables(graph.store) == before


def test_a_read_only_store_shows_what_was_synced(tmp_path: Path, twelve: list[Passage]) -> None:
    path = tmp_path / "memory.db"
    with Store(path, encoder=HashEncoder(8)) as store:
        store.add(twelve)
    with Store(path, read_only=True) as store, pytest.raises(SchemaMismatch):
        Graph(store)
    with Store(path, encoder=HashEncoder(8)) as store:
        Graph(store).sync()
        store.add([Passage("late", "Ada Lind was late.", "Lateness")])
    with Store(path, read_only=True) as store:
        view = Graph(store).view(store.view())
        assert len(mentioned(view, "p-ada-lind")) == 2
        assert mentioned(view, "late") == []


def test_one_passage_more_reads_only_the_older_ones_that_hold_its_name(
    graph: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph.store.add([Passage(f"{i}", f"Town {i} lies by River {i}.", f"T {i}") for i in range(200)])
    graph.sync()
    read: list[str] = []
    monkeypatch.setattr(sync, "words", lambda text: read.append(text) or words(text))
    graph.store.add([Passage("river", "It is long.", "River 7")])
    graph.sync()
    assert sorted(read) == ["It is long.", "Town 7 lies by River 7."]
    read.clear()
    graph.store.delete(["river"])
    graph.sync()
    assert read == ["Town 7 lies by River 7."]


def test_passages_that_only_hold_the_words_of_a_new_name_are_not_read(
    graph: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph.store.add([Passage(f"{i}", f"Ann left high school {i}.", f"T {i}") for i in range(50)])
    graph.store.add([Passage("old", "Ann left High School and Town 7.", "Ann")])
    graph.sync()
    read: list[str] = []
    monkeypatch.setattr(sync, "words", lambda text: read.append(text) or words(text))
    graph.store.add([Passage(f"new {i}", f"Text {i}.", f"Town {i}") for i in range(50)])
    graph.store.add([Passage("school", "It is one.", "High School")])
    view = graph.view(graph.store.view())
    assert len(read) == 50 + 1 + 1
    assert mentioned(view, "old") == [("school", "High School"), ("new 7", "Town 7")]


def test_one_passage_more_takes_as_many_steps_in_a_larger_store(
    graph: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    catch_up, steps = sync.catch_up, 0

    def counted(connection: Connection, newest: int) -> bool:
        def count() -> int:
            nonlocal steps
            steps += 1
            return 0

        connection.set_progress_handler(count, 1)
        try:
            return catch_up(connection, newest)
        finally:
            connection.set_progress_handler(None, 1)

    monkeypatch.setattr(sync, "catch_up", counted)
    costs = []
    for first, last in ((0, 100), (100, 1200)):
        graph.store.add(
            [Passage(f"{i}", f"He saw Sea {i}.", f"Town {i}") for i in range(first, last)]
        )
        graph.sync()
        steps = 0
        graph.store.add([Passage(f"new {last}", f"Ann saw Town {first}.", f"Sea {first}")])
        graph.sync()
        costs.append(steps)
    assert costs[1] < 1.2 * costs[0]


def test_readers_in_other_threads_are_not_disturbed_by_writes(
    graph: Graph, twelve: list[Passage]
) -> None:
    graph.store.add(twelve)
    view = graph.view(graph.store.view())
    ada = view.view.slot_of("p-ada-lind")
    assert ada is not None
    stop = Event()

    def ask() -> int:
        asked = 0
        while not stop.is_set():
            assert len(view.out_mentions(ada)) == 2
            assert view.named("Where was Ada Lind born?") == [ada]
            assert (view.pagerank({ada: 1.0}) >= 0).all()
            assert view.edges([0, 1, 2, 3]).index.shape[0] == 2
            asked += 1
        return asked

    with ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(ask) for _ in range(3)]
        for i in range(15):
            graph.store.add([Passage(f"n{i}", f"Kweb Zol of Tolle, {i}.", f"Kweb Number {i}")])
            graph.view(graph.store.view())
        stop.set()
        assert min(answer.result() for answer in answers) > 0


def test_the_order_of_adding_changes_nothing(tmp_path: Path, twelve: list[Passage]) -> None:
    found = []
    for i, passages in enumerate((twelve, twelve[::-1])):
        with Store(tmp_path / f"{i}.db", encoder=HashEncoder(8)) as store:
            store.add(passages)
            view = Graph(store).view(store.view())
            river = view.view.slot_of("p-ister-beck")
            assert river is not None
            found.append(
                (
                    [view.view.passages([m.source])[0].id for m in view.in_mentions(river)],
                    [p.id for p in view.view.passages(view.slots_of_entity("varn"))],
                    view.entities(river),
                )
            )
    assert found[0] == found[1]


WORDS = st.sampled_from(["Red", "Blue", "Sea", "red", "of", "the", "Town.", "A.", "Red,"])
TEXTS = st.lists(WORDS, min_size=1, max_size=8).map(" ".join)
IDS = st.sampled_from(["a", "b", "c", "d", "e"])
SPACES = st.sampled_from([(), ("x",)])
TITLES = st.one_of(st.none(), st.lists(WORDS, min_size=1, max_size=3).map(" ".join))
PASSAGES = st.builds(
    Passage,
    id=IDS,
    text=TEXTS,
    title=TITLES,
    namespace=SPACES,
    links=st.lists(IDS, max_size=2, unique=True).map(lambda ids: tuple(map(Link, ids))),
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.lists(PASSAGES, min_size=1, max_size=4)),
        st.tuples(st.just("delete"), IDS, SPACES),
        st.tuples(st.just("title"), IDS, SPACES, TITLES),
        st.tuples(st.just("sync")),
    ),
    max_size=12,
)


def apply(store: Store, graph: Graph, step: tuple[Any, ...]) -> None:
    match step:
        case ("add", passages):
            store.add(passages, on_duplicate="replace")
        case ("delete", id, namespace) if store.has(id, namespace):
            store.delete([id], namespace)
        case ("title", id, namespace, title) if store.has(id, namespace):
            store.update(id, title=title, namespace=namespace)
        case ("sync",):
            graph.sync()


def picture(view: GraphView) -> dict[str, Any]:
    """All that a view answers, with ids in place of slots."""
    living = [int(slot) for slot in view.view.alive.nonzero()[0]]
    passages = view.view.passages(living)
    key = {slot: (p.namespace, p.id) for slot, p in zip(living, passages, strict=True)}
    edges = view.edges(living)
    return {
        "named": sorted(key[s] for s in view.named("Red Blue, Red Sea, Red, Blue, Sea")),
        "mentions": sorted(
            (key[m.source], key[m.target], m.start, m.end)
            for s in living
            for m in view.out_mentions(s)
        ),
        "in": sorted(
            (key[m.source], key[m.target], m.start, m.end)
            for s in living
            for m in view.in_mentions(s)
        ),
        "entities": sorted((key[s], view.entities(s)) for s in living),
        "links": sorted((key[s], key[t], kind) for s in living for t, kind, _ in view.links(s)),
        "edges": sorted(
            (int(kind), key[living[a]], key[living[b]], round(float(weight), 5))
            for kind, (a, b), weight in zip(edges.kind, edges.index.T, edges.weight, strict=True)
        ),
    }


def reopened(path: Path) -> dict[str, Any]:
    """What another who opens the store is answered, from the graph on disk if there is one."""
    with Store(path, encoder=HashEncoder(4)) as store:
        return picture(Graph(store).view(store.view()))


@settings(max_examples=60, deadline=None)
@given(STEPS, st.sampled_from([0, 100]), st.sampled_from([1, 3, 100]))
def test_any_writes_give_what_a_build_from_nothing_gives(
    steps: list[tuple[Any, ...]], names_a_text: int, chunk: int
) -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        pytest.MonkeyPatch.context() as patch,
        Store(Path(folder) / "memory.db", encoder=HashEncoder(4)) as store,
    ):
        patch.setattr(sync, "NAMES_A_TEXT", names_a_text)
        patch.setattr(sync, "CHUNK", chunk)
        patch.setattr(snapshot, "MINIMUM", 3)
        graph = Graph(store)
        view = graph.view(store.view())
        for step in steps:
            apply(store, graph, step)
            if step == ("sync",):
                view.refresh()
                reopened(store.path)  # which may write the graph to disk
        graph.sync()
        view.refresh()
        kept, seen = tables(store), picture(view)
        assert reopened(store.path) == seen
        patch.setattr(sync, "CHUNK", 1000)
        graph.rebuild()
        assert kept == tables(store)
        assert seen == picture(graph.view(store.view()))
