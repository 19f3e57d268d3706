"""The command line: one file for each group of commands, and what they share."""

from hoptrail.cli.main import main as main
