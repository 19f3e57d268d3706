"""Learning from use, from door to door: feedback in, an update that was judged out."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
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
from hoptrail.policies.feedback.off_policy import TuneConfig, tune
from hoptrail.policies.folder import check_folder
from hoptrail.policies.policy import Policy
from hoptrail.types import Namespace
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
    config: TuneConfig | None = None,
    namespace: Namespace = (),
    questions: Path | None = None,
    progress: TrainingProgress | None = None,
    command: str = "",
) -> Update:
    """Let a policy learn from a store's feedback; written to a folder if the gate lets it through.

    Args:
        store: Where the feedback was given.
        policy: Where it starts; it stays as it is.
        out: The folder; nothing is written to it if the update is refused.
        encoder: The store's.
        config: The settings.
        namespace: Whose feedback: recalls that asked a namespace which begins with this one.
        questions: Questions whose passages are known, to be judged by; by default a fifth of the
            feedback is held back for that.
        progress: Told of every step; see `hoptrail.values.progress`.
        command: How it was called, for the card.

    Raises:
        InputError: There is too little feedback to learn from, or to be judged by.
        PolicyError: The folder cannot be written.
        ConfigError: `torchrun` started several processes.
    """
    refuse_several("a policy that learns from feedback")
    check_folder(out)
    config, tell = config or TuneConfig(), progress or silent
    if not (feedback := FeedbackLog(store).entries(namespace)):
        raise _no_feedback(store, namespace)
    judges = None if questions is None else read_questions(questions)
    held_back: list[Feedback] = []
    if judges is None:
        feedback, held_back = gate.hold_back(feedback)
    else:
        feedback = gate.without(feedback, judges)

    def prepared(done: int, total: int) -> None:
        tell("prepare feedback", done, total, {})

    judged = prepare_feedback(
        store, feedback, encoder, learned=policy.reformulator, progress=prepared
    )
    tuned, curves = tune(policy, judged, config, progress=tell)
    judge = partial(gate.judge_by_feedback, feedback=held_back)
    if judges is not None:
        judge = partial(gate.judge_by_questions, questions=judges)
    verdict = judge(store, encoder, policy, tuned)
    tuned.card = {
        "objective": "feedback",
        "command": command,
        "seed": config.seed,
        "questions": len(feedback),
        "sets": [],
        "encoder": encoder.fingerprint,
        "config": asdict(config),
        "curves": curves,
        "dev": [],
        "started from": {"fingerprint": policy.fingerprint, "card": policy.card},
        "gate": {"verdict": str(verdict), "margin": gate.MARGIN, **_measured_on(questions)},
    }
    if verdict.accepted:
        tuned.save(out, readme=readme(tuned))
    return Update(tuned, len(feedback), curves, verdict)


def _no_feedback(store: Store, namespace: Namespace) -> InputError:
    where = f" in namespace {'/'.join(namespace)}" if namespace else ""
    return InputError(f"there is no feedback in {store.name}{where}: recall.feedback gives some")


def _measured_on(questions: Path | None) -> dict[str, str]:
    if questions is None:
        return {"held back": "feedback"}
    return {"held back": questions.name, "sha256": sha256_of(questions)[:16]}
