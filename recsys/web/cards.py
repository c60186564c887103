"""What a card says of a suggested item, and why it is suggested."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from markupsafe import Markup, escape

from recsys.catalogue.items import Item
from recsys.identity import ItemId
from recsys.web.covers import hue_of

PARTS = {
    "cooccurrence": "Liked by the same people",
    "transitions": "What people turn to next",
    "linear": "Goes with what you liked",
    "factors": "Your taste as a whole",
    "again": "Worth coming back to",
    "text": "Reads alike",
    "image": "Looks alike",
    "text_taste": "Reads like your taste",
    "image_taste": "Looks like your taste",
    "popular": "Liked by many",
    "trending": "Gaining lately",
    "new": "New here",
    "unproven": "Little known so far",
    "boost": "Promoted",
    "rules": "The shop's choice",
    "diversity": "Variety in this row",
}
"""Part of a score -> what it stands for, in words."""

MOST_PARTS = 6

LEAST_PART = 0.005
"""What is smaller is shown as 0."""

SIGNS = {"USD": "$", "EUR": "€", "GBP": "£", "JPY": "¥", "INR": "₹"}

WHOLE_UNITS = {"JPY", "KRW", "HUF"}

NAMED = re.compile(r"\*(.+)\*")
"""The item that a reason names."""


@dataclass(frozen=True)
class Bar:
    """A part of a score."""

    name: str
    value: float
    share: float
    """-1 to 1: its length beside the largest one."""


@dataclass(frozen=True)
class Card:
    """A suggested item, ready to be shown."""

    item: Item
    rank: int
    reason: Markup
    score: float
    bars: Sequence[Bar]

    @property
    def title(self) -> str:
        """The id of an item without a title."""
        return titled(self.item)

    @property
    def href(self) -> str:
        """Where it is shown by itself."""
        return address("/items/", self.item.id)

    @property
    def picture(self) -> str:
        """The address of its photo, or of its cover."""
        return address("/pictures/", self.item.id)

    @property
    def hue(self) -> int:
        """The family of its cover's colours."""
        return hue(self.item)


def cards(places: Sequence[Mapping[str, Any]], known: Mapping[ItemId, Item]) -> list[Card]:
    """places: of a slate, with their parts. Those not known, gone this very moment, are left out."""
    return [_card(place, known[place["item_id"]]) for place in places if place["item_id"] in known]


def address(folder: str, item_id: str) -> str:
    """Of something about an item."""
    return folder + quote(item_id, safe="")


def titled(item: Item) -> str:
    """The id of an item without a title."""
    return item.title or item.id


def hue(item: Item) -> int:
    """The family of colours that an item's cover has."""
    return hue_of(item.categories[0] if item.categories else titled(item))


def priced(item: Item) -> str:
    """A price in words; "" where none is known."""
    if item.price is None:
        return ""
    currency = (item.currency or "").upper()
    amount = f"{item.price:,.0f}" if currency in WHOLE_UNITS else f"{item.price:,.2f}"
    return SIGNS[currency] + amount if currency in SIGNS else f"{amount} {currency}".strip()


def signed(value: float) -> str:
    """A part of a score in words: +0.52."""
    return f"{value:+.2f}".replace("-", "\N{MINUS SIGN}")


def _card(place: Mapping[str, Any], item: Item) -> Card:
    return Card(
        item, place["rank"], _reason(place["reason"]), place["score"], _bars(place["parts"])
    )


def _reason(said: str) -> Markup:
    """`because you liked *Heat*`, as a sentence in which the item stands out."""
    safe = str(escape(said[:1].upper() + said[1:]))
    return Markup(NAMED.sub(r"<em>\1</em>", safe))  # noqa: S704  escaped the line above


def _bars(parts: Mapping[str, float]) -> list[Bar]:
    """The largest first."""
    telling = sorted(parts.items(), key=lambda part: -abs(part[1]))[:MOST_PARTS]
    telling = [(name, value) for name, value in telling if abs(value) >= LEAST_PART]
    most = max((abs(value) for _, value in telling), default=1.0)
    return [
        Bar(PARTS.get(name, name.replace("_", " ").capitalize()), value, value / most)
        for name, value in telling
    ]
