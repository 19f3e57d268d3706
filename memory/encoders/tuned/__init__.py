"""Encoders of which one side, or both, was trained by changes of low rank."""
