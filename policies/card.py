"""The card of a policy, for people."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sized
from typing import Any, Protocol

from hoptrail.outputs.hub import front_matter
from hoptrail.policies.folder import HEADING
from hoptrail.policies.networks.feedback_ranking import FeedbackRanking
from hoptrail.policies.networks.score_calibration import ScoreCalibration
from hoptrail.policies.reformulation.learned import LearnedReformulator


class DescribedPolicy(Protocol):
    """What a card is written of: a policy, by what it says of itself."""

    rerank_weight: float
    reformulator: LearnedReformulator | None
    scores: ScoreCalibration | None
    feedback_ranking: FeedbackRanking | None
    card: dict[str, Any]

    @property
    def members(self) -> Sized: ...  # noqa: D102
    @property
    def size(self) -> int: ...  # noqa: D102
    @property
    def columns(self) -> tuple[str, ...]: ...  # noqa: D102


def readme(policy: DescribedPolicy) -> str:
    """The card as Markdown, with what a hub reads at its head: what the policy is, learned, does.

    Args:
        policy: With its card as data, as `train` left it.
    """
    card = policy.card
    lines = [
        HEADING,
        "",
        f"{len(policy.members)} networks, {policy.size:,} weights in all, whose probabilities are "
        "averaged. It reads scalars only: nothing in it depends on the width or the axes of the "
        "encoder's vectors. "
        f"Its {len(policy.columns)} features are named in policy.json: it decides the same in a "
        "version of hoptrail that has more.",
        "",
        f"- objective: {card.get('objective')}",
        f"- questions: {card.get('questions')}{_further_questions(card)}, seed {card.get('seed')}",
        f"- encoder it was trained beside: `{card.get('encoder')}`",
        *_reformulator_line(policy),
        *_rerank_line(card.get("joint"), policy.rerank_weight),
        *_score_lines(policy),
        *_feedback_lines(policy),
        f"- command: `{card.get('command') or 'train(...)'}`",
        "",
        "| trained on | sha256 of the questions begins |",
        "|---|---|",
        *(f"| {s['questions']} | `{s['sha256']}` |" for s in card.get("sets", [])),
    ]
    if card.get("dev"):
        lines += ["", "| measured on, not trained on | recall@2 | recall@5 |", "|---|---|---|"]
        for one in card["dev"]:
            lines.append(f"| {one['questions']} | {one['recall@2']:.3f} | {one['recall@5']:.3f} |")
    if card.get("unlabelled"):
        lines += ["", f"Questions were made of {', '.join(card['unlabelled'])}."]
    settings = json.dumps(card.get("config", {}), indent=2)
    lines += ["", "Settings:", "", "```json", settings, "```", ""]
    tags = ["retrieval", "multi-hop", "agent-memory", "reinforcement-learning"]
    return front_matter("hoptrail policy", tags, card.get("dev") or ()) + "\n".join(lines)


def _reformulator_line(policy: DescribedPolicy) -> list[str]:
    if policy.reformulator is None:
        return ["- the next query: by a fixed rule"]
    made_of = policy.card.get("reformulator") or {}
    command = f", by `{made_of['command']}`" if made_of.get("command") else ""
    return [
        f"- the next query: {policy.reformulator.size:,} weights, of the encoder "
        f"`{policy.reformulator.base}` alone{command}"
    ]


def _score_lines(policy: DescribedPolicy) -> list[str]:
    if policy.scores is None:
        return [
            "- scores: not calibrated; a recall states no probabilities, and "
            "`hoptrail train calibration` fits them"
        ]
    fit = policy.scores.fit
    sets = ", ".join(str(one.get("questions")) for one in fit.get("sets", []))
    lines = [
        f"- scores: calibrated on {fit.get('answerable')} questions of {sets}, and on "
        f"{fit.get('unanswerable')} that could not be answered"
    ]
    learned = {one.get("sha256") for one in policy.card.get("sets", [])}
    if any(one.get("sha256") in learned for one in fit.get("sets", [])):
        lines[0] += "; the networks had learned from these sets, so that they are surer of them"
    for name, figures in fit.get("left_out", {}).items():
        lines.append(
            f"  - on {name}, left out: calibration error of `probability` "
            f"{100 * figures['needed_error']:.1f} points and of `complete` "
            f"{100 * figures['complete_error']:.1f}"
            + (
                f" ({100 * figures['complete_error_of_all']:.1f} where some have no answer)"
                if "complete_error_of_all" in figures
                else ""
            )
            + (
                f", AUROC of answerable questions {figures['answerable_auroc']:.2f}"
                if "answerable_auroc" in figures
                else ""
            )
            + _reading_text(figures)
        )
    return [*lines, _stopping_line(policy.scores)]


def _feedback_lines(policy: DescribedPolicy) -> list[str]:
    ranking = policy.feedback_ranking
    if ranking is None:
        return []
    fit, record = ranking.fit, policy.card.get("feedback") or {}
    lines = [
        f"- feedback: orders the best passages anew by {len(ranking.useful.weights)} weights, "
        f"learned from {fit.get('recalls')} recalls: {fit.get('useful')} of their "
        f"{fit.get('judged')} judged passages were useful, and {100 * ranking.noise:.0f} % of the "
        "judgements are taken as wrong"
    ]
    if record.get("command"):
        lines[0] += f"; by `{record['command']}`"
    if record.get("gate"):
        lines.append(f"  - {record['gate']['verdict']}")
    return lines


def _reading_text(figures: Mapping[str, float]) -> str:
    if "reading_gain" not in figures:
        return ""
    gain = 100 * figures["reading_gain"]
    return f", recall of what patience reads {gain:+.1f} points to a fixed number of passages"


def _stopping_line(scores: ScoreCalibration) -> str:
    if scores.stopping is None:
        return "- patience: not learned, and refused; `hoptrail train calibration` fits it"
    return "- patience: when to stop at a price was learned by REINFORCE on the same questions"


def _rerank_line(fitted: Mapping[str, Any] | None, weight: float) -> list[str]:
    if not fitted:
        return []
    return [
        f"- effort `thorough`: a re-rank weight of {weight:g}, fitted on {fitted['held_back']} "
        "questions with a policy that had not seen them"
    ]


def _further_questions(card: Mapping[str, Any]) -> str:
    said = f", {card['varied']} more over variants of the corpora" if card.get("varied") else ""
    if card.get("inferred"):
        said += (
            f", {card['inferred']} more with evidence inferred from their answers, and "
            f"{card['not_inferred']} of which none could be"
        )
    return said + (f" and {card['made']} made from passages" if card.get("made") else "")
