"""What can be differentiated, and what stands in where it cannot: no decision process."""
