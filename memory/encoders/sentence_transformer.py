"""Any model of the sentence-transformers library, with its prompts, poolings and further layers.

Models such as E5, BGE and Qwen3 Embedding are trained with an instruction before each text, one for
queries and one for passages. The encoder here is the passages' side; its `query_side` is the
other, and what asks takes it (`hoptrail.memory.encoders.query_side`). Some are trained so that the
first numbers of a vector do as a shorter one (`truncate_dim`; Kusupati et al. 2022, 2205.13147).

`TransformerEncoder` runs models without all that, starts sooner, and gives vectors of tokens.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from hoptrail.errors import ConfigError, FormatError, MissingExtra
from hoptrail.memory import forks
from hoptrail.memory.analysis.widths import plain_width
from hoptrail.memory.encoders.vectors import Vectors
from hoptrail.memory.encoders.windowed import WindowedEncoder
from hoptrail.memory.encoders.windows import tokenizer_of
from hoptrail.values.numbers import whole

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

PASSAGE_PROMPTS = ("document", "passage", "corpus")
"""Names under which a model may have a prompt for passages; the first that it has is taken."""


class LoadedModel:
    """A `SentenceTransformer` that threads may share: its tokeniser may not, and is used in turn.

    Args:
        model: The model.
        batch_size: Texts a forward pass.
        truncate_dim: Numbers of a vector that are used; all by default.
    """

    def __init__(
        self, model: SentenceTransformer, batch_size: int, truncate_dim: int | None
    ) -> None:
        self.model = model
        self.batch_size = batch_size
        self.truncate_dim = truncate_dim
        self._lock = Lock()
        forks.register(self)

    def encode(self, texts: Sequence[str], prompt: str, task: str) -> Vectors:
        """The vectors of texts with a prompt before each, `(n, d)`, L2-normalised.

        Args:
            texts: n of them.
            prompt: Perhaps empty.
            task: Which way a model with several takes: `query` or `document`.
        """
        if not texts:
            return np.zeros((0, self.width()), dtype=np.float32)
        with self._lock:
            vectors = self.model.encode(
                plain_width(texts),
                prompt=prompt,
                batch_size=self.batch_size,
                show_progress_bar=False,
                normalize_embeddings=True,
                truncate_dim=self.truncate_dim,
                task=task,
            )
        return np.asarray(vectors, dtype=np.float32)

    def width(self) -> int:
        """The width of a vector."""
        width = int(self.model.get_embedding_dimension() or 0)
        return min(width, self.truncate_dim or width)

    def digest(self) -> str:
        """Hash of the weights and settings of all modules, and of what is left of a vector."""
        digest = hashlib.sha256(f"{self.width()} {self.model.max_seq_length}".encode())
        for part in self._settings():
            digest.update(hashlib.sha256(part.encode()).digest())
        for name, tensor in sorted(self.model.state_dict().items()):
            digest.update(name.encode())
            data = tensor.detach().cpu().contiguous().reshape(-1)
            digest.update(_bytes_of(data))
        return digest.hexdigest()

    def _settings(self) -> Iterator[str]:
        for module in self.model:
            settings: Any = getattr(module, "get_config_dict", dict)()
            network = getattr(module, "auto_model", None)
            yield json.dumps([type(module).__name__, settings], sort_keys=True, default=str)
            yield network.config.to_json_string() if network is not None else ""
        yield tokenizer_json_of(self.model)

    def _forked(self, *, whole: bool) -> None:
        """Let go of a lock that no thread of a forked child holds; see `hoptrail.memory.forks`."""
        self._lock = Lock()


class PromptedEncoder(WindowedEncoder):
    """One side of a model: an `Encoder` with one prompt before every text.

    Args:
        loaded: The model.
        prompt: Perhaps empty.
        task: `query` or `document`.

    Raises:
        FormatError: The model has no tokeniser by which tokens could be counted.
        ConfigError: The prompt leaves no room for a text.
    """

    def __init__(self, loaded: LoadedModel, prompt: str, task: str) -> None:
        self._loaded, self._prompt, self._task = loaded, prompt, task
        super().__init__(tokenizer_json_of(loaded.model), _max_length(loaded.model))
        if prompt and self._window is not None:
            self._window -= self.count_tokens([prompt])[0]
            if self._window < 1:
                raise ConfigError(
                    f"the prompt {prompt!r} should leave room in the {loaded.model.max_seq_length} "
                    "tokens that the model reads, and fills them"
                )
        self._dim = loaded.width()
        named = f"{task} {prompt}".encode("utf-8", "surrogatepass")
        self._fingerprint = hashlib.sha256(loaded.digest().encode() + named).hexdigest()[:16]

    @property
    def fingerprint(self) -> str:
        """Hash of weights, settings and prompt."""
        return self._fingerprint

    @property
    def dim(self) -> int:
        """The width of a vector."""
        return self._dim

    @property
    def prompt(self) -> str:
        """What stands before every text."""
        return self._prompt

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._dim} dim, {self._prompt!r}, {self._fingerprint}>"

    def _encode_short(self, texts: Sequence[str]) -> Vectors:
        return self._loaded.encode(texts, self._prompt, self._task)


class SentenceTransformerEncoder(PromptedEncoder):
    """A model of the library sentence-transformers, for passages; `query_side` is for queries.

    Args:
        model: A folder, a name that the hub knows, or a loaded `SentenceTransformer`.
        query_prompt: Stands before every query; by default the model's own prompt `query`, if any,
            as `SentenceTransformer.encode_query` does it.
        passage_prompt: Stands before every passage; by default the model's own prompt `document`,
            `passage` or `corpus`, as `encode_document` does it.
        truncate_dim: Numbers of a vector that are used, at most the model's width; all by default,
            or as many as the model says.
        device: Where to run a model that is loaded here; CUDA when there is one, else the CPU.
        batch_size: Texts a forward pass.

    Raises:
        MissingExtra: sentence-transformers is not installed.
        FormatError: No model could be loaded, or it has no tokeniser to count tokens with.
        ConfigError: `truncate_dim` is none, or a prompt leaves no room for a text.
    """

    def __init__(
        self,
        model: str | Path | SentenceTransformer,
        *,
        query_prompt: str | None = None,
        passage_prompt: str | None = None,
        truncate_dim: int | None = None,
        device: str | None = None,
        batch_size: int = 32,
    ) -> None:
        network = load_sentence_transformer(model, device)
        if truncate_dim is None:
            truncate_dim = network.truncate_dim
        else:
            widest = int(network.get_embedding_dimension() or 0)
            truncate_dim = whole(
                truncate_dim, "truncate_dim", least=1, most=widest, error=ConfigError
            )
        loaded = LoadedModel(network, batch_size, truncate_dim)
        own = network.prompts or {}
        if query_prompt is None:
            query_prompt = own.get("query") or ""
        if passage_prompt is None:
            passage_prompt = next((own[name] for name in PASSAGE_PROMPTS if name in own), None)
        super().__init__(loaded, passage_prompt or "", "document")
        self._query_side = PromptedEncoder(loaded, query_prompt, "query")

    @property
    def query_side(self) -> PromptedEncoder:
        """What encodes queries whose vectors are compared with these."""
        return self._query_side


def load_sentence_transformer(
    model: str | Path | SentenceTransformer, device: str | None
) -> SentenceTransformer:
    """A model of sentence-transformers, loaded where it is not yet.

    Raises:
        MissingExtra: The library is not installed.
        FormatError: No model could be loaded.
    """
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise MissingExtra(
            "this encoder is run by the library sentence-transformers, which is not installed",
            "sentence-transformers",
        ) from error
    if isinstance(model, SentenceTransformer):
        return model
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    try:
        return SentenceTransformer(str(model), device=device)
    except (OSError, ValueError, KeyError, TypeError, ImportError) as error:
        raise FormatError(f"no encoder could be loaded from {str(model)!r}: {error}") from error


def tokenizer_json_of(model: SentenceTransformer) -> str:
    """A model's tokeniser, as the library `tokenizers` writes it; what it does last is left out.

    Raises:
        FormatError: It has none of that library.
    """
    tokenizer: Any = getattr(model, "tokenizer", None)
    backend = getattr(tokenizer, "backend_tokenizer", tokenizer)
    if not hasattr(backend, "to_str"):
        raise FormatError(
            f"a model should have a tokeniser of the library tokenizers to count tokens with, "
            f"got {type(tokenizer).__name__}"
        )
    return str(tokenizer_of(backend.to_str()).to_str())


def _max_length(model: SentenceTransformer) -> int | None:
    """Tokens that one pass reads; None where there is no limit."""
    limit = model.max_seq_length
    return None if limit is None or not 0 < limit < 1e9 else int(limit)


def _bytes_of(data: Any) -> bytes:
    """The bytes of a flat tensor of any type; NumPy has no bfloat16."""
    import torch

    return bytes(data.view(torch.uint8).numpy().tobytes())
