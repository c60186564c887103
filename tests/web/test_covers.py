"""Covers: the same for the same item, whole whatever the title, and readable in all their colours."""

import math
import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as some

from recsys.web.covers import HEIGHT, HUES, MOTIFS, WIDTH, cover, hue_of

SVG = "{http://www.w3.org/2000/svg}"

TITLES = [
    "Heat (1995)",
    "Dr. Strangelove or: How I Learned to Stop Worrying and Love the Bomb (1964)",
    "千と千尋の神隠し",
    "Pneumonoultramicroscopicsilicovolcanoconiosis",
    "AT&T <b>",
    "W" * 200,
    "",
]


def words(svg: str) -> list[str]:
    return [text.text or "" for text in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def luminance(colour: str) -> float:
    """Of an `oklch(...)`, as WCAG counts it: by the definition of OKLab."""
    light, chroma, hue = (float(n) for n in re.findall(r"[\d.]+", colour))
    a, b = chroma * math.cos(math.radians(hue)), chroma * math.sin(math.radians(hue))
    long = (light + 0.3963377774 * a + 0.2158037573 * b) ** 3
    middle = (light - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (light - 0.0894841775 * a - 1.2914855480 * b) ** 3
    red = 4.0767416621 * long - 3.3077115913 * middle + 0.2309699292 * short
    green = -1.2684380046 * long + 2.6097574011 * middle - 0.3413193965 * short
    blue = -0.0041960863 * long - 0.7034186147 * middle + 1.7076147010 * short
    clipped = [min(max(part, 0.0), 1.0) for part in (red, green, blue)]
    return 0.2126 * clipped[0] + 0.7152 * clipped[1] + 0.0722 * clipped[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_the_same_item_has_the_same_cover_and_others_have_others() -> None:
    assert cover("Heat (1995)", "Action") == cover("Heat (1995)", "Action")
    drawn = {cover(f"Film {n}", "Action") for n in range(50)}
    assert len(drawn) == 50


def test_a_category_has_one_family_of_colours() -> None:
    assert hue_of("Action") == hue_of("Action")
    families = {hue_of(name) for name in ("Action", "Drama", "Comedy", "Horror", "War", "Musical")}
    assert len(families) >= 4
    assert all(0 <= family < HUES for family in families)


@pytest.mark.parametrize("title", TITLES)
def test_a_cover_says_the_category_the_title_and_the_year(title: str) -> None:
    shown = words(cover(title, "Action"))
    assert shown[0] == "ACTION"
    assert len(shown) <= 8
    if len(title) < 100:
        name, _, year = title.rstrip(")").partition(" (")
        told = "".join(shown[1:]).replace(" ", "")
        assert told == (name + year).replace(" ", "")
    else:
        assert shown[-1].endswith("…")


@given(some.text(max_size=300), some.text(max_size=60))
def test_every_title_makes_a_whole_picture(title: str, category: str) -> None:
    drawn = ElementTree.fromstring(cover(title, category))
    assert (drawn.get("width"), drawn.get("height")) == (str(WIDTH), str(HEIGHT))
    assert "style" not in {name for part in drawn.iter() for name in part.attrib}


def test_a_title_can_be_read_on_whatever_is_drawn_behind_it() -> None:
    for n in range(30 * len(MOTIFS)):
        drawn = ElementTree.fromstring(cover(f"Film {n}", f"Kind {n}"))
        colours = {part.get("fill") for part in drawn.iter()} - {None}
        [text] = {part.get("fill") for part in drawn.iter(f"{SVG}g")}
        assert min(contrast(text, behind) for behind in colours - {text}) >= 4.5
