"""The marginal likelihood over trails: against the sum over every trail of a toy."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from hoptrail.learning.reader.span_reader import SpanReader, answer_target
from hoptrail.learning.reader.tokens import encoded_text, trail_tokens
from hoptrail.memory.testing.hash_encoder import HashEncoder
from hoptrail.policies.data.examples import Example
from hoptrail.policies.environment.efforts import Effort
from hoptrail.policies.environment.reformulation import Reformulator, candidate_content
from hoptrail.policies.objectives.marginal import TrailReader, marginal
from hoptrail.policies.objectives.rollout import trail_log_probs
from hoptrail.policies.search.beam import BeamSearch
from hoptrail.types import Passage

QUESTION = "Where does the Corvan rise?"


class WordEncoder(HashEncoder):
    """The hash encoder with a token a word."""

    def encode_tokens(self, texts):
        found = []
        for text in texts:
            words = list(re.finditer(r"\w+", text))
            spans = np.asarray([w.span() for w in words], dtype=np.int64).reshape(-1, 2)
            found.append((self.encode([w.group() for w in words]), spans, self.encode([text])[0]))
        return found


@pytest.fixture
def toy(world):
    return world(
        [
            Passage("a", "The Corvan is a river that comes from Mount Dorn."),
            Passage("b", "Mount Dorn stands in Eskil, far from any Corvan."),
            Passage("c", "Nothing that anybody asked for is told here."),
        ]
    )


@pytest.fixture
def example(toy):
    example = toy.example(QUESTION, toy.slots("a", "b"), entered=every_trail())
    return asking(example, "Mount Dorn", "Dorn")


def asking(example: Example, *answers: str) -> Example:
    """The same question with other accepted answers."""
    return replace(example, question=replace(example.question, answers=answers))


@pytest.fixture
def reader() -> TrailReader:
    encoder = WordEncoder()
    spans = SpanReader(encoder.dim, width=8, generator=torch.Generator().manual_seed(0))
    return TrailReader(encoder, spans)


def search(place, policy, *, beam=1000, hops=3) -> BeamSearch:
    effort = Effort("everything", beam, hops, max_reads=100, reencode=True, prune_below=1e-300)
    return BeamSearch(policy, Reformulator(place.encoder, reencode=True), effort)


def every_trail(slots=(0, 1, 2)):
    return [t for n in range(len(slots) + 1) for t in itertools.permutations(slots, n)]


def tokens_of(encoder, example, trail):
    """A trail as the reader takes it whole."""
    question = example.question.text
    contents = [candidate_content(example.pool, slot) for slot in trail]
    encoded = encoder.encode_tokens([encoded_text(question, content) for content in contents])
    tokens = trail_tokens(question, contents, encoded, dim=encoder.dim)
    return replace(tokens, vectors=tokens.vectors.half().float())


def enumerated(policy, reader, example) -> torch.Tensor:
    """log Σ p(y | z, q) π(z | q) over all ordered trails."""
    trails = [(example, trail) for trail in every_trail()]
    log_prior = trail_log_probs(policy, trails)
    assert float(log_prior.detach().exp().sum()) == pytest.approx(1, abs=1e-4)
    tokens = [tokens_of(reader.encoder, example, trail) for _, trail in trails]
    targets = [answer_target(t, example.question.answers, max_span=20) for t in tokens]
    return torch.logsumexp(log_prior + reader.reader.log_prob(tokens, targets), 0)


@pytest.mark.parametrize("seed", range(3))
def test_equals_enumeration_where_the_beam_covers_everything(
    toy, example, reader, random_policy, seed
) -> None:
    policy = random_policy(seed=seed, spread=2.0)
    loss, figures = marginal(policy, reader, search(toy, policy), [example], trails=1000)
    expected = enumerated(policy, reader, example)
    torch.testing.assert_close(-loss, expected, atol=1e-4, rtol=1e-4)
    assert figures["prior mass covered"] == pytest.approx(1, abs=1e-4)
    assert figures["answerable"] == 1.0


def test_the_gradient_equals_that_of_enumeration(toy, example, reader, random_policy) -> None:
    policy = random_policy(spread=2.0)
    weights = [*policy.parameters(), *reader.reader.parameters()]
    loss, _ = marginal(policy, reader, search(toy, policy), [example], trails=1000)
    ours = torch.autograd.grad(-loss, weights)
    theirs = torch.autograd.grad(enumerated(policy, reader, example), weights)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-2)
    assert any((g != 0).any() for g in ours[: len(list(policy.parameters()))])
    assert any((g != 0).any() for g in ours[-len(list(reader.reader.parameters())) :])


def test_fewer_trails_give_a_lower_bound(toy, example, reader, random_policy) -> None:
    policy = random_policy(spread=1.0)
    exact = float(enumerated(policy, reader, example).detach())
    bounds, covered = [], []
    for trails in (1, 3, 1000):
        loss, figures = marginal(policy, reader, search(toy, policy), [example], trails=trails)
        bounds.append(-figures["loss"])
        covered.append(figures["prior mass covered"])
        assert float(loss.detach()) == figures["loss"]
    assert bounds == sorted(bounds)
    assert covered == sorted(covered)
    assert bounds[0] < bounds[-1]
    assert bounds[-1] == pytest.approx(exact, abs=1e-4)


def test_a_trail_to_the_gold_is_always_there(toy, example, reader, random_policy) -> None:
    policy = random_policy(spread=8.0, seed=4)
    one = search(toy, policy, beam=1, hops=1)
    assert marginal(policy, reader, one, [example], trails=1) is not None
    _, figures = marginal(policy, reader, one, [example], trails=1)
    [gold] = trail_log_probs(policy, [(example, example.gold)]).detach().exp().tolist()
    assert figures["prior mass covered"] >= gold - 1e-6


def test_questions_without_an_answer_teach_nothing(toy, example, reader, random_policy) -> None:
    policy = random_policy()
    silent = asking(toy.example(QUESTION, (0,), entered=every_trail()), "", "  ")
    assert marginal(policy, reader, search(toy, policy), [silent], trails=9) is None
    absent = asking(toy.example(QUESTION, (0,), entered=every_trail()), "Zanzibar")
    assert marginal(policy, reader, search(toy, policy), [absent], trails=9) is None
    loss, figures = marginal(
        policy, reader, search(toy, policy), [silent, absent, example], trails=1000
    )
    assert figures["answerable"] == 0.5
    torch.testing.assert_close(-loss, enumerated(policy, reader, example), atol=1e-4, rtol=1e-4)


def test_yes_is_read_from_any_trail(toy, example, reader, random_policy) -> None:
    policy = random_policy()
    _, figures = marginal(
        policy, reader, search(toy, policy), [asking(example, "yes")], trails=1000
    )
    assert figures["answerable"] == 1.0


def test_deciding_for_the_beam_does_not_switch_dropout_on(
    toy, example, reader, random_policy
) -> None:
    """As the trainer does it: the network's mode is set, the policy around it knows nothing."""
    policy = random_policy()
    wrapper = type(policy)([policy.members[0].eval()])
    losses = [
        marginal(wrapper, reader, search(toy, wrapper), [example], trails=9)[1]["loss"]
        for _ in range(3)
    ]
    assert losses[0] == losses[1] == losses[2]


def test_a_passage_is_encoded_once(toy, example, random_policy) -> None:
    encoder = WordEncoder()
    spans = SpanReader(encoder.dim, width=8, generator=torch.Generator().manual_seed(0))
    reader = TrailReader(encoder, spans)
    first = reader.log_prob([(example, (0, 1)), (example, (1,))])
    encoded = encoder.texts_encoded
    again = reader.log_prob([(example, (1, 0))])
    assert encoder.texts_encoded == encoded
    torch.testing.assert_close(again[0], first[0])
