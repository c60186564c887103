"""Interactions and texts -> the product's database and event log, through the product's own import."""

import csv
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from interactions import Interactions
from sqlalchemy import Engine
from texts import Texts

from recsys.catalogue.event_log import EventLog, LogBuilder
from recsys.catalogue.importing import FeedOptions, import_file
from recsys.catalogue.times import from_us
from recsys.config import Settings
from recsys.errors import InputError
from recsys.identity import IdMap, ItemId

AT_ONCE = 50_000
"""Rows handed to the log at a time."""


@dataclass(frozen=True)
class Feeder:
    """Imports into one database, by way of files in a scratch folder."""

    engine: Engine
    settings: Settings
    scratch: Path

    def items(self, found: Interactions, texts: Texts | None, pictures: str | None) -> int:
        """Every item that takes part; how many of them have a text that the product refused."""
        rows = [] if texts is None else texts.rows
        ids = dict.fromkeys([*found.items, *(texts.ids if texts else ())])
        bare = _write_rows(({"id": key} for key in ids), self.scratch / "ids.jsonl")
        import_file(self.engine, "items", bare, FeedOptions(image=pictures), self.settings)
        if texts is None:
            return 0
        file = _write_rows(rows, self.scratch / "items.jsonl")
        options = replace(texts.options, image=pictures)
        return import_file(self.engine, "items", file, options, self.settings).rejected

    def events(self, known: EventLog, ids: IdMap[ItemId]) -> None:
        """All events of a log, in its order. Raises FeedError if the product refuses one."""
        file = self.scratch / "events.csv"
        with file.open("w", encoding="utf-8", newline="") as out:
            writer = csv.writer(out)
            writer.writerow(("user_id", "item_id", "type", "value", "time"))
            writer.writerows(_event_rows(known, ids))
        import_file(self.engine, "events", file, FeedOptions(strict=True), self.settings)


def whole_log(found: Interactions, ids: IdMap[ItemId]) -> EventLog:
    """All interactions, those of the test too. Raises InputError for ids that are not in the catalogue."""
    builder = LogBuilder(ids)
    for start in range(0, len(found), AT_ONCE):
        rows = slice(start, start + AT_ONCE)
        columns = (found.user[rows], found.item[rows], found.value[rows], found.us[rows])
        builder.add(
            [
                (found.users[u], None, found.items[i], _type(value), value, us)
                for u, i, value, us in zip(*(c.tolist() for c in columns), strict=True)
            ]
        )
    log = builder.build()
    if log.unknown_items:
        raise InputError(f"{log.unknown_items} events are about items whose ids cannot be used")
    return log


def must_be_same(stored: EventLog, known: EventLog, home: Path) -> None:
    """Raises InputError unless the database holds just these events."""
    place = {name: n for n, name in enumerate(stored.actors)}
    actor = np.array([place.get(name, -1) for name in known.actors], dtype=np.int64)[known.actor]
    same = len(stored) == len(known) and all(
        np.array_equal(one, other)
        for one, other in (
            (stored.actor, actor),
            (stored.item, known.item),
            (stored.time, known.time),
        )
    )
    if not same:
        raise InputError(
            f"{home} holds {len(stored)} events, expected the {len(known)} of this data that models "
            "may know: give an empty or a new folder"
        )


def _type(value: float) -> str:
    return "purchase" if math.isnan(value) else "rating"


def _event_rows(log: EventLog, ids: IdMap[ItemId]) -> Iterator[tuple[str, ...]]:
    names = list(ids)
    columns = (log.actor, log.item, log.type, log.value, log.time)
    for start in range(0, len(log), AT_ONCE):
        part = (column[start : start + AT_ONCE].tolist() for column in columns)
        for actor, item, kind, value, us in zip(*part, strict=True):
            told = "" if math.isnan(value) else repr(value)
            when = from_us(us).isoformat()
            yield log.actors[actor], names[item], log.types[kind], told, when


def _write_rows(rows: Iterable[Mapping[str, str]], path: Path) -> Path:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    return path
