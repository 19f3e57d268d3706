"""Late interaction: every word of the question looks for its best word in the passage.

    score(q, p) = mean over the tokens i of q of  max over the tokens j of p of  cos(q_i, p_j)

Token vectors of passages are many; they lie compressed in a cache beside that of passage vectors,
one row a content, named by its hash: `purge` erases them with the rest, a content that was changed
is another row, and the file may be removed whenever nobody uses it. Every row bears a checksum; one
that does not match is made anew.

Source: Khattab and Zaharia 2020 (2004.12832), ColBERT, with the mean in place of the sum.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from hoptrail.errors import ConfigError, InputError
from hoptrail.memory.content_hash import cache_key
from hoptrail.memory.encoders.cache_file import CacheFile, vectors_file_name
from hoptrail.memory.encoders.transformer import Vectors
from hoptrail.memory.encoders.vectors import numbers, start_of, unit
from hoptrail.memory.encoders.windows import windows_of
from hoptrail.memory.index.slots import Scores
from hoptrail.memory.search.codecs import Codec, Codes, Scalar
from hoptrail.memory.search.pipeline import QueryState, Stage

CHUNK = 64
"""Texts whose tokens are encoded between two commits."""


@runtime_checkable
class TokenEncoder(Protocol):
    """What gives a vector to every token of a text; `TransformerEncoder` and `StaticEncoder` do."""

    @property
    def fingerprint(self) -> str:
        """Names the weights and the way they are used."""

    @property
    def dim(self) -> int:
        """The width d of a token's vector."""

    def encode_tokens(
        self, texts: Sequence[str]
    ) -> list[tuple[Vectors, NDArray[np.int64], Vectors]]:
        """Of each text its token vectors `(t, d)`, their spans `(t, 2)`, and its own vector.

        Args:
            texts: n of them.
        """


class TokenCache:
    """The token vectors of contents, compressed, in one file of the cache folder.

    Args:
        encoder: Makes those that are not there.
        codec: How they are compressed; a `Product` must have been fitted.
        folder: `cache_folder()` by default; one that cannot be used is done without.
    """

    def __init__(self, encoder: TokenEncoder, codec: Codec, folder: Path | None = None) -> None:
        self.encoder = encoder
        self.codec = codec
        self.known = 0
        """Texts asked for that were there already."""
        # Where `disk_cache.erase_vectors` looks, by name and table: a purge takes these too.
        made_by = f"{encoder.fingerprint}-tokens-{codec.fingerprint}"
        self._file = CacheFile(vectors_file_name(made_by), folder)
        self.path = self._file.path

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def bytes_per_text(self) -> float:
        """The mean size of a row's codes."""
        return self._file.mean_size()

    def get(self, texts: Sequence[str]) -> list[Vectors]:
        """The normalised token vectors `(t, d)` of each text, as compressed; made where absent.

        Args:
            texts: Contents of passages.
        """
        text_of = {cache_key(text): text for text in texts}
        codes_of = self._read(list(text_of))
        self.known += sum(cache_key(text) in codes_of for text in texts)
        missing = [key for key in text_of if key not in codes_of]
        for start in range(0, len(missing), CHUNK):
            part = missing[start : start + CHUNK]
            texts_of_part = [text_of[key] for key in part]
            codes = {
                key: self.codec.encode(tokens)
                for key, tokens in zip(
                    part, token_vectors(self.encoder, texts_of_part), strict=True
                )
            }
            self._file.put([(key, _packed(rows)) for key, rows in codes.items()])
            codes_of.update(codes)
        return [self.codec.decode(codes_of[cache_key(t)], self.encoder.dim) for t in texts]

    def _read(self, keys: Sequence[bytes]) -> dict[bytes, Codes]:
        """The codes that are there and whole."""
        width = self.codec.width(self.encoder.dim)
        rows = {key: _unpacked(blob, width) for key, blob in self._file.get(keys).items()}
        return {key: codes for key, codes in rows.items() if codes is not None}


class MaxSim(Stage):
    """Late interaction as a stage of a pipeline.

    Args:
        encoder: Gives token vectors, of questions and of passages that the cache does not have.
        keep: Candidates that go on.
        codec: How passages' token vectors are kept; 8 bits a dimension by default.
        folder: Of the cache; `cache_folder()` by default.
    """

    name = "maxsim"

    def __init__(
        self,
        encoder: TokenEncoder,
        *,
        keep: int,
        codec: Codec | None = None,
        folder: Path | None = None,
    ) -> None:
        if not isinstance(encoder, TokenEncoder):
            raise ConfigError(
                f"MaxSim needs an encoder of tokens (encode_tokens), such as TransformerEncoder, "
                f"got {encoder!r}"
            )
        super().__init__(keep)
        self.tokens = TokenCache(encoder, codec or Scalar(8), folder)

    def score(self, batch: Sequence[QueryState]) -> list[Scores]:
        """The mean best cosine of each question's tokens."""
        contents = [state.contents() for state in batch]
        distinct = list(dict.fromkeys(text for part in contents for text in part))
        before = self.tokens.known
        vectors = dict(zip(distinct, self.tokens.get(distinct), strict=True))
        self.cached += self.tokens.known - before
        questions = token_vectors(self.tokens.encoder, [state.text for state in batch])
        return [
            np.asarray([maxsim(tokens, vectors[text]) for text in part], dtype=np.float32)
            for tokens, part in zip(questions, contents, strict=True)
        ]


def token_vectors(encoder: TokenEncoder, texts: Sequence[str]) -> list[Vectors]:
    """The normalised token vectors `(t, d)` of each text, window after window of a long one.

    Those without direction stay zeros.

    Args:
        encoder: Gives token vectors.
        texts: n of them.

    Raises:
        InputError: The encoder gave something else for a text.
    """
    long = windows_of(encoder, texts)
    parts = [long.get(row, [text]) for row, text in enumerate(texts)]
    rows = iter(_token_rows(encoder, [text for part in parts for text in part]))
    return [np.concatenate([next(rows) for _ in part]) for part in parts]


def _token_rows(encoder: TokenEncoder, texts: Sequence[str]) -> list[Vectors]:
    """The normalised token vectors of texts that fit the encoder's window."""
    whose = f"the encoder {encoder.fingerprint}"
    encoded = encoder.encode_tokens(texts)
    if len(encoded) != len(texts):
        raise InputError(f"{whose} should give tokens of {len(texts)} texts, got {len(encoded)}")
    token_rows = []
    for text, (tokens, _, _) in zip(texts, encoded, strict=True):
        rows = numbers(tokens, whose)
        if rows.ndim != 2 or rows.shape[1] != encoder.dim or not np.isfinite(rows).all():
            raise InputError(
                f"{whose} should give finite token vectors of {encoder.dim} numbers, got the shape "
                f"{rows.shape} for the text {start_of(text)}"
            )
        token_rows.append(unit(rows.astype(np.float32)))
    return token_rows


def maxsim(question: Vectors, passage: Vectors) -> float:
    """The mean over a question's tokens of the best cosine with a token of a passage.

    Source: Khattab and Zaharia 2020 (ColBERT), eq. 3; the mean in place of the sum.

    Args:
        question: `(a, d)`, L2-normalised.
        passage: `(b, d)`, likewise.
    """
    if not len(question) or not len(passage):
        return 0.0
    return float((question @ passage.T).max(axis=1).mean())


def _packed(codes: Codes) -> bytes:
    body = codes.tobytes()
    return zlib.crc32(body).to_bytes(4, "little") + body


def _unpacked(blob: Any, width: int) -> Codes | None:
    """The codes `(t, width)` of a row; None if it is damaged."""
    if not isinstance(blob, bytes) or len(blob) < 4 or (len(blob) - 4) % width:
        return None
    if zlib.crc32(blob[4:]).to_bytes(4, "little") != blob[:4]:
        return None
    return np.frombuffer(blob, dtype=np.uint8, offset=4).reshape(-1, width)
