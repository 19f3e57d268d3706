"""A file of arrays that is used where it lies: checked as a whole, then mapped, never read in.

Arrays follow each other, each from an aligned place on; behind them a table says where they lie,
with a checksum for every chunk of the file before it; the last bytes say how long the table is.
The digest of a file is the SHA-256 of its table and what follows it. Whoever knows the digest
knows the table, and through it every byte.

Chunks are checked by CRC-32, several at once: of what Python brings, it alone checks more than a
gigabyte a second and core, and what is looked for is damage, not forgery.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import struct
import zlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]

ALIGNMENT = 64
"""Bytes: the width of a cache line and of the widest vector instructions."""

CHUNK = 1 << 22
"""Bytes that share a checksum."""

READ_WHOLE = 1 << 28
"""Bytes up to which a file is read and not mapped: some hundred thousand passages, in 0.2 s. Who
built them holds as much; and what is read cannot be cut short."""

THREADS = 4
"""That check a file's chunks, at most."""

_END = struct.Struct("<Q8s")
_MAGIC = b"hoptrail"


def write(file: BinaryIO, arrays: Arrays) -> str:
    """Write arrays to a file open for writing and reading; its digest.

    Args:
        file: Open for writing and reading, in binary.
        arrays: By name.
    """
    table: dict[str, Any] = {"arrays": {}, "chunk": CHUNK}
    for name, array in arrays.items():
        if array.dtype.hasobject:
            raise ValueError(f"the array {name!r} holds objects: numbers only can be written")
        file.write(bytes(-file.tell() % ALIGNMENT))
        table["arrays"][name] = [array.dtype.str, list(array.shape), file.tell()]
        if array.size:
            file.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    size = file.tell()
    file.seek(0)
    table["checksums"] = [zlib.crc32(file.read(length)) for _, length in _chunks(size, CHUNK)]
    end = json.dumps(table).encode()
    end += _END.pack(len(end), _MAGIC)
    file.seek(size)
    file.write(end)
    return hashlib.sha256(end).hexdigest()


class Mapped(dict[str, NDArray[Any]]):
    """The arrays of a file by name, read-only.

    Args:
        lies: The mapped file that they lie in; None where they were read.
    """

    def __init__(self, lies: mmap.mmap | None) -> None:
        super().__init__()
        self._lies = lies

    @property
    def mapped(self) -> bool:
        """Whether they lie in the file yet, which may then be cut short."""
        return self._lies is not None

    @property
    def whole(self) -> bool:
        """Whether the file is still as long as it was: to read beyond its end would be a crash."""
        return self._lies is None or self._lies.size() >= len(self._lies)


def read_arrays(path: Path, digest: str) -> Mapped:
    """The arrays of a file that has this digest; those of a large one stay where they lie.

    A small one is read: it may then be cut short by whoever, and nothing comes of it.

    Args:
        path: The file.
        digest: As `write` gave it.

    Raises:
        OSError: It cannot be read.
        ValueError: It is not the file, or no longer whole.
    """
    table = check_arrays(path, digest)
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > READ_WHOLE:
            lies = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        else:
            lies = mmap.mmap(-1, max(size, 1))  # memory that begins at a page, as a file's does
            if file.readinto(lies) != size:
                raise ValueError("it became shorter while it was read")
    arrays = Mapped(lies if size > READ_WHOLE else None)
    for name, (kind, shape, start) in table["arrays"].items():
        dtype, count = np.dtype(kind), int(np.prod(shape, dtype=np.int64))
        if dtype.hasobject:
            raise ValueError(f"its array {name!r} holds objects")
        flat = np.frombuffer(lies, dtype, count, start) if count else np.zeros(0, dtype)
        arrays[name] = flat.reshape(shape)
        arrays[name].setflags(write=False)
    return arrays


def check_arrays(path: Path, digest: str) -> dict[str, Any]:
    """The table of a file that has this digest and of which every byte is as it was written.

    Args:
        path: The file.
        digest: As `write` gave it.

    Raises:
        OSError: It cannot be read.
        ValueError: It is not the file, or no longer whole.
    """
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _END.size))
        end = file.read()
        length, magic = _END.unpack(end) if len(end) == _END.size else (0, b"")
        if magic != _MAGIC or length > size - _END.size:
            raise ValueError("it does not end as an index file does")
        file.seek(size - _END.size - length)
        end = file.read()
    actual = hashlib.sha256(end).hexdigest()
    if actual != digest:
        raise ValueError(f"its checksum should begin with {digest[:12]}, got {actual[:12]}")
    table: dict[str, Any] = json.loads(end[:length])
    _check_chunks(path, size - len(end), table["chunk"], table["checksums"])
    return table


def _check_chunks(path: Path, size: int, chunk: int, expected: list[int]) -> None:
    """Compare the checksums of a file's first `size` bytes."""
    chunks = _chunks(size, chunk)
    if len(chunks) != len(expected):
        raise ValueError(f"it should have {len(expected)} chunks, got {len(chunks)}")
    threads = max(1, min(THREADS, os.cpu_count() or 1, len(chunks) // 8))

    def first_wrong(part: int) -> int | None:
        buffer = memoryview(bytearray(chunk))
        with path.open("rb", buffering=0) as file:
            for i in range(part, len(chunks), threads):
                start, length = chunks[i]
                file.seek(start)
                got = file.readinto(buffer[:length])
                if got != length or zlib.crc32(buffer[:length]) != expected[i]:
                    return start
        return None

    if threads == 1:
        wrong = [first_wrong(0)]
    else:
        with ThreadPoolExecutor(threads) as pool:
            wrong = list(pool.map(first_wrong, range(threads)))
    if damaged := [start for start in wrong if start is not None]:
        raise ValueError(f"its bytes from {min(damaged)} on are not those that were written")


def _chunks(size: int, chunk: int) -> list[tuple[int, int]]:
    """Where each chunk of a file begins, and how long it is."""
    return [(start, min(chunk, size - start)) for start in range(0, size, chunk)]
