"""Decoding with a latent context: the answers of high likelihood, by beams.

RAG-Token has a distribution of the next token, the mixture of all contexts', and is decoded by a
plain beam search over it. RAG-Sequence has none: a beam search is run for each context by itself,
and every answer that any of them proposes is then weighed by its likelihood over all contexts,
which is what Lewis et al. call thorough decoding.

Source: Lewis et al. 2020 (2005.11401), section 2.5.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hoptrail.errors import InputError
from hoptrail.learning.generation.generator import Generator
from hoptrail.learning.generation.likelihood import rag_sequence
from hoptrail.values.numbers import whole


@dataclass(frozen=True, slots=True)
class DecodedAnswer:
    """An answer and its log-likelihood over all contexts that were looked at."""

    text: str
    tokens: tuple[int, ...]
    """Its end included."""
    log_likelihood: float


@torch.no_grad()
def decode_token(
    generator: Generator,
    prompts: Sequence[str],
    log_prior: Tensor,
    *,
    beams: int = 4,
    max_tokens: int = 32,
) -> list[DecodedAnswer]:
    """The likeliest answers by RAG-Token, best first.

    Args:
        generator: Gives the next token of each context.
        prompts: The question with each of z contexts.
        log_prior: log p(z | x), `(z,)`.
        beams: Unfinished answers that are followed, and answers returned at most.
        max_tokens: An answer that has no end by then is no answer.

    Raises:
        InputError: A number is below 1, or the prior is not one number a prompt.
    """
    _check(prompts, log_prior, beams, max_tokens)
    prior = log_prior.to(torch.float32)

    def following(prefixes: Tensor) -> Tensor:
        n = len(prefixes)
        repeated = [prompt for _ in range(n) for prompt in prompts]
        each = generator.next_log_probs(repeated, prefixes.repeat_interleave(len(prompts), dim=0))
        mixed = each.reshape(n, len(prompts), -1) + prior[None, :, None].to(each.device)
        return mixed.logsumexp(1)

    return _beam_search(generator, following, beams, max_tokens)


@torch.no_grad()
def decode_sequence(
    generator: Generator,
    prompts: Sequence[str],
    log_prior: Tensor,
    *,
    beams: int = 4,
    max_tokens: int = 32,
) -> list[DecodedAnswer]:
    """The likeliest answers by RAG-Sequence, best first, among those that any context proposes.

    Args:
        generator: Gives the next token of each context.
        prompts: The question with each of z contexts.
        log_prior: log p(z | x), `(z,)`.
        beams: Unfinished answers that are followed for a context, and answers returned at most.
        max_tokens: An answer that has no end by then is no answer.

    Raises:
        InputError: A number is below 1, or the prior is not one number a prompt.
    """
    _check(prompts, log_prior, beams, max_tokens)
    proposals: dict[tuple[int, ...], str] = {}
    for prompt in prompts:

        def following(prefixes: Tensor, prompt: str = prompt) -> Tensor:
            return generator.next_log_probs([prompt] * len(prefixes), prefixes)

        for answer in _beam_search(generator, following, beams, max_tokens):
            proposals[answer.tokens] = answer.text
    answers = []
    for tokens, text in proposals.items():
        ids = torch.tensor([tokens]).expand(len(prompts), -1)
        each = generator.token_log_probs(prompts, ids).unsqueeze(0)  # (1, z, t)
        prior = log_prior.to(each)[None]
        total = rag_sequence(prior, each, torch.ones_like(each[:, 0], dtype=torch.bool))
        answers.append(DecodedAnswer(text, tokens, float(total.log_likelihood)))
    return sorted(answers, key=lambda one: (-one.log_likelihood, one.tokens))[:beams]


def _beam_search(
    generator: Generator, following: Callable[[Tensor], Tensor], beams: int, max_tokens: int
) -> list[DecodedAnswer]:
    """The answers with an end that a beam finds, best first; `following` maps `(n, t)` to `(n, v)`.

    No length is preferred: a score is a log-likelihood, and what is longer has less of it.
    """
    prefixes, scores = torch.zeros(1, 0, dtype=torch.long), torch.zeros(1)
    answers: list[DecodedAnswer] = []
    for _ in range(max_tokens):
        log_probs = scores[:, None] + following(prefixes).cpu()  # (n, v)
        best = log_probs.flatten().topk(min(2 * beams, log_probs.numel()))
        rows, tokens = best.indices // log_probs.shape[1], best.indices % log_probs.shape[1]
        ends = tokens == generator.eos
        for row, score in zip(rows[ends].tolist(), best.values[ends].tolist(), strict=True):
            before = prefixes[row].tolist()
            text = generator.tokenizer.decode(before, skip_special_tokens=True)
            answers.append(DecodedAnswer(text, (*before, generator.eos), score))
        going = torch.nonzero(~ends).flatten()[:beams]
        answers = sorted(answers, key=lambda one: (-one.log_likelihood, one.tokens))[:beams]
        full = len(answers) == beams
        # What goes on can only lose: a beam that is behind all answers is over.
        if not len(going) or (full and float(best.values[going[0]]) <= answers[-1].log_likelihood):
            break
        prefixes = torch.cat([prefixes[rows[going]], tokens[going, None]], dim=1)
        scores = best.values[going]
    return answers


def _check(prompts: Sequence[str], log_prior: Tensor, beams: int, max_tokens: int) -> None:
    whole(beams, "beams", least=1)
    whole(max_tokens, "max_tokens", least=1)
    if log_prior.shape != (len(prompts),):
        raise InputError(
            f"log_prior should have shape {(len(prompts),)}, got {tuple(log_prior.shape)}"
        )
