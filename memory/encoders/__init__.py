"""Text to vectors: transformers, tables of token vectors, and the caches before them.

`transformer` and `sentence_transformer` run networks, `static` needs none; `query_side` says what
encodes questions beside each, and `onnx_encoder` does it for transformers.
"""
