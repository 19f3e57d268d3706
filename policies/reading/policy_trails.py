"""The trails that a policy walks for questions with answers, as a reader takes them.

They are what the marginal likelihood sums over: the likeliest of the beam and, where the gold is
known, the one to it, each a set of passages with log π(z | q), absolute, summed over the orders in
which the beam came to it. A reader sees the likeliest order, as it will when the policy walks.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from hoptrail.errors import FormatError
from hoptrail.outputs.output_files import output_path, scratch
from hoptrail.policies.data.corpora import OpenCorpus
from hoptrail.policies.data.examples import Example, prepare
from hoptrail.policies.environment.efforts import Effort
from hoptrail.policies.environment.state import State
from hoptrail.policies.objectives.marginal import likely_trails
from hoptrail.policies.objectives.rollout import trail_log_probs
from hoptrail.policies.policy import Policy
from hoptrail.policies.reading.reading_data import ReadingCorpus, ReadingQuestion
from hoptrail.policies.search.beam import BeamSearch
from hoptrail.policies.training.next_queries import NextQueries
from hoptrail.types import Question
from hoptrail.values.progress import TrainingProgress

AT_ONCE = 16
"""Questions that are walked together."""
TRAILS_FORMAT = "hoptrail-policy-trails-1"


@dataclass(frozen=True, slots=True, eq=False)
class PolicyTrail:
    """A set of passages that a policy reads for a question, and how probably."""

    places: tuple[int, ...]
    """The passages in the corpus, in the likeliest order."""
    log_prob: float
    """log π(z | q), of all its orders and with STOP, of the policy as it walked."""
    orders: tuple[State, ...] = ()
    """The orders as slots, for a policy that learns; none for one that is left as it is."""


@dataclass(frozen=True, slots=True, eq=False)
class WalkedQuestion:
    """A question, and the trails of a policy for it."""

    question: ReadingQuestion
    corpus: ReadingCorpus
    trails: tuple[PolicyTrail, ...]
    """None where the policy can walk none, not even one to the gold."""
    example: Example | None = None
    """The question as the policy sees it, for a policy that learns."""


@dataclass(frozen=True, slots=True)
class TrailWalk:
    """Walks for questions that a reader learns from.

    Args:
        policy: π, as it begins.
        queries: What asks, and the encoder of questions.
        effort: The bounds of a walk.
        trails: Of the beam, at most; the one to the gold comes beside them.
        policy_learns: Whether π will be trained: its states stay in memory then, and the stores
            must stay open.
    """

    policy: Policy
    queries: NextQueries
    effort: Effort
    trails: int
    policy_learns: bool = False

    def run(
        self, corpus: ReadingCorpus, opened: OpenCorpus, progress: TrainingProgress
    ) -> list[WalkedQuestion]:
        """The questions of a corpus, but for steps of others, with their trails.

        Args:
            corpus: With the questions.
            opened: The same passages as a store, open.
            progress: Told of each batch.
        """
        questions = whole_questions(corpus)
        reformulator = self.queries.reformulator(reencode=self.effort.reencode)
        examples = prepare(
            [opened.with_questions([_as_asked(corpus, one) for one in questions], corpus.file)],
            self.queries.encoder,
            reformulator,
            wrong_turns=False,
        )
        search = BeamSearch(self.policy, reformulator, self.effort)
        walked: list[WalkedQuestion] = []
        for start in range(0, len(examples), AT_ONCE):
            batch = examples[start : start + AT_ONCE]
            episodes = search.run([example.pool for example in batch])
            for example, episode in zip(batch, episodes, strict=True):
                orders = likely_trails(example, episode, self.trails)
                trails = self._trails(corpus, example, orders)
                question = questions[len(walked)]
                source = example if self.policy_learns else None
                walked.append(WalkedQuestion(question, corpus, trails, source))
            progress(f"walk {corpus.file.parent.name}", len(walked), len(examples), {})
        return walked

    def _trails(
        self, corpus: ReadingCorpus, example: Example, orders: Sequence[State]
    ) -> tuple[PolicyTrail, ...]:
        """Orders of one set as one trail; what the policy cannot walk is left out."""
        with torch.no_grad():
            log_probs = trail_log_probs(self.policy, [(example, order) for order in orders])
        by_set: dict[frozenset[int], list[tuple[State, float]]] = {}
        for order, log_prob in zip(orders, log_probs.tolist(), strict=True):
            if log_prob > -math.inf:
                by_set.setdefault(frozenset(order), []).append((order, log_prob))
        view = example.pool.scope.view
        trails = []
        for ways in by_set.values():
            likeliest = max(ways, key=lambda way: way[1])[0]
            passages = view.passages(list(likeliest))
            trails.append(
                PolicyTrail(
                    tuple(corpus.place[p.namespace, p.id] for p in passages),
                    float(torch.logsumexp(torch.tensor([way[1] for way in ways]), 0)),
                    tuple(way[0] for way in ways) if self.policy_learns else (),
                )
            )
        return tuple(trails)


def _as_asked(corpus: ReadingCorpus, question: ReadingQuestion) -> Question:
    """A question as a policy is asked it."""
    ids = tuple(corpus.passages[place].id for place in question.gold)
    return Question("", question.text, question.answers, ids, namespace=question.namespace)


def whole_questions(corpus: ReadingCorpus) -> list[ReadingQuestion]:
    """The questions of a corpus, but for steps of others.

    Args:
        corpus: With questions.
    """
    return [question for question in corpus.questions if not question.part_of]


def save_trails(walked: Sequence[WalkedQuestion], file: Path, walk: Mapping[str, Any]) -> None:
    """Write trails to a file of JSON lines, of which the first says whose they are.

    Args:
        walked: Questions in the order of their files, of a policy that does not learn.
        file: Where to; one that is there is replaced.
        walk: What identifies the walk: policy, data, settings; JSON values.

    Raises:
        FormatError: The file cannot be written.
    """
    lines: list[dict[str, Any]] = [{"format": TRAILS_FORMAT, "walk": walk}]
    for one in walked:
        trails = [[list(trail.places), trail.log_prob] for trail in one.trails]
        lines.append({"question": one.question.text, "trails": trails})
    target = output_path(file)
    try:
        with scratch(target) as part:
            part.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
            part.replace(target)
    except OSError as error:
        raise FormatError(f"trails cannot be written to {file}: {error}") from error


def load_trails(
    file: Path, corpora: Sequence[ReadingCorpus], walk: Mapping[str, Any]
) -> list[WalkedQuestion] | None:
    """The trails that `save_trails` wrote; None where there is no file.

    Args:
        file: Of JSON lines.
        corpora: With the questions.
        walk: What identifies the walk.

    Raises:
        FormatError: The file holds something else, or trails of another walk.
    """
    if not output_path(file).exists():
        return None
    questions = [(corpus, one) for corpus in corpora for one in whole_questions(corpus)]
    try:
        lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        header, records = lines[0], lines[1:]
        if header["format"] != TRAILS_FORMAT:
            raise ValueError(f"its format is {header['format']!r}")
        same = header["walk"] == json.loads(json.dumps(walk))
        texts = [record["question"] for record in records]
        trails = [
            tuple(
                PolicyTrail(tuple(map(int, places)), float(log_prob))
                for places, log_prob in record["trails"]
            )
            for record in records
        ]
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise FormatError(
            f"{file} holds no trails of a policy, or damaged ones: {error}"
        ) from error
    if not same or texts != [question.text for _, question in questions]:
        raise FormatError(
            f"the trails in {file} are of another policy, other data or other settings: "
            "name another file, or remove it"
        )
    return [
        WalkedQuestion(question, corpus, of_question)
        for (corpus, question), of_question in zip(questions, trails, strict=True)
    ]
