"""Small worlds of behaviour whose answers are known."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from recsys.catalogue.event_log import EventLog, LogBuilder
from recsys.config import Settings
from recsys.identity import IdMap, ItemId

DAY = 86_400_000_000

Event = tuple[str, int, str, float, float]
"""(person, item, type, value or NaN, day)"""
LogMaker = Callable[[Sequence[Event]], EventLog]

PEOPLE = 40
ITEMS = 20


@pytest.fixture
def make_log() -> LogMaker:
    """A log of events given by hand, in order of arrival; items are 0..99."""

    def make(events: Sequence[Event]) -> EventLog:
        builder = LogBuilder(IdMap([ItemId(str(n)) for n in range(100)]))
        rows = [
            (person, None, str(item), kind, value, round(day * DAY))
            for person, item, kind, value, day in events
        ]
        if rows:
            builder.add(rows)
        return builder.build()

    return make


@pytest.fixture
def checkerboard(make_log: LogMaker) -> EventLog:
    """40 people and 20 items: the even like even items, the odd like odd ones, each 8 of the 10."""
    rng = np.random.default_rng(0)
    events = [
        (f"p{person}", int(2 * item + person % 2), "like", np.nan, float(rng.uniform(0, 100)))
        for person in range(PEOPLE)
        for item in rng.permutation(ITEMS // 2)[:8]
    ]
    return make_log(events)


@pytest.fixture
def small() -> Settings:
    """Settings that suit worlds of a few dozen people."""
    own = Settings().preference.model_copy(
        update={"factors": 2, "factors_ridge": 1.0, "linear_ridge": 1.0}
    )
    return Settings(preference=own)
