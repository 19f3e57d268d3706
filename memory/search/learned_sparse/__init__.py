"""A learned sparse encoder: term weights by a network, served by an inverted index."""
