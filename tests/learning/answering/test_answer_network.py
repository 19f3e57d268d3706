"""One distribution over all that a trail may say: it sums to one, and learning moves it."""

from __future__ import annotations

import copy

import pytest
import torch

from hoptrail.learning.answering.answer_network import (
    NO_ANSWER,
    YES,
    AnswerNetwork,
    AnswerTarget,
    answer_loss,
)
from hoptrail.learning.answering.trail_windows import WindowLayout, cut_texts, pad_windows
from hoptrail.memory.encoders.transformer import TransformerEncoder
from hoptrail.memory.encoders.windows import tokenizer_of


@pytest.fixture
def base(tiny_bert) -> TransformerEncoder:
    return TransformerEncoder(tiny_bert, device="cpu")


@pytest.fixture
def network(base) -> AnswerNetwork:
    torch.manual_seed(0)
    return AnswerNetwork(copy.deepcopy(base.model.network)).eval()


@pytest.fixture
def trails(base):
    """One of two passages that are read in several windows, and one of a short passage."""
    tokenizer = tokenizer_of(base.model.tokenizer)
    question, long, short = cut_texts(tokenizer, ["who", "old bridge city " * 60, "the river"])
    layout = WindowLayout(2, 3, 64)
    return [layout.windows(question.ids, [long, short]), layout.windows(question.ids, [short])]


def test_all_that_a_trail_may_say_sums_to_one(network, trails) -> None:
    scores = network(pad_windows(trails))
    total = scores.log_total()
    assert total.shape == (2,)
    windows = [scores.spans[scores.trail == i].flatten() for i in range(2)]
    for i in range(2):
        outcomes = torch.cat([windows[i], scores.classes[i]])
        assert torch.allclose(torch.logsumexp(outcomes, 0), total[i], atol=1e-5)
    right = torch.zeros(scores.spans.shape, dtype=torch.bool)
    nothing = scores.log_total(right, torch.zeros(2, 3, dtype=torch.bool))
    assert nothing.tolist() == [-torch.inf] * 2


def test_padding_and_the_other_trail_change_nothing(network, trails) -> None:
    together = network(pad_windows(trails)).log_total()
    alone = torch.cat([network(pad_windows([trail])).log_total() for trail in trails])
    assert torch.allclose(together, alone, atol=1e-4)


def test_learning_puts_the_probability_where_it_is_right(network, trails) -> None:
    targets = [
        AnswerTarget(((1, (1, 1)),), (), (False, True)),
        AnswerTarget((), (NO_ANSWER,), (False,)),
    ]
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    losses = []
    for _ in range(25):
        loss = answer_loss(network(pad_windows(trails)), trails, targets, 0.3)
        losses.append(float(loss.detach()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < losses[0] / 4


def test_a_trail_whose_answer_no_window_holds_counts_for_nothing(network, trails) -> None:
    lost, yes = AnswerTarget(((5, (0, 0)),)), AnswerTarget((), (YES,))
    both = answer_loss(network(pad_windows(trails)), trails, [lost, yes], 0.3)
    alone = answer_loss(network(pad_windows(trails[1:])), trails[1:], [yes], 0.3)
    assert torch.allclose(both, alone / 2, atol=1e-4)
