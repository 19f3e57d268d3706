"""Text to terms, in every script: folding, segmentation, stemming."""
