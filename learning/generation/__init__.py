"""Generation from what is retrieved, passages and trails being latent: one graph from q to y."""
