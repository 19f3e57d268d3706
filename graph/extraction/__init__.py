"""From text to graph: names, entities, and the tables that follow the store."""
