"""hoptrail in other people's frameworks: one module each, imported by name."""
