"""The graph as arrays: adjacency, ragged rows, updates, induced subgraphs."""
