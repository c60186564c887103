"""How soon does a page of the storefront show something, and how much has to come for it?

usage: python scripts/bench/pages.py [--home DIR] [--user ID] [--runs 15] [--json]

DIR is a home with a snapshot, such as the demo's `data`. Needs Chromium (Debian: `apt-get install chromium`). A server
is started on it, and a browser looks at its home page, an item, a search and the console, at the size of a desktop:
once with nothing kept, which is what `_kb` (unpacked) and `_photos_kb` count, then `--runs` times with styles, scripts
and pictures kept, but each page asked for anew. The last line is a JSON object with, for each page, `_fcp_ms` (the
first contentful paint, from the click on: the median, with the lowest and the highest), `_html_ms` (until all of the
page's HTML has come), and `_shift`, the most that a page moved (cumulative layout shift).
"""

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import httpx
from playwright.sync_api import BrowserContext, Page, sync_playwright
from serving import serving

from recsys.errors import InputError

OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]

WINDOW = {"width": 1280, "height": 900}

PORT = 8307

TIMES = """() => {
  const [page] = performance.getEntriesByType("navigation");
  const [paint] = performance.getEntriesByName("first-contentful-paint");
  return { fcp_ms: paint.startTime, html_ms: page.responseEnd };
}"""

SHIFT = """() => new Promise((resolve) => {
  let sum = 0;
  new PerformanceObserver((list) => list.getEntries().forEach((one) => (sum += one.value)))
    .observe({ type: "layout-shift", buffered: true });
  setTimeout(() => resolve(sum), 200);
})"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    asked = _parser().parse_args(arguments)
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        raise InputError("Chromium is not installed: apt-get install chromium")
    result: dict[str, float] = {"runs": asked.runs}
    if not (asked.home / "snapshots").is_dir():
        raise InputError(
            f"--home {asked.home}: there is no snapshot in it: `scripts/demo --no-serve` makes one"
        )
    with serving(asked.home, PORT) as (url, _), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=OPTIONS)
        context = browser.new_context(viewport=WINDOW)  # type: ignore[arg-type]
        if asked.user:
            context.add_cookies([{"name": "recsys_user", "value": asked.user, "url": url}])
        for name, path in pages(url).items():
            found = measured(context, url + path, asked.runs)
            result |= {f"{name}_{what}": value for what, value in found.items()}
            print(
                f"{name}: first paint after {found['fcp_ms']} ms [{found['fcp_ms_low']}, {found['fcp_ms_high']}], "
                f"{found['kb']} kB and {found['photos_kb']} kB of pictures"
            )
        browser.close()
    if asked.json:
        print(json.dumps(result))
    return 0


def pages(url: str) -> dict[str, str]:
    """Name -> path of each page that is looked at."""
    popular = httpx.get(f"{url}/v1/items/popular", params={"limit": 1}).json()["items"]
    new = httpx.get(f"{url}/v1/items/new", params={"limit": 1}).json()["items"]
    item = (popular or new)[0]
    address = httpx.URL("/search", params={"q": item["title"]})
    return {
        "home": "/",
        "item": f"/items/{item['item_id']}",
        "search": str(address),
        "console": "/console",
    }


def measured(context: BrowserContext, url: str, runs: int) -> dict[str, float]:
    """A page, first cold and then warm."""
    page = context.new_page()
    sizes: dict[str, int] = {}
    page.on("response", lambda got: sizes.update({got.url: len(got.body())}))
    visit(page, url)
    pictures = sum(size for address, size in sizes.items() if "/pictures/" in address)
    page.close()
    times: list[dict[str, float]] = []
    shifts = []
    for _ in range(runs):
        page = context.new_page()
        visit(page, url)
        times.append(page.evaluate(TIMES))
        shifts.append(page.evaluate(SHIFT))
        page.close()
    found: dict[str, Any] = {"kb": round((sum(sizes.values()) - pictures) / 1000, 1)}
    found |= {"photos_kb": round(pictures / 1000, 1), "shift": round(max(shifts), 4)}
    for what in ("fcp_ms", "html_ms"):
        values = [time[what] for time in times]
        found |= {what: round(median(values), 1), f"{what}_low": round(min(values), 1)}
        found[f"{what}_high"] = round(max(values), 1)
    return found


def visit(page: Page, url: str) -> None:
    """Until nothing more comes."""
    page.goto(url)
    page.wait_for_load_state("networkidle")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--home", type=Path, default=Path("data"), help="with a snapshot")
    parser.add_argument(
        "--user", default="", help="whose eyes to look with; a newcomer's if left out"
    )
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--json", action="store_true", help="the last line is a JSON object")
    return parser


if __name__ == "__main__":
    sys.exit(main())
