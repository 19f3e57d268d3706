"""A small transformer that answers from a memory which it was not trained on.

It learns to ask: facts lie in the memory, and its weights hold none. It is trained on eight
memories and answers from a ninth, in which every name is new; beside it the same network without
the memory, which gets the same questions and can only guess.

Run it as it stands: python examples/answer_from_memory.py
"""

from __future__ import annotations

import random
import time
import zlib
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hoptrail import Memory
from hoptrail.learning import MemoryAttention, RetrievalOperator

COLOURS = "red blue green black white brown yellow grey".split()
THINGS = "house boat door coat horse cart".split()
FACTS, MEMORIES, EPOCHS = 60, 8, 60
DIM, WIDTH = 128, 64


class WordEncoder:
    """Every word has a direction, drawn from its checksum; a text is the sum of its words."""

    dim, fingerprint = DIM, f"words-{DIM}"

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """The vectors of texts, `(n, d)`, L2-normalised.

        Args:
            texts: n of them.
        """
        rows = [sum(self._word(word) for word in text.split()) for text in texts]
        return np.stack([row / np.linalg.norm(row) for row in rows]).astype(np.float32)

    def _word(self, word: str) -> NDArray[np.float64]:
        return np.random.default_rng(zlib.crc32(word.encode())).normal(size=DIM)


class Answerer(nn.Module):
    """A transformer over the words of a question, with a layer that reads a memory in its midst."""

    def __init__(self, operator: RetrievalOperator | None) -> None:
        super().__init__()
        self.words = nn.Linear(DIM, WIDTH)
        self.encoder = nn.TransformerEncoderLayer(WIDTH, 4, 2 * WIDTH, 0.0, batch_first=True)
        self.memory = MemoryAttention(operator, WIDTH, DIM) if operator else None
        if self.memory is not None:
            for weight in self.memory.queries.parameters():
                nn.init.zeros_(weight)  # it begins by asking what the question says
        self.answer = nn.Sequential(
            nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, len(COLOURS))
        )

    def forward(self, words: Tensor, questions: Tensor) -> Tensor:
        """Scores of the colours, `(b, 8)`.

        Args:
            words: The vectors of each question's words, `(b, t, d)`.
            questions: The questions' own, `(b, d)`.
        """
        hidden = self.encoder(self.words(torch.cat([words, questions[:, None]], dim=1)))[:, -1:]
        if self.memory is not None:
            hidden = hidden + self.memory(hidden, questions[:, None])
        scores: Tensor = self.answer(hidden[:, 0])
        return scores


def facts(seed: int) -> list[tuple[str, str, str]]:
    """So many owners, things and colours; the names of two seeds have nothing in common."""
    draw = random.Random(seed)
    owners = [f"name{seed}x{i}" for i in range(FACTS // 3)]
    pairs = draw.sample([(owner, thing) for owner in owners for thing in THINGS], FACTS)
    return [(owner, thing, draw.choice(COLOURS)) for owner, thing in pairs]


def questions_of(
    rows: list[tuple[str, str, str]], encoder: WordEncoder
) -> tuple[Tensor, Tensor, Tensor]:
    """The questions of facts: their words' vectors, their own, and the right colours."""
    texts = [f"colour of {owner} {thing}" for owner, thing, _ in rows]
    words = torch.stack([torch.tensor(encoder.encode(text.split())) for text in texts])
    right = torch.tensor([COLOURS.index(colour) for _, _, colour in rows])
    return words, torch.tensor(encoder.encode(texts)), right


def accuracy(with_memory: bool) -> float:
    """The share of right answers on the ninth memory, after training on eight."""
    torch.manual_seed(0)
    encoder = WordEncoder()
    with TemporaryDirectory() as folder, ExitStack() as stack:
        operators, data = [], []
        for seed in range(MEMORIES + 1):
            rows = facts(seed)
            memory = stack.enter_context(Memory(Path(folder) / f"{seed}.db", encoder=encoder))
            memory.add([f"{owner} {thing} is {colour}" for owner, thing, colour in rows])
            operators.append(RetrievalOperator(memory.store, temperature=0.04))
            data.append(questions_of(rows, encoder))
        model = Answerer(operators[0] if with_memory else None)
        optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
        for _ in range(EPOCHS):
            for operator, (words, questions, right) in zip(operators[:-1], data[:-1], strict=True):
                if model.memory is not None:
                    model.memory.operator = operator
                loss = nn.functional.cross_entropy(model(words, questions), right)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        if model.memory is not None:
            model.memory.operator = operators[-1]
        words, questions, right = data[-1]
        with torch.no_grad():
            return float((model(words, questions).argmax(-1) == right).double().mean())


def main() -> None:
    """Print both accuracies."""
    started = time.perf_counter()
    print(f"from a memory it was not trained on: {accuracy(True):.0%}")
    print(f"the same network without a memory:   {accuracy(False):.0%}")
    print(f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
