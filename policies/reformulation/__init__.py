"""The learned reformulator: from the question and the evidence to the next query."""
