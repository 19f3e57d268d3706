"""Networks without PyTorch: their files as arrays, and their layers as plain array code."""
