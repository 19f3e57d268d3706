"""Learning from use: judged recalls as a data set, and off-policy updates."""
