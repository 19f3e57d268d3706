"""Baselines, runs over question sets, paired cluster bootstrap, and reports."""
