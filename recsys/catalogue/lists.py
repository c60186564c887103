"""Lists of items per user, as public splits are handed out: files -> users' lists -> a catalogue and a log.

12 7 305 18        user 12 and the items 7, 305 and 18, separated by white space; one user per line
"""

import gzip
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recsys.catalogue.event_log import EventLog, LogBuilder
from recsys.catalogue.feeds import readable
from recsys.catalogue.item_table import SCHEMA, ItemTable
from recsys.errors import FeedError
from recsys.identity import IdMap, ItemId

TYPE = "purchase"
"""The type of event that being in a list stands for."""

Lists = Mapping[str, Sequence[str]]
"""User -> items in the order of the line; empty for a user without any."""


def read_lists(paths: Sequence[Path]) -> list[Lists]:
    """The lists of each file, plain or .gz.

    Raises FeedError for a file that is missing, no UTF-8 text, without any item or with a user twice.
    """
    return [_read(path) for path in paths]


def catalogue_of(lists: Sequence[Lists], items: ItemTable) -> ItemTable:
    """The items, and with their id alone those that only the lists know.

    Lists have no dates and all their items compete: everything is on offer at any time.
    """
    wanted = {item for part in lists for found in part.values() for item in found}
    new = sorted(wanted.difference(items.ids))
    added = pa.table({name: _column(name, new) for name in SCHEMA.names}, schema=SCHEMA)
    data = pa.concat_tables([items.data, added]).sort_by("id")
    for name in ("available", "published_at", "expires_at", "created_at"):
        field = SCHEMA.field(name)
        value = pa.scalar(_ALWAYS_ON_OFFER[name], field.type)
        data = data.set_column(SCHEMA.get_field_index(name), field, pa.repeat(value, len(data)))
    return ItemTable(data)


_ALWAYS_ON_OFFER = {"available": True, "published_at": None, "expires_at": None, "created_at": 0}

_EMPTY = {"categories": [], "images": [], "attributes": "{}"} | _ALWAYS_ON_OFFER
"""Column -> what an item has of which nothing is known; None where it is not here."""


def _column(name: str, ids: Sequence[str]) -> Sequence[Any]:
    return ids if name == "id" else [_EMPTY.get(name)] * len(ids)


def log_of(lists: Sequence[Lists], ids: IdMap[ItemId]) -> tuple[EventLog, NDArray[np.int64]]:
    """The lists as events, and for each event the position of its list's file.

    Each file is a moment of its own; within it, events keep the order of the line.
    """
    builder = LogBuilder(ids)
    for number, part in enumerate(lists):
        rows = [
            (user, None, item, TYPE, np.nan, number)
            for user, found in part.items()
            for item in found
        ]
        builder.add(rows)
    log = builder.build()
    return log, log.time.copy()


def _read(path: Path) -> Lists:
    found: dict[str, list[str]] = {}
    for number, line in enumerate(_text(path).split("\n"), start=1):
        user, *items = line.split() or [""]
        if user in found:
            raise FeedError(f"{path}, line {number}: user {user!r} is there twice: join the lists")
        if user:
            found[user] = items
    if not any(found.values()):
        raise FeedError(f"{path} holds no item: expected lines such as 'user item item'")
    return found


def _text(path: Path) -> str:
    with readable(path):
        content = path.read_bytes()
        if path.name.lower().endswith(".gz"):
            content = gzip.decompress(content)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FeedError(f"{path} is not UTF-8 text ({error}): save it as UTF-8") from None
