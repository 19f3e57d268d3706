"""Recalls as LangChain documents, and as text that a model reads."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from langchain_core.documents import Document

from hoptrail.api.inputs import OURS
from hoptrail.formats.json_views import link_data, metadata_data, trail_data, trail_to
from hoptrail.outputs.printable import printable_lines, quoted
from hoptrail.types import Hit, Namespace, Recall

THEIRS = "metadata"
"""Under it there: what the user's metadata has at that same key, if anything."""
NOTHING = "Nothing is remembered here."
"""What a model reads where there is no passage."""


def documents(recall: Recall) -> list[Document]:
    """The passages of a recall as documents, best first.

    A document's metadata is a copy of the passage's own, and one key more, `hoptrail`: a dict of
    `title`, `namespace`, `score`, `recall` (the id that `memory.feedback` takes), `links`,
    `expires_at`, and `trail`: the most probable trail that read this passage, as plain data, or
    None if it was ranked without being read. `memory.add` puts such a document back where it came
    from, and keeps nothing of what was added.
    """
    return [_document(hit, recall) for hit in recall.hits]


def _document(hit: Hit, recall: Recall) -> Document:
    passage = hit.passage
    trail = trail_to(passage, recall.trails)
    ours: dict[str, Any] = {
        "title": passage.title,
        "namespace": list(passage.namespace),
        "score": hit.score,
        "recall": recall.id,
        "trail": trail_data(trail) if trail else None,
        "links": [link_data(link) for link in passage.links],
        "expires_at": passage.expires_at,
    }
    own = metadata_data(passage)
    if OURS in own:
        ours[THEIRS] = {OURS: deepcopy(own[OURS])}
    return Document(id=passage.id, page_content=passage.text, metadata={**own, OURS: ours})


def for_a_model(recall: Recall, scope: Namespace = ()) -> str:
    """The passages as a model reads them, in a form that no stored text can imitate.

    A passage is a line `[number] "title" (id: "id")`, title and id as JSON strings, and then the
    lines of its text, each behind `> `. So whatever a text, a title or an id holds, it neither
    begins a line that is not behind `> ` nor ends the quotation it stands in; and what could hide
    or turn around is shown as its escape.

    Args:
        recall: With the passages.
        scope: The namespace that the model knows of; another one is named behind the id.
    """
    if not recall.hits:
        return NOTHING
    return "\n\n".join(_shown(number, hit, scope) for number, hit in enumerate(recall.hits, 1))


def _shown(number: int, hit: Hit, scope: Namespace) -> str:
    passage = hit.passage
    title = quoted(passage.title) if passage.title else "Untitled"
    space = ""
    if passage.namespace != scope:
        space = f", namespace: [{', '.join(map(quoted, passage.namespace))}]"
    lines = [f"> {line}".rstrip() for line in printable_lines(passage.text)]
    return "\n".join([f"[{number}] {title} (id: {quoted(passage.id)}{space})", *lines])
