"""Compressed vectors: how many bytes, how far off, and the same at serving as when fitted."""

from __future__ import annotations

import numpy as np
import pytest

from hoptrail.errors import ConfigError, FormatError, InputError
from hoptrail.memory.encoders.vectors import unit
from hoptrail.memory.search.codecs import Codec, Half, Product, Scalar, Sign


def vectors(count: int, dim: int = 48, seed: int = 0) -> np.ndarray:
    """Unit vectors around some centres, as texts' are."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(16, dim))
    near = centres[rng.integers(16, size=count)] + rng.normal(size=(count, dim)) * 0.7
    return unit(near.astype(np.float32))


CODECS: list[tuple[Codec, int, float]] = [
    (Half(), 96, 0.001),
    (Scalar(8), 50, 0.02),
    (Scalar(4), 26, 0.25),
    (Sign(), 8, 0.8),
    (Product(12), 12, 0.8),
]


@pytest.fixture(params=CODECS, ids=lambda case: case[0].name)
def case(request) -> tuple[Codec, int, float]:
    codec, width, bound = request.param
    if isinstance(codec, Product):
        codec = Product(codec.parts).fit(vectors(1000))
    return codec, width, bound


def test_codes_have_the_stated_bytes_and_scores_the_stated_bound(case) -> None:
    codec, width, bound = case
    stored, queries = vectors(300, seed=1), vectors(20, seed=2)
    codes = codec.encode(stored)
    assert codes.dtype == np.uint8
    assert codes.shape == (300, width) == (300, codec.width(48))
    worst = codec.worst(stored)
    assert worst < bound
    off = np.abs(codec.scores(queries, codes) - queries @ stored.T)
    assert off.max() <= worst + 1e-6
    assert codec.scores(queries[:1], codes) == pytest.approx(
        codec.scores(queries, codes)[:1], abs=1e-6
    )


def test_a_code_is_its_own_vector_s_alone(case) -> None:
    codec = case[0]
    stored = vectors(300, seed=1)
    assert (codec.encode(stored)[17:18] == codec.encode(stored[17:18])).all()
    assert codec.encode(stored[:0]).shape == (0, codec.width(48))
    assert codec.scores(stored[:3], codec.encode(stored[:0])).shape == (3, 0)


def test_odd_widths_and_zeros_come_back(case) -> None:
    codec = case[0]
    if isinstance(codec, Product):
        return
    odd = np.vstack([vectors(5, dim=7), np.zeros((1, 7), np.float32)])
    back = codec.decode(codec.encode(odd), 7)
    assert back.shape == odd.shape
    assert not back[-1].any()
    assert codec.worst(odd) < 0.8


def test_serving_scores_what_was_fitted(tmp_path) -> None:
    """What is loaded gives the codes and scores of what was saved, within the bound stated then."""
    training, stored, queries = vectors(1000), vectors(200, seed=3), vectors(10, seed=4)
    fitted = Product(12).fit(training)
    codes, scores = fitted.encode(stored), fitted.scores(queries, fitted.encode(stored))
    bound = fitted.worst(stored)
    fitted.save(tmp_path / "codec.safetensors")
    served = Product.load(tmp_path / "codec.safetensors")
    assert served.fingerprint == fitted.fingerprint
    assert (served.encode(stored) == codes).all()
    assert np.abs(served.scores(queries, codes) - scores).max() <= 1e-6
    assert np.abs(served.scores(queries, codes) - queries @ stored.T).max() <= bound + 1e-6


def test_a_seed_gives_the_same_centroids_and_more_parts_are_nearer() -> None:
    training, stored = vectors(600), vectors(200, seed=3)
    assert Product(6).fit(training).fingerprint == Product(6).fit(training).fingerprint
    assert Product(6).fit(training, seed=1).fingerprint != Product(6).fit(training).fingerprint
    assert Product(24).fit(training).worst(stored) < Product(6).fit(training).worst(stored)


def test_what_cannot_be_done_is_refused(tmp_path) -> None:
    with pytest.raises(ConfigError, match="8 or 4 bits, got 3"):
        Scalar(3)
    with pytest.raises(ConfigError, match="parts must be a whole number of at least 1"):
        Product(0)
    with pytest.raises(ConfigError, match="must be fitted to vectors first"):
        Product(4).encode(vectors(3))
    with pytest.raises(InputError, match="cannot be cut into 5 equal parts"):
        Product(5).fit(vectors(300))
    with pytest.raises(InputError, match="at least 256 vectors, got 255"):
        Product(4).fit(vectors(255))
    file = tmp_path / "codec.safetensors"
    Product(4).fit(vectors(300)).save(file)
    file.write_bytes(file.read_bytes()[:-5] + b"12345")
    with pytest.raises(FormatError, match="was changed"):
        Product.load(file)
    with pytest.raises(FormatError, match="no codec can be read"):
        Product.load(tmp_path / "nothing")
