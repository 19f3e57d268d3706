"""Training of indexes on vectors that stay: rotations for prefixes, routing, semantic ids."""
