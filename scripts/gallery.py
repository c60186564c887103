"""Write a made-up shop of art prints: items.csv, events.csv, and a picture of each print, drawn here.

usage: python scripts/gallery.py FOLDER [--prints 320] [--people 600]

There is a picture in images/<id>.jpg for each item. People keep to a style or two and to a family of colours, so that
there is something to learn; the newest tenth of the prints nobody has seen yet. The same arguments make the same shop.
"""

import argparse
import csv
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from math import cos, pi, sin
from pathlib import Path

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw

WIDTH, HEIGHT, FINER = 480, 640, 2
"""Pixels of a picture; it is drawn so many times as large, and then made smaller."""

PALETTES = {
    "ochre": ("#f4ead9", "#e2b04a", "#c8702a", "#7d3c1e", "#2f2a26"),
    "sea": ("#eef4f2", "#a9d3cf", "#4f9aa3", "#1f5f78", "#12303f"),
    "rose": ("#fbefec", "#f2b8b0", "#d9737a", "#8d3b53", "#3a1f2e"),
    "forest": ("#f1f2e4", "#b9c58a", "#6f8f4e", "#35603f", "#1d3529"),
    "night": ("#e9e6f2", "#8f86c0", "#4b4a91", "#262a5e", "#12142e"),
    "citrus": ("#fff7e0", "#ffd24a", "#ff9a3c", "#ef5a3c", "#3b3a42"),
    "stone": ("#f3f1ee", "#cfc8bf", "#9b9289", "#5e5852", "#2a2826"),
}
"""Name -> colours, light to dark."""

STUDIOS = ("Atelier Lumen", "Norden Press", "Papier & Co", "Studio Ilva", "Field Works")

PAPERS = ("cotton rag", "washi", "matt", "recycled")

NOW = datetime(2026, 11, 1, tzinfo=UTC)

DAYS = 120
"""Over which the events are spread."""

Colours = tuple[str, ...]
Draw = Callable[[ImageDraw.ImageDraw, Generator, Colours, int, int], None]


def hills(draw: ImageDraw.ImageDraw, rng: Generator, colours: Colours, w: int, h: int) -> None:
    """Ridges one behind the other, and a low sun."""
    r = int(w * rng.uniform(0.12, 0.2))
    x, y = int(w * rng.uniform(0.3, 0.7)), int(h * rng.uniform(0.22, 0.36))
    draw.ellipse((x - r, y - r, x + r, y + r), fill=colours[1])
    for n, colour in enumerate(colours[1:]):
        base, swing = h * (0.42 + 0.15 * n), h * rng.uniform(0.03, 0.07)
        phases, waves = rng.uniform(0, 2 * pi, 2), rng.uniform(0.6, 1.8, 2)
        ridge = [
            (
                at,
                base
                + swing * sin(waves[0] * 2 * pi * at / w + phases[0])
                + swing / 2 * sin(waves[1] * 4 * pi * at / w + phases[1]),
            )
            for at in range(0, w + 8, 8)
        ]
        draw.polygon([(0, h), *ridge, (w, h)], fill=colour)


def arches(draw: ImageDraw.ImageDraw, rng: Generator, colours: Colours, w: int, h: int) -> None:
    """Rainbows that stand side by side or one upon the other."""
    for n in range(int(rng.integers(2, 5))):
        x = w * (0.5 + (rng.uniform(-0.28, 0.28) if n else 0))
        foot, wide = h * (0.95 - 0.22 * n), w * rng.uniform(0.26, 0.46)
        bands = rng.permutation(colours[1:])
        for k, colour in enumerate(bands):
            r = wide * (1 - k / (len(bands) + 0.6))
            draw.pieslice((x - r, foot - r, x + r, foot + r), 180, 360, fill=str(colour))
            draw.rectangle((x - r, foot - 1, x + r, foot + h * 0.08), fill=str(colour))


def circles(draw: ImageDraw.ImageDraw, rng: Generator, colours: Colours, w: int, h: int) -> None:
    """Discs that cover each other, and rings around some."""
    for _ in range(int(rng.integers(6, 11))):
        r = w * rng.uniform(0.08, 0.3)
        x, y = rng.uniform(0.1, 0.9) * w, rng.uniform(0.1, 0.9) * h
        colour = colours[int(rng.integers(1, 5))]
        if rng.random() < 0.3:
            draw.ellipse((x - r, y - r, x + r, y + r), outline=colour, width=int(w * 0.018))
        else:
            draw.ellipse((x - r, y - r, x + r, y + r), fill=colour)


def tiles(draw: ImageDraw.ImageDraw, rng: Generator, colours: Colours, w: int, h: int) -> None:
    """A grid of quarter discs, each turned some way."""
    across = int(rng.integers(3, 6))
    side = w / across
    for row in range(round(h / side) + 1):
        for column in range(across):
            x, y = column * side, row * side
            front, back = rng.choice(len(colours), 2, replace=False)
            draw.rectangle((x, y, x + side, y + side), fill=colours[back])
            dx, dy = rng.integers(0, 2, 2)
            box = (x - side * dx, y - side * dy, x + side * (2 - dx), y + side * (2 - dy))
            start = {(0, 0): 180, (1, 0): 270, (1, 1): 0, (0, 1): 90}[int(dx), int(dy)]
            draw.pieslice(box, start, start + 90, fill=colours[front])


def waves(draw: ImageDraw.ImageDraw, rng: Generator, colours: Colours, w: int, h: int) -> None:
    """Lines that run side by side like water."""
    lines, bend = int(rng.integers(14, 26)), rng.uniform(0.8, 2.2)
    phase, swing = rng.uniform(0, 2 * pi), h * rng.uniform(0.03, 0.08)
    for n in range(-3, lines + 3):
        colour = colours[1 + (n // int(rng.integers(2, 5))) % 4]
        line = [
            (at, h * n / lines + swing * sin(bend * 2 * pi * at / w + phase + n * 0.22))
            for at in range(-8, w + 16, 8)
        ]
        draw.line(line, fill=colour, width=int(h / lines * 0.45), joint="curve")


def leaves(draw: ImageDraw.ImageDraw, rng: Generator, colours: Colours, w: int, h: int) -> None:
    """Stems with leaves to both sides."""
    stems = int(rng.integers(1, 4))
    for n in range(stems):
        x, lean = w * (n + 1) / (stems + 1), rng.uniform(-0.16, 0.16) * w
        colour, top = colours[int(rng.integers(2, 5))], h * rng.uniform(0.12, 0.28)
        draw.line([(x, h), (x + lean, top)], fill=colour, width=int(w * 0.012))
        pairs = int(rng.integers(5, 9))
        for k in range(1, pairs + 1):
            share = k / pairs
            at = (x + lean * share, h - (h - top) * share)
            for way in (-1, 1):
                _leaf(draw, at, way, w * (0.2 - 0.1 * share), colour)


def _leaf(
    draw: ImageDraw.ImageDraw, at: tuple[float, float], way: int, length: float, colour: str
) -> None:
    turn = -pi / 5
    edge = []
    for n in range(25):
        share = n / 24
        along, beside = length * share, length * 0.28 * sin(pi * share)
        edge.append((along, beside))
    outline = edge + [(x, -y) for x, y in reversed(edge)]
    turned = [
        (at[0] + way * (x * cos(turn) - y * sin(turn)), at[1] + x * sin(turn) + y * cos(turn))
        for x, y in outline
    ]
    draw.polygon(turned, fill=colour)


def blocks(draw: ImageDraw.ImageDraw, rng: Generator, colours: Colours, w: int, h: int) -> None:
    """Rectangles cut from rectangles."""

    def cut(x: float, y: float, width: float, height: float, depth: int) -> None:
        if depth == 0 or rng.random() < 0.12:
            gap = w * 0.012
            box = (x + gap, y + gap, x + width - gap, y + height - gap)
            draw.rectangle(box, fill=colours[int(rng.integers(1, 5))])
            return
        share = rng.uniform(0.32, 0.68)
        if width * rng.uniform(0.7, 1.4) > height:
            cut(x, y, width * share, height, depth - 1)
            cut(x + width * share, y, width * (1 - share), height, depth - 1)
        else:
            cut(x, y, width, height * share, depth - 1)
            cut(x, y + height * share, width, height * (1 - share), depth - 1)

    cut(w * 0.06, h * 0.05, w * 0.88, h * 0.9, int(rng.integers(3, 5)))


def skies(draw: ImageDraw.ImageDraw, rng: Generator, colours: Colours, w: int, h: int) -> None:
    """A moon and stars over dark land."""
    draw.rectangle((0, 0, w, h), fill=colours[4])
    for _ in range(90):
        x, y, r = rng.uniform(0, w), rng.uniform(0, 0.62 * h), rng.uniform(0.8, 3.2)
        draw.ellipse((x - r, y - r, x + r, y + r), fill=colours[0])
    r, x, y = w * rng.uniform(0.1, 0.19), w * rng.uniform(0.25, 0.75), h * rng.uniform(0.16, 0.34)
    draw.ellipse((x - r, y - r, x + r, y + r), fill=colours[0])
    shift = r * rng.uniform(0.3, 0.9)
    draw.ellipse((x - r + shift, y - r * 1.05, x + r + shift, y + r * 0.95), fill=colours[4])
    for n, colour in enumerate((colours[2], colours[3], "#0b0c14")):
        base = h * (0.62 + 0.12 * n)
        peaks = [(w * k / 6, base + h * rng.uniform(-0.07, 0.04)) for k in range(7)]
        draw.polygon([(0, h), *peaks, (w, h)], fill=colour)


STYLES: dict[str, tuple[Draw, tuple[str, ...], str]] = {
    "Hills": (hills, ("Ridge", "Valley", "Highland", "Dune"), "Ridges one behind the other"),
    "Arches": (arches, ("Gate", "Rainbow", "Bridge", "Vault"), "Arches upon arches"),
    "Circles": (circles, ("Orbit", "Bubbles", "Pebbles", "Chorus"), "Discs and rings"),
    "Tiles": (tiles, ("Mosaic", "Courtyard", "Quilt", "Pattern"), "A grid of quarter discs"),
    "Waves": (waves, ("Tide", "Current", "Ripple", "Shoreline"), "Lines that run like water"),
    "Botanical": (leaves, ("Fern", "Branch", "Meadow", "Sprig"), "Stems with paired leaves"),
    "Blocks": (blocks, ("Quarter", "Terrace", "Facade", "Plan"), "Rectangles cut from rectangles"),
    "Night sky": (skies, ("Moonrise", "Vigil", "Comet", "Polar night"), "A moon over dark land"),
}
"""Style -> how it is drawn, nouns of titles, what is to be seen."""

MOODS = ("Quiet", "Late", "First", "Little", "Wide", "Slow", "Bright", "Far", "Still", "Open")


def main() -> None:
    """Write the shop."""
    asked = _parser().parse_args()
    rng = np.random.default_rng(7)
    (asked.folder / "images").mkdir(parents=True, exist_ok=True)
    items = list(prints(asked.prints, rng))
    for item in items:
        picture(item, rng).save(asked.folder / "images" / f"{item['id']}.jpg", quality=88)
    _write(asked.folder / "items.csv", [_row(item) for item in items])
    _write(asked.folder / "events.csv", list(events(items, asked.people, rng)))


def prints(count: int, rng: Generator) -> Iterator[dict[str, str]]:
    """What is for sale, the oldest first."""
    titles: set[str] = set()
    for n in range(count):
        style = list(STYLES)[n % len(STYLES)]
        palette = str(rng.choice(list(PALETTES)))
        title = ""
        while not title or title in titles:
            noun = str(rng.choice(STYLES[style][1]))
            number = f" No. {rng.integers(2, 9)}" if rng.random() < 0.5 else ""
            title = f"{rng.choice(MOODS)} {noun}{number}"
        titles.add(title)
        about = (
            f"{STYLES[style][2]} in {palette} colours. Print on {rng.choice(PAPERS)} paper, 30 by 40 cm, "
            f"signed and numbered."
        )
        yield {
            "id": f"print-{n + 1:03d}",
            "title": title,
            "description": about,
            "categories": style,
            "palette": palette,
            "brand": str(rng.choice(STUDIOS)),
            "price": f"{rng.integers(5, 30) * 5 - 0.1:.2f}",
        }


def _row(item: dict[str, str]) -> dict[str, str]:
    number = int(item["id"].removeprefix("print-"))
    since = NOW - timedelta(days=400) + timedelta(days=400 * number / 321)
    return item | {"currency": "EUR", "published_at": since.isoformat()}


def picture(item: dict[str, str], rng: Generator) -> Image.Image:
    """The print."""
    colours = PALETTES[item["palette"]]
    w, h = WIDTH * FINER, HEIGHT * FINER
    image = Image.new("RGB", (w, h), colours[0])
    STYLES[item["categories"]][0](ImageDraw.Draw(image), rng, colours, w, h)
    return image.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)


def events(items: list[dict[str, str]], people: int, rng: Generator) -> Iterator[dict[str, str]]:
    """What people viewed, put into the cart and bought."""
    known = items[: int(len(items) * 0.9)]
    for n in range(people):
        styles = rng.choice(list(STYLES), 2, replace=False)
        palettes = rng.choice(list(PALETTES), 2, replace=False)
        liking = np.array(
            [
                0.03
                + (
                    1.0
                    if i["categories"] == styles[0]
                    else 0.4
                    if i["categories"] == styles[1]
                    else 0
                )
                * (2.0 if i["palette"] in palettes else 0.6)
                for i in known
            ]
        )
        count = min(int(rng.integers(4, 28)), len(known))
        chosen = rng.choice(len(known), count, replace=False, p=liking / liking.sum())
        start = NOW - timedelta(days=float(rng.uniform(1, DAYS)))
        for k, at in enumerate(chosen):
            time = start + timedelta(minutes=float(9 * k + rng.uniform(0, 6)))
            kinds = ("view", "add_to_cart", "purchase")
            kind = kinds[int(rng.choice(3, p=(0.72, 0.16, 0.12)))]
            yield {
                "user_id": f"{n + 1:04d}",
                "item_id": known[at]["id"],
                "type": kind,
                "time": min(time, NOW).isoformat(),
            }


def _write(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--prints", type=int, default=320)
    parser.add_argument("--people", type=int, default=600)
    return parser


if __name__ == "__main__":
    main()
