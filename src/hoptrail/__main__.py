"""`python -m hoptrail` is the command line."""

from __future__ import annotations

import sys

from hoptrail.cli.main import run_program

sys.exit(run_program())
