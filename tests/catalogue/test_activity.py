from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import Engine

from recsys.catalogue import activity
from recsys.catalogue.activity import (
    Activity,
    Tally,
    activity_of,
    item_activity,
    lately_active,
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
