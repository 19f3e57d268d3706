"""Python values as a memory takes them: numbers that are checked, values as JSON has them."""
