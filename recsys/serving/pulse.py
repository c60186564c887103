"""What this server did lately: its counters, looked at every few seconds and kept for a day.

Prometheus keeps such series for good; this one is for the console of a shop that has no Prometheus. Where several
workers answer, each looks at the counters of all, so that any of them can tell.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recsys.serving.metrics import SECONDS, Metrics

log = logging.getLogger(__name__)

EVERY = 15.0
"""Seconds between two looks."""

KEPT = 24 * 3600
"""Seconds."""

KINDS = ("slates", "searches", "events", "pages", "other")
"""Of requests. Health checks, metrics, pictures, assets and the console are not counted."""

SLATES = ("/v1/users/", "/v1/recommendations", "/v1/placements")
LISTS = ("/similar", "/popular", "/trending", "/new")
PAGES = ("/", "/items/{item_id:path}", "/search", "/viewer")

ANSWERED, FAILED, BUCKETS = 0, 1, 2
"""Columns of counts: answers, those that failed (5xx), then answers by how long they took."""

COLUMNS = BUCKETS + len(SECONDS) + 1


Counts = NDArray[np.float64]
"""(kinds, COLUMNS)"""


class Stretch(NamedTuple):
    """What happened between two looks."""

    until: float
    """Seconds since the epoch."""
    seconds: float
    counts: Counts

    def rate(self, kind: str) -> float:
        """Answers a minute."""
        return float(self.counts[KINDS.index(kind), ANSWERED] / self.seconds * 60)

    @property
    def failed(self) -> int:
        """Answers that failed."""
        return int(self.counts[:, FAILED].sum())

    @property
    def answered(self) -> int:
        """Answers."""
        return int(self.counts[:, ANSWERED].sum())

    def took(self, quantile: float, kind: str = "slates") -> float | None:
        """Milliseconds within which so many answers were begun, interpolated within a bucket; None: there was none."""
        within = self.counts[KINDS.index(kind), BUCKETS:].cumsum()
        if not within[-1]:
            return None
        wanted = quantile * within[-1]
        place = int(np.searchsorted(within, wanted))
        edges = (0.0, *SECONDS, SECONDS[-1])
        before = within[place - 1] if place else 0.0
        inside = (wanted - before) / (within[place] - before)
        return float(edges[place] + inside * (edges[place + 1] - edges[place])) * 1000


class Pulse:
    """Looks at the counters in the background."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._looks: deque[tuple[float, Counts]] = deque(maxlen=int(KEPT / EVERY) + 1)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="recsys-pulse", daemon=True)

    def start(self) -> None:
        """Look from now on."""
        self.look()
        self._thread.start()

    def stop(self) -> None:
        """End the background thread."""
        self._stop.set()
        self._thread.join()

    def look(self) -> None:
        """Look once."""
        self._looks.append((time.time(), _counts(self._metrics)))

    def stretches(self, seconds: float, most: int) -> list[Stretch]:
        """The last so many seconds, up to now, in so many parts at most, oldest first; fewer where little is known."""
        now = time.time()
        looks = [look for look in list(self._looks) if look[0] > now - seconds - EVERY]
        looks = [*looks[:: max(1, -(-len(looks) // most))], (now, _counts(self._metrics))]
        return [
            Stretch(until, until - since, np.maximum(after - before, 0))
            for (since, before), (until, after) in pairwise(looks)
            if until - since > EVERY / 10
        ]

    def _watch(self) -> None:
        while not self._stop.wait(EVERY):
            try:
                self.look()
            except Exception:
                log.exception("the counters could not be read; they are tried again")


def together(stretches: Sequence[Stretch]) -> Stretch | None:
    """All of them as one; None where there is none."""
    if not stretches:
        return None
    counts = np.sum([each.counts for each in stretches], axis=0)
    return Stretch(stretches[-1].until, sum(each.seconds for each in stretches), counts)


def _counts(metrics: Metrics) -> Counts:
    """Since the server was started."""
    found = np.zeros((len(KINDS), COLUMNS))
    for family in metrics.collected():
        for sample in family.samples:
            kind = _kind(sample.labels.get("route", "none"))
            if kind is None:
                continue
            row = found[KINDS.index(kind)]
            if sample.name == "recsys_requests_total":
                row[ANSWERED] += sample.value
                row[FAILED] += sample.value * (sample.labels["status"] >= "500")
            elif sample.name == "recsys_request_seconds_bucket":
                edge = float(sample.labels["le"])
                row[BUCKETS + int(np.searchsorted(SECONDS, edge))] += sample.value
    found[:, BUCKETS:] = np.diff(found[:, BUCKETS:], axis=1, prepend=0)
    return found


def _kind(route: str) -> str | None:
    """Which kind of request a route is for; None: it is not counted."""
    if route == "/v1/search":
        return "searches"
    if route == "/v1/events":
        return "events"
    if route in PAGES:
        return "pages"
    if not route.startswith("/v1/"):
        return None
    asks = route.startswith(SLATES) and not route.endswith("/events")
    return "slates" if asks or route.endswith(LISTS) else "other"
