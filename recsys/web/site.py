"""The pages as routes of the API's app, and what all of them have in common: headers, and how trouble is told."""

import logging
from collections.abc import Callable
from functools import cached_property, lru_cache
from typing import Any

from fastapi import FastAPI
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from recsys.embedding.pictures import Pictures
from recsys.errors import DatabaseError, NoSnapshot, RecsysError, UnknownItem
from recsys.serving.app import STATUS
from recsys.serving.slates import Services
from recsys.web.assets import Assets
from recsys.web.cards import PARTS, address, hue, priced, signed, titled
from recsys.web.people import Person, initials, people
from recsys.web.thumbnails import Thumbnails
from recsys.web.visitors import Visitor, remember, visitor

log = logging.getLogger(__name__)

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)

HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}

NO_DATABASE = "the database does not answer as it should; the log has the details"

FOREVER = "public, max-age=31536000, immutable"


class Site:
    """What the pages work with."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.assets = Assets("recsys.web", "/assets")
        self._people_of = lru_cache(1)(lambda _origin: self._people_now())
        self._templates = Environment(
            loader=PackageLoader("recsys.web"),
            autoescape=True,
            auto_reload=False,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.globals |= {
            "asset": self.assets.address,
            "address": address,
            "titled": titled,
            "priced": priced,
            "hue": hue,
            "signed": signed,
            "parts": PARTS,
            "initials": initials,
        }

    @cached_property
    def thumbnails(self) -> Thumbnails:
        """Pictures in the sizes that pages show."""
        settings = self.services.settings
        return Thumbnails(Pictures.of(settings), settings.home / "thumbnails")

    def page(
        self,
        request: Request,
        template: str,
        who: Visitor,
        status: int = 200,
        **said: Any,  # noqa: ANN401
    ) -> Response:
        """A page for this visitor, who is remembered."""
        text = self._templates.get_template(template).render(
            visitor=who, people=self._people(), searches_photos=self.searches_photos, **said
        )
        response = HTMLResponse(text, status, {"Cache-Control": "private, no-cache"})
        remember(who, request, response)
        return response

    @property
    def searches_photos(self) -> bool:
        """Whether there are pictures to compare a photo with."""
        try:
            spaces = self.services.live.served().recommender.spaces
        except RecsysError:
            return False
        return "image" in spaces and bool(spaces["image"].present.any())

    def _people(self) -> list[Person]:
        """Some whose eyes one may look with, as of when the snapshot was new; nobody where they cannot be read."""
        try:
            return self._people_of(self.services.live.served().manifest.origin)
        except RecsysError:
            return []

    def _people_now(self) -> list[Person]:
        return people(self.services.live.served(), self.services)


Making = Callable[[Site, Request], Response]
"""Makes what an address shows; may raise any RecsysError."""


def route(site: Site, path: str, make: Making, *methods: str) -> Route:
    """A route on which what goes wrong is told on a page as well."""

    def endpoint(request: Request) -> Response:
        try:
            response = make(site, request)
        except RecsysError as error:
            response = _trouble(site, request, error)
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    return Route(path, endpoint, methods=methods or ("GET",))


def site_of(application: FastAPI) -> Site:
    """The site over an app of the API."""
    services: Services = application.state.services
    return Site(services)


def asset(site: Site, request: Request) -> Response:
    """A file of `static/`."""
    return sent(site.assets, request) or missing(site, request)


def sent(assets: Assets, request: Request) -> Response | None:
    """The file that an address names, of whatever version: a page that was loaded before gets what there is now."""
    found = assets.get(request.path_params["name"])
    if found is None:
        return None
    known = request.path_params["version"] == assets.version
    return Response(
        found.content,
        headers={"Cache-Control": FOREVER if known else "no-cache"},
        media_type=found.kind,
    )


def missing(site: Site, request: Request) -> Response:
    """The page for an address where there is nothing."""
    return site.page(request, "missing.html", visitor(request), 404, what="page")


def _trouble(site: Site, request: Request, error: RecsysError) -> Response:
    status, _, wait = next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)
    who = visitor(request)
    match error:
        case UnknownItem():
            return site.page(request, "missing.html", who, 404, what="item")
        case NoSnapshot():
            response = site.page(request, "unbuilt.html", who, status)
        case _:
            log.warning("answered %d: %s", status, error)
            message = NO_DATABASE if isinstance(error, DatabaseError) else str(error)
            response = site.page(request, "trouble.html", who, status, message=message)
    if wait is not None:
        response.headers["Retry-After"] = str(wait)
    return response
