"""A local page over a memory: ask, watch the walk on the graph, compare, browse, edit, undo."""
