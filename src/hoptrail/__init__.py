"""hoptrail."""
