"""A storefront that runs, and a window of a real browser on it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from apis import running
from axe_playwright_python.sync_playwright import Axe
from fastapi import FastAPI
from PIL import Image, ImageDraw
from playwright.sync_api import Page, Request
from sqlalchemy import Engine

from recsys.catalogue.database import connect, migrate
from recsys.config import Settings
from recsys.serving.app import create_app
from recsys.web.console.pages import add_console
from recsys.web.pages import add_pages

SCREENSHOTS = Path(__file__).resolve().parents[1] / "build" / "screenshots"

SIZES = {"phone": (390, 844), "desktop": (1280, 900)}

COLOURS = {"Crime": "firebrick", "Family": "gold", "Space": "midnightblue"}

SERIOUS = {"serious", "critical"}

SHIFTS = """() => new Promise((resolve) => {
  let sum = 0;
  new PerformanceObserver((list) => {
    for (const one of list.getEntries()) if (!one.hadRecentInput) sum += one.value;
  }).observe({ type: "layout-shift", buffered: true });
  setTimeout(() => resolve(sum), 300);
})"""
"""How much of the page has moved since it was loaded, unasked."""


@dataclass(frozen=True)
class Shop:
    """A running storefront."""

    url: str
    client: httpx.Client
    engine: Engine
    settings: Settings

    def events(self, user_id: str) -> list[dict[str, Any]]:
        """What is stored of a user, newest first."""
        found: list[dict[str, Any]] = self.client.get(f"/v1/users/{user_id}/events").json()[
            "events"
        ]
        return found


def with_pages(settings: Settings) -> FastAPI:
    application = create_app(settings)
    add_pages(application)
    add_console(application)
    return application


def photo_of(key: str, genre: str) -> Image.Image:
    """In the colour of its genre, with a shape of its own."""
    image = Image.new("RGB", (300, 360), COLOURS[genre])
    draw = ImageDraw.Draw(image)
    n = sum(key.encode())
    draw.ellipse((30 + n % 90, 40 + n % 70, 190 + n % 90, 210 + n % 110), fill="white")
    draw.rectangle((20 + n % 50, 250, 120 + n % 150, 320), fill="black")
    return image


@contextmanager
def opened(settings: Settings) -> Iterator[Shop]:
    engine = connect(settings)
    migrate(engine)
    with running(settings, with_pages) as client:
        yield Shop(str(client.base_url).rstrip("/"), client, engine, settings)
    engine.dispose()


@dataclass
class Visit:
    """A browser's window on a page, and what went wrong in it."""

    page: Page
    size: str
    dark: bool
    wrong: list[str] = field(default_factory=list)

    def watch(self) -> None:
        self.page.on("console", lambda said: self._said(said.type, said.text))
        self.page.on("pageerror", lambda error: self.wrong.append(f"raised: {error}"))
        self.page.on("requestfailed", self._lost)
        self.page.on(
            "response",
            lambda got: got.status >= 400 and self.wrong.append(f"{got.status}: {got.url}"),
        )

    def _lost(self, request: Request) -> None:
        if request.failure != "net::ERR_ABORTED":  # the page was left meanwhile
            self.wrong.append(f"failed: {request.url}")

    def _said(self, kind: str, text: str) -> None:
        if kind in {"error", "warning"}:
            self.wrong.append(f"console: {text}")

    def show(self, name: str) -> None:
        """Keep what is seen, and see that it stays where it is."""
        self.page.wait_for_load_state("networkidle")
        shade = "dark" if self.dark else "light"
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        path = SCREENSHOTS / f"{name}-{self.size}-{shade}.png"
        self.page.screenshot(path=path, animations="disabled")
        assert self.page.evaluate(SHIFTS) < 0.01

    def forgive(self, status: str) -> None:
        """An answer with this status was asked for; the browser's own remark about it as well."""
        assert any(status in told for told in self.wrong)
        self.wrong = [told for told in self.wrong if status not in told]

    def barriers(self) -> list[str]:
        """What keeps people out, as axe-core finds it: serious and critical problems, and where they are."""
        found = Axe().run(self.page).response["violations"]
        return [
            f"{one['id']}: {node['html'][:160]}"
            for one in found
            if one["impact"] in SERIOUS
            for node in one["nodes"]
        ]


Browse = Callable[..., Visit]
"""`browse(url, size="phone", dark=True)`."""
