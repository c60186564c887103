"""Events: one as a checked `Event`, all of them as the columns of an `EventLog`."""

import difflib
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Annotated, Any, NamedTuple, Self, cast

import orjson
from pydantic import BaseModel, ConfigDict, Field, model_validator
from sqlalchemy import BigInteger, Connection, Dialect, Engine, Table, select, type_coerce
from sqlalchemy.dialects import sqlite

from recsys.catalogue.database import insert_into, writing, writing_by_driver
from recsys.catalogue.event_log import EventLog, LogBuilder
from recsys.catalogue.fields import Id, Moment
from recsys.catalogue.tables import EventRow
from recsys.catalogue.times import to_us
from recsys.config import EventSettings
from recsys.errors import InputError
from recsys.identity import IdMap, ItemId, UserId

__all__ = [
    "Appended",
    "Context",
    "Event",
    "EventLog",
    "StoredEvent",
    "append_events",
    "check_time",
    "check_type",
    "derived_event_id",
    "read_events",
    "some_users",
    "store_events",
    "user_events",
    "user_ids",
]

EVENTS = cast(Table, EventRow.__table__)

CLOCK_SKEW = timedelta(days=1)
"""How far ahead of this clock an event may lie. One stray date in the far future would age all others."""


class Context(BaseModel):
    """Where an event happened."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    placement: Id | None = None
    position: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    recommendation_id: Id | None = None


class Event(BaseModel):
    """Something a user or an anonymous session did with an item."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    event_id: Id | None = None
    """None: derived from the other fields, so that the same event sent twice counts once."""
    user_id: Id | None = None
    session_id: Id | None = None
    item_id: Id
    type: Id
    value: Annotated[float, Field(ge=-1e9, le=1e9)] | None = None
    time: Moment
    context: Context | None = None

    @model_validator(mode="after")
    def _has_an_actor(self) -> Self:
        if self.user_id is None and self.session_id is None:
            raise ValueError("an event needs a user_id or a session_id")
        if self.type == "rating" and self.value is None:
            raise ValueError("a rating needs a value")
        return self


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event as it was stored."""

    event_id: str
    user_id: str | None
    session_id: str | None
    item_id: ItemId
    type: str
    value: float | None
    time: datetime
    context: dict[str, Any] | None


class Appended(NamedTuple):
    """What became of the events given; the two add up to their number."""

    added: int = 0
    duplicates: int = 0


def derived_event_id(event: Event) -> str:
    """32 hex digits of who, what, which, how much and when: the same for the same event.

    Two identical events at one moment are one; give them an `event_id` where that matters.
    """
    what = (event.user_id, event.session_id, event.item_id, event.type, event.value)
    content = orjson.dumps([*what, to_us(event.time)])
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def check_type(event_type: str, settings: EventSettings) -> None:
    """Raises InputError for a type without a weight in the settings."""
    if event_type in settings.weights:
        return
    known = ", ".join(settings.weights)
    close = difflib.get_close_matches(event_type, list(settings.weights), n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    raise InputError(f"unknown event type {event_type!r}{hint} (known, events.weights: {known})")


def check_time(time: datetime, now: datetime) -> None:
    """Raises InputError for an event of the future."""
    if time > now + CLOCK_SKEW:
        raise InputError(f"time: {time.isoformat()} lies in the future: check its unit and zone")


def append_events(connection: Connection, events: Sequence[Event]) -> Appended:
    """Add what is not there yet; an event whose id is known changes nothing."""
    if not events:
        return Appended()
    statement = insert_into(connection, EVENTS).on_conflict_do_nothing(index_elements=["event_id"])
    result = connection.execute(
        statement, [_values(e) for e in events], execution_options={"preserve_rowcount": True}
    )
    added = cast(Any, result).rowcount
    return Appended(added, len(events) - added)


def store_events(engine: Engine, events: Sequence[Event]) -> Appended:
    """The same in a transaction of its own. Raises DatabaseError."""
    if engine.dialect.name != "sqlite":
        with writing(engine) as connection:
            return append_events(connection, events)
    statement, values = _driven(engine.dialect)
    rows = [[value(told[name]) for name, value in values] for told in map(_values, events)]
    with writing_by_driver(engine) as own:
        added = own.executemany(statement, rows).rowcount if rows else 0
    return Appended(added, len(events) - added)


@lru_cache(maxsize=8)
def _driven(dialect: Dialect) -> tuple[str, list[tuple[str, Callable[[Any], Any]]]]:
    """How `append_events` tells it to the driver: the statement, and its parameters with what is done to each."""
    columns = [column for column in EVENTS.c if column.name != "arrival"]
    insert = sqlite.insert(EVENTS).on_conflict_do_nothing(index_elements=["event_id"])
    keys = [column.name for column in columns]
    compiled = insert.compile(dialect=dialect, column_keys=keys)
    done = {c.name: c.type.dialect_impl(dialect).bind_processor(dialect) for c in columns}
    return str(compiled), [(name, done[name] or _as_it_is) for name in compiled.positiontup or ()]


def _as_it_is(value: object) -> object:
    return value


def user_events(
    connection: Connection, user_id: str, limit: int, before: datetime | None = None
) -> list[StoredEvent]:
    """A user's events earlier than `before`, newest first."""
    columns = [EVENTS.c[name] for name in StoredEvent.__dataclass_fields__]
    where = [EventRow.user_id == user_id, *([EventRow.time < before] if before else [])]
    newest = (
        select(*columns)
        .where(*where)
        .order_by(EVENTS.c.time.desc(), EVENTS.c.arrival.desc())
        .limit(limit)
    )
    return [StoredEvent(*row) for row in connection.execute(newest)]


def user_ids(connection: Connection) -> list[UserId]:
    """Every user with an event, sorted."""
    known = select(EventRow.user_id).where(EventRow.user_id.is_not(None))
    users = connection.scalars(known.distinct().order_by(EventRow.user_id))
    return cast(list[UserId], users.all())


def some_users(connection: Connection, limit: int) -> list[UserId]:
    """The first of them: an index is read no further than that."""
    known = select(EventRow.user_id).where(EventRow.user_id.is_not(None))
    users = connection.scalars(known.distinct().order_by(EventRow.user_id).limit(limit))
    return cast(list[UserId], users.all())


def read_events(
    connection: Connection, ids: IdMap[ItemId], until_us: int | None = None
) -> EventLog:
    """Every event up to and including `until_us`; those of items not in `ids` are only counted."""
    time = type_coerce(EVENTS.c.time, BigInteger)
    names = ("user_id", "session_id", "item_id", "type", "value")
    raw = select(*(EVENTS.c[name] for name in names), time).order_by(EVENTS.c.arrival)
    if until_us is not None:
        raw = raw.where(time <= until_us)
    builder = LogBuilder(ids)
    result = connection.execute(raw.execution_options(yield_per=50_000))
    for rows in result.partitions():
        builder.add(rows)
    return builder.build()


def _values(event: Event) -> dict[str, Any]:
    return {
        "event_id": event.event_id or derived_event_id(event),
        "user_id": event.user_id,
        "session_id": event.session_id,
        "item_id": event.item_id,
        "type": event.type,
        "value": event.value,
        "time": event.time,
        "context": event.context.model_dump(exclude_none=True) if event.context else None,
    }
