"""Passages as LlamaIndex's nodes, and its nodes and documents as passages."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from llama_index.core.base.llms.types import BaseContentBlock, TextBlock
from llama_index.core.schema import (
    BaseNode,
    MetadataMode,
    NodeRelationship,
    NodeWithScore,
    RelatedNodeInfo,
    TextNode,
)

from hoptrail.api.inputs import OURS
from hoptrail.errors import InputError
from hoptrail.formats.json_views import link_data, metadata_data, trail_data, trail_to
from hoptrail.formats.sequences import NEXT
from hoptrail.integrations.operations.passage_text import passages_text
from hoptrail.types import Hit, Link, Namespace, Passage, Recall
from hoptrail.values.numbers import shown


class PassageNode(TextNode):
    """A passage as a node: its text is as it was stored, and what a model is shown is quoted.

    A program reads the text itself (`node.text`). What LlamaIndex writes into a prompt
    (`MetadataMode.LLM`) has every line of the text behind `> `, under its title and id as JSON
    strings, so that no stored text passes for a part of the prompt.
    """

    @classmethod
    def class_name(cls) -> str:
        """By which LlamaIndex names the kind in what it saves."""
        return "PassageNode"

    def get_content(self, metadata_mode: MetadataMode = MetadataMode.NONE) -> str:
        """The text; quoted where it is for a model.

        Args:
            metadata_mode: What it is for.
        """
        if metadata_mode != MetadataMode.LLM:
            return super().get_content(metadata_mode)
        ours = self.metadata.get(OURS) or {}
        passage = Passage(ours.get("id", self.node_id), self.text, ours.get("title"))
        return passages_text([Hit(passage, 0.0)])

    def get_content_blocks(
        self, metadata_mode: MetadataMode = MetadataMode.NONE
    ) -> list[BaseContentBlock]:
        """The same as blocks of a message.

        Args:
            metadata_mode: What it is for.
        """
        return [TextBlock(text=self.get_content(metadata_mode))]


def recall_nodes(recall: Recall, scope: Namespace = ()) -> list[NodeWithScore]:
    """The passages of a recall as nodes with their scores, best first.

    A node's id is the passage's; that of a passage in a namespace below the scope is a JSON list of
    the rest of its namespace and its id, because LlamaIndex takes nodes of one id for one node. Its
    metadata is the passage's own, and under `hoptrail`: `id`, `title`, `namespace`, `recall`,
    `trail`, `links` and `expires_at`, which neither embeddings nor models are shown.

    Args:
        recall: With the passages.
        scope: Where it looked.
    """
    return [NodeWithScore(node=_node(hit, recall, scope), score=hit.score) for hit in recall.hits]


def _node(hit: Hit, recall: Recall, scope: Namespace) -> PassageNode:
    passage = hit.passage
    trail = trail_to(passage, recall.trails)
    ours: dict[str, Any] = {
        "id": passage.id,
        "title": passage.title,
        "namespace": list(passage.namespace),
        "recall": recall.id,
        "trail": trail_data(trail) if trail else None,
        "links": [link_data(link) for link in passage.links],
        "expires_at": passage.expires_at,
        "valid_from": passage.valid_from,
        "valid_until": passage.valid_until,
    }
    below = passage.namespace[len(scope) :]
    following = next((link.target for link in passage.links if link.kind == NEXT), None)
    relationships: dict[NodeRelationship, Any] = {}
    if passage.document:
        relationships[NodeRelationship.SOURCE] = RelatedNodeInfo(node_id=passage.document)
    if following:
        relationships[NodeRelationship.NEXT] = RelatedNodeInfo(node_id=_node_id(below, following))
    return PassageNode(
        id_=_node_id(below, passage.id),
        text=passage.text,
        extra_info={**metadata_data(passage), OURS: ours},
        excluded_embed_metadata_keys=[OURS],
        excluded_llm_metadata_keys=[OURS],
        relationships=relationships,
    )


def _node_id(below: Namespace, id_: str) -> str:
    return json.dumps([*below, id_], ensure_ascii=False) if below else id_


def passages_of_nodes(nodes: Iterable[BaseNode]) -> list[Passage]:
    """LlamaIndex's nodes and documents as passages, for `memory.add`.

    What LlamaIndex says of a node's neighbours becomes links: `next` to the following one, `parent`
    to the node that it was cut from, where that is among the nodes. A title in the metadata is the
    passage's.

    Args:
        nodes: With text; those of a recall go back to where they came from.

    Raises:
        InputError: One is no node, or has no text: of an image, say.
    """
    several = list(nodes)
    for node in several:
        if not isinstance(node, BaseNode):
            raise InputError(f"nodes are LlamaIndex's nodes or documents, got {shown(node)}")
    ids = {node.node_id for node in several}
    return [_passage(node, ids) for node in several]


def _passage(node: BaseNode, ids: set[str]) -> Passage:
    text = node.get_content(MetadataMode.NONE)
    if not text.strip():
        raise InputError(f"the node {node.node_id!r} ({node.class_name()}) holds no text")
    metadata = dict(node.metadata)
    ours = metadata.pop(OURS, None)
    title = metadata.get("title")
    if isinstance(node, PassageNode) and isinstance(ours, dict):
        links = tuple(Link(one["target"], one["kind"], one["weight"]) for one in ours["links"])
        return Passage(
            ours["id"],
            text,
            ours["title"],
            metadata,
            tuple(ours["namespace"]),
            links,
            expires_at=ours["expires_at"],
            valid_from=ours.get("valid_from"),
            valid_until=ours.get("valid_until"),
        )
    if ours is not None:
        metadata[OURS] = ours
    related = (("next", node.next_node), ("parent", node.parent_node))
    links = tuple(Link(one.node_id, kind) for kind, one in related if one and one.node_id in ids)
    return Passage(
        node.node_id, text, title if isinstance(title, str) else None, metadata, (), links
    )
