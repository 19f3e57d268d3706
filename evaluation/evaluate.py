"""The whole of a comparison: a corpus is indexed, retrievers answer its questions, a report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hoptrail.errors import InputError
from hoptrail.evaluation.baselines import BASELINES, RecallRetriever, baseline
from hoptrail.evaluation.benchmark import Retriever, run
from hoptrail.evaluation.report import REFERENCE, Report, build_report
from hoptrail.formats import read_questions
from hoptrail.types import Question

if TYPE_CHECKING:
    from hoptrail.front import Memory
    from hoptrail.memory.encoder import Encoder
    from hoptrail.memory.store import Store
    from hoptrail.policies.policy import Policy

RETRIEVERS = (*BASELINES, REFERENCE)
"""Those that are known by name: the baselines, and the policy."""

Progress = Callable[[str, int, int], None]
"""Called with the stage (`encoding` or `asking`), what is done of it, and all of it."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a comparison depends on, besides its files and the encoder."""

    retrievers: tuple[str, ...] = RETRIEVERS
    """Names out of `RETRIEVERS`."""
    effort: str = "balanced"
    """What a recall by the policy may cost."""
    seed: int = 0
    """Of the bootstrap's draws; nothing else is random."""

    def __post_init__(self) -> None:
        unknown = [name for name in self.retrievers if name not in RETRIEVERS]
        if unknown or not self.retrievers:
            raise InputError(
                f"there is no retriever {unknown[0]!r}: choose from {', '.join(RETRIEVERS)}"
                if unknown
                else f"no retriever was named: choose from {', '.join(RETRIEVERS)}"
            )
        if len(set(self.retrievers)) != len(self.retrievers):
            raise InputError(f"a retriever is named twice: {', '.join(self.retrievers)}")


def evaluate(
    corpus: str | Path,
    questions: str | Path,
    settings: Settings | None = None,
    *,
    encoder: Encoder,
    policy: Policy | str | Path = "shipped",
    progress: Progress | None = None,
) -> Report:
    """How well retrievers find what a corpus's questions need; see `hoptrail.evaluation.report`.

    Args:
        corpus: A corpus as JSON lines.
        questions: Its questions as JSON lines.
        settings: Who takes part, and how.
        encoder: Makes the vectors. Those of passages are cached; questions are always encoded
            anew, so that times are what a user sees.
        policy: The one in the package, a folder, or a loaded one; used if `policy` takes part.
        progress: Told how far it is.

    Raises:
        FormatError: A file cannot be read or used.
        InputError: The questions are not about this corpus, or none of them can be measured.
        ConfigError: There is no such effort.
        PolicyError: The policy cannot be loaded.
    """
    from hoptrail.front import Memory
    from hoptrail.policies.corpora import open_corpus

    settings = settings or Settings()
    asked = read_questions(questions)
    walks = REFERENCE in settings.retrievers
    loaded = _loaded(policy, settings.effort) if walks else None
    encoding = (lambda done, total: progress("encoding", done, total)) if progress else None
    asking = (lambda done, total: progress("asking", done, total)) if progress else None
    with open_corpus(Path(corpus), encoder, progress=encoding) as store:
        outside = gold_outside(store, asked)
        memory = Memory(store, policy=loaded)
        retrievers = [_retriever(name, memory, settings.effort) for name in settings.retrievers]
        results = run(retrievers, asked, progress=asking)
        passages = len(store)
    return build_report(
        results,
        corpus=corpus,
        questions=questions,
        seed=settings.seed,
        settings={
            "effort": settings.effort if walks else None,
            "policy": _card(policy, loaded) if walks else None,
            "encoder": encoder.fingerprint,
            "passages": passages,
            "gold_outside_corpus": outside,
        },
    )


def gold_outside(store: Store, questions: Sequence[Question]) -> int:
    """How many gold passages the store lacks, each counted once a question; they count as missed.

    Raises:
        InputError: It lacks all of them: these questions are about another corpus.
    """
    held = {
        (passage.namespace[:depth], passage.id)
        for passage in store.passages()
        for depth in range(len(passage.namespace) + 1)
    }
    gold = [(q.namespace, wanted) for q in questions for wanted in q.supporting_ids]
    outside = [key for key in gold if key not in held]
    if gold and len(outside) == len(gold):
        raise InputError(
            f"the corpus holds none of the questions' supporting_ids (the first is "
            f"{outside[0][1]!r}): are these its questions?"
        )
    return len(outside)


def _loaded(policy: Policy | str | Path, effort: str) -> Policy:
    """The policy, loaded before anything slow happens; the effort is looked up for its name."""
    from hoptrail.policies.efforts import effort as effort_named
    from hoptrail.policies.policy import Policy

    effort_named(effort)
    if isinstance(policy, Policy):
        return policy
    return Policy.shipped() if policy == "shipped" else Policy.load(policy)


def _retriever(name: str, memory: Memory, effort: str) -> Retriever:
    if name == REFERENCE:
        return RecallRetriever(memory, effort)
    return baseline(name, memory.store, memory.graph)


def _card(policy: Policy | str | Path, loaded: Policy | None) -> dict[str, object]:
    """Where the policy came from, and what it says of itself."""
    source = str(policy) if isinstance(policy, str | Path) else repr(policy)
    return {"source": source, "card": loaded.card if loaded else {}}
