"""Attention over a memory is softmax(q K) V of its passages, with gradients to its projections."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn import functional

from hoptrail import Memory
from hoptrail.errors import InputError
from hoptrail.learning.retrieval.attention import MemoryAttention
from hoptrail.learning.retrieval.operator import RetrievalOperator
from hoptrail.memory.testing.hash_encoder import HashEncoder


def test_it_is_attention_whose_keys_and_values_are_the_passages(tmp_path: Path) -> None:
    with Memory(tmp_path / "a.db", encoder=HashEncoder()) as memory:
        memory.add(["red house", "blue boat", "green tree"])
        layer = MemoryAttention(RetrievalOperator(memory.store, temperature=0.2), 6, 32, heads=2)
        hidden, offset = torch.randn(2, 3, 6), torch.randn(2, 3, 32)
        out = layer(hidden, offset)
        view = memory.store.view()
        keys = torch.tensor(view.dense.vectors(view.alive.nonzero()[0]))
        heads = []
        for head in layer.queries:
            asking = functional.normalize(head(hidden) + offset, dim=-1)
            heads.append(torch.softmax(asking @ keys.T / 0.2, dim=-1) @ keys)
        torch.testing.assert_close(out, layer.out(torch.cat(heads, dim=-1)), atol=1e-5, rtol=1e-4)
        out.sum().backward()
        assert all(bool(head.weight.grad.abs().sum() > 0) for head in layer.queries)
        with pytest.raises(InputError, match="heads must be at least 1"):
            MemoryAttention(layer.operator, 6, 32, heads=0)


def test_its_gradient_is_that_of_differences(tmp_path: Path) -> None:
    with Memory(tmp_path / "a.db", encoder=HashEncoder(4)) as memory:
        memory.add(["red house", "blue boat", "green tree"])
        operator = RetrievalOperator(memory.store, temperature=0.3)
        layer = MemoryAttention(operator, 3, 4, heads=2).double()
        hidden = torch.randn(1, 2, 3, dtype=torch.float64, requires_grad=True)
        weights = tuple(head.weight for head in layer.queries)
        assert torch.autograd.gradcheck(
            lambda hidden, *_: layer(hidden), (hidden, *weights), atol=1e-4
        )
