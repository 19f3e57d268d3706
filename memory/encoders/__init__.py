"""Text to vectors: transformers, tables of token vectors, and the caches before them."""
