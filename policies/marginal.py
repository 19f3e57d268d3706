"""The latent-variable marginal likelihood: log Σ_z p(y | z, q) π(z | q) over retrieval trails.

The trails are those of the beam and, where the gold is known, one that reads it; the sum over them
is a lower bound. The reader sees the passages of a trail through a frozen encoder and is trained
with the policy: trails from which it can read the answer are made likelier.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from hoptrail.errors import PolicyError
from hoptrail.learning.marginal import marginal_likelihood
from hoptrail.learning.reader import SpanReader, answer_target
from hoptrail.learning.trail_tokens import TrailTokens, encoded_text, trail_tokens
from hoptrail.memory.encoder import TransformerEncoder, Vectors
from hoptrail.policies.beam import BeamSearch, Episode
from hoptrail.policies.examples import Example
from hoptrail.policies.policy import Policy
from hoptrail.policies.reformulate import content_of
from hoptrail.policies.rollout import trail_log_probs
from hoptrail.policies.state import State

Figures = dict[str, float]
Halves = NDArray[np.float16]


def load_reader(folder: Path | str) -> SpanReader:
    """The reader that the marginal stage trained and left in a policy's folder.

    Raises:
        PolicyError: There is none, or it is damaged.
    """
    file = Path(folder) / "reader.safetensors"
    if not file.is_file():
        raise PolicyError(f"there is no reader in {folder}: only the objective marginal trains one")
    try:
        weights = load_file(file)
        width, dim = weights["project.weight"].shape
        reader = SpanReader(
            dim, width=width, max_span=len(weights["length"]), generator=torch.Generator()
        )
        reader.load_state_dict(weights)
    except (SafetensorError, KeyError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise PolicyError(f"the reader {file} is damaged: {reason}") from error
    return reader.eval()


class TrailReader:
    """Token vectors of (question, passage) pairs, encoded once and kept in half precision."""

    def __init__(self, encoder: TransformerEncoder, reader: SpanReader) -> None:
        self.encoder, self.reader = encoder, reader
        self._kept: dict[tuple[int, int], tuple[Halves, NDArray[np.int64], Vectors]] = {}

    def tokens(self, trails: Sequence[tuple[Example, State]]) -> list[TrailTokens]:
        """What the reader sees of each trail."""
        wanted = {(id(e), slot): (e, slot) for e, trail in trails for slot in trail}
        missing = [key for key in wanted if key not in self._kept]
        for key in missing:
            example, slot = wanted[key]
            text = encoded_text(example.question.text, content_of(example.pool, slot))
            # One at a time: what else is in a batch shows in the last bits of its vectors, and a
            # run that is taken up again has other batches.
            [(vectors, spans, pooled)] = self.encoder.encode_tokens([text])
            self._kept[key] = vectors.astype(np.float16), spans, pooled
        return [self._trail(example, trail) for example, trail in trails]

    def _trail(self, example: Example, trail: State) -> TrailTokens:
        encoded = [self._kept[id(example), slot] for slot in trail]
        return trail_tokens(
            example.question.text,
            [content_of(example.pool, slot) for slot in trail],
            [(vectors.astype(np.float32), spans, pooled) for vectors, spans, pooled in encoded],
            dim=self.encoder.dim,
        )


def marginal(
    policy: Policy,
    reader: TrailReader,
    search: BeamSearch,
    examples: Sequence[Example],
    *,
    trails: int,
) -> tuple[Tensor, Figures] | None:
    """The loss of a batch of questions, and what to show of it; None where no answer is known.

    Args:
        policy: Trained, with the reader.
        reader: p(y | z, q).
        search: Finds the trails, with the policy as it is.
        examples: Questions; those without answers are passed over.
        trails: How many trails of the beam enter the sum.
    """
    answered = [example for example in examples if any(a.strip() for a in example.question.answers)]
    if not answered:
        return None
    episodes = search.run([example.pool for example in answered])
    chosen = [_trails(e, episode, trails) for e, episode in zip(answered, episodes, strict=True)]
    flat = [(e, trail) for e, found in zip(answered, chosen, strict=True) for trail in found]
    log_prior = trail_log_probs(policy, flat)
    log_reader = _log_reader(reader, flat)
    most = max(len(found) for found in chosen)
    mask = torch.zeros(len(answered), most, dtype=torch.bool)
    for row, found in enumerate(chosen):
        mask[row, : len(found)] = True
    places = mask.nonzero(as_tuple=True)
    prior = torch.zeros(mask.shape).index_put(places, log_prior)
    likelihood = torch.zeros(mask.shape).index_put(places, log_reader)
    summed = marginal_likelihood(prior, likelihood, mask=mask)
    possible = summed.possible
    if not bool(possible.any()):
        return None
    loss = -summed.log_likelihood[possible].mean()
    return loss, {
        "loss": float(loss.detach()),
        "prior mass covered": float(summed.covered.mean()),
        "answerable": float(possible.float().mean()),
    }


def _trails(example: Example, episode: Episode, count: int) -> list[State]:
    """The likeliest trails of the beam in all orders that it followed, and one to the gold."""
    stopped = [ending for ending in episode.endings() if ending.stop != "budget"]
    found = [order for ending in stopped[:count] for order in ending.prefix.orders]
    if all(slot in example.pool.reads for slot in example.gold):
        found.append(example.gold)
    return list(dict.fromkeys(found))


def _log_reader(reader: TrailReader, trails: Sequence[tuple[Example, State]]) -> Tensor:
    tokens = reader.tokens(trails)
    targets = [
        answer_target(seen, example.question.answers, max_span=reader.reader.max_span)
        for seen, (example, _) in zip(tokens, trails, strict=True)
    ]
    return reader.reader.log_prob(tokens, targets)
