"""Training the reader that answers from a trail's passages."""
