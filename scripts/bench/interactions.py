"""Who did what, when, and into which part a given split put it: what every format of public data becomes.

Gathering.add(user, item, ...)  row by row  ->  Gathering.done(...)  ->  Interactions
"""

from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from recsys.catalogue.events import check_time
from recsys.catalogue.times import to_us
from recsys.catalogue.values import as_number, as_time
from recsys.errors import InputError

Protocol = Literal["time", "leave-one-out", "parts"]

TRAINING, VALIDATION, TEST = 0, 1, 2

PARTS: Mapping[str, int] = {
    "train": TRAINING,
    "valid": VALIDATION,
    "validation": VALIDATION,
    "val": VALIDATION,
    "test": TEST,
}
"""What files call the parts of a split."""

DAY = 86_400_000_000
"""Microseconds."""

MADE_UP = 18_262 * DAY
"""1 January 2020: where the clock is set for data without times."""

Numbers = NDArray[np.int64]
Clock = Callable[["Interactions"], Numbers]


@dataclass(frozen=True, eq=False)
class Interactions:
    """Events in the order in which they were read; arrays are (m,)."""

    users: tuple[str, ...]
    items: tuple[str, ...]
    user: Numbers
    """Positions in `users`."""
    item: Numbers
    """Positions in `items`."""
    us: Numbers
    """Microseconds since the epoch; made up where the data has none."""
    value: NDArray[np.float32]
    """Ratings; NaN where there is none."""
    part: Numbers | None
    """TRAINING, VALIDATION or TEST; None: nobody has split the data."""
    dated: bool
    """False: the times are made up."""
    protocol: Protocol
    """How such data is measured, unless told otherwise."""
    files: tuple[Path, ...]
    """What was read."""
    dropped: int
    """Rows that could not be used, and events told twice."""

    def __len__(self) -> int:
        return len(self.us)

    def without_ratings(self) -> "Interactions":
        """Every event speaks for its item alike, as papers on implicit feedback have it."""
        return _each_once(replace(self, value=np.full(len(self), np.nan, dtype=np.float32)))


class Gathering:
    """Collects rows."""

    def __init__(self) -> None:
        self._users: dict[str, int] = {}
        self._items: dict[str, int] = {}
        self._user, self._item, self._us, self._part = (array("q") for _ in range(4))
        self._value = array("f")
        self._now = datetime.now(UTC)
        self._dropped = 0

    def add(
        self,
        user: str,
        item: str,
        part: int = TRAINING,
        us: int | None = 0,
        value: object = None,
    ) -> None:
        """One more row; without a user, an item or a time it is dropped."""
        user, item = user.strip(), item.strip()
        if not user or not item or us is None:
            self._dropped += 1
            return
        self._user.append(self._users.setdefault(user, len(self._users)))
        self._item.append(self._items.setdefault(item, len(self._items)))
        self._us.append(us)
        self._value.append(_number(value))
        self._part.append(part)

    def done(
        self, protocol: Protocol, files: Sequence[Path], clock: Clock | None, split: bool
    ) -> Interactions:
        """All rows. clock: makes up the times; None: those given count."""
        found = Interactions(
            users=tuple(self._users),
            items=tuple(self._items),
            user=np.array(self._user),
            item=np.array(self._item),
            us=np.array(self._us),
            value=np.array(self._value, dtype=np.float32),
            part=np.array(self._part) if split else None,
            dated=clock is None,
            protocol=protocol,
            files=tuple(files),
            dropped=self._dropped,
        )
        return _each_once(found if clock is None else replace(found, us=clock(found)))

    def moment(self, time: object) -> int | None:
        """Microseconds; None for what is no time, or one of the future, which the product refuses."""
        try:
            found = as_time(_as_epoch(time))
            if found is None:
                return None
            check_time(found, self._now)
        except (ValueError, InputError):
            return None
        return to_us(found)


def a_day_apart(found: Interactions) -> Numbers:
    """Everybody's last event on one day, each earlier one a day before."""
    order = np.argsort(found.user, kind="stable")
    ends = np.cumsum(np.bincount(found.user, minlength=len(found.users)))
    back = np.empty(len(found), dtype=np.int64)
    back[order] = ends[found.user[order]] - 1 - np.arange(len(found))
    return MADE_UP - back * DAY


def known_then_test(found: Interactions) -> Numbers:
    """All that may be known at one moment, so that no order is read into it; the test a day later."""
    assert found.part is not None
    return MADE_UP + np.where(found.part == TEST, DAY, 0).astype(np.int64)


def _as_epoch(time: object) -> object:
    """`9.78e8` is a number too."""
    if isinstance(time, str):
        for kind in (int, float):
            try:
                return kind(time)
            except ValueError:
                continue
    return time


def _number(value: object) -> float:
    try:
        found = as_number(value)
    except ValueError:
        return float("nan")
    return float("nan") if found is None else found


def _each_once(found: Interactions) -> Interactions:
    """The same event told twice counts once, as it does when the product imports it."""
    key = (found.us, found.value.view(np.int32), found.item, found.user)
    order = np.lexsort(key)
    is_new = np.ones(len(found), dtype=bool)
    is_new[1:] = np.any([column[order][1:] != column[order][:-1] for column in key], axis=0)
    first = np.sort(order[is_new])
    return replace(
        found,
        user=found.user[first],
        item=found.item[first],
        us=found.us[first],
        value=found.value[first],
        part=None if found.part is None else found.part[first],
        dropped=found.dropped + len(found) - len(first),
    )
