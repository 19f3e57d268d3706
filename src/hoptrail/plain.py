"""Recalls and trails as plain data: what `--json` prints and what documents carry."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from hoptrail.types import Hit, Recall, Trail


def recall_data(recall: Recall) -> dict[str, Any]:
    """A recall as JSON values."""
    return {
        "id": recall.id,
        "question": recall.question,
        "passages": [{**hit_data(hit), "asked": hit.asked} for hit in recall.hits],
        "trails": [trail_data(trail) for trail in recall.trails],
        "cost": asdict(recall.cost),
    }


def hit_data(hit: Hit) -> dict[str, Any]:
    """A passage that was found, as JSON values."""
    passage = hit.passage
    return {
        "id": passage.id,
        "title": passage.title,
        "text": passage.text,
        "score": hit.score,
        "namespace": list(passage.namespace),
    }


def trail_data(trail: Trail) -> dict[str, Any]:
    """A trail as JSON values."""
    return {
        "probability": trail.probability,
        "stop": trail.stop,
        "sure": trail.sure,
        "hops": [asdict(hop) for hop in trail.hops],
    }
