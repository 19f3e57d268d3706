"""An encoder with a trained query side: passages as before, queries by changed weights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from hoptrail import Memory
from hoptrail.errors import FormatError
from hoptrail.memory.encoders.query_side import for_questions, query_side
from hoptrail.memory.encoders.static import load_encoder
from hoptrail.memory.encoders.transformer import TransformerEncoder
from hoptrail.memory.encoders.tuned.query_tuned import CARD, CHANGES, QueryTunedEncoder

TEXTS = ["the old bridge", "who built the bridge", "river"]
LAYER = "encoder.layer.0.output.dense"


@pytest.fixture
def base(tiny_bert: Path) -> TransformerEncoder:
    return TransformerEncoder(tiny_bert, device="cpu")


def factors(scale: float = 1.0) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(*shape, generator=generator) for shape in ((2, 32), (16, 2)))
    return {LAYER: (a, scale * b)}


def test_passages_keep_their_vectors_and_queries_get_others(base) -> None:
    tuned = QueryTunedEncoder(base, factors())
    assert tuned.fingerprint == base.fingerprint != query_side(tuned).fingerprint
    np.testing.assert_array_equal(tuned.encode(TEXTS), base.encode(TEXTS))
    turned = query_side(tuned).encode(TEXTS)
    assert np.abs(turned - base.encode(TEXTS)).max() > 1e-3
    np.testing.assert_allclose(for_questions(tuned).encode(TEXTS), turned, atol=1e-2)


def test_changes_that_are_nothing_ask_as_before(base) -> None:
    tuned = QueryTunedEncoder(base, factors(0.0))
    np.testing.assert_array_equal(query_side(tuned).encode(TEXTS), base.encode(TEXTS))


def test_a_memory_is_asked_by_the_query_side_without_being_encoded_anew(base, tmp_path) -> None:
    with Memory(tmp_path / "a.db", encoder=base, policy=None) as memory:
        memory.add([{"id": str(i), "text": text} for i, text in enumerate(TEXTS)])
    tuned = QueryTunedEncoder(base, factors(3.0))
    with Memory(tmp_path / "a.db", encoder=tuned, policy=None) as memory:
        asked = memory._store.encode_queries(["the bridge"])
    np.testing.assert_array_equal(asked, query_side(tuned).encode(["the bridge"]))


def test_what_was_saved_is_loaded_with_what_it_was_made_of(base, tiny_bert, tmp_path) -> None:
    tuned = QueryTunedEncoder(base, factors()).described({"sets": ["a"]}, str(tiny_bert))
    folder = tuned.save(tmp_path / "tuned")
    loaded = load_encoder(folder)
    assert isinstance(loaded, QueryTunedEncoder)
    assert loaded.made_of == {"sets": ["a"]}
    assert loaded.fingerprint == base.fingerprint
    side = query_side(loaded)
    assert side.fingerprint == query_side(tuned).fingerprint
    np.testing.assert_array_equal(side.encode(TEXTS), query_side(tuned).encode(TEXTS))


def test_changed_weights_and_another_base_are_refused(base, tiny_bert, tmp_path) -> None:
    folder = (
        QueryTunedEncoder(base, factors()).described({}, str(tiny_bert)).save(tmp_path / "tuned")
    )
    tensors = load_file(folder / CHANGES)
    save_file({name: tensor + 1 for name, tensor in tensors.items()}, folder / CHANGES)
    with pytest.raises(FormatError, match="was changed"):
        QueryTunedEncoder.load(folder)
    save_file(tensors, folder / CHANGES)
    QueryTunedEncoder.load(folder)
    card = json.loads((folder / CARD).read_text())
    (folder / CARD).write_text(json.dumps({**card, "fingerprint": "0" * 16}))
    with pytest.raises(FormatError, match="should have the fingerprints"):
        QueryTunedEncoder.load(folder)


def test_a_file_that_is_cut_short_is_refused_by_name(base, tiny_bert, tmp_path) -> None:
    folder = (
        QueryTunedEncoder(base, factors()).described({}, str(tiny_bert)).save(tmp_path / "tuned")
    )
    whole = (folder / CHANGES).read_bytes()
    (folder / CHANGES).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FormatError, match=f"no query side can be read from {folder}"):
        load_encoder(folder)


def test_changes_of_another_network_are_refused(base) -> None:
    wide = {LAYER: (torch.zeros(2, 64), torch.zeros(32, 2))}
    with pytest.raises(FormatError, match="does not fit its encoder"):
        QueryTunedEncoder(base, wide)


def test_a_file_that_is_none_of_ours_is_not_replaced(base, tmp_path) -> None:
    (tmp_path / CARD).write_text("{}")
    with pytest.raises(FormatError, match="give another folder"):
        QueryTunedEncoder(base, factors()).save(tmp_path)
    assert (tmp_path / CARD).read_text() == "{}"
