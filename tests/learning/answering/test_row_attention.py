"""Attention a row at a time is attention."""

from __future__ import annotations

from pathlib import Path

import torch

from hoptrail.learning.answering.row_attention import attend_by_row
from hoptrail.memory.encoders.transformer import TransformerEncoder


def test_vectors_and_gradients_are_those_of_whole_batches(tiny_bert: Path) -> None:
    whole = TransformerEncoder(tiny_bert, device="cpu").model.network.eval()
    by_row = TransformerEncoder(tiny_bert, device="cpu").model.network.eval()
    attend_by_row(by_row)
    ids = torch.arange(24).view(3, 8) % 16
    mask = torch.ones_like(ids)
    mask[1, 5:] = 0
    gradients, states = [], []
    for network in (whole, by_row):
        hidden = network(input_ids=ids, attention_mask=mask).last_hidden_state[mask.bool()]
        network.zero_grad()
        (hidden * torch.linspace(-1, 1, hidden.numel()).view_as(hidden)).sum().backward()
        states.append(hidden.detach())
        gradients.append(
            {
                n: w.grad
                for n, w in network.requires_grad_(True).named_parameters()
                if w.grad is not None
            }
        )
    torch.testing.assert_close(states[1], states[0])
    assert any("attention.self.query" in name for name in gradients[0])
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, rtol=1e-4, atol=1e-5)


def test_without_padding_no_mask_is_needed(tiny_bert: Path) -> None:
    network = TransformerEncoder(tiny_bert, device="cpu").model.network.eval()
    ids = torch.arange(1, 9).view(1, 8)
    with torch.no_grad():
        before = network(input_ids=ids).last_hidden_state
        attend_by_row(network)
        torch.testing.assert_close(network(input_ids=ids).last_hidden_state, before)
