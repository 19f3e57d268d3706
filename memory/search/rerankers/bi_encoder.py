"""Another encoder as a stage: the cosine of vectors that are not the store's.

The store's encoder is small, because it reads every passage and every question. A larger one reads
the question and some candidates:

    Pipeline([Search(keep=50), BiEncoder(load_encoder("a-larger-model"), keep=10)])

What it made of passages lies in the vector cache, by content, so that a passage costs its pass
once; questions leave nothing there.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hoptrail.errors import ConfigError
from hoptrail.memory.encoders.disk_cache import CachedEncoder
from hoptrail.memory.encoders.query_side import query_side
from hoptrail.memory.encoders.transformer import Encoder
from hoptrail.memory.encoders.wrapped import uncached
from hoptrail.memory.index.slots import Scores
from hoptrail.memory.search.pipeline import QueryState, Stage


class BiEncoder(Stage):
    """The cosine of question and passage by an encoder of one's own choice.

    Of a passage that is longer than the encoder's window the best of the whole and its windows
    counts, as in the store's own search.

    Args:
        encoder: Any encoder; a query side of it is used for questions.
        keep: Candidates that go on.
        folder: Where the vectors of passages are cached; the vector cache by default.

    Raises:
        ConfigError: It is no encoder.
    """

    name = "bi-encoder"

    def __init__(self, encoder: Encoder, *, keep: int, folder: Path | None = None) -> None:
        if not isinstance(encoder, Encoder):
            raise ConfigError(
                "BiEncoder needs an encoder (fingerprint, dim, encode), such as load_encoder "
                f"gives, got {encoder!r}"
            )
        super().__init__(keep)
        self._encoder = uncached(encoder)
        self._passages = CachedEncoder(self._encoder, folder)

    def close(self) -> None:
        """Close the file of the cache."""
        self._passages.close()

    def score(self, batch: Sequence[QueryState]) -> list[Scores]:
        """The best cosine of each candidate's vectors."""
        contents = [state.contents() for state in batch]
        distinct = list(dict.fromkeys(text for part in contents for text in part))
        vectors = dict(zip(distinct, self._passages.encode_passages(distinct), strict=True))
        questions = query_side(self._encoder).encode([state.text for state in batch])
        return [
            np.asarray([(vectors[text] @ question).max() for text in part], dtype=np.float32)
            for part, question in zip(contents, questions, strict=True)
        ]
