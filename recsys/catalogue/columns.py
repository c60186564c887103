"""Which column of a feed is which field: by well-known names, or as told.

A name is compared without case, spaces and punctuation: `movieId`, `movie_id` and `Movie ID` are one.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from recsys.errors import FeedError, InputError

Kind = Literal["items", "events"]

_ITEM_ID = (
    *("itemid", "item", "movieid", "productid", "parentasin", "asin", "sku", "articleid"),
    *("bookid", "isbn", "songid", "trackid", "videoid", "contentid"),
)

_ITEMS = {
    "id": ("id", *_ITEM_ID),
    "title": (
        *("title", "name", "productdisplayname", "producttitle", "productname"),
        *("itemtitle", "itemname", "movietitle", "booktitle", "headline"),
    ),
    "description": (
        *("description", "overview", "plot", "omdbplot", "tmdboverview", "summary", "synopsis"),
        *("abstract", "body", "productdescription", "detaildesc"),
    ),
    "categories": (
        *("categories", "category", "genres", "genre", "department", "maincategory"),
        *("mastercategory", "subcategory", "articletype", "producttype", "productcategory"),
    ),
    "brand": ("brand", "brandname", "manufacturer", "vendor", "store"),
    "price": ("price", "unitprice", "listprice"),
    "currency": ("currency", "currencycode", "pricecurrency"),
    "images": (
        *("images", "image", "imageurl", "imagelink", "imurl", "imageurlhighres"),
        *("poster", "posterurl", "picture", "photo"),
    ),
    "attributes": ("attributes",),
    "available": ("available", "availability", "instock", "isavailable"),
    "published_at": ("publishedat", "publicationdate", "releasedate", "launchdate"),
    "expires_at": ("expiresat", "expires", "expirationdate", "expirydate", "availableuntil"),
}

_EVENTS = {
    "event_id": ("eventid",),
    "user_id": (
        *("userid", "user", "reviewerid", "customerid", "customer", "visitorid", "memberid"),
        *("profileid", "uid", "username"),
    ),
    "session_id": ("sessionid", "session"),
    "item_id": _ITEM_ID,
    "type": ("type", "eventtype", "event", "action", "interaction", "behavior", "behaviour"),
    "value": ("value", "rating", "overall", "stars", "score"),
    "time": (
        *("time", "timestamp", "unixreviewtime", "datetime", "eventtime", "date", "createdat"),
        *("occurredat", "ts", "tdat"),
    ),
    "placement": ("placement",),
    "position": ("position",),
    "recommendation_id": ("recommendationid",),
}

KNOWN: Mapping[Kind, Mapping[str, tuple[str, ...]]] = {"items": _ITEMS, "events": _EVENTS}
"""Kind -> field -> names it goes by, the first found is taken."""

RATINGS = {"rating", "overall", "stars", "score"}
"""A value column of such a name makes its rows ratings."""

_SEVERAL = {"title", "description", "categories", "images"}
"""Fields that may come from several columns."""


@dataclass(frozen=True)
class Columns:
    """Where each field comes from."""

    fields: Mapping[str, tuple[str, ...]]
    rest: tuple[str, ...]
    """Columns that are no field: an item's attributes; of events, ignored."""

    @cached_property
    def has_ratings(self) -> bool:
        """Is the value column one of ratings, by its name?"""
        return any(normal(name) in RATINGS for name in self.fields.get("value", ()))


def parse_map(pairs: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """`FIELD=COLUMN` options -> field -> columns. `FIELD=` alone: the field comes from no column."""
    told: dict[str, tuple[str, ...]] = {}
    for pair in pairs:
        field, sign, column = pair.partition("=")
        if not field or not sign:
            raise InputError(f"--map {pair}: write it like --map title=productName")
        told[field] = (*told.get(field, ()), *([column] if column else []))
    return told


def find_columns(
    kind: Kind, columns: Sequence[str], told: Mapping[str, tuple[str, ...]]
) -> Columns:
    """Each field's columns: those told, else those known by name.

    Raises InputError for a field that does not exist, FeedError for a column that does not.
    """
    _check_told(kind, columns, told)
    free = [name for name in columns if not any(name in names for names in told.values())]
    fields = dict(told)
    for field in KNOWN[kind]:
        if field not in told:
            fields[field] = _known(kind, field, free)
            free = [name for name in free if name not in fields[field]]
    return Columns({field: names for field, names in fields.items() if names}, tuple(free))


def _known(kind: Kind, field: str, columns: Sequence[str]) -> tuple[str, ...]:
    """All columns of categories, of other fields the best one."""
    names = {normal(name): name for name in reversed(columns)}
    found = tuple(names[known] for known in KNOWN[kind][field] if known in names)
    return found if field == "categories" else found[:1]


def normal(name: str) -> str:
    """The name without case, spaces and punctuation."""
    return re.sub(r"[\W_]+", "", name).lower()


def _check_told(kind: Kind, columns: Sequence[str], told: Mapping[str, tuple[str, ...]]) -> None:
    for field, names in told.items():
        if field not in KNOWN[kind]:
            raise InputError(
                f"--map {field}=...: {kind} have no field {field!r}: one of {', '.join(KNOWN[kind])}"
            )
        if len(names) > 1 and field not in _SEVERAL:
            raise InputError(
                f"--map {field}=...: found {len(names)} columns, expected one "
                f"(several make a {', '.join(sorted(_SEVERAL))})"
            )
        for name in names:
            if name not in columns:
                raise FeedError(f"there is no column {name!r}; found: {', '.join(columns)}")
