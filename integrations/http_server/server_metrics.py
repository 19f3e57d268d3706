"""What a service counts, for Prometheus to fetch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
SIZES = (1, 2, 4, 8, 16, 32, 64)


class ServerMetrics:
    """Counts calls, how long they took, and how many recalls were walked together.

    It knows no caller and no text: labels are the service's own words.
    """

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._calls = Counter(
            "hoptrail_calls", "Calls answered.", ("operation", "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "hoptrail_call_seconds",
            "Seconds until a call was answered, or refused.",
            ("operation",),
            buckets=SECONDS,
            registry=self._registry,
        )
        self._in_progress = Gauge(
            "hoptrail_calls_in_progress",
            "Calls that are not answered yet.",
            registry=self._registry,
        )
        self._batches = Histogram(
            "hoptrail_recall_batch_size",
            "Recalls that were walked together.",
            buckets=SIZES,
            registry=self._registry,
        )
        ProcessCollector(registry=self._registry)

    @contextmanager
    def call(self, operation: str) -> Iterator[Callable[[int], None]]:
        """Count a call of an operation; what it yields is told the status of the reply.

        Args:
            operation: One of the service's own names, so that no caller makes a label.
        """
        started = time.perf_counter()
        self._in_progress.inc()
        try:
            yield lambda status: self._calls.labels(operation, str(status)).inc()
        finally:
            self._in_progress.dec()
            self._seconds.labels(operation).observe(time.perf_counter() - started)

    def note_batch(self, size: int) -> None:
        """Count recalls that are walked together.

        Args:
            size: How many.
        """
        self._batches.observe(size)

    def text(self) -> tuple[bytes, str]:
        """All of it as Prometheus reads it, and the media type that says so."""
        return generate_latest(self._registry), CONTENT_TYPE_LATEST
