"""Documents made of records (turns, rows, works, nodes): each is a passage as it stands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from hoptrail.types import Link, Passage


@dataclass(frozen=True, slots=True)
class DocumentRecords:
    """The records of one document, under the ids that a memory knows them by.

    Args:
        name: The document's.
        base: The id of the first; the n-th has `#n` behind it.
        records: With names within the document as ids, to which their links lead.
    """

    name: str
    base: str
    records: Sequence[Passage]

    def passages(self) -> Iterator[Passage]:
        """The records as passages; a link to what is no record of the document is left out."""
        ids = {
            record.id: self.base if number == 1 else f"{self.base}#{number}"
            for number, record in enumerate(self.records, start=1)
        }
        for record in self.records:
            links = tuple(
                Link(ids[link.target], link.kind, link.weight)
                for link in record.links
                if link.target in ids
            )
            yield replace(
                record,
                id=ids[record.id],
                links=links,
                metadata={"source": self.base, **record.metadata},
                document=self.name,
                parts=len(self.records),
            )
