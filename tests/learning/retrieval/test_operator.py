"""The soft read of a memory: as the memory's own search scores, live, bounded, differentiable."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from hoptrail import Memory
from hoptrail.errors import EncoderMismatch, InputError
from hoptrail.learning.retrieval.operator import RetrievalOperator
from hoptrail.memory.index import ann_types
from hoptrail.memory.testing.hash_encoder import HashEncoder

WORDS = [f"w{i}" for i in range(40)]
RNG = np.random.default_rng(0)
PASSAGES = [" ".join(RNG.choice(WORDS, 5)) for _ in range(120)]
TEXTS = [" ".join(RNG.choice(WORDS, 3)) for _ in range(6)]


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    with Memory(tmp_path / "a.db", encoder=HashEncoder()) as memory:
        memory.add(PASSAGES)
        yield memory


def queries() -> torch.Tensor:
    return torch.tensor(HashEncoder().encode(TEXTS))


def test_probabilities_are_the_softmax_of_what_search_says(memory: Memory) -> None:
    read = RetrievalOperator(memory.store, temperature=0.1)(queries())
    scores, slots = read.view.dense.search(queries().numpy(), len(PASSAGES))
    expected = torch.softmax(torch.tensor(scores) / 0.1, dim=-1)
    columns = torch.tensor(np.searchsorted(read.slots, slots))
    torch.testing.assert_close(read.weights.gather(1, columns), expected, atol=1e-5, rtol=1e-4)
    vectors = torch.tensor(read.view.dense.vectors(read.slots))
    torch.testing.assert_close(read.output, read.weights @ vectors)
    assert [p.text for p in read.passages()] == [
        p.text for p in read.view.passages(read.slots.tolist())
    ]


@pytest.mark.parametrize("lexical", [0.0, 0.7])
@pytest.mark.parametrize("k", [3, 15, 60])
def test_the_rest_and_the_error_of_the_read_are_within_their_bound(
    memory: Memory, k: int, lexical: float
) -> None:
    whole = RetrievalOperator(memory.store, temperature=0.1, lexical_weight=lexical)
    part = RetrievalOperator(memory.store, temperature=0.1, lexical_weight=lexical, k=k)
    exact, read = whole(queries(), TEXTS), part(queries(), TEXTS)
    columns = np.searchsorted(exact.slots, read.slots)
    missed = 1 - (exact.weights[:, columns] * read.mask).sum(-1)
    assert bool((missed <= read.rest + 1e-5).all())
    assert bool(((read.output - exact.output).norm(dim=-1) <= 2 * read.rest + 1e-5).all())
    assert bool((read.rest < 1).all())
    assert bool((exact.rest == 0).all())


def test_of_an_approximate_index_the_bound_promises_no_more_than_is_known(
    tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(ann_types, "LEAST", 50)
    with Memory(tmp_path / "a.db", encoder=HashEncoder(), index="hnsw") as memory:
        memory.add(PASSAGES)
        whole = RetrievalOperator(memory.store, temperature=0.5)
        part = RetrievalOperator(memory.store, temperature=0.5, k=60)
        exact, read = whole(queries()), part(queries())
        assert read.view.dense.approximate is not None
        columns = np.searchsorted(exact.slots, read.slots)
        missed = 1 - (exact.weights[:, columns] * read.mask).sum(-1)
        assert bool((missed <= read.rest + 1e-5).all())
        assert bool((read.rest < 1).all())


def test_gradients_reach_queries_temperature_and_both_weights(memory: Memory) -> None:
    operator = RetrievalOperator(memory.store, temperature=0.3, lexical_weight=0.5).double()
    asking = queries().double().requires_grad_()
    target = torch.randn(6, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def loss(asking: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = (operator(asking, TEXTS).output * target).sum()
        return result

    parameters = (operator.log_temperature, operator.dense_weight, operator.lexical_weight)
    assert torch.autograd.gradcheck(loss, (asking, *parameters), atol=1e-4)
    loss(asking).backward()
    assert all(each.grad is not None and float(each.grad) != 0 for each in parameters)


def test_passage_vectors_can_be_trained(memory: Memory) -> None:
    operator = RetrievalOperator(memory.store, temperature=0.1, train_vectors=True)
    before = operator(queries()).log_probs[:, 0].detach()
    optimizer = torch.optim.SGD([operator.changes], lr=1.0)
    loss = -operator(queries()).log_probs[:, 0].mean()
    loss.backward()
    optimizer.step()
    assert bool((operator(queries()).log_probs[:, 0] > before).all())
    memory.add("one that came later")
    assert operator(queries()).weights.shape == (6, len(PASSAGES) + 1)


def test_the_gradient_to_passage_vectors_is_that_of_differences(tmp_path: Path) -> None:
    with Memory(tmp_path / "few.db", encoder=HashEncoder(4)) as few:
        few.add(PASSAGES[:5])
        operator = RetrievalOperator(few.store, temperature=0.3, train_vectors=True).double()
        asking = torch.tensor(HashEncoder(4).encode(TEXTS[:2])).double()
        assert operator.changes is not None
        assert torch.autograd.gradcheck(
            lambda _: operator(asking).output, (operator.changes,), atol=1e-4
        )


def test_a_selection_decides_what_becomes_of_the_scores(memory: Memory) -> None:
    operator = RetrievalOperator(memory.store, k=6, selection="straight-through", chosen=2)
    asking = queries().requires_grad_()
    read = operator(asking)
    best = read.logits.topk(2).indices
    torch.testing.assert_close(read.weights.gather(1, best), torch.full((6, 2), 0.5))
    read.output.square().sum().backward()
    assert asking.grad is not None
    assert bool(asking.grad.abs().sum() > 0)


def test_a_network_that_encodes_passages_gets_gradients(memory: Memory) -> None:
    layer = torch.nn.Linear(32, 32)
    encoder = HashEncoder()
    operator = RetrievalOperator(
        memory.store, k=4, passage_encoder=lambda texts: layer(torch.tensor(encoder.encode(texts)))
    )
    operator(queries()).output.sum().backward()
    assert layer.weight.grad is not None
    assert bool(layer.weight.grad.abs().sum() > 0)


def test_it_reads_the_memory_as_it_is_at_each_call(memory: Memory) -> None:
    operator = RetrievalOperator(memory.store, temperature=0.02)
    (id,) = memory.add({"id": "new", "text": TEXTS[0]})
    read = operator(queries())
    assert read.passages()[int(read.weights[0].argmax())].id == id
    memory.delete(id)
    assert operator(queries()).weights.shape == (6, len(PASSAGES))


def test_a_long_passage_scores_by_its_best_window(tmp_path: Path, tiny_bert: Path) -> None:
    from hoptrail.memory.encoders.transformer import TransformerEncoder

    encoder = TransformerEncoder(tiny_bert, device="cpu")
    with Memory(tmp_path / "b.db", encoder=encoder) as memory:
        memory.add(["the old city", " . ".join(["under the bridge of the river"] * 20)])
        asking = encoder.encode(["bridge"])
        read = RetrievalOperator(memory.store, temperature=1.0)(torch.tensor(asking))
        expected = read.view.dense.scores_of(asking, read.slots)
        assert len(read.view.dense.windows()[1])
        np.testing.assert_allclose(read.logits.detach().numpy(), expected, atol=1e-5)


def test_what_cannot_be_read_is_refused(memory: Memory, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"queries should have shape \(b, 32\)"):
        RetrievalOperator(memory.store)(torch.zeros(2, 7))
    with pytest.raises(InputError, match="6 queries need their texts"):
        RetrievalOperator(memory.store, lexical_weight=1.0)(queries())
    operator = RetrievalOperator(memory.store)
    memory.change_encoder(HashEncoder(16))
    with pytest.raises(EncoderMismatch, match="make the operator anew"):
        operator(queries())
    with (
        Memory(tmp_path / "empty.db", encoder=HashEncoder()) as empty,
        pytest.raises(InputError, match="nothing to read"),
    ):
        RetrievalOperator(empty.store)(queries())
