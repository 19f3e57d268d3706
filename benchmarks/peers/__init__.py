"""Other memories and retrievers beside this one: same passages, encoder, questions and machine."""
