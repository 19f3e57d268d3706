"""What is read and written: JSON lines, documents, triples, sequences, JSON for machines."""

from hoptrail.formats.jsonl import read_source as read_source
