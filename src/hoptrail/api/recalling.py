"""How a memory recalls: it walks a view that is pinned, and looks whether others replaced it."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from hoptrail.api.feedback_inbox import FeedbackInbox, RecallDecision, RecallOptions
from hoptrail.api.hit_selection import HitSelection, token_counter
from hoptrail.api.inputs import checked_scope, checked_seed
from hoptrail.errors import (
    EncoderMismatch,
    InputError,
    PolicyError,
    StoreUnavailable,
    UnknownId,
)
from hoptrail.memory.guarded import guarded
from hoptrail.types import AsOf, Cost, Hit, Passage, Recall

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hoptrail.api.encoder_slot import EncoderSlot
    from hoptrail.api.graph_slot import GraphSlot
    from hoptrail.api.hit_selection import Until
    from hoptrail.api.insight.journal import Journal
    from hoptrail.api.retrievers import Retrievers
    from hoptrail.memory.encoders.transformer import Encoder
    from hoptrail.memory.filters import Filter, FilterLike
    from hoptrail.memory.storage.namespaces import Scope
    from hoptrail.memory.store import Store
    from hoptrail.memory.views.view import View
    from hoptrail.policies.policy import AnyPolicy
    from hoptrail.policies.result import RetrievalResult

RANKED = 100
"""Passages that a walk ranks at least: what lies behind the k best is cheap, and evaluation
looks at it."""

TRIES = 3
"""Walks over passages that others replaced meanwhile, before the last one is returned as it is."""


class RecallEngine:
    """Answers questions by walking a memory.

    Args:
        store: The passages.
        graph: Over them.
        encoder: For questions and rewritten queries.
        retrievers: By a policy.
        inbox: Remembers each recall, for feedback to come.
        journal: Logs each recall, if it is to.
    """

    def __init__(
        self,
        store: Store,
        graph: GraphSlot,
        encoder: EncoderSlot,
        retrievers: Retrievers,
        inbox: FeedbackInbox,
        journal: Journal,
    ) -> None:
        self._store = store
        self._graph = graph
        self._encoder = encoder
        self._retrievers = retrievers
        self._inbox = inbox
        self._journal = journal

    def recall(
        self,
        question: str,
        k: int | None = None,
        namespace: Sequence[str] = (),
        effort: str = "balanced",
        *,
        filter: FilterLike | None = None,
        explore: int | None = None,
        as_of: AsOf | None = None,
        until: Until | None = None,
        tokens: int | None = None,
        min_score: float | None = None,
        patience: float | None = None,
    ) -> Recall:
        """The passages that a question needs, found by walking, and the trails behind them.

        How many come back, the best first, is a number (`k`), left to the walk (`until`), to what
        reading costs (`patience`), or a budget (`tokens`); where several are given, each is a
        limit.

        Args:
            question: In words.
            k: How many passages, at least 1, wherever there are as many; 5 by default, and with
                `until`, `tokens` or `patience` at most 50.
            namespace: Where to look: every namespace that begins with it.
            effort: What it may cost: "fast", "balanced" or "thorough".
            filter: Only passages that fulfil it are read and returned; see
                `hoptrail.memory.filters`.
            explore: A seed to draw trails with, rather than follow the likeliest: what it finds is
                less good on average, and feedback on it teaches more.
            as_of: What was valid at a time, such as "2026-01-31T12:00:00Z" or seconds since 1970,
                rather than now; "ever" for what was valid at any.
            until: "complete" for the set that is needed: as many of the best as make its expected
                F1 highest, by `Hit.probability`. How probably they suffice is `Recall.complete`.
            tokens: As many of the best as have no more tokens together, at least 1: of their
                `Passage.content`, by the tokenizer of the memory's encoder.
            min_score: Only passages whose `Hit.probability` is at least this, in [0, 1].
            patience: How many passages all of the evidence is worth, above 0: it is read on while
                the next passage is expected to bring 1 / patience of it. At least one comes back;
                whoever has more patience gets at least as many. Not beside `until`.

        Returns:
            The passages, best first, the trails, most probable first, and what it cost.

        Raises:
            InputError: An empty question, a `k` below 1, a namespace that is none, no filter, a
                limit out of its range, or `tokens` beside an encoder that does not count them.
            ConfigError: There is no such effort.
            EncoderMissing: The memory was opened without an encoder, and holds passages.
            EncoderMismatch: The memory's encoder is not the one that made the vectors.
            MissingExtra: The default encoder is meant and the `minilm` extra is not installed.
            PolicyError: There is no policy, its files cannot be used, or its scores are not
                calibrated and `until`, `min_score` or `patience` needs them.
        """
        return self.recall_many(
            [question],
            k,
            namespace,
            effort,
            filter=filter,
            explore=explore,
            as_of=as_of,
            until=until,
            tokens=tokens,
            min_score=min_score,
            patience=patience,
        )[0]

    def recall_many(
        self,
        questions: Iterable[str],
        k: int | None = None,
        namespace: Sequence[str] = (),
        effort: str = "balanced",
        *,
        filter: FilterLike | None = None,
        explore: int | None = None,
        as_of: AsOf | None = None,
        until: Until | None = None,
        tokens: int | None = None,
        min_score: float | None = None,
        patience: float | None = None,
    ) -> list[Recall]:
        """A recall for each question, in their order, walked together.

        Args:
            questions: In words; perhaps none.
            k: As for `recall`, for each.
            namespace: Where to look, for all of them.
            effort: What each may cost.
            filter: As for `recall`, for all of them.
            explore: As for `recall`; what a question draws depends on the seed and itself alone.
            as_of: As for `recall`, for all of them.
            until: As for `recall`, for each.
            tokens: As for `recall`, for each.
            min_score: As for `recall`, for each.
            patience: As for `recall`, for each.

        Returns:
            As many recalls as there are questions, each with its share of the milliseconds.

        Raises:
            InputError: As for `recall`, or one string was given for several questions.
            ConfigError: There is no such effort.
            EncoderMissing: The memory was opened without an encoder, and holds passages.
            EncoderMismatch: The memory's encoder is not the one that made the vectors.
            MissingExtra: The default encoder is meant and the `minilm` extra is not installed.
            PolicyError: As for `recall`.
        """
        from hoptrail.memory.filters import Filter
        from hoptrail.policies.environment import efforts

        if isinstance(questions, str) or not isinstance(questions, Iterable):
            raise InputError("recall_many takes several questions: give one to recall")
        texts = list(questions)
        selection = HitSelection.parse(k, until, tokens, min_score, patience)
        scope = checked_scope(texts, selection.k, namespace, "question", as_of)
        bounds = efforts.effort(effort)
        conditions = Filter.parse_optional(filter)
        options = RecallOptions(scope, bounds.name, conditions, checked_seed(explore))
        if not texts:
            return []
        recalls: list[Recall] | None = None
        for tries in range(TRIES):
            if not self._store.holds_any(scope):
                return [self._nothing(text, options) for text in texts]
            last = tries + 1 == TRIES
            try:
                with self._pinned(scope) as (view, encoder):
                    recalls = self._walk(texts, selection, options, view, encoder, last=last)
            except (UnknownId, StoreUnavailable):  # damaged, and left out or mended next time
                if last:
                    raise
                continue
            if recalls is not None:
                break
        assert recalls is not None
        return recalls

    def _nothing(self, question: str, options: RecallOptions) -> Recall:
        """The recall of a question about a scope without passages."""
        return Recall(
            question, (), (), Cost(0.0, 0, 0, 0), *self._inbox.remember(question, options)
        )

    def _walk(
        self,
        questions: list[str],
        selection: HitSelection,
        options: RecallOptions,
        view: View,
        encoder: Encoder,
        *,
        last: bool,
    ) -> list[Recall] | None:
        """The recalls of checked questions; None where others have replaced a passage meanwhile.

        Args:
            questions: In words.
            selection: What comes back of each ranking.
            options: How they are asked.
            view: Of the scope, pinned.
            encoder: The one that made its vectors.
            last: Return them as they were when the walk began, whatever was replaced.
        """
        graph = self._graph.get().view(view)
        count_tokens = token_counter(encoder, selection.tokens)
        started = time.perf_counter()
        with self._retrievers.lent(options.effort, view, graph, encoder) as retriever:
            results = retriever.retrieve(
                questions,
                k=max(selection.k, RANKED),
                allowed=view.allowed(options.filter),
                explore=options.explore,
                explained=selection.k,
            )
            fingerprint = self._retrievers.fingerprint
            decisions = [
                decide(one, view, selection, count_tokens, options.filter, fingerprint)
                for one in results
            ]
        rowids = [one.rowids for one in decisions]
        if not (last or self._store.unchanged(view.version, itertools.chain(*rowids))):
            return None
        for returned in rowids:
            self._store.recorder.note(returned)
        spent = 1000 * (time.perf_counter() - started) / len(questions)
        recalls = [
            Recall(
                question,
                one.hits,
                one.result.trails,
                one.result.cost(spent),
                *self._inbox.remember(question, options, one),
            )
            for question, one in zip(questions, decisions, strict=True)
        ]
        for recall, one in zip(recalls, decisions, strict=True):
            self._journal.note(recall, options, one)
        return recalls

    @guarded
    def _pinned(self, scope: Scope) -> Iterator[tuple[View, Encoder]]:
        """The scope's view, as it is now, and the encoder that made its vectors."""
        from hoptrail.memory.encoders.transformer import require

        while True:
            encoder = require(self._encoder.for_queries(), "recall")
            _ = self._retrievers.policy  # loaded before anything is pinned
            self._graph.get().sync(wait=False)
            with ExitStack() as stack:
                try:
                    view = stack.enter_context(self._store.pinned(scope, encoder))
                except EncoderMismatch:
                    if not self._encoder.replaced(encoder):
                        raise
                    continue  # another thread has just changed it
                yield view, encoder
                return


def decide(
    result: RetrievalResult,
    view: View,
    selection: HitSelection,
    count_tokens: Callable[[Sequence[str]], list[int]],
    filter: Filter | None,
    policy: str,
) -> RecallDecision:
    """What a recall returns of a walk over a pinned view: the best that fulfil a filter.

    Args:
        result: Of the walk.
        view: Where it took place, still pinned.
        selection: How many of the best.
        count_tokens: Of each text, in the encoder's tokens.
        filter: Passages must fulfil it as they are now; None for all.
        policy: The policy's fingerprint.

    Returns:
        The hits, and what feedback on them is to be kept with.

    Raises:
        PolicyError: The selection needs calibrated scores or prices, and the walk has none.
    """
    import numpy as np

    from hoptrail.memory.passages.cleaning import apart

    needed, complete, prices = (
        None if values is None else values.tolist()
        for values in (result.probabilities, result.complete, result.prices)
    )
    count = selection.reach(len(result.slots), needed, prices)
    slots = result.slots[:count]
    passages = view.passages(slots.tolist())
    fulfil = np.ones(len(slots), dtype=np.bool_)
    if filter is not None:
        fulfil = filter.passages_mask(passages)
    nothing = [None] * count
    hits = [
        replace(hit_of(result, passage, score, slot), probability=probability, complete=suffices)
        for passage, score, slot, probability, suffices in zip(
            apart(passages),
            result.scores.tolist(),
            slots.tolist(),
            needed or nothing,
            complete or nothing,
            strict=False,
        )
    ]
    hits_left = selection.fitting(
        [hit for hit, right in zip(hits, fulfil.tolist(), strict=True) if right], count_tokens
    )
    return RecallDecision(
        result,
        hits_left,
        tuple(view.rowids[slots[fulfil]][: len(hits_left)].tolist()),
        tuple(tuple(int(view.rowids[s]) for s in trail.slots) for trail in result.decided),
        view.version,
        policy,
    )


def hit_of(result: RetrievalResult, passage: Passage, score: float, slot: int) -> Hit:
    """A hit, with what is known of how it came about.

    Args:
        result: Of the walk.
        passage: The slot's.
        score: The slot's.
        slot: One that was ranked.
    """
    explanation = result.explanations.get(slot)
    shares, sources = (explanation.shares, explanation.sources) if explanation else (None, ())
    return Hit(passage, score, result.sub_questions.get(slot), shares, sources)


def loaded_policy(policy: AnyPolicy | str | Path | None) -> AnyPolicy:
    """The policy that is meant: "shipped" is the one in the package, other names are folders.

    Args:
        policy: As `Memory` takes it.

    Returns:
        The policy, ready to decide.

    Raises:
        PolicyError: There is none, or its files cannot be used.
        InputError: It is something else.
    """
    from hoptrail.policies.networks.frozen_policy import FrozenPolicy

    if policy is None:
        raise PolicyError(
            "this memory was opened with policy=None and recall needs one: "
            'open it with policy="shipped" or a folder that hoptrail train wrote'
        )
    if isinstance(policy, str | Path):
        return FrozenPolicy.shipped() if policy == "shipped" else FrozenPolicy.load(Path(policy))
    if not isinstance(policy, FrozenPolicy):
        from hoptrail.policies.policy import Policy  # brings PyTorch, as whoever made one did

        if not isinstance(policy, Policy):
            raise InputError(
                f'policy must be "shipped", a folder, a Policy or None, got {type(policy).__name__}'
            )
    return policy
