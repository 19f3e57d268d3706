"""Learning from use: labels, drawn trails, and what they do to a policy."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from hoptrail.errors import ConfigError, InputError
from hoptrail.memory.feedback import Feedback, LoggedRecall, LoggedTrail
from hoptrail.metrics.ranking import recall_at
from hoptrail.policies.data.judged_questions import useful_rows
from hoptrail.policies.feedback.dataset import prepare_feedback
from hoptrail.policies.feedback.off_policy import TuneConfig, _explored_loss, has_signal, tune
from hoptrail.policies.objectives.imitation import LabelWeights, imitation_loss
from hoptrail.policies.objectives.rollout import trail_log_probs

LAKE = "Into which lake flows the river of the town where Ada Lind was born?"


def logged(place, question: str, **changes: object) -> LoggedRecall:
    made = LoggedRecall(
        id="r",
        question=question,
        namespace=(),
        filter=None,
        effort="fast",
        explore=None,
        policy="0",
        version=place.store.version,
        asked_at=0.0,
        returned=(),
        trails=(),
    )
    return replace(made, **changes)


def rows(place, *ids: str) -> tuple[int, ...]:
    return tuple(int(place.view.rowids[slot]) for slot in place.slots(*ids))


@pytest.fixture
def asked(small) -> LoggedRecall:
    """A recall of the twelve: three returned, two trails drawn."""
    ada, varn, tolle = rows(small, "p-ada-lind", "p-varn", "p-tolle")
    return logged(
        small,
        LAKE,
        explore=1,
        returned=(ada, varn, tolle),
        trails=(
            LoggedTrail(0, (ada, varn), True, -0.7, -0.2),
            LoggedTrail(1, (ada, tolle), False, -1.5, -0.6),
        ),
    )


def deterministic(recall: LoggedRecall) -> LoggedRecall:
    trails = tuple(replace(trail, log_inclusion=None) for trail in recall.trails)
    return replace(recall, explore=None, trails=trails)


def test_what_feedback_says_was_useful(asked) -> None:
    ada, varn, tolle = asked.returned
    assert useful_rows(Feedback(asked, None, {ada: 0.5, tolle: 0.4})) == {ada: 0.5}
    assert useful_rows(Feedback(asked, 0.8, {})) == {ada: 0.8, varn: 0.8}
    assert useful_rows(Feedback(asked, 0.4, {})) == {}
    assert useful_rows(Feedback(asked, 1.0, {varn: 1.0})) == {varn: 1.0}
    lost = replace(asked, trails=asked.trails[1:])  # the first trail went with a passage
    assert useful_rows(Feedback(lost, 1.0, {})) == {}


def test_labels_and_rewards_of_trails(small, asked) -> None:
    ada, varn, tolle = asked.returned
    clicks = Feedback(asked, None, {ada: 1.0, varn: 1.0, tolle: 0.0})
    whole, worse = Feedback(asked, 1.0, {}), Feedback(asked, 0.0, {})
    plain = Feedback(deterministic(asked), 0.9, {ada: 0.6})
    made = prepare_feedback(small.store, [clicks, whole, worse, plain], small.encoder)
    assert [j.example.gold for j in made] == [
        small.slots("p-ada-lind", "p-varn"),
        small.slots("p-ada-lind", "p-varn"),
        (),
        small.slots("p-ada-lind"),
    ]
    assert [j.weight for j in made] == [1.0, 1.0, 0.0, 0.6]
    assert [j.complete for j in made] == [False, True, False, True]
    assert [t.reward for t in made[0].drawn] == pytest.approx([1.6, 0.6])
    assert [t.log_q for t in made[0].drawn] == [-0.2, -0.6]
    mean = (1.0 + 0.0 + 0.9) / 3
    for judged, reward in ((made[1], 1.0), (made[2], 0.0)):
        [first] = judged.drawn
        assert (first.log_q, first.reward) == (-0.7, pytest.approx(reward - mean))
        assert judged.alone
    assert made[3].drawn == ()
    assert [has_signal(j) for j in made] == [True, True, True, True]
    for judged in made:  # everything that training looks at has been read
        assert set(judged.example.gold) <= set(judged.example.pool.reads)
        assert {s for t in judged.drawn for s in t.slots} <= set(judged.example.pool.reads)


def test_a_filter_and_a_passage_that_is_gone_are_kept_to(small, asked) -> None:
    ada = asked.returned[0]
    small.store.delete(["p-varn"])
    narrow = replace(asked, filter={"$id": {"$in": ["p-ada-lind", "p-tolle"]}})
    [judged] = prepare_feedback(small.store, [Feedback(narrow, None, {ada: 1.0})], small.encoder)
    assert small.store.view().size == 11
    pool = judged.example.pool
    assert {p.id for p in small.store.view().passages(pool.slots[: pool.base])} == {
        "p-ada-lind",
        "p-tolle",
    }
    assert len(pool.slots) == 2  # and nothing came in by what was read
    assert [len(t.slots) for t in judged.drawn] == [2]  # the trail over Varn is no more


def test_trust_weighs_labels_and_asks_for_no_stop_where_they_are_not_all(small, random_policy):
    policy = random_policy(spread=2.0)
    one = small.example(LAKE, small.slots("p-ada-lind", "p-varn"))
    two = small.example("Who painted trout?", small.slots("p-bram-osk"))

    def loss(examples, weights, complete) -> float:
        trust = LabelWeights(torch.tensor(weights), torch.tensor(complete))
        rng = np.random.default_rng(0)
        return float(imitation_loss(policy, examples, rng, label_weights=trust)[0].detach())

    plain = float(imitation_loss(policy, [one, two], np.random.default_rng(0))[0].detach())
    assert loss([one, two], [0.3, 0.3], [True, True]) == pytest.approx(plain, rel=1e-5)
    assert loss([one, two], [1.0, 0.0], [True, True]) == pytest.approx(
        loss([one, two], [1.0, 0.0], [True, False])
    )
    assert loss([one], [1.0], [True]) != pytest.approx(loss([one], [1.0], [False]))
    parameters = dict(policy.members[0].named_parameters())
    trust = LabelWeights(torch.ones(1), torch.tensor([False]))
    imitation_loss(policy, [two], np.random.default_rng(0), label_weights=trust)[0].backward()
    assert parameters["score.4.weight"].grad.abs().sum() > 0


def test_the_loss_of_drawn_trails_is_the_estimator_s(small, asked, random_policy) -> None:
    ada, varn, tolle = asked.returned
    policy = random_policy(spread=2.0)
    given = [Feedback(asked, None, {ada: 1.0, varn: 1.0, tolle: 0.0}), Feedback(asked, 1.0, {})]
    judged = prepare_feedback(small.store, given, small.encoder)
    with torch.no_grad():
        loss, weight = _explored_loss(policy, judged, 2.0)
    example = judged[0].example
    pair = [(example, trail.slots) for trail in judged[0].drawn]
    log_p = trail_log_probs(policy, pair, stopped=[True, False]).detach()
    p = log_p.exp()
    w = torch.minimum(p / torch.tensor([-0.2, -0.6]).exp(), torch.tensor(2.0))
    f = torch.tensor([1.6, 0.6])
    baseline = torch.stack([w[1] * f[1] + p[0] * f[0], w[0] * f[0] + p[1] * f[1]])
    first = -(w * (f - baseline) * log_p).sum()
    alone = min(2.0, float(p[0]) / math.exp(-0.7))
    second = -alone * judged[1].drawn[0].reward * log_p[0]
    assert float(loss) == pytest.approx(float(first + second) / 2, rel=1e-4)
    assert weight == pytest.approx((float(w.sum()) + alone) / 3, rel=1e-4)
    stopped = trail_log_probs(policy, pair[1:], stopped=[True]).detach()
    assert float(stopped) < float(log_p[1])


def agent(place, walker, questions, *, explore: bool) -> list[Feedback]:
    """Clicks without mistakes on ten passages of each question."""
    out = []
    for number, question in enumerate(questions):
        [walk] = walker.retrieve([question.text], 10, explore=number if explore else None)
        rowids = place.view.rowids
        returned = tuple(int(rowids[slot]) for slot in walk.slots)
        trails = tuple(
            LoggedTrail(
                i, tuple(int(rowids[s]) for s in t.slots), t.stopped, t.log_prob, t.log_inclusion
            )
            for i, t in enumerate(walk.decided)
        )
        gold = set(question.supporting_ids)
        clicks = {
            row: float(id in gold) for row, id in zip(returned, place.ids(walk.slots), strict=True)
        }
        recall = logged(place, question.text, returned=returned, trails=trails)
        out.append(Feedback(recall, None, clicks))
    return out


def test_a_policy_gets_better_from_clicks(demo, demo_questions, random_policy) -> None:
    policy = random_policy(spread=1.0)
    questions = demo_questions[:16]
    given = agent(demo, demo.walker(policy, "fast"), questions, explore=False)
    judged = prepare_feedback(demo.store, given, demo.encoder)
    before = {name: tensor.clone() for name, tensor in policy.state_dict().items()}
    tuned, curves = tune(policy, judged, TuneConfig(epochs=8, batch=8, learning_rate=4e-3))

    def recall(walked) -> float:
        walks = demo.walker(walked, "fast").retrieve([q.text for q in questions], 5)
        found = [
            recall_at(demo.ids(w.slots), q.supporting_ids, 5)
            for w, q in zip(walks, questions, strict=True)
        ]
        return sum(found) / len(found)

    assert recall(tuned) > recall(policy) + 0.05
    assert [curve["epoch"] for curve in curves] == list(range(1, 9))
    assert curves[-1]["labels"] < curves[0]["labels"]
    for name, tensor in policy.state_dict().items():  # what it started from stays
        assert torch.equal(tensor, before[name])


def test_drawn_trails_get_likelier_by_their_rewards(demo, demo_questions, random_policy) -> None:
    policy = random_policy(spread=1.0)
    walker = demo.walker(policy, "fast")
    given = agent(demo, walker, demo_questions[:6], explore=True)
    judged = prepare_feedback(demo.store, given, demo.encoder)
    config = TuneConfig(epochs=3, batch=3, learning_rate=3e-3)
    tuned, curves = tune(policy, judged, config)
    again, _ = tune(policy, judged, config)
    assert again.fingerprint == tuned.fingerprint != policy.fingerprint
    assert {"explored", "importance"} < set(curves[0])
    gained = {True: [], False: []}
    for one in judged:
        trails = [(one.example, t.slots) for t in one.drawn]
        stopped = [t.stopped for t in one.drawn]
        with torch.no_grad():
            rise = trail_log_probs(tuned, trails, stopped=stopped) - trail_log_probs(
                policy, trails, stopped=stopped
            )
        mean = sum(t.reward for t in one.drawn) / len(one.drawn)
        for trail, value in zip(one.drawn, rise.tolist(), strict=True):
            if trail.reward != mean:
                gained[trail.reward > mean].append(value)
    assert gained[True]
    assert np.mean(gained[True]) > np.mean(gained[False])


def test_where_there_is_nothing_to_learn_it_says_so(small, asked, random_policy) -> None:
    useless = Feedback(deterministic(asked), 0.1, {})
    judged = prepare_feedback(small.store, [useless], small.encoder)
    with pytest.raises(InputError, match="nothing to learn from"):
        tune(random_policy(), judged)


@pytest.mark.parametrize(
    "wrong", [{"epochs": 0}, {"batch": 0}, {"learning_rate": 0.0}, {"clip": -1.0}]
)
def test_settings_are_checked(wrong) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        TuneConfig(**wrong)
