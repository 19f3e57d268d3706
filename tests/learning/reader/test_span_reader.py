"""The reader against an enumeration of all spans, token by token, on trails of a few tokens."""

from __future__ import annotations

import math
import re
import zlib

import numpy as np
import pytest
import torch
from torch import Tensor

from hoptrail.errors import InputError
from hoptrail.learning.reader.answers import inside_word, normalize_answer
from hoptrail.learning.reader.span_reader import (
    CLASS_NAMES,
    NO,
    NO_ANSWER,
    YES,
    Reading,
    SpanReader,
    Target,
    answer_target,
    no_answer_target,
    target_log_prob,
)
from hoptrail.learning.reader.tokens import (
    Encoded,
    TrailTokens,
    encoded_text,
    pad_trails,
    trail_tokens,
)

DIM = 16


def encode(text: str) -> Encoded:
    """A toy encoder: a vector a word, fixed by its spelling; words are cut after five letters."""
    spans = [
        (start, min(start + 5, word.end()))
        for word in re.finditer(r"\w+|[^\w\s]", text)
        for start in range(word.start(), word.end(), 5)
    ]
    rows = [
        np.random.default_rng(zlib.crc32(text[a:b].casefold().encode())).normal(size=DIM)
        for a, b in spans
    ]
    vectors = np.array(rows, dtype=np.float32)
    return vectors, np.array(spans, dtype=np.int64), vectors.mean(0)


def trail(question: str, *contents: str) -> TrailTokens:
    encoded = [encode(encoded_text(question, content)) for content in contents]
    return trail_tokens(question, contents, encoded, dim=DIM)


def reader(seed: int = 0, max_span: int = 4, *, double: bool = False) -> SpanReader:
    made = SpanReader(
        DIM, width=8, max_span=max_span, generator=torch.Generator().manual_seed(seed)
    )
    return made.double() if double else made


def double(tokens: TrailTokens) -> TrailTokens:
    return TrailTokens(
        tokens.vectors.double(),
        tokens.passage,
        tokens.asked,
        tokens.begins,
        tokens.ends,
        tokens.characters,
        tokens.pooled.double(),
        tokens.texts,
    )


@pytest.fixture
def trails() -> list[TrailTokens]:
    return [
        trail("Who wrote it?", "Ann Lee wrote a book, said Ann Lee.", "Bo read Ann Lee."),
        trail("Is it so?", "It is so"),
        trail("Where?"),
    ]


def spans_of(tokens: TrailTokens, max_span: int) -> list[tuple[int, int]]:
    """All the spans there are, by the definition alone."""
    found = []
    passage = tokens.passage.tolist()
    for i in range(len(passage)):
        for j in range(i, min(i + max_span, len(passage))):
            text = tokens.texts[passage[i]]
            start, end = int(tokens.characters[i, 0]), int(tokens.characters[j, 1])
            in_question = bool(tokens.asked[i])
            cuts = inside_word(text, start) or inside_word(text, end)
            if passage[i] == passage[j] and not in_question and not cuts:
                found.append((i, j))
    return found


def scores_by_hand(model: SpanReader, tokens: TrailTokens) -> dict[tuple[int, int], Tensor]:
    hidden = torch.tanh(model.project(model.scale(tokens.vectors)))
    scores = {}
    for i, j in spans_of(tokens, model.max_span):
        ends = model.ends.weight[0] @ hidden[i] + model.ends.weight[1] @ hidden[j]
        pair = (model.start_of_pair.weight @ hidden[i]) @ (model.end_of_pair.weight @ hidden[j])
        bias = model.ends.bias.sum() + model.length[j - i]
        scores[i, j] = ends + pair / math.sqrt(model.width) + bias
    return scores


def test_equals_an_enumeration_of_all_spans(trails: list[TrailTokens]) -> None:
    model = reader(double=True)
    torch.nn.init.normal_(model.length, generator=torch.Generator().manual_seed(1))
    trails = [double(tokens) for tokens in trails]
    reading = model(pad_trails(trails))
    for row, tokens in enumerate(trails):
        scores = scores_by_hand(model, tokens)
        found = (reading.log_spans[row] != -math.inf).nonzero().tolist()
        assert sorted(scores) == [(i, i + length) for i, length in found]
        # One softmax for spans and classes: all differences of logs are differences of scores.
        alone = model(pad_trails([tokens]))
        classes = alone.log_classes[0]
        for (i, j), score in scores.items():
            got = reading.log_spans[row, i, j - i]
            first = min(scores)
            expected = score - scores[first]
            torch.testing.assert_close(got - reading.log_spans[row, first[0], 0], expected)
        torch.testing.assert_close(reading.log_classes[row], classes)  # padding changes nothing


def test_spans_and_classes_together_sum_to_one(trails: list[TrailTokens]) -> None:
    reading = reader(double=True)(pad_trails([double(tokens) for tokens in trails]))
    total = reading.log_spans.exp().sum((1, 2)) + reading.log_classes.exp().sum(1)
    torch.testing.assert_close(total, torch.ones(3, dtype=torch.float64), rtol=0, atol=1e-12)


def test_an_answers_occurrences_are_summed(trails: list[TrailTokens]) -> None:
    model, tokens = reader(), trails[0]
    answers = ["Ann Lee", "Bo"]
    target = answer_target(tokens, answers, max_span=model.max_span)
    reading = model(pad_trails([tokens]))
    expected = sum(
        float(reading.log_spans[0, i, j - i].detach().exp())
        for i, j in spans_of(tokens, model.max_span)
        if normalize_answer(tokens.span_text(i, j)) in ("ann lee", "bo")
    )
    got = model.log_prob([tokens], [target]).exp()
    assert got.detach().item() == pytest.approx(expected, rel=1e-5)
    words = {tokens.span_text(int(i), int(j)) for i, j in target.spans}
    assert words == {"Ann Lee", "Ann Lee.", "Bo"}
    # Three occurrences of the name in two passages, two of them with a full stop to take or leave.
    assert len(target.spans) == 6


def test_all_answers_of_a_trail_sum_to_one(trails: list[TrailTokens]) -> None:
    model, tokens = reader(double=True), double(trails[0])
    said = {normalize_answer(tokens.span_text(i, j)) for i, j in spans_of(tokens, 4)}
    targets = [answer_target(tokens, [text], max_span=4) for text in sorted(said)]
    targets += [Target(torch.zeros(0, 2, dtype=torch.long), (c,)) for c in (YES, NO, NO_ANSWER)]
    log_probs = model.log_prob([tokens] * len(targets), targets)
    assert log_probs.detach().exp().sum().item() == pytest.approx(1.0, rel=1e-12)


def test_yes_and_no_are_classes() -> None:
    tokens = trail("So?", "She said yes and he said no.")
    for answer, label in (("Yes", YES), ("no.", NO)):
        target = answer_target(tokens, [answer], max_span=4)
        assert target.classes == (label,)
        assert len(target.spans) == 0
    both = answer_target(tokens, ["no", "she"], max_span=4)
    assert both.classes == (NO,)
    assert both.spans.tolist() == [[2, 2]]


def test_what_an_absent_answer_means_is_the_callers_choice(trails: list[TrailTokens]) -> None:
    model, tokens = reader(), trails[0]
    nothing = answer_target(tokens, ["Zoe"], max_span=4)
    refused = answer_target(tokens, ["Zoe"], max_span=4, absent="no_answer")
    present = answer_target(tokens, ["Bo"], max_span=4, absent="no_answer")
    assert (nothing.classes, refused.classes, present.classes) == ((), (NO_ANSWER,), ())
    log_probs = model.log_prob([tokens] * 3, [nothing, refused, no_answer_target()])
    assert log_probs[0].item() == -math.inf
    assert log_probs[1] == log_probs[2]
    log_probs.sum().backward()
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in model.parameters())


def test_the_question_is_never_an_answer() -> None:
    tokens = trail("Is Ann Lee here?", "Bo is here")
    assert len(answer_target(tokens, ["Ann Lee"], max_span=4).spans) == 0
    words = {tokens.span_text(i, j) for i, j in spans_of(tokens, 4)}
    assert words == {"Bo", "Bo is", "Bo is here", "is", "is here", "here"}


def test_no_span_cuts_a_word() -> None:
    tokens = trail("Who?", "Johannesson left")  # Johan|nesso|n left
    found = answer_target(tokens, ["Johannesson"], max_span=4).spans.tolist()
    assert found == [[2, 4]]
    assert len(answer_target(tokens, ["Johan"], max_span=4).spans) == 0
    reading = reader()(pad_trails([tokens]))
    assert (reading.log_spans[0] != -math.inf).sum() == 3


def test_gradients_agree_with_finite_differences(trails: list[TrailTokens]) -> None:
    model = reader(double=True)
    trails = [double(tokens) for tokens in trails[:2]]
    targets = [
        answer_target(trails[0], ["Ann Lee"], max_span=4),
        answer_target(trails[1], ["yes", "so"], max_span=4),
    ]
    parameters = dict(model.named_parameters())

    def likelihood(*values: Tensor) -> Tensor:
        named = dict(zip(parameters, values, strict=True))
        reading = torch.func.functional_call(model, named, (pad_trails(trails),))
        return target_log_prob(reading, targets)

    assert torch.autograd.gradcheck(likelihood, tuple(parameters.values()), fast_mode=True)


def test_prediction_agrees_with_the_likelihood(trails: list[TrailTokens]) -> None:
    for seed in range(20):
        model = reader(seed)
        with torch.no_grad():
            model.classes.bias.fill_(0.0)
        for tokens in trails:
            answer, probability = model.predict(tokens)
            if answer in CLASS_NAMES:
                target = Target(torch.zeros(0, 2, dtype=torch.long), (CLASS_NAMES.index(answer),))
            else:
                target = answer_target(tokens, [answer], max_span=4)
            log_prob = model.log_prob([tokens], [target])
            assert probability == pytest.approx(log_prob.detach().exp().item(), rel=1e-5)
            others = {normalize_answer(tokens.span_text(i, j)) for i, j in spans_of(tokens, 4)}
            for other in others - {"yes", "no"}:
                rival = answer_target(tokens, [other], max_span=4)
                assert model.log_prob([tokens], [rival]).detach().exp() <= probability + 1e-6


def test_an_empty_trail_has_the_classes_alone(trails: list[TrailTokens]) -> None:
    model, empty = reader(), trails[2]
    answer, probability = model.predict(empty)
    assert answer in CLASS_NAMES
    assert probability == pytest.approx(1 / 3, abs=1e-5)
    assert pad_trails([empty]).vectors.shape == (1, 1, DIM)


def synthetic(count: int, seed: int) -> tuple[list[TrailTokens], list[Target], list[str]]:
    """The answer is the capitals between `from` and `to`; after `never`, there is none."""
    rng = np.random.default_rng(seed)
    words, letters = ["red", "blue", "tall", "old", "sea", "hill"], "BCDFGHJKLMNPQRSTVWXZ"
    trails, answers = [], []
    for _ in range(count):
        filler = [str(word) for word in rng.choice(words, size=8)]
        name = " ".join(rng.choice(list(letters), size=rng.integers(1, 3)))
        decoy = " ".join(rng.choice(list(letters), size=2))
        absent = rng.random() < 0.25
        fact = f"never {decoy}" if absent else f"from {name} to {filler[0]}"
        contents = [" ".join(filler[1:5]) + f" {decoy} old", " ".join(filler[5:]) + f" {fact} sea"]
        trails.append(trail("Where from?", *contents))
        answers.append("" if absent else name)
    targets = [
        answer_target(tokens, [answer], max_span=4) if answer else no_answer_target()
        for tokens, answer in zip(trails, answers, strict=True)
    ]
    return trails, targets, answers


def contextual(tokens: TrailTokens) -> TrailTokens:
    """What an encoder does: each token knows its neighbours. Vectors (t, d), one third each."""
    vectors = tokens.vectors
    before, after = vectors.roll(1, 0), vectors.roll(-1, 0)
    return TrailTokens(
        torch.cat([vectors, before, after], dim=1),
        tokens.passage,
        tokens.asked,
        tokens.begins,
        tokens.ends,
        tokens.characters,
        torch.cat([tokens.pooled] * 3, dim=1),
        tokens.texts,
    )


def test_it_learns_a_synthetic_task() -> None:
    model = SpanReader(3 * DIM, width=32, max_span=4, generator=torch.Generator().manual_seed(0))
    trails, targets, _ = synthetic(64, seed=1)
    trails = [contextual(tokens) for tokens in trails]
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(60):
        loss = -model.log_prob(trails, targets).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 20
    fresh, _, answers = synthetic(40, seed=2)
    right = [
        normalize_answer(model.predict(contextual(tokens))[0]) == normalize_answer(answer)
        for tokens, answer in zip(fresh, answers, strict=True)
    ]
    assert sum(right) >= 36


def test_bad_input_is_refused(trails: list[TrailTokens]) -> None:
    model, generator = reader(), torch.Generator()
    with pytest.raises(InputError, match=r"width in 1 \.\. 128"):
        SpanReader(DIM, width=129, generator=generator)
    with pytest.raises(InputError, match="made for vectors of width 16, got 4"):
        model(pad_trails([trail_tokens("Q", [], [], dim=4)]))
    with pytest.raises(InputError, match="an accepted answer is needed"):
        answer_target(trails[0], [" "], max_span=4)
    with pytest.raises(InputError, match="absent should be 'nothing' or 'no_answer', got 'x'"):
        answer_target(trails[0], ["Bo"], max_span=4, absent="x")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="2 trails need as many targets, got 0"):
        model.log_prob(trails[:2], [])
    for span, message in (([0, 9], "has a span outside the trail"), ([0, 1], "in the question")):
        with pytest.raises(InputError, match=message):
            model.log_prob(trails[:1], [Target(torch.tensor([span]), ())])
    with pytest.raises(InputError, match="a batch needs at least one trail, got none"):
        pad_trails([])
    with pytest.raises(InputError, match="1 passages need as many encodings, got 0"):
        trail_tokens("Q", ["text"], [], dim=4)
    with pytest.raises(InputError, match="should be of width 4"):
        trail_tokens("Q", ["text"], [encode("Q text")], dim=4)


def test_reading_is_differentiable_where_a_batch_mixes_lengths(trails: list[TrailTokens]) -> None:
    model = reader()
    reading: Reading = model(pad_trails(trails))
    targets = [answer_target(t, ["Bo"], max_span=4, absent="no_answer") for t in trails]
    target_log_prob(reading, targets).mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
