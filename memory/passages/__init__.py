"""The truth: passages, links and vectors as rows, checked, read, written and counted."""
