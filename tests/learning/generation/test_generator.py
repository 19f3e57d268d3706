"""A generator's token probabilities are those of the model asked one prefix at a time."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from hoptrail.errors import FormatError, InputError
from hoptrail.learning.generation.generator import Generator

PROMPTS = ["what is the house the house is red", "boat", "what is blue"]


def alone(generator: Generator, prompt: str, prefix: list[int]) -> torch.Tensor:
    """The next token's log-probabilities by the model itself, without padding."""
    ids = torch.tensor([generator.tokenizer(prompt)["input_ids"]])
    if generator.encodes:
        logits = generator.model(
            input_ids=ids, decoder_input_ids=torch.tensor([[0, *prefix]])
        ).logits
    else:
        logits = generator.model(
            input_ids=torch.cat([ids, torch.tensor([prefix]).long()], 1)
        ).logits
    return torch.log_softmax(logits[0, -1], dim=-1)


def test_padding_and_batching_change_nothing(generator: Generator) -> None:
    answers = generator.answer_tokens(["red", "blue boat", "house red blue"])
    each = generator.token_log_probs(PROMPTS, answers.ids)
    for row, prompt in enumerate(PROMPTS):
        tokens = answers.ids[row][answers.mask[row]].tolist()
        assert tokens[-1] == generator.eos
        for place, token in enumerate(tokens):
            expected = alone(generator, prompt, tokens[:place])[token]
            torch.testing.assert_close(each[row, place], expected, atol=1e-4, rtol=1e-4)
    following = generator.next_log_probs(PROMPTS, answers.ids[:, :1])
    for row, prompt in enumerate(PROMPTS):
        expected = alone(generator, prompt, [int(answers.ids[row, 0])])
        torch.testing.assert_close(following[row], expected, atol=1e-4, rtol=1e-4)


def test_a_folder_holds_it_and_another_is_refused(generator: Generator, tmp_path: Path) -> None:
    generator.save(tmp_path / "g")
    other = Generator.load(tmp_path / "g", template=generator.template)
    ids = generator.answer_tokens(["red"]).ids
    torch.testing.assert_close(
        other.token_log_probs(PROMPTS[:1], ids), generator.token_log_probs(PROMPTS[:1], ids)
    )
    with pytest.raises(FormatError, match="no generator can be read"):
        Generator.load(tmp_path / "nothing")


def test_what_cannot_be_an_answer_or_a_template_is_refused(generator: Generator) -> None:
    with pytest.raises(InputError, match="1 to 64 tokens"):
        generator.answer_tokens([""])
    with pytest.raises(InputError, match="a template names"):
        Generator(generator.model, generator.tokenizer, template="{question}")
