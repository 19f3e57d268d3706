"""Carries out what a model asks of a memory, where and at what cost an application allows it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import EllipsisType
from typing import Any

from pydantic import ValidationError

from hoptrail.api.hit_selection import USUAL, HitSelection
from hoptrail.api.inputs import checked_scope
from hoptrail.api.memory import Memory
from hoptrail.errors import DuplicateId, InputError, UnknownId
from hoptrail.formats.json_views import answer_data, hit_data, metadata_data, recall_data
from hoptrail.integrations.operations import arguments as take
from hoptrail.integrations.operations.operation import OPERATIONS, Operation
from hoptrail.integrations.operations.passage_text import answer_text, passages_text, recall_text
from hoptrail.integrations.operations.recall_bounds import (
    NO_BOUNDS,
    RecallBounds,
    checked_bounds,
)
from hoptrail.outputs.printable import printable, quoted
from hoptrail.policies.environment import efforts
from hoptrail.types import Link
from hoptrail.values.flags import flag

MENDABLE = (InputError, UnknownId, DuplicateId)
"""What a model caused and can mend; everything else is for the application, and raised."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an operation."""

    text: str
    """For the model: the passages, or what was done, or what is wrong with the call."""
    data: dict[str, Any] = field(default_factory=dict)
    """For a program: the result as JSON values, exactly as stored; empty where it failed."""
    is_error: bool = False
    """Whether the call could not be carried out, for a reason that the model can mend."""


class BoundMemory:
    """A memory as a model may use it; a model's arguments never choose the namespace.

    Args:
        memory: What it reads and writes.
        namespace: Writes go to exactly this one, recalls and searches look in every namespace that
            begins with it.
        k: Passages that come back unless the model says how many; None for 5, and for 50 at most
            where `bounds` say how many.
        effort: What a recall may cost: "fast", "balanced" or "thorough".
        bounds: How much else decides what a recall returns.
        read_only: Offer only what changes nothing.
        operations: What is offered, as far as the memory can do it.

    Raises:
        InputError: A namespace or a `k` that is none.
        ConfigError: There is no such effort.
    """

    def __init__(
        self,
        memory: Memory,
        *,
        namespace: Sequence[str] = (),
        k: int | None = None,
        effort: str = "balanced",
        bounds: RecallBounds = NO_BOUNDS,
        read_only: bool = False,
        operations: Sequence[Operation] = OPERATIONS,
    ) -> None:
        if not isinstance(memory, Memory):
            raise InputError(f"memory must be a Memory, got {type(memory).__name__}")
        self.memory = memory
        usual = HitSelection.parse(k).k
        self.namespace = checked_scope([], usual, namespace, "question").namespace
        self.k = k
        """None where it is not said."""
        self.bounds = checked_bounds(bounds)
        self.effort = efforts.effort(effort).name
        self.read_only = flag(read_only, "read_only")
        self._offered = tuple(operations)
        self.operations = tuple(
            one
            for one in self._offered
            if not (one.writes and self.read_only) and (memory.has_reader or not one.reader)
        )

    def within(self, namespace: Sequence[str], *, read_only: bool = False) -> BoundMemory:
        """The same memory, asked in the same way, in another namespace.

        Args:
            namespace: In place of its own.
            read_only: Whether it offers only what changes nothing, as it does where this one does.

        Raises:
            InputError: A namespace that is none.
        """
        return BoundMemory(
            self.memory,
            namespace=namespace,
            k=self.k,
            effort=self.effort,
            bounds=self.bounds,
            read_only=self.read_only or read_only,
            operations=self._offered,
        )

    def call(self, name: str, arguments: Mapping[str, Any] | str | None) -> Outcome:
        """Carry out one call of a model.

        Args:
            name: Of the operation.
            arguments: As the model gave them: a dict, or JSON text of one.

        Returns:
            What came of it. What the model did wrong (an operation that is not there, arguments
            that do not fit, an id that is unknown) is an outcome too, whose text says what.

        Raises:
            HoptrailError: Something that no other arguments would mend: the store cannot be
                written, there is no encoder, or no policy.
        """
        operation = next((one for one in self.operations if one.name == name), None)
        if operation is None:
            names = ", ".join(one.name for one in self.operations)
            return _mistake(f"there is no tool {quoted(str(name)[:100])}: use one of {names}")
        try:
            return self.run(operation, operation.arguments.model_validate(_mapping(arguments)))
        except ValidationError as error:
            takes = ", ".join(operation.arguments.model_fields)
            complaint = take.validation_text(error)
            return _mistake(f"{complaint}; {operation.name} takes {takes}")
        except MENDABLE as error:
            return _mistake(str(error))

    def run(self, operation: Operation, arguments: Any) -> Outcome:
        """Carry out an operation whose arguments are checked; what is wrong is raised."""
        return _RUNS[operation.name](self, arguments)


def _mistake(sentence: str) -> Outcome:
    return Outcome(f"This call cannot be used: {printable(sentence)}.", is_error=True)


def _mapping(arguments: Mapping[str, Any] | str | None) -> dict[str, Any]:
    """A model's arguments as a dict; none at all and an empty text are an empty one.

    Raises:
        InputError: They are no JSON object.
    """
    value: object = arguments
    if isinstance(value, str):
        try:
            value = json.loads(value) if value.strip() else {}
        except (ValueError, RecursionError) as error:
            raise InputError(f"the arguments are no JSON: {error}") from error
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InputError("the arguments must be one JSON object")
    return dict(value)


def _recall(bound: BoundMemory, arguments: take.RecallArguments) -> Outcome:
    recall = bound.memory.recall(
        arguments.question,
        arguments.k or bound.k,
        bound.namespace,
        bound.effort,
        as_of=arguments.as_of or None,
        **bound.bounds.or_of_call(arguments).options,
    )
    return Outcome(recall_text(recall, bound.namespace), recall_data(recall))


def _ask(bound: BoundMemory, arguments: take.AskArguments) -> Outcome:
    answer = bound.memory.ask(
        arguments.question,
        arguments.k or bound.k or USUAL,
        bound.namespace,
        bound.effort,
        as_of=arguments.as_of or None,
    )
    return Outcome(answer_text(answer, bound.namespace), answer_data(answer))


def _search(bound: BoundMemory, arguments: take.SearchArguments) -> Outcome:
    hits = bound.memory.search(
        arguments.query,
        arguments.k or bound.k or USUAL,
        bound.namespace,
        mode=arguments.mode or "hybrid",
        as_of=arguments.as_of or None,
    )
    return Outcome(
        passages_text(hits, bound.namespace), {"passages": [hit_data(hit) for hit in hits]}
    )


def _remember(bound: BoundMemory, arguments: take.RememberArguments) -> Outcome:
    record: dict[str, Any] = {
        "text": arguments.text,
        "title": arguments.title or None,
        "metadata": arguments.metadata or {},
        "links": [
            {"target": one.target, "kind": one.kind or "link"} for one in arguments.links or ()
        ],
    }
    if arguments.expires_at:
        record["expires_at"] = arguments.expires_at
    if isinstance(arguments, take.NamedRememberArguments) and arguments.id is not None:
        record["id"] = arguments.id
    for link in arguments.links or ():
        bound.memory.get(link.target, bound.namespace)  # a mistyped id would lead nowhere
    done = bound.memory.add_distinct(record, namespace=bound.namespace)
    if done.duplicates:
        id_ = done.duplicates[0].of
        text = f"This is remembered already (id: {quoted(id_)}); nothing was written."
        return Outcome(text, {"id": id_, "written": False})
    id_ = done.ids[0]
    return Outcome(f"Remembered (id: {quoted(id_)}).", {"id": id_, "written": True})


def _update(bound: BoundMemory, arguments: take.UpdateArguments) -> Outcome:
    if all(value is None for name, value in arguments if name not in ("id", "keep_history")):
        raise InputError("an update needs a text, a title, metadata or expires_at")
    bound.memory.get(arguments.id, bound.namespace)  # what is over is not the model's to rewrite
    title: str | EllipsisType | None = ... if arguments.title is None else arguments.title or None
    expires: str | EllipsisType | None = (
        ... if arguments.expires_at is None else arguments.expires_at or None
    )
    passage = bound.memory.update(
        arguments.id,
        text=arguments.text,
        title=title,
        metadata=arguments.metadata,
        expires_at=expires,
        keep_history=bool(arguments.keep_history),
        namespace=bound.namespace,
    )
    data = {
        "id": passage.id,
        "title": passage.title,
        "text": passage.text,
        "metadata": metadata_data(passage),
        "expires_at": passage.expires_at,
    }
    return Outcome(f"Updated (id: {quoted(passage.id)}).", data)


def _supersede(bound: BoundMemory, arguments: take.SupersedeArguments) -> Outcome:
    bound.memory.get(arguments.id, bound.namespace)  # what is over has its successor already
    record = {
        "text": arguments.text,
        "title": arguments.title or None,
        "metadata": arguments.metadata or {},
    }
    passage = bound.memory.supersede(
        arguments.id, record, at=arguments.at or None, namespace=bound.namespace
    )
    text = f"Superseded {quoted(arguments.id)} (id: {quoted(passage.id)})."
    data = {"id": passage.id, "superseded": arguments.id, "valid_from": passage.valid_from}
    return Outcome(text, data)


def _forget(bound: BoundMemory, arguments: take.ForgetArguments) -> Outcome:
    ids = list(dict.fromkeys(arguments.ids))
    bound.memory.delete(ids, bound.namespace)
    return Outcome(f"Deleted (ids: {', '.join(map(quoted, ids))}).", {"deleted": ids})


def _link(bound: BoundMemory, arguments: take.LinkArguments) -> Outcome:
    link = Link(arguments.target, arguments.kind or "link")
    for id_ in (arguments.source, arguments.target):  # a mistyped id would lead nowhere
        bound.memory.get(id_, bound.namespace)
    bound.memory.link(arguments.source, link.target, link.kind, namespace=bound.namespace)
    text = (
        f"Linked {quoted(arguments.source)} to {quoted(link.target)} (kind: {quoted(link.kind)})."
    )
    return Outcome(text, {"source": arguments.source, "target": link.target, "kind": link.kind})


def _feedback(bound: BoundMemory, arguments: take.FeedbackArguments) -> Outcome:
    bound.memory.feedback(
        arguments.recall,
        arguments.reward,
        passages=arguments.ids or None,
        namespace=bound.namespace,
    )
    text = f"Noted: {arguments.reward:g} for the recall {quoted(arguments.recall)}."
    return Outcome(text, {"recall": arguments.recall, "reward": arguments.reward})


_RUNS: dict[str, Callable[[BoundMemory, Any], Outcome]] = {
    "recall": _recall,
    "ask": _ask,
    "search": _search,
    "remember": _remember,
    "update": _update,
    "supersede": _supersede,
    "forget": _forget,
    "link": _link,
    "feedback": _feedback,
}
