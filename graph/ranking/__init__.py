"""Scores that spread over links: PageRank, local push, sequences, relations."""
