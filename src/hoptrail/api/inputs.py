"""Whatever a caller hands to a memory, as passages: strings, dicts, documents, passages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol, cast, runtime_checkable

from hoptrail.errors import InputError
from hoptrail.formats import tables
from hoptrail.formats.jsonl import parse_passage
from hoptrail.memory.passages import cleaning
from hoptrail.memory.passages.identity import content_id
from hoptrail.memory.storage.namespaces import Scope
from hoptrail.types import AsOf, Namespace, Passage
from hoptrail.values.json_values import seconds
from hoptrail.values.numbers import shown, whole
from hoptrail.values.strings import check_string


@runtime_checkable
class DocumentLike(Protocol):
    """What is used of a LangChain document, so that LangChain need not be there."""

    page_content: str
    metadata: Mapping[str, object]


OURS = "hoptrail"
"""The key of a document's metadata under which stands what a memory added to it."""

UNNAMED = "(no id yet)"
"""Stands where a passage's id does until it is made of its content."""

MOST_SEED = 2**63 - 1
"""What the store can keep of a seed."""

Item = str | Passage | Mapping[str, object] | DocumentLike
"""What is one passage."""


def passages_from(items: Item | Iterable[Item], namespace: Namespace | None) -> Iterator[Passage]:
    """The passages that are meant, one or many, each in its namespace.

    Args:
        items: A string, a dict as a corpus line, a LangChain document, a passage, or an iterable
            of them; a DataFrame (pandas, polars, Arrow) with a column `text` is a passage a row,
            a networkx graph one a node. What has no id gets the hash of its content.
        namespace: Where they go; None leaves each where it says.

    Yields:
        The passages, in the order given.

    Raises:
        InputError: Something is none of these, lacks its text, or says another namespace.
    """
    # First, for a data set of several splits is a mapping too, and is refused there.
    several: Iterable[object] | None = tables.records_of(items)
    if several is None:
        if isinstance(items, str | Passage | Mapping | DocumentLike):
            yield _placed(_passage(items, "the passage"), namespace)
            return
        tables.check_no_file(items)
        if not isinstance(items, Iterable):
            raise InputError(
                "passages are strings, dicts, documents, Passage objects, or an iterable of them, "
                f"got {type(items).__name__}"
            )
        several = items
    for number, item in enumerate(several, start=1):
        yield _placed(_passage(item, f"passage {number} of those given"), namespace)


def aligned(passages: Sequence[Passage], ids: Sequence[str]) -> list[str]:
    """An id for each passage, of those for each different key in their order.

    Args:
        passages: As they were given, perhaps some of them twice.
        ids: One for each different key (namespace and id) among them.

    Returns:
        As many ids as passages.
    """
    keys = [(passage.namespace, passage.id) for passage in passages]
    id_of = dict(zip(dict.fromkeys(keys), ids, strict=True))
    return [id_of[key] for key in keys]


def _passage(item: object, where: str) -> Passage:
    if isinstance(item, Passage):
        return item
    if isinstance(item, str):
        return _identified(Passage(id=UNNAMED, text=item))
    if isinstance(item, Mapping):
        return _from_record(item, where)
    if isinstance(item, DocumentLike):
        return _from_document(item, where)
    raise InputError(
        f"{where} must be a string, a dict, a document or a Passage, got {type(item).__name__}"
    )


def _from_record(record: Mapping[str, object], where: str) -> Passage:
    """A dict as a corpus line has it; its id may be absent."""
    named = record.get("id") is not None
    passage = parse_passage(record if named else {**record, "id": UNNAMED}, where)
    return passage if named else _identified(passage)


def _identified(passage: Passage) -> Passage:
    """A passage that came without an id, under the one of its content."""
    sound = cleaning.cleaned(passage)
    return replace(sound, id=content_id(sound))


def _from_document(document: DocumentLike, where: str) -> Passage:
    """A LangChain document: its title is in its metadata, its id may be absent.

    One that a memory returned (`hoptrail.integrations.documents`) says where it belongs under a
    key of its own, which does not become metadata.
    """
    if not isinstance(document.metadata, Mapping):
        raise InputError(
            f"{where}: a document's metadata must be a dict, got {type(document.metadata).__name__}"
        )
    metadata = dict(document.metadata)
    record: dict[str, object] = {
        "id": getattr(document, "id", None),
        "text": document.page_content,
        "metadata": metadata,
    }
    ours = metadata.get(OURS)
    if not (isinstance(ours, Mapping) and "namespace" in ours):
        title = metadata.get("title")
        return _from_record({**record, "title": title if isinstance(title, str) else None}, where)
    del metadata[OURS]
    own = ours.get("metadata")
    if isinstance(own, Mapping):
        metadata.update(own)
    record.update({key: ours.get(key) for key in ("title", "namespace", "links")})
    passage = _from_record(record, where)

    def time(name: str) -> float | None:
        value = ours.get(name)  # a whole number where the document went through JSON
        return None if value is None else seconds(value, name)

    return replace(
        passage,
        expires_at=time("expires_at"),
        valid_from=time("valid_from"),
        valid_until=time("valid_until"),
    )


def _placed(passage: Passage, namespace: Namespace | None) -> Passage:
    """The passage in the namespace asked for; one that says another is not moved silently."""
    if namespace is None or passage.namespace == namespace:
        return passage
    if passage.namespace:
        raise InputError(
            f"passage {passage.id!r} says namespace {'/'.join(passage.namespace)!r} and "
            f"{'/'.join(namespace)!r} was asked for: give one of the two"
        )
    return replace(passage, namespace=namespace)


def checked_scope(
    texts: Sequence[str],
    k: int,
    namespace: Sequence[str],
    what: str,
    as_of: AsOf | None = None,
) -> Scope:
    """The scope of a namespace, once the questions and k are known to make sense.

    Args:
        texts: Questions or queries.
        k: How many passages are asked for.
        namespace: As a caller gives it.
        what: What each text is, as a message has it.
        as_of: As `parse_scope` takes it.

    Returns:
        The scope.

    Raises:
        InputError: A question is empty or no string, k is below 1, the namespace or the time is
            none.
    """
    for text in texts:
        check_string(text, f"a {what}")
    whole(k, "k", least=1)
    return parse_scope(namespace, as_of)


def parse_scope(names: Sequence[str], as_of: AsOf | None = None) -> Scope:
    """A namespace, parsed; a bare string is refused, because it would mean its letters.

    Args:
        names: As a caller gives it, a tuple or a list.
        as_of: As of when its passages are read: a time that says its offset, "ever", or None for
            now.

    Returns:
        The scope of those that begin with it, which also stands for itself alone.

    Raises:
        InputError: It is no tuple or list of strings that are not empty, or no time.
    """
    scope = Scope.parse(cast("Namespace", tuple(names) if isinstance(names, list) else names))
    return scope if as_of is None else scope.at(as_of)


def checked_path(path: object) -> Path:
    """A path, once it is known that it is one.

    Args:
        path: As a caller gives it.

    Returns:
        The path.

    Raises:
        InputError: It is neither a string nor a path.
    """
    if not isinstance(path, str | Path) or not str(path):
        raise InputError(f"a path must be a string or a Path, got {type(path).__name__}")
    return Path(path)


def checked_seed(explore: int | None) -> int | None:
    """The seed as it is.

    Args:
        explore: A seed, or None for not to explore.

    Raises:
        InputError: It is no whole number of at least 0.
    """
    if explore is None:
        return None
    try:
        return whole(explore, "explore", most=MOST_SEED)
    except InputError:
        raise InputError(
            "explore must be a seed, a whole number of at least 0 and below 2**63, "
            f"got {shown(explore)}"
        ) from None
