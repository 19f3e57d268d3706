"""The reader that ships with the package, and the name it goes by."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hoptrail.learning.answering.extractive_reader import ExtractiveReader
    from hoptrail.memory.encoders.transformer import TransformerEncoder

SHIPPED_NAME = "shipped"
SHIPPED_READER = Path(__file__).parents[1] / "pretrained" / "reader"


def load_answer_reader(
    folder: str | Path | None, *, encoder: TransformerEncoder | None = None
) -> ExtractiveReader:
    """A reader from its folder.

    Args:
        folder: That `hoptrail train reader` wrote; "shipped" or None for the one in the package.
        encoder: Whose transformer it changes; MiniLM by default.

    Raises:
        ReaderError: The folder holds none, a file is damaged, or it belongs to another encoder.
        MissingExtra: Its encoder is MiniLM, which is not installed.
    """
    from hoptrail.learning.answering.extractive_reader import ExtractiveReader

    if folder is None or str(folder) == SHIPPED_NAME:
        folder = SHIPPED_READER
    return ExtractiveReader.load(folder, encoder=encoder)
