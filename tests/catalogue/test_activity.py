from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import Engine

from recsys.catalogue import activity
from recsys.catalogue.activity import (
    Activity,
    Tally,
    activity_of,
    events_by_type,
    item_activity,
    items_met,
    lately_active,
    newest_event,
    oldest_event,
    users_like,
)
from recsys.catalogue.database import reading, writing
from recsys.catalogue.events import Event, append_events

NOW = datetime(2024, 5, 1, 12, tzinfo=UTC)


def add(engine: Engine, *events: Event) -> None:
    with writing(engine) as connection:
        append_events(connection, events)


def event(hours: float, who: str | None = "ann", item: str = "a", kind: str = "view") -> Event:
    session = None if who else "s"
    time = NOW + timedelta(hours=hours)
    return Event(user_id=who, session_id=session, item_id=item, type=kind, time=time)


def test_users_are_found_by_how_their_ids_begin(engine: Engine):
    ids = ["an", "ann", "ann/2", "annü", "Ann", "a%n", "a_n", "bob"]
    add(engine, *(event(n, who) for n, who in enumerate(ids)), event(9, None))
    with reading(engine) as connection:
        assert users_like(connection, "ann", 9) == ["ann", "ann/2", "annü"]
        assert users_like(connection, "an", 2) == ["an", "ann"]
        assert users_like(connection, "a%", 9) == ["a%n"]
        assert users_like(connection, "x", 9) == []


def test_the_active_ones_are_those_of_the_newest_events(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
):
    add(engine, event(0, "old"), event(1, "b"), event(2, "a"), event(3, None), event(4, "b", "c"))
    with reading(engine) as connection:
        assert lately_active(connection, 9) == ["b", "a", "old"]
        assert lately_active(connection, 1) == ["b"]
        assert activity_of(connection, ["b", "none"]) == {
            "b": Activity(2, NOW + timedelta(hours=4))
        }
        monkeypatch.setattr(activity, "LATELY", 3)
        assert lately_active(connection, 9) == ["b", "a"]


def test_what_was_done_with_an_item_is_counted_by_day_and_type(engine: Engine):
    add(
        engine,
        event(0),
        event(1),
        event(2, kind="like"),
        event(11.99, who=None),
        event(12),
        event(24 * 400),
        event(0, item="b"),
    )
    first = date(2024, 5, 1)
    with reading(engine) as connection:
        found = item_activity(connection, "a")
        nothing = item_activity(connection, "none")
    assert found.is_whole
    assert found.tallies == [
        Tally(first, "like", 1),
        Tally(first, "view", 3),
        Tally(first + timedelta(days=1), "view", 1),
        Tally(first + timedelta(days=400), "view", 1),
    ]
    assert nothing == ([], True)


def test_of_many_events_the_newest_arrivals_are_counted(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(activity, "LOOKED_AT", 2)
    add(engine, *(event(-n) for n in range(5)))
    with reading(engine) as connection:
        found = item_activity(connection, "a")
    assert not found.is_whole
    assert sum(tally.events for tally in found.tallies) == 2


def test_events_are_counted_by_stretches_of_time_and_types(engine: Engine):
    stored = [event(n / 60, f"u{n}") for n in (-1, 0, 30, 59, 60)]
    add(engine, *stored, event(0.5, kind="purchase"), event(-1_000_000))
    with reading(engine) as connection:
        counts, is_whole = events_by_type(
            connection, NOW - timedelta(hours=1), NOW + timedelta(hours=1), timedelta(hours=1)
        )
    before = NOW - timedelta(hours=1)
    assert is_whole
    assert sorted(counts) == [(before, "view", 1), (NOW, "purchase", 1), (NOW, "view", 3)]


def test_stretches_before_the_epoch_are_like_all_others(engine: Engine):
    then, hour = datetime(1969, 12, 31, 23, 30, tzinfo=UTC), timedelta(hours=1)
    add(engine, *(Event(user_id="ann", item_id=key, type="view", time=then) for key in "ab"))
    with reading(engine) as connection:
        counts = events_by_type(connection, then - hour / 2, then + hour, hour)
    assert counts.counts == [(then - hour / 2, "view", 2)]


def test_of_a_long_time_the_newest_arrivals_are_counted(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
):
    add(engine, *(event(24 * n, f"u{n}") for n in range(10)))
    day, until = timedelta(days=1), NOW + timedelta(days=10)
    with reading(engine) as connection:
        counts, is_whole = events_by_type(connection, NOW, until, day)
        assert is_whole
        assert counts == [(NOW + n * day, "view", 1) for n in range(10)]
        monkeypatch.setattr(activity, "LOOKED_AT", 3)
        counts, is_whole = events_by_type(connection, NOW, until, day)
        assert not is_whole
        assert counts == [(NOW + n * day, "view", 1) for n in (7, 8, 9)]
        assert len(events_by_type(connection, NOW, NOW + 3 * day, day).counts) == 3


def test_the_first_and_the_last_event_bound_all(engine: Engine):
    with reading(engine) as connection:
        assert (oldest_event(connection), newest_event(connection)) == (None, None)
    add(engine, event(5), event(-5), event(0))
    with reading(engine) as connection:
        assert oldest_event(connection) == NOW - timedelta(hours=5)
        assert newest_event(connection) == NOW + timedelta(hours=5)


def test_items_that_were_met_are_counted_once(engine: Engine):
    add(
        engine,
        event(1),
        event(2),
        event(3, item="b"),
        event(4, item="c", kind="like"),
        event(-9, item="d"),
    )
    with reading(engine) as connection:
        assert items_met(connection, NOW, ["view"]) == 2
        assert items_met(connection, NOW, ["view", "like"]) == 3
