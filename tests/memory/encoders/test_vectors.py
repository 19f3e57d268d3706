"""What an encoder gives is looked at before it is stored, kept or searched with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from hoptrail import Memory
from hoptrail.errors import InputError
from hoptrail.memory.encoders.disk_cache import CachedEncoder
from hoptrail.memory.encoders.query_cache import QueryCache
from hoptrail.memory.encoders.vectors import checked_vectors, sound
from hoptrail.memory.store import Store
from hoptrail.memory.testing.hash_encoder import HashEncoder
from hoptrail.types import Passage

TEXTS = ["an old bridge", "the river"]
Change = Callable[[np.ndarray], object]


class Changed(HashEncoder):
    """Gives what a function makes of the right vectors."""

    def __init__(self, change: Change) -> None:
        super().__init__()
        self.change = change

    def encode(self, texts):
        return self.change(super().encode(texts))


SAME: dict[str, Change] = {
    "float64": lambda v: v.astype(np.float64),
    "a list of lists": lambda v: v.tolist(),
    "a list of arrays": list,
    "objects": lambda v: v.astype(object),
    "a tensor": lambda v: torch.tensor(v, requires_grad=True),
    "columns first": np.asfortranarray,
    "a length of its own for each": lambda v: v * np.arange(2, 2 + len(v))[:, None],
    "very long": lambda v: v.astype(np.float64) * 1e300,
    "very short": lambda v: v.astype(np.float64) * 1e-300,
}
WRONG: dict[str, Change] = {
    "None": lambda v: None,
    "words": lambda v: [["a"] * v.shape[1]] * len(v),
    "ragged": lambda v: [row[: 5 + i] for i, row in enumerate(np.tile(v, (2, 1)))],
    "complex": lambda v: v.astype(np.complex64),
    "narrow": lambda v: v[:, :-1],
    "one too few": lambda v: v[1:],
    "one too many": lambda v: np.tile(v, (2, 1)),
    "one for all": lambda v: v[0],
    "a third axis": lambda v: v[None],
    "NaN": lambda v: np.where(np.arange(v.shape[1]) == 3, np.nan, v),
    "infinite": lambda v: np.where(np.arange(v.shape[1]) == 3, np.inf, v),
    "zeros": np.zeros_like,
    "a dict": lambda v: {"vectors": v},
}


@pytest.mark.parametrize("change", SAME.values(), ids=SAME)
def test_vectors_of_any_type_and_length_become_unit_float32(change: Change) -> None:
    encoder = Changed(change)
    vectors = checked_vectors(encoder.encode(TEXTS), TEXTS, encoder)
    assert vectors.dtype == np.float32
    assert np.allclose(vectors, HashEncoder().encode(TEXTS), atol=1e-6)


def test_half_precision_is_brought_to_length_1() -> None:
    vectors = HashEncoder().encode(TEXTS)
    for half in (vectors.astype(np.float16), torch.tensor(vectors).to(torch.bfloat16)):
        found = checked_vectors(half, TEXTS, HashEncoder())
        assert np.allclose(found, vectors, atol=1e-2)
        assert sound(found)


def test_what_is_of_length_1_keeps_its_bits() -> None:
    vectors = HashEncoder().encode(TEXTS)
    assert checked_vectors(vectors, TEXTS, HashEncoder()).tobytes() == vectors.tobytes()
    assert checked_vectors([], [], HashEncoder()).shape == (0, 32)


@example(np.full((3, 4), 1e308))
@given(arrays.arrays(np.float64, (3, 4), elements=st.floats(allow_nan=True, allow_infinity=True)))
def test_whatever_numbers_come_either_all_are_unit_or_a_text_is_named(rows) -> None:
    texts = ["first", "second", "third"]
    bad = ~np.isfinite(rows).all(axis=1) | ~rows.any(axis=1)
    if bad.any():
        with pytest.raises(InputError, match=texts[int(np.argmax(bad))]):
            checked_vectors(rows, texts, HashEncoder(4))
    else:
        assert sound(checked_vectors(rows, texts, HashEncoder(4)))


@pytest.mark.parametrize("change", WRONG.values(), ids=WRONG)
def test_what_is_no_vector_is_refused_everywhere_and_stops_nothing_later(
    change: Change, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOPTRAIL_CACHE", str(tmp_path / "cache"))
    wrong = Changed(change)
    with Memory(tmp_path / "a.db", encoder=wrong, policy=None) as memory:
        with pytest.raises(InputError, match="encoder hash-32"):
            memory.add(TEXTS)
        assert len(memory) == 0
        wrong.change = lambda v: v  # the encoder has come to its senses
        memory.add(TEXTS)
        wrong.change = change
        for _ in range(2):
            with pytest.raises(InputError, match="encoder hash-32"):
                memory.search("bridge", 1)
        with pytest.raises(InputError, match="encoder hash-32"):
            memory.update(memory.search("bridge", 1, mode="sparse")[0].passage.id, text="a mill")
        wrong.change = lambda v: v
        assert memory.search("bridge", 1)[0].passage.text == TEXTS[0]
        assert memory.verify() == []


def test_a_bad_vector_among_good_ones_is_named_by_its_text(tmp_path: Path) -> None:
    def third(vectors: np.ndarray) -> np.ndarray:
        return np.where(np.arange(len(vectors))[:, None] == 2, np.nan, vectors)

    with (
        Store(tmp_path / "a.db", encoder=Changed(third)) as store,
        pytest.raises(InputError, match=r"for the text 'number 2'"),
    ):
        store.add([Passage(id=str(i), text=f"number {i}") for i in range(5)])


@pytest.mark.parametrize("room", [0, 8])
def test_a_query_that_was_refused_is_not_remembered(room: int) -> None:
    cache, encoder = QueryCache(room), Changed(lambda v: v * np.nan)
    with pytest.raises(InputError, match="not finite"):
        cache.encode(encoder, ["bridge"])
    encoder.change = lambda v: v
    assert sound(cache.encode(encoder, ["bridge"]))


def test_a_change_of_encoder_takes_in_no_bad_vector(tmp_path: Path) -> None:
    with Memory(tmp_path / "a.db", encoder=HashEncoder(16), policy=None) as memory:
        memory.add(TEXTS)
        wrong = Changed(lambda v: v * np.inf)
        with pytest.raises(InputError, match="not finite"):
            memory.change_encoder(wrong)
        assert memory.search("bridge", 1)[0].passage.text == TEXTS[0]
        wrong.change = lambda v: v
        assert memory.change_encoder(wrong).finished
        assert memory.verify() == []


def test_a_cache_is_not_written_by_what_is_refused(tmp_path: Path) -> None:
    encoder = CachedEncoder(Changed(lambda v: v[:, :5]), tmp_path)
    with pytest.raises(InputError, match="shape"):
        encoder.encode(TEXTS)
    encoder.inner.change = lambda v: v
    assert sound(encoder.encode(TEXTS))
    assert encoder.inner.texts_encoded == 4
    encoder.close()
