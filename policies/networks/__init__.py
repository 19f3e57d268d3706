"""π(action | state): the network that is trained, and the quick pass that a recall needs."""
