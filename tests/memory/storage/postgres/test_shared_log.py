"""A log of recalls that many share: that of every host, without what is deleted."""

from __future__ import annotations

import pytest

from hoptrail import Memory
from hoptrail.memory.storage.postgres.grants import grant_namespace
from hoptrail.memory.testing.hash_encoder import HashEncoder

pytestmark = pytest.mark.slow

TEXTS = {"fram": "Fram was built by Colin Archer.", "archer": "Archer was born in Larvik."}


def open_memory(url: str) -> Memory:
    return Memory(url, encoder=HashEncoder(384))


def fill(memory: Memory, namespace: tuple[str, ...] = ()) -> Memory:
    memory.add([{"id": id_, "text": text} for id_, text in TEXTS.items()], namespace=namespace)
    return memory


def log(memory: Memory, namespace: tuple[str, ...] = ()) -> list[tuple[str, list[str]]]:
    entries = memory.recall_log(namespace)
    return [(entry.question, [hit.id for hit in entry.hits]) for entry in entries]


def questions(memory: Memory) -> list[str]:
    return [question for question, _ in log(memory)]


def test_the_recalls_of_every_host_are_in_the_log_and_the_oldest_go(url, host) -> None:
    with fill(open_memory(url)) as one:
        one.keep_log(3)
        one.recall("Who built Fram?", k=2)
        expected = log(one)
        assert [ids for _, ids in expected] == [["fram", "archer"]]
        host("two")
        with open_memory(url) as two:
            assert log(two) == expected
            for number in range(3):
                two.recall(f"Who was born in town {number}?")
            assert questions(two) == [f"Who was born in town {n}?" for n in (2, 1, 0)]
            assert log(one) == log(two)
            one.keep_log(1)
            assert log(two) == log(one)
            assert questions(two) == ["Who was born in town 2?"]
    host("three")
    with open_memory(url) as three:
        assert questions(three) == ["Who was born in town 2?"]
        assert three.forget_log() == 1
        host("two")
        with open_memory(url) as two:
            assert log(two) == []
            two.recall("Who built Fram?")
            two.keep_log(0)
        assert log(three) == []


def test_what_is_deleted_goes_from_the_log_everywhere(url, host) -> None:
    with fill(open_memory(url)) as one:
        one.keep_log(10)
        recall = one.recall("Who built Fram?", k=2)
        assert len(log(one)) == 1
        recall.feedback(1.0)
        host("two")
        with open_memory(url) as two:
            assert [entry.reward for entry in two.recall_log()] == [1.0]
            one.delete("fram")
            one.update("archer", metadata={"year": 1832})
            assert log(two) == log(one) == [("Who built Fram?", ["archer"])]
        host("three")
        with open_memory(url) as three:
            assert log(three) == log(one)
            three.update("archer", text="He was born in Larvik.")
            assert log(one) == log(three) == []
    host("four")
    with open_memory(url) as four:
        assert log(four) == []


def test_a_role_sees_the_log_of_its_namespaces_and_its_own(cluster, host) -> None:
    schema = cluster.new_schema()
    url, role = cluster.url(schema), f"ann_{schema}"
    cluster.execute(f"CREATE ROLE {role} LOGIN")
    with open_memory(url) as owner:
        owner.keep_log(10)
        for name in ("ann", "bob"):
            fill(owner, (name,)).recall(f"What of {name}?", namespace=(name,))
        owner.recall("What of all?")
        assert len(log(owner)) == 3
        grant_namespace(url, role, ("ann",))
        with open_memory(cluster.url(schema, role)) as hers:
            hers.recall("What is mine?")
            assert questions(hers) == ["What is mine?", "What of ann?"]
            assert len(log(owner)) == 4
