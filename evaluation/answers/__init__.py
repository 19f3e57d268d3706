"""Answers under evaluation: a reader over what each retriever found, graded by published rules."""
