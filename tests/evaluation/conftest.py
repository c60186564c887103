"""Catalogues and logs given by hand."""

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import pytest

from recsys.catalogue.event_log import EventLog, LogBuilder
from recsys.catalogue.item_table import SCHEMA, ItemTable
from recsys.config import EvaluationSettings, PreferenceSettings, Settings

DAY = 86_400_000_000

Event = tuple[str, int, float]
"""(person, item, day); a negative item number -n-1 is a dislike of item n."""


@pytest.fixture
def make_items() -> Callable[..., ItemTable]:
    """`make_items(5, available=[...])`: items 000, 001, ... so that the number is the ordinal."""

    def make(n: int, **columns: Sequence[object]) -> ItemTable:
        filled = {"attributes": "{}", "available": True, "created_at": 0}
        filled |= {"categories": [], "images": []}
        given = {"id": [f"{i:03}" for i in range(n)], **columns}
        arrays = [
            pa.array(given.get(field.name, [filled.get(field.name)] * n), field.type)
            for field in SCHEMA
        ]
        return ItemTable(pa.table(arrays, schema=SCHEMA))

    return make


@pytest.fixture
def make_log() -> Callable[[ItemTable, Sequence[Event]], EventLog]:
    """Likes and dislikes in order of arrival."""

    def make(items: ItemTable, events: Sequence[Event]) -> EventLog:
        builder = LogBuilder(items.ids)
        rows = []
        for person, item, day in events:
            kind, number = ("like", item) if item >= 0 else ("dislike", -item - 1)
            rows.append((person, None, f"{number:03}", kind, np.nan, round(day * DAY)))
        if rows:
            builder.add(rows)
        return builder.build()

    return make


@pytest.fixture
def small() -> Settings:
    """Settings that suit worlds of a few dozen people."""
    preference = PreferenceSettings(search=False, factors=8, factors_ridge=1.0, linear_ridge=1.0)
    evaluation = EvaluationSettings(min_queries=10, bootstrap=200, validation=0.2, test=0.2)
    return Settings(preference=preference, evaluation=evaluation)
