"""The verbs of the command line: a module for each, or for each group of them."""
