"""Serve the shop in RECSYS_HOME and keep what a browser shows of it.

usage: python scripts/looking.py FOLDER      called by scripts/screenshots
"""

import io
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

URL = "http://127.0.0.1:8309"

OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]

WINDOW = {"width": 1280, "height": 940}

FINER = 2
"""Pixels of a picture for each pixel of a page."""

VIEWER = "0007"


def main(folder: Path) -> None:
    """Write the pictures."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        sys.exit("screenshots: needs Chromium: apt-get install chromium")
    folder.mkdir(parents=True, exist_ok=True)
    with served(), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=OPTIONS)
        people()
        keep(storefront(browser), folder / "storefront.webp")
        keep(console(browser), folder / "console.webp")
        browser.close()


@contextmanager
def served() -> Iterator[None]:
    """`recsys serve`, once it is ready."""
    command = [sys.executable, "-m", "recsys", "serve", "--port", URL.rpartition(":")[2]]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        try:
            while not _answers():
                if server.poll() is not None:
                    sys.exit("screenshots: the server ended")
                time.sleep(0.2)
            yield
        finally:
            server.terminate()


def _answers() -> bool:
    try:
        return httpx.get(f"{URL}/health/ready").is_success
    except httpx.TransportError:
        return False


def people(seconds: float = 90) -> None:
    """Ask as a shop's pages do, so that there is traffic to be seen."""
    dice = random.Random(3)
    end = time.monotonic() + seconds
    with httpx.Client(base_url=URL, timeout=60) as client:
        while time.monotonic() < end:
            user = f"{dice.randint(1, 600):04d}"
            slate = client.get(f"/v1/users/{user}/recommendations", params={"limit": 12}).json()
            shown = [item["item_id"] for item in slate["items"]]
            events = [{"user_id": user, "item_id": key, "type": "impression"} for key in shown[:6]]
            events += [{"user_id": user, "item_id": dice.choice(shown), "type": "view"}]
            client.get(f"/v1/items/{dice.choice(shown)}/similar")
            client.post("/v1/events", json=events[: dice.randint(1, 7)])
            if dice.random() < 0.1:
                client.post("/v1/search", json={"text": "a moon over dark hills", "limit": 5})
            time.sleep(dice.random() * 0.1)


def opened(browser: Browser, path: str, wait_for: str) -> Page:
    """A page, once all of it is there."""
    context = browser.new_context(viewport=WINDOW, device_scale_factor=FINER)  # type: ignore[arg-type]
    context.add_cookies([{"name": "recsys_user", "value": VIEWER, "url": URL}])
    page = context.new_page()
    page.goto(URL + path)
    page.wait_for_selector(wait_for)
    page.wait_for_load_state("networkidle")
    return page


def storefront(browser: Browser) -> Page:
    """Somebody's home page."""
    return opened(browser, "/", ".shelf .card")


def console(browser: Browser) -> Page:
    """What the same person is recommended, part by part."""
    return opened(browser, f"/console/users/{VIEWER}", "#slate .stack")


def keep(page: Page, path: Path) -> None:
    """Write what is seen."""
    seen = Image.open(io.BytesIO(page.screenshot(animations="disabled")))
    seen.save(path, quality=82, method=6)
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
