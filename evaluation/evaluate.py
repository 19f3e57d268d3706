"""The whole of a comparison: a corpus is indexed, retrievers answer its questions, a report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from hoptrail.errors import FormatError, InputError
from hoptrail.evaluation.answers.grading import check_answers
from hoptrail.evaluation.answers.reader_run import DEFAULT_RULES, ReaderRun, answer_questions
from hoptrail.evaluation.benchmark import Result, Retriever, check_questions, run
from hoptrail.evaluation.question_rows import titles_of
from hoptrail.evaluation.report import REFERENCE, Report, build_report
from hoptrail.evaluation.retrievers import BASELINES, RecallRetriever, baseline
from hoptrail.formats.benchmarks.question_sets import is_question_set, read_question_set
from hoptrail.formats.jsonl import read_questions
from hoptrail.policies.data.corpora import open_corpus
from hoptrail.policies.environment.efforts import DEFAULT
from hoptrail.policies.environment.efforts import effort as effort_named
from hoptrail.types import Question
from hoptrail.values.progress import Progress, StageProgress

if TYPE_CHECKING:
    from hoptrail.api.memory import Memory
    from hoptrail.memory.encoders.transformer import Encoder
    from hoptrail.memory.store import Store
    from hoptrail.policies.policy import AnyPolicy

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
    distractor: bool = False
    """Ask each question of its own paragraphs only; of a benchmark's file."""
    aliases: Path | None = None
    """Other names of the answers, as 2WikiMultiHopQA publishes them (`id_aliases.json`)."""

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
    corpus: str | Path | None,
    questions: str | Path,
    settings: Settings | None = None,
    *,
    encoder: Encoder,
    policy: AnyPolicy | str | Path = "shipped",
    answering: ReaderRun | None = None,
    progress: StageProgress | None = None,
) -> Report:
    """How well retrievers find what a corpus's questions need; see `hoptrail.evaluation.report`.

    Questions and policy are checked first: wrong ones are refused before anything is encoded.

    Args:
        corpus: A corpus as JSON lines; None where the questions bring their paragraphs, as a file
            of HotpotQA, 2WikiMultiHopQA or MuSiQue does.
        questions: Its questions as JSON lines, or such a file.
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
    from hoptrail.api.recalling import loaded_policy

    settings = settings or Settings()
    with _files(corpus, questions, settings) as (corpus_file, question_file, rules):
        loaded_questions = read_questions(question_file)
        check_questions(loaded_questions)
        if answering:
            answering = replace(answering, rules=answering.rules or rules)
            check_answers(loaded_questions)
        walks = REFERENCE in settings.retrievers
        loaded = loaded_policy(policy) if walks else None
        with open_corpus(
            corpus_file,
            encoder,
            sequence=settings.sequence,
            progress=_stage(progress, "encoding"),
        ) as store:
            _check_gold(store, loaded_questions, corpus or questions, questions)
            results = _results(store, loaded_questions, settings, loaded, answering, progress)
            titles, passages = titles_of(results, store), len(store)
    return build_report(
        results,
        corpus=corpus or questions,
        questions=questions,
        seed=settings.seed,
        settings={
            "effort": settings.effort if walks else None,
            "policy": _card(policy, loaded) if walks else None,
            "encoder": encoder.fingerprint,
            "passages": passages,
            "sequence": settings.sequence,
            **({"distractor": settings.distractor} if corpus is None else {}),
            **({"answers": answering.as_json()} if answering else {}),
        },
        titles=titles,
    )


def _results(
    store: Store,
    questions: Sequence[Question],
    settings: Settings,
    policy: AnyPolicy | None,
    answering: ReaderRun | None,
    progress: StageProgress | None,
) -> list[Result]:
    """What every retriever finds, and what the reader makes of it."""
    from hoptrail.api.memory import Memory

    memory = Memory(store, policy=policy)
    retrievers = [retriever(name, memory, settings.effort) for name in settings.retrievers]
    results = run(retrievers, questions, progress=_stage(progress, "asking"))
    if not answering:
        return results
    return answer_questions(results, store, answering, _stage(progress, "reading"))


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


@contextmanager
def _files(
    corpus: str | Path | None, questions: str | Path, settings: Settings
) -> Iterator[tuple[Path, Path, str]]:
    """The files of passages and of questions, and by whose rules answers to them are measured."""
    own = is_question_set(questions)
    if corpus is not None:
        if own:
            raise InputError(f"{questions} brings its own paragraphs: leave the corpus out")
        if settings.distractor or settings.aliases:
            raise InputError(
                f"{questions} is no file of HotpotQA, 2WikiMultiHopQA or MuSiQue: its questions "
                "have no paragraphs and no aliases of their own"
            )
        yield Path(corpus), Path(questions), DEFAULT_RULES
        return
    if not own:
        raise InputError(f"{questions} holds no paragraphs: name the corpus that it is about")
    question_set = read_question_set(
        questions, distractor=settings.distractor, aliases=settings.aliases
    )
    with TemporaryDirectory(prefix="hoptrail-") as folder:
        yield *question_set.write(Path(folder)), question_set.rules


def _stage(progress: StageProgress | None, name: str) -> Progress | None:
    """A part of the work, as its own progress."""
    return (lambda done, total: progress(name, done, total)) if progress else None


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


def _card(policy: AnyPolicy | str | Path, loaded: AnyPolicy | None) -> dict[str, object]:
    """Where the policy came from, and what it says of itself."""
    source = str(policy) if isinstance(policy, str | Path) else repr(policy)
    return {"source": source, "card": loaded.card if loaded else {}}
