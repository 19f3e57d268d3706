"""Bringing the graph's rows up to what the store holds, touching only what a change can reach.

A passage that was written is scanned for the known names and for entities. A name that is new can
hide in older passages, which an index finds (`name_index`); a name that is gone may have hidden a
shorter one, so that the passages that held it are scanned again. The result is the same as that of
building everything from nothing.

Every name is looked for, also one that too many passages share to tell which is meant: that is
judged when the edges are made, from what is alive then.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Literal

from hoptrail.graph.extraction import schema
from hoptrail.graph.extraction.entities import find_aliases, find_entities
from hoptrail.graph.extraction.name_index import index_keys, index_query
from hoptrail.graph.extraction.names import (
    Match,
    NameMatcher,
    WordSpans,
    head,
    heads,
    name_in_texts,
    words,
)
from hoptrail.memory.storage.damaged import check_text
from hoptrail.memory.storage.records import batches

if TYPE_CHECKING:
    import sqlite3

CHUNK = 20_000
"""Passages taken in by one transaction: some ten seconds in which nobody else can write."""

NAMES_A_TEXT = 30
"""Names known for each text to be read above which those are looked up that it could hold: then a
text costs the same however many are known."""

_Mention = tuple[int, int, int, int]
"""Passage, start, end, name."""

_Titles = list[tuple[int, list[str]]]
"""Passages with the names that they bear: their title's first, if it has one, then aliases."""


def catch_up(connection: sqlite3.Connection, newest: int) -> bool:
    """Bring the rows closer to the store's newest version, inside the caller's transaction.

    At most `CHUNK` passages are taken in, so that other writers get their turn.

    Args:
        connection: The store's.
        newest: The store's version.

    Returns:
        Whether the newest version is reached.
    """
    since = schema.reflected_version(connection)
    row = connection.execute(
        "SELECT version FROM passages WHERE version > ? ORDER BY version LIMIT 1 OFFSET ?",
        (since, CHUNK - 1),
    ).fetchone()
    version = newest if row is None else row[0]
    written = _written(connection, since, version)
    # Rows of passages that were written over go, and with them what they brought.
    connection.execute(
        "DELETE FROM graph_passages "
        "WHERE passage IN (SELECT rowid FROM passages WHERE version > ? AND version <= ?)",
        (since, version),
    )
    connection.execute("DELETE FROM graph_words WHERE rowid IN (SELECT passage FROM graph_gone)")
    connection.execute("DELETE FROM graph_gone")
    fresh = {
        namespace: _add_titles(connection, namespace, titles, version)
        for namespace, titles in written.items()
    }
    again = _mentioners_of_vanished(connection)
    for namespace, titles in written.items():
        hits = _could_hold(connection, namespace, fresh[namespace]) if since else {}
        _scan(connection, namespace, dict(titles))
        for rowid, _ in titles:
            again.discard(rowid)
            hits.pop(rowid, None)
        for rowid in again.intersection(hits):
            del hits[rowid]
        again |= _enter_new(connection, hits, fresh[namespace], version)
    _scan_again(connection, sorted(again), version)
    connection.execute("UPDATE graph_state SET version = ?", (version,))
    return bool(version == newest)


def _written(connection: sqlite3.Connection, since: int, version: int) -> dict[str, _Titles]:
    """By namespace, the passages added or changed since, up to a version."""
    by_namespace: dict[str, _Titles] = {}
    rows = connection.execute(
        "SELECT rowid, namespace, title, text FROM passages "
        "WHERE version > ? AND version <= ? ORDER BY rowid",
        (since, version),
    )
    for rowid, namespace, title, text in rows:
        by_namespace.setdefault(namespace, []).append((rowid, _names_of(*_sound(title, text))))
    return by_namespace


def _names_of(title: str | None, text: str) -> list[str]:
    """The names that a passage bears."""
    name = name_in_texts(title)
    return [name, *find_aliases(title, text)] if name else []


def _add_titles(
    connection: sqlite3.Connection, namespace: str, titles: _Titles, version: int
) -> dict[str, int]:
    """Enter passages with their names; the names that were not known before, with their ids."""
    all_names = sorted({name for _, names in titles for name in names})
    ids = _name_ids(connection, namespace, all_names)
    fresh = [name for name in all_names if name not in ids]
    connection.executemany(
        "INSERT INTO graph_names (namespace, name, head) VALUES (?, ?, ?)",
        [(namespace, name, head(name)) for name in fresh],
    )
    ids |= _name_ids(connection, namespace, fresh)
    connection.executemany(
        "INSERT INTO graph_passages VALUES (?, ?)", [(rowid, version) for rowid, _ in titles]
    )
    connection.executemany(
        "INSERT INTO graph_titles VALUES (?, ?, ?)",
        [(rowid, ids[name], min(i, 1)) for rowid, names in titles for i, name in enumerate(names)],
    )
    return {name: ids[name] for name in fresh}


def _name_ids(
    connection: sqlite3.Connection,
    namespace: str,
    values: Sequence[str],
    column: Literal["name", "head"] = "name",
) -> dict[str, int]:
    """The names of a namespace, with their ids, whose column holds one of the values."""
    ids: dict[str, int] = {}
    for part, marks in batches(values):
        rows = connection.execute(
            f"SELECT name, id FROM graph_names WHERE namespace = ? AND {column} IN ({marks})",
            (namespace, *part),
        )
        ids.update(rows.fetchall())
    return ids


def _mentioners_of_vanished(connection: sqlite3.Connection) -> set[int]:
    """Drop the names that no passage bears any more; the passages that mention them."""
    connection.execute(
        "DELETE FROM graph_lost WHERE EXISTS "
        "(SELECT 1 FROM graph_titles AS t WHERE t.name = graph_lost.name)"
    )
    rows = connection.execute(
        "SELECT DISTINCT passage FROM graph_mentions WHERE name IN (SELECT name FROM graph_lost)"
    ).fetchall()
    connection.execute("DELETE FROM graph_names WHERE id IN (SELECT name FROM graph_lost)")
    connection.execute("DELETE FROM graph_lost")
    return {rowid for (rowid,) in rows}


def _could_hold(
    connection: sqlite3.Connection, namespace: str, fresh: Iterable[str]
) -> dict[int, list[str]]:
    """By older passage, the new names that may stand in it."""
    hits: dict[int, list[str]] = {}
    for name in fresh:
        # CROSS JOIN: the index is asked first.
        rows = connection.execute(
            "SELECT w.rowid FROM graph_words AS w CROSS JOIN passages AS p ON p.rowid = w.rowid "
            "WHERE graph_words MATCH ? AND p.namespace = ?",
            (index_query(name, namespace), namespace),
        )
        for (rowid,) in rows:
            hits.setdefault(rowid, []).append(name)
    return hits


def _scan(connection: sqlite3.Connection, namespace: str, titles: dict[int, list[str]]) -> None:
    """Enter what newly written passages of one namespace mention.

    Args:
        connection: The store's.
        namespace: As stored.
        titles: By passage, the names that it bears.
    """
    names = _KnownNames(connection, namespace, len(titles))
    for part, texts in _texts(connection, list(titles)):
        tokens = {rowid: words(text) for rowid, _, text in texts}
        names.prepare(tokens.values())
        mentions: list[_Mention] = []
        entities: list[tuple[int, int, int, str]] = []
        for rowid, title, _ in texts:
            mentions += names.mentions(rowid, tokens[rowid], titles[rowid])
            entities += [
                (rowid, e.start, e.end, e.name) for e in find_entities(tokens[rowid], title)
            ]
        connection.executemany("INSERT INTO graph_mentions VALUES (?, ?, ?, ?)", mentions)
        connection.executemany("INSERT INTO graph_entities VALUES (?, ?, ?, ?)", entities)
        connection.executemany(
            "INSERT INTO graph_words (rowid, keys) VALUES (?, ?)",
            [(rowid, index_keys(tokens[rowid], namespace)) for rowid in part],
        )


def _enter_new(
    connection: sqlite3.Connection, hits: dict[int, list[str]], fresh: dict[str, int], version: int
) -> set[int]:
    """Enter what older passages mention of new names; the passages that have to be read whole.

    Where all older matches stay as they were, no name that these hide can come to light, so that
    no other needs to be looked for.
    """
    crossed: set[int] = set()
    for part, texts in _texts(connection, sorted(hits)):
        before, own = _mentions_now(connection, part), _names_at(connection, "titles", part)
        mention_ids = _names_at(connection, "mentions", part)
        for rowid, _, text in texts:
            tokens, bears = words(text), own.get(rowid, {})
            ids = bears | mention_ids.get(rowid, {})
            matcher = NameMatcher(ids)
            stays = set(matcher.matches(tokens))
            for name in hits[rowid]:
                matcher.add(name)
                ids[name] = fresh[name]
            matches = list(matcher.matches(tokens))
            if not stays.issubset(matches):
                crossed.add(rowid)
            elif len(matches) > len(stays):
                after = _mentions(rowid, tokens, matches, ids, bears)
                if after != before.get(rowid, []):
                    _replace(connection, rowid, after, version)
    return crossed


def _scan_again(connection: sqlite3.Connection, rowids: Sequence[int], version: int) -> None:
    """Bring the mentions of older passages up to the names that are known now."""
    spaces: dict[str, list[int]] = {}
    for part, marks in batches(rowids):
        rows = connection.execute(
            f"SELECT rowid, namespace FROM passages WHERE rowid IN ({marks})", part
        )
        for rowid, namespace in rows:
            spaces.setdefault(namespace, []).append(rowid)
    for namespace, members in spaces.items():
        names = _KnownNames(connection, namespace, len(members))
        for part, texts in _texts(connection, members):
            tokens = {rowid: words(text) for rowid, _, text in texts}
            names.prepare(tokens.values())
            before, own = _mentions_now(connection, part), _names_at(connection, "titles", part)
            for rowid, _, _ in texts:
                after = names.mentions(rowid, tokens[rowid], own.get(rowid, {}))
                if after != before.get(rowid, []):
                    _replace(connection, rowid, after, version)


def _replace(
    connection: sqlite3.Connection, rowid: int, mentions: Sequence[_Mention], version: int
) -> None:
    connection.execute("DELETE FROM graph_mentions WHERE passage = ?", (rowid,))
    connection.executemany("INSERT INTO graph_mentions VALUES (?, ?, ?, ?)", mentions)
    connection.execute("UPDATE graph_passages SET version = ? WHERE passage = ?", (version, rowid))


def _mentions_now(
    connection: sqlite3.Connection, rowids: Sequence[int]
) -> dict[int, list[_Mention]]:
    """The mentions that are entered for passages, by start."""
    mentions: dict[int, list[_Mention]] = {}
    for part, marks in batches(rowids):
        rows = connection.execute(
            f'SELECT passage, start, "end", name FROM graph_mentions WHERE passage IN ({marks}) '
            "ORDER BY passage, start",
            part,
        )
        for row in rows:
            mentions.setdefault(row[0], []).append(row)
    return mentions


def _names_at(
    connection: sqlite3.Connection, table: Literal["titles", "mentions"], rowids: Sequence[int]
) -> dict[int, dict[str, int]]:
    """The names that passages bear or mention, with their ids."""
    names: dict[int, dict[str, int]] = {}
    for part, marks in batches(rowids):
        rows = connection.execute(
            f"SELECT r.passage, n.name, n.id FROM graph_{table} AS r "
            f"JOIN graph_names AS n ON n.id = r.name WHERE r.passage IN ({marks})",
            part,
        )
        for rowid, name, number in rows:
            names.setdefault(rowid, {})[name] = number
    return names


def _mentions(
    rowid: int,
    text: WordSpans,
    matches: Iterable[Match],
    ids: dict[str, int],
    own: Container[str],
) -> list[_Mention]:
    """What a passage mentions; its own names are read as such and left out."""
    return [
        (rowid, text.spans[match.first][0], text.spans[match.last][1], ids[match.name])
        for match in matches
        if match.name not in own
    ]


class _KnownNames:
    """Finds the names of a namespace in texts: all are known, or those that the texts could hold.

    Args:
        connection: The store's.
        namespace: As stored.
        count: Texts that will be read.
    """

    def __init__(self, connection: sqlite3.Connection, namespace: str, count: int) -> None:
        self._connection, self._namespace = connection, namespace
        most = NAMES_A_TEXT * count
        rows = connection.execute(
            "SELECT name, id FROM graph_names WHERE namespace = ? LIMIT ?", (namespace, most + 1)
        ).fetchall()
        self._all = len(rows) <= most
        self._know(dict(rows) if self._all else {})

    def _know(self, ids: dict[str, int]) -> None:
        self._ids, self._matcher = ids, NameMatcher(ids)

    def prepare(self, texts: Iterable[WordSpans]) -> None:
        """Know the names that these texts could hold."""
        if not self._all:
            name_heads = sorted(set().union(*map(heads, texts)))
            self._know(_name_ids(self._connection, self._namespace, name_heads, "head"))

    def mentions(self, rowid: int, text: WordSpans, own: Container[str]) -> list[_Mention]:
        """What a passage mentions of them."""
        return _mentions(rowid, text, self._matcher.matches(text), self._ids, own)


def _texts(
    connection: sqlite3.Connection, rowids: Sequence[int]
) -> Iterator[tuple[Sequence[int], list[tuple[int, str | None, str]]]]:
    """Rowids in parts, with the rowid, title and text of their passages."""
    for part, marks in batches(rowids):
        rows = connection.execute(
            f"SELECT rowid, title, text FROM passages WHERE rowid IN ({marks}) ORDER BY rowid", part
        )
        yield part, [(rowid, *_sound(title, text)) for rowid, title, text in rows.fetchall()]


def _sound(title: object, text: object) -> tuple[str | None, str]:
    """A title and a text; nothing of a passage that is damaged."""
    try:
        check_text(title, text)
    except ValueError:
        return None, ""
    return None if title is None else str(title), str(text)
