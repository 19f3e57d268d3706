"""Recalls as LangChain documents."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from langchain_core.documents import Document

from hoptrail.api.inputs import OURS
from hoptrail.formats.json_views import link_data, metadata_data, trail_data, trail_to
from hoptrail.types import Hit, Recall

THEIRS = "metadata"
"""Under it there: what the user's metadata has at that same key, if anything."""


def documents(recall: Recall) -> list[Document]:
    """The passages of a recall as documents, best first.

    A document's metadata is a copy of the passage's own, and one key more, `hoptrail`: a dict of
    `title`, `namespace`, `score`, `recall` (the id that `memory.feedback` takes), `links`,
    `expires_at`, `valid_from`, `valid_until`, and `trail`: the most probable trail that read this
    passage, as plain data, or None if it was ranked without being read. `memory.add` puts such a
    document back where it came from, and keeps nothing of what was added.
    """
    return [_document(hit, recall) for hit in recall.hits]


def _document(hit: Hit, recall: Recall) -> Document:
    passage = hit.passage
    trail = trail_to(passage, recall.trails)
    ours: dict[str, Any] = {
        "title": passage.title,
        "namespace": list(passage.namespace),
        "score": hit.score,
        "probability": hit.probability,
        "complete": hit.complete,
        "recall": recall.id,
        "trail": trail_data(trail) if trail else None,
        "links": [link_data(link) for link in passage.links],
        "expires_at": passage.expires_at,
        "valid_from": passage.valid_from,
        "valid_until": passage.valid_until,
    }
    own = metadata_data(passage)
    if OURS in own:
        ours[THEIRS] = {OURS: deepcopy(own[OURS])}
    return Document(id=passage.id, page_content=passage.text, metadata={**own, OURS: ours})
