"""An index that moves with its encoder: no vector is older than allowed, and it says how stale."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from hoptrail.errors import ConfigError
from hoptrail.learning.indexes.moving_index import MovingIndex
from hoptrail.memory.search.codecs import Scalar

PASSAGES, WIDTH = 23, 6


class Drift:
    """An encoder that turns all vectors a little with each of its steps."""

    def __init__(self, turn: float = 0.1) -> None:
        generator = torch.Generator().manual_seed(0)
        self.start, self.towards = (
            normalize(torch.randn(PASSAGES, WIDTH, generator=generator), dim=1) for _ in range(2)
        )
        self.turn, self.step = turn, 0

    def __call__(self, rows: np.ndarray) -> torch.Tensor:
        moved = self.start + self.turn * self.step * self.towards
        return normalize(moved, dim=1)[torch.from_numpy(rows)]


def moving(encoder: Drift, **settings) -> MovingIndex:
    return MovingIndex(encoder(np.arange(PASSAGES)), encoder, **settings)


def steps(index: MovingIndex, encoder: Drift, count: int) -> list[int]:
    """The age of the stalest vector at each step's look at the index."""
    oldest = []
    for _ in range(count):
        oldest.append(int(index.ages.max()))
        encoder.step += 1
        index.advance()
    return oldest


@pytest.mark.parametrize("rounds", [False, True])
@pytest.mark.parametrize("max_age", [0, 1, 4, 30])
def test_no_vector_that_is_looked_at_is_older_than_allowed(max_age, rounds) -> None:
    encoder = Drift()
    index = moving(encoder, max_age=max_age, rounds=rounds)
    oldest = steps(index, encoder, 70)
    assert max(oldest) <= max_age
    if rounds:  # the stalest first may be earlier than they have to be
        assert max(oldest) == max_age


def test_what_a_step_encodes_is_not_encoded_again_before_its_time() -> None:
    encoder = Drift()
    index = moving(encoder, max_age=PASSAGES - 1)  # one a step
    assert index.advance() == 1  # row 0
    index.write(np.asarray([3]), encoder(np.asarray([3])))
    for _ in range(PASSAGES - 2):  # all others
        index.advance()
    assert index.ages[3] == PASSAGES - 2 == index.ages.max()
    assert index.encoded == PASSAGES - 1


def test_vectors_served_are_those_of_the_step_that_encoded_them() -> None:
    encoder = Drift()
    index = moving(encoder, max_age=3)
    steps(index, encoder, 9)
    for row, age in enumerate(index.ages.tolist()):
        encoder.step = 9 - age
        assert torch.equal(index.served()[row], encoder(np.asarray([row]))[0])


def test_an_index_that_is_never_encoded_anew_stays_and_grows_stale() -> None:
    encoder = Drift()
    never, often = (moving(encoder, max_age=age) for age in (None, 1))
    start = never.served().clone()
    for _ in range(8):
        encoder.step += 1
        never.advance()
        often.advance()
    assert torch.equal(never.served(), start)
    rows, queries = np.arange(PASSAGES), normalize(torch.eye(WIDTH), dim=1)
    stale, fresh = (index.staleness(queries, rows, k=5) for index in (never, often))
    assert stale.oldest == 8
    assert fresh.oldest <= 1
    assert stale.cosine < fresh.cosine
    assert stale.changed > fresh.changed
    off = (queries @ (encoder(rows) - start).T).abs().max()
    assert float(off) <= stale.score_error


def test_an_encoder_that_stands_still_leaves_nothing_stale() -> None:
    encoder = Drift(turn=0.0)
    index = moving(encoder, max_age=None)
    steps(index, encoder, 3)
    staleness = index.staleness(torch.eye(WIDTH), np.arange(PASSAGES))
    assert staleness.changed == pytest.approx(0)
    assert staleness.cosine == pytest.approx(1)


def test_codes_are_off_by_no_more_than_the_index_says() -> None:
    encoder = Drift()
    index = moving(encoder, max_age=0, codec=Scalar(4))
    steps(index, encoder, 2)
    exact = encoder(np.arange(PASSAGES))
    distances = (index.served() - exact).norm(dim=1)
    assert 0 < float(distances.max()) <= index.code_error + 1e-6
    assert moving(encoder, max_age=0).code_error == 0


def test_an_age_below_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="max_age"):
        moving(Drift(), max_age=-1)
