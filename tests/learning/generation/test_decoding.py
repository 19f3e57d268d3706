"""With beams enough, decoding finds the likeliest of all answers, by enumeration."""

from __future__ import annotations

from itertools import product

import pytest
import torch

from hoptrail.errors import InputError
from hoptrail.learning.generation.decoding import decode_sequence, decode_token
from hoptrail.learning.generation.generator import Generator
from hoptrail.learning.generation.likelihood import rag_sequence, rag_token

PROMPTS = ["what is the house the house is red", "what is the house red boat"]
PRIOR = torch.tensor([0.6, 0.4]).log()


def likelihood(generator: Generator, tokens: tuple[int, ...], mode: str) -> float:
    each = generator.token_log_probs(PROMPTS, torch.tensor([tokens] * 2))[None]
    all_tokens = torch.ones(1, len(tokens), dtype=torch.bool)
    if mode == "token":
        return float(rag_token(PRIOR[None], each, all_tokens))
    return float(rag_sequence(PRIOR[None], each, all_tokens).log_likelihood)


@pytest.mark.parametrize("mode", ["sequence", "token"])
@torch.no_grad()
def test_the_best_answer_of_at_most_two_words_is_found(generator: Generator, mode: str) -> None:
    others = [i for i in range(10) if i != generator.eos]
    answers = [(*words, 1) for n in range(3) for words in product(others, repeat=n)]
    expected = {tokens: likelihood(generator, tokens, mode) for tokens in answers}
    decode = decode_token if mode == "token" else decode_sequence
    decoded = decode(generator, PROMPTS, PRIOR, beams=10, max_tokens=3)
    best = max(expected, key=lambda tokens: expected[tokens])
    assert decoded[0].tokens == best
    for answer in decoded:
        assert answer.log_likelihood == pytest.approx(expected[answer.tokens], abs=1e-4)
    scores = [answer.log_likelihood for answer in decoded]
    assert scores == sorted(scores, reverse=True)


def test_a_prior_of_other_contexts_is_refused(generator: Generator) -> None:
    with pytest.raises(InputError, match="log_prior should have shape"):
        decode_token(generator, PROMPTS, PRIOR[:1])
