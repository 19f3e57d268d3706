"""For tests: an instant encoder, and the conformance suite for stores of others."""

from hoptrail.memory.testing.hash_encoder import HashEncoder as HashEncoder
