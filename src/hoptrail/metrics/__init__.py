"""Measures: ranking metrics, bootstrap intervals by cluster, reliability of probabilities."""
