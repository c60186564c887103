"""Items: which there are, what each is, what goes with it by each source, what was done with it, and is it cold."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np
from pydantic import TypeAdapter, ValidationError
from sqlalchemy import Connection
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response

from recsys.catalogue.activity import ItemActivity, item_activity
from recsys.catalogue.database import reading
from recsys.catalogue.items import (
    Item,
    find_items,
    get_item,
    get_items,
    is_offered,
    item_times,
    lately_changed,
)
from recsys.catalogue.rule import KeptRule
from recsys.catalogue.rules import read_rules
from recsys.errors import SnapshotError, UnknownItem
from recsys.identity import ABSENT, Ordinals
from recsys.ranking.blend import NEW_ITEMS, UNPROVEN
from recsys.ranking.rules import Rules
from recsys.serving.addresses import ItemPath
from recsys.serving.live import Served
from recsys.serving.slates import Services
from recsys.web.console.anatomy import Told, named
from recsys.web.console.neighbours import Column, columns
from recsys.web.console.site import Console, asked
from recsys.web.console.timeline import timeline, totals

FOUND, LISTED = 50, 10
"""Items that are shown at the most: found by words, and of each list to start from."""

_ID = TypeAdapter[str](ItemPath)


class Shelf(NamedTuple):
    """Some items to start from."""

    heading: str
    about: str
    items: Sequence[Item]
    empty: str


class About(NamedTuple):
    """A rule that is about an item."""

    rule: KeptRule
    state: str


@dataclass(frozen=True)
class Standing:
    """What the snapshot knows of an item."""

    row: int
    support: int
    """People who are known to like it."""
    own: float
    """What its own behaviour counts, 0 to 1; the rest is lent by what is like it."""
    lenders: Sequence[str]
    """Kinds of content by which it may borrow."""
    unproven: float
    """What is added to its score for being little known, where a history leads."""
    duplicates: Sequence[Told]
    is_withdrawn: bool


def find(console: Console, request: Request, _: FormData) -> Response:
    """Those of this id or with these words in the title; some to start from where nothing is asked."""
    within, words = console.services, asked(request, "q")
    if words:
        with reading(within.engine) as connection:
            found = find_items(connection, words, FOUND)
        return console.page(request, "items.html", asked=words, found=found, shelves=[], most=FOUND)
    shelves = _shelves(within)
    return console.page(request, "items.html", asked="", found=[], shelves=shelves, most=FOUND)


def show(console: Console, request: Request, _: FormData) -> Response:
    """One item, in the snapshot or not yet."""
    within, item_id = console.services, _named(request)
    with reading(within.engine) as connection:
        item, times = get_item(connection, item_id), item_times(connection, item_id)
        if item is None or times is None:
            return console.page(request, "no_item.html", 404, item_id=item_id)
        done, kept = item_activity(connection, item_id), read_rules(connection)
    try:
        served = within.live.served()
    except SnapshotError as error:
        served, trouble = None, str(error)
    else:
        trouble = ""
    standing = None if served is None else _standing(item, served)
    return console.page(
        request,
        "item.html",
        item=item,
        times=times,
        is_offered=is_offered(item, datetime.now(UTC)),
        rules=_about(item, kept, served, standing),
        served=served,
        trouble=trouble,
        refreshes=within.settings.serving.refresh_seconds > 0,
        standing=standing,
        columns=_columns(item, served, standing, done),
        chart=timeline(done.tallies) if done.tallies else None,
        totals=totals(done.tallies),
        is_whole=done.is_whole,
    )


def _named(request: Request) -> str:
    """What is no id is the id of no item."""
    try:
        return _ID.validate_python(request.path_params["item_id"])
    except ValidationError:
        raise UnknownItem("there is no such item: ids are text of 1 to 512 characters") from None


def _shelves(within: Services) -> list[Shelf]:
    with reading(within.engine) as connection:
        try:
            served = within.live.served()
        except SnapshotError:
            items = lately_changed(connection, LISTED)
            nothing = (
                "There are no items yet. Add some with recsys import items, or PUT /v1/items/ID."
            )
            return [Shelf("Changed last", "Nothing is built yet.", items, nothing)]
        return _of_snapshot(served, connection)


def _of_snapshot(served: Served, connection: Connection) -> list[Shelf]:
    knowledge = served.recommender.knowledge
    newest, facts = knowledge.newest, knowledge.facts
    cold = newest[facts["own"][newest] == 0][:LISTED]
    made = (
        ("Popular", "Liked most, lately more than long ago.", knowledge.popular.order[:LISTED]),
        ("Newest", "Published last.", newest[:LISTED]),
        ("Cold", "Nobody is known to like them. The newest first.", cold),
    )
    nothing = "None in this snapshot."
    return [
        Shelf(heading, about, _items(some, served, connection), nothing)
        for heading, about, some in made
    ]


def _items(some: Ordinals, served: Served, connection: Connection) -> list[Item]:
    ids = served.recommender.items.id_texts.of(some)
    return list(get_items(connection, ids).values())


def _standing(item: Item, served: Served) -> Standing | None:
    """None for an item that is not in the snapshot."""
    about = served.recommender
    row = about.lookup.ordinal(item.id)
    if row == ABSENT:
        return None
    own = float(about.knowledge.facts["own"][row])
    alike = about.duplicates.with_others(np.array([row]))
    return Standing(
        row,
        round(float(about.support[row])),
        own,
        [kind for kind, space in about.spaces.items() if space.present[row]],
        (1 - own) * about.weights.get(NEW_ITEMS, {}).get(UNPROVEN, 0.0),
        named(np.setdiff1d(alike, [row]), about),
        bool((served.withdrawn == row).any()),
    )


def _columns(
    item: Item, served: Served | None, standing: Standing | None, done: ItemActivity
) -> list[Column]:
    if served is None or standing is None:
        return []
    return columns(item, standing.row, served, bool(done.tallies))


def _about(
    item: Item, kept: Sequence[KeptRule], served: Served | None, standing: Standing | None
) -> list[About]:
    """Those that are in force or will be."""
    now = datetime.now(UTC)
    lasting = [rule for rule in kept if rule.state_at(now) != "ended"]
    if served is None or standing is None:
        some = [rule for rule in lasting if item.id in rule.items]
    else:
        of = served.recommender
        rules = served.rules or Rules(of.items, of.lookup, of.duplicates, kept)
        some = [rule for rule in lasting if standing.row in rules.about(rule)]
    return [About(rule, rule.state_at(now)) for rule in some]


ROUTES = (
    ("/console/items", find, ("GET",)),
    ("/console/items/{item_id:path}", show, ("GET",)),
)
