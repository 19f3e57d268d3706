"""The knowledge graph: names, mentions, entities and links over the passages of a store."""
