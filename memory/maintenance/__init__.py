"""Keeping a store in order: checks, repair, export, duplicates, a change of encoder."""
