"""What is optimised: imitation, marginal likelihood, REINFORCE, and their rewards."""
