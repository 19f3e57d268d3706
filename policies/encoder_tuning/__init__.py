"""Training the passage side of an encoder, with an index that is encoded anew as it moves."""
