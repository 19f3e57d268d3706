"""Each array layer is its PyTorch twin, and products of small matrices take one thread."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits
from torch.nn import functional

from hoptrail.learning.arrays import layers, one_thread
from hoptrail.learning.arrays.one_thread import one_blas_thread


@pytest.fixture
def rows() -> np.ndarray:
    return np.random.default_rng(0).normal(scale=3.0, size=(200, 64)).astype(np.float32)


def weights(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


def close(array: np.ndarray, tensor: torch.Tensor) -> None:
    assert array.dtype == np.float32
    np.testing.assert_allclose(array, tensor.numpy(), rtol=1e-5, atol=1e-5)


def test_layers_are_those_of_pytorch(rows) -> None:
    x = torch.from_numpy(rows)
    scale, shift = weights(64), weights(64)[::-1].copy()
    w, b = weights(5, 64), weights(5)
    close(layers.linear(rows, w, b), functional.linear(x, *map(torch.from_numpy, (w, b))))
    normed = functional.layer_norm(x, [64], *map(torch.from_numpy, (scale, shift)))
    close(layers.layer_norm(rows, scale, shift), normed)
    far = np.linspace(-60, 60, 4001, dtype=np.float32)
    for x in (rows, far):
        close(layers.gelu(x), functional.gelu(torch.from_numpy(x)))
        close(layers.sigmoid(x), torch.sigmoid(torch.from_numpy(x)))


def test_a_sum_of_exponentials_may_have_terms_that_are_nothing(rows) -> None:
    values = rows.copy()
    values[::3] = -np.inf
    values[:, 7] = -np.inf
    for axis in (0, 1):
        total = torch.logsumexp(torch.from_numpy(values), axis)
        close(layers.log_sum_exp(values, axis), total)


def threads() -> set[int]:
    return {each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"}


def test_blocks_of_one_thread_may_overlap() -> None:
    one_thread._controller.cache_clear()  # a library may have come since it was asked for
    with threadpool_limits(3, user_api="blas"):
        first, second = one_blas_thread(), one_blas_thread()
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        assert threads() == {1}
        second.__exit__(None, None, None)
        assert threads() == {3}
