"""What is read and written: JSON lines, documents, triples, sequences, JSON for machines."""
