"""The rows of a page: asked of the API's own routes, so that a page shows what the API would answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import orjson

from recsys.catalogue.database import reading
from recsys.catalogue.items import Item, get_items
from recsys.identity import ItemId
from recsys.ranking.reasons import DEEDS
from recsys.serving.live import Served
from recsys.serving.routes import SOURCES, fill_placements, search
from recsys.serving.schemas import (
    ListPlacement,
    Placement,
    PlacementsBody,
    RecommendPlacement,
    SearchBody,
    SimilarPlacement,
)
from recsys.serving.slates import Services
from recsys.serving.viewers import viewer
from recsys.web.cards import Card, cards
from recsys.web.visitors import Visitor

LONG, SHORT = 13, 12
"""Items of the first row, whose first one stands apart, and of the others."""

FOUND = 36
"""Items of a search."""

RECENT = 20
"""A visitor's newest items, of which the most liked one gets a row."""

FOR_YOU = "For you"
"""The first row of those of whom something is known."""

UNKNOWN_TASTE = "From the catalogue"
"""The first row where nobody has done anything yet: there is nothing to go by."""

VARIED = 0.3
"""`diversity` of the first row."""

DONE = {
    "purchase": "you bought",
    "like": "you liked",
    "rating": "you liked",
    "add_to_cart": "you put in the cart",
    "view": "you viewed",
    "click": "you viewed",
}
"""Event type -> what it is called in a heading; another one is because *of* the item."""


@dataclass(frozen=True)
class Row:
    """Suggestions below one heading."""

    name: str
    """Of the placement, for the events that follow."""
    heading: str
    about: str
    recommendation_id: str
    cards: Sequence[Card]

    @property
    def says_why(self) -> bool:
        """Whether each card has a reason of its own: else the heading is the reason of all."""
        return self.heading == FOR_YOU


class Tab(NamedTuple):
    """One way in which items are similar."""

    by: Literal["behaviour", "image", "text"]
    heading: str


TABS = (
    Tab("behaviour", "People also liked"),
    Tab("image", "Looks like"),
    Tab("text", "Reads like"),
)


def home_rows(who: Visitor, served: Served, within: Services) -> list[Row]:
    """Those of the home page; an item is in one of them. Rows that have nothing to show are left out."""
    long, short = (_at_most(limit, within) for limit in (LONG, SHORT))
    liked = _liked(who, served, within)
    first = RecommendPlacement(
        name="for you", kind="recommendations", limit=long, diversity=VARIED, explain=True
    )
    wanted: list[tuple[Placement, str, str]] = [
        (first, *((FOR_YOU, "") if liked else (_for_all(served), _unknown(who))))
    ]
    if liked:
        item_id, heading = liked
        because = SimilarPlacement(
            name="because", kind="similar", item_id=item_id, limit=short, explain=True
        )
        wanted.append((because, heading, ""))
    trending = ListPlacement(name="trending", kind="trending", limit=short, explain=True)
    new = ListPlacement(name="new", kind="new", limit=short, explain=True)
    wanted += [(trending, "Trending", "Gaining the most lately"), (new, "New", "Just arrived")]
    return _filled(who, wanted, within)


def tabs_of(item: Item, served: Served) -> list[Tab]:
    """The ways in which the snapshot can say what is similar to an item."""
    row = served.recommender.lookup.ordinal(item.id)
    if row < 0:
        return []
    spaces, sources = served.recommender.spaces, served.recommender.sources
    there = {kind for kind, space in spaces.items() if space.present[row]}
    if _has_events(served):
        there.add("behaviour")
    return [tab for tab in TABS if tab.by in there and (SOURCES[tab.by] or frozenset()) & sources]


def similar_row(item: Item, tab: Tab, who: Visitor, within: Services) -> Row | None:
    """What is similar to an item in one way; None where nothing is."""
    wanted = SimilarPlacement(
        name=f"similar by {tab.by}",
        kind="similar",
        item_id=item.id,
        by=tab.by,
        limit=_at_most(SHORT, within),
        explain=True,
        hide_seen=False,
    )
    rows = _filled(who, [(wanted, tab.heading, "")], within)
    return rows[0] if rows else None


def found_row(words: str, who: Visitor, within: Services) -> Row:
    """What is found by words. Raises EncoderError where they cannot be read, and what stands in the way else."""
    ask = SearchBody(
        text=words,
        limit=_at_most(FOUND, within),
        explain=True,
        user_id=who.user_id,
        session_id=who.session_id,
    )
    said = orjson.loads(search(ask, within).body)
    known = _known([said], within)
    return Row("search", words, "", said["recommendation_id"], cards(said["items"], known))


def _at_most(limit: int, within: Services) -> int:
    """What the settings allow a slate to hold."""
    return min(limit, within.settings.ranking.max_limit)


def _has_events(served: Served) -> bool:
    """Whether anybody had done anything when the snapshot was built."""
    return served.manifest.counts.get("events", 1) > 0


def _for_all(served: Served) -> str:
    return "Popular right now" if _has_events(served) else UNKNOWN_TASTE


def _unknown(who: Visitor) -> str:
    return "" if who.user_id is None else f"Nothing is known of {who.user_id} yet"


def _filled(
    who: Visitor, wanted: Sequence[tuple[Placement, str, str]], within: Services
) -> list[Row]:
    """wanted: placements, their headings, and what is said beside these."""
    placements = tuple(placement for placement, _, _ in wanted)
    ask = PlacementsBody(user_id=who.user_id, session_id=who.session_id, placements=placements)
    said = orjson.loads(fill_placements(ask, within).body)["placements"]
    known = _known(said, within)
    rows = [
        Row(one["name"], heading, about, one["recommendation_id"], cards(meant, known))
        for one, (_, heading, about) in zip(said, wanted, strict=True)
        if (meant := _meant(one))
    ]
    return [row for row in rows if row.cards]


def _meant(said: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The items of a slate that its sources led to: none is taken from elsewhere to fill a row."""
    items: list[dict[str, Any]] = said["items"]
    if not items:
        return items
    if said["name"] == "for you" or not said["account"]["widened"]:
        return items
    return [item for item in items if any(item["parts"].values())]


def _known(slates: Sequence[Mapping[str, Any]], within: Services) -> dict[ItemId, Item]:
    ids = [place["item_id"] for slate in slates for place in slate["items"]]
    with reading(within.engine) as connection:
        return get_items(connection, ids)


def _liked(who: Visitor, served: Served, within: Services) -> tuple[str, str] | None:
    """Of what the visitor did lately, what says most of a taste: its id, and a heading that names it."""
    history = viewer(served, within.histories, who.who).history
    weights = history.weights[:RECENT]
    if not len(weights) or weights.max() <= 0:
        return None
    place = int(np.argmax(weights))
    item = history.items[place : place + 1]
    items = served.recommender.items
    deed = DONE.get(DEEDS[int(history.deeds[place])], "of")
    title = items.titles(item)[0]
    return items.id_texts.of(item)[0], f"Because {deed} {title}"
