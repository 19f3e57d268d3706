"""Spans of OpenTelemetry for what is asked of a memory, with the SDK's own exporter."""

from __future__ import annotations

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from hoptrail import AsyncMemory, InputError
from hoptrail.integrations.telemetry import trace_calls

QUESTION = "Where was Ada Lind born?"


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def provider(exporter) -> TracerProvider:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider


def test_a_recall_s_span_has_how_it_was_asked_what_it_cost_and_its_hops(
    memory, provider, exporter
) -> None:
    trace_calls(memory, tracer_provider=provider)
    recall = memory.recall(QUESTION, k=2, namespace=["team", "ann"], effort="fast")
    [span] = exporter.get_finished_spans()
    assert span.name == "hoptrail.recall"
    attributes = dict(span.attributes)
    assert attributes["hoptrail.k"] == 2
    assert attributes["hoptrail.effort"] == "fast"
    assert attributes["hoptrail.namespace"] == ("team", "ann")
    assert attributes["hoptrail.recall_id"] == recall.id
    assert attributes["hoptrail.hits"] == 2
    assert attributes["hoptrail.candidates"] == recall.cost.candidates
    assert attributes["hoptrail.stop_reason"] == recall.trails[0].stop_reason
    hops = [event.attributes["hoptrail.passage"] for event in span.events]
    assert hops == [hop.id for hop in recall.trails[0].hops]
    assert QUESTION not in str(attributes)


def test_texts_are_in_spans_only_where_they_are_wanted(memory, provider, exporter) -> None:
    trace_calls(memory, tracer_provider=provider, record_texts=True)
    memory.search("the Ister Beck", 1)
    [span] = exporter.get_finished_spans()
    assert span.attributes["hoptrail.query"] == "the Ister Beck"
    assert span.attributes["hoptrail.hits"] == 1


def test_an_error_is_the_span_s_and_the_caller_s(memory, provider, exporter) -> None:
    trace_calls(memory, tracer_provider=provider)
    with pytest.raises(InputError):
        memory.recall(QUESTION, k=0)
    [span] = exporter.get_finished_spans()
    assert span.status.status_code is StatusCode.ERROR
    assert span.events[0].attributes["exception.type"].endswith("InputError")


async def test_calls_in_threads_stand_below_the_caller_s_span(memory, provider, exporter) -> None:
    trace_calls(memory, tracer_provider=provider)
    with provider.get_tracer("application").start_as_current_span("turn"):
        answer = AsyncMemory(memory)
        await answer.recall(QUESTION, effort="fast")
        await answer.count()
    *calls, turn = exporter.get_finished_spans()
    assert [span.name for span in calls] == ["hoptrail.recall", "hoptrail.count"]
    assert all(span.parent.span_id == turn.context.span_id for span in calls)


def test_what_is_no_memory_is_refused() -> None:
    with pytest.raises(InputError, match="must be a Memory"):
        trace_calls("agent.db")
