"""Derived, and rebuilt at will: dense and BM25 indexes by slot, filter columns, snapshots."""
