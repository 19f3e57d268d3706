"""Measurements that are run by hand; each file says what it measures and how it is called."""
