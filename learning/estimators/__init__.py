"""What stands in for a choice that has no gradient: samples, score functions, relaxations."""
