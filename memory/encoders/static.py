"""An encoder without a network: a vector for each token, added up and normalised.

A text's vector is norm(sum over its tokens t of E[t]), where E is a table that holds how much a
token weighs in the length of its row. Indexing then costs a tokeniser and a sum, and no position
or neighbour matters: what it knows, it was taught by another encoder
(`hoptrail.learning.distillation`).

A folder holds `tokens.safetensors` (the table, float16), `tokenizer.json` and `static.json`.
Source: tables of token vectors distilled from a sentence encoder, as in model2vec; the weighting of
tokens by their rarity, Arora et al. 2017 (SIF).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hoptrail.errors import FormatError, InputError
from hoptrail.memory.analysis.widths import plain_width
from hoptrail.memory.encoders.model_folder import check_own_folder, unsupported
from hoptrail.memory.encoders.sentence_transformer import SentenceTransformerEncoder
from hoptrail.memory.encoders.transformer import Encoder, TransformerEncoder, Vectors, fetch
from hoptrail.memory.encoders.tuned.passage_tuned import CARD as PASSAGE_TUNED
from hoptrail.memory.encoders.tuned.passage_tuned import PassageTunedEncoder
from hoptrail.memory.encoders.tuned.query_tuned import CARD as QUERY_TUNED
from hoptrail.memory.encoders.tuned.query_tuned import QueryTunedEncoder
from hoptrail.memory.encoders.vectors import TINY, unit
from hoptrail.memory.encoders.windows import token_counts, token_ids, tokenizer_of

FORMAT = "hoptrail-static-1"
TABLE, TOKENIZER, CARD = "tokens.safetensors", "tokenizer.json", "static.json"

TEXTS_AT_ONCE = 1024
"""Texts tokenised and added up together: bounds the memory that takes."""


class StaticEncoder:
    """A table of token vectors with its tokeniser; an `Encoder` like any other.

    Args:
        table: `(tokens, d)`, a row for every id that the tokeniser gives; kept as float16.
        tokenizer: The tokeniser, as the library `tokenizers` writes it in JSON.
        made_of: What it was made of, to be written beside it; JSON values.

    Raises:
        InputError: The table is no table, holds a value that is not finite, or is too short.
        FormatError: The tokeniser cannot be read.
    """

    def __init__(
        self,
        table: NDArray[np.floating],
        tokenizer: str,
        *,
        made_of: Mapping[str, Any] | None = None,
    ) -> None:
        if table.ndim != 2 or not table.size:
            raise InputError(f"a table of token vectors has two axes, got the shape {table.shape}")
        self._stored = np.ascontiguousarray(table, dtype="<f2")
        if not np.isfinite(self._stored).all():
            raise InputError("the table of token vectors holds a value that float16 cannot hold")
        self._table = self._stored.astype(np.float32)
        self._tokenizer = tokenizer_of(tokenizer)
        self._json = tokenizer
        tokens = self._tokenizer.get_vocab_size(with_added_tokens=True)
        if tokens > len(table):
            raise InputError(f"the tokeniser knows {tokens} tokens and the table {len(table)}")
        self.made_of = dict(made_of or {})
        digest = hashlib.sha256(FORMAT.encode())
        for part in (tokenizer.encode(), str(self._stored.shape).encode(), self._stored.tobytes()):
            digest.update(hashlib.sha256(part).digest())
        self._fingerprint = digest.hexdigest()[:16]

    @classmethod
    def load(cls, folder: str | Path) -> StaticEncoder:
        """The encoder that `save` wrote to a folder.

        Args:
            folder: As `save` or `hoptrail encoder distill` wrote it.

        Raises:
            FormatError: The folder holds none, or a file of it is damaged.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        where = Path(folder)
        try:
            card = json.loads((where / CARD).read_text(encoding="utf-8"))
            table = load_file(where / TABLE)["tokens"]
            tokenizer = (where / TOKENIZER).read_text(encoding="utf-8")
            layout, fingerprint = card["format"], card["fingerprint"]
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise FormatError(f"no static encoder can be read from {where}: {error}") from error
        if layout != FORMAT:
            raise FormatError(f"{where / CARD} should have the format {FORMAT!r}, got {layout!r}")
        encoder = cls(table, tokenizer, made_of=card.get("made_of"))
        if encoder.fingerprint != fingerprint:
            raise FormatError(
                f"the static encoder in {where} should have the fingerprint {fingerprint}, "
                f"got {encoder.fingerprint}: a file of it was changed"
            )
        return encoder

    def save(self, folder: str | Path) -> Path:
        """Write the encoder to a folder, which is made where it is absent; the folder.

        Args:
            folder: One that holds another model is refused.

        Raises:
            FormatError: It cannot be written.
        """
        from safetensors.numpy import save_file

        where = Path(folder)
        check_own_folder(where, FORMAT, (CARD, TOKENIZER, TABLE), "static encoder")
        card = {
            "format": FORMAT,
            "fingerprint": self._fingerprint,
            "dim": self.dim,
            "tokens": len(self._stored),
            "made_of": self.made_of,
        }
        try:
            where.mkdir(parents=True, exist_ok=True)
            save_file({"tokens": self._stored}, where / TABLE)
            (where / TOKENIZER).write_text(self._json, encoding="utf-8")
            # Last: a folder without it is no encoder yet.
            (where / CARD).write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            raise FormatError(f"no encoder can be written to {where}: {error}") from error
        return where

    @property
    def fingerprint(self) -> str:
        """Hash of the table and of the tokeniser."""
        return self._fingerprint

    @property
    def dim(self) -> int:
        """The width of a vector."""
        return int(self._table.shape[1])

    @property
    def window(self) -> int | None:
        """None: it adds up the tokens of a text however many there are."""
        return None

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """How many tokens each text has.

        Args:
            texts: n of them, of any length.
        """
        return token_counts(self._tokenizer, texts)

    def __repr__(self) -> str:
        return f"<StaticEncoder {self.dim} dim, {len(self._table)} tokens, {self._fingerprint}>"

    def encode(self, texts: Sequence[str]) -> Vectors:
        """The vectors of the texts, `(n, d)` float32, L2-normalised; no text is too long.

        A text without a token of the table gets the first axis: any direction will do, as long as
        it is the same for all of them.

        Args:
            texts: n of them, of any length.
        """
        if isinstance(texts, str):
            raise InputError("encode takes a list of texts, not one string")
        out = np.zeros((len(texts), self.dim), dtype=np.float32)
        for start in range(0, len(texts), TEXTS_AT_ONCE):
            out[start : start + TEXTS_AT_ONCE] = self._sums(texts[start : start + TEXTS_AT_ONCE])
        out[np.linalg.norm(out, axis=1) < TINY, 0] = 1.0
        return unit(out)

    def encode_tokens(
        self, texts: Sequence[str]
    ) -> list[tuple[Vectors, NDArray[np.int64], Vectors]]:
        """For each text its token vectors `(t, d)`, their character spans `(t, 2)` and its vector.

        A token's vector is its row of the table, not normalised.

        Args:
            texts: n of them, of any length.
        """
        encodings = self._tokenizer.encode_batch(plain_width(texts), add_special_tokens=False)
        return [
            (
                self._table[np.asarray(one.ids, dtype=np.int64)],
                np.asarray(one.offsets, dtype=np.int64).reshape(-1, 2),
                vector,
            )
            for one, vector in zip(encodings, self.encode(texts), strict=True)
        ]

    def _sums(self, texts: Sequence[str]) -> Vectors:
        from scipy.sparse import csr_matrix

        rows = token_ids(self._tokenizer, texts)
        starts = np.cumsum([0, *map(len, rows)])
        flat = np.concatenate([np.zeros(0, dtype=np.int64), *rows])
        counts = csr_matrix(
            (np.ones(len(flat), dtype=np.float32), flat, starts), (len(texts), len(self._table))
        )
        counts.sum_duplicates()  # and sorts: equal bags of tokens add up to equal bits
        sums: Vectors = counts @ self._table
        return sums


def load_encoder(model: str | Path) -> Encoder:
    """The encoder that a folder or a hub's name stands for: static, tuned, or a network.

    A model that has prompts, another pooling or further layers is run by sentence-transformers.

    Args:
        model: A folder that `hoptrail encoder distill` or `hoptrail encoder tune` wrote, a folder
            of a sentence-transformers model, or the name of a repository of a hub that holds one.

    Raises:
        FormatError: The folder holds neither.
        MissingExtra: The model needs sentence-transformers, which is not installed.
    """
    folder = fetch(model)
    for card, load in (
        (CARD, StaticEncoder.load),
        (QUERY_TUNED, QueryTunedEncoder.load),
        (PASSAGE_TUNED, PassageTunedEncoder.load),
    ):
        if (folder / card).is_file():
            return load(folder)
    return SentenceTransformerEncoder(model) if unsupported(folder) else TransformerEncoder(folder)
