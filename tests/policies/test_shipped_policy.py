"""The policy that ships decides as it did: moves, names and other orders of sums change nothing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from hoptrail.policies.policy import Policy

DECISIONS = Path(__file__).with_name("shipped_decisions.json")
"""For ten questions of the demo at effort `fast`: its ten best passages with their scores to six
digits, and what the likeliest trail read. Made beside the hash encoder. Where a change is meant to
alter decisions, write the file anew and say why."""


@pytest.mark.parametrize("number", range(10))
def test_the_shipped_policy_decides_as_it_did(demo, demo_questions, number) -> None:
    before = json.loads(DECISIONS.read_text(encoding="utf-8"))[number]
    question = demo_questions[number].text
    [result] = demo.walker(Policy.shipped(), "fast").retrieve([question], 10)
    assert question == before["question"]
    assert demo.ids(result.slots) == before["ids"]
    # Processors differ in the last digits of a float32.
    np.testing.assert_allclose(result.scores, before["scores"], rtol=1e-4)
    assert [hop.id for hop in result.trails[0].hops] == before["read"]
