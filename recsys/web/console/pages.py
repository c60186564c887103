"""The routes of the console."""

from fastapi import FastAPI
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response

from recsys.web.console import (
    evaluation,
    items,
    maps,
    overview,
    rules,
    settings,
    signing,
    snapshots,
    users,
)
from recsys.web.console.admission import FOLDER
from recsys.web.console.plotly import PATH
from recsys.web.console.site import Console, console_of, route
from recsys.web.site import sent

POST = ("POST",)

SHOWN = (overview, snapshots, evaluation, users, items, maps, rules, settings)
"""In the order of the menu."""


def add_console(application: FastAPI) -> None:
    """Serve the console beside the API."""
    console = console_of(application)
    application.router.routes.extend(
        [
            route(console, f"{FOLDER}/assets/{{version}}/{{name}}", asset, to_all=True),
            route(console, f"{PATH}/{{version}}.js", plotly, to_all=True),
            route(console, f"{FOLDER}/sign-in", signing.show, to_all=True),
            route(console, f"{FOLDER}/sign-in", signing.enter, POST, to_all=True),
            route(console, f"{FOLDER}/sign-out", signing.leave, POST, to_all=True),
            *(
                route(console, path, make, methods)
                for page in SHOWN
                for path, make, methods in page.ROUTES
            ),
            route(console, f"{FOLDER}/{{path:path}}", missing, ("GET", "POST")),
        ]
    )


def asset(console: Console, request: Request, form: FormData) -> Response:
    """A file of `static/`."""
    return sent(console.assets, request) or missing(console, request, form)


def plotly(console: Console, request: Request, _: FormData) -> Response:
    """The script that draws plots."""
    return console.plotly.sent(request)


def missing(console: Console, request: Request, _: FormData) -> Response:
    """The page for an address where there is nothing."""
    return console.page(request, "missing.html", 404)
