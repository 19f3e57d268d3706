"""A retriever and a generator trained through the answers, beside the same retriever frozen.

Passages say six things of each of many places ("name3 mayor word17"), and questions ask for one
of them in other words ("name3 governs"): the encoder, a bag of hashed words, finds the place and
cannot know which of the six is meant. The generator, a small random T5, is first taught to read
passages that answer; then both are trained on questions and answers, no passage being named, once
with the retriever frozen. They are measured on places that were in no training.

Run: python benchmarks/differentiable/joint_training.py --out benchmarks/results/joint_training.json
"""

from __future__ import annotations

import argparse
import copy
import json
import random
import sys
import time
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

from hoptrail import Memory
from hoptrail.learning import (
    Generator,
    QueryTower,
    RagConfig,
    RagExample,
    RagModel,
    rag_figures,
    train_rag,
)
from hoptrail.learning.execution.single_thread import one_thread
from hoptrail.memory.testing.hash_encoder import HashEncoder

SAYS = "mayor river dish bird mine song".split()
ASKS = "governs flows eaten flies dug sung".split()
PLACES, TEST_PLACES, VALUES = 100, 25, 50
DIM, CONTEXTS, READING_STEPS, READING_BATCH = 64, 3, 400, 32
TRAINING = {"epochs": 4, "batch": 16, "learning_rate": 5e-4, "query_rate": 1e-2}
Fact = tuple[str, int, str]


def facts(seed: int) -> list[Fact]:
    """Place, which of the six, and what is said of it."""
    draw = random.Random(seed)
    values = [f"word{i}" for i in range(VALUES)]
    return [
        (f"name{i}", kind, value)
        for i in range(PLACES)
        for kind, value in enumerate(draw.sample(values, len(SAYS)))
    ]


def passage(fact: Fact) -> str:
    """What a memory holds of a fact."""
    return f"{fact[0]} {SAYS[fact[1]]} {fact[2]}"


def question(fact: Fact) -> str:
    """How a fact is asked for."""
    return f"{fact[0]} {ASKS[fact[1]]}"


def reader(rows: list[Fact], seed: int) -> Generator:
    """A small T5 that has learned to answer from a passage that answers."""
    torch.manual_seed(seed)
    texts = [passage(row) for row in facts(seed)] + [question(row) for row in facts(seed)]
    words = ["<pad>", "</s>", *sorted({word for text in texts for word in text.split()})]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, "<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    config = T5Config(
        vocab_size=len(words),
        d_model=64,
        d_kv=16,
        d_ff=128,
        num_layers=2,
        num_heads=4,
        dropout_rate=0.0,
        pad_token_id=0,
        eos_token_id=1,
        decoder_start_token_id=0,
    )
    generator = Generator(
        T5ForConditionalGeneration(config),
        PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>"),
        template="{question} {context}",
    )
    optimizer = torch.optim.Adam(generator.parameters(), lr=2e-3)
    draw = random.Random(seed)
    for _ in range(READING_STEPS):
        batch = draw.sample(rows, READING_BATCH)
        prompts = [generator.prompts(question(row), [passage(row)])[0] for row in batch]
        answers = generator.answer_tokens([row[2] for row in batch])
        each = generator.token_log_probs(prompts, answers.ids)
        loss = -each[answers.mask].mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return generator


def run(seed: int) -> list[dict[str, Any]]:
    """All ways of training from one start."""
    rows, encoder = facts(seed), HashEncoder(DIM)
    train_rows = rows[TEST_PLACES * len(SAYS) :]
    generator = reader(train_rows, seed)
    figures = []
    with TemporaryDirectory() as folder, Memory(Path(folder) / "a.db", encoder=encoder) as memory:
        memory.add([{"id": str(i), "text": passage(row)} for i, row in enumerate(rows)])
        view = memory.store.view()
        examples = [
            RagExample(question(row), row[2], frozenset({view.slot_of(str(i)) or 0}))
            for i, row in enumerate(rows)
        ]
        test, train = examples[: TEST_PLACES * len(SAYS)], examples[TEST_PLACES * len(SAYS) :]
        for mode in ("sequence", "token"):
            for way in ("before", "frozen", "joint"):
                model = RagModel(
                    memory.store,
                    QueryTower(encoder, 32, seed=seed),
                    copy.deepcopy(generator),
                    mode=mode,
                    contexts=CONTEXTS,
                    temperature=0.2,
                )
                started = time.perf_counter()
                if way != "before":
                    config = RagConfig(**TRAINING, seed=seed, freeze_retriever=way == "frozen")
                    train_rag(model, train, config)
                seconds = time.perf_counter() - started
                row = {"seed": seed, "mode": mode, "way": way, **rag_figures(model, test)}
                figures.append({**row, "seconds": seconds})
                sys.stdout.write(json.dumps(figures[-1]) + "\n")
                sys.stdout.flush()
    return figures


def main() -> None:
    """Train with every seed, and print and write the means."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seeds", default="0,1,2", help="with commas between them")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    with one_thread():
        rows = [row for seed in args.seeds.split(",") for row in run(int(seed))]
    for mode in ("sequence", "token"):
        for way in ("before", "frozen", "joint"):
            chosen = [row for row in rows if (row["mode"], row["way"]) == (mode, way)]
            means = {
                name: round(fmean(row[name] for row in chosen), 4)
                for name in ("log_likelihood", "exact", "recall_first", "recall_contexts")
            }
            sys.stdout.write(f"{mode:9} {way:7} {means}\n")
    if args.out:
        args.out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
