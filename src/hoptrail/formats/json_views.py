"""Recalls as plain data: what `--json` prints and an integration's artifact holds.

Everything is a copy: whoever changes it changes nothing that a memory keeps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from hoptrail.types import Answer, Evidence, Hit, Hop, Link, Passage, Recall, Trail


def recall_data(recall: Recall) -> dict[str, Any]:
    """A recall as JSON values."""
    return {
        "id": recall.id,
        "question": recall.question,
        "passages": [_recalled_data(hit) for hit in recall.hits],
        "complete": recall.complete,
        "trails": [trail_data(trail) for trail in recall.trails],
        "cost": asdict(recall.cost),
    }


def answer_data(answer: Answer) -> dict[str, Any]:
    """An answer as JSON values, with the recall that its passages came from, if any did."""
    passages = {(passage.namespace, passage.id): passage for passage in answer.passages}
    return {
        "question": answer.question,
        "answer": answer.text,
        "known": answer.known,
        "probability": answer.probability,
        "answerable": answer.answerable,
        "evidence": [
            _evidence_data(one, passages.get((one.namespace, one.id))) for one in answer.evidence
        ],
        "recall": recall_data(answer.recall) if answer.recall else None,
    }


def hit_data(hit: Hit) -> dict[str, Any]:
    """A passage that was found, as JSON values; what the user knows of it is under `metadata`."""
    passage = hit.passage
    return {
        "id": passage.id,
        "title": passage.title,
        "text": passage.text,
        "score": hit.score,
        "namespace": list(passage.namespace),
        "metadata": metadata_data(passage),
        "links": [link_data(link) for link in passage.links],
        "valid_from": passage.valid_from,
        "valid_until": passage.valid_until,
    }


def _recalled_data(hit: Hit) -> dict[str, Any]:
    return {
        **hit_data(hit),
        "sub_question": hit.sub_question,
        "probability": hit.probability,
        "complete": hit.complete,
        "shares": asdict(hit.shares) if hit.shares else None,
        "sources": [{**asdict(one), "namespace": list(one.namespace)} for one in hit.sources],
    }


def metadata_data(passage: Passage) -> dict[str, Any]:
    """A passage's metadata, as JSON values."""
    return {key: _copied(value) for key, value in passage.metadata.items()}


def link_data(link: Link) -> dict[str, Any]:
    """A link as JSON values."""
    return {"target": link.target, "kind": link.kind, "weight": link.weight}


def trail_data(trail: Trail) -> dict[str, Any]:
    """A trail as JSON values."""
    return {
        "probability": trail.probability,
        "stop_reason": trail.stop_reason,
        "stop_probability": trail.stop_probability,
        "hops": [_hop_data(hop) for hop in trail.hops],
    }


def trail_to(passage: Passage, trails: Sequence[Trail]) -> Trail | None:
    """The most probable trail that read a passage; one of the same id elsewhere is another."""
    for trail in trails:
        if any((hop.namespace, hop.id) == (passage.namespace, passage.id) for hop in trail.hops):
            return trail
    return None


def _evidence_data(evidence: Evidence, passage: Passage | None) -> dict[str, Any]:
    return {
        "id": evidence.id,
        "namespace": list(evidence.namespace),
        "title": passage.title if passage else None,
        "field": evidence.field,
        "start": evidence.start,
        "end": evidence.end,
    }


def _hop_data(hop: Hop) -> dict[str, Any]:
    return {
        "query": hop.query,
        "id": hop.id,
        "namespace": list(hop.namespace),
        "link": hop.link,
        "probability": hop.probability,
        "stop_probability": hop.stop_probability,
    }


def _copied(value: Any) -> Any:
    """A JSON value as lists and dicts of its own, whatever its containers were."""
    if isinstance(value, Mapping):
        return {key: _copied(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_copied(inner) for inner in value]
    return value
