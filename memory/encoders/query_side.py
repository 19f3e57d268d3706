"""What encodes questions and rewritten queries, beside the encoder of the passages."""

from __future__ import annotations

from weakref import WeakKeyDictionary

from hoptrail.memory import forks
from hoptrail.memory.encoders.onnx_encoder import (
    SUFFIXES,
    OnnxEncoder,
    onnx_installed,
    open_exported,
)
from hoptrail.memory.encoders.transformer import Encoder, TransformerEncoder

_exported: WeakKeyDictionary[TransformerEncoder, OnnxEncoder | None]
_exported = WeakKeyDictionary()  # only with `forks.loading` held; None where there is no export


def query_side(encoder: Encoder) -> Encoder:
    """What encodes queries to be compared with an encoder's passages; mostly itself.

    An encoder that puts another prompt before queries than before passages names one by its
    attribute `query_side`, as `SentenceTransformerEncoder` does.

    Args:
        encoder: The passages'.
    """
    side: Encoder | None = getattr(encoder, "query_side", None)
    return encoder if side is None else side


def for_questions(encoder: Encoder) -> Encoder:
    """What encodes questions and rewritten queries on a walk: the quickest there is.

    For a transformer on a CPU that is its export to ONNX Runtime, where the `onnx` extra is
    installed; it is made once for each encoder, of the weights that this has in memory. Any other
    encoder's query side stands for itself.

    Args:
        encoder: The memory's, or another whose vectors are compared with its own.
    """
    encoder = query_side(encoder)
    if not isinstance(encoder, TransformerEncoder) or encoder.device != "cpu":
        return encoder
    with forks.loading:
        if encoder not in _exported:
            _exported[encoder] = open_exported(encoder) if onnx_installed() else None
        return _exported[encoder] or encoder


def family(encoder: Encoder) -> str:
    """The fingerprint of the encoder, or of the one that it was exported from.

    Args:
        encoder: Any.
    """
    name = encoder.fingerprint
    for suffix in sorted(SUFFIXES.values(), key=len, reverse=True):
        name = name.removesuffix(suffix)
    return name
