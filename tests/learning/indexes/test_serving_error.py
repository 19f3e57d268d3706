"""Scores, probabilities and gradients of other vectors are within the stated bounds."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from hoptrail.errors import InputError
from hoptrail.learning.indexes.serving_error import gradient_fidelity, serving_error
from hoptrail.memory.search.codecs import Codec, Half, Product, Scalar, Sign

GENERATOR = torch.Generator().manual_seed(0)
VECTORS = normalize(torch.randn(300, 32, generator=GENERATOR), dim=1)
QUERIES = normalize(torch.randn(9, 32, generator=GENERATOR), dim=1)
POSITIVES = torch.rand(9, 300, generator=GENERATOR) < 0.01
POSITIVES[:, 0] = True
CODECS = [Half(), Scalar(8), Scalar(4), Sign(), Product(8).fit(VECTORS.numpy())]


@pytest.mark.parametrize("temperature", [0.05, 1.0])
@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)
def test_what_serves_is_within_the_bounds_of_what_trains(codec: Codec, temperature: float) -> None:
    vectors = VECTORS.numpy()
    codes = codec.encode(vectors)
    bound = serving_error(codec.worst(vectors), temperature)
    served = torch.from_numpy(codec.scores(QUERIES.numpy(), codes))
    exact = QUERIES @ VECTORS.T
    assert float((served - exact).abs().max()) <= bound.score + 1e-6
    off = torch.softmax(served / temperature, 1) - torch.softmax(exact / temperature, 1)
    assert float(off.abs().sum(1).max()) / 2 <= bound.total_variation + 1e-6
    decoded = torch.from_numpy(codec.decode(codes, 32))
    fidelity = gradient_fidelity(QUERIES, VECTORS, decoded, POSITIVES, temperature=temperature)
    assert fidelity.worst <= bound.gradient + 1e-4


def test_the_bound_of_probabilities_is_reached() -> None:
    delta = 0.8
    share = 1 / (1 + math.exp(delta))
    logits = torch.tensor([math.log(share), math.log(1 - share)])
    moved = logits + torch.tensor([delta, -delta])
    off = (torch.softmax(moved, 0) - torch.softmax(logits, 0)).abs().sum() / 2
    assert float(off) == pytest.approx(serving_error(delta, 1.0).total_variation, abs=1e-6)


def test_fewer_bytes_and_shorter_prefixes_point_further_away() -> None:
    def cosine(served: torch.Tensor) -> float:
        return gradient_fidelity(QUERIES, VECTORS, served, POSITIVES, temperature=0.2).cosine

    vectors = VECTORS.numpy()
    eight, four, sign = (
        cosine(torch.from_numpy(codec.decode(codec.encode(vectors), 32)))
        for codec in (Scalar(8), Scalar(4), Sign())
    )
    assert 1.0001 > eight > four > sign > 0
    prefixes = [cosine(VECTORS * (torch.arange(32) < width)) for width in (32, 16, 4)]
    assert prefixes == sorted(prefixes, reverse=True)
    assert prefixes[0] == pytest.approx(1)
    same = gradient_fidelity(QUERIES, VECTORS, VECTORS, POSITIVES, temperature=0.2)
    assert same.norm == pytest.approx(1)
    assert same.worst == 0


def test_vectors_that_are_the_same_are_off_by_nothing() -> None:
    assert serving_error(0.0, 0.05).gradient == 0
    with pytest.raises(InputError, match="at least 0"):
        serving_error(float(np.nan), 0.05)
    with pytest.raises(InputError, match="temperature"):
        serving_error(0.1, 0.0)
