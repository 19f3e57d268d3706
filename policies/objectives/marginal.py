"""The latent-variable marginal likelihood: log Σ_z p(y | z, q) π(z | q) over retrieval trails.

The trails are those of the beam and, where the gold is known, one that reads it; the sum over them
is a lower bound. The reader sees the passages of a trail through a frozen encoder and is trained
with the policy: trails from which it can read the answer are made likelier.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from hoptrail.errors import PolicyError
from hoptrail.learning.arrays.tensor_files import FAULTS, reason
from hoptrail.learning.execution import processes
from hoptrail.learning.marginal import Marginal, marginal_likelihood
from hoptrail.learning.reader.answers import normalize_answer
from hoptrail.learning.reader.span_reader import (
    CLASS_NAMES,
    NO,
    YES,
    SpanReader,
    Target,
    answer_target,
)
from hoptrail.learning.reader.tokens import TrailTokens, encoded_text, trail_tokens
from hoptrail.learning.reader.trail_scores import read_passages, trails_log_prob
from hoptrail.learning.weights import load_weights
from hoptrail.memory.encoders.transformer import TransformerEncoder
from hoptrail.policies.data.examples import Example
from hoptrail.policies.environment.reformulation import candidate_content
from hoptrail.policies.environment.state import State
from hoptrail.policies.objectives.rollout import trail_log_probs
from hoptrail.policies.policy import Policy
from hoptrail.policies.search.beam import BeamSearch, Episode
from hoptrail.values.progress import Figures


def load_reader(folder: Path | str) -> SpanReader:
    """The reader that the marginal stage trained and left in a policy's folder.

    Args:
        folder: The policy's.

    Raises:
        PolicyError: There is none, or it is damaged.
    """
    file = Path(folder) / "reader.safetensors"
    if not file.is_file():
        raise PolicyError(f"there is no reader in {folder}: only the objective marginal trains one")
    try:
        weights = load_weights(file)
        width, dim = weights["project.weight"].shape
        reader = SpanReader(
            dim, width=width, max_span=len(weights["length"]), generator=torch.Generator()
        )
        reader.load_state_dict(weights)
    except FAULTS as error:
        raise PolicyError(f"the reader {file} is damaged: {reason(error)}") from error
    return reader.eval()


class TrailReader:
    """The reader on (question, passage) pairs, each encoded once and kept in half precision."""

    def __init__(self, encoder: TransformerEncoder, reader: SpanReader) -> None:
        self.encoder, self.reader = encoder, reader
        self._pairs: dict[tuple[str, tuple[str, ...], str], tuple[TrailTokens, Target]] = {}

    def log_prob(self, trails: Sequence[tuple[Example, State]]) -> Tensor:
        """The log of p(an accepted answer | trail, question), `(z,)`; in any order of a trail.

        Args:
            trails: Questions with accepted answers, and what is read of them.
        """
        row: dict[tuple[Example, int], int] = {}
        seen: list[tuple[TrailTokens, Target]] = []
        for example, trail in trails:
            for slot in trail:
                if (example, slot) not in row:
                    row[example, slot] = len(seen)
                    seen.append(self._pair(example, slot))
        rows = [[row[example, slot] for slot in trail] for example, trail in trails]
        classes = [_classes(example) for example, _ in trails]
        tokens = [replace(pair, vectors=pair.vectors.float()) for pair, _ in seen]
        sums = read_passages(self.reader, tokens, [target for _, target in seen])
        return trails_log_prob(self.reader, sums, rows, classes)

    def _pair(self, example: Example, slot: int) -> tuple[TrailTokens, Target]:
        """What the reader sees of a passage, and where it says the answer."""
        question, content = example.question, candidate_content(example.pool, slot)
        key = question.text, question.answers, content
        if key not in self._pairs:
            # One at a time: what else is in a batch shows in the last bits of its vectors, and a
            # run that is taken up again has other batches.
            encoded = self.encoder.encode_tokens([encoded_text(question.text, content)])
            tokens = trail_tokens(question.text, [content], encoded, dim=self.encoder.dim)
            target = answer_target(tokens, question.answers, max_span=self.reader.max_span)
            self._pairs[key] = replace(tokens, vectors=tokens.vectors.half()), target
        return self._pairs[key]


def _classes(example: Example) -> tuple[int, ...]:
    """The classes that are right of whatever trail: yes and no are said of all passages."""
    said = {normalize_answer(answer) for answer in example.question.answers}
    return tuple(c for c in (YES, NO) if CLASS_NAMES[c] in said)


def marginal(
    policy: Policy,
    reader: TrailReader,
    search: BeamSearch,
    examples: Sequence[Example],
    *,
    trails: int,
) -> tuple[Tensor, Figures] | None:
    """The loss of a batch of questions, and what to show of it; None where no answer is known.

    Of several processes each has the loss of its share of the questions, and the figures of all.

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
    own = processes.own_share(answered)
    summed = _summed(policy, reader, search, own, trails) if own else None
    possible = torch.zeros(0, dtype=torch.bool) if summed is None else summed.possible
    count = int(possible.sum())
    of_questions, of_possible = processes.shares_of([len(own), count])
    loss, covered = torch.zeros(()), 0.0
    if summed is not None and count:
        loss = -summed.log_likelihood[possible].mean() * of_possible
    if summed is not None:
        covered = float(summed.covered.mean()) * of_questions
    answerable = count / max(1, len(own)) * of_questions
    total, covered, answerable = processes.sums_of([float(loss.detach()), covered, answerable])
    if not answerable:
        return None
    return loss, {"loss": total, "prior mass covered": covered, "answerable": answerable}


def _summed(
    policy: Policy,
    reader: TrailReader,
    search: BeamSearch,
    examples: Sequence[Example],
    trails: int,
) -> Marginal:
    """The sum over the trails of each question, at least one of them."""
    episodes = search.run([example.pool for example in examples])
    chosen = [
        likely_trails(e, episode, trails) for e, episode in zip(examples, episodes, strict=True)
    ]
    flat = [
        (e, trail) for e, trails_of in zip(examples, chosen, strict=True) for trail in trails_of
    ]
    log_prior = trail_log_probs(policy, flat)
    log_reader = _log_reader(reader, flat)
    most = max(map(len, chosen))
    mask = torch.zeros(len(examples), most, dtype=torch.bool)
    for row, trails_of in enumerate(chosen):
        mask[row, : len(trails_of)] = True
    places = mask.nonzero(as_tuple=True)
    prior = torch.zeros(mask.shape).index_put(places, log_prior)
    likelihood = torch.zeros(mask.shape).index_put(places, log_reader)
    return marginal_likelihood(prior, likelihood, mask=mask)


def likely_trails(example: Example, episode: Episode, count: int) -> list[State]:
    """The likeliest trails of the beam in all orders that it followed, and one to the gold.

    Args:
        example: A question.
        episode: A walk for it that is over.
        count: Trails of the walk, at most; those that only its bounds ended are left out.
    """
    stopped = [ending for ending in episode.ranked_terminals() if ending.stop_reason != "budget"]
    orders = [order for ending in stopped[:count] for order in ending.prefix.orders]
    gold = example.gold
    if gold and all(frozenset(gold[:n]) in example.pool.queries for n in range(len(gold) + 1)):
        orders.append(gold)
    return list(dict.fromkeys(orders))


def _log_reader(reader: TrailReader, trails: Sequence[tuple[Example, State]]) -> Tensor:
    """Log p(y | z, q) of every trail, `(z,)`; orders of one set are read once."""
    place: dict[tuple[Example, frozenset[int]], int] = {}
    sets: list[tuple[Example, State]] = []
    for example, trail in trails:
        key = example, frozenset(trail)
        if key not in place:
            place[key] = len(sets)
            sets.append((example, trail))
    log_probs = reader.log_prob(sets)
    return log_probs[[place[example, frozenset(trail)] for example, trail in trails]]
