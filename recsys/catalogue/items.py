"""Items: one as a checked `Item`, all of them as the columns of an `ItemTable`."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, NamedTuple, cast

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Select,
    Table,
    and_,
    or_,
    select,
    type_coerce,
    update,
)
from sqlalchemy import Text as SqlText
from sqlalchemy import cast as sql_cast

from recsys.catalogue.database import insert_into
from recsys.catalogue.fields import Attributes, Id, Moment, Text, Texts, explain
from recsys.catalogue.item_table import SCHEMA, ItemTable
from recsys.catalogue.tables import ItemRow
from recsys.errors import InputError, UnknownItem
from recsys.identity import ItemId

__all__ = [
    "Counts",
    "Item",
    "ItemTable",
    "changed_since",
    "delete_item",
    "find_items",
    "get_item",
    "get_items",
    "gone_since",
    "is_offered",
    "item_times",
    "lately_changed",
    "patch_item",
    "read_items",
    "read_some",
    "unknown_items",
    "upsert_items",
    "withdrawn_since",
]

ITEMS = cast(Table, ItemRow.__table__)

LOOK_UP = 1_000
"""Ids asked for in one statement: databases limit the number of parameters."""


class Item(BaseModel):
    """What an item says of itself. Unknown is None or empty."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    id: Id
    title: Text = None
    description: Text = None
    categories: Texts = ()
    brand: Text = None
    price: Annotated[float, Field(ge=0)] | None = None
    currency: Annotated[str, Field(pattern="^[A-Za-z]{3}$")] | None = None
    images: Texts = ()
    attributes: Attributes = {}
    available: bool = True
    published_at: Moment | None = None
    expires_at: Moment | None = None


FIELDS = tuple(Item.model_fields)


class Counts(NamedTuple):
    """What became of the items given; the three add up to their number."""

    added: int = 0
    updated: int = 0
    unchanged: int = 0


def upsert_items(connection: Connection, items: Sequence[Item], now: datetime) -> Counts:
    """Write items whole. `updated_at` becomes `now` only where something changed.

    An id given twice is written in order: the last one stays. A deleted item comes back as added.
    """
    known = _stored(connection, [item.id for item in items])
    changed: dict[str, dict[str, Any]] = {}
    added = updated = 0
    for item in items:
        values, before = _values(item), known.get(item.id)
        if values == before:
            continue
        added, updated = added + (before is None), updated + (before is not None)
        known[item.id] = changed[item.id] = values
    _write(connection, list(changed.values()), now)
    return Counts(added, updated, len(items) - added - updated)


def get_item(connection: Connection, item_id: str) -> Item | None:
    """The item, or None if it is unknown or deleted."""
    return get_items(connection, [item_id]).get(ItemId(item_id))


def get_items(connection: Connection, ids: Iterable[str]) -> dict[ItemId, Item]:
    """Those of the ids that exist and are not deleted."""
    found = _stored(connection, list(dict.fromkeys(ids)))
    return {ItemId(key): Item.model_construct(**_frozen(row)) for key, row in found.items()}


def find_items(connection: Connection, words: str, limit: int) -> list[Item]:
    """The item of this id, and those whose titles hold all of these words, in any case of their ASCII letters; by id.

    Items that are deleted are not found. Reads titles one after another until there are enough.
    """
    exact = get_items(connection, [words])
    held = [ItemRow.title.icontains(word, autoescape=True) for word in words.split()]
    alive = (ItemRow.deleted_at.is_(None), ItemRow.id != words)
    some = select(ITEMS.c.id).where(*alive, *held).order_by(ItemRow.id).limit(limit)
    ids = list(connection.scalars(some)) if held else []
    return [*exact.values(), *get_items(connection, ids).values()][:limit]


def lately_changed(connection: Connection, limit: int) -> list[Item]:
    """Items that are not deleted, the last updated first."""
    alive = select(ITEMS.c.id).where(ItemRow.deleted_at.is_(None))
    newest = alive.order_by(ItemRow.updated_at.desc(), ItemRow.id).limit(limit)
    ids = list(connection.scalars(newest))
    found = get_items(connection, ids)
    return [found[key] for key in ids]


class Times(NamedTuple):
    """When an item was first seen here, and last changed."""

    created_at: datetime
    updated_at: datetime


def item_times(connection: Connection, item_id: str) -> Times | None:
    """None for an item that is unknown or deleted."""
    columns = (ITEMS.c.created_at, ITEMS.c.updated_at)
    row = connection.execute(
        select(*columns).where(ItemRow.id == item_id, ItemRow.deleted_at.is_(None))
    ).one_or_none()
    return None if row is None else Times(*row)


def unknown_items(connection: Connection, ids: Iterable[str]) -> list[str]:
    """Those of the ids that do not exist or are deleted, each once, in the order given."""
    asked, found = list(dict.fromkeys(ids)), set[str]()
    for start in range(0, len(asked), LOOK_UP):
        some = asked[start : start + LOOK_UP]
        there = select(ITEMS.c.id).where(ItemRow.id.in_(some), ItemRow.deleted_at.is_(None))
        found.update(connection.scalars(there))
    return [key for key in asked if key not in found]


def patch_item(
    connection: Connection, item_id: str, changes: Mapping[str, Any], now: datetime
) -> Item:
    """Change some fields and give the whole item back; None takes a field or an attribute away (RFC 7396).

    `available` cannot be taken away: unknown would mean on sale.
    Raises UnknownItem, or InputError when the result would not be a valid item.
    """
    row = connection.execute(_select([item_id]).with_for_update()).one_or_none()
    if row is None:
        raise UnknownItem(f"there is no item {item_id!r}: check the id, or add the item first")
    try:
        item = Item.model_validate(_merged(row._asdict(), changes))
    except ValidationError as error:
        raise InputError(explain(error)) from None
    if item.id != item_id:
        raise InputError(f"the id of {item_id!r} cannot change (found {item.id!r}): add a new item")
    upsert_items(connection, [item], now)
    return item


def delete_item(connection: Connection, item_id: str, now: datetime) -> bool:
    """Leave a tombstone. False if the item is unknown or already deleted."""
    bury = (
        update(ITEMS)
        .where(ItemRow.id == item_id, ItemRow.deleted_at.is_(None))
        .values(deleted_at=now, updated_at=now)
        .returning(ItemRow.id)
    )
    return connection.execute(bury).first() is not None


def is_offered(item: Item, now: datetime) -> bool:
    """Available, published and not expired at this moment."""
    published = item.published_at is None or item.published_at <= now
    expired = item.expires_at is not None and item.expires_at <= now
    return item.available and published and not expired


def withdrawn_since(
    connection: Connection, moment: datetime, now: datetime
) -> tuple[list[ItemId], list[ItemId]]:
    """(gone, back) among the items updated at this moment or later, as of now, each in order.

    Gone: deleted or not on offer. Back: neither. Ask again from a little before the last answer:
    a transaction that began earlier may be committed later.
    """
    changed = select(ITEMS.c.id, _is_gone(now)).where(ItemRow.updated_at >= moment)
    told = sorted(connection.execute(changed))  # were it asked in order, all would be read
    gone, back = ([ItemId(key) for key, left in told if left == which] for which in (True, False))
    return gone, back


def gone_since(connection: Connection, moment: datetime, now: datetime) -> list[ItemId]:
    """The same, only those that are gone: soon asked even where every item was updated."""
    changed = select(ITEMS.c.id).where(ItemRow.updated_at >= moment, _is_gone(now))
    return sorted(map(ItemId, connection.scalars(changed)))


def _is_gone(now: datetime) -> ColumnElement[bool]:
    """Deleted, or not offered at this moment; never NULL."""
    return or_(
        ItemRow.deleted_at.is_not(None),
        ItemRow.available.is_(False),
        and_(ItemRow.published_at.is_not(None), ItemRow.published_at > now),
        and_(ItemRow.expires_at.is_not(None), ItemRow.expires_at <= now),
    )


def read_items(connection: Connection) -> ItemTable:
    """Every item that is not deleted (unavailable ones too), ordered by id."""
    return _read(connection, _alive().order_by(ItemRow.id))


def read_some(connection: Connection, ids: Sequence[ItemId]) -> ItemTable:
    """The same of those of the ids that exist and are not deleted."""
    parts = [
        _read(connection, _alive().where(ItemRow.id.in_(ids[start : start + LOOK_UP]))).data
        for start in range(0, len(ids), LOOK_UP)
    ]
    return ItemTable(pa.concat_tables([SCHEMA.empty_table(), *parts]))


def changed_since(connection: Connection, moment: datetime) -> dict[ItemId, int]:
    """When (microseconds) each item that is not deleted was last updated, at this moment or later; the latest first.

    Ask again from a little before the last answer: a transaction that began earlier may be committed later.
    """
    updated_at = type_coerce(ITEMS.c.updated_at, BigInteger)
    changed = select(ITEMS.c.id, updated_at).where(
        ItemRow.updated_at >= moment, ItemRow.deleted_at.is_(None)
    )
    rows = connection.execute(changed.order_by(ItemRow.updated_at.desc(), ItemRow.id))
    return {ItemId(item): updated for item, updated in rows}


def any_changed_since(connection: Connection, moment: datetime) -> bool:
    """Whether an item that is not deleted was updated at this moment or later."""
    changed = select(ITEMS.c.id).where(ItemRow.updated_at >= moment, ItemRow.deleted_at.is_(None))
    return connection.execute(changed.limit(1)).first() is not None


def _alive() -> Select[Any]:
    """Those that are not deleted, in the columns of an item table."""
    times = ("published_at", "expires_at", "created_at")
    columns: dict[str, ColumnElement[Any]] = {name: ITEMS.c[name] for name in SCHEMA.names}
    columns |= {name: type_coerce(ITEMS.c[name], BigInteger).label(name) for name in times}
    columns["attributes"] = sql_cast(ITEMS.c.attributes, SqlText)
    return select(*columns.values()).where(ItemRow.deleted_at.is_(None))


def _read(connection: Connection, wanted: Select[Any]) -> ItemTable:
    result = connection.execute(wanted.execution_options(yield_per=10_000))
    batches = [_batch(rows) for rows in result.partitions()]
    return ItemTable(pa.Table.from_batches(batches, SCHEMA))


def _batch(rows: Sequence[Any]) -> pa.RecordBatch:
    columns = zip(zip(*rows, strict=True), SCHEMA, strict=True)
    return pa.RecordBatch.from_arrays(
        [pa.array(values, field.type) for values, field in columns], schema=SCHEMA
    )


def _select(ids: Sequence[str]) -> Select[Any]:
    columns = (ITEMS.c[name] for name in FIELDS)
    return select(*columns).where(ItemRow.id.in_(ids), ItemRow.deleted_at.is_(None))


def _stored(connection: Connection, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """id -> stored values, for those that exist and are not deleted."""
    found: dict[str, dict[str, Any]] = {}
    for start in range(0, len(ids), LOOK_UP):
        rows = connection.execute(_select(ids[start : start + LOOK_UP])).mappings()
        found.update((row["id"], dict(row)) for row in rows)
    return found


def _values(item: Item) -> dict[str, Any]:
    """What the columns hold."""
    lists = {"categories": list(item.categories), "images": list(item.images)}
    return {name: getattr(item, name) for name in FIELDS} | lists


def _frozen(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"categories": tuple(row["categories"]), "images": tuple(row["images"])}


def _write(connection: Connection, rows: Sequence[dict[str, Any]], now: datetime) -> None:
    if not rows:
        return
    stamps = {"created_at": now, "updated_at": now, "deleted_at": None}
    insert = insert_into(connection, ITEMS)
    kept = {"id", "created_at"}
    changes = {column.name: column for column in insert.excluded if column.name not in kept}
    upsert = insert.on_conflict_do_update(index_elements=["id"], set_=changes)
    connection.execute(upsert, [row | stamps for row in rows])


def _merged(stored: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """RFC 7396: None takes away, but leaves `available` to be refused; attributes are merged one by one."""
    merged = {**stored, **changes}
    if isinstance(given := changes.get("attributes"), Mapping):
        attributes = {**stored["attributes"], **given}
        merged["attributes"] = {k: v for k, v in attributes.items() if v is not None}
    kept = merged.items()
    return {name: value for name, value in kept if value is not None or name == "available"}
