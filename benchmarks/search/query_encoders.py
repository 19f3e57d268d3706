"""Ways to encode a question: milliseconds of a processor, and the cosine with the full encoder.

    python benchmarks/search/query_encoders.py [--rounds 12] [--out FILE]

MiniLM by PyTorch and by ONNX Runtime, in single precision and in 8 bits. Texts are of the demo: a
question of 16 tokens, a rewritten query of 130, one of 254 (the most that a pass reads), and eight
of the first two. One thread, and processor time rather than the clock's, so that other programs
weigh little; every way takes its turn in every round, and the least over the rounds counts. Cosines
are over all sentences and questions of the demo, and over long texts.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hoptrail.memory.encoders import onnx_encoder
from hoptrail.memory.encoders.onnx_encoder import OnnxEncoder
from hoptrail.memory.encoders.onnx_export import INPUT, export_graph
from hoptrail.memory.encoders.transformer import TransformerEncoder, minilm
from hoptrail.memory.encoders.vectors import Vectors

Way = Callable[[list[str]], Vectors]


def main() -> None:
    """Time every way on the same texts, and compare its vectors."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    args = parser.parse_args()
    torch.set_num_threads(1)
    encoder = minilm()
    passages, sentences = demo_texts()
    loads = {
        "16 tokens": [text_of(encoder, passages, 16)],
        "130 tokens": [text_of(encoder, passages, 130)],
        "254 tokens": [text_of(encoder, passages, 254)],
        "8 of 16": [text_of(encoder, passages[i:], 16) for i in range(8)],
        "8 of 130": [text_of(encoder, passages[i:], 130) for i in range(8)],
    }
    long = [text_of(encoder, passages[i:], 130) for i in range(0, 80, 2)]
    expected = {"sentences": encoder.encode(sentences), "long": encoder.encode(long)}
    rows: dict[str, dict[str, float]] = {}
    ways = all_ways(encoder)
    for name, way in ways.items():
        rows[name] = dict.fromkeys(loads, np.inf)
        for kind, texts in (("sentences", sentences), ("long", long)):
            near = (way(texts) * expected[kind]).sum(axis=1)
            rows[name] |= {f"{kind}, mean": float(near.mean()), f"{kind}, worst": float(near.min())}
    for _ in range(args.rounds):
        for name, way in ways.items():
            for load, texts in loads.items():
                began = time.process_time()
                way(texts)
                spent = (time.process_time() - began) * 1000
                rows[name][load] = min(rows[name][load], spent)
    for name, row in rows.items():
        sys.stdout.write(f"{name:34}" + "".join(f"{v:9.4g}" for v in row.values()) + "\n")
    if args.out:
        result = {"machine": platform.processor() or platform.machine(), "ways": rows}
        args.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def all_ways(encoder: TransformerEncoder) -> dict[str, Way]:
    """What is compared, by name; each after a text to warm up."""
    onnx_encoder.BOUND = 1.1  # refuses 8 bits
    exact = OnnxEncoder(onnx_encoder.export_encoder(encoder))
    onnx_encoder.BOUND = 0.0
    rounded = OnnxEncoder(onnx_encoder.export_encoder(encoder))
    ways: dict[str, Way] = {
        "PyTorch, float32": encoder.encode,
        "PyTorch, int8 by text": quantized_by_torch(encoder).encode,
        "ONNX Runtime, float32": exact.encode,
        "ONNX Runtime, int8 by text": quantized_by_text(encoder, outputs=True),
        "the same but FFN outputs": quantized_by_text(encoder, outputs=False),
        "ONNX Runtime, int8 by token": rounded.encode,
    }
    for way in ways.values():
        way(["river"])
    return ways


def quantized_by_torch(encoder: TransformerEncoder) -> TransformerEncoder:
    """PyTorch's dynamic quantisation, text by text."""
    from torch.ao.quantization import per_channel_dynamic_qconfig, quantize_dynamic

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network = quantize_dynamic(
            encoder.model.network, {torch.nn.Linear: per_channel_dynamic_qconfig}
        )
    network.state_dict = dict  # its packed weights have no bytes for a fingerprint
    return TransformerEncoder(replace(encoder.model, network=network), batch_size=1)


def quantized_by_text(encoder: TransformerEncoder, *, outputs: bool) -> Way:
    """ONNX Runtime's dynamic quantisation by channel, 7 bits; the FFN's outputs perhaps not."""
    import onnx
    import onnxruntime
    from onnxruntime.quantization import QuantType, quantize_dynamic

    graph = export_graph(encoder.model)
    names = [node.name for node in graph.graph.node if node.op_type == "MatMul"]
    excluded = [name for name in names if "/output/dense" in name and "/attention/" not in name]
    options: Any = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "full.onnx", Path(folder) / "rounded.onnx"
        onnx.save(graph, source)
        quantize_dynamic(
            source,
            target,
            op_types_to_quantize=["MatMul"],
            per_channel=True,
            reduce_range=True,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=[] if outputs else excluded,
            extra_options={"MatMulConstBOnly": True},
        )
        session = onnxruntime.InferenceSession(target, options)
    batcher = encoder._ready()[1]

    def encode(texts: list[str]) -> Vectors:
        ids = [np.asarray([batcher.encode(text).ids], dtype=np.int64) for text in texts]
        return np.concatenate([session.run(None, {INPUT: each})[0] for each in ids])

    return encode


def demo_texts() -> tuple[list[str], list[str]]:
    """The demo's passages, and its sentences and questions."""
    folder = resources.files("hoptrail") / "demo"
    lines = (folder / "corpus.jsonl").read_text(encoding="utf-8").splitlines()
    passages = [json.loads(line)["text"] for line in lines]
    sentences = [part for text in passages for part in re.split(r"(?<=[.!?])\s+", text)]
    questions = (folder / "questions.jsonl").read_text(encoding="utf-8").splitlines()
    sentences += [json.loads(line)["question"] for line in questions]
    return passages, list(dict.fromkeys(sentences))


def text_of(encoder: TransformerEncoder, passages: list[str], tokens: int) -> str:
    """The beginning of some passages, with at most so many tokens, the two special ones too."""
    words = " ".join(passages[:20]).split()[:tokens]
    while encoder.count_tokens([" ".join(words)])[0] > tokens - 2:
        words.pop()
    return " ".join(words)


if __name__ == "__main__":
    main()
