"""Where results may be written, and stored text as a terminal or a log may be shown it."""
