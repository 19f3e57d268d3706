"""Answers from passages: one network reads a question and a trail's passages together."""
