"""One row of a feed -> an item or an event. Raises ValueError or InputError for a row that cannot be used."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from recsys.catalogue.columns import Columns
from recsys.catalogue.events import Event, check_time, check_type
from recsys.catalogue.images import Locate
from recsys.catalogue.items import Item
from recsys.catalogue.values import (
    as_flag,
    as_json,
    as_list,
    as_number,
    as_object,
    as_price,
    as_text,
    as_time,
)
from recsys.config import EventSettings
from recsys.errors import FeedError

T = TypeVar("T")
Parse = Callable[[object], object]

_ITEM: Mapping[str, Parse] = {
    "id": as_text,
    "brand": as_text,
    "price": as_price,
    "currency": as_text,
    "attributes": as_object,
    "available": as_flag,
    "published_at": as_time,
    "expires_at": as_time,
}
_EVENT: Mapping[str, Parse] = {
    "event_id": as_text,
    "user_id": as_text,
    "session_id": as_text,
    "item_id": as_text,
    "type": as_text,
    "value": as_number,
    "time": as_time,
    "placement": as_text,
    "position": as_number,
    "recommendation_id": as_text,
}
_CONTEXT = ("placement", "position", "recommendation_id")


def need_item_columns(columns: Columns) -> None:
    """Raises FeedError if no column holds the id."""
    _need(columns, "id")


def need_event_columns(columns: Columns, default_type: str | None) -> None:
    """Raises FeedError if a column is missing without which no row can be an event."""
    _need(columns, "item_id")
    _need(columns, "time")
    _need(columns, "user_id", "session_id")
    if default_type is None and not columns.has_ratings:
        _need(columns, "type", hint=", or give one for all rows with --type")


def read_item(row: Mapping[str, Any], columns: Columns, split: str, locate: Locate) -> Item:
    """Columns that are no field become attributes."""
    found: dict[str, Any] = {}
    for field, names in columns.fields.items():
        raw = [row.get(name) for name in names]
        if field in {"categories", "images"}:
            found[field] = [part for value in raw for part in as_list(value, split)]
        elif field in {"title", "description"}:
            found[field] = ". ".join(filter(None, (_parsed(field, as_text, v) for v in raw)))
        else:
            found[field] = _parsed(field, _ITEM[field], raw[0])
    found["price"], currency = found.get("price") or (None, None)
    found["currency"] = found.get("currency") or currency
    found["attributes"] = _rest(row, columns.rest) | (found.get("attributes") or {})
    image = locate(found["id"]) if found["id"] else None
    found["images"] = [*found.get("images", ()), *([image] if image else [])]
    return Item.model_validate({name: v for name, v in found.items() if v is not None})


def read_event(
    row: Mapping[str, Any],
    columns: Columns,
    default_type: str | None,
    settings: EventSettings,
    now: datetime,
) -> Event:
    """A row without a type has the default one; beside a column of ratings that is `rating`."""
    found: dict[str, Any] = {"type": default_type or ("rating" if columns.has_ratings else None)}
    for field, names in columns.fields.items():
        value = _parsed(field, _EVENT[field], row.get(names[0]))
        if value is not None:
            found[field] = value
    if context := {name: found.pop(name) for name in _CONTEXT if name in found}:
        found["context"] = context
    event = Event.model_validate(found)
    check_type(event.type, settings)
    check_time(event.time, now)
    return event


def _need(columns: Columns, *fields: str, hint: str = "") -> None:
    if any(field in columns.fields for field in fields):
        return
    found = [*columns.rest, *(name for names in columns.fields.values() for name in names)]
    raise FeedError(
        f"no column for {' or '.join(fields)} among {', '.join(found)}: "
        f"name it with --map {fields[0]}=COLUMN{hint}"
    )


def _parsed(field: str, parse: Callable[[object], T], value: object) -> T:
    try:
        return parse(value)
    except ValueError as error:
        raise ValueError(f"{field}: {error}") from None


def _rest(row: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    values = ((name, as_json(row.get(name))) for name in names)
    return {name: value for name, value in values if value is not None}
