"""Memory: what goes in, what comes back, and how it refuses."""

from __future__ import annotations

import inspect
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch

from hoptrail import (
    ConfigError,
    DuplicateId,
    EncoderMismatch,
    EncoderMissing,
    FormatError,
    InputError,
    Link,
    Memory,
    MissingExtra,
    Passage,
    PolicyError,
    StoreError,
    StoreUnavailable,
    UnknownId,
)
from hoptrail.errors import HoptrailError
from hoptrail.memory.encoders import transformer as encoders
from hoptrail.memory.testing.hash_encoder import HashEncoder
from hoptrail.policies.networks.network_config import NetworkConfig
from hoptrail.policies.networks.policy_network import PolicyNetwork
from hoptrail.policies.policy import Policy
from hoptrail.types import Recall


@dataclass
class Document:
    """What LangChain's documents have that is used here."""

    page_content: str
    metadata: dict = field(default_factory=dict)
    id: str | None = None


@pytest.fixture(scope="module")
def policy() -> Policy:
    """An untrained one: what is tested here is the door, not the way."""
    torch.manual_seed(0)
    return Policy([PolicyNetwork(NetworkConfig())])


@pytest.fixture
def memory(tmp_path, hash_encoder, policy):
    with Memory(tmp_path / "agent.db", encoder=hash_encoder, policy=policy) as opened:
        yield opened


@pytest.fixture
def full(memory, twelve):
    memory.add(twelve)
    return memory


# What may be added


def test_a_string_is_a_passage_whose_id_is_the_hash_of_its_content(memory) -> None:
    ids = memory.add("The Ister Beck is a river.")
    assert memory.add("Another river.") != ids
    assert memory.get(ids[0]).text == "The Ister Beck is a river."
    assert memory.add("The Ister Beck is a river.") == ids
    assert memory.add("The Ister Beck is a river.", on_duplicate="skip") == []
    assert memory.count() == 2


def test_a_dict_is_a_line_of_a_corpus(memory) -> None:
    record = {
        "id": "varn",
        "title": "Varn",
        "text": "A town on the Ister Beck.",
        "metadata": {"source": "map"},
        "links": ["ister", {"target": "tolle", "kind": "near", "weight": 2.0}],
        "namespace": ["atlas"],
        "year": 1890,
    }
    assert memory.add(record) == ["varn"]
    found = memory.get("varn", ("atlas",))
    assert (found.title, found.text) == ("Varn", "A town on the Ister Beck.")
    assert found.metadata == {"source": "map", "year": 1890}
    assert found.links == (Link("ister"), Link("tolle", "near", 2.0))


def test_a_document_is_known_by_its_looks(memory) -> None:
    given = Document("A town.", {"title": "Varn", "page": 3}, id="varn")
    assert memory.add([given, Document("A lake.")])[0] == "varn"
    found = memory.get("varn")
    assert (found.title, found.text) == ("Varn", "A town.")
    assert found.metadata == given.metadata  # which keeps its title


def test_kinds_may_be_mixed_and_come_from_a_generator(memory) -> None:
    mixed = [Passage("a", "One."), "Two.", {"text": "Three."}, Document("Four.")]
    ids = memory.add(item for item in mixed)
    assert len(ids) == memory.count() == 4
    assert memory.add([]) == []


def test_equal_content_without_an_id_gets_the_same_id_whatever_it_came_as(memory, tmp_path) -> None:
    ids = memory.add({"text": "A town."})
    with Memory(tmp_path / "other.db", encoder=HashEncoder()) as other:
        assert other.add(Document("A town.")) == other.add("A town.", on_duplicate="replace") == ids


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        (3, "got int"),
        ([None], "passage 1 of those given must be a string, a dict, a document or a Passage"),
        (["good", 7], "passage 2 of those given"),
        ({"id": "a"}, '"text" is missing'),
        ({"text": ""}, '"text" must be a string that is not empty'),
        ("  ", "must not be empty"),
        ({"text": "x", "links": "b"}, '"links" must be a list'),
        (Document("x", {"when": object()}), r"metadata\[\"when\"\] is a object"),
    ],
)
def test_what_is_no_passage_is_refused_and_nothing_is_written(memory, given, complaint) -> None:
    with pytest.raises(InputError, match=complaint):
        memory.add(given)
    assert memory.count() == 0


def test_a_duplicate_refuses_the_whole_batch(full) -> None:
    with pytest.raises(DuplicateId, match="'p-varn'"):
        full.add([{"id": "new", "text": "New."}, {"id": "p-varn", "text": "Again."}])
    assert full.count() == 12
    assert full.add({"id": "p-varn", "text": "Again."}, on_duplicate="replace") == ["p-varn"]
    assert full.get("p-varn").text == "Again."


# Namespaces


def test_a_namespace_isolates(memory) -> None:
    memory.add({"id": "a", "text": "Ann likes trout."}, namespace=("team", "ann"))
    memory.add({"id": "a", "text": "Bob likes pike."}, namespace=["team", "bob"])
    assert memory.get("a", ("team", "bob")).text == "Bob likes pike."
    assert [hit.passage.text for hit in memory.search("trout", 5, ("team", "bob"))] == [
        "Bob likes pike."
    ]
    assert memory.count(("team",)) == len(memory) == 2
    found = memory.recall("Who likes trout?", 5, ("team", "ann"))
    assert [passage.text for passage in found.passages] == ["Ann likes trout."]
    with pytest.raises(UnknownId):
        memory.get("a")


def test_a_passage_that_says_another_namespace_is_not_moved_silently(memory) -> None:
    with pytest.raises(InputError, match="says namespace 'ann' and 'bob' was asked for"):
        memory.add({"text": "Mine.", "namespace": ["ann"]}, namespace=("bob",))
    memory.add({"id": "a", "text": "Mine.", "namespace": ["ann"]}, namespace=("ann",))
    assert memory.get("a", ("ann",)).namespace == ("ann",)


@pytest.mark.parametrize("bad", ["ann", ("ann", ""), ("ann", 3), 7])
def test_a_bad_namespace_is_refused_everywhere(full, bad) -> None:
    for call in (
        lambda: full.add("x", namespace=bad),
        lambda: full.get("p-varn", bad),
        lambda: full.delete("p-varn", bad),
        lambda: full.search("x", 5, bad),
        lambda: full.recall("x", 5, bad),
        lambda: full.count(bad),
    ):
        with pytest.raises(InputError, match="namespace"):
            call()
    assert full.count() == 12


# Changing and reading


def test_update_changes_what_is_given(full) -> None:
    full.update("p-varn", text="Varn is a village.", metadata={"seen": 2})
    found = full.get("p-varn")
    assert (found.title, found.text, found.metadata) == ("Varn", "Varn is a village.", {"seen": 2})
    assert full.update("p-varn", title=None).title is None
    assert full.search("village", 1, mode="sparse")[0].passage.id == "p-varn"


def test_delete_takes_one_or_many_and_all_or_none(full) -> None:
    assert full.delete("p-varn") == 1
    with pytest.raises(UnknownId, match="'nobody'"):
        full.delete(["p-tolle", "nobody"])
    assert full.delete(["p-tolle", "p-harn-pass"]) == 2
    assert full.count() == 9


def test_search_takes_a_fusion_or_a_pipeline(full) -> None:
    from hoptrail.memory.search.first_stages import Full, Search
    from hoptrail.memory.search.pipeline import Pipeline

    pipeline = Pipeline([Search(keep=12), Full(keep=3)])
    dense = full.search("a lake of trout", 3, mode="dense")
    assert full.search("a lake of trout", 3, pipeline=pipeline) == dense
    assert len(full.search("a lake of trout", 3, fusion="min-rank")) == 3


def test_search_is_one_hop(full) -> None:
    assert full.search("clockmaker Ada Lind", 3)[0].passage.id == "p-ada-lind"
    assert len(full.search("trout", 20, mode="dense")) == 12
    with pytest.raises(InputError, match="mode"):
        full.search("trout", mode="psychic")


# Recall


@pytest.mark.parametrize("effort", ["fast", "balanced", "thorough"])
@pytest.mark.parametrize("k", [1, 5, 12, 200])
def test_recall_gives_k_wherever_there_are_k(full, three_hops, k, effort) -> None:
    found = full.recall(three_hops.text, k, effort=effort)
    ids = [passage.id for passage in found.passages]
    assert len(ids) == len(set(ids)) == min(k, 12)
    assert [hit.score for hit in found.hits] == sorted(
        (hit.score for hit in found.hits), reverse=True
    )
    assert found.question == three_hops.text
    assert found.trails
    assert all(0 <= trail.probability <= 1.000001 for trail in found.trails)
    assert found.cost.passages_read >= 1
    assert found.cost.milliseconds > 0


def test_recall_gives_k_beyond_the_depth_that_a_walk_ranks(memory) -> None:
    memory.add({"id": f"p{n}", "text": f"Passage number {n} about rivers."} for n in range(130))
    found = memory.recall("rivers", 120)
    assert len({passage.id for passage in found.passages}) == 120


def _read(recall: Recall) -> list[list[str]]:
    return [[hop.id for hop in trail.hops] for trail in recall.trails]


@pytest.mark.parametrize("effort", ["fast", "balanced"])
def test_many_questions_walk_together_and_answer_as_one_by_one(full, three_hops, effort) -> None:
    places = ("Lake Sorrel", "Ister Beck", "Varn", "the stone house")
    questions = [three_hops.text, *(f"Who came from {place}?" for place in places)]
    together = full.recall_many(questions, 12, effort=effort)
    for question, found in zip(questions, together, strict=True):
        alone = full.recall(question, 12, effort=effort)
        assert [p.id for p in found.passages] == [p.id for p in alone.passages]
        assert _read(found) == _read(alone)
    assert full.recall_many([]) == []
    with pytest.raises(InputError, match="give one to recall"):
        full.recall_many("one question")


def test_an_empty_namespace_recalls_nothing_and_is_no_error(full) -> None:
    found = full.recall("Who?", namespace=("nobody",))
    assert (found.hits, found.trails, found.cost.passages_read) == ((), (), 0)
    for mode in ("hybrid", "dense", "sparse"):
        assert full.search("Who?", namespace=("nobody",), mode=mode) == []


def test_recall_sees_what_was_written_and_not_what_was_deleted(full) -> None:
    full.recall("Who was Cy Orr?")
    full.add({"id": "cy", "title": "Cy Orr", "text": "Cy Orr was a miller of Varn."})
    assert "cy" in [p.id for p in full.recall("Who was Cy Orr?", 13).passages]
    full.delete("cy")
    assert "cy" not in [p.id for p in full.recall("Who was Cy Orr?", 13).passages]


@pytest.mark.parametrize("question", ["", "   ", None, 3])
def test_an_empty_question_is_refused(full, question) -> None:
    with pytest.raises(InputError, match="a question must"):
        full.recall(question)
    with pytest.raises(InputError, match="a query must"):
        full.search(question)


@pytest.mark.parametrize("k", [0, -1, 2.5, True, "5"])
def test_a_k_that_is_none_is_refused(full, k) -> None:
    for ask in (full.recall, full.search):
        with pytest.raises(InputError, match="k must be a whole number of at least 1, got"):
            ask("trout", k)


def test_an_effort_that_does_not_exist_is_refused_by_name(full) -> None:
    with pytest.raises(ConfigError, match=r"'heroic'.*choose fast, balanced, thorough"):
        full.recall("trout", effort="heroic")


def test_threads_may_share_a_memory(full) -> None:
    def work(number: int) -> list[str]:
        full.add({"id": f"t{number}", "text": f"Trout number {number}."})
        return [p.id for p in full.recall("Trout?", 3).passages]

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(work, range(12)))
    assert all(len(answer) == 3 for answer in answers)
    assert full.count() == 24


# Encoder and policy


def test_nothing_is_loaded_to_get_count_and_delete(tmp_path, twelve, hash_encoder, monkeypatch):
    path = tmp_path / "agent.db"
    with Memory(path, encoder=hash_encoder) as memory:
        memory.add(twelve)

    def absent(**_: object) -> None:
        raise MissingExtra("the default encoder's weights are not installed", "minilm")

    monkeypatch.setattr(encoders, "minilm", absent)
    with Memory(path) as memory:
        assert memory.get("p-varn").title == "Varn"
        assert memory.delete("p-varn") == 1
        assert memory.count() == 11
        assert memory.search("trout", mode="sparse")
        for call in (memory.add, memory.search, memory.recall):
            with pytest.raises(MissingExtra, match=r"hoptrail\[minilm\]"):
                call("Trout?")
        assert memory.count() == 11


def test_without_an_encoder_it_says_so_by_name(tmp_path) -> None:
    with Memory(tmp_path / "a.db", encoder=None) as memory:
        with pytest.raises(EncoderMissing, match=r"hoptrail\[minilm\]"):
            memory.add("A town.")
        assert memory.count() == 0
    with pytest.raises(InputError, match='encoder must be "auto"'):
        Memory(tmp_path / "a.db", encoder="hash")


def test_another_encoder_is_refused_at_the_door(tmp_path, twelve, monkeypatch) -> None:
    path = tmp_path / "agent.db"
    with Memory(path, encoder=HashEncoder(32)) as memory:
        memory.add(twelve)
    with pytest.raises(EncoderMismatch, match="hash-32"):
        Memory(path, encoder=HashEncoder(16))
    monkeypatch.setattr(encoders, "minilm", lambda: HashEncoder(16))
    with Memory(path) as memory, pytest.raises(EncoderMismatch, match="hash-32"):
        memory.search("trout")


def test_passages_are_encoded_once_and_questions_each_time(tmp_path, twelve, policy) -> None:
    first, second = HashEncoder(24), HashEncoder(24)
    with Memory(tmp_path / "a.db", encoder=first) as memory:
        memory.add(twelve)
        assert first.texts_encoded == 12
    with Memory(tmp_path / "b.db", encoder=second, policy=policy, queries_kept=0) as memory:
        memory.add(twelve)
        assert second.texts_encoded == 0
        memory.search("trout")
        memory.search("trout")
        assert second.texts_encoded == 2
        before = second.texts_encoded
        found = memory.recall("trout")
        assert second.texts_encoded == before + found.cost.texts_encoded


def test_a_cache_that_cannot_be_used_stops_nothing(tmp_path, twelve, monkeypatch, caplog) -> None:
    with Memory(tmp_path / "a.db", encoder=HashEncoder()) as memory:
        memory.add(twelve)
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("HOPTRAIL_CACHE", str(tmp_path / "file"))
    with Memory(tmp_path / "a.db", encoder=HashEncoder()) as memory:
        assert memory.search("trout")
        memory.update("p-varn", links=[Link("p-tolle")])
        memory.add("More.")
        memory.add("And more.")
        assert memory.count() == 14
    assert ["vector cache" in record.getMessage() for record in caplog.records] == [True]


def test_a_policy_comes_from_a_folder_or_as_it_is_or_not_at_all(
    tmp_path, twelve, hash_encoder, policy
) -> None:
    policy.save(tmp_path / "mine")
    with Memory(tmp_path / "a.db", encoder=hash_encoder, policy=tmp_path / "mine") as memory:
        memory.add(twelve)
        from_folder = memory.recall("trout", 12)
    with Memory(tmp_path / "a.db", encoder=hash_encoder, policy=policy) as memory:
        assert [h.passage.id for h in memory.recall("trout", 12).hits] == [
            h.passage.id for h in from_folder.hits
        ]
    with (
        Memory(tmp_path / "a.db", encoder=hash_encoder, policy=None) as memory,
        pytest.raises(PolicyError, match="policy=None"),
    ):
        memory.recall("trout")
    with (
        Memory(tmp_path / "a.db", encoder=hash_encoder, policy=str(tmp_path / "no")) as memory,
        pytest.raises(PolicyError, match="there is no policy in"),
    ):
        memory.recall("trout")


# The file


def test_what_was_written_is_there_after_it_is_opened_again(tmp_path, twelve, hash_encoder) -> None:
    with Memory(tmp_path / "a.db", encoder=hash_encoder) as memory:
        memory.add(twelve)
    with Memory(tmp_path / "a.db", encoder=hash_encoder, read_only=True) as memory:
        assert memory.count() == 12
        assert memory.search("trout")
        with pytest.raises(StoreError, match="read-only"):
            memory.add("More.")
        with pytest.raises(StoreError, match="read-only"):
            memory.delete("p-varn")


def test_a_wrong_path_is_refused(tmp_path, hash_encoder) -> None:
    with pytest.raises(StoreUnavailable, match="there is no folder"):
        Memory(tmp_path / "no" / "a.db", encoder=hash_encoder)
    with pytest.raises(StoreUnavailable, match="there is no store"):
        Memory(tmp_path / "a.db", encoder=hash_encoder, read_only=True)
    (tmp_path / "text.db").write_text("not a database, but long enough to be looked at " * 40)
    with pytest.raises(StoreUnavailable):
        Memory(tmp_path / "text.db", encoder=hash_encoder)


def test_it_says_what_it_is(full, tmp_path) -> None:
    assert repr(full).startswith(
        f"<Memory {tmp_path}/agent.db: 12 passages, 1 namespaces, version 12, "
        "encoder hash-32 (32 dim), policy "
    )
    full.close()
    full.close()
    assert "closed" in repr(full)
    with pytest.raises(StoreError, match="closed"):
        full.count()


def test_it_stands_on_an_open_store(full, policy) -> None:
    over = Memory(full.store, policy=policy)
    assert over.count() == 12
    assert over.graph.store is full.store
    assert over.recall("trout").hits


def test_the_door_is_light(tmp_path: Path) -> None:
    code = """
import sys
from hoptrail import Memory
Memory(sys.argv[1], encoder=None).close()
print(*sorted({"torch", "transformers", "torch_geometric"} & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, str(tmp_path / "a.db")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == ""


def test_a_format_error_is_an_input_error() -> None:
    assert issubclass(FormatError, InputError)


@pytest.mark.parametrize("wrong", [None, 5, b"x", [], {}, object()])
def test_what_is_no_path_no_encoder_and_no_recall_is_refused_in_a_sentence(memory, wrong) -> None:
    for call in (
        lambda: memory.backup(wrong),
        lambda: memory.export(wrong),
        lambda: memory.import_file(wrong),
        lambda: memory.change_encoder(wrong),
        lambda: memory.feedback(wrong, 1.0),
    ):
        with pytest.raises(HoptrailError):
            call()


VERBS = {
    name: verb
    for name, verb in inspect.getmembers(Memory, inspect.isfunction)
    if not name.startswith("_") and name not in ("close", "observe")
}


@pytest.mark.parametrize("name", VERBS)
def test_a_verb_is_a_component_s_method_of_the_same_name_and_says_all_of_itself(name: str) -> None:
    verb = VERBS[name]
    method = inspect.unwrap(verb)
    assert method.__qualname__ == f"{method.__qualname__.partition('.')[0]}.{name}"
    assert method is not verb
    signature, text = inspect.signature(verb), inspect.getdoc(verb) or ""
    section = text.partition("Args:")[2].partition("Returns:")[0].partition("Raises:")[0]
    for parameter in list(signature.parameters)[1:]:
        assert f"\n    {parameter}: " in section, f"{name} does not say what {parameter} is"
    assert signature.return_annotation == "None" or "Returns:" in text
    assert len(signature.parameters) == 1 or "Raises:" in text


def test_those_that_encode_name_the_errors_of_an_encoder() -> None:
    for name in ("add", "upsert", "update", "add_distinct", "search", "recall", "recall_many"):
        for error in ("EncoderMissing", "EncoderMismatch", "MissingExtra"):
            assert f"{error}:" in str(inspect.getdoc(VERBS[name])), f"{name}: {error}"
