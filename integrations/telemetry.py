"""Spans of OpenTelemetry for what is asked of a memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from hoptrail.api.memory import Memory
from hoptrail.errors import InputError, MissingExtra
from hoptrail.types import Recall
from hoptrail.values.flags import flag

if TYPE_CHECKING:
    from opentelemetry.trace import Span, TracerProvider

COUNTED = ("k", "effort", "explore", "mode")
"""Arguments that say how something is asked; a span has them by their names."""
ASKED = ("question", "query", "text")
"""Arguments that hold what people write; a span has them only where it is told to."""


def trace_calls(
    memory: Memory, *, tracer_provider: TracerProvider | None = None, record_texts: bool = False
) -> None:
    """Give every call of a memory a span, `hoptrail.recall` for `recall` and so on.

    A span has how something was asked (`hoptrail.k`, `hoptrail.effort`, `hoptrail.namespace`), of
    recalls what they cost and how they ended, and an error as its exception. It stands below the
    caller's span, also where an `AsyncMemory` calls from a thread.

    Args:
        memory: Whose calls are traced from now on.
        tracer_provider: Where spans go; None is what the application has set for itself.
        record_texts: Put questions and queries into spans: they may be private.

    Raises:
        MissingExtra: The `otel` extra is not installed.
        InputError: It is no memory, or `record_texts` no truth value.
    """
    try:
        from opentelemetry import trace
    except ImportError as error:
        raise MissingExtra("spans need the API of OpenTelemetry", "otel") from error
    from hoptrail import __version__

    if not isinstance(memory, Memory):
        raise InputError(f"memory must be a Memory, got {type(memory).__name__}")
    record_texts = flag(record_texts, "record_texts")
    tracer = trace.get_tracer("hoptrail", __version__, tracer_provider)

    @contextmanager
    def observe(verb: str, arguments: Mapping[str, object]) -> Iterator[Callable[[object], None]]:
        with tracer.start_as_current_span(f"hoptrail.{verb}") as span:
            if span.is_recording():
                span.set_attributes(_asked(arguments, record_texts))
            yield lambda result: _answered(span, result)

    memory.observe(observe)


def _asked(arguments: Mapping[str, object], record_texts: bool) -> dict[str, Any]:
    """How something is asked, as attributes of a span."""
    names = (*COUNTED, *ASKED) if record_texts else COUNTED
    attributes: dict[str, Any] = {
        f"hoptrail.{name}": value
        for name in names
        if isinstance(value := arguments.get(name), str | int | float)
    }
    space = arguments.get("namespace")
    if isinstance(space, tuple | list):
        attributes["hoptrail.namespace"] = [str(part) for part in space]
    return attributes


def _answered(span: Span, result: object) -> None:
    """What came back, as attributes of a span."""
    if not span.is_recording():
        return
    if isinstance(result, Recall):
        cost = result.cost
        span.set_attributes(
            {
                "hoptrail.recall_id": result.id,
                "hoptrail.hits": len(result.hits),
                "hoptrail.candidates": cost.candidates,
                "hoptrail.passages_read": cost.passages_read,
                "hoptrail.texts_encoded": cost.texts_encoded,
                "hoptrail.pairs_scored": cost.pairs_scored,
            }
        )
        if result.trails:
            trail = result.trails[0]
            span.set_attribute("hoptrail.stop_reason", trail.stop_reason)
            span.set_attribute("hoptrail.stop_probability", trail.stop_probability)
            for step, hop in enumerate(trail.hops, start=1):
                span.add_event(
                    "hoptrail.hop",
                    {
                        "hoptrail.step": step,
                        "hoptrail.passage": hop.id,
                        "hoptrail.link": hop.link or "search",
                        "hoptrail.probability": hop.probability,
                    },
                )
    elif isinstance(result, list):
        span.set_attribute("hoptrail.hits", len(result))
    elif isinstance(result, int):
        span.set_attribute("hoptrail.count", result)
