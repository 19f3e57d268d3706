"""The data of a training run made ready: corpora opened and indexed, questions with their pools."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from hoptrail.errors import InputError
from hoptrail.formats.jsonl import read_questions
from hoptrail.learning.execution.single_thread import one_thread
from hoptrail.memory.encoders.transformer import Encoder
from hoptrail.memory.encoders.wrapped import uncached
from hoptrail.policies.data.augmentation import augmented_corpora
from hoptrail.policies.data.corpora import OpenCorpus, is_store
from hoptrail.policies.data.examples import Example, Source, prepare
from hoptrail.policies.data.inverse_cloze import with_cloze_questions
from hoptrail.policies.data.judged_questions import judged_questions
from hoptrail.policies.data.pseudo_questions import pseudo_questions
from hoptrail.policies.data.training_data import TrainingData, TrainingSet
from hoptrail.policies.environment.efforts import EFFORTS
from hoptrail.policies.objectives.inferred_evidence import infer_evidence, with_evidence
from hoptrail.policies.policy import Policy
from hoptrail.policies.training.config import TrainConfig
from hoptrail.policies.training.next_queries import NextQueries
from hoptrail.policies.training.supervision import usable
from hoptrail.types import Passage, Question
from hoptrail.values.progress import TrainingProgress, silent


@contextmanager
def prepare_examples(
    data: TrainingData,
    config: TrainConfig,
    queries: NextQueries,
    progress: TrainingProgress,
    *,
    start: Policy | None = None,
) -> Iterator[list[Example]]:
    """The questions that a run learns from, whose corpora are open inside the `with`.

    Args:
        data: Files of questions and of passages.
        config: Which questions are wanted, made and augmented.
        queries: What asks, and the encoder.
        progress: Told of each part's progress.
        start: The policy that training goes on from, by which evidence is inferred.

    Yields:
        The questions in the order of their files, those over augmented corpora, and those that
        were made.

    Raises:
        InputError: There is nothing that a stage could learn from.
        FormatError: A file cannot be read, or a gold passage is not in its corpus.
    """
    with ExitStack() as stack:
        preparation = Preparation(config, queries, progress, stack)
        labelled = preparation.labelled(data) if config.objectives else []
        examples = preparation.examples(labelled, Source.GIVEN, "prepare questions")
        if config.infer_evidence and start is not None:
            examples = preparation.with_inferred_evidence(examples, start)
        if config.augmentation_share:
            for corpus in labelled:
                examples += preparation.augmented(corpus)
        if config.self_supervised:
            examples += preparation.pseudo(data.pseudo_corpora)
        yield examples


def show_pseudo_questions(
    corpora: Sequence[Path],
    *,
    count: int,
    seed: int,
    encoder: Encoder,
    progress: TrainingProgress = silent,
) -> list[tuple[Question, list[Passage]]]:
    """The questions that a run would make of the corpora or stores, each with its passages.

    Args:
        corpora: Files of JSON lines, or stores.
        count: How many questions.
        seed: Of what is drawn.
        encoder: Makes the passages' vectors; they are cached.
        progress: Told of what is indexed and made.

    Raises:
        InputError: None could be made.
    """
    with ExitStack() as stack:
        opened = open_corpora(corpora, encoder, progress, stack)
        return [
            (question, corpus.scope(question.namespace).view.passages(corpus.gold(question)))
            for corpus in with_pseudo_questions(opened, count, seed, progress)
            for question in corpus.questions
        ]


@dataclass(frozen=True, slots=True)
class Preparation:
    """Makes examples of files; what it opens, its stack closes."""

    config: TrainConfig
    queries: NextQueries
    progress: TrainingProgress
    stack: ExitStack

    @property
    def _encoder(self) -> Encoder:
        """Of the passages."""
        return uncached(self.queries.encoder)

    def labelled(self, data: TrainingData) -> list[OpenCorpus]:
        """The corpora with the questions from which some stage can learn.

        Args:
            data: Names the files.
        """
        # Questions are read first: a corpus may have to be encoded.
        questions = [
            usable(read_questions(one.questions), self.config, one.questions) for one in data.train
        ]
        files = [one.corpus for one in data.train]
        corpora = open_corpora(files, self._encoder, self.progress, self.stack)
        return [
            corpus.with_questions(of_corpus, one.questions)
            for corpus, of_corpus, one in zip(corpora, questions, data.train, strict=True)
        ]

    def examples(self, corpora: Sequence[OpenCorpus], source: Source, label: str) -> list[Example]:
        """The questions of corpora with their pools.

        Args:
            corpora: Open ones.
            source: Where their questions come from.
            label: What progress calls it.
        """
        # Of questions that were made or augmented, queries move as vectors, as at effort `fast`:
        # there are many, and networks should know such queries too.
        reencode = source is Source.GIVEN and EFFORTS[self.config.effort].reencode
        return prepare(
            corpora,
            self.queries.encoder,
            self.queries.reformulator(reencode=reencode),
            source=source,
            progress=stage_progress(self.progress, label),
        )

    def with_inferred_evidence(self, examples: Sequence[Example], policy: Policy) -> list[Example]:
        """The questions, with evidence where none was named and the answer tells of some.

        Args:
            examples: As `examples` gives them.
            policy: By which it is inferred.

        Raises:
            InputError: No evidence is named, and none could be inferred.
        """
        bounds = EFFORTS[self.config.effort]
        asking = self.queries.reformulator(reencode=bounds.reencode)
        bare = [example for example in examples if not example.gold]
        telling = stage_progress(self.progress, "infer evidence")
        with one_thread():
            inferred = infer_evidence(policy, bare, asking, bounds, progress=telling)
        if len(bare) == len(examples) and not any(inferred):
            raise InputError(
                f"no evidence could be inferred for any of {len(bare)} questions: on no trail "
                "that the policy of --start follows does a passage say an accepted answer"
            )
        of_example = dict(zip(bare, inferred, strict=True))
        return [
            example
            if (evidence := of_example.get(example)) is None
            else with_evidence(example, evidence, asking)
            for example in examples
        ]

    def augmented(self, corpus: OpenCorpus) -> list[Example]:
        """The questions of a corpus over what is made from it.

        Args:
            corpus: With questions that people asked.
        """
        examples = []
        for variant in augmented_corpora(
            corpus, share=self.config.augmentation_share, seed=self.config.seed
        ):
            opened = variant.open(
                self._encoder, stage_progress(self.progress, f"index {variant.name}")
            )
            self.stack.callback(opened.close)
            examples += self.examples([opened], Source.AUGMENTED, f"prepare {variant.name}")
        return examples

    def pseudo(self, files: Sequence[Path]) -> list[Example]:
        """Questions made of the passages of corpora.

        Args:
            files: Corpora or stores.
        """
        corpora = with_pseudo_questions(
            open_corpora(files, self._encoder, self.progress, self.stack),
            self.config.self_supervised,
            self.config.seed,
            self.progress,
        )
        return self.examples(corpora, Source.PSEUDO, "prepare questions")


def open_corpora(
    files: Sequence[Path], encoder: Encoder, progress: TrainingProgress, stack: ExitStack
) -> list[OpenCorpus]:
    """Corpora without questions, open until the stack closes.

    Args:
        files: Files of JSON lines, or stores.
        encoder: For their passages.
        progress: Told of each that has to be indexed.
        stack: Closes them.
    """
    corpora = []
    for file in files:
        indexing = stage_progress(progress, f"index {file.parent.name}")
        corpora.append(OpenCorpus(file, None, encoder, progress=indexing))
        stack.callback(corpora[-1].close)
    return corpora


def tuning_corpora(
    data: TrainingData,
    encoder: Encoder,
    *,
    cloze: int,
    seed: int,
    progress: TrainingProgress,
    stack: ExitStack,
) -> tuple[list[OpenCorpus], list[OpenCorpus]]:
    """What an encoder learns from, and what it is measured on, open until the stack closes.

    Args:
        data: Names the files.
        encoder: Of the passages; their vectors are cached.
        cloze: Questions that are made of the passages besides.
        seed: Of what is drawn.
        progress: Told of each that has to be indexed.
        stack: Closes them.

    Returns:
        The corpora with the questions to learn from, and those of `data.dev` with theirs.

    Raises:
        FormatError: A file cannot be read, or a supporting passage is not in its corpus.
        InputError: Feedback is to be learned from, and there is no memory, or none that says what
            was useful.
    """

    def opened(sets: Sequence[TrainingSet]) -> list[OpenCorpus]:
        corpora = open_corpora([one.corpus for one in sets], encoder, progress, stack)
        return [
            corpus.with_questions(read_questions(one.questions), one.questions)
            for corpus, one in zip(corpora, sets, strict=True)
        ]

    for source in data.feedback:
        if not is_store(source.store):
            raise InputError(f"feedback lies in a memory, and {source.store} is none")
    train, dev = opened(data.train), opened(data.dev)
    memories = open_corpora([one.store for one in data.feedback], encoder, progress, stack)
    for memory, source in zip(memories, data.feedback, strict=True):
        train.append(memory.with_questions(judged_questions(memory, source.namespace)))
    if cloze:
        unlabelled = open_corpora(data.pseudo_corpora, encoder, progress, stack)
        train += with_cloze_questions(unlabelled, cloze, seed)
    return train, dev


def with_pseudo_questions(
    corpora: Sequence[OpenCorpus], count: int, seed: int, progress: TrainingProgress
) -> list[OpenCorpus]:
    """The corpora with questions made of their passages.

    Args:
        corpora: Open ones.
        count: How many questions in all.
        seed: Of what is drawn.
        progress: Told of each question.

    Raises:
        InputError: None could be made.
    """
    with_questions = []
    for place, corpus in enumerate(corpora):
        share = count // len(corpora) + (place < count % len(corpora))
        scope = corpus.scope(())
        questions = pseudo_questions(
            scope.view,
            scope.graph,
            count=max(1, share),
            seed=seed,
            progress=stage_progress(progress, "make questions"),
        )
        with_questions.append(corpus.with_questions(questions))
    if not any(corpus.questions for corpus in with_questions):
        raise InputError(
            "there is nothing to learn from: no question could be made of the passages, "
            "which neither name each other nor share rare names"
        )
    return with_questions


def stage_progress(progress: TrainingProgress, stage: str) -> Callable[[int, int], None]:
    """Progress of one stage that has no figures.

    Args:
        progress: Told of it.
        stage: What it is called.
    """
    return partial(_count, progress, stage)


def _count(progress: TrainingProgress, stage: str, done: int, total: int) -> None:
    progress(stage, done, total, {})
