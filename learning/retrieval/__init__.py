"""Retrieval as an operator of a network: soft reads, attention, soft ranks, soft lists."""
