"""The same over the relations of a knowledge graph."""
