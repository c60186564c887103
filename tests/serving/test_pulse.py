"""What the server did lately, as the console shows it."""

import time

import pytest

from recsys.serving.metrics import Metrics
from recsys.serving.pulse import EVERY, Pulse, Stretch, together

SLATES = "/v1/users/{user_id:path}/recommendations"


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def pulse(metrics: Metrics, monkeypatch: pytest.MonkeyPatch) -> Pulse:
    """One that has looked before anything was asked, a minute ago."""
    made = Pulse(metrics)
    then = time.time()
    with monkeypatch.context() as earlier:
        earlier.setattr("recsys.serving.pulse.time.time", lambda: then - 60)
        made.look()
    return made


def lately(pulse: Pulse) -> Stretch:
    found = together(pulse.stretches(3600, 100))
    assert found is not None
    return found


def test_answers_are_counted_by_what_was_asked_for(metrics: Metrics, pulse: Pulse) -> None:
    for route, times in (
        (SLATES, 4),
        ("/v1/items/{item_id:path}/similar", 2),
        ("/v1/items/popular", 1),
        ("/v1/search", 3),
        ("/v1/events", 5),
        ("/", 2),
        ("/items/{item_id:path}", 1),
        ("/v1/items/{item_id:path}", 2),
        ("/v1/users/{user_id:path}/events", 1),
    ):
        for _ in range(times):
            metrics.answered("GET", route, 200, 0.001)
    found = lately(pulse)
    kinds = ("slates", "searches", "events", "pages", "other")
    assert [round(found.rate(kind) * found.seconds / 60) for kind in kinds] == [7, 3, 5, 3, 3]
    assert found.rate("slates") == pytest.approx(7, rel=0.05)


def test_what_nobody_asked_the_shop_for_is_not_counted(metrics: Metrics, pulse: Pulse) -> None:
    for route in ("/health/live", "/metrics", "/console", "/console/rules", "/assets/x", "none"):
        metrics.answered("GET", route, 500, 0.001)
    assert lately(pulse).answered == 0
    assert lately(pulse).failed == 0


def test_failures_are_those_of_the_server(metrics: Metrics, pulse: Pulse) -> None:
    for status in (200, 404, 422, 500, 503):
        metrics.answered("GET", SLATES, status, 0.001)
    assert (lately(pulse).failed, lately(pulse).answered) == (2, 5)


def test_times_are_within_their_bucket(metrics: Metrics, pulse: Pulse) -> None:
    assert lately(pulse).took(0.5) is None
    for _ in range(98):
        metrics.answered("GET", SLATES, 200, 0.0015)
    for _ in range(2):
        metrics.answered("GET", SLATES, 200, 0.15)
    found = lately(pulse)
    assert found.took(0.5) == pytest.approx(1 + 50 / 98)
    slow = found.took(0.99)
    assert slow is not None
    assert 100 < slow <= 200


def test_what_takes_longer_than_all_buckets_is_at_least_the_last(
    metrics: Metrics, pulse: Pulse
) -> None:
    metrics.answered("GET", SLATES, 200, 60)
    assert lately(pulse).took(0.5) == 5000


def test_a_long_time_is_told_in_few_parts_that_add_up(
    metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    pulse, end = Pulse(metrics), time.time()
    for n in range(400):
        monkeypatch.setattr("recsys.serving.pulse.time.time", lambda n=n: end + n * EVERY)
        pulse.look()
        metrics.answered("GET", SLATES, 200, 0.001)
    parts = pulse.stretches(100 * EVERY, 10)
    assert len(parts) <= 11
    whole = together(parts)
    assert whole is not None
    assert whole.answered == pytest.approx(100, abs=2)
    assert whole.seconds == pytest.approx(100 * EVERY, abs=2 * EVERY)


def test_where_nothing_was_looked_at_there_is_nothing_to_tell(metrics: Metrics) -> None:
    assert together(Pulse(metrics).stretches(60, 10)) is None
