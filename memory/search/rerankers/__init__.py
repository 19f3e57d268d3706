"""Stages that order the candidates of others anew: other encoders, cross-encoders, judges."""
