"""For tests: an instant encoder, and the conformance suite for stores of others."""
