"""All events as columns: what every later stage reads instead of the database."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.identity import Floats, IdMap, ItemId, Mask, Ordinals

SESSION = "\x1f"
"""Stands before the id of an anonymous session where actors are named."""


@dataclass(frozen=True, eq=False)
class EventLog:
    """Events by time, and by arrival within one moment. Arrays are (m,)."""

    actors: tuple[str, ...]
    """User ids, and `SESSION` + session id for the anonymous; sorted."""
    types: tuple[str, ...]
    """Event types that occur, sorted."""
    actor: NDArray[np.int32]
    """Positions in `actors`."""
    item: NDArray[np.int32]
    """Item ordinals."""
    type: NDArray[np.int16]
    """Positions in `types`."""
    value: Floats
    """NaN where the event had none."""
    time: NDArray[np.int64]
    """Microseconds since the epoch, ascending."""
    unknown_items: int = 0
    """Events left out of the whole log since their item is not in the catalogue."""

    def __len__(self) -> int:
        return len(self.time)

    def before(self, us: int) -> "EventLog":
        """Events earlier than this moment. A view: actors and types stay as they are."""
        return self._cut(0, int(np.searchsorted(self.time, us)))

    def between(self, start: int, end: int) -> "EventLog":
        """Events with start <= time < end. A view: actors and types stay as they are."""
        first, last = np.searchsorted(self.time, [start, end])
        return self._cut(int(first), int(last))

    def where(self, mask: Mask) -> "EventLog":
        """Events for which the (m,) mask is True, in their order: actors and types stay as they are."""
        return self._chosen(mask)

    def _cut(self, first: int, last: int) -> "EventLog":
        return self._chosen(slice(first, last))

    def _chosen(self, events: Mask | slice) -> "EventLog":
        names = ("actor", "item", "type", "value", "time")
        return replace(self, **{name: getattr(self, name)[events] for name in names})


class ByActor:
    """Finds an actor's events in a log."""

    def __init__(self, log: EventLog) -> None:
        self._order = np.argsort(log.actor, kind="stable")
        every = np.arange(len(log.actors) + 1)
        self._starts = np.searchsorted(log.actor, every, sorter=self._order)

    def events_of(self, actor: int) -> Ordinals:
        """Positions in the log, oldest first."""
        return self._order[self._starts[actor] : self._starts[actor + 1]]


class LogBuilder:
    """Takes raw rows (user_id, session_id, item_id, type, value, us) by arrival; gives one EventLog."""

    def __init__(self, ids: IdMap[ItemId]) -> None:
        self._ids = ids
        self._actors: dict[str, int] = {}
        self._types: dict[str, int] = {}
        self._unknown = 0
        self._parts: list[tuple[NDArray[Any], ...]] = []

    def add(self, rows: Sequence[Any]) -> None:
        """Some more rows."""
        user, session, item, kind, value, time = zip(*rows, strict=True)
        ordinals = self._ids.ordinals(item)
        known = ordinals >= 0
        self._unknown += int(len(known) - known.sum())
        who = _actors(user, session) if None in user else user
        columns = (
            _codes(_chosen(who, known), self._actors, np.int32),
            ordinals[known].astype(np.int32),
            _codes(_chosen(kind, known), self._types, np.int16),
            np.array(value, dtype=np.float32)[known],
            np.array(time, dtype=np.int64)[known],
        )
        self._parts.append(columns)

    def build(self) -> EventLog:
        """Everything added so far, by time; rows of one moment keep their order."""
        empty = tuple(np.empty(0, t) for t in (np.int32, np.int32, np.int16, np.float32, np.int64))
        columns = [np.concatenate(parts) for parts in zip(empty, *self._parts, strict=True)]
        order = np.argsort(columns[-1], kind="stable")
        actor, item, kind, value, time = (column[order] for column in columns)
        actors, actor_at = _sorted(self._actors)
        types, type_at = _sorted(self._types)
        return EventLog(
            actors=actors,
            types=types,
            actor=actor_at.astype(np.int32)[actor],
            item=item,
            type=type_at.astype(np.int16)[kind],
            value=value,
            time=time,
            unknown_items=self._unknown,
        )


def _chosen(names: Sequence[str], known: NDArray[np.bool_]) -> Sequence[str]:
    if known.all():
        return names
    return [name for name, keep in zip(names, known.tolist(), strict=True) if keep]


def _codes(names: Sequence[str], codes: dict[str, int], dtype: type) -> NDArray[Any]:
    """Each name's code; new names get the next ones."""
    new = [name for name in dict.fromkeys(names) if name not in codes]
    codes.update(zip(new, range(len(codes), len(codes) + len(new)), strict=True))
    return np.fromiter(map(codes.__getitem__, names), dtype=dtype, count=len(names))


def _actors(users: Sequence[str | None], sessions: Sequence[str | None]) -> list[str]:
    """The user of each event; of an anonymous one, the session."""
    pairs = zip(users, sessions, strict=True)
    return [user if user is not None else f"{SESSION}{session}" for user, session in pairs]


def _sorted(codes: dict[str, int]) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """The names in order, and for each old code its new one."""
    names = sorted(codes)
    new = np.empty(len(names), dtype=np.int64)
    new[[codes[name] for name in names]] = np.arange(len(names))
    return tuple(names), new
