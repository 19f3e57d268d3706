"""A generator p(y_i | x, z, y_<i): any sequence-to-sequence or causal model of Hugging Face.

What it reads is one prompt, the question and a context in a template. A sequence-to-sequence model
encodes it; a causal model has it before the answer.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from hoptrail.errors import FormatError, InputError

TEMPLATE = "question: {question} context: {context}"
"""How a prompt is written."""
MAX_PROMPT, MAX_ANSWER = 512, 64
"""Tokens of a prompt and of an answer; a context is cut there, an answer refused."""


@dataclass(frozen=True, slots=True, eq=False)
class AnswerTokens:
    """Answers as a generator gives them, padded to t tokens."""

    ids: Tensor
    """`(n, t)` int64; what stands beyond an answer means nothing."""
    mask: Tensor
    """True at an answer's tokens, its end included, bool `(n, t)`."""


class Generator(nn.Module):
    """A language model that answers a question from a context.

    Args:
        model: A `transformers` model for conditional generation or causal language modelling.
        tokenizer: Its own.
        template: How question and context become a prompt; it names `{question}` and `{context}`.

    Raises:
        InputError: The tokenizer has no end of sequence, or the template lacks a name.
    """

    def __init__(self, model: Any, tokenizer: Any, *, template: str = TEMPLATE) -> None:
        super().__init__()
        if tokenizer.eos_token_id is None:
            raise InputError("the tokenizer of a generator needs an end of sequence, got none")
        for name in ("{question}", "{context}"):
            if name not in template:
                raise InputError(f"a template names {{question}} and {{context}}, got {template!r}")
        self.model, self.tokenizer, self.template = model, tokenizer, template
        self.eos: int = tokenizer.eos_token_id
        pad = tokenizer.pad_token_id
        self._pad: int = self.eos if pad is None else pad
        self.encodes: bool = bool(model.config.is_encoder_decoder)
        """Whether it is a sequence-to-sequence model."""
        self._counts = "position_ids" in inspect.signature(model.forward).parameters

    @classmethod
    def load(cls, folder: str | Path, *, template: str = TEMPLATE) -> Self:
        """The generator that a folder holds, as `save_pretrained` writes model and tokenizer.

        Args:
            folder: Of a sequence-to-sequence or causal model.
            template: How question and context become a prompt.

        Raises:
            FormatError: There is none.
        """
        from transformers import (
            AutoConfig,
            AutoModelForCausalLM,
            AutoModelForSeq2SeqLM,
            AutoTokenizer,
        )
        from transformers.utils import logging as transformers_logging

        transformers_logging.disable_progress_bar()
        try:
            tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
            config = AutoConfig.from_pretrained(str(folder), local_files_only=True)
            kind = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
            model = kind.from_pretrained(str(folder), local_files_only=True)
        except (OSError, ValueError, KeyError) as error:
            raise FormatError(f"no generator can be read from {folder}: {error}") from error
        return cls(model, tokenizer, template=template)

    def save(self, folder: str | Path) -> None:
        """Write model and tokenizer to a folder, which `load` reads.

        Args:
            folder: Made where it is absent.
        """
        self.model.save_pretrained(str(folder))
        self.tokenizer.save_pretrained(str(folder))

    def prompts(self, question: str, contexts: Sequence[str]) -> list[str]:
        """A question with each of its contexts.

        Args:
            question: As it was put.
            contexts: The texts of passages or trails.
        """
        return [self.template.format(question=question, context=one) for one in contexts]

    def answer_tokens(self, answers: Sequence[str]) -> AnswerTokens:
        """Answers as tokens, each with its end.

        Args:
            answers: n texts.

        Raises:
            InputError: One has no token, or more than 64.
        """
        rows = []
        for answer in answers:
            row = self.tokenizer(answer, add_special_tokens=False)["input_ids"]
            if not 1 <= len(row) <= MAX_ANSWER:
                raise InputError(
                    f"an answer should have 1 to {MAX_ANSWER} tokens, {answer!r} has {len(row)}"
                )
            rows.append([*row, self.eos])
        ids, mask = self._padded(rows)
        return AnswerTokens(ids, mask)

    def token_log_probs(self, prompts: Sequence[str], ids: Tensor) -> Tensor:
        """The log p(y_i | prompt, y_<i) of every place of the answers, `(n, t)`, differentiable.

        Args:
            prompts: n of them.
            ids: The answers' tokens, `(n, t)`.
        """
        logits = self._logits(prompts, ids[:, :-1])  # (n, t, v)
        ids = ids.to(logits.device)
        log_probs = torch.log_softmax(logits.float(), dim=-1)
        return log_probs.gather(-1, ids.unsqueeze(-1)).squeeze(-1)

    def next_log_probs(self, prompts: Sequence[str], prefixes: Tensor) -> Tensor:
        """The log p(y | prompt, prefix) of every next token, `(n, v)`.

        Args:
            prompts: n of them.
            prefixes: What was generated so far, `(n, t)`; t may be 0.
        """
        return torch.log_softmax(self._logits(prompts, prefixes)[:, -1].float(), dim=-1)

    def _logits(self, prompts: Sequence[str], prefixes: Tensor) -> Tensor:
        """What follows each of the t + 1 beginnings of prefixes `(n, t)`: `(n, t + 1, v)`."""
        read, mask = self._read(prompts)
        device = read.device
        if self.encodes:
            start = self.model.config.decoder_start_token_id
            start = self._pad if start is None else start
            first = torch.full((len(prompts), 1), start, device=device)
            decoded = torch.cat([first, prefixes.to(device)], dim=1)
            logits: Tensor = self.model(
                input_ids=read, attention_mask=mask, decoder_input_ids=decoded
            ).logits
            return logits
        steps = prefixes.shape[1]
        both = torch.cat([read, prefixes.to(device)], dim=1)
        alive = torch.cat([mask, torch.ones_like(prefixes.to(device))], dim=1)
        # Prompts are padded on the left, so that answers begin at one column; a model that counts
        # positions is told not to count the padding.
        places = {"position_ids": (alive.cumsum(-1) - 1).clamp_min(0)} if self._counts else {}
        output = self.model(input_ids=both, attention_mask=alive, **places)
        result: Tensor = output.logits[:, -steps - 1 :]
        return result

    def _read(self, prompts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Prompts as tokens and their mask, `(n, t)`; cut at the longest that a prompt may be."""
        rows = self.tokenizer(list(prompts), truncation=True, max_length=self._room)["input_ids"]
        ids, mask = self._padded(rows, left=not self.encodes)
        device = next(self.model.parameters()).device
        return ids.to(device), mask.long().to(device)

    @property
    def _room(self) -> int:
        """Tokens of a prompt."""
        places: int | None = getattr(self.model.config, "max_position_embeddings", None)
        if not places:
            return MAX_PROMPT
        return min(MAX_PROMPT, places if self.encodes else places - MAX_ANSWER - 1)

    def _padded(
        self, rows: Sequence[Sequence[int]], *, left: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Rows of tokens as one tensor `(n, t)`, and where there is one."""
        width = max(len(row) for row in rows)
        ids = torch.full((len(rows), width), self._pad)
        mask = torch.zeros(len(rows), width, dtype=torch.bool)
        for i, row in enumerate(rows):
            where = slice(width - len(row), width) if left else slice(0, len(row))
            ids[i, where] = torch.tensor(row)
            mask[i, where] = True
        return ids, mask
