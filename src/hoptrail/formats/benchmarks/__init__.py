"""Files of published benchmarks: their questions, predictions as they take them, TREC runs."""
