"""What Prometheus reads of a service."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Metrics"]

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """Counts and times of requests, by route and not by path, so that there are few of them.

    Args:
        waiting: reads, and writes, that wait or are worked on.
        documents: by index, how many there are.
    """

    def __init__(
        self, waiting: Callable[[], tuple[int, int]], documents: Callable[[], dict[str, int]]
    ) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self._registry = CollectorRegistry()
        labels = ("method", "route", "status")
        self._requests = Counter(
            "sparseret_requests", "Requests answered.", labels, registry=self._registry
        )
        self._seconds = Histogram(
            "sparseret_request_seconds", "From a request to the end of its answer.", ("route",),
            buckets=_SECONDS, registry=self._registry,
        )  # fmt: skip
        self._documents = Gauge(
            "sparseret_documents", "Documents of an index.", ("index",), registry=self._registry
        )
        self._waiting = Gauge(
            "sparseret_requests_in_progress", "Requests that wait or are worked on.", ("kind",),
            registry=self._registry,
        )  # fmt: skip
        self._read_waiting, self._read_documents = waiting, documents

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def text(self) -> bytes:
        """In Prometheus' text format."""
        from prometheus_client import generate_latest

        for kind, count in zip(("read", "write"), self._read_waiting(), strict=True):
            self._waiting.labels(kind).set(count)
        self._documents.clear()
        for name, count in self._read_documents().items():
            self._documents.labels(name).set(count)
        return bytes(generate_latest(self._registry))
