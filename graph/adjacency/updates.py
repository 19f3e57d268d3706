"""The next state of a graph out of the last one and what changed, touching only what that reaches.

A passage that is new, changed or gone takes along what its text says and the names that it bears.
When what a name can mean changes, so do the mentions of all who speak of it, and with them what
leads to the passages that these mean or meant. The result equals `make_adjacency` over everything.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hoptrail.graph.adjacency.adjacency import (
    Adjacency,
    Ranks,
    Tables,
    all_tables,
    backwards,
    by_ends,
    by_name,
    make_adjacency,
    mentions,
)
from hoptrail.graph.adjacency.ragged import Ints, RaggedArray, Records, by_key, records

SHARE = 8
"""A change that reaches more than this part of the lists makes them anew."""

FEW = 1024
"""Lists that may be replaced whatever the number of all."""


def updated(
    a: Adjacency,
    tables: Tables,
    touched: Ints,
    sizes: tuple[int, int, int],
    living: int,
    ranks: Ranks,
) -> Adjacency:
    """The graph after a change.

    Args:
        a: The graph before it.
        tables: Of the passages that are new or were changed, and the links to and from these.
        touched: Their slots, and those that are gone; ascending.
        sizes: How many slots, names and entities there are now.
        living: Slots that are alive now.
        ranks: Orders slots by content.
    """
    if _many(len(touched), sizes[0]):
        return make_adjacency(_merged(a, tables, touched), sizes, living, ranks)
    state = replace(a, n=sizes[0], living=living)
    state = _of_titles(state, tables.titles, touched, sizes, ranks)
    affected = _speakers(a, state, touched)
    if _many(len(affected), sizes[0]):
        return make_adjacency(_merged(a, tables, touched), sizes, living, ranks)
    state = _of_spoken(state, tables.surface_mentions, touched, sizes)
    state = _of_mentions(state, np.union1d(affected, touched), ranks)
    state = _of_entities(state, tables.entities, touched, sizes)
    state = _of_links(state, tables.links, touched)
    if any(_many(len(lists.changed), lists.rows) for lists in _lists(state)):
        return make_adjacency(all_tables(state), sizes, living, ranks)
    return state


def _many(some: int, of: int) -> bool:
    return some > max(FEW, of // SHARE)


def _lists(a: Adjacency) -> list[RaggedArray]:
    return [value for value in vars(a).values() if isinstance(value, RaggedArray)]


def _merged(a: Adjacency, tables: Tables, touched: Ints) -> Tables:
    """The tables of everything after a change."""
    old = all_tables(a)
    stale = np.isin(old.links[:, 0], touched) | np.isin(old.links[:, 1], touched)
    return Tables(
        _exchanged(old.titles, tables.titles, touched),
        _exchanged(old.surface_mentions, tables.surface_mentions, touched),
        _exchanged(old.entities, tables.entities, touched),
        np.concatenate([old.links[~stale], tables.links]),
    )


def _exchanged(old: Records, new: Records, touched: Ints) -> Records:
    return np.concatenate([old[~np.isin(old[:, 0], touched)], new])


def _of_titles(
    a: Adjacency, titles: Records, touched: Ints, sizes: tuple[int, int, int], ranks: Ranks
) -> Adjacency:
    names = np.union1d(a.titles.gather(touched)[1][:, 0], titles[:, 1]).astype(np.int64)
    owner, bearers = a.passages_by_name.gather(names)
    keep = ~np.isin(bearers[:, 0], touched)
    borne = by_name(
        np.concatenate([names[owner[keep]], titles[:, 1]]),
        np.concatenate([bearers[keep], titles[:, [0, 2]]]),
        ranks,
    )
    return replace(
        a,
        titles=a.titles.with_rows(by_key(titles[:, 0], titles[:, 1:], touched), sizes[0]),
        passages_by_name=a.passages_by_name.with_rows(
            by_key(borne[:, 0], borne[:, 1:], names), sizes[1]
        ),
    )


def _speakers(before: Adjacency, after: Adjacency, touched: Ints) -> NDArray[np.integer]:
    """The slots that speak of a name that a touched passage bears or bore."""
    bore, bear = before.titles.gather(touched)[1], after.titles.gather(touched)[1]
    names = np.union1d(bore[:, 0], bear[:, 0]).astype(np.int64)
    return np.unique(before.mentioners_by_name.gather(names)[1][:, 0])


def _of_spoken(
    a: Adjacency, surface_mentions: Records, touched: Ints, sizes: tuple[int, int, int]
) -> Adjacency:
    surface_mentions = surface_mentions[
        np.lexsort((surface_mentions[:, 1], surface_mentions[:, 0]))
    ]
    names = np.union1d(a.surface_mentions.gather(touched)[1][:, 2], surface_mentions[:, 3]).astype(
        np.int64
    )
    owner, speakers = a.mentioners_by_name.gather(names)
    keep = ~np.isin(speakers[:, 0], touched)
    pairs = np.concatenate(
        [records(names[owner[keep]], speakers[keep, 0]), surface_mentions[:, [3, 0]]]
    )
    pairs = np.unique(pairs, axis=0)
    return replace(
        a,
        surface_mentions=a.surface_mentions.with_rows(
            by_key(surface_mentions[:, 0], surface_mentions[:, 1:], touched), sizes[0]
        ),
        mentioners_by_name=a.mentioners_by_name.with_rows(
            by_key(pairs[:, 0], pairs[:, 1:], names), sizes[1]
        ),
    )


def _of_mentions(a: Adjacency, sources: Ints, ranks: Ranks) -> Adjacency:
    """Join anew what some slots say."""
    sources = sources.astype(np.int64)
    owner, said = a.surface_mentions.gather(sources)
    surface_mentions = np.concatenate([sources[owner].astype(np.int32)[:, None], said], axis=1)
    out = mentions(surface_mentions, a.passages_by_name, ranks)
    targets = np.union1d(a.mentions_out.gather(sources)[1][:, 0], out[:, 1]).astype(np.int64)
    owner, entries = a.mentions_in.gather(targets)
    keep = ~np.isin(entries[:, 0], sources)
    entries, owner = entries[keep], owner[keep]
    others = records(entries[:, 0], targets[owner], entries[:, 1], entries[:, 2], entries[:, 3])
    into = backwards(np.concatenate([others, out]), ranks)
    return replace(
        a,
        mentions_out=a.mentions_out.with_rows(by_key(out[:, 0], out[:, 1:], sources), a.n),
        mentions_in=a.mentions_in.with_rows(by_key(into[:, 0], into[:, 1:], targets), a.n),
    )


def _of_entities(
    a: Adjacency, pairs: Records, touched: Ints, sizes: tuple[int, int, int]
) -> Adjacency:
    entities = np.union1d(a.entities.gather(touched)[1][:, 0], pairs[:, 1]).astype(np.int64)
    owner, entries = a.passages_by_entity.gather(entities)
    keep = ~np.isin(entries[:, 0], touched)
    members = np.concatenate([records(entities[owner[keep]], entries[keep, 0]), pairs[:, ::-1]])
    return replace(
        a,
        entities=a.entities.with_rows(by_key(pairs[:, 0], pairs[:, 1:], touched), sizes[0]),
        passages_by_entity=a.passages_by_entity.with_rows(
            by_key(members[:, 0], members[:, 1:], entities), sizes[2]
        ),
    )


def _of_links(a: Adjacency, links: Records, touched: Ints) -> Adjacency:
    """Exchange all links that begin or end at a touched slot."""
    sources = np.union1d(touched, a.links_into.gather(touched)[1][:, 0])
    sources = np.union1d(sources, links[:, 0]).astype(np.int64)
    owner, entries = a.links_out.gather(sources)
    old = np.concatenate([sources[owner].astype(np.int32)[:, None], entries], axis=1)
    targets = np.union1d(touched, np.union1d(old[:, 1], links[:, 1])).astype(np.int64)
    stale = np.isin(old[:, 0], touched) | np.isin(old[:, 1], touched)
    out = by_ends(np.concatenate([old[~stale], links]))
    owner, entries = a.links_into.gather(targets)
    keep = ~np.isin(entries[:, 0], sources)
    others = records(entries[keep, 0], targets[owner[keep]], entries[keep, 1], entries[keep, 2])
    into = by_ends(np.concatenate([others, out]))
    return replace(
        a,
        links_out=a.links_out.with_rows(by_key(out[:, 0], out[:, 1:], sources), a.n),
        links_into=a.links_into.with_rows(by_key(into[:, 1], into[:, [0, 2, 3]], targets), a.n),
    )
