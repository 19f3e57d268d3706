"""Readers of files that are neither text nor Markdown: one for each kind, found by suffix."""
