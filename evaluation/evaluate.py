"""The whole of a comparison: a corpus is indexed, retrievers answer its questions, a report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hoptrail.errors import FormatError, InputError
from hoptrail.evaluation.answers.answering import Answering, answer_questions
from hoptrail.evaluation.answers.grading import check_answers
from hoptrail.evaluation.benchmark import Retriever, check_questions, run
from hoptrail.evaluation.question_rows import titles_of
from hoptrail.evaluation.report import REFERENCE, Report, build_report
from hoptrail.evaluation.retrievers import BASELINES, RecallRetriever, baseline
from hoptrail.formats.jsonl import read_questions
from hoptrail.policies.environment.efforts import DEFAULT
from hoptrail.policies.environment.efforts import effort as effort_named
from hoptrail.types import Question
from hoptrail.values.progress import StageProgress

if TYPE_CHECKING:
    from hoptrail.api.memory import Memory
    from hoptrail.memory.encoders.transformer import Encoder
    from hoptrail.memory.store import Store
    from hoptrail.policies.policy import Policy

RETRIEVERS = (*BASELINES, REFERENCE)
"""Those that are known by name: the baselines, and the policy."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a comparison depends on, besides its files and the encoder."""

    retrievers: tuple[str, ...] = RETRIEVERS
    """Names out of `RETRIEVERS`."""
    effort: str = DEFAULT
    """What a recall by the policy may cost."""
    seed: int = 0
    """Of the bootstrap's draws; nothing else is random."""
    sequence: str | None = None
    """The field by which the corpus's lines follow each other; see `hoptrail.formats.sequences`."""

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
        if self.seed < 0:
            raise InputError(f"seed must be at least 0, got {self.seed}")
        effort_named(self.effort)


def evaluate(
    corpus: str | Path,
    questions: str | Path,
    settings: Settings | None = None,
    *,
    encoder: Encoder,
    policy: Policy | str | Path = "shipped",
    answering: Answering | None = None,
    progress: StageProgress | None = None,
) -> Report:
    """How well retrievers find what a corpus's questions need; see `hoptrail.evaluation.report`.

    Questions and policy are checked first: wrong ones are refused before anything is encoded.

    Args:
        corpus: A corpus as JSON lines.
        questions: Its questions as JSON lines.
        settings: Who takes part, and how.
        encoder: Makes the vectors. Those of passages are cached; questions are always encoded
            anew, so that times are what a user sees.
        policy: The one in the package, a folder, or a loaded one; used if `policy` takes part.
        answering: Whose answers are measured as well, from the gold and from what each finds.
        progress: Told how far it is.

    Returns:
        The report as JSON values, as `build_report` makes it.

    Raises:
        FormatError: A file cannot be read or used, or a question needs what the corpus lacks.
        InputError: A question names nothing that it needs, or there is none; or no answers, where
            they are to be measured.
        PolicyError: The policy cannot be loaded.
    """
    from hoptrail.api.memory import Memory
    from hoptrail.api.recalling import loaded_policy
    from hoptrail.policies.data.corpora import open_corpus

    settings = settings or Settings()
    loaded_questions = read_questions(questions)
    check_questions(loaded_questions)
    if answering:
        check_answers(loaded_questions)
    walks = REFERENCE in settings.retrievers
    loaded = loaded_policy(policy) if walks else None
    encoding = (lambda done, total: progress("encoding", done, total)) if progress else None
    asking = (lambda done, total: progress("asking", done, total)) if progress else None
    reading = (lambda done, total: progress("reading", done, total)) if progress else None
    with open_corpus(Path(corpus), encoder, sequence=settings.sequence, progress=encoding) as store:
        _check_gold(store, loaded_questions, corpus, questions)
        memory = Memory(store, policy=loaded)
        retrievers = [retriever(name, memory, settings.effort) for name in settings.retrievers]
        results = run(retrievers, loaded_questions, progress=asking)
        if answering:
            results = answer_questions(results, store, answering, reading)
        titles = titles_of(results, store)
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
            "sequence": settings.sequence,
            **({"answers": answering.as_json()} if answering else {}),
        },
        titles=titles,
    )


def retriever(name: str, memory: Memory, effort: str) -> Retriever:
    """The retriever of that name, over the memory.

    Args:
        name: A name out of `RETRIEVERS`.
        memory: Where to look.
        effort: What a recall by the policy may cost.

    Raises:
        InputError: There is none.
    """
    if name == REFERENCE:
        return RecallRetriever(memory, effort)
    return baseline(name, memory.store, memory.graph)


def _check_gold(
    store: Store, loaded_questions: Sequence[Question], corpus: str | Path, questions: str | Path
) -> None:
    """Refuse gold outside the corpus: it would pass for a passage that nobody found.

    Raises:
        FormatError: A question needs a passage that its namespace lacks.
    """
    names = {
        (passage.namespace[:depth], passage.id)
        for passage in store.passages()
        for depth in range(len(passage.namespace) + 1)
    }
    for question in loaded_questions:
        for gold_id in question.supporting_ids:
            if (question.namespace, gold_id) not in names:
                raise FormatError(
                    f"{questions}: question {question.id!r} needs passage {gold_id!r}, "
                    f"which is not in {corpus}"
                )


def _card(policy: Policy | str | Path, loaded: Policy | None) -> dict[str, object]:
    """Where the policy came from, and what it says of itself."""
    source = str(policy) if isinstance(policy, str | Path) else repr(policy)
    return {"source": source, "card": loaded.card if loaded else {}}
