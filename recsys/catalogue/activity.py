"""What people did, found and counted in the database, for those who look at all of it, at one user or at one item."""

from collections.abc import Collection, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple, cast

from sqlalchemy import BigInteger, Connection, func, select, type_coerce

from recsys.catalogue.events import EVENTS
from recsys.catalogue.tables import EventRow, UtcTime
from recsys.catalogue.times import EPOCH, to_us
from recsys.identity import UserId

LATELY = 5_000
"""The newest events, by which it is told who is active."""

LOOKED_AT = 2_000_000
"""The newest arrivals, among which the events of one item are counted: no index leads to them, and a scan of so many
takes some 0.2 s. An index would make every write slower for the sake of a page that is opened now and then."""

BY_INDEX = timedelta(days=4)
"""Up to so long a time is found by the index of times."""

LAST = "\U0010ffff"
"""The last character there is."""

DAY_US = timedelta(days=1) // timedelta(microseconds=1)


class Activity(NamedTuple):
    """How much a user has done."""

    events: int
    newest: datetime


class Tally(NamedTuple):
    """Events of one type on one day."""

    day: date
    type: str
    events: int


class Counted(NamedTuple):
    """Events by time."""

    counts: Sequence[tuple[datetime, str, int]]
    """When a stretch began, a type, and how many; none of no events."""
    is_whole: bool
    """Whether all events were looked at, and not only the `LOOKED_AT` newest arrivals."""


class ItemActivity(NamedTuple):
    """What was done with one item."""

    tallies: Sequence[Tally]
    """Those of any events, ascending."""
    is_whole: bool
    """Whether all events were looked at, and not only the `LOOKED_AT` newest arrivals."""


def users_like(connection: Connection, begins: str, limit: int) -> list[UserId]:
    """The first users with an event whose ids begin so, sorted: one of exactly this id comes first."""
    fits = (EventRow.user_id >= begins, EventRow.user_id <= begins + LAST)
    known = select(EventRow.user_id).where(EventRow.user_id.is_not(None), *fits)
    users = connection.scalars(known.distinct().order_by(EventRow.user_id).limit(limit))
    return cast(list[UserId], users.all())


def lately_active(connection: Connection, limit: int) -> list[UserId]:
    """The users of the newest events, the latest first."""
    newest = select(EventRow.user_id, EventRow.time).order_by(EventRow.time.desc()).limit(LATELY)
    some = newest.subquery()
    users = (
        select(some.c.user_id)
        .where(some.c.user_id.is_not(None))
        .group_by(some.c.user_id)
        .order_by(func.max(some.c.time).desc(), some.c.user_id)
        .limit(limit)
    )
    return cast(list[UserId], connection.scalars(users).all())


def activity_of(connection: Connection, users: Sequence[str]) -> dict[UserId, Activity]:
    """How much each of these users has done; those who did nothing are left out."""
    newest = type_coerce(func.max(EVENTS.c.time), UtcTime())
    counted = (
        select(EVENTS.c.user_id, func.count(), newest)
        .where(EventRow.user_id.in_(users))
        .group_by(EVENTS.c.user_id)
    )
    return {user: Activity(count, last) for user, count, last in connection.execute(counted)}


def item_activity(connection: Connection, item_id: str) -> ItemActivity:
    """The events of an item by day and type, among the newest arrivals."""
    last = _newest_arrival(connection)
    day = type_coerce(EVENTS.c.time, BigInteger).op("/")(DAY_US).label("day")
    counted = (
        select(day, EVENTS.c.type, func.count())
        .where(EventRow.item_id == item_id, EVENTS.c.arrival > last - LOOKED_AT)
        .group_by(day, EVENTS.c.type)
        .order_by(day, EVENTS.c.type)
    )
    epoch = datetime.fromtimestamp(0, UTC).date()
    tallies = [
        Tally(epoch + timedelta(days=int(number)), kind, count)
        for number, kind, count in connection.execute(counted)
    ]
    return ItemActivity(tallies, last <= LOOKED_AT)


def events_by_type(
    connection: Connection, since: datetime, until: datetime, width: timedelta
) -> Counted:
    """Events of each type in stretches of this width: the first begins at since, the last ends before until.

    A long time is read in the order of arrival: an index of times leads all over the table, and takes 3 times as long.
    """
    time, step = type_coerce(EVENTS.c.time, BigInteger), to_us(EPOCH + width)
    of_them = [time >= to_us(since), time < to_us(until)]
    last = 0
    if until - since > BY_INDEX:
        last = _newest_arrival(connection)
        of_them = [time + 0 >= to_us(since), time + 0 < to_us(until)]
        of_them.append(EVENTS.c.arrival > last - LOOKED_AT)
    place = (time - to_us(since)) // step
    counted = select(place, EVENTS.c.type, func.count()).where(*of_them)
    found = connection.execute(counted.group_by(place, EVENTS.c.type).order_by(place))
    counts = [(since + n * width, kind, count) for n, kind, count in found]
    return Counted(counts, last <= LOOKED_AT)


def oldest_event(connection: Connection) -> datetime | None:
    """When the first event happened; None: there is none."""
    return connection.scalar(select(func.min(EventRow.time)))


def newest_event(connection: Connection) -> datetime | None:
    """When the last event happened; None: there is none."""
    return connection.scalar(select(func.max(EventRow.time)))


def items_met(connection: Connection, since: datetime, types: Collection[str]) -> int:
    """Distinct items of events of these types since then."""
    of_them = (EVENTS.c.time >= since, EVENTS.c.type.in_(types))
    wanted = select(func.count(EVENTS.c.item_id.distinct())).where(*of_them)
    return connection.execute(wanted).scalar_one()


def _newest_arrival(connection: Connection) -> int:
    return connection.scalar(select(func.max(EVENTS.c.arrival))) or 0
