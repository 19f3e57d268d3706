"""Works as OpenAlex describes them: titles and abstracts as passages, citations as links."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hoptrail.errors import FormatError
from hoptrail.formats.readers.registry import FileContent
from hoptrail.types import Link, Passage

CITES = "cites"
"""The kind of a link from a work to one that it cites."""


def is_work(item: Mapping[str, Any]) -> bool:
    """Whether an object is a work of OpenAlex."""
    return isinstance(item.get("id"), str) and (
        "abstract_inverted_index" in item or isinstance(item.get("referenced_works"), list)
    )


def works_content(works: list[Any]) -> FileContent:
    """The works, each with its abstract, or its title where there is none.

    Metadata are `work` (the id), `doi`, `year`, `authors`, and `cites`: all that it cites, those
    that are not in the file too.

    Args:
        works: Of the API, or of its snapshot.

    Raises:
        FormatError: One has no title and no abstract in words.
    """
    ids = {work["id"] for work in works}
    records, untitled = [], 0
    for work in {work["id"]: work for work in works}.values():
        title = work.get("title") or work.get("display_name")
        text = abstract_text(work.get("abstract_inverted_index")) or title
        if not isinstance(text, str) or not text.strip():
            untitled += 1
            continue
        cites = [one for one in work.get("referenced_works") or () if isinstance(one, str)]
        metadata = {
            "work": work["id"],
            "doi": work.get("doi"),
            "year": work.get("publication_year"),
            "authors": _authors(work),
            "cites": cites,
        }
        links = tuple(Link(one, CITES) for one in dict.fromkeys(cites) if one in ids)
        present = {key: value for key, value in metadata.items() if value}
        title = title if isinstance(title, str) else None
        records.append(Passage(work["id"], text, title, present, (), links))
    remarks = (f"{untitled} works without a title or an abstract",) if untitled else ()
    return FileContent(records=tuple(records), remarks=remarks)


def abstract_text(positions: object) -> str:
    """An abstract in its words' order, of the index that OpenAlex gives; empty if there is none.

    Args:
        positions: The places of each word.

    Raises:
        FormatError: It is no such index.
    """
    if not positions:
        return ""
    try:
        words = [(place, word) for word, places in dict(positions).items() for place in places]  # type: ignore[call-overload]
        return " ".join(word for _, word in sorted(words))
    except (TypeError, ValueError) as error:
        raise FormatError("an abstract_inverted_index must give each word its places") from error


def _authors(work: Mapping[str, Any]) -> list[str]:
    names = []
    for one in work.get("authorships") or ():
        author = one.get("author") if isinstance(one, Mapping) else None
        name = author.get("display_name") if isinstance(author, Mapping) else None
        if isinstance(name, str):
            names.append(name)
    return names
