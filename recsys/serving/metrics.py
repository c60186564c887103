"""What the API counts, for Prometheus. A registry per app, so that one process may hold several."""

import os
from collections.abc import Iterable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Metric,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

from recsys.ranking.slates import Account
from recsys.snapshot import Manifest

SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


class Metrics:
    """The counters of one app."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        route = ["method", "route"]
        self._requests = self._counter("requests", "Requests answered", [*route, "status"])
        self._seconds = Histogram(
            "recsys_request_seconds",
            "Time to the first byte of the answer",
            route,
            registry=self.registry,
            buckets=SECONDS,
        )
        self._failed = self._counter("source_failures", "Slates made without a source", ["source"])
        self._widened = self._counter("slates_widened", "Slates filled up from a fallback")
        self._snapshot = Gauge(
            "recsys_snapshot_info",
            "1 for the rebuild's snapshot in use, refreshed or not, 0 for those before it",
            ["snapshot", "built_at"],
            registry=self.registry,
            multiprocess_mode="mostrecent",
        )
        self._items_at = Gauge(
            "recsys_items_timestamp_seconds",
            "When the newest items of the snapshot in use were read",
            registry=self.registry,
            multiprocess_mode="mostrecent",
        )
        self._labelled: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        self._served: tuple[str, str] | None = None
        self.refused = self._counter("snapshots_refused", "Published snapshots that cannot be used")
        self.refreshes = self._counter("refreshes", "Refreshed snapshots published")
        self.refreshes_failed = self._counter("refreshes_failed", "Refreshes that failed")
        self.events = self._counter("events_added", "Events stored")

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request under its route's template: an id in a label would make one per item."""
        found = self._labelled.get((method, route, status))
        if found is None:
            labelled = (
                self._requests.labels(method, route, status),
                self._seconds.labels(method, route),
            )
            found = self._labelled[method, route, status] = labelled
        counter, histogram = found
        counter.inc()
        histogram.observe(seconds)

    def suggested(self, account: Account, n: int) -> None:
        """Count what went wrong, or was scarce, in slate n of a block."""
        for source in account.failed:
            self._failed.labels(source).inc()
        if account.widened and account.widened[n]:
            self._widened.inc()

    def serves(self, manifest: Manifest) -> None:
        """Name the snapshot in use; refreshes by what they were made from, for there are hundreds a day."""
        refreshed = manifest.refreshed
        self._items_at.set((refreshed.at if refreshed else manifest.built_at).timestamp())
        if self._served is not None:
            self._snapshot.labels(*self._served).set(0)
        self._served = (manifest.origin, manifest.built_at.isoformat())
        self._snapshot.labels(*self._served).set(1)

    def text(self) -> bytes:
        """Everything, in Prometheus' own format; of all workers, where there are several."""
        return generate_latest(self._every)

    def collected(self) -> Iterable[Metric]:
        """The same, for ourselves."""
        return self._every.collect()

    @property
    def _every(self) -> CollectorRegistry:
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return self.registry
        every = CollectorRegistry()
        MultiProcessCollector(every)  # type: ignore[no-untyped-call]
        return every

    def _counter(self, name: str, about: str, labels: list[str] | None = None) -> Counter:
        return Counter(f"recsys_{name}", about, labels or [], registry=self.registry)
