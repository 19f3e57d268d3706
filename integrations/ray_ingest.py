"""Bulk ingest: a data set of Ray Data, encoded by many workers and written by one.

Workers make the vectors, each with an encoder of its own, and the caller's process writes what
comes from them, a transaction for each batch. A passage is known by a hash of all that it holds:
what the memory has already is neither encoded nor written again. So a run that was killed is taken
up by the same call, and every passage is there once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hoptrail.api.inputs import parse_scope, passages_from
from hoptrail.api.memory import Memory
from hoptrail.errors import InputError, MissingExtra
from hoptrail.formats.jsonl import parse_passage, passage_record
from hoptrail.memory.encoders.transformer import Encoder, Vectors
from hoptrail.memory.encoders.windows import encode_passages
from hoptrail.memory.passages.cleaning import cleaned
from hoptrail.memory.store import OnDuplicate
from hoptrail.types import Namespace, Passage
from hoptrail.values.numbers import whole

if TYPE_CHECKING:
    from ray.data import Dataset


@dataclass(frozen=True, slots=True)
class Ingested:
    """What became of the passages of a data set."""

    written: int
    """New ones, and with "replace" those that took another's place."""
    present: int
    """There already and the same in all they hold, or given twice: not written."""
    skipped: int
    """Left out because their id is another passage's; with "error" there are none."""


def ingest_dataset(
    memory: Memory,
    dataset: Dataset,
    load_encoder: Callable[[], Encoder],
    *,
    namespace: Sequence[str] | None = None,
    on_duplicate: OnDuplicate = "error",
    batch: int = 256,
    workers: int = 1,
    gpus: float = 0.0,
) -> Ingested:
    """Write the passages of a data set, each once; called again, it goes on where it was stopped.

    They come in no order that is kept: of several passages under one id any may be the one.

    Args:
        memory: Where they go; it need not have loaded its encoder.
        dataset: A row is a passage, as `Memory.add` takes rows of tables: `text`, and perhaps `id`,
            `title`, `namespace`, `metadata`, `links`; other columns are metadata. What has no id
            gets the hash of its content.
        load_encoder: Loads the memory's encoder, in each worker.
        namespace: Where they go; by default each goes where it says.
        on_duplicate: What to do with an id that another passage has: end ("error"), with what was
            written before left in place; "replace" the old passage, or "skip" the new one.
        batch: Passages that are encoded together, and written in a transaction.
        workers: How many encode side by side.
        gpus: Of each worker.

    Raises:
        MissingExtra: The extra `ray` is not installed.
        InputError: A number is out of range.
        DuplicateId: An id is another passage's, and `on_duplicate` is "error".
        EncoderMismatch: The memory's vectors are another encoder's.
        ray.exceptions.RayTaskError: A worker failed, such as on a row that is no passage.
    """
    try:
        import ray
    except ImportError as error:
        raise MissingExtra("bulk ingest needs Ray Data", "ray") from error
    whole(batch, "batch", least=1)
    whole(workers, "workers", least=1)
    place = None if namespace is None else parse_scope(namespace).namespace
    keys = sorted(passage_key(passage) for passage in memory.store.passages(place or ()))
    rows = dataset.map_batches(
        EncodingWorker,
        fn_constructor_args=(load_encoder, ray.put(np.array(keys, dtype=KEY)), place),
        batch_size=batch,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=workers),
        num_gpus=gpus or None,
    )
    counts = np.zeros(3, dtype=np.int64)
    for table in rows.iter_batches(batch_size=batch, batch_format="pyarrow"):
        counts += _write(memory, table.to_pylist(), on_duplicate)
    return Ingested(*counts.tolist())


KEY = "S32"
"""The type of a passage's key: 32 hexadecimal digits."""


def passage_key(passage: Passage) -> bytes:
    """What tells a passage from all others, and from what else its id may stand for.

    Args:
        passage: As it is written.
    """
    basis = json.dumps(passage_record(passage), sort_keys=True)
    return hashlib.sha256(basis.encode()).hexdigest()[:32].encode()


class EncodingWorker:
    """Makes rows that are ready to be written of rows of passages, in a process of Ray's.

    Args:
        load_encoder: Loads the encoder.
        keys: `(n,)` ascending, of what is not to be encoded again; perhaps as Ray's reference.
        namespace: Where the passages go; None for where each says.
    """

    def __init__(
        self, load_encoder: Callable[[], Encoder], keys: Any, namespace: Namespace | None
    ) -> None:
        if not isinstance(keys, np.ndarray):
            import ray

            keys = ray.get(keys)
        self._keys: NDArray[np.bytes_] = keys
        self._encoder, self._namespace = load_encoder(), namespace

    def __call__(self, table: Any) -> Any:
        """A row for each passage: its JSON and its vectors, or nothing where it is there already.

        Args:
            table: Of Arrow.
        """
        import pyarrow as pa

        passages = [cleaned(passage) for passage in passages_from(table, self._namespace)]
        new = [passage for passage in passages if not self._is_there(passage)]
        vectors = encode_passages(self._encoder, [passage.content for passage in new])
        blanks: list[None] = [None] * (len(passages) - len(new))
        records = [json.dumps(passage_record(passage)) for passage in new]
        rows = [np.asarray(each, dtype=np.float32).tobytes() for each in vectors]
        count = len(passages)
        return pa.table(
            {
                "record": pa.array([*records, *blanks], pa.large_string()),
                "vectors": pa.array([*rows, *blanks], pa.large_binary()),
                "encoder": pa.array([self._encoder.fingerprint] * count, pa.string()),
                "dim": pa.array([self._encoder.dim] * count, pa.int64()),
            }
        )

    def _is_there(self, passage: Passage) -> bool:
        """Whether a passage is among those that are not encoded again."""
        key = np.array(passage_key(passage), dtype=KEY)
        at = int(np.searchsorted(self._keys, key))
        return at < len(self._keys) and bool(self._keys[at] == key)


class VectorsAtHand:
    """An encoder that has made its vectors already, elsewhere.

    Args:
        fingerprint: Of the encoder that made them.
        dim: The width of a vector.
        vectors: All vectors `(m, d)` of each passage, by its content.
    """

    def __init__(self, fingerprint: str, dim: int, vectors: Mapping[str, Vectors]) -> None:
        self.fingerprint, self.dim, self._vectors = fingerprint, dim, vectors

    def encode_passages(self, texts: Sequence[str]) -> list[Vectors]:
        """The vectors of contents.

        Args:
            texts: Of passages that are at hand.
        """
        return [self._vectors[text] for text in texts]

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Refused: there are vectors of whole passages only.

        Args:
            texts: Any.

        Raises:
            InputError: Always.
        """
        raise InputError(f"{len(texts)} texts were not encoded by the workers")


def _write(
    memory: Memory, rows: Sequence[Mapping[str, Any]], on_duplicate: OnDuplicate
) -> tuple[int, int, int]:
    """Write a batch in a transaction; how many were written, there already, and left out."""
    from_workers = list(_encoded(rows))
    if not from_workers:
        return 0, len(rows), 0
    new: dict[bytes, Passage] = {}
    vectors: dict[str, Vectors] = {}
    with memory.store.transaction():  # what is there is looked up in it, and stays so
        for passage, row in from_workers:
            key = passage_key(passage)
            if key not in new and not _holds(memory, passage, key):
                new[key] = passage
                flat = np.frombuffer(row["vectors"], dtype=np.float32)
                vectors[passage.content] = flat.reshape(-1, row["dim"])
        encoder = VectorsAtHand(rows[0]["encoder"], rows[0]["dim"], vectors)
        ids = memory.store.add(new.values(), on_duplicate=on_duplicate, encoder=encoder)
    return len(ids), len(rows) - len(new), len(new) - len(ids)


def _encoded(rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[Passage, Mapping[str, Any]]]:
    """The passages of rows that were not there when the workers began."""
    for row in rows:
        if row["record"] is not None:
            yield parse_passage(json.loads(row["record"]), "a row of the data set"), row


def _holds(memory: Memory, passage: Passage, key: bytes) -> bool:
    """Whether a memory has exactly this passage: written since the workers began."""
    store, place = memory.store, passage.namespace
    return store.has(passage.id, place) and passage_key(store.get(passage.id, place)) == key
