"""How sure an answer is, when both the walk and the reader have said whether there is one.

The policy says how probably the passages of a recall suffice, c; the reader, who sees nothing but
them, how probably they hold an answer, r. Taken as independent given the truth, each without the
share of questions u with an answer that it was fitted at,

    logit P(there is an answer) = logit r + logit c - logit u          (r was fitted at one half)
    P(the answer is right)      = P(right | there is one) P(there is one)
"""

from __future__ import annotations

import math
from dataclasses import replace

from hoptrail.learning.answering.certainty import logit
from hoptrail.policies.networks.score_calibration import UNANSWERABLE
from hoptrail.types import Answer

KNOWN = 0.5
"""An answer that is less likely to be there is said not to be."""


def weigh_answer(answer: Answer, complete: float | None) -> Answer:
    """The likeliest answer, or that there is none, by what the reader and the walk say together.

    Args:
        answer: The reader's likeliest.
        complete: How probably the passages that it read suffice; None where the policy does not
            say.
    """
    stated = answer.answerable
    if stated is None or answer.text is None:
        return answer
    answerable = stated
    if complete is not None:
        log_odds = logit(stated) + logit(complete) - logit(1 - UNANSWERABLE)
        answerable = 1 / (1 + math.exp(-log_odds))
    if answerable < KNOWN:
        none = 1 - answerable
        return replace(answer, text=None, probability=none, answerable=answerable, evidence=())
    probability = answer.probability
    if probability is not None and stated > 0:
        probability = min(1.0, probability / stated) * answerable
    return replace(answer, probability=probability, answerable=answerable)
