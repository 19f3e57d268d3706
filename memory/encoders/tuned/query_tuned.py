"""An encoder whose query side was trained: passages as before, queries by changed weights.

The vectors of a memory stay, and so does the encoder's fingerprint; only what asks is another
(`hoptrail.memory.encoders.query_side`). What trains it is `hoptrail encoder tune`.

Each changed layer has its weight W made W + s B A, a change of low rank with s = 2 / √rank.
Source: Hu et al. 2021, "LoRA" (arXiv:2106.09685); s, Kalajdzievski 2023 (arXiv:2312.03732).
`hoptrail.learning.low_rank` trains A and B.

A folder holds `query-tuned.safetensors` (the changes, in half precision) and `query-tuned.json`
(which encoder they belong to, and what they were made of).
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hoptrail.errors import FormatError
from hoptrail.memory.encoders.model_folder import check_own_folder, save_with_card
from hoptrail.memory.encoders.transformer import TransformerEncoder, TransformerModel, minilm
from hoptrail.memory.encoders.tuned.factor_tensors import factor_tensors, factors_of
from hoptrail.memory.encoders.vectors import Vectors

if TYPE_CHECKING:
    from torch import Tensor

    Factors = Mapping[str, tuple[Tensor, Tensor]]
    """A `(rank, in)` and B `(out, rank)` of each changed layer, by its name in the network."""

FORMAT = "hoptrail-query-tuned-1"
CHANGES, CARD = "query-tuned.safetensors", "query-tuned.json"
SCALE = 2.0
"""s, but for the square root of the rank."""


class QueryTunedEncoder:
    """A transformer encoder with a trained query side; an `Encoder` like any other.

    Args:
        base: Encodes the passages. It stays as it is.
        factors: The changes, by layer. They are rounded to half precision, as they are in a file.

    Attributes:
        base_name: How to load the base again: a folder or a hub's name; None for MiniLM.
        made_of: What it was trained on, which is written beside it; JSON values.

    Raises:
        FormatError: The changes are of another network.
    """

    def __init__(
        self,
        base: TransformerEncoder,
        factors: Factors,
    ) -> None:
        self.base = base
        self.base_name: str | None = None
        self.made_of: dict[str, Any] = {}
        self._factors = {name: (a.half(), b.half()) for name, (a, b) in factors.items()}
        self.query_side  # noqa: B018  (what does not fit is refused here)

    def __repr__(self) -> str:
        return f"<QueryTunedEncoder {self.dim} dim, {self.fingerprint}, {self.size:,} changed>"

    @property
    def fingerprint(self) -> str:
        """The base's: the vectors of passages are the same."""
        return self.base.fingerprint

    @property
    def dim(self) -> int:
        """The width d of a vector."""
        return self.base.dim

    @property
    def window(self) -> int | None:
        """Tokens of content that one pass reads; None for no limit."""
        return self.base.window

    @property
    def size(self) -> int:
        """The number of weights of the changes."""
        return sum(a.numel() + b.numel() for a, b in self._factors.values())

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """How many tokens of content each text has.

        Args:
            texts: n of them, of any length.
        """
        return self.base.count_tokens(texts)

    def encode(self, texts: Sequence[str]) -> Vectors:
        """The vectors of passages, `(n, d)` float32, L2-normalised; queries go to `query_side`.

        Args:
            texts: n of them, of any length; perhaps none.

        Raises:
            InputError: The texts are one string.
        """
        return self.base.encode(texts)

    @cached_property
    def query_side(self) -> TransformerEncoder:
        """What encodes queries: the base with the changes added to its weights."""
        network = copy.deepcopy(self.base.model.network)
        try:
            merge_low_rank(
                network, {name: (a.float(), b.float()) for name, (a, b) in self._factors.items()}
            )
        except ValueError as error:
            raise FormatError(f"the query side does not fit its encoder: {error}") from error
        return TransformerEncoder(
            replace(self.base.model, network=network), device=self.base.device
        )

    def described(self, made_of: Mapping[str, Any], base_name: str | None) -> QueryTunedEncoder:
        """The same encoder with what it was made of, and how to load its base again.

        Args:
            made_of: JSON values.
            base_name: A folder or a hub's name; None for MiniLM.
        """
        other = copy.copy(self)
        other.made_of, other.base_name = dict(made_of), base_name
        return other

    def save(self, folder: str | Path) -> Path:
        """Write the query side to a folder, which is made where it is absent; the folder.

        Args:
            folder: One that holds another model's file of these names is refused.

        Raises:
            FormatError: It cannot be written.
        """
        from safetensors.torch import save_file

        where = Path(folder)
        check_tuned_folder(where)
        tensors = {n: each.contiguous() for n, each in factor_tensors(self._factors).items()}
        card = {
            "format": FORMAT,
            "base": self.base_name,
            "fingerprint": self.fingerprint,
            "query_fingerprint": self.query_side.fingerprint,
            "made_of": self.made_of,
        }
        return save_with_card(
            where, (CARD, CHANGES), card, lambda file: save_file(tensors, file), "encoder"
        )

    @classmethod
    def load(cls, folder: str | Path) -> QueryTunedEncoder:
        """The encoder that `save` wrote to a folder, with its base.

        Args:
            folder: As `save` or `hoptrail encoder tune` wrote it.

        Raises:
            FormatError: The folder holds none, a file is damaged, or the base is another one now.
            MissingExtra: The base is MiniLM, which is not installed.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        where = Path(folder)
        try:
            card = json.loads((where / CARD).read_text(encoding="utf-8"))
            layout, name = card["format"], card["base"]
            fingerprints = card["fingerprint"], card["query_fingerprint"]
            tensors = load_file(where / CHANGES)
            factors = factors_of(tensors)
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise FormatError(f"no query side can be read from {where}: {error}") from error
        if layout != FORMAT or len(tensors) != 2 * len(factors):
            raise FormatError(f"{where / CARD} should have the format {FORMAT!r}, got {layout!r}")
        base = minilm() if name is None else TransformerEncoder(name)
        encoder = cls(base, factors).described(card.get("made_of") or {}, name)
        loaded = encoder.fingerprint, encoder.query_side.fingerprint
        if loaded != fingerprints:
            raise FormatError(
                f"the query side in {where} should have the fingerprints {fingerprints}, got "
                f"{loaded}: its encoder or a file of it was changed"
            )
        return encoder


class LowRankEncoder(TransformerEncoder):
    """An encoder with changes added to its weights, once these are needed.

    Args:
        base: The encoder, which stays as it is.
        factors: The changes: a `(rank, in)` and b `(out, rank)` of each layer, by its name.
        fingerprint: What names base and changes together.
    """

    def __init__(
        self,
        base: TransformerEncoder,
        factors: Mapping[str, tuple[NDArray[np.float16], NDArray[np.float16]]],
        fingerprint: str,
    ) -> None:
        self.base, self._changes = base, factors
        self._set_up(None, replace(base.record, fingerprint=fingerprint), base.device)

    def _load(self) -> TransformerModel:
        """The base's model with the changes.

        Raises:
            FormatError: They are of another network.
        """
        import torch

        model = self.base.model
        network = copy.deepcopy(model.network)
        try:
            merge_low_rank(
                network,
                {
                    name: (torch.from_numpy(a).float(), torch.from_numpy(b).float())
                    for name, (a, b) in self._changes.items()
                },
            )
        except ValueError as error:
            raise FormatError(f"the changes do not fit their encoder: {error}") from error
        return replace(model, network=network)


def check_tuned_folder(folder: Path) -> None:
    """Refuse a folder in which the query side's files would replace somebody else's.

    Args:
        folder: It need not be there.

    Raises:
        FormatError: It holds such a file.
    """
    check_own_folder(folder, FORMAT, (CARD, CHANGES), "query side")


def low_rank_change(a: Tensor, b: Tensor) -> Tensor:
    """What is added to a weight, `(out, in)`.

    Args:
        a: `(rank, in)`.
        b: `(out, rank)`.
    """
    return (b @ a) * (SCALE / math.sqrt(len(a)))


def merge_low_rank(network: Any, factors: Factors) -> None:
    """Add changes to the weights of a network for good.

    Args:
        network: A PyTorch module, changed in place.
        factors: The changes; see `Factors`.

    Raises:
        ValueError: The network has no such layer, or one of another shape.
    """
    import torch

    weights = dict(network.named_parameters())
    with torch.no_grad():
        for name, (a, b) in factors.items():
            weight = weights.get(f"{name}.weight")
            if weight is None or weight.shape != (len(b), a.shape[1]) or b.shape[1] != len(a):
                raise ValueError(
                    f"the network has no weight {name}.weight that a change of "
                    f"{tuple(b.shape)} by {tuple(a.shape)} fits"
                )
            weight.add_(low_rank_change(a, b).to(weight))
