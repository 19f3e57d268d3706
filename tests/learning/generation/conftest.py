"""Small random generators, made on the spot: a sequence-to-sequence and a causal one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

from hoptrail import Memory
from hoptrail.learning.generation.generator import Generator
from hoptrail.memory.testing.hash_encoder import HashEncoder

WORDS = "<pad> </s> <unk> red blue house boat what is the".split()
PASSAGES = ["the house is red", "the boat is blue", "red boat", "what house"]


def tokenizer() -> PreTrainedTokenizerFast:
    words = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, "<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )


def small_model(kind: str) -> torch.nn.Module:
    torch.manual_seed(0)
    if kind == "seq2seq":
        config = T5Config(
            vocab_size=len(WORDS),
            d_model=16,
            d_kv=8,
            d_ff=32,
            num_layers=1,
            num_heads=2,
            dropout_rate=0.0,
            pad_token_id=0,
            eos_token_id=1,
            decoder_start_token_id=0,
        )
        model: torch.nn.Module = T5ForConditionalGeneration(config)
    else:
        config = GPT2Config(
            vocab_size=len(WORDS),
            n_positions=128,
            n_embd=16,
            n_layer=1,
            n_head=2,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            bos_token_id=1,
            eos_token_id=1,
        )
        model = GPT2LMHeadModel(config)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.mul_(3.0)  # so that answers differ in likelihood
    return model.eval()


@pytest.fixture(params=["seq2seq", "causal"])
def generator(request: pytest.FixtureRequest) -> Generator:
    return Generator(small_model(request.param), tokenizer(), template="{question} {context}")


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    with Memory(tmp_path / "a.db", encoder=HashEncoder()) as memory:
        memory.add(PASSAGES)
        yield memory
