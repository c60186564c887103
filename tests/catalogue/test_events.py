import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from sqlalchemy import Engine, select
from sqlalchemy.exc import IntegrityError

from recsys.catalogue.database import connect, migrate, reading, writing
from recsys.catalogue.events import (
    EVENTS,
    Appended,
    Context,
    Event,
    append_events,
    check_time,
    check_type,
    derived_event_id,
    read_events,
    some_users,
    store_events,
    user_events,
    user_ids,
)
from recsys.catalogue.histories import Histories
from recsys.config import EventSettings, Settings
from recsys.errors import DatabaseError, InputError
from recsys.identity import IdMap, ItemId

NOW = datetime(2024, 5, 1, 12, tzinfo=UTC)


def event(minutes: float = 0, item: str = "a", **fields) -> Event:
    who = {} if {"user_id", "session_id"} & set(fields) else {"user_id": "ann"}
    time = NOW + timedelta(minutes=minutes)
    return Event(**{"item_id": item, "type": "view", "time": time} | who | fields)


def add(engine: Engine, *events: Event) -> Appended:
    with writing(engine) as connection:
        return append_events(connection, events)


def items_of(events) -> list[str]:
    return [event.item_id for event in events]


def told_of(events) -> list[str]:
    return [item for item, *_ in events]


def test_the_same_event_sent_twice_counts_once(engine: Engine):
    assert add(engine, event(), event()) == Appended(added=1, duplicates=1)
    assert add(engine, event(), event(1)) == Appended(added=1, duplicates=1)
    assert len(Histories(engine).newest("ann", None, 10)) == 2


def test_a_given_id_decides_alone(engine: Engine):
    assert add(engine, event(event_id="e/1"), event(9, "b", event_id="e/1")) == Appended(1, 1)
    assert add(engine, event(event_id="e/2")) == Appended(added=1)


@pytest.mark.parametrize(
    "other",
    [
        {"user_id": "bob"},
        {"session_id": "ann"},
        {"user_id": "ann", "session_id": "s"},
        {"item": "b"},
        {"type": "click"},
        {"value": 1},
        {"minutes": 1e-6},
    ],
)
def test_events_that_differ_in_who_what_or_when_are_two(other):
    assert derived_event_id(event()) != derived_event_id(event(**other))


def test_a_derived_id_never_changes_between_versions():
    assert derived_event_id(event(value=4.5, type="rating")) == "33e11201e1f68b623001da5f890b8bd9"


def every(engine: Engine) -> list[tuple[Any, ...]]:
    with reading(engine) as connection:
        return [tuple(row) for row in connection.execute(select(EVENTS).order_by("arrival"))]


def test_stored_at_once_events_are_what_they_are_when_appended(engine: Engine, tmp_path: Path):
    told = [
        event(0, "a", context=Context(placement="home", position=3)),
        event(1, "ü '%s' :x ?", user_id="ann", session_id="s", value=0.5, type="rating"),
        event(2, "b", session_id="only", event_id="given"),
        event(0, "a", context=Context(placement="elsewhere")),
    ]
    other = connect(Settings(home=tmp_path / "other"))
    migrate(other)
    assert store_events(engine, told) == add(other, *told) == Appended(3, 1)
    assert every(engine) == every(other)
    assert store_events(engine, told) == Appended(0, 4)
    assert store_events(engine, []) == Appended()
    other.dispose()


def test_of_events_stored_at_once_all_are_or_none(engine: Engine):
    nobody = event(1).model_copy(update={"user_id": None})
    with pytest.raises((IntegrityError, sqlite3.IntegrityError)):
        store_events(engine, [event(), nobody])
    assert every(engine) == []
    assert store_events(engine, [event()]) == Appended(added=1)


def test_storing_waits_for_another_writer_and_then_says_so(tmp_path: Path):
    engine = connect(Settings(home=tmp_path), busy_seconds=0.05)
    migrate(engine)
    with (
        writing(engine),
        pytest.raises(DatabaseError, match="another process is writing: try again"),
    ):
        store_events(engine, [event()])
    assert store_events(engine, [event()]) == Appended(added=1)
    engine.dispose()


def test_sqlite_finds_all_that_a_history_tells_in_an_index(tmp_path: Path):
    """However many events there are, and whoever's come in between."""
    engine = connect(Settings(home=tmp_path))
    migrate(engine)
    histories, asked = Histories(engine), []
    with histories.at_once():
        histories._own().set_trace_callback(asked.append)
        histories.newest("ann", "s", 10, types=["view", "like"])
    assert asked.pop() == "ROLLBACK"
    for statement in asked:
        (plan,) = histories._own().execute(f"EXPLAIN QUERY PLAN {statement}")
        assert "USING COVERING INDEX" in plan[-1]
    assert len(asked) == 2
    engine.dispose()


def test_reads_of_one_moment_end_with_it_also_where_they_fail(engine: Engine):
    histories = Histories(engine)
    with pytest.raises(ZeroDivisionError), histories.at_once():
        _ = 1 / 0
    with histories.at_once():
        assert histories.newest("ann", None, 10) == []
    add(engine, event())
    with histories.at_once():
        assert len(histories.newest("ann", None, 10)) == 1


def test_a_history_is_newest_first_and_within_its_limit(engine: Engine):
    add(engine, event(2, "c"), event(0, "a"), event(1, "b"), event(1, "later arrived"))
    assert told_of(Histories(engine).newest("ann", None, 10)) == [
        "c",
        "later arrived",
        "b",
        "a",
    ]
    assert told_of(Histories(engine).newest("ann", None, 2)) == ["c", "later arrived"]
    assert (
        Histories(engine).newest("nobody", None, 10)
        == Histories(engine).newest(None, None, 10)
        == []
    )


def test_a_history_is_of_the_types_asked_for_however_they_are_spelled(engine: Engine):
    odd = "it's 100% :new?"
    add(engine, event(0, "a", type=odd), event(1, "b"), event(2, "c", type="%s"))
    histories = Histories(engine)
    assert told_of(histories.newest("ann", None, 10, [odd])) == ["a"]
    assert told_of(histories.newest("ann", None, 10, ["%s", odd])) == ["c", "a"]


def test_a_history_joins_user_and_session_and_counts_a_shared_event_once(engine: Engine):
    add(
        engine,
        event(0, "before login", session_id="s"),
        event(1, "both", user_id="ann", session_id="s"),
        event(2, "other device", user_id="ann"),
        event(3, "someone else", user_id="bob"),
        event(4, "same name", session_id="ann"),
    )
    expected = ["other device", "both", "before login"]
    assert told_of(Histories(engine).newest("ann", "s", 10)) == expected
    assert told_of(Histories(engine).newest("ann", "s", 2)) == expected[:2]


def test_impressions_do_not_crowd_out_a_history_of_other_types(engine: Engine):
    add(
        engine,
        event(0, "bought", type="purchase"),
        *(event(n, type="impression") for n in range(1, 9)),
    )
    assert told_of(Histories(engine).newest("ann", None, 5, types=["purchase", "view"])) == [
        "bought"
    ]


def test_a_users_events_can_be_paged_back_in_time(engine: Engine):
    add(engine, *(event(n, str(n)) for n in range(5)), event(9, user_id="bob"))
    with reading(engine) as connection:
        first = user_events(connection, "ann", 2)
        assert items_of(first) == ["4", "3"]
        assert items_of(user_events(connection, "ann", 2, before=first[-1].time)) == ["2", "1"]


def test_an_event_comes_back_as_it_was_sent(engine: Engine):
    context = Context(placement="home", position=0, recommendation_id="r/1")
    sent = event(item="ü 'q' \"\n", user_id="a/b", session_id=" ", value=-2.5, context=context)
    add(engine, sent)
    with reading(engine) as connection:
        (found,) = user_events(connection, "a/b", 1)
        assert user_ids(connection) == ["a/b"]
    assert Event(**{name: getattr(found, name) for name in Event.model_fields}) == sent.model_copy(
        update={"event_id": derived_event_id(sent)}
    )


def test_the_log_is_by_time_then_arrival_and_leaves_unknown_items_out(engine: Engine):
    add(
        engine,
        event(2, "b", type="rating", value=4),
        event(1, "gone", user_id="only gone"),
        event(0, "a", session_id="s"),
        event(2, "a", user_id="ann", session_id="s"),
        event(1, "b", user_id="bob"),
    )
    with reading(engine) as connection:
        log = read_events(connection, IdMap([ItemId("a"), ItemId("b")]))
    assert [log.actors[n] for n in log.actor] == ["\x1fs", "bob", "ann", "ann"]
    assert log.item.tolist() == [0, 1, 1, 0]
    assert [log.types[n] for n in log.type] == ["view", "view", "rating", "view"]
    np.testing.assert_array_equal(log.value, [np.nan, np.nan, 4, np.nan])
    start = int(NOW.timestamp() * 1e6)
    assert (log.time - start).tolist() == [0, 60_000_000, 120_000_000, 120_000_000]
    assert log.unknown_items == 1
    assert log.actors == ("\x1fs", "ann", "bob")


def test_events_of_one_moment_keep_the_order_they_arrived_in(engine: Engine):
    names = [f"{7 * n % 100:03}" for n in range(100)]
    add(engine, *(event(n % 3, name) for n, name in enumerate(names)))
    expected = names[0::3] + names[1::3] + names[2::3]
    ids = IdMap(sorted(map(ItemId, names)))
    with reading(engine) as connection:
        log = read_events(connection, ids)
        newest = Histories(engine).newest("ann", None, 30)
    assert ids.external(log.item.astype(np.int64)) == expected
    assert told_of(newest) == expected[::-1][:30]


def test_the_log_can_end_at_a_moment_which_still_belongs_to_it(engine: Engine):
    add(engine, event(0), event(1), event(2))
    with reading(engine) as connection:
        newest = int((NOW + timedelta(minutes=2)).timestamp() * 1e6)
        ids = IdMap([ItemId("a")])
        assert len(read_events(connection, ids, until_us=newest)) == 3
        log = read_events(connection, ids, until_us=newest - 60_000_000)
    assert len(log) == 2
    assert len(log.before(int(log.time[1]))) == 1
    assert len(log.between(int(log.time[0]), int(log.time[1]))) == 1
    assert len(log.between(0, 2**62)) == 2
    assert np.shares_memory(log.before(2**62).item, log.item)


def test_no_events_make_an_empty_log(engine: Engine):
    with reading(engine) as connection:
        log = read_events(connection, IdMap([]))
        assert user_ids(connection) == []
    assert len(log) == len(log.actor) == 0
    assert log.actors == log.types == ()


@pytest.mark.parametrize(
    "wrong",
    [
        {"user_id": None},
        {"user_id": ""},
        {"item_id": ""},
        {"value": float("nan")},
        {"value": float("inf")},
        {"value": 1e30},
        {"type": "rating"},
        {"time": datetime(2024, 1, 1)},
        {"time": 1e30},
        {"context": {"position": -1}},
        {"context": {"position": 2**70}},
        {"context": {"colour": "red"}},
        {"user_id": "nul\x00"},
        {"user_id": "\ud800"},
    ],
)
def test_what_cannot_be_kept_is_no_event(wrong):
    good = {"user_id": "u", "item_id": "i", "type": "view", "time": NOW}
    Event.model_validate(good)
    with pytest.raises(ValidationError):
        Event.model_validate(good | wrong)


def test_an_unknown_type_is_refused_with_the_nearest_known_one():
    check_type("purchase", EventSettings())
    with pytest.raises(InputError, match=r"'purchas'; did you mean purchase\? .*add_to_cart"):
        check_type("purchas", EventSettings())


def test_an_event_of_the_future_is_refused_but_a_fast_clock_is_not():
    check_time(NOW + timedelta(hours=23), NOW)
    with pytest.raises(InputError, match="in the future"):
        check_time(NOW + timedelta(hours=25), NOW)


def test_some_users_are_the_first_by_id(engine: Engine):
    add(engine, *(event(n, user_id=who) for n, who in enumerate(("c", "a", "b", "a"))))
    add(engine, event(user_id=None, session_id="s"))
    with reading(engine) as connection:
        assert some_users(connection, 2) == ["a", "b"]
        assert some_users(connection, 9) == ["a", "b", "c"]
