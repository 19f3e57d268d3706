"""What a person looks at: the surroundings of passages, and a memory as a page."""

from __future__ import annotations

import pytest

from hoptrail import InputError, Memory, UnknownId
from hoptrail.memory.testing.hash_encoder import HashEncoder


@pytest.fixture
def memory(tmp_path, twelve):
    with Memory(tmp_path / "agent.db", encoder=HashEncoder()) as memory:
        memory.add(twelve)
        memory.add({"id": "p-varn", "text": "Bob's note of Varn."}, namespace=("team", "bob"))
        yield memory


def test_a_neighbourhood_is_around_passages_of_the_scope(memory) -> None:
    near = memory.neighbourhood(["p-varn"], most=3)
    assert near.passages[0].id == "p-varn"
    assert near.passages[0].namespace == ()
    assert len(near.passages) == len(near.places) == len(near.degrees) == 3
    assert all(edge.source < 3 and edge.target < 3 for edge in near.edges)
    bob = memory.get("p-varn", ("team", "bob"))
    assert memory.neighbourhood([bob]).passages[0] == bob
    assert memory.neighbourhood(namespace=("team",)).passages == (bob,)
    assert memory.neighbourhood(namespace=("nobody",)).passages == ()


def test_what_cannot_be_looked_around_is_refused(memory) -> None:
    with pytest.raises(UnknownId, match="nobody"):
        memory.neighbourhood(["nobody"])
    with pytest.raises(InputError, match="a list of passages"):
        memory.neighbourhood("p-varn")
    for most in (0, 501, 1.5):
        with pytest.raises(InputError, match="most"):
            memory.neighbourhood(most=most)


def test_a_memory_is_shown_as_one_page(memory) -> None:
    page = memory.to_html()
    assert page.startswith("<!doctype html>")
    assert "agent.db" in page
    assert "13 passages in all namespaces" in page
    assert "Lake Sorrel is a deep lake" in page
    few = memory.to_html(most=2)
    assert "13 passages in all namespaces; 2 of them here, the best joined first" in few
    assert few.count("<circle") == 2
    bob = memory.to_html(("team", "bob"))
    assert "1 passages in the namespace team/bob" in bob
    assert "Lake Sorrel" not in bob
    assert "0 passages" in memory.to_html(("nobody",))


def test_a_memory_is_shown_that_nobody_may_write_to_or_encode(memory) -> None:
    memory.close()
    path = memory.store.path
    with Memory(path, encoder=None, policy=None, read_only=True) as reader:
        assert "Lake Sorrel" in reader.to_html()
