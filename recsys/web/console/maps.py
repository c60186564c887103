"""The map: its page, its points, and what is said of one of them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response

from recsys.catalogue.item_table import ItemTable, as_numpy
from recsys.errors import EncoderError, NoSnapshot, QueryError, Superseded
from recsys.identity import ABSENT, NOTHING, Mask, Ordinals
from recsys.mapping.ground import Kind
from recsys.serving.live import Served
from recsys.serving.slates import Services, known
from recsys.web.cards import address
from recsys.web.console.admission import FOLDER
from recsys.web.console.site import Console, Making

PATH = f"{FOLDER}/map"

NAMES = {"text": "Text", "image": "Pictures", "taste": "Taste"}

MEANS = {
    "text": "Items that read alike lie near one another.",
    "image": "Items that look alike lie near one another.",
    "taste": "Items that the same people like lie near one another.",
}

LACKS = {
    "text": "the others have no text",
    "image": "the others have no picture",
    "taste": "nobody has liked the others",
}

AT_ONCE = 50
"""Items of which something is asked."""

HIGHLIGHTED, NEAREST = 2_000, 30
"""Items that a search shows: by their titles, and where none fits by what they say."""

LONGEST = 200
"""Characters of a search."""


class Entry(NamedTuple):
    """A line of the legend."""

    name: str
    """"" for all categories that have no colour of their own."""
    size: int


def show(console: Console, request: Request, _: FormData) -> Response:
    """The page; it is whole but for the points."""
    try:
        served = console.services.live.served()
    except NoSnapshot as error:
        return console.page(request, "map.html", about=None, kinds=[], names=NAMES, why=str(error))
    kinds = console.atlas.kinds(served)
    asked = request.query_params.get("space", kinds[0] if kinds else "")
    if asked not in kinds:
        why = f"there is no map of {asked!r} in this snapshot" if asked else _nothing(served)
        return console.page(request, "map.html", about=None, kinds=kinds, names=NAMES, why=why)
    return console.page(
        request,
        "map.html",
        about=_about(console, served, asked),
        kinds=kinds,
        names=NAMES,
        why="",
    )


def points(console: Console, request: Request, _: FormData) -> Response:
    """All points of a map (see atlas.py), as it is now."""
    served, kind = _asked(console, request)
    found = console.atlas.points(served, kind)
    headers = {"Cache-Control": "private, no-cache", "ETag": found.tag, "Vary": "Accept-Encoding"}
    if request.headers.get("if-none-match") == found.tag:
        return Response(status_code=304, headers=headers)
    packs = "gzip" in request.headers.get("accept-encoding", "")
    return Response(
        found.packed if packs else found.body,
        headers=headers | ({"Content-Encoding": "gzip"} if packs else {}),
        media_type="application/octet-stream",
    )


def state(console: Console, request: Request, _: FormData) -> Response:
    """Whether the layout is there, and how long it took."""
    served, kind = _asked(console, request)
    now = console.atlas.mapper.state(served.manifest.origin, kind)
    seconds = console.atlas.points(served, kind).seconds
    return _json({"state": now, "seconds": seconds})


def items(console: Console, request: Request, _: FormData) -> Response:
    """What a card says of each of some points."""
    served, _kind = _asked(console, request)
    table = served.recommender.items
    asked = request.query_params.get("at", "").split(",")[:AT_ONCE]
    told = [one for one in asked if one.isdecimal() and len(one) <= len(str(len(table)))]
    places = [place for place in map(int, told) if place < len(table)]
    return _json(_cards(table, np.array(places, dtype=np.int64)))


def search(console: Console, request: Request, _: FormData) -> Response:
    """Points whose title holds every word; where there is none, those that say the nearest."""
    served, _kind = _asked(console, request)
    words = request.query_params.get("q", "").strip()[:LONGEST]
    titled = _titled(served, words)
    if len(titled) or not words:
        return _json({"by": "title", "count": len(titled), "at": titled[:HIGHLIGHTED].tolist()})
    near = _meant(words, served, console.services)
    return _json({"by": "meaning", "count": len(near), "at": near.tolist()})


ROUTES: Sequence[tuple[str, Making, Sequence[str]]] = (
    (PATH, show, ("GET",)),
    (f"{PATH}/points", points, ("GET",)),
    (f"{PATH}/state", state, ("GET",)),
    (f"{PATH}/items", items, ("GET",)),
    (f"{PATH}/search", search, ("GET",)),
)


def _about(console: Console, served: Served, kind: Kind) -> dict[str, Any]:
    state = console.atlas.state(served, kind)
    found = console.atlas.points(served, kind)
    entries = [Entry(*one) for one in zip((*found.colouring.names, ""), found.sizes, strict=True)]
    return {
        "kind": kind,
        "means": MEANS[kind],
        "lacks": LACKS[kind],
        "state": state,
        "seconds": found.seconds,
        "origin": served.manifest.origin,
        "count": int(found.there.sum()),
        "of": len(found.there),
        "withdrawn": found.withdrawn,
        "legend": entries if entries[-1].size else entries[:-1],
    }


def _nothing(served: Served) -> str:
    return (
        f"snapshot {served.manifest.id} knows no texts, no pictures and no tastes to draw a map of"
    )


def _asked(console: Console, request: Request) -> tuple[Served, Kind]:
    """What a script of the page asks about. Raises Superseded where the items have other numbers by now."""
    served, asked = console.services.live.served(), request.query_params
    if asked.get("origin") != served.manifest.origin:
        raise Superseded("another snapshot is served by now: load the page anew")
    kind = asked.get("space", "")
    if kind not in console.atlas.kinds(served):
        raise QueryError(f"space: {kind!r} is none of this snapshot's")
    return served, kind


def _cards(table: ItemTable, places: Ordinals) -> list[dict[str, Any]]:
    lists = table.data["categories"].take(pa.array(places, pa.int64())).to_pylist()
    told = zip(table.id_texts.of(places), table.titles(places), lists, strict=True)
    return [
        {
            "title": title,
            "categories": categories,
            "picture": address("/pictures/", key),
            "href": address(f"{FOLDER}/items/", key),
        }
        for key, title, categories in told
    ]


def _titled(served: Served, words: str) -> Ordinals:
    """Items whose title holds all of these words, or whose id is this one."""
    table = served.recommender.items
    if not words:
        return NOTHING
    column: Any = table.data["title"].combine_chunks()
    holds: Mask = np.ones(len(table), dtype=bool)
    for word in words.split():
        there = pc.fill_null(pc.match_substring(column, word, ignore_case=True), False)
        holds &= as_numpy(there)
    holds[known(served, [words])] = True
    found: Ordinals = np.flatnonzero(holds)
    return found


def _meant(words: str, served: Served, within: Services) -> Ordinals:
    """The items whose text is nearest, best first; none where texts cannot be searched now."""
    spaces = served.recommender.spaces
    if "text" not in spaces:
        return NOTHING
    try:
        sought = within.searching.sought(spaces, "text", words, None, None, ())
    except EncoderError:
        return NOTHING
    found = spaces["text"].search(sought["text"][None], NEAREST).ordinals[0]
    return np.asarray(found[found != ABSENT])


def _json(content: object) -> Response:
    return Response(orjson.dumps(content), media_type="application/json")
