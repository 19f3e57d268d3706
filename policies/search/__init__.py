"""Looking for trails with a policy: beam, sampled beam, reranker, sub-questions."""
