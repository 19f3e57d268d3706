"""An evaluation as one page: tables, curves, and where each question went wrong."""
