"""The routes that read and write the catalogue: items and events. One call is one transaction."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from enum import Enum
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, HTTPException, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, Field

from recsys.catalogue.database import reading, writing
from recsys.catalogue.events import store_events, user_events
from recsys.catalogue.fields import Id, Moment
from recsys.catalogue.items import (
    Item,
    delete_item,
    get_item,
    get_items,
    is_offered,
    patch_item,
    upsert_items,
)
from recsys.errors import UnknownItem
from recsys.identity import ItemId
from recsys.serving import examples
from recsys.serving.addresses import ItemPath, UserPath
from recsys.serving.problems import BUSY, UNKNOWN_ITEM, check_events
from recsys.serving.schemas import (
    EventCounts,
    EventIn,
    EventList,
    FoundItems,
    ItemBody,
    ItemChanges,
    ItemCounts,
    OneOrMany,
)
from recsys.serving.slates import WRITERS, Services, as_json, services, services_of

router = APIRouter()

ITEMS: list[str | Enum] = ["Items"]
EVENTS: list[str | Enum] = ["Events"]

Within = Annotated[Services, Depends(services)]

TURN_SECONDS = 1
"""How long a write waits for its turn: a burst passes, a jam does not pile up."""


async def in_turn(request: Request, write: Callable[[Services], Response]) -> Response:
    """Write in a thread, one of `WRITERS` at once; waiting for a turn holds none. Raises HTTPException."""
    within = services_of(request)
    try:
        async with asyncio.timeout(TURN_SECONDS):
            await within.writers.acquire()
    except TimeoutError:
        message = f"{WRITERS} writes are under way already: try again, or send many in one call"
        raise HTTPException(503, message, {"Retry-After": "1"}) from None
    try:
        return await run_in_threadpool(write, within)
    finally:
        within.writers.release()


class WhichItems(BaseModel, extra="forbid", frozen=True):
    """Which items to read."""

    id: Annotated[list[Id], Field(min_length=1, max_length=1_000, examples=[["296", "50"]])]


class WhichEvents(BaseModel, extra="forbid", frozen=True):
    """Which of a user's events to read."""

    limit: Annotated[int, Field(ge=1, le=1_000)] = 100
    before: Moment | None = None


@router.post("/v1/events", tags=EVENTS, response_model=EventCounts, responses=BUSY)
async def add_events(
    events: Annotated[OneOrMany[EventIn], Body(openapi_examples=examples.EVENTS)], request: Request
) -> Response:
    """Store one event or a list of up to 10,000: all of them, or none if one is wrong.

    They count in the very next request. Sent again with the same `event_id` (or, without one, the same
    content and time), an event is a duplicate and changes nothing. The item may arrive later.
    """

    def write(within: Services) -> Response:
        check_events(events, ("body",), within.settings.events)
        stored = store_events(within.engine, events)
        within.metrics.events.inc(stored.added)
        return as_json(stored._asdict())

    return await in_turn(request, write)


@router.get("/v1/items", tags=ITEMS, response_model=FoundItems)
def read_items(which: Annotated[WhichItems, Query()], within: Within) -> Response:
    """Read items by id, as they are in the catalogue now. Repeat `id` for several.

    This address also serves ids that another one would take for a word of its own, such as `popular`.
    """
    with reading(within.engine) as connection:
        found = get_items(connection, which.id)
    there = [
        found[key].model_dump() for key in dict.fromkeys(map(ItemId, which.id)) if key in found
    ]
    return as_json({"items": there, "unknown": [key for key in which.id if key not in found]})


@router.get("/v1/items/{item_id:path}", tags=ITEMS, response_model=Item, responses=UNKNOWN_ITEM)
def read_item(item_id: ItemPath, within: Within) -> Response:
    """Read one item, as it is in the catalogue now."""
    with reading(within.engine) as connection:
        item = get_item(connection, item_id)
    if item is None:
        raise UnknownItem(f"there is no item {item_id!r}: check the id, or add the item first")
    return as_json(item.model_dump())


@router.put(
    "/v1/items/{item_id:path}",
    tags=ITEMS,
    response_model=Item,
    responses=BUSY | {201: {"model": Item, "description": "The item is new"}},
)
async def write_item(
    item_id: ItemPath,
    body: Annotated[ItemBody, Body(openapi_examples=examples.ITEM)],  # type: ignore[valid-type]
    request: Request,
) -> Response:
    """Add an item, or replace it whole. 201 if it is new.

    Reads show it at once; slates as soon as it has been brought into the snapshot, which takes a few seconds
    (`serving.refresh_seconds`; a shop of 100,000 items and more takes longer) and no rebuild. One made unavailable,
    expired or not yet published is gone from the very next slate; put on offer again it is back in it, or a few
    seconds later if the snapshot has never known it on offer.
    """
    item = Item.model_validate(_given(body) | {"id": item_id})

    def write(within: Services) -> Response:
        counts = _store([item], within)
        return as_json(item.model_dump(), 201 if counts["added"] else 200)

    return await in_turn(request, write)


@router.patch(
    "/v1/items/{item_id:path}",
    tags=ITEMS,
    response_model=Item,
    responses=UNKNOWN_ITEM | BUSY,
)
async def change_item(
    item_id: ItemPath,
    body: Annotated[ItemChanges, Body(openapi_examples=examples.CHANGES)],  # type: ignore[valid-type]
    request: Request,
) -> Response:
    """Change some fields of an item; null takes one away (RFC 7396)."""

    def write(within: Services) -> Response:
        with writing(within.engine) as connection:
            item = patch_item(connection, item_id, _given(body), datetime.now(UTC))
        _tell([item], within)
        return as_json(item.model_dump())

    return await in_turn(request, write)


@router.delete(
    "/v1/items/{item_id:path}",
    tags=ITEMS,
    status_code=204,
    responses=UNKNOWN_ITEM | BUSY,
)
async def remove_item(item_id: ItemPath, request: Request) -> Response:
    """Delete an item. It is gone from the very next slate."""

    def write(within: Services) -> Response:
        with writing(within.engine) as connection:
            if not delete_item(connection, item_id, datetime.now(UTC)):
                raise UnknownItem(f"there is no item {item_id!r} to delete: check the id")
        within.live.note(gone=[ItemId(item_id)], back=[])
        return Response(status_code=204)

    return await in_turn(request, write)


@router.post("/v1/items", tags=ITEMS, response_model=ItemCounts, responses=BUSY)
async def write_items(
    items: Annotated[OneOrMany[Item], Body(openapi_examples=examples.ITEMS)], request: Request
) -> Response:
    """Add or replace one item or a list of up to 10,000: all of them, or none if one is wrong."""
    return await in_turn(request, lambda within: as_json(_store(items, within)))


@router.get("/v1/users/{user_id:path}/events", tags=EVENTS, response_model=EventList)
def read_events(
    user_id: UserPath, which: Annotated[WhichEvents, Query()], within: Within
) -> Response:
    """List what a user did, newest first. For more, ask again `before` the time of the last one."""
    with reading(within.engine) as connection:
        return as_json({"events": user_events(connection, user_id, which.limit, which.before)})


def _given(body: BaseModel) -> dict[str, Any]:
    return body.model_dump(exclude_unset=True)


def _store(items: list[Item], within: Services) -> dict[str, int]:
    with writing(within.engine) as connection:
        counts = upsert_items(connection, items, datetime.now(UTC))
    _tell(items, within)
    return counts._asdict()


def _tell(items: list[Item], within: Services) -> None:
    """Let the very next slate know which items may be shown; of an id given twice, the last counts."""
    now = datetime.now(UTC)
    shown = {ItemId(item.id): is_offered(item, now) for item in items}
    gone = [key for key, offered in shown.items() if not offered]
    within.live.note(gone, back=shown.keys() - set(gone))
