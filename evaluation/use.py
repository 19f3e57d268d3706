"""Learning from use, from door to door: feedback in, an update that was judged out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hoptrail.errors import InputError
from hoptrail.evaluation import gate
from hoptrail.evaluation.gate import Verdict
from hoptrail.formats.jsonl import read_questions, sha256_of
from hoptrail.learning.execution.processes import refuse_several
from hoptrail.memory.encoders.transformer import Encoder
from hoptrail.memory.feedback import Feedback, FeedbackLog
from hoptrail.memory.store import Store
from hoptrail.policies.card import readme
from hoptrail.policies.feedback.dataset import prepare_feedback
from hoptrail.policies.feedback.learned_ranking import RankingConfig, learn_ranking, rank_again
from hoptrail.policies.feedback.off_policy import TuneConfig, tune
from hoptrail.policies.feedback.store_walkers import StoreWalkers
from hoptrail.policies.folder import check_folder
from hoptrail.policies.policy import Policy
from hoptrail.types import Namespace, Question
from hoptrail.values.progress import TrainingProgress, silent


@dataclass(frozen=True, slots=True)
class Update:
    """A policy that learned from feedback."""

    policy: Policy
    learned: int
    """Recalls that it learned from."""
    curves: list[dict[str, Any]]
    verdict: Verdict


def learn_from_use(
    store: Store,
    policy: Policy,
    out: Path,
    *,
    encoder: Encoder,
    config: RankingConfig | TuneConfig | None = None,
    namespace: Namespace = (),
    questions: Path | None = None,
    progress: TrainingProgress | None = None,
    command: str = "",
) -> Update:
    """Let a policy learn from a store's feedback; written to a folder if the gate lets it through.

    By default it learns a ranking of its own, ten weights that order the best passages anew
    (`hoptrail.policies.feedback.learned_ranking`): some hundred judged recalls, one judgement in
    ten of them wrong, are enough for that, and too few to tune networks by.

    Args:
        store: Where the feedback was given.
        policy: Where it starts; it stays as it is.
        out: The folder; nothing is written to it if the update is refused.
        encoder: The store's.
        config: The settings: of a ranking, which leaves the networks as they are, or of tuning the
            networks' own weights; of a ranking by default.
        namespace: Whose feedback: recalls that asked a namespace which begins with this one.
        questions: Questions whose passages are known, to be judged by; by default feedback is held
            back for that: a fifth, and of a ranking each fifth in turn.
        progress: Told of every step; see `hoptrail.values.progress`.
        command: How it was called, for the card.

    Raises:
        InputError: There is too little feedback to learn from, or to be judged by.
        PolicyError: The folder cannot be written.
        ConfigError: `torchrun` started several processes.
    """
    refuse_several("a policy that learns from feedback")
    check_folder(out)
    config, tell = config or RankingConfig(), progress or silent
    if not (feedback := FeedbackLog(store).entries(namespace)):
        raise _no_feedback(store, namespace)
    judges = None if questions is None else read_questions(questions)
    if judges is not None:
        feedback = gate.without(feedback, judges)
    lesson = _Lesson(StoreWalkers(store, encoder, policy), feedback, judges, tell)
    update = _tuned(lesson, config) if isinstance(config, TuneConfig) else _ranked(lesson, config)
    record: dict[str, Any] = {
        "command": command,
        "encoder": encoder.fingerprint,
        "config": asdict(config),
        "gate": {
            "verdict": str(update.verdict),
            "margin": gate.MARGIN,
            **_measured_on(questions),
        },
        "started from": {"fingerprint": policy.fingerprint},
    }
    if isinstance(config, TuneConfig):
        record["started from"]["card"] = policy.card
        figures = {"sets": [], "dev": [], "questions": update.learned, "curves": update.curves}
        update.policy.card = {"objective": "feedback", "seed": config.seed, **figures, **record}
    else:  # the networks are those of the card; what it measured was ranked without
        update.policy.card = {**policy.card, "dev": [], "feedback": record}
    if update.verdict.accepted:
        update.policy.save(out, readme=readme(update.policy))
    return update


@dataclass(frozen=True, slots=True)
class _Lesson:
    """What is learned from, and what judges it."""

    walkers: StoreWalkers
    feedback: Sequence[Feedback]
    judges: Sequence[Question] | None
    """None where feedback judges."""
    tell: TrainingProgress

    def prepared(self, done: int, total: int) -> None:
        self.tell("prepare feedback", done, total, {})

    def by_questions(self, learned: Policy) -> Verdict:
        assert self.judges is not None
        walkers = self.walkers
        return gate.judge_by_questions(
            walkers.store, walkers.encoder, walkers.policy, learned, self.judges
        )


def _ranked(lesson: _Lesson, config: RankingConfig) -> Update:
    """A policy with a ranking that all feedback taught."""
    ranked = rank_again(lesson.walkers, lesson.feedback, progress=lesson.prepared)
    learned = learn_ranking(lesson.walkers.policy, ranked, config)
    if lesson.judges is None:
        verdict = gate.judge_in_turn(ranked, config)
    else:
        verdict = lesson.by_questions(learned)
    assert learned.feedback_ranking is not None
    return Update(learned, learned.feedback_ranking.fit["recalls"], [], verdict)


def _tuned(lesson: _Lesson, config: TuneConfig) -> Update:
    """A policy whose networks learned from the feedback that does not judge."""
    store, encoder = lesson.walkers.store, lesson.walkers.encoder
    policy, feedback = lesson.walkers.policy, lesson.feedback
    held_back: list[Feedback] = []
    if lesson.judges is None:
        feedback, held_back = gate.hold_back(feedback)
    judged = prepare_feedback(
        store, feedback, encoder, learned=policy.reformulator, progress=lesson.prepared
    )
    learned, curves = tune(policy, judged, config, progress=lesson.tell)
    if lesson.judges is None:
        verdict = gate.judge_by_feedback(store, encoder, policy, learned, held_back)
    else:
        verdict = lesson.by_questions(learned)
    return Update(learned, len(feedback), curves, verdict)


def _no_feedback(store: Store, namespace: Namespace) -> InputError:
    where = f" in namespace {'/'.join(namespace)}" if namespace else ""
    return InputError(f"there is no feedback in {store.name}{where}: recall.feedback gives some")


def _measured_on(questions: Path | None) -> dict[str, str]:
    if questions is None:
        return {"held back": "feedback"}
    return {"held back": questions.name, "sha256": sha256_of(questions)[:16]}
