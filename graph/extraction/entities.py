"""Entities by capital letters: the names that a text holds, found without a model or a word list.

A run of capitalised words is a name ("Conservative Party of Canada"); small words may stand inside
it but not at its ends. What makes this precise is what is left out: articles and other function
words in front, dates, single letters, and a lone word that only opens a sentence. A last name that
follows the full one in the same text is the full one again. Scripts without capitals yield nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from hoptrail.graph.extraction.names import MAX_WORDS, STOP_WORDS, WordSpans, name_in_texts, words

_INNER = frozenset(
    "of the de la le du des del della di da do dos van von der den zu zum af av al el bin ibn y e"
    " und et ter ten".split()
)
"""Small words that join the parts of a name."""

_DATES = frozenset(
    "january february march april may june july august september october november december"
    " monday tuesday wednesday thursday friday saturday sunday jan feb mar apr jun jul aug sep sept"
    " oct nov dec mon tue wed thu fri sat sun bc ad bce ce am pm".split()
)

_ARTICLES = frozenset("the a an".split())

_OPENERS = frozenset(
    "hey hi hello yeah yep yup nah wow thanks thank oh ok okay congrats congratulations please"
    " sorry well great good glad sure right really maybe actually today yesterday tomorrow tonight"
    " lately recently last next many most some".split()
)
"""What often opens a sentence before a name ("Hey Gina"), besides function words."""

_GIVEN = frozenset("will may".split())
"""Function words that are first names as well."""

_NOT_FIRST = _ARTICLES | _DATES | _INNER
_NOT_LAST = _DATES | _INNER

_TITLES = frozenset("mr mrs ms dr sir dame lord lady st saint prof professor rev fr".split())
"""Alone these name nobody."""


_JOINS = frozenset((" ", "-", "- ", " - ", "'", "’", "&", " & ", "/", "."))
_BREAKS = frozenset(".!?:;\"“'‘(*")

OPENING = 200
"""Characters in which the name that opens a text must lie."""


@dataclass(frozen=True, slots=True)
class EntityMention:
    """A name at a place in a passage."""

    name: str
    """Folded; as `names.name_in_texts` would give it."""
    start: int
    """First character in the text; -1 for the passage's own title."""
    end: int


def find_entities(text: WordSpans, title: str | None = None) -> list[EntityMention]:
    """The names in a passage, in reading order; its title first, as what the whole is about.

    Args:
        text: As `names.words` cuts it.
        title: The passage's, if it has one.

    Examples:
        >>> text = words("In 1905 Albert Einstein left Bern. Einstein was 26.")
        >>> [mention.name for mention in find_entities(text)]
        ['albert einstein', 'bern', 'albert einstein']
    """
    own = name_in_texts(title)
    title_words = set(own.split()) if own else set()
    mentions: list[EntityMention] = [EntityMention(own, -1, -1)] if own else []
    full: dict[str, str] = {}  # last word -> the longer name that ended in it last
    last_names = {}
    if own and " " in own and title and "," not in title:  # after a comma comes no last name
        last_names[own.rsplit(" ", 1)[1]] = own
    runs = list(_runs(text))
    inside = {text.folded[i] for i, j in runs for i in range(i, j + 1) if not _opens(text, i)}
    for first, last in runs:
        name = " ".join(text.folded[first : last + 1])
        if first == last:
            if _opens(text, first) and not _is_sure(text, first, inside | title_words):
                continue
            name = last_names.get(name) or full.get(name, name)
        else:
            full[text.folded[last]] = name
        mentions.append(EntityMention(name, text.spans[first][0], text.spans[last][1]))
    return mentions


def find_aliases(title: str | None, text: str) -> list[str]:
    """What else a passage is called by, if nothing else is: two kinds that proved precise.

    The title up to its first comma ("Maria Komnene, Queen of Jerusalem"), and the name that the
    text opens with, where it shares a word with the title (William Jefferson Clinton, under "Bill
    Clinton").

    Args:
        title: The passage's, if it has one.
        text: The passage's.

    Examples:
        >>> find_aliases("Bill Clinton", "William Jefferson Clinton is an American politician.")
        ['william jefferson clinton']
    """
    name = name_in_texts(title)
    if title is None or name is None:
        return []
    start = name_in_texts(title.split(",")[0]) if "," in title else None
    names = [start] if start and not title.startswith(",") else []
    opening = words(text[:OPENING])
    first, last = next(_runs(opening), (0, 0))
    if first <= 2 and first < last:
        run = opening.folded[first : last + 1]
        if not STOP_WORDS.issuperset(set(run).intersection(name.split())):
            names.append(" ".join(run))
    return [alias for alias in dict.fromkeys(names) if alias != name]


def _runs(tokens: WordSpans) -> Iterator[tuple[int, int]]:
    """Runs of capitalised words, trimmed; first and last word of each."""
    i, n = 0, len(tokens)
    while i < n:
        if not tokens.capital[i]:
            i += 1
            continue
        last = i
        while (following := _continues(tokens, last)) is not None:
            last = following
        trimmed = _trim(tokens, i, last)
        if trimmed is not None:
            yield trimmed
        i = last + 1


def _continues(tokens: WordSpans, i: int) -> int | None:
    """The next word of the name that word i belongs to; None where the name ends."""
    j = i + 1
    while j < len(tokens) and j - i <= 3:
        if not _close(tokens, j - 1):
            return None
        if tokens.capital[j] and (len(tokens.folded[j]) > 1 or j == i + 1):
            return j
        if j == i + 1 and tokens.folded[j].isdigit() and tokens.folded[i] not in _DATES:
            return j if len(tokens.folded[j]) < 4 else None
        if tokens.folded[j] not in _INNER:
            return None
        j += 1
    return None


def _close(tokens: WordSpans, i: int) -> bool:
    """Whether word i + 1 follows word i with nothing between that would end a name."""
    end, start = tokens.spans[i][1], tokens.spans[i + 1][0]
    gap = tokens.text[end:start]
    if gap in _JOINS:
        return True
    # "J. S. Bach", "St. Louis", but not "World War II. He".
    short = end - tokens.spans[i][0] <= 2 or tokens.folded[i] in _TITLES
    word = tokens.folded[i + 1]
    initial = len(tokens.folded[i]) == len(word) == 1
    return gap == ". " and short and (initial or word not in STOP_WORDS)


def _opens(tokens: WordSpans, i: int) -> bool:
    """Whether word i opens a sentence, where any word has a capital."""
    return i == 0 or _breaks(tokens.text[tokens.spans[i - 1][1] : tokens.spans[i][0]])


@lru_cache(maxsize=4096)
def _breaks(gap: str) -> bool:
    """Whether what stands between two words ends a sentence or begins a quotation."""
    return "\n" in gap or (len(gap) > 1 and not _BREAKS.isdisjoint(gap))


def _is_sure(tokens: WordSpans, i: int, sure_words: set[str]) -> bool:
    """Whether a lone word that opens a sentence is a name all the same."""
    start, end = tokens.spans[i]
    if tokens.folded[i] in sure_words:
        return True
    return end - start > 1 and tokens.text[start:end].isupper()


def _trim(tokens: WordSpans, first: int, last: int) -> tuple[int, int] | None:
    """The run without function words and dates at its ends; None if nothing is left."""
    folded, opens = tokens.folded, _opens(tokens, first)
    if opens and last == first + 1 and folded[last] == "i":  # "Glad I"
        return None
    while first <= last and (
        folded[first] in _NOT_FIRST or (opens and _leads(tokens, first, last))
    ):
        first += 1
    while first <= last and folded[last] in _NOT_LAST:
        last -= 1
    if first > last or last - first >= MAX_WORDS:
        return None
    if first == last and _is_empty(tokens, first):
        return None
    return first, last


def _leads(tokens: WordSpans, i: int, last: int) -> bool:
    """Whether a word that opens a sentence only leads up to the name behind it."""
    word = tokens.folded[i]
    if word in _GIVEN:
        return i == last
    return word in STOP_WORDS or word in _OPENERS


def _is_empty(tokens: WordSpans, i: int) -> bool:
    """Whether a word alone names nothing: a letter, a number, a form of address, "It"."""
    word, (start, end) = tokens.folded[i], tokens.spans[i]
    if len(word) < 2 or word.isdigit() or word in _TITLES:
        return True
    return word in STOP_WORDS and not tokens.text[start:end].isupper()
