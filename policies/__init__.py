"""The decision process, the policy that walks it, its objectives and its training."""
