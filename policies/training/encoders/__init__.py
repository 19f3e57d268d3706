"""Training how an encoder asks, and how it reads passages, with an index that moves along."""
