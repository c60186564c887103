"""How fluid is the map of the console, and how soon does it show something?

usage: python scripts/bench/map.py [--home DIR] [--items 100000] [--seconds 4] [--no-layout] [--json]

DIR is a home with a snapshot that has texts; without one, a world of so many items is made first (make_world.py),
which takes minutes. Needs Chromium (Debian: `apt-get install chromium`), which draws by its processor alone here.
The map is opened as a sketch, and again when the layout has been made; then it is dragged and zoomed for so many
seconds each, a little for every picture that the browser can show, in a window of 1280 x 900 at one and at two
device pixels for each of the page. The last line is a JSON object:

    fps, fps_2x                 pictures a second while it moves, from how far they lie apart: the median
    fps_slowest, fps_2x_slowest the same of the slowest tenth
    sketch_ms, layout_ms        from asking for the page to its first points: as a sketch, nothing kept; laid out, the
                                median of five
    payload_kb                  of the points, as they are sent
    pca_seconds, layout_seconds to find the places of a sketch; of the layout, from the start of its job's work
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from playwright.sync_api import Browser, Page, sync_playwright
from serving import serving

from recsys.errors import InputError
from recsys.mapping.keeping import Kept
from recsys.mapping.layout import sketch
from recsys.snapshot import Snapshots

OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]

WINDOW = {"width": 1280, "height": 900}

PORT = 8308

LONGEST_SECONDS = 900
"""That a layout may take."""

OPENED = 5

MOVED = """async ([what, seconds]) => {
  const canvas = document.getElementById("map-canvas");
  const box = canvas.getBoundingClientRect();
  const at = (x, y) => ({ clientX: box.left + x, clientY: box.top + y, bubbles: true, cancelable: true });
  const next = () => new Promise(requestAnimationFrame);
  const finger = (kind, x, y) =>
    canvas.dispatchEvent(new PointerEvent(kind, { ...at(x, y), pointerId: 1, pointerType: "mouse", isPrimary: true }));
  canvas.setPointerCapture = () => {};
  const [x, y] = [box.width / 2, box.height / 2];
  const times = [await next()];
  if (what === "drag") finger("pointerdown", x, y);
  for (let n = 1; times.at(-1) - times[0] < 1000 * seconds; n += 1) {
    if (what === "drag") finger("pointermove", x + 160 * Math.sin(n / 20), y + 120 * Math.sin(n / 13));
    else canvas.dispatchEvent(new WheelEvent("wheel", { ...at(x, y), deltaY: Math.floor(n / 50) % 2 ? 24 : -24 }));
    times.push(await next());
  }
  if (what === "drag") finger("pointercancel", x, y);
  return times;
}"""
"""Moves the map a little before each picture, and gives the moments of them all."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    asked = _parser().parse_args(arguments)
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        raise InputError("Chromium is not installed: apt-get install chromium")
    with tempfile.TemporaryDirectory() as folder:
        home = asked.home or _made(Path(folder) / "world", asked.items)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=program, args=OPTIONS)
            result = measured(browser, home, asked.seconds, asked.layout)
            browser.close()
    for name, value in result.items():
        print(f"{name:18} {value:,}")
    if asked.json:
        print(json.dumps(result))
    return 0


def measured(browser: Browser, home: Path, seconds: float, waits: bool) -> dict[str, float]:
    """The figures. waits: for the layout; else what moves is the sketch."""
    snapshots = Snapshots(home / "snapshots")
    served = snapshots.current_id()
    origin, kept = snapshots.origin(served), Kept(home)
    kept.path(origin, "text").unlink(missing_ok=True)
    rows = np.load(snapshots.folder / served / "text.rows.npy")
    started = time.perf_counter()
    sketch(rows)
    found = {"items": float(len(rows)), "pca_seconds": round(time.perf_counter() - started, 3)}
    with serving(home, PORT) as (url, _):
        address = f"{url}/console/map?space=text"
        page = browser.new_page(viewport=WINDOW)  # type: ignore[arg-type]
        found["sketch_ms"] = opened(page, address)
        if waits:
            page.wait_for_selector("#map[data-drawn=kept]", timeout=1000 * LONGEST_SECONDS)
            layout = kept.read(origin, "text")
            assert layout is not None, "the page shows it"
            found["layout_seconds"] = round(layout.seconds, 1)
            found["layout_ms"] = median(opened(page, address) for _ in range(OPENED))
        page.close()
        for ratio, name in ((1, "fps"), (2, "fps_2x")):
            found |= rates(browser, address, ratio, seconds, name)
    return found


def opened(page: Page, address: str) -> float:
    """Milliseconds from asking for the page to its first points."""
    page.goto(address)
    page.wait_for_selector("#map[data-drawn]")
    ended: float = page.evaluate("performance.getEntriesByName('points')[0].startTime")
    return round(ended, 1)


def rates(
    browser: Browser, address: str, ratio: int, seconds: float, name: str
) -> dict[str, float]:
    """Pictures a second while the map moves."""
    context = browser.new_context(viewport=WINDOW, device_scale_factor=ratio)  # type: ignore[arg-type]
    page = context.new_page()
    sizes: list[int] = []
    page.on("requestfinished", lambda one: _noted(one, sizes))
    opened(page, address)
    apart: list[float] = []
    for what in ("drag", "wheel"):
        apart += np.diff(page.evaluate(MOVED, [what, seconds])).tolist()
    context.close()
    slowest = sorted(apart)[-max(1, len(apart) // 10) :]
    return {
        name: round(1000 / median(apart), 1),
        f"{name}_slowest": round(1000 / (sum(slowest) / len(slowest)), 1),
        "payload_kb": round(sizes[0] / 1000, 1),
    }


def _noted(request: Any, sizes: list[int]) -> None:  # noqa: ANN401
    if "/map/points" in request.url:
        sizes.append(request.sizes()["responseBodySize"])


def _made(home: Path, items: int) -> Path:
    """People do not matter here: few are made."""
    here = Path(__file__).parent / "make_world.py"
    size = [f"--items={items}", "--users=200", "--events=2000"]
    subprocess.run([sys.executable, str(here), "--home", str(home), *size], check=True)
    return home


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--home", type=Path, help="with a snapshot that has texts")
    parser.add_argument("--items", type=int, default=100_000, help="of the world that is made")
    parser.add_argument("--seconds", type=float, default=4, help="of each movement")
    parser.add_argument(
        "--no-layout", dest="layout", action="store_false", help="do not wait for it"
    )
    parser.add_argument("--json", action="store_true", help="the last line is a JSON object")
    return parser


if __name__ == "__main__":
    sys.exit(main())
