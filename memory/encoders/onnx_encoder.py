"""A transformer encoder in ONNX Runtime: for questions and rewritten queries, on a CPU.

It is made of an encoder's weights as they are in memory, and put into the cache folder under a hash
of all that it is made of, so that later processes open it without exporting. Where neither can be
written nor read, it is made anew by each process.

Its products are in 8 bits (see `hoptrail.memory.encoders.onnx_export`) where that keeps each sample
text's vector within a cosine of `BOUND` of the full encoder's, as with MiniLM; else in single
precision, which differs from PyTorch by rounding alone (`ROUNDING`). A model that keeps to neither
is not used.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hoptrail.errors import FormatError, InputError, StoreUnavailable
from hoptrail.memory.analysis.widths import plain_width
from hoptrail.memory.encoders.cache_file import cache_folder, write_whole
from hoptrail.memory.encoders.onnx_export import (
    INPUT,
    TOKENS,
    VECTOR,
    export_graph,
    fuse,
    quantize,
    split_tensors,
    write_metadata,
)
from hoptrail.memory.encoders.transformer import TransformerEncoder
from hoptrail.memory.encoders.vectors import Vectors
from hoptrail.memory.encoders.windowed import WindowedEncoder
from hoptrail.memory.encoders.windows import shared_tokenizer
from hoptrail.values.libraries import library_version

logger = logging.getLogger(__name__)

FORMAT = 3
"""Of the files; a change of the graphs or of their metadata makes it another."""

LARGE_TENSOR = 1 << 22
"""Bytes of a tensor that lies in a file of its own."""

SUFFIXES: Final = {"float32": "-onnx", "int8": "-onnx-int8"}
"""Behind the full encoder's fingerprint, by precision."""

BOUND = 0.99
"""Cosine with the full encoder's vector, at the least, for the products to be in 8 bits."""

ROUNDING = 1e-4
"""Difference of a component from the full encoder's, at the most, in single precision."""

SAMPLE = (
    "Who was the teacher of the composer of The Magic Flute?",
    "In which year did the second of the two bridges open?",
    "river",
    "47.27° N, 11.4° E; 1,204 m; +43 512 555-0199",
    "What does `git rebase --onto main topic~3 topic` do? It moved 3 commits, see #4711.",
    "The committee met on Tuesday, found the budget short by a third, and sent everybody home "
    "before the vote; minutes were taken by the youngest member, who had not been asked.",
    "Der Leuchtturm wurde 1867 gebaut.. 灯塔在海边。",
    "Which city is the author of the book about the lighthouse from? The lighthouse was built in "
    "1867 on an islet off the southern coast, and its first keeper wrote a diary. The diary was "
    "printed by his grandson, who had moved to the capital, and became a book that schools read. "
    "A film was made of it in 1954, with another ending: the lamp goes out, the ship is lost, and "
    "the keeper rows home in the fog. Critics praised the pictures and blamed the music.",
)
"""Texts by which an export is compared with what it was made of."""


class OnnxEncoder(WindowedEncoder):
    """An encoder that was exported to ONNX; itself an `Encoder`, with a fingerprint of its own.

    Each text is a pass on one thread, so that its vector does not depend on what else is encoded
    with it; several texts go side by side. Threads may share one.

    Args:
        model: A file that `export_encoder` made, or what stands in it.

    Raises:
        FormatError: It is none.
    """

    def __init__(self, model: Path | bytes) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # An export is fused already (`onnx_export.fuse`): to look through it again takes as long.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        source = str(model) if isinstance(model, Path) else model
        try:
            self._session = onnxruntime.InferenceSession(
                source, options, providers=["CPUExecutionProvider"]
            )
            facts: dict[str, str] = self._session.get_modelmeta().custom_metadata_map
            tokenizer, self._fingerprint = facts["tokenizer"], facts["fingerprint"]
            self._precision, max_length = facts["precision"], int(facts["max_length"])
        except Exception as error:  # ONNX Runtime's have no base of their own
            named = model if isinstance(model, Path) else f"{len(model)} bytes"
            raise FormatError(f"no ONNX encoder can be read from {named}: {error}") from error
        super().__init__(tokenizer, max_length)
        self._cutter = shared_tokenizer(tokenizer, max_length)
        self._dim = int(self._session.get_outputs()[0].shape[-1])

    @property
    def fingerprint(self) -> str:
        """That of the encoder that it was made of, with the precision behind it."""
        return self._fingerprint

    @property
    def dim(self) -> int:
        """The width of a vector."""
        return self._dim

    @property
    def precision(self) -> str:
        """`int8` or `float32`."""
        return self._precision

    def __repr__(self) -> str:
        return f"<OnnxEncoder {self._dim} dim, {self._precision}, {self._fingerprint}>"

    def _encode_short(self, texts: Sequence[str]) -> Vectors:
        encodings = self._cutter.encode_batch(plain_width(texts))
        rows = [row for [row] in self._passes(encodings, [VECTOR])]
        return np.concatenate([np.zeros((0, self._dim), dtype=np.float32), *rows])

    def encode_tokens(
        self, texts: Sequence[str]
    ) -> list[tuple[Vectors, NDArray[np.int64], Vectors]]:
        """For each text its token vectors `(t, d)`, their character spans `(t, 2)` and its vector.

        As `TransformerEncoder.encode_tokens`, in this precision.

        Args:
            texts: n of them, of any length.

        Raises:
            InputError: The texts are one string.
        """
        if isinstance(texts, str):
            raise InputError("encode takes a list of texts, not one string")
        encodings = self._cutter.encode_batch(plain_width(texts))
        outputs = self._passes(encodings, [VECTOR, TOKENS])
        tokens: list[tuple[Vectors, NDArray[np.int64], Vectors]] = []
        for encoding, [[vector], [hidden]] in zip(encodings, outputs, strict=True):
            offsets = np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2)
            content = offsets[:, 1] > offsets[:, 0]
            tokens.append((hidden[content], offsets[content], vector))
        return tokens

    def _passes(self, encodings: Sequence[Any], outputs: list[str]) -> list[Any]:
        """Those outputs of a pass over each tokenised text, side by side where there are cores."""

        def run(encoding: Any) -> Any:
            ids = np.asarray([encoding.ids], dtype=np.int64)
            return self._session.run(outputs, {INPUT: ids})

        threads = min(_cores(), len(encodings))
        if threads < 2:
            return [run(encoding) for encoding in encodings]
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(run, encodings))


def onnx_installed() -> bool:
    """Whether an encoder can be exported and run: both packages of the `onnx` extra are there."""
    return all(importlib.util.find_spec(name) is not None for name in ("onnx", "onnxruntime"))


def open_exported(encoder: TransformerEncoder, *, folder: Path | None = None) -> OnnxEncoder | None:
    """An encoder's export: from the cache folder, or made now and put there.

    Args:
        encoder: Any transformer encoder; its weights are taken as they are in memory.
        folder: Where exports lie; `onnx` in the cache folder by default.

    Returns:
        None where the model cannot be exported, or what was exported gives other vectors. A warning
        says so.
    """
    file = _export_file(encoder, folder)
    if file is not None and file.is_file():
        try:
            return OnnxEncoder(file)
        except FormatError as error:
            logger.warning("an exported encoder is made anew: %s", error)
    logger.info(
        "an encoder is prepared for questions, once for this machine; this takes some seconds"
    )
    try:
        content = export_encoder(encoder)
    except Exception as error:  # whatever an exporter raises of an architecture that it cannot do
        logger.warning("%r is not run in ONNX Runtime: %s", encoder, error)
        return None
    if file is not None:
        _write_export(file, content)
    return OnnxEncoder(content)


def _write_export(file: Path, content: bytes) -> None:
    """Put an export in its place, and its largest tensors beside it, where they are shared."""
    graph, tensors = split_tensors(content, LARGE_TENSOR)
    for name, tensor in tensors.items():
        place = file.with_name(name)
        if not place.is_file() or place.stat().st_size != len(tensor):
            write_whole(place, tensor)
    write_whole(file, graph)


def export_encoder(encoder: TransformerEncoder) -> bytes:
    """An encoder as an ONNX file: in 8 bits if these keep to the bound, else in single precision.

    Args:
        encoder: Any transformer encoder.

    Raises:
        FormatError: Even in single precision its vectors are not the encoder's.
    """
    model = encoder.model
    expected = encoder.encode(SAMPLE)
    graph = export_graph(model)
    facts = {"tokenizer": encoder.tokenizer_json, "max_length": str(model.max_length)}

    def content(precision: str) -> bytes:
        named = {"fingerprint": encoder.fingerprint + SUFFIXES[precision], "precision": precision}
        result = fuse(quantize(graph) if precision == "int8" else graph)
        write_metadata(result, facts | named)
        return bytes(result.SerializeToString())

    rounded = content("int8")
    if (OnnxEncoder(rounded).encode(SAMPLE) * expected).sum(axis=1).min() >= BOUND:
        return rounded
    exact = content("float32")
    difference = np.abs(OnnxEncoder(exact).encode(SAMPLE) - expected).max()
    if difference > ROUNDING:
        raise FormatError(
            f"the export of {encoder!r} differs from it by {difference:.1e}, "
            f"{ROUNDING:.0e} is allowed"
        )
    return exact


def _export_file(encoder: TransformerEncoder, folder: Path | None) -> Path | None:
    """Where an encoder's export lies; None where there is no place for one.

    Its name is a hash of what the export is made of: weights and architecture, tokeniser, and the
    libraries that trace and round.
    """
    parts = [
        str(FORMAT),
        encoder.fingerprint,
        encoder.record.config,
        encoder.tokenizer_json,
        *(library_version(name) for name in ("torch", "transformers", "onnx", "onnxruntime")),
    ]
    name = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
    try:
        return (folder or cache_folder() / "onnx") / f"{name}.onnx"
    except StoreUnavailable:
        return None


def _cores() -> int:
    """Texts that go side by side: the cores that this process may use."""
    limit = os.environ.get("OMP_NUM_THREADS", "")
    if limit.isdecimal() and int(limit):
        return int(limit)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
