"""Feedback on a memory that many share: one host judges, and all have it, as long as it holds."""

from __future__ import annotations

import pytest

from hoptrail import Memory
from hoptrail.errors import StoreUnavailable
from hoptrail.memory.feedback import Feedback
from hoptrail.memory.storage.postgres.grants import grant_namespace
from hoptrail.memory.testing.hash_encoder import HashEncoder

pytestmark = pytest.mark.slow

TEXTS = {
    "fram": "Fram was built by Colin Archer.",
    "archer": "Colin Archer was born in Larvik.",
    "larvik": "Larvik lies at the mouth of a fjord.",
}
QUESTION = "Where was the builder of Fram born?"


def opened(url: str) -> Memory:
    return Memory(url, encoder=HashEncoder(384))


def written(memory: Memory, namespace: tuple[str, ...] = ()) -> Memory:
    memory.add(
        [{"id": id_, "text": text} for id_, text in TEXTS.items()],
        namespace=namespace,
    )
    return memory


def by_id(memory: Memory, feedback: Feedback) -> dict[str, object]:
    """Feedback with the ids of passages, which every host has, for their rows."""
    recall = feedback.recall
    rows = memory.store.read_rows(
        [*recall.returned, *(row for trail in recall.trails for row in trail.passages)]
    )
    return {
        "id": recall.id,
        "question": recall.question,
        "asked_at": recall.asked_at,
        "policy": recall.policy,
        "effort": recall.effort,
        "namespace": recall.namespace,
        "returned": [rows[row].id for row in recall.returned],
        "trails": [
            ([rows[row].id for row in trail.passages], trail.stopped, trail.log_prob)
            for trail in recall.trails
        ],
        "reward": feedback.reward,
        "passages": {rows[row].id: reward for row, reward in feedback.passages.items()},
    }


def judged(memory: Memory) -> list[dict[str, object]]:
    return [by_id(memory, one) for one in memory.feedback_given()]


def test_what_one_host_judges_another_has_and_may_judge_again(url, host) -> None:
    with written(opened(url)) as one:
        recall = one.recall(QUESTION, k=3)
        recall.feedback(0.5)
        recall.feedback(1.0, passages=["archer"])
        expected = judged(one)
        assert [entry["reward"] for entry in expected] == [0.5]
        assert expected[0]["passages"] == {"archer": 1.0}
        assert expected[0]["trails"]
        host("two")
        with opened(url) as two:
            assert judged(two) == expected
            two.feedback(recall.id, 0.25)  # by its id, which it has from the server
            assert [entry["reward"] for entry in judged(one)] == [0.25]
            assert judged(one) == judged(two)
            assert two.forget_feedback() == 1
            assert judged(one) == []
    host("three")
    with opened(url) as three:
        assert judged(three) == []


@pytest.mark.parametrize("there", [True, False], ids=["known before", "known after"])
def test_what_is_deleted_or_written_over_is_judged_no_more_anywhere(url, host, there) -> None:
    with written(opened(url)) as one:
        recall = one.recall(QUESTION, k=3)
        recall.feedback(1.0)
        host("two")
        if there:
            with opened(url) as two:
                assert judged(two) == judged(one)
        one.update("larvik", text="Larvik is a town.")
        one.update("archer", metadata={"year": 1832})  # which says nothing else
        one.delete("fram")
        expected = judged(one)
        assert [entry["returned"] for entry in expected] == [["archer"]]
        with opened(url) as two:
            assert judged(two) == expected
            two.delete("archer")
            assert judged(two) == judged(one) == []


def test_a_write_that_fails_judges_nothing(url, host) -> None:
    with written(opened(url)) as one:
        recall = one.recall(QUESTION, k=3)
        with pytest.raises(KeyError), one.store.transaction():
            recall.feedback(1.0)
            raise KeyError
        assert judged(one) == []
        recall.feedback(1.0)
        assert len(judged(one)) == 1


def test_a_role_has_the_feedback_of_its_namespaces_and_its_own(cluster, host) -> None:
    schema = cluster.new_schema()
    url, role = cluster.url(schema), f"ann_{schema}"
    cluster.execute(f"CREATE ROLE {role} LOGIN")
    hers = cluster.url(schema, role)
    with opened(url) as owner:
        for namespace in (("ann",), ("bob",)):
            written(owner, namespace)
            owner.recall(QUESTION, namespace=namespace).feedback(1.0)
        owner.recall(QUESTION).feedback(0.5)
        grant_namespace(url, role, ("ann",))
        with opened(hers) as memory:
            assert [entry["namespace"] for entry in judged(memory)] == [("ann",)]
            memory.recall(QUESTION).feedback(0.75)  # of all that she sees
            assert [entry["reward"] for entry in judged(memory)] == [1.0, 0.75]
            assert [entry["reward"] for entry in judged(owner)] == [1.0, 1.0, 0.5, 0.75]
            with cluster.psycopg.connect(hers) as connection:  # without hoptrail too
                rows = connection.execute("SELECT namespace FROM hoptrail_feedback").fetchall()
                assert len(rows) == 2
        grant_namespace(url, role, ("ann",), write=False)
        with opened(hers) as memory:
            with pytest.raises(StoreUnavailable, match="permission denied"):
                memory.recall(QUESTION).feedback(1.0)
            assert len(judged(memory)) == 2


def test_older_tables_get_what_they_lack_from_the_role_that_made_them(cluster, host) -> None:
    schema = cluster.new_schema()
    url, role = cluster.url(schema), f"ann_{schema}"
    cluster.execute(f"CREATE ROLE {role} LOGIN")
    hers = cluster.url(schema, role)
    written(opened(url), ("ann",)).close()
    grant_namespace(url, role, ("ann",))
    lacking = ", ".join(f"{schema}.hoptrail_{name}" for name in ("feedback", "log", "counts"))
    cluster.execute(f"DROP TABLE {lacking}")
    cluster.execute(f"DELETE FROM {schema}.hoptrail_meta WHERE key = 'counted'")
    cluster.execute(f"UPDATE {schema}.hoptrail_head SET tables = 1")
    with pytest.raises(StoreUnavailable, match="open the store once as the role that made them"):
        opened(hers)
    with opened(url) as owner, opened(hers) as memory:
        memory.recall(QUESTION, namespace=("ann",)).feedback(1.0)
        assert len(judged(owner)) == 1
