"""An encoder whose vectors of tokens were trained, for late interaction alone.

Questions and passages go through the same changes of low rank. What a memory is searched by, the
vectors of passages as wholes, stays that of the base: the folder is for a reranker
(`hoptrail.memory.search.late_interaction`), and `--encoder` does not take it.
"""

from __future__ import annotations

from typing import ClassVar

from hoptrail.memory.encoders.transformer import TransformerEncoder
from hoptrail.memory.encoders.tuned.passage_tuned import Changes, PassageTunedEncoder, TunedSide

CARD, CHANGES = "token-tuned.json", "token-tuned.safetensors"


class TokenTunedEncoder(PassageTunedEncoder):
    """A transformer encoder whose vectors of tokens were trained; see `PassageTunedEncoder`.

    Args:
        base: The encoder before training, which stays as it is.
        changes: By layer.
        side: Always both: the tokens of questions are compared with those of passages.
    """

    files: ClassVar[tuple[str, str]] = (CARD, CHANGES)
    layout: ClassVar[str] = "hoptrail-token-tuned-1"
    part: ClassVar[str] = "token vectors"

    def __init__(
        self, base: TransformerEncoder, changes: Changes, side: TunedSide = "both"
    ) -> None:
        super().__init__(base, changes, side)
