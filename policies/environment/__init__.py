"""The decision process: candidates, features, state, reformulation, effort."""
