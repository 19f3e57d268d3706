"""Comparisons of two passages, computed from what they say."""
