"""A cover for an item without a picture: its title, set large, on a drawing in the colours of its category.

The same item always gets the same cover. Colours are in OKLCH, whose lightness is what the eye sees: text and ground
are far apart in it whatever the hue, so that every cover can be read.
"""

import html
import math
import re
import unicodedata
from collections.abc import Callable, Iterator
from hashlib import blake2b
from random import Random
from typing import NamedTuple

WIDTH, HEIGHT = 300, 400

MARGIN = 26

HUES = 12
"""Families of colours; a page may take up that of an item (`hue_of`)."""

SIZES = (44, 39, 34, 30, 26, 22, 19)
"""Of a title, in the units of the drawing: the largest that fits is taken."""

MOST_LINES = 4

WIDEST = 1.1
"""Of a letter beside the size: a bold W."""

SANS = "system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',sans-serif"
SERIF = "ui-serif,'Iowan Old Style',Georgia,'Times New Roman',serif"

IN_BRACKETS = re.compile(r"^(?P<name>.+?)\s*\((?P<remark>[^()]{1,30})\)$")
"""What stands in brackets at the end of a title, such as a year, is set apart from it."""


class Palette(NamedTuple):
    """Colours of a cover."""

    ground: str
    shape: str
    accent: str
    text: str


def hue_of(category: str) -> int:
    """Which of the `HUES` families of colours a category has."""
    return _number(category) % HUES


def cover(title: str, category: str) -> str:
    """An SVG picture of `WIDTH` x `HEIGHT`. category: "" where none is known."""
    drawn = Random(_number(title))  # noqa: S311  it draws, and keeps no secret
    colours = _palette(hue_of(category or title), drawn)
    serif = drawn.random() < 0.4
    shapes = "".join(drawn.choice(MOTIFS)(drawn, colours))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'width="{WIDTH}" height="{HEIGHT}">'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="{colours.ground}"/>{shapes}'
        f'<g fill="{colours.text}" font-family="{SERIF if serif else SANS}">'
        f"{''.join(_words(_clean(title), _clean(category), serif))}</g></svg>"
    )


def _number(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(errors="replace"), digest_size=8).digest())


def _clean(text: str) -> str:
    """XML holds no control characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _palette(family: int, drawn: Random) -> Palette:
    hue = family * 360 / HUES + drawn.uniform(-9, 9)
    aside = hue + drawn.choice((-38, 38, 55))
    if drawn.random() < 0.62:
        return Palette(
            _oklch(0.33, 0.085, hue),
            _oklch(0.42, 0.105, hue),
            _oklch(0.51, 0.13, aside),
            _oklch(0.97, 0.015, hue),
        )
    return Palette(
        _oklch(0.92, 0.035, hue),
        _oklch(0.85, 0.075, hue),
        _oklch(0.77, 0.115, aside),
        _oklch(0.26, 0.06, hue),
    )


def _oklch(lightness: float, chroma: float, hue: float) -> str:
    return f"oklch({lightness} {chroma} {hue % 360:.0f})"


def _words(title: str, category: str, serif: bool) -> Iterator[str]:
    """The category above, the title at the foot, and below it what stood in brackets."""
    if category:
        yield _text(
            _cut(category.upper(), 12 * 1.2, WIDTH - 2 * MARGIN),
            12,
            40,
            600,
            ' letter-spacing="1.6"',
        )
    found = IN_BRACKETS.match(title)
    name, remark = (found["name"], found["remark"]) if found else (title, "")
    size, lines = _set(name)
    foot = HEIGHT - 30 - (26 if remark else 0)
    for n, line in enumerate(lines):
        height = foot - (len(lines) - 1 - n) * size * 1.12
        yield _text(
            line, size, height, 600 if serif else 700, "" if serif else ' letter-spacing="-.6"'
        )
    if remark:
        yield _text(remark, 15, HEIGHT - 28, 400, ' opacity=".82"')


def _text(words: str, size: float, y: float, weight: int, more: str = "") -> str:
    return (
        f'<text x="{MARGIN}" y="{y:.0f}" font-size="{size}" font-weight="{weight}"{more}>'
        f"{html.escape(words)}</text>"
    )


def _set(title: str) -> tuple[int, list[str]]:
    """The size in which a title fits, and its lines; one that is too long for all of them is cut short."""
    room = WIDTH - 2 * MARGIN
    for size in SIZES:
        lines = _lines(title, size, room)
        if len(lines) <= MOST_LINES and all(_width(line, size) <= room for line in lines):
            return size, lines
    least = SIZES[-1]
    lines = _lines(_broken(title, least, room), least, room)
    kept = lines[: MOST_LINES + 1]
    if len(lines) > len(kept):
        kept[-1] = _cut(kept[-1] + "…" * 2, least, room)
    return least, kept


def _lines(words: str, size: float, room: float) -> list[str]:
    lines = [""]
    for word in words.split(" "):
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and _width(longer, size) > room:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def _broken(words: str, size: float, room: float) -> str:
    """Words wider than a line, in pieces that fit whatever their letters."""
    most = int(room // (WIDEST * size))
    return " ".join(
        word[start : start + most]
        for word in words.split(" ")
        for start in range(0, len(word), most)
    )


def _cut(words: str, size: float, room: float) -> str:
    if _width(words, size) <= room:
        return words
    while words and _width(words + "…", size) > room:
        words = words[:-1]
    return words.rstrip(" …") + "…"


def _width(words: str, size: float) -> float:
    """At most what words take in the widest of the usual fonts: nobody knows which one there is."""
    return size * sum(map(_letter_width, words))


def _letter_width(letter: str) -> float:
    if unicodedata.east_asian_width(letter) in "WF":
        return 1.0
    if letter in "iIjlft.,:;'!|()[] ":
        return 0.38
    if letter in "mwMW@%—…":
        return WIDEST
    return 0.76 if letter.isupper() else 0.64


Motif = Callable[[Random, Palette], Iterator[str]]


def _moons(drawn: Random, colours: Palette) -> Iterator[str]:
    x, y, r = drawn.uniform(120, 250), drawn.uniform(90, 150), drawn.uniform(95, 130)
    yield f'<circle cx="{x:.0f}" cy="{y:.0f}" r="{r:.0f}" fill="{colours.shape}"/>'
    at = drawn.uniform(0, 2 * math.pi)
    x, y = x + r * 0.8 * math.cos(at), y + r * 0.5 * math.sin(at)
    yield f'<circle cx="{x:.0f}" cy="{y:.0f}" r="{r / 2.4:.0f}" fill="{colours.accent}"/>'


def _rings(drawn: Random, colours: Palette) -> Iterator[str]:
    x, y = drawn.choice(((300, 0), (300, 110), (150, 60))), drawn.uniform(20, 30)
    for n in range(7, 0, -1):
        fill = (colours.shape, colours.ground, colours.accent)[n % 2 if n > 1 else 2]
        yield f'<circle cx="{x[0]}" cy="{x[1]}" r="{n * y:.0f}" fill="{fill}"/>'


def _slopes(drawn: Random, colours: Palette) -> Iterator[str]:
    """Bands from the upper edge to the right one, above the title."""
    wide, first = drawn.uniform(30, 46), drawn.uniform(-30, 60)
    for n, fill in enumerate((colours.shape, colours.accent, colours.shape)):
        x = first + n * wide * 1.75
        near, far = 300 - x, 300 - x - wide
        yield (
            f'<path d="M{x:.0f} 0H{x + wide:.0f}L300 {far * 0.8:.0f}V{near * 0.8:.0f}Z" fill="{fill}"/>'
        )


def _tiles(drawn: Random, colours: Palette) -> Iterator[str]:
    side = 75
    for n in range(12):
        x, y = side * (n % 4), side * (n // 4)
        kind = drawn.randrange(6)
        fill = colours.accent if drawn.random() < 0.22 else colours.shape
        if kind < 4:
            yield (
                f'<path d="M0 0H{side}A{side} {side} 0 0 1 0 {side}Z" fill="{fill}" '
                f'transform="translate({x} {y})rotate({90 * kind} {side / 2} {side / 2})"/>'
            )
        elif kind == 4:
            middle = side / 2
            yield f'<circle cx="{x + middle}" cy="{y + middle}" r="{middle / 1.7:.0f}" fill="{fill}"/>'


def _hills(drawn: Random, colours: Palette) -> Iterator[str]:
    x, y = drawn.uniform(60, 240), drawn.uniform(80, 120)
    yield f'<circle cx="{x:.0f}" cy="{y:.0f}" r="46" fill="{colours.accent}"/>'
    for n, fill in enumerate((colours.shape, colours.ground)):
        a, b, c = (drawn.uniform(130, 190) + n * 45 for _ in range(3))
        yield (
            f'<path d="M0 {a:.0f}C90 {a - 70:.0f} 120 {b + 50:.0f} 180 {b:.0f}S270 {c - 50:.0f} 300 {c:.0f}'
            f'V400H0Z" fill="{fill}"/>'
        )


def _dots(drawn: Random, colours: Palette) -> Iterator[str]:
    x, y = drawn.uniform(0, 300), drawn.uniform(0, 220)
    for n in range(42):
        at = (22 + 43 * (n % 7), 22 + 40 * (n // 7))
        r = 17 * max(0.12, 1 - math.dist(at, (x, y)) / 250)
        fill = colours.accent if r > 12 else colours.shape
        yield f'<circle cx="{at[0]}" cy="{at[1]}" r="{r:.1f}" fill="{fill}"/>'


def _arch(drawn: Random, colours: Palette) -> Iterator[str]:
    x = drawn.choice((60, 110))
    for n, fill in enumerate((colours.shape, colours.accent, colours.ground)):
        wide = 210 - 62 * n
        left = x + 31 * n
        yield (
            f'<path d="M{left} 230V{70 + wide / 2 - 20 + 8 * n:.0f}a{wide / 2:.0f} {wide / 2:.0f} 0 0 1 '
            f'{wide} 0V230Z" fill="{fill}"/>'
        )


MOTIFS: tuple[Motif, ...] = (_moons, _rings, _slopes, _tiles, _hills, _dots, _arch)
