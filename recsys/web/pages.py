"""The pages: home, an item, its picture. Each is whole as it comes; scripts make it quicker to use."""

import logging
import re
from collections.abc import Awaitable, Callable
from hashlib import blake2b

from fastapi import FastAPI
from pydantic import TypeAdapter, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from recsys.catalogue.database import reading
from recsys.catalogue.items import Item, get_item
from recsys.errors import ContentError, EncoderError, EncoderLoading, SnapshotError, UnknownItem
from recsys.serving.addresses import ItemPath
from recsys.serving.app import refusal
from recsys.web.cards import titled
from recsys.web.covers import cover
from recsys.web.rows import found_row, home_rows, similar_row, tabs_of
from recsys.web.site import HEADERS, Site, asset, missing, route, site_of
from recsys.web.thumbnails import SIDES
from recsys.web.visitors import newcomer, remember, visitor

log = logging.getLogger(__name__)

FACTS = 10
"""Attributes that the page of an item shows."""

LONGEST_SEARCH = 500
"""Characters."""

LONGEST_FACT = 60
"""Characters of such an attribute."""

HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")

FOR_AN_HOUR = "public, max-age=3600"

_ID = TypeAdapter[str](ItemPath)


def add_pages(application: FastAPI) -> None:
    """Serve the widget beside the API, and the storefront where the settings want it."""
    site = site_of(application)
    routes = [route(site, "/widget.js", widget), route(site, "/pictures/{item_id:path}", picture)]
    if site.services.settings.serving.pages:
        routes += [
            route(site, "/", home),
            route(site, "/search", search),
            route(site, "/items/{item_id:path}", product),
            route(site, "/assets/{version}/{name}", asset),
            Route("/viewer", switch, methods=["POST"]),
        ]
        application.add_exception_handler(404, _nowhere(site))
    application.router.routes.extend(routes)


def _nowhere(site: Site) -> Callable[[Request, Exception], Awaitable[Response]]:
    """Answers where there is nothing: browsers with a page, programs as the API does."""

    async def answer(request: Request, error: Exception) -> Response:
        if request.method != "GET" or "text/html" not in request.headers.get("accept", ""):
            return await refusal(request, error)
        response = await run_in_threadpool(missing, site, request)
        response.headers.update(HEADERS)
        return response

    return answer


def widget(site: Site, request: Request) -> Response:
    """The script that other pages load: always at this address, so it is asked for again after an hour."""
    found = site.assets.get("widget.js")
    assert found is not None, "it is one of ours"
    return _sent(request, site.assets.version, found.kind, lambda: found.content)


async def switch(request: Request) -> Response:
    """Look at the shop as the user whose id a form brings; without one, as a newcomer whom nobody has seen before."""
    response = RedirectResponse("/", 303, HEADERS)
    if request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
        return response  # a form of another site
    async with request.form(max_files=0, max_fields=2) as form:
        user_id = form.get("user_id")
    remember(newcomer(user_id if isinstance(user_id, str) else ""), request, response)
    return response


def home(site: Site, request: Request) -> Response:
    """What this visitor may like."""
    who, within = visitor(request), site.services
    served = within.live.served()
    rows = home_rows(who, served, within)
    return site.page(request, "home.html", who, rows=rows)


def product(site: Site, request: Request) -> Response:
    """One item, and what is similar to it in each of the ways there are."""
    who, within, item = visitor(request), site.services, _item(site, request)
    try:
        tabs = tabs_of(item, within.live.served())
    except SnapshotError:
        tabs = []
    found = [(tab, similar_row(item, tab, who, within)) for tab in tabs]
    rows = [(tab, row) for tab, row in found if row]
    asked = request.query_params.get("by")
    chosen = asked if asked in {tab.by for tab, _ in rows} else rows[0][0].by if rows else ""
    return site.page(
        request, "product.html", who, item=item, facts=_facts(item), rows=rows, chosen=chosen
    )


def search(site: Site, request: Request) -> Response:
    """What is found by words; what stands in the way of it is told in their place."""
    who, words = visitor(request), request.query_params.get("q", "").strip()[:LONGEST_SEARCH]
    site.services.live.served()
    row, trouble, status = None, "", 200
    if words:
        try:
            row = found_row(words, who, site.services)
        except EncoderError as error:
            log.warning("a search failed: %s", error)
            trouble, status = _in_the_way(error), 503
    shown = row if row and row.cards else None
    return site.page(request, "search.html", who, status, words=words, row=shown, trouble=trouble)


def _in_the_way(error: EncoderError) -> str:
    """For whoever searches; the log has what operators have to know."""
    if isinstance(error, EncoderLoading):
        return "Search is just getting ready: try again in a few seconds."
    return "This shop cannot be searched by words at the moment."


def picture(site: Site, request: Request) -> Response:
    """An item's first picture as a thumbnail; a cover where there is none that can be shown."""
    item = _item(site, request)
    size = request.query_params.get("size", "card")
    photo = _photo(site, request, item, size if size in SIDES else "card")
    return photo or _drawn(request, item)


def _photo(site: Site, request: Request, item: Item, size: str) -> Response | None:
    if not item.images:
        return None
    location = item.images[0]
    try:
        key = site.thumbnails.key(location, size)
        return _sent(request, key, "image/webp", lambda: site.thumbnails.webp(location, size, key))
    except ContentError:
        return None


def _drawn(request: Request, item: Item) -> Response:
    drawn = cover(titled(item), item.categories[0] if item.categories else "").encode()
    key = blake2b(drawn, digest_size=16).hexdigest()
    return _sent(request, key, "image/svg+xml", lambda: drawn)


def _sent(request: Request, key: str, kind: str, content: Callable[[], bytes]) -> Response:
    """Under this key a browser keeps it; one that has it is sent nothing."""
    headers = {"Cache-Control": FOR_AN_HOUR, "ETag": f'"{key}"'}
    if f'"{key}"' in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(content(), headers=headers, media_type=kind)


def _item(site: Site, request: Request) -> Item:
    """Raises UnknownItem."""
    try:
        item_id = _ID.validate_python(request.path_params["item_id"])
    except ValidationError:
        raise UnknownItem("there is no such item: its id is malformed") from None
    with reading(site.services.engine) as connection:
        item = get_item(connection, item_id)
    if item is None:
        raise UnknownItem(f"there is no item {item_id!r}")
    return item


def _facts(item: Item) -> list[tuple[str, str]]:
    """Attributes that can be said in few words, in the order given."""
    told = [(_in_words(name), _said(value)) for name, value in item.attributes.items()]
    return [(name, value) for name, value in told if 0 < len(value) <= LONGEST_FACT][:FACTS]


def _in_words(name: str) -> str:
    """`baseColour` and `base_colour` are both called base colour."""
    return HUMP.sub(" ", name).replace("_", " ").lower()


def _said(value: object) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case str() | int():
            return str(value)
        case float():
            return f"{value:g}"
        case list():
            return ", ".join(_said(part) for part in value)
        case _:
            return ""
