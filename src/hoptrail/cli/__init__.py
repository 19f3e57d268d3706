"""The command line: what its commands share; the commands themselves are in `commands`."""

from hoptrail.cli.main import main as main
