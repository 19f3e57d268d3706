"""A learned sparse encoder: what weight each term of the vocabulary has in a passage, and asked.

A passage goes through a network that gives weights to the terms that it says and to some that it
does not (expansion); a question goes through none: each of its terms has one learned weight. With
h_t the vector of the passage's token t, e_j the embedding of the term j in the same network,
normalised, and learned W, b and u:

    p_j = log(1 + max(0, max over t of  (W h_t) . e_j + b_j))
    score(q, p) = sum over the different terms j of q of  u_j p_j

Terms are those of the network's tokeniser. A long passage has the highest weight of its windows.

Source: Formal et al. 2021, SPLADE v2 (arXiv:2109.10086), its passages alone and max pooling;
questions by a table, Geng et al. 2024 (arXiv:2411.04403). `hoptrail encoder tune --kind sparse`
trains one. A folder holds `sparse-encoder.safetensors` (changes of low rank to the network, and W,
b and u) and `sparse-encoder.json` (which encoder they belong to, and what they were made of).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hoptrail.errors import FormatError
from hoptrail.memory.analysis.widths import plain_width
from hoptrail.memory.encoders.model_folder import check_own_folder, save_with_card
from hoptrail.memory.encoders.transformer import TransformerEncoder, minilm
from hoptrail.memory.encoders.tuned.factor_tensors import factor_tensors, factors_of
from hoptrail.memory.encoders.tuned.query_tuned import LowRankEncoder
from hoptrail.memory.encoders.windows import shared_tokenizer, windows_of

FORMAT = "hoptrail-sparse-encoder-1"
WEIGHTS, CARD = "sparse-encoder.safetensors", "sparse-encoder.json"
HEAD = ("dense", "bias", "query")
"""The tensors beside the changes: W `(d, d)`, b `(v,)` and u `(v,)`."""

MOST_TERMS = 256
"""Terms of a passage, at most: those of the highest weight."""

Floats = NDArray[np.float32]
Terms = tuple[NDArray[np.int32], Floats]
"""Terms `(n,)`, ascending, and their weights, above zero."""


class SparseEncoder:
    """Weights of terms, for passages and questions.

    Args:
        base: The encoder whose network is changed; it stays as it is.
        changes: Of the network's layers: A `(rank, in)` and B `(out, rank)`, by name.
        head: W, b and u, by the names in `HEAD`.

    Attributes:
        base_name: How to load the base again: a folder or a hub's name; None for MiniLM.
        made_of: What it was trained on, which is written beside it; JSON values.

    Raises:
        FormatError: The head is of another network.
    """

    def __init__(
        self,
        base: TransformerEncoder,
        changes: Mapping[str, tuple[NDArray[np.float16], NDArray[np.float16]]],
        head: Mapping[str, Floats],
    ) -> None:
        self.base = base
        self.base_name: str | None = None
        self.made_of: dict[str, Any] = {}
        self._changes, self._head = dict(changes), {name: head[name] for name in HEAD}
        digest = hashlib.sha256(base.fingerprint.encode())
        for name, tensor in sorted(self._tensors().items()):
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(tensor).tobytes())
        self.fingerprint = digest.hexdigest()[:16]
        self._network = LowRankEncoder(base, self._changes, self.fingerprint)
        self._embeddings: Floats | None = None
        width, terms = base.dim, len(self._head["bias"])
        if self._head["dense"].shape != (width, width) or self._head["query"].shape != (terms,):
            raise FormatError(
                f"the head of a sparse encoder should have the shapes {(width, width)} and two "
                f"times ({terms},), got {[one.shape for one in self._head.values()]}"
            )

    def __repr__(self) -> str:
        return f"<SparseEncoder {len(self._head['query'])} terms, {self.fingerprint}>"

    @property
    def size(self) -> int:
        """The number of weights that were trained."""
        return sum(tensor.size for tensor in self._tensors().values())

    def query_terms(self, text: str) -> Terms:
        """The terms of a question, each once, with their weights.

        Args:
            text: The question; no network reads it.
        """
        tokenizer = shared_tokenizer(self.base.record.tokenizer)
        (encoding,) = tokenizer.encode_batch(plain_width([text]), add_special_tokens=False)
        terms = np.unique(np.asarray(encoding.ids, dtype=np.int32))
        weights = self._head["query"][terms]
        return terms[weights > 0], weights[weights > 0]

    def passage_terms(self, texts: Sequence[str]) -> list[Terms]:
        """The terms of passages with their weights.

        Args:
            texts: n of them, of any length.
        """
        long = windows_of(self.base, texts)
        parts = [long.get(row, [text]) for row, text in enumerate(texts)]
        encoded = iter(self._network.encode_tokens([text for part in parts for text in part]))
        return [self._pooled([next(encoded)[0] for _ in part]) for part in parts]

    def _pooled(self, windows: Sequence[Floats]) -> Terms:
        """The terms of a passage's windows, of token vectors `(t, d)` each."""
        best = np.zeros(len(self._head["bias"]), dtype=np.float32)
        for tokens in windows:
            if len(tokens):
                logits = tokens @ self._head["dense"].T @ self._table().T
                np.maximum(best, logits.max(axis=0) + self._head["bias"], out=best)
        weights = np.log1p(best)
        terms = np.flatnonzero(weights)
        if len(terms) > MOST_TERMS:
            terms = np.sort(terms[np.argsort(-weights[terms], kind="stable")[:MOST_TERMS]])
        return terms.astype(np.int32), weights[terms]

    def _table(self) -> Floats:
        """The embeddings of all terms, normalised."""
        if self._embeddings is None:
            network = self.base.model.network
            self._embeddings = term_embeddings(network).cpu().numpy()
            if len(self._embeddings) != len(self._head["bias"]):
                raise FormatError(
                    f"the head of a sparse encoder should be of {len(self._embeddings)} terms, got "
                    f"{len(self._head['bias'])}"
                )
        return self._embeddings

    def _tensors(self) -> dict[str, NDArray[Any]]:
        """All that is learned, by the names in a file."""
        return {**factor_tensors(self._changes), **self._head}

    def save(self, folder: str | Path) -> Path:
        """Write it to a folder, which is made where it is absent; the folder.

        Args:
            folder: One that holds another model's file of these names is refused.

        Raises:
            FormatError: It cannot be written.
        """
        from safetensors.numpy import save_file

        where = Path(folder)
        check_sparse_folder(where)
        card = {
            "format": FORMAT,
            "base": self.base_name,
            "base_fingerprint": self.base.fingerprint,
            "fingerprint": self.fingerprint,
            "made_of": self.made_of,
        }
        tensors = {name: np.ascontiguousarray(each) for name, each in self._tensors().items()}
        return save_with_card(
            where, (CARD, WEIGHTS), card, lambda file: save_file(tensors, file), "sparse encoder"
        )

    @classmethod
    def load(cls, folder: str | Path) -> SparseEncoder:
        """What `save` wrote to a folder, with its base.

        Args:
            folder: As `save` or `hoptrail encoder tune --kind sparse` wrote it.

        Raises:
            FormatError: The folder holds none, a file is damaged, or the base is another one now.
            MissingExtra: The base is MiniLM, which is not installed.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        where = Path(folder)
        try:
            card = json.loads((where / CARD).read_text(encoding="utf-8"))
            layout, name = card["format"], card["base"]
            expected = card["base_fingerprint"], card["fingerprint"]
            tensors = load_file(where / WEIGHTS)
            changes, head = factors_of(tensors), {one: tensors[one] for one in HEAD}
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise FormatError(f"no sparse encoder can be read from {where}: {error}") from error
        if layout != FORMAT:
            raise FormatError(f"{where / CARD} should have the format {FORMAT!r}, got {layout!r}")
        encoder = cls(minilm() if name is None else TransformerEncoder(name), changes, head)
        encoder.base_name, encoder.made_of = name, card.get("made_of") or {}
        loaded = encoder.base.fingerprint, encoder.fingerprint
        if loaded != expected:
            raise FormatError(
                f"the sparse encoder in {where} should have the fingerprints {expected}, got "
                f"{loaded}: its base or a file of it was changed"
            )
        return encoder


def term_embeddings(network: Any) -> Any:
    """The embeddings of a network's terms `(v, d)`, less their mean and L2-normalised.

    Args:
        network: A model of `transformers`.
    """
    weights = network.get_input_embeddings().weight.detach().float()
    centred = weights - weights.mean(0)
    return centred / centred.norm(dim=1, keepdim=True).clamp(min=1e-6)


def check_sparse_folder(folder: Path) -> None:
    """Refuse a folder in which a sparse encoder's files would replace somebody else's.

    Args:
        folder: It need not be there.

    Raises:
        FormatError: It holds such a file.
    """
    check_own_folder(folder, FORMAT, (CARD, WEIGHTS), "sparse encoder")
