"""What the pages of the console have in common: who may see them, how forms are read, how trouble is told."""

import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

from fastapi import FastAPI
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from recsys.errors import DatabaseError, RecsysError
from recsys.evaluation.words import source_name
from recsys.serving.admin import key_of
from recsys.serving.app import STATUS
from recsys.serving.slates import Services
from recsys.web.assets import Assets
from recsys.web.cards import address, hue, priced, signed, titled
from recsys.web.console.admission import FOLDER, is_admitted
from recsys.web.console.atlas import Atlas
from recsys.web.console.plotly import Plotly
from recsys.web.console.words import ago, counted, moment, share, typeset
from recsys.web.site import HEADERS, NO_DATABASE, POLICY

log = logging.getLogger(__name__)

NOTHING = "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='"
"""The hash of an empty text."""

DRAWN = HEADERS | {
    "Content-Security-Policy": POLICY.replace("style-src 'self'", f"style-src 'self' {NOTHING}"),
    "Cache-Control": "no-store",
}
"""Plotly begins with an empty style sheet."""

SAID = "recsys_said"
"""Cookie: what the next page is to say first, once."""

LONGEST_ASKED = 512
"""Characters of a search, or of an id."""

FIELDS = 200
"""Of a form, at most."""

READS = frozenset({"GET", "HEAD"})
"""Methods that change nothing."""


class Page(NamedTuple):
    """An entry of the menu."""

    path: str
    name: str


PAGES = (
    Page("/console", "Overview"),
    Page("/console/snapshots", "Snapshots"),
    Page("/console/evaluation", "Evaluation"),
    Page("/console/users", "Users"),
    Page("/console/items", "Items"),
    Page("/console/map", "Map"),
    Page("/console/rules", "Rules"),
    Page("/console/settings", "Settings"),
)


class Console:
    """What the pages work with."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.assets = Assets("recsys.web.console", f"{FOLDER}/assets")
        self.plotly = Plotly()
        self.atlas = Atlas(services.settings.home)
        self._templates = Environment(
            loader=PackageLoader("recsys.web.console"),
            autoescape=True,
            auto_reload=False,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters["zip"] = zip
        self._templates.globals |= {
            "asset": self.assets.address,
            "plotly": self.plotly,
            "pages": PAGES,
            "address": address,
            "titled": titled,
            "priced": priced,
            "hue": hue,
            "signed": signed,
            "ago": ago,
            "moment": moment,
            "counted": counted,
            "source_name": source_name,
            "typeset": typeset,
            "share": share,
        }

    def page(
        self,
        request: Request,
        template: str,
        status: int = 200,
        **given: Any,  # noqa: ANN401
    ) -> Response:
        """A page; what an action before it had to say stands on top."""
        said = unquote(request.cookies.get(SAID, ""))
        response = self.part(request, template, status, said=said, **given)
        if said:
            response.delete_cookie(SAID, path=FOLDER)
        return response

    def part(
        self,
        request: Request,
        template: str,
        status: int = 200,
        **given: Any,  # noqa: ANN401
    ) -> Response:
        """A part of a page, for one that is there already; or a page that has nothing to say of before."""
        about = {"path": request.url.path, "has_key": bool(key_of(request)), "said": ""}
        about |= {"now": datetime.now(UTC)} | given
        return HTMLResponse(self._templates.get_template(template).render(about), status)

    def back(self, path: str, said: str = "") -> Response:
        """After an action: to this page, which says what came of it."""
        response = RedirectResponse(path, 303)
        if said:
            response.set_cookie(
                SAID, quote(said), 60, path=FOLDER, httponly=True, samesite="strict"
            )
        return response


NO_FILE = "a file of the home folder cannot be read or written"

Making = Callable[[Console, Request, FormData], Response]
"""Makes what an address shows, in a thread; may raise any RecsysError. The form of a GET is empty."""


def console_of(application: FastAPI) -> Console:
    """The console over an app of the API."""
    services: Services = application.state.services
    return Console(services)


def route(
    console: Console,
    path: str,
    make: Making,
    methods: Sequence[str] = ("GET",),
    to_all: bool = False,
) -> Route:
    """A route for those who are admitted; to_all: for everybody."""

    async def endpoint(request: Request) -> Response:
        response = await _answer(request)
        for name, value in DRAWN.items():
            response.headers.setdefault(name, value)
        return response

    async def _answer(request: Request) -> Response:
        if not (to_all or is_admitted(request)):
            return _refused(console, request)
        if request.method in READS:
            return await run_in_threadpool(_made, request, FormData())
        if not _is_ours(request):
            return _told(console, request, 403, "this form was sent by another site")
        try:
            async with request.form(max_files=0, max_fields=FIELDS) as form:
                return await run_in_threadpool(_made, request, form)
        except HTTPException as error:
            message = f"this form cannot be read: {error.detail.rstrip('.')}"
            return _told(console, request, error.status_code, message)

    def _made(request: Request, form: FormData) -> Response:
        try:
            return make(console, request, form)
        except RecsysError as error:
            return _trouble(console, request, error)
        except OSError as error:
            log.exception(NO_FILE)
            message = f"{NO_FILE} ({error.strerror or error}); the log has the details"
            return _told(console, request, 500, message)

    return Route(path, endpoint, methods=list(methods))


def field(form: FormData, name: str) -> str:
    """What was put into a field of a form; "" where nothing was, and for what is no text in any encoding."""
    found = form.get(name)
    return found.strip() if isinstance(found, str) and is_text(found) else ""


def asked(request: Request, name: str) -> str:
    """What an address asks for by this name; "" where by none. NUL becomes the sign for what cannot be read.

    No id and no title holds one, and PostgreSQL refuses to look for it.
    """
    found = request.query_params.get(name, "").replace("\0", "\N{REPLACEMENT CHARACTER}")
    return found.strip()[:LONGEST_ASKED]


def is_text(found: str) -> bool:
    """Whether it can be written down: half a character, as some encodings let one say, cannot."""
    return not any("\ud800" <= character <= "\udfff" for character in found)


def _is_ours(request: Request) -> bool:
    """Whether a form is of one of our own pages. Programs that are no browsers name no site."""
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is not None:
        return site == "same-origin"
    return origin is None or origin == f"{request.url.scheme}://{request.url.netloc}"


def _refused(console: Console, request: Request) -> Response:
    if key_of(request):
        mode = request.headers.get("sec-fetch-mode")
        if request.method in READS and mode in {None, "navigate"}:
            path = quote(request.url.path, safe="/")
            return RedirectResponse(f"{FOLDER}/sign-in?next={path}", 303)
        return console.page(request, "sign_in.html", 401, next=FOLDER, wrong=False)
    return console.page(request, "closed.html", 403)


def _trouble(console: Console, request: Request, error: RecsysError) -> Response:
    status = next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)[0]
    if status >= 500:
        log.warning("answered %d: %s", status, error)
    message = NO_DATABASE if isinstance(error, DatabaseError) else str(error)
    return _told(console, request, status, message)


def _told(console: Console, request: Request, status: int, message: str) -> Response:
    """What is in the way. Who sent a form cannot try again by a link."""
    again = request.method in READS
    return console.page(request, "trouble.html", status, message=message, again=again)
