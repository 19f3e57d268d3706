"""Passages a second of one core: a static encoder beside the network that it was distilled from.

    python benchmarks/search/static_rate.py CORPUS.jsonl STATIC_DIR [--out FILE]

Processor time and not the clock's, one thread, so that other programs on the machine weigh little.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from itertools import islice
from pathlib import Path

import torch

from hoptrail.formats.jsonl import read_corpus
from hoptrail.memory.encoders.static import StaticEncoder
from hoptrail.memory.encoders.transformer import Encoder, minilm


def main() -> None:
    """Time both, and print their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("static", type=Path)
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    args = parser.parse_args()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    torch.set_num_threads(1)
    contents = [passage.content for passage in islice(read_corpus(args.corpus), 4000)]
    rates = {
        "static": rate(StaticEncoder.load(args.static), contents),
        "minilm": rate(minilm(), contents[:96]),
    }
    rates["ratio"] = rates["static"] / rates["minilm"]
    sys.stdout.write("  ".join(f"{name} {value:.0f}" for name, value in rates.items()) + "\n")
    if args.out:
        args.out.write_text(json.dumps(rates, indent=2) + "\n", encoding="utf-8")


def rate(encoder: Encoder, contents: list[str]) -> float:
    """Passages a second of processor time, after a few to warm up."""
    encoder.encode(contents[:8])
    began = time.process_time()
    encoder.encode(contents)
    return len(contents) / (time.process_time() - began)


if __name__ == "__main__":
    main()
