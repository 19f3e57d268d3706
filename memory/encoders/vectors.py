"""Vectors where they enter: from an encoder, from a file, from a cache.

Every score takes a vector to be finite and of length 1. What an encoder gives is therefore looked
at before it is stored, cached or searched with: another length is made 1, and what has no direction
(a value that is not finite, zeros) is refused. What is read back must be as it was written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hoptrail.errors import InputError
from hoptrail.types import Namespace

if TYPE_CHECKING:
    from hoptrail.memory.encoders.transformer import Encoder

Vectors = NDArray[np.float32]

ROUNDING = 1e-4
"""Up to which a length other than 1 is single precision's doing and left as it is."""

TINY = 1e-12
"""A shorter vector is none."""

NAMED = 60
"""Characters of a text that an error shows."""


def unit(vectors: Vectors) -> Vectors:
    """Vectors `(n, d)` of length 1; zeros stay zeros.

    Args:
        vectors: `(n, d)`.
    """
    lengths = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), TINY)
    return np.asarray(vectors / lengths, dtype=np.float32)


def checked_vectors(vectors: object, texts: Sequence[str], encoder: Encoder) -> Vectors:
    """What an encoder gave for some texts, as float32 vectors of length 1, `(n, d)`.

    Raises:
        InputError: It is no array of numbers of that shape, or a text's vector has no direction.
    """
    shape = (len(texts), encoder.dim)
    rows = numbers(vectors, f"the encoder {encoder.fingerprint}")
    if not len(texts) and not rows.size:
        return np.zeros(shape, dtype=np.float32)
    if rows.shape != shape:
        raise InputError(
            f"the encoder {encoder.fingerprint} should give {shape} vectors for {len(texts)} "
            f"texts, got shape {rows.shape}"
        )
    lengths, scaled = _lengths(rows)
    directed = np.isfinite(lengths) & (lengths > 0)
    if not directed.all():
        row = int(np.argmin(directed))
        what = "zeros only" if np.isfinite(rows[row]).all() else "a value that is not finite"
        raise InputError(
            f"the encoder {encoder.fingerprint} gave a vector with {what} for the text "
            f"{start_of(texts[row])}: a vector should be finite and not zero"
        )
    off = np.abs(lengths - 1) > ROUNDING
    if off.any():
        rows = np.where(off[:, None], scaled, rows)
    return np.ascontiguousarray(rows, dtype=np.float32)


def sound(rows: NDArray[np.floating[Any]]) -> bool:
    """Whether vectors `(m, d)` are finite and of length 1, as all are that were checked."""
    with np.errstate(over="ignore", invalid="ignore"):
        lengths = np.linalg.norm(rows.astype(np.float64), axis=1)
    return bool((np.abs(lengths - 1) <= 2 * ROUNDING).all())


def check_known(vectors: Mapping[tuple[Namespace, str], object], width: int | None) -> None:
    """Refuse what is not a passage's vectors, `(m, width)` or one `(width,)`, of length 1.

    Raises:
        InputError: One is something else.
    """
    for (_, id_), rows in vectors.items():
        whose = f"the vectors of passage {id_!r}"
        array = numbers(rows, whose)
        shaped = array.ndim in (1, 2) and array.size and width in (None, array.shape[-1])
        if not shaped or not sound(np.atleast_2d(array)):
            raise InputError(
                f"{whose} should be finite, of length 1 and {width or 'some'} numbers wide, "
                f"got the shape {array.shape}"
            )


def numbers(values: object, whose: str) -> NDArray[Any]:
    """An array of real numbers out of what may be an array, a list, or a tensor.

    Raises:
        InputError: It is none; `whose` opens the message.
    """
    tensor: Any = values
    try:
        if hasattr(tensor, "detach"):  # of torch, on whatever device and of whatever precision
            tensor = tensor.detach().float().cpu().numpy()
        rows = np.asarray(tensor)
        if rows.dtype == object:
            rows = rows.astype(np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        got = type(values).__name__
        raise InputError(f"{whose} should give an array of numbers, got {got}: {error}") from error
    if rows.dtype.kind not in "fiu" and rows.size:
        raise InputError(f"{whose} should give an array of numbers, got {rows.dtype} values")
    return rows


def start_of(text: str) -> str:
    """The beginning of a text, quoted, for an error."""
    return repr(text if len(text) <= NAMED else text[:NAMED] + "…")


def _lengths(rows: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lengths `(n,)` of rows, and the rows with length 1; NaN where there is no direction."""
    wide = rows.astype(np.float64)
    with np.errstate(all="ignore"):
        # By the largest value first: squares of large numbers are infinite, of small ones zero.
        peak = np.abs(wide).max(axis=1, initial=0.0)
        scaled = wide / peak[:, None]
        parts = np.linalg.norm(scaled, axis=1)
        lengths = np.minimum(parts * peak, np.finfo(np.float64).max)  # NaN stays
        return np.where(peak > 0, lengths, 0.0), scaled / parts[:, None]
