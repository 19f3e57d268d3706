"""What a model may do with a memory, in no framework's terms: its operations and their words.

`arguments` says what each takes, `results` what it returns, `passage_text` how a model reads
passages, and `bound_memory` carries the calls out. Every integration for agents builds on it.
"""
