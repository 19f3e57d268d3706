"""What every store must do, as a suite of tests that a store of somebody else's can run.

    from hoptrail.memory.testing.hash_encoder import HashEncoder, StoreConformance

    class TestMyStore(StoreConformance):
        def open(self, path, clock):
            return MyStore(path, encoder=HashEncoder(), clock=clock)

pytest finds the inherited tests; `failures(TestMyStore())` runs them without it. What a store
cannot promise it says by a class attribute, so that a report tells what was held to what.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hoptrail.errors import DuplicateId, InputError, StoreError, UnknownId
from hoptrail.memory.filters import Filter
from hoptrail.memory.storage.namespaces import Scope
from hoptrail.memory.testing.protocol import Clock, PassageStore, equal, refused
from hoptrail.types import Hit, Link, Namespace, Passage

MODES = ("hybrid", "dense", "sparse")


class StoreConformance:
    """The suite: a subclass says how a store is opened.

    Every test opens its own path, and closes what it opened.
    """

    durable = True
    """What was written is there when the same path is opened again."""
    shared = True
    """Two may have the same path open, and each sees what the other has written."""
    timed = True
    """Passages can say when they are valid, and the store is read as of a time."""
    exact = True
    """A ranking is that of the scores, and equals stand by content."""
    scores_apart = True
    """What one tenant writes moves no score of another's."""

    def open(self, path: Path, clock: Callable[[], float]) -> PassageStore:
        """The store at a path, made when absent, with a `HashEncoder` and this clock.

        Args:
            path: Names the store; a server may take its last parts as a name.
            clock: Tells the time in seconds since 1970; tests move it.
        """
        raise NotImplementedError("say in a subclass how a store is opened")

    # Writing

    def test_what_was_written_is_read(self, tmp_path: Path) -> None:
        """Every field comes back as it was given, and the time is the store's."""
        passages = [
            Passage("ä/1", "Line\nand  line ", "Ü", {"deep": {"k": [1.5, True, None]}, "n": 0}),
            Passage("b", "x", None, {}, ("t", "ann"), (Link("z", "c", 0.5), Link("a"))),
        ]
        with self._opened(tmp_path) as (store, _):
            equal(store.add(passages), ["ä/1", "b"], "ids, in the order given")
            expected = [replace(p, written_at=1000.0) for p in passages]
            equal(store.get("ä/1"), expected[0], "the first passage")
            equal(store.get_many(["b"], ("t", "ann")), expected[1:], "the second")
            equal(list(store.passages()), expected, "all, by namespace and id")
            equal((store.count(), store.has("b"), store.has("ä/1")), (2, False, True), "count")

    def test_a_batch_is_written_whole_or_not_at_all(self, tmp_path: Path) -> None:
        """A taken id refuses the batch, unless the later is to replace it or to be skipped."""
        with self._opened(tmp_path) as (store, _):
            store.add([Passage("a", "old")])
            before = store.version
            for batch in (["b", "a"], ["b", "b"]):
                with refused(DuplicateId):
                    store.add([Passage(id_, "new") for id_ in batch])
            equal((store.count(), store.version), (1, before), "count and version, as before")
            both = [Passage("a", "new"), Passage("b", "one"), Passage("b", "two")]
            equal(store.add(both, on_duplicate="skip"), ["b"], "what was not there")
            equal([p.text for p in store.passages()], ["old", "one"], "the earlier stay")
            equal(store.add(both, on_duplicate="replace"), ["a", "b"], "all")
            equal([p.text for p in store.passages()], ["new", "two"], "the later stay")

    def test_what_cannot_be_stored_is_refused(self, tmp_path: Path) -> None:
        """Wrong values are `InputError`s, and nothing of the batch is written."""
        wrong: list[Any] = [
            Passage("", "x"),
            Passage("a", " "),
            Passage("a", "x", namespace="team"),  # type: ignore[arg-type]
            Passage("a", "x", namespace=("",)),
            Passage("a", "x", metadata={"k": {1, 2}}),
            Passage("a", "half a pair \ud800"),
            Passage("a", "x", links=(Link("b", weight=0.0),)),
            Passage("a", "x", expires_at=999.0),
            "a string",
        ]
        with self._opened(tmp_path) as (store, _):
            for passage in wrong:
                with refused(InputError, f"adding {passage!r}"):
                    store.add([Passage("good", "x"), passage])
            with refused(InputError, "adding with ttl=0"):
                store.add([Passage("good", "x")], ttl=0)
            equal((store.count(), store.version), (0, 0), "count and version")

    def test_upsert_writes_what_differs(self, tmp_path: Path) -> None:
        """What is the same in every field is left alone, time and version too."""
        with self._opened(tmp_path) as (store, clock):
            store.add([Passage("a", "one"), Passage("b", "two", metadata={"n": 1})])
            clock.now += 1
            before = store.version
            done = store.upsert(
                [Passage("a", "one"), Passage("b", "two", metadata={"n": True}), Passage("c", "3")]
            )
            equal((done.added, done.updated, done.unchanged), (("c",), ("b",), ("a",)), "done")
            equal([p.written_at for p in store.passages()], [1000.0, 1001.0, 1001.0], "times")
            equal(store.version, before + 2, "version")
            store.upsert([Passage("a", "one"), Passage("b", "two", metadata={"n": True})])
            equal(store.version, before + 2, "version after nothing")

    def test_update_changes_what_is_given(self, tmp_path: Path) -> None:
        """The rest stays; an absent id is refused; a search finds the new text at once."""
        with self._opened(tmp_path) as (store, clock):
            old = Passage("a", "a stone bridge", "Arch", {"n": 1}, links=(Link("b"),))
            store.add([old])
            clock.now += 5
            new = store.update("a", text="a glass tower")
            equal(new, replace(old, text="a glass tower", written_at=1005.0), "the passage")
            equal(store.get("a"), new, "what is read")
            equal(store.update("a", title=None, links=[]).links, (), "links")
            for mode in MODES:
                [hit] = store.search("glass", 5, mode=mode)
                equal(hit.passage.text, "a glass tower", f"{mode} search")
            equal(store.search("Arch stone", 5, mode="sparse"), [], "search of old words")
            with refused(UnknownId):
                store.update("a", text="x", namespace=("elsewhere",))

    def test_delete_is_exact_and_whole(self, tmp_path: Path) -> None:
        """No call returns it; a list with an unknown id deletes nothing; the id is free again."""
        with self._opened(tmp_path) as (store, _):
            store.add([*_crowd(6), Passage("p7", "x", links=(Link("p1"),))])
            with refused(UnknownId):
                store.delete(["p2", "none"])
            with refused(InputError):
                store.delete("p2")
            equal(store.count(), 7, "count after refusals")
            equal(store.delete(["p1", "p2"]), 2, "how many")
            equal((store.count(), store.has("p1")), (5, False), "count, has")
            for mode in MODES:
                ids = {h.passage.id for h in store.search("river bridge", 9, mode=mode)}
                equal(ids & {"p1", "p2"}, set(), f"{mode} search")
            equal(store.get("p7").links, (Link("p1"),), "a link to what is gone")
            equal(store.add([Passage("p1", "again")]), ["p1"], "the id, again")
            equal(store.get("p1").text, "again", "the text")

    def test_what_has_expired_is_nowhere(self, tmp_path: Path) -> None:
        """From its time on it is in no answer, whether or not anybody has swept."""
        with self._opened(tmp_path) as (store, clock):
            store.add([Passage("a", "river", expires_at=1010.0), Passage("b", "river")])
            store.add([Passage("c", "river", namespace=("t",))], ttl=10)
            equal(store.get("c", ("t",)).expires_at, 1010.0, "the time from ttl")
            equal(store.count(), 3, "count before")
            clock.now = 1010.0
            equal((store.count(), store.has("a"), store.namespaces()), (1, False, [()]), "after")
            equal([p.id for p in store.passages()], ["b"], "passages")
            for mode in MODES:
                equal(_ids(store.search("river", 5, mode=mode)), ["b"], f"{mode} search")
            with refused(UnknownId):
                store.update("a", text="x")
            equal(store.add([Passage("a", "new")]), ["a"], "the id, again")
            equal(store.sweep(), 0, "left to sweep")

    def test_what_is_not_valid_is_read_as_of_its_time_only(self, tmp_path: Path) -> None:
        """Neither before it begins nor from its end on, whether or not anybody wrote meanwhile."""
        if not self.timed:
            return
        with self._opened(tmp_path) as (store, clock):
            store.add([Passage("a", "river", valid_from=1010.0, valid_until=1020.0)])
            store.add([Passage("b", "river")])
            for now, ids in ((1000.0, ["b"]), (1010.0, ["a", "b"]), (1020.0, ["b"])):
                clock.now = now
                equal([p.id for p in store.passages()], ids, f"passages at {now}")
                equal((store.count(), store.has("a")), (len(ids), "a" in ids), f"count at {now}")
                for mode in MODES:
                    hit_ids = sorted(_ids(store.search("river", 5, mode=mode)))
                    equal(hit_ids, ids, f"{mode} search at {now}")
            with refused(UnknownId):
                store.get("a")
            for as_of, ids in ((1009.0, ["b"]), (1010.0, ["a", "b"]), ("ever", ["a", "b"])):
                then = Scope.parse(()).at(as_of)
                equal([p.id for p in store.passages(then)], ids, f"passages as of {as_of}")
                hit_ids = sorted(_ids(store.search("river", 5, namespace=then)))
                equal(hit_ids, ids, f"search as of {as_of}")
            equal(store.update("a", valid_until=None).valid_until, None, "what is opened again")
            equal(store.count(), 2, "count after it")
            wrong: list[dict[str, Any]] = [
                {"valid_from": 5.0, "valid_until": 5.0},
                {"valid_from": datetime(2026, 1, 1)},
            ]
            for interval in wrong:
                with refused(InputError, f"valid in {interval}"):
                    store.update("b", **interval)

    def test_what_is_superseded_is_closed_and_both_are_joined(self, tmp_path: Path) -> None:
        """The new one takes its place at one moment; its vector and links stay what they were."""
        if not self.timed:
            return
        with self._opened(tmp_path) as (store, clock):
            store.add([Passage("a", "a stone bridge", links=(Link("z"),))])
            clock.now = 1010.0
            new = store.supersede("a", Passage("b", "a glass bridge"))
            equal((new.valid_from, new.links), (1010.0, (Link("a", "supersedes"),)), "the new one")
            old = store.get("a", Scope.parse(()).at("ever"))
            equal((old.valid_until, old.links, old.written_at), (1010.0, (Link("z"),), 1000.0), "a")
            for as_of, ids in ((1009.0, ["a"]), (1010.0, ["b"]), (None, ["b"])):
                then = Scope.parse(()).at(as_of)
                equal(_ids(store.search("bridge", 5, namespace=then)), ids, f"as of {as_of}")
            with refused(InputError, "superseding it again"):
                store.supersede("a", Passage("c", "x"))
            with refused(UnknownId):
                store.supersede("none", Passage("c", "x"))
            with refused(InputError, "superseding from before it began"):
                store.supersede("b", Passage("c", "x"), at=1005.0)
            equal(store.count(Scope.parse(()).at("ever")), 2, "count after refusals")
            equal(
                store.upsert([Passage("a", "a stone bridge", links=(Link("z"),))]).updated, (), ""
            )
            equal(store.delete(["a"]), 1, "what is not valid can be deleted")

    def test_an_update_may_keep_what_was_said(self, tmp_path: Path) -> None:
        """It is valid until then, and goes with the passage."""
        if not self.timed:
            return
        with self._opened(tmp_path) as (store, clock):
            store.add([Passage("a", "a stone bridge", "Arch", {"n": 1})])
            for text in ("a glass bridge", "a steel bridge"):
                clock.now += 10
                new = store.update("a", text=text, keep_history=True)
                equal((new.id, new.text, new.valid_from), ("a", text, clock.now), "as it now is")
            for as_of, text in ((1009.0, "a stone"), (1010.0, "a glass"), (1020.0, "a steel")):
                then = Scope.parse(()).at(as_of)
                hits = store.search("bridge", 5, namespace=then)
                equal([h.passage.text for h in hits], [f"{text} bridge"], f"as of {as_of}")
            equal(store.update("a", text="a steel bridge", keep_history=True), new, "the same text")
            equal(store.count(Scope.parse(()).at("ever")), 3, "count of all")
            equal(store.delete(["a"]), 3, "how many go")

    def test_forget_deletes_what_fulfils_a_filter(self, tmp_path: Path) -> None:
        """Within the scope only; a filter without a condition is no filter."""
        with self._opened(tmp_path) as (store, _):
            for space in ((), ("t",), ("t", "ann"), ("tt",)):
                store.add([Passage(f"p{n}", "x", None, {"n": n}, space) for n in range(3)])
            equal(store.forget({"n": {"$gte": 1}}, namespace=("t",)), 4, "how many")
            equal((store.count(), store.count(("t",)), store.count(("tt",))), (8, 2, 3), "left")
            with refused(InputError):
                store.forget({})
            equal(store.forget(None, namespace=("t",)), 2, "all of a scope")
            equal(store.namespaces(), [(), ("tt",)], "namespaces")
            equal(store.forget(None), 6, "all")

    def test_links_come_and_go(self, tmp_path: Path) -> None:
        """One of a target and kind gives that one its weight; the text is no newer."""
        with self._opened(tmp_path) as (store, clock):
            store.add([Passage("a", "x", links=(Link("b", "cites"),)), Passage("b", "y")])
            clock.now += 5
            linked = store.link("a", [Link("b", "cites", 2.0), Link("c")])
            equal(linked.links, (Link("b", "cites", 2.0), Link("c")), "links")
            equal((store.get("a"), linked.written_at), (linked, 1000.0), "as read, and its time")
            equal(store.unlink("a", "b", "next"), linked, "another kind")
            equal(store.unlink("a", "b").links, (Link("c"),), "links left")
            with refused(UnknownId):
                store.link("none", Link("a"))

    # Namespaces and filters

    def test_namespaces_are_prefixes_of_whole_parts(self, tmp_path: Path) -> None:
        """What names one passage takes its exact namespace, what ranges takes what begins so."""
        spaces: list[Namespace] = [(), ("a",), ("a", "x"), ("ab",)]
        with self._opened(tmp_path) as (store, _):
            store.add([Passage("p", f"in {i}", namespace=space) for i, space in enumerate(spaces)])
            equal(store.namespaces(), spaces, "namespaces")
            for i, space in enumerate(spaces):
                equal(store.get("p", space).text, f"in {i}", f"the passage of {space}")
                inside = [s for s in spaces if s[: len(space)] == space]
                equal(store.count(space), len(inside), f"count of {space}")
                equal([p.namespace for p in store.passages(space)], inside, f"passages of {space}")
                namespaces = [h.passage.namespace for h in store.search("in", 9, namespace=space)]
                equal(sorted(namespaces), inside, f"search of {space}")
            equal(store.delete(["p"], ("a",)), 1, "one deleted")
            equal(store.namespaces(), [(), ("a", "x"), ("ab",)], "the others stay")
            equal((store.count(("x",)), store.search("in", namespace=("x",))), (0, []), "nobody's")

    def test_a_search_stays_in_its_scope(self, tmp_path: Path) -> None:
        """However much better what lies elsewhere fits."""
        with self._opened(tmp_path) as (store, _):
            store.add([replace(p, namespace=("loud",)) for p in _crowd(20)])
            store.add([Passage("own", "a mill", namespace=("quiet",))])
            for mode in ("hybrid", "dense"):
                hits = store.search("river bridge", 5, namespace=("quiet",), mode=mode)
                equal(_ids(hits), ["own"], f"{mode} search")
            hits = store.search("river bridge", 5, namespace=("quiet",), mode="sparse")
            equal(hits, [], "sparse search")

    def test_a_tenant_moves_no_score_of_another(self, tmp_path: Path) -> None:
        """Neither by how many passages it has nor by their words."""
        if not self.scores_apart:
            return
        with self._opened(tmp_path) as (store, _):
            store.add([replace(p, namespace=("a",)) for p in _crowd(6)])
            before = _rankings(store, ("a",))
            store.add([replace(p, namespace=("b",)) for p in _crowd(30)])
            equal(_rankings(store, ("a",)), before, "ids and scores")

    def test_filters_are_inside_the_search(self, tmp_path: Path) -> None:
        """The k best of what is let through come back, with the scores that they always have."""
        with self._opened(tmp_path) as (store, _):
            store.add([replace(p, metadata={"n": i}) for i, p in enumerate(_crowd(40))])
            for mode in MODES:
                ranking = store.search("river bridge", 40, mode=mode)
                for conditions in ({"n": {"$lt": 3}}, {"n": {"$in": [7, 31, 38]}}, {"n": 99}):
                    test = Filter.parse(conditions)
                    expected = [h for h in ranking if test.passages_mask([h.passage])[0]][:2]
                    hits = store.search("river bridge", 2, mode=mode, filter=conditions)
                    equal(_scored(hits), _scored(expected), f"{mode} search with {conditions}")
            for wrong in ({"$near": 1}, {"n": {"$like": "x"}}, {"n": {"$gt": None}}, ["n"]):
                with refused(InputError, f"the filter {wrong!r}"):
                    store.search("river", filter=wrong)

    # Versions and durability

    def test_versions_and_changes_tell_what_is_new(self, tmp_path: Path) -> None:
        """Each passage written or deleted is one step; nothing moves it but that."""
        with self._opened(tmp_path) as (store, _):
            store.add(_crowd(3))
            at = store.version
            equal((at, store.changes(at).written, store.changes(at).deleted), (3, (), ()), "start")
            store.update("p0", text="changed")
            store.add([Passage("fleeting", "x")])
            store.delete(["p1", "fleeting"])
            with refused(DuplicateId):
                store.add([Passage("p0", "x")])
            changes = store.changes(at)
            equal((changes.version, store.version), (7, 7), "version")
            equal((len(changes.written), len(changes.deleted)), (1, 2), "written and deleted")
            everything = store.changes(0)
            equal(set(changes.written) < set(everything.written), True, "rows keep their numbers")

    def test_what_was_written_outlives_the_store(self, tmp_path: Path) -> None:
        """Opened again it holds the same passages, ranks them the same, and goes on counting."""
        if not self.durable:
            return
        with self._opened(tmp_path) as (store, clock):
            store.add([*_crowd(8), Passage("e", "x", expires_at=1010.0, links=(Link("p0"),))])
            store.delete(["p3"])
            store.update("p4", text="glass")
            passages, ranked, version = list(store.passages()), _rankings(store), store.version
        with closing(self.open(tmp_path / "store", clock)) as again:
            equal(list(again.passages()), passages, "passages")
            equal((_rankings(again), again.version), (ranked, version), "rankings, version")
            again.add([Passage("p3", "x")])
            equal(again.version, version + 1, "version")
            clock.now = 1010.0
            equal(again.has("e"), False, "what has expired since")

    def test_two_see_what_each_other_writes(self, tmp_path: Path) -> None:
        """Without opening it again."""
        if not self.shared:
            return
        with (
            self._opened(tmp_path) as (one, clock),
            closing(self.open(tmp_path / "store", clock)) as other,
        ):
            one.add([Passage("a", "a river")])
            equal(_ids(other.search("river", 5)), ["a"], "after one's add")
            other.update("a", text="a bridge")
            equal(one.search("river", 5, mode="sparse"), [], "after the other's update")
            other.delete(["a"])
            equal((one.count(), one.search("bridge", 5)), (0, []), "after its delete")

    def test_threads_lose_nothing(self, tmp_path: Path) -> None:
        """Writers and readers at once: all is there in the end, and no version twice."""
        with self._opened(tmp_path) as (store, _), ThreadPoolExecutor(4) as threads:
            names = [f"{i:02}" for i in range(20)]
            list(threads.map(lambda name: store.add([Passage(name, f"river {name}")]), names))
            sizes = threads.map(lambda name: len(store.search(f"river {name}", 20)), names)
            equal(list(sizes), [20] * 20, "what each search finds")
            equal((store.count(), store.version), (20, 20), "count and version in the end")

    # Order and errors

    def test_order_of_writing_and_ids_do_not_move_a_ranking(self, tmp_path: Path) -> None:
        """Equals stand by their content, whatever they are called and whoever came first."""
        if not self.exact:
            return
        crowd = [Passage(f"p{i}", f"river {word}") for i, word in enumerate("abcdefgh")]
        turned = [Passage(f"q{i}", p.text) for i, p in enumerate(reversed(crowd))]
        rankings = []
        for name, batch in (("one", crowd), ("two", turned)):
            with closing(self.open(tmp_path / name, Clock())) as store:
                store.add(batch)
                hits_of_modes = [store.search("river", 5, mode=mode) for mode in MODES]
                rankings.append([[hit.passage.text for hit in hits] for hits in hits_of_modes])
        equal(rankings[1], rankings[0], "contents as ranked")

    def test_a_search_has_k_hits_best_first(self, tmp_path: Path) -> None:
        """By meaning always as many as there are; by words those that share one."""
        with self._opened(tmp_path) as (store, _):
            equal(store.search("river", 3), [], "an empty store")
            store.add([*_crowd(9), Passage("other", "zebra")])
            for mode in MODES:
                scores = [hit.score for hit in store.search("river mill", 4, mode=mode)]
                equal((len(scores), scores), (4, sorted(scores, reverse=True)), f"{mode} scores")
            equal(len(store.search("zebra", 50)), 10, "hybrid hits")
            equal(_ids(store.search("zebra", 50, mode="sparse")), ["other"], "sparse hits")

    def test_errors_are_of_the_one_tree(self, tmp_path: Path) -> None:
        """What a caller did wrong is an `InputError`; what is closed says so."""
        with self._opened(tmp_path) as (store, _):
            store.add(_crowd(2))
            calls: dict[str, Callable[[], object]] = {
                "an empty query": lambda: store.search(" "),
                "k=0": lambda: store.search("river", 0),
                "an unknown mode": lambda: store.search("river", mode="fuzzy"),
                "a string as namespace": lambda: store.search("river", namespace="team"),
                "a string as passages": lambda: store.add("x"),  # type: ignore[arg-type]
                "an unknown choice": lambda: store.add([Passage("a", "x")], on_duplicate="ask"),
                "a list as namespace": lambda: store.count(["team"]),  # type: ignore[arg-type]
            }
            for what, call in calls.items():
                with refused(InputError, what):
                    call()
            store.close()
            with refused(StoreError):
                store.count()

    @contextmanager
    def _opened(self, folder: Path) -> Iterator[tuple[PassageStore, Clock]]:
        clock = Clock()
        with closing(self.open(folder / "store", clock)) as store:
            yield store, clock


def failures(suite: StoreConformance, only: str = "test_") -> dict[str, str]:
    """The message of each test that failed, by name; of those whose names begin with `only`."""
    messages = {}
    for name in sorted(name for name in dir(suite) if name.startswith(only)):
        with TemporaryDirectory(prefix="hoptrail-") as folder:
            try:
                getattr(suite, name)(Path(folder))
            except Exception as error:  # whatever a strange store may raise
                messages[name] = str(error) or type(error).__name__
    return messages


def _crowd(count: int) -> list[Passage]:
    """Passages of few words, so that all fit a query somewhat and some as well as others."""
    words = ("river", "bridge", "stone", "mill", "boat")
    return [
        Passage(f"p{i}", " ".join(words[(i * step + i // 5) % 5] for step in (1, 2, 3)) + f" {i}")
        for i in range(count)
    ]


def _ids(hits: list[Hit]) -> list[str]:
    return [hit.passage.id for hit in hits]


def _scored(hits: list[Hit]) -> list[tuple[str, float]]:
    return [(hit.passage.id, round(hit.score, 5)) for hit in hits]


def _rankings(store: PassageStore, scope: Namespace = ()) -> list[list[tuple[str, float]]]:
    return [_scored(store.search("river bridge", 9, namespace=scope, mode=mode)) for mode in MODES]
