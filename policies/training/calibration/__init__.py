"""Making probabilities true: STOP of the networks, and the scores of a recall."""
