"""The app: everything wired together, and the one place where errors become status codes."""

import logging
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any
from uuid import uuid4

from anyio.to_thread import run_sync
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException as HTTPError
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from recsys.catalogue.database import check_schema, connect
from recsys.catalogue.histories import Histories
from recsys.config import Settings
from recsys.errors import (
    DatabaseError,
    EncoderError,
    EncoderLoading,
    InputError,
    NoSnapshot,
    RecsysError,
    SnapshotError,
    UnknownItem,
    UnknownRule,
)
from recsys.serving import intake, operations, routes, rules
from recsys.serving.addresses import as_sent
from recsys.serving.asking import Asking
from recsys.serving.encoding import Beside, Encoding
from recsys.serving.live import Live
from recsys.serving.metrics import Metrics
from recsys.serving.problems import INVALID, error_body, explained
from recsys.serving.pulse import Pulse
from recsys.serving.searching import Searching
from recsys.serving.slates import Services, as_json
from recsys.serving.uploads import SCHEMAS

log = logging.getLogger(__name__)

LARGEST_BODY = 16 * 2**20
"""Bytes."""

BUSY_SECONDS = 3
"""How long a write waits for another process that writes to SQLite."""

STATUS: dict[type[RecsysError], tuple[int, str, int | None]] = {
    UnknownItem: (404, "unknown_item", None),
    UnknownRule: (404, "unknown_rule", None),
    InputError: (422, "invalid_request", None),
    DatabaseError: (503, "database_unavailable", 1),
    NoSnapshot: (503, "no_snapshot", 5),
    SnapshotError: (503, "snapshot_unusable", 5),
    EncoderLoading: (503, "search_unavailable", 5),
    EncoderError: (503, "search_unavailable", None),
    RecsysError: (500, "internal", None),
}
"""Error -> status, type in the body, seconds to wait before trying again; the nearest class counts."""

HTTP_TYPES = {
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    410: "cursor_gone",
    413: "too_large",
    503: "busy",
}

EVENTS = "/v1/events"

CORS = (("GET", "POST"), ("Content-Type",))
"""Methods and headers of the requests that the widget makes from pages of other origins."""

PARTS = (routes, intake, rules, operations)

TAGS = [
    {"name": "Slates", "description": "Recommendations, each with its score and its reason."},
    {
        "name": "Items",
        "description": "The catalogue. Slates hide what is withdrawn at once, and know the rest within seconds.",
    },
    {"name": "Events", "description": "What people do. It counts in the very next request."},
    {
        "name": "Rules",
        "description": "What merchandisers boost, bury, pin or exclude. For those who know `serving.admin_key`.",
    },
    {"name": "Operations", "description": "For those who run it."},
]


def create_app(settings: Settings, encoding: Encoding | None = None) -> FastAPI:
    """The API over one database and one home folder. encoding: None keeps the encoders in this process.

    Raises DatabaseError when the database does not answer or has another schema. Starts without a
    snapshot: `/health/ready` then says why, and slates begin with the first one published.
    """
    engine = connect(settings, BUSY_SECONDS)
    check_schema(engine)
    metrics = Metrics()
    encoding = encoding or Beside(settings.embedding, settings.home / "vectors")
    searching = Searching(settings.embedding, encoding)
    live = Live(engine, settings, searching, metrics)
    pulse = Pulse(metrics)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await run_sync(live.start)
        if settings.serving.console:
            await run_sync(pulse.start)
        yield
        if settings.serving.console:
            await run_sync(pulse.stop)
        await run_sync(live.stop)
        engine.dispose()

    app = Api(
        metrics,
        settings.serving.widget_origins,
        title="recsys",
        version=version("recsys"),
        summary="Recommendations from texts, pictures and behaviour, each with its reason.",
        docs_url=None,  # these pages load scripts from a CDN
        redoc_url=None,
        redirect_slashes=False,  # an id may end in a slash
        lifespan=lifespan,
        responses=INVALID,
        openapi_tags=TAGS,
    )
    app.state.services = Services(
        settings, engine, live, searching, metrics, Histories(engine), pulse
    )
    return app


class Api(FastAPI):
    """Hands what asks for a slate straight to its route.

    The layers that FastAPI lays around each request, and its search for the route, take half as long as the ranking.
    """

    def __init__(
        self,
        metrics: Metrics,
        origins: Sequence[str],
        **about: Any,  # noqa: ANN401  FastAPI's own
    ) -> None:
        """origins: of the pages that may show the widget."""
        super().__init__(**about)
        for part in PARTS:  # `include_router` would have each request looked up twice
            self.router.routes.extend(part.router.routes)
        asking = (route for route in self.router.routes if isinstance(route, Asking))
        self._slates = [route for route in asking if route.by_address]
        self._straight = Edge(_to_its_route, metrics)
        self._from_elsewhere = CORSMiddleware(self._answer, origins, *CORS) if origins else None
        self.add_middleware(Edge, metrics=metrics)
        for kind in (RequestValidationError, HTTPError):  # FastAPI has answers of its own to these
            self.add_exception_handler(kind, refusal)

    def openapi(self) -> dict[str, Any]:
        """The document at /openapi.json."""
        document = super().openapi()
        document["components"]["schemas"] |= SCHEMAS
        return document

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "http":
            scope["path"] = as_sent(scope)
            if self._from_elsewhere and self._is_for_widgets(scope["path"]):
                await self._from_elsewhere(scope, receive, send)
                return
        await self._answer(scope, receive, send)

    def _is_for_widgets(self, path: str) -> bool:
        """Whether the widget asks this address: the lists and slates, and where events go."""
        return path == EVENTS or any(route.path_regex.match(path) for route in self._slates)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            for route in self._slates:
                if route.takes(scope):
                    scope["app"] = self
                    await self._straight(scope, receive, send)
                    return
        await super().__call__(scope, receive, send)


async def _to_its_route(scope: Scope, receive: Receive, send: Send) -> None:
    await scope["route"].handle(scope, receive, send)


class Edge:
    """Around every request: bounds its body, counts it, and answers for what goes wrong."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and watch it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 0

        async def watched(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self._app(scope, _bounded(receive), watched)
        except Exception as error:
            if status:
                raise
            response = await refusal(Request(scope), error)
            await response(scope, receive, watched)
        finally:
            route = getattr(scope.get("route"), "path_format", "none")
            self._metrics.answered(scope["method"], route, status, time.perf_counter() - began)


def _bounded(receive: Receive) -> Receive:
    """Raises HTTPException once more than `LARGEST_BODY` has come in."""
    size = 0

    async def bounded() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > LARGEST_BODY:
            raise HTTPException(
                413, f"the body is larger than {LARGEST_BODY:,} bytes: send it in several calls"
            )
        return message

    return bounded


async def refusal(request: Request, error: Exception) -> Response:
    """What is answered where something went wrong. Call in an exception handler."""
    match error:
        case RecsysError():
            return _domain_error(error)
        case RequestValidationError():
            message, fields = explained(error.errors(), request.headers.get("content-type", "none"))
            return as_json(error_body("invalid_request", message, fields), 422)
        case HTTPError():
            return _http_error(request, error)
        case _:
            return _unexpected(request)


def _unexpected(request: Request) -> Response:
    """The log has what happened, under the id in the answer."""
    reference = uuid4().hex
    log.exception("internal error %s in %s %s", reference, request.method, request.scope["path"])
    message = "something went wrong here; the log has the details under this id"
    return as_json(error_body("internal", message, reference=reference), 500)


def _domain_error(error: RecsysError) -> Response:
    status, kind, wait = next(STATUS[c] for c in type(error).__mro__ if c in STATUS)
    if status >= 500:
        log.warning("answered %d: %s", status, error)
    message = str(error)
    if isinstance(error, DatabaseError):
        message = "the database does not answer as it should: try again; the log has the details"
    response = as_json(error_body(kind, message), status)
    if wait is not None:
        response.headers["Retry-After"] = str(wait)
    return response


def _http_error(request: Request, error: HTTPError) -> Response:
    status, path = error.status_code, request.scope["path"]
    headers, message = dict(error.headers or {}), error.detail
    if status == 404:
        message = f"there is nothing at {path}: /openapi.json lists every address"
    elif status == 405:
        headers["Allow"] = ", ".join(_methods(path)) or headers.get("Allow", "")  # of a page
        message = f"{path} does not take {request.method}; it takes {headers['Allow']}"
    body = error_body(HTTP_TYPES.get(status, "invalid_request"), message)
    response = as_json(body, status)
    response.headers.update(headers)
    return response


def _methods(path: str) -> list[str]:
    """What this address takes: several routes share it, and the router names the first one's only."""
    found = (route for part in PARTS for route in part.router.routes if isinstance(route, APIRoute))
    return sorted(
        {m for route in found if route.path_regex.match(path) for m in route.methods or ()}
    )
