"""The storefront in a real browser, over the small world with photos and the encoders that come along.

shop       built and served once for all: visitors are strangers to each other
unbuilt    a shop without a snapshot
browse     opens a page at a phone's or a desktop's size, and sees to it that nothing went wrong on it

Chromium is the system's own. What it shows is kept in `build/screenshots`.
"""

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import worlds
from photos import file_of
from playwright.sync_api import Browser, sync_playwright
from storefronts import SIZES, Browse, Shop, Visit, opened, photo_of

from recsys.catalogue.database import connect, migrate
from recsys.config import EmbeddingSettings, PreferenceSettings, ServingSettings, Settings
from recsys.rebuild import rebuild

OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


class Quiet:
    """Progress that nobody watches."""

    def task(self, _name: str, _total: int | None = None) -> Callable[[int], None]:
        return lambda _: None


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    home = tmp_path_factory.mktemp("storefront")
    photos = home / "photos"
    photos.mkdir()
    for item in worlds.films():
        if item.images:
            genre = item.categories[0]
            (photos / item.images[0]).write_bytes(file_of(photo_of(item.id, genre), "JPEG"))
    settings = Settings(
        home=home,
        embedding=EmbeddingSettings(image_root=photos),
        preference=PreferenceSettings(search=False),
        serving=ServingSettings(poll_seconds=0.05),
    )
    engine = connect(settings)
    migrate(engine)
    worlds.fill(engine)
    rebuild(engine, settings, Quiet())
    engine.dispose()
    with opened(settings) as running_shop:
        yield running_shop


@pytest.fixture(scope="module")
def unbuilt(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with opened(Settings(home=tmp_path_factory.mktemp("unbuilt"))) as running_shop:
        yield running_shop


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Not for the whole session: while it runs, this thread has an event loop of the browser's."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("needs chromium: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=OPTIONS)
        yield browser
        browser.close()


@pytest.fixture
def browse(chromium: Browser) -> Iterator[Browse]:
    """`browse(url, size="phone", dark=True)`; at the end of the test nothing may have gone wrong."""
    visits: list[Visit] = []

    def open_page(url: str, size: str = "desktop", dark: bool = False, **more: Any) -> Visit:
        width, height = SIZES[size]
        context = chromium.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            has_touch=size == "phone",
            **more,
        )
        context.set_default_timeout(10_000)
        visit = Visit(context.new_page(), size, dark)
        visit.watch()
        visits.append(visit)
        visit.page.goto(url)
        return visit

    yield open_page
    for visit in visits:
        visit.page.context.close()
        assert visit.wrong == []


@pytest.fixture(params=["phone", "desktop"])
def size(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found
