"""An encoder with a trained passage side: passages by changed weights, and a memory of its own."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from hoptrail import Memory
from hoptrail.errors import EncoderMismatch, FormatError, InputError
from hoptrail.memory.encoders.query_side import query_side
from hoptrail.memory.encoders.static import load_encoder
from hoptrail.memory.encoders.transformer import TransformerEncoder
from hoptrail.memory.encoders.tuned.passage_tuned import CARD, CHANGES, PassageTunedEncoder

TEXTS = ["the old bridge", "who built the bridge", "river"]
LAYER = "encoder.layer.0.output.dense"


@pytest.fixture
def base(tiny_bert: Path) -> TransformerEncoder:
    return TransformerEncoder(tiny_bert, device="cpu")


def changes(scale: float = 3.0) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 32)), scale * rng.normal(size=(16, 2))
    return {LAYER: (a.astype(np.float16), b.astype(np.float16))}


@pytest.mark.parametrize("side", ["passage", "both"])
def test_passages_get_other_vectors_and_queries_where_both_sides_are_meant(base, side) -> None:
    tuned = PassageTunedEncoder(base, changes(), side)
    passages = tuned.encode(TEXTS)
    assert np.abs(passages - base.encode(TEXTS)).max() > 1e-3
    query_vectors = query_side(tuned).encode(TEXTS)
    np.testing.assert_array_equal(
        query_vectors, base.encode(TEXTS) if side == "passage" else passages
    )
    assert tuned.fingerprint != base.fingerprint
    assert tuned.size == 2 * 32 + 2 * 16
    assert PassageTunedEncoder(base, changes(1.0), side).fingerprint != tuned.fingerprint


def test_a_memory_takes_it_once_it_was_encoded_anew(base, tmp_path) -> None:
    tuned = PassageTunedEncoder(base, changes(), "passage")
    with Memory(tmp_path / "a.db", encoder=base, policy=None) as memory:
        memory.add([{"id": str(i), "text": text} for i, text in enumerate(TEXTS)])
    with pytest.raises(EncoderMismatch):
        Memory(tmp_path / "a.db", encoder=tuned, policy=None)
    with Memory(tmp_path / "a.db", encoder=base, policy=None) as memory:
        memory.change_encoder(tuned)
    with Memory(tmp_path / "a.db", encoder=tuned, policy=None) as memory:
        query_vectors = memory._store.encode_queries(["river"])
        hits = memory.search("river", mode="dense")
    np.testing.assert_allclose(query_vectors, base.encode(["river"]), atol=1e-6)
    cosines = {text: float(query_vectors[0] @ tuned.encode([text])[0]) for text in TEXTS}
    for hit in hits:
        assert hit.score == pytest.approx(cosines[hit.passage.text], abs=1e-3)


@pytest.mark.parametrize("side", ["passage", "both"])
def test_what_was_saved_is_loaded_with_what_it_was_made_of(base, tiny_bert, tmp_path, side) -> None:
    tuned = PassageTunedEncoder(base, changes(), side)
    tuned.base_name, tuned.made_of = str(tiny_bert), {"sets": ["a"]}
    loaded = load_encoder(tuned.save(tmp_path / "tuned"))
    assert isinstance(loaded, PassageTunedEncoder)
    assert (loaded.fingerprint, loaded.side) == (tuned.fingerprint, side)
    assert (loaded.made_of, loaded.base_name) == ({"sets": ["a"]}, str(tiny_bert))
    np.testing.assert_array_equal(loaded.encode(TEXTS), tuned.encode(TEXTS))


def test_what_does_not_belong_together_is_refused(base, tiny_bert, tmp_path) -> None:
    tuned = PassageTunedEncoder(base, changes(), "passage")
    tuned.base_name = str(tiny_bert)
    folder = tuned.save(tmp_path / "tuned")
    card = json.loads((folder / CARD).read_text())
    (folder / CARD).write_text(json.dumps({**card, "base_fingerprint": "another"}))
    with pytest.raises(FormatError, match="its base or a file of it was changed"):
        PassageTunedEncoder.load(folder)
    (folder / CARD).write_text(json.dumps({**card, "format": "other"}))
    with pytest.raises(FormatError, match="should have the format"):
        PassageTunedEncoder.load(folder)
    with pytest.raises(FormatError, match="give another folder"):
        tuned.save(folder)
    (folder / CHANGES).unlink()
    with pytest.raises(FormatError, match="no passage side can be read"):
        PassageTunedEncoder.load(folder)
    with pytest.raises(InputError, match="side must be one of passage, both, got 'query'"):
        PassageTunedEncoder(base, changes(), "query")
    wrong = {"encoder.layer.9.output.dense": changes()[LAYER]}
    with pytest.raises(FormatError, match="do not fit their encoder"):
        PassageTunedEncoder(base, wrong, "both").encode(TEXTS)
