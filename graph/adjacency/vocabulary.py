"""Numbers in place of the names, entities and kinds of links that the graph's tables speak of."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from itertools import chain, count, groupby
from operator import itemgetter
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hoptrail.formats.sequences import NEXT
from hoptrail.graph.adjacency.adjacency import STEP, packed
from hoptrail.graph.adjacency.ragged import Ints
from hoptrail.memory.storage.damaged import decode_text

BETWEEN = b"\x1f"
"""Between the entities of a row: no letter or digit, so that no name has it."""

Bytes = NDArray[np.uint8]


class Vocabulary:
    """Numbers for names, entities and kinds of links, in the order they were met; only grows.

    Threads may share one, of which one at a time changes it.

    Args:
        arrays: Of an earlier one, as `arrays` gave them. What a query can do without is made of
            them when it is first needed.
    """

    def __init__(self, arrays: Mapping[str, NDArray[Any]] | None = None) -> None:
        self._arrays = arrays  # those of which nothing was made yet
        self._lock = Lock()  # held while something is
        self._names: dict[int, int] = {}
        self._texts: dict[int, str] = {}
        self._entities: dict[bytes, dict[bytes, int]] = {}
        self._entity_names: list[bytes] = []
        self.kinds: dict[str, int] = {NEXT: STEP}
        """Number by kind; that of steps to the next passage is known from the beginning."""
        self._is_of_one = False  # namespace, by the arrays
        if arrays is not None:
            self._is_of_one = len(unpacked_object(arrays["spaces"])) == 1
            self.kinds = {kind: i for i, kind in enumerate(unpacked_object(arrays["kinds"]))}

    @property
    def names(self) -> dict[int, int]:
        """Number by the store's id."""
        self._unpack()
        return self._names

    @property
    def texts(self) -> dict[int, str]:
        """Of names that a passage bears or bore, by number."""
        self._unpack()
        return self._texts

    @property
    def entities(self) -> dict[bytes, dict[bytes, int]]:
        """Number by namespace and name, both as stored: few are ever needed as text."""
        self._unpack()
        return self._entities

    @property
    def entity_names(self) -> list[bytes]:
        """By number, as stored."""
        self._unpack()
        return self._entity_names

    def entity_name(self, number: int) -> str:
        """The name of an entity.

        Args:
            number: The entity's.
        """
        return decode_text(self.entity_names[number])

    def entity_ids(self, name: str) -> list[int]:
        """The entities of this name, one for each namespace of the scope that has it.

        Args:
            name: An entity's, as it is stored.
        """
        try:
            stored = name.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:  # SQLite stores no such text
            return []
        return [number[stored] for number in self.entities.values() if stored in number]

    def same_names(self, number: int) -> list[int]:
        """The entities of the same name, itself among them, in the order of `entity_ids`.

        Args:
            number: An entity's.
        """
        if self._arrays is not None and self._is_of_one:
            return [number]
        return self.entity_ids(self.entity_name(number))

    def of_titles(self, rows: list[tuple[int, int, int, str]]) -> list[tuple[int, int, int]]:
        """Rows of (passage, name, alias, text) with the name's number.

        Args:
            rows: As SQLite gives them.
        """
        number, texts = self.names, self.texts
        for _, name, _, text in rows:
            texts[number.setdefault(name, len(number))] = text
        return [(rowid, number[name], alias) for rowid, name, alias, _ in rows]

    def of_entities(self, rows: list[tuple[int, bytes, bytes | None]]) -> Ints:
        """Pairs of a passage and the number of an entity that it names, `(n, 2)`, in their order.

        Args:
            rows: Passage, stored namespace, and its entities with `BETWEEN` between them.
        """
        passages: list[int] = []
        counts: list[int] = []
        numbers: list[int] = []
        for space, group in groupby((row for row in rows if row[2] is not None), itemgetter(1)):
            number, part = self.entities.setdefault(space, {}), list(group)
            lists = [joined.split(BETWEEN) for _, _, joined in part if joined is not None]
            names = list(chain.from_iterable(lists))
            new = [name for name in dict.fromkeys(names) if name not in number]
            number.update(zip(new, count(len(self.entity_names))))
            self.entity_names.extend(new)
            passages += [rowid for rowid, _, _ in part]
            counts += map(len, lists)
            numbers += map(number.__getitem__, names)
        return np.stack(
            [
                np.repeat(np.asarray(passages, dtype=np.int64), counts),
                np.asarray(numbers, dtype=np.int64),
            ],
            axis=1,
        )

    def of_links(self, rows: list[tuple[int, int, str, float]]) -> list[tuple[int, int, int, int]]:
        """Rows of (source, target, kind, weight) with the kind's number and a packed weight.

        Args:
            rows: As SQLite gives them.
        """
        number = self.kinds
        bits = packed(np.asarray([row[3] for row in rows], dtype=np.float32)).tolist()
        return [
            (source, target, number.setdefault(kind, len(number)), weight)
            for (source, target, kind, _), weight in zip(rows, bits, strict=True)
        ]

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All that it knows, by name."""
        spaces = [decode_text(space) for space in self.entities]
        numbers = [np.fromiter(each.values(), np.int64) for each in self.entities.values()]
        owner = np.zeros(len(self.entity_names), dtype=np.int32)
        for i, of_space in enumerate(numbers):
            owner[of_space] = i
        return {
            "kinds": packed_object(list(self.kinds)),
            "names": np.fromiter(self.names, np.int64, len(self.names)),
            "borne": np.fromiter(self.texts, np.int64, len(self.texts)),
            "texts": packed_texts(self.texts.values()),
            "spaces": packed_object(spaces),
            "entities": packed_bytes(self.entity_names),
            "entity_spaces": owner,
        }

    def _waiting(self) -> Mapping[str, NDArray[Any]] | None:
        return self._arrays

    def _unpack(self) -> None:
        """Make of the arrays what is needed."""
        if self._arrays is None:
            return
        with self._lock:
            if (arrays := self._waiting()) is None:  # another thread was faster
                return
            self._names = {name: i for i, name in enumerate(arrays["names"].tolist())}
            borne = arrays["borne"].tolist()
            self._texts = dict(zip(borne, unpacked_texts(arrays["texts"]), strict=True))
            self._entity_names = unpacked_bytes(arrays["entities"])
            spaces = [_encoded(space) for space in unpacked_object(arrays["spaces"])]
            self._entities = {space: {} for space in spaces}
            owners = arrays["entity_spaces"].tolist()
            for i, (name, owner) in enumerate(zip(self._entity_names, owners, strict=True)):
                self._entities[spaces[owner]][name] = i
            self._arrays = None


def packed_bytes(names: Iterable[bytes]) -> Bytes:
    """Names as one array.

    Args:
        names: None has `BETWEEN` in it.
    """
    return np.frombuffer(b"".join(name + BETWEEN for name in names), np.uint8)


def unpacked_bytes(array: Bytes) -> list[bytes]:
    """The names again.

    Args:
        array: As `packed_bytes` gave it.
    """
    return array.tobytes().split(BETWEEN)[:-1]


def packed_texts(names: Iterable[str]) -> Bytes:
    """Names as one array.

    Args:
        names: None has `BETWEEN` in it.
    """
    return packed_bytes(map(_encoded, names))


def unpacked_texts(array: Bytes) -> list[str]:
    """The names again.

    Args:
        array: As `packed_texts` gave it.
    """
    return decode_text(array.tobytes()).split(decode_text(BETWEEN))[:-1]


def packed_object(value: list[str]) -> Bytes:
    """A few texts, whatever is in them, as one array.

    Args:
        value: The texts.
    """
    return np.frombuffer(json.dumps(value).encode(), np.uint8)


def unpacked_object(array: Bytes) -> list[str]:
    """The texts again.

    Args:
        array: As `packed_object` gave it.
    """
    texts: list[str] = json.loads(array.tobytes())
    return texts


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
