"""Recalls that arrive together are walked together: one pass of the networks for all of them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from hoptrail.api.memory import Memory
from hoptrail.integrations.operations.recall_bounds import RecallBounds
from hoptrail.types import Namespace, Recall


@dataclass(frozen=True, slots=True)
class RecallKind:
    """What recalls must have in common to be walked together."""

    k: int | None
    namespace: Namespace
    effort: str
    as_of: str | None
    bounds: RecallBounds


@dataclass(frozen=True, slots=True)
class WaitingRecall:
    """A question, and who waits for its recall."""

    question: str
    kind: RecallKind
    reply: asyncio.Future[Recall]


class RecallBatches:
    """Walks recalls, those of one kind that wait together as one batch.

    Nobody waits for others to come: a recall that finds nothing in progress is walked at once, and
    what arrives meanwhile is the next batch, the oldest first.

    Args:
        memory: What is asked.
        most: Recalls of one batch.
        note_batch: Told of the size of each.
    """

    def __init__(self, memory: Memory, *, most: int, note_batch: Callable[[int], None]) -> None:
        self._memory = memory
        self._most = most
        self._note_batch = note_batch
        self._threads = ThreadPoolExecutor(1, "hoptrail-recalls")
        # Both only in the event loop.
        self._waiting: deque[WaitingRecall] = deque()
        self._walk: asyncio.Task[None] | None = None

    async def recall(self, question: str, kind: RecallKind) -> Recall:
        """The recall of a question; who is cancelled while he waits is left out.

        Args:
            question: In words.
            kind: How it is asked.

        Raises:
            HoptrailError: As `Memory.recall` of this question alone.
        """
        reply = asyncio.get_running_loop().create_future()
        self._waiting.append(WaitingRecall(question, kind, reply))
        if self._walk is None:
            self._walk = asyncio.create_task(self._walk_all())
        recall: Recall = await reply
        return recall

    def close(self) -> None:
        """End its thread, once it is done."""
        self._threads.shutdown()

    async def _walk_all(self) -> None:
        """Walk batch after batch, until nobody waits."""
        loop = asyncio.get_running_loop()
        try:
            while batch := self._next_batch():
                self._note_batch(len(batch))
                questions = [one.question for one in batch]
                results = await loop.run_in_executor(
                    self._threads, self._recalls, questions, batch[0].kind
                )
                for one, result in zip(batch, results, strict=True):
                    if one.reply.done():  # whoever asked has given up
                        continue
                    if isinstance(result, Exception):
                        one.reply.set_exception(result)
                    else:
                        one.reply.set_result(result)
        finally:
            self._walk = None

    def _next_batch(self) -> list[WaitingRecall]:
        """The recall that waits longest with others of its kind; the rest go on waiting."""
        waiting = [one for one in self._waiting if not one.reply.done()]
        batch = [one for one in waiting if one.kind == waiting[0].kind][: self._most]
        in_batch = set(map(id, batch))
        self._waiting = deque(one for one in waiting if id(one) not in in_batch)
        return batch

    def _recalls(self, questions: Sequence[str], kind: RecallKind) -> list[Recall | Exception]:
        """A recall for each question, or what is wrong with that one."""
        try:
            return list(
                self._memory.recall_many(
                    questions,
                    kind.k,
                    kind.namespace,
                    kind.effort,
                    as_of=kind.as_of,
                    **kind.bounds.options,
                )
            )
        except Exception as error:
            if len(questions) == 1:
                return [error]
            # One question that cannot be asked spoils no other.
            return [self._recalls([question], kind)[0] for question in questions]
