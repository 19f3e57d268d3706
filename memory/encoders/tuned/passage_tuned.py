"""An encoder whose passage side was trained, alone or together with its query side.

Passages get other vectors, and so the encoder has another fingerprint: a memory is encoded anew by
`hoptrail encoder reencode`. Questions are encoded by the base where the passage side alone was
trained, and by the same changed weights where both were.

Changes are of low rank (`hoptrail.memory.encoders.tuned.query_tuned`). A folder holds them in half
precision (`passage-tuned.safetensors`) with `passage-tuned.json`: which encoder they belong to,
which side they are of, and what they were made of.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray

from hoptrail.errors import FormatError
from hoptrail.memory.encoders.model_folder import check_own_folder, save_with_card
from hoptrail.memory.encoders.transformer import TransformerEncoder, minilm
from hoptrail.memory.encoders.tuned.factor_tensors import factor_tensors, factors_of
from hoptrail.memory.encoders.tuned.query_tuned import LowRankEncoder
from hoptrail.values.strings import check_choice

FORMAT = "hoptrail-passage-tuned-1"
CHANGES, CARD = "passage-tuned.safetensors", "passage-tuned.json"

TunedSide = Literal["passage", "both"]
"""What goes through the changed weights: passages, or passages and questions."""

Changes = Mapping[str, tuple[NDArray[np.float16], NDArray[np.float16]]]
"""A `(rank, in)` and B `(out, rank)` of each changed layer, by its name in the network."""


class PassageTunedEncoder(LowRankEncoder):
    """A transformer encoder with changes added to the weights that passages go through.

    Args:
        base: The encoder before training, which stays as it is.
        changes: By layer.
        side: Whether questions go through them too.

    Attributes:
        base_name: How to load the base again: a folder or a hub's name; None for MiniLM.
        made_of: What it was trained on, which is written beside it; JSON values.

    Raises:
        InputError: There is no such side.
    """

    files: ClassVar[tuple[str, str]] = (CARD, CHANGES)
    layout: ClassVar[str] = FORMAT
    part: ClassVar[str] = "passage side"
    """What was trained, for messages."""

    def __init__(self, base: TransformerEncoder, changes: Changes, side: TunedSide) -> None:
        check_choice(side, get_args(TunedSide), "side")
        self.side = side
        self.base_name: str | None = None
        self.made_of: dict[str, Any] = {}
        # Of the changes as they are, not of the sums: those may differ in a last bit elsewhere.
        digest = hashlib.sha256(base.fingerprint.encode())
        for name in sorted(changes):
            digest.update(name.encode())
            for factor in changes[name]:
                digest.update(np.ascontiguousarray(factor).tobytes())
        super().__init__(base, changes, digest.hexdigest()[:16])

    @property
    def query_side(self) -> TransformerEncoder | None:
        """What encodes queries: the base, or None for the encoder itself."""
        return self.base if self.side == "passage" else None

    @property
    def size(self) -> int:
        """The number of weights of the changes."""
        return sum(a.size + b.size for a, b in self._changes.values())

    def save(self, folder: str | Path) -> Path:
        """Write the changes to a folder, which is made where it is absent; the folder.

        Args:
            folder: One that holds another model's file of these names is refused.

        Raises:
            FormatError: It cannot be written.
        """
        from safetensors.numpy import save_file

        where = Path(folder)
        self.check_folder(where)
        tensors = {
            name: np.ascontiguousarray(factor)
            for name, factor in factor_tensors(self._changes).items()
        }
        card = {
            "format": self.layout,
            "side": self.side,
            "base": self.base_name,
            "base_fingerprint": self.base.fingerprint,
            "fingerprint": self.fingerprint,
            "made_of": self.made_of,
        }
        return save_with_card(
            where, self.files, card, lambda file: save_file(tensors, file), "encoder"
        )

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """The encoder that `save` wrote to a folder, with its base.

        Args:
            folder: As `save` or `hoptrail encoder tune` wrote it.

        Raises:
            FormatError: The folder holds none, a file is damaged, or the base is another one now.
            MissingExtra: The base is MiniLM, which is not installed.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        where = Path(folder)
        try:
            card = json.loads((where / cls.files[0]).read_text(encoding="utf-8"))
            layout, side, name = card["format"], card["side"], card["base"]
            expected = card["base_fingerprint"], card["fingerprint"]
            tensors = load_file(where / cls.files[1])
            changes = factors_of(tensors)
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise FormatError(f"no {cls.part} can be read from {where}: {error}") from error
        if layout != cls.layout or len(tensors) != 2 * len(changes):
            raise FormatError(
                f"{where / cls.files[0]} should have the format {cls.layout!r}, got {layout!r}"
            )
        base = minilm() if name is None else TransformerEncoder(name)
        encoder = cls(base, changes, side)
        encoder.base_name, encoder.made_of = name, card.get("made_of") or {}
        loaded = base.fingerprint, encoder.fingerprint
        if loaded != expected:
            raise FormatError(
                f"the encoder in {where} should have the fingerprints {expected}, got {loaded}: "
                "its base or a file of it was changed"
            )
        return encoder

    @classmethod
    def check_folder(cls, folder: Path) -> None:
        """Refuse a folder in which the encoder's files would replace somebody else's.

        Args:
            folder: It need not be there.

        Raises:
            FormatError: It holds such a file.
        """
        check_own_folder(folder, cls.layout, cls.files, cls.part)
