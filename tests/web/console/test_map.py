"""The map of the catalogue: what is drawn, what moves it, and what it says of a point."""

import gzip
import io
import re
import time
from base64 import b64decode
from collections.abc import Iterator

import httpx
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect
from storefronts import Browse, Shop, Visit
from storefronts import opened as serving

from recsys.snapshot import Snapshots

MAP = "/console/map"


def origin(shop: Shop) -> str:
    return Snapshots(shop.settings.home / "snapshots").current_id()


def asked(shop: Shop, what: str, **more: object) -> httpx.Response:
    given = {"space": "text", "origin": origin(shop), **more}
    return shop.client.get(f"{MAP}/{what}", params=given)  # type: ignore[arg-type]


def laid_out(shop: Shop, space: str = "text") -> None:
    """Wait for the layout."""
    shop.client.get(MAP, params={"space": space})
    limit = time.monotonic() + 60
    while asked(shop, "state", space=space).json()["state"] == "coming":
        assert time.monotonic() < limit
        time.sleep(0.1)


def test_a_layout_that_is_damaged_is_made_anew(shop: Shop) -> None:
    damaged = shop.settings.home / "maps" / f"{origin(shop)}-image.npz"
    damaged.parent.mkdir(exist_ok=True)
    damaged.write_bytes(b"PK")
    with serving(shop.settings) as anew:
        assert asked(anew, "state", space="image").json()["seconds"] is None
        laid_out(anew, "image")
        assert asked(anew, "state", space="image").json()["seconds"] is not None


def drawn(visit: Visit) -> bytes:
    """The picture that the map is, as a PNG."""
    address: str = visit.page.evaluate("document.getElementById('map-canvas').toDataURL()")
    return b64decode(address.partition(",")[2])


def colours(visit: Visit) -> set[tuple[int, ...]]:
    """Those that cover more than a few pixels of the map."""
    pixels = Image.open(io.BytesIO(drawn(visit))).convert("RGB").getcolors(1 << 24)
    assert pixels is not None
    return {colour for count, colour in pixels if count > 12}


def opened(shop: Shop, browse: Browse, size: str = "desktop", **more: object) -> Visit:
    """The map of texts, as it stays."""
    laid_out(shop)
    visit = browse(f"{shop.url}{MAP}?space=text", size, **more)
    visit.page.wait_for_selector("#map[data-drawn=kept]")
    return visit


def at(visit: Visit, item: int, shop: Shop) -> tuple[float, float]:
    """Where an item is on the screen while the whole map is in sight, from the points alone."""
    x, y, colour = decoded(asked(shop, "points").content)
    there = colour != 255
    box = visit.page.locator("#map-canvas").bounding_box()
    assert box is not None
    left, right, top, bottom = x[there].min(), x[there].max(), y[there].min(), y[there].max()
    above = 66  # the search and the buttons stand there
    wide, high = box["width"] - 64, box["height"] - above - 32
    zoom = min(wide / (right - left), high / (bottom - top))
    return (
        box["x"] + box["width"] / 2 + (x[item] - (left + right) / 2) * zoom,
        box["y"] + above + high / 2 + (y[item] - (top + bottom) / 2) * zoom,
    )


def decoded(body: bytes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    count = len(body) // 5
    x, y = (np.frombuffer(body, "<u2", count, start) / 65_535 for start in (0, 2 * count))
    return x, y, np.frombuffer(body, np.uint8, count, 4 * count)


@pytest.fixture(scope="module")
def titles(shop: Shop) -> Iterator[list[str]]:
    """Of the items, in the order of the points."""
    _, artefacts = Snapshots(shop.settings.home / "snapshots").load_current()
    yield artefacts.items.titles(np.arange(len(artefacts.items)))


def test_points_move_to_their_places_when_the_layout_is_ready(shop: Shop, browse: Browse) -> None:
    for path in (shop.settings.home / "maps").glob("*-text.npz"):
        path.unlink()
    sketched = asked(shop, "points").content
    visit = browse(f"{shop.url}{MAP}?space=text")
    visit.page.wait_for_selector("#map[data-drawn=coming]")
    expect(visit.page.locator("#map-made")).to_contain_text("A sketch")
    visit.page.wait_for_selector("#map[data-drawn=kept]", timeout=60_000)
    expect(visit.page.locator("#map-made")).to_contain_text("Laid out by neighbours in")
    assert asked(shop, "points").content != sketched


def test_map(shop: Shop, browse: Browse, size: str) -> None:
    visit = opened(shop, browse, size)
    assert len(colours(visit)) >= 4  # the ground and three genres
    wide, window = visit.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert wide <= window
    visit.show("console-map")
    assert visit.barriers() == []


def test_map_in_the_dark(shop: Shop, browse: Browse) -> None:
    light = colours(opened(shop, browse))
    visit = opened(shop, browse, dark=True)
    assert len(colours(visit) - light) >= 4
    visit.show("console-map")
    assert visit.barriers() == []


@pytest.mark.parametrize("space", ["image", "taste"])
def test_other_spaces_have_maps(shop: Shop, browse: Browse, space: str) -> None:
    visit = browse(f"{shop.url}{MAP}?space={space}")
    visit.page.wait_for_selector("#map[data-drawn]")
    assert len(colours(visit)) >= 4
    expect(visit.page.locator(".switch [aria-current]")).to_have_text(
        {"image": "Pictures", "taste": "Taste"}[space]
    )


def test_zoom_and_pan_change_the_picture(shop: Shop, browse: Browse) -> None:
    visit = opened(shop, browse)
    canvas = visit.page.locator("#map-canvas")

    def seen() -> bytes:
        visit.page.wait_for_timeout(400)
        return drawn(visit)

    whole = seen()
    visit.page.get_by_role("button", name="Zoom in").click()
    near = seen()
    assert near != whole
    canvas.hover(position={"x": 400, "y": 500})
    visit.page.mouse.down()
    visit.page.mouse.move(300, 350, steps=4)
    visit.page.mouse.up()
    aside = seen()
    assert aside != near
    visit.page.mouse.wheel(0, -300)
    assert seen() != aside
    visit.page.get_by_role("button", name="Show all").click()
    visit.page.mouse.move(5, 5)
    assert seen() == whole


def test_hover_names_the_item_and_a_click_opens_it(
    shop: Shop, browse: Browse, titles: list[str]
) -> None:
    visit = opened(shop, browse)
    item = titles.index("Pulp Fiction (1994)")
    x, y = at(visit, item, shop)
    visit.page.mouse.move(x, y)
    expect(visit.page.locator("#map-card b")).to_have_text("Pulp Fiction (1994)")
    expect(visit.page.locator("#map-card small")).to_contain_text("Crime")
    visit.show("console-map-card")
    visit.page.mouse.click(x, y)
    visit.page.wait_for_url(f"{shop.url}/console/items/296")
    visit.wrong.clear()  # whether that page is there is not for this one to say


def test_a_tap_shows_a_card_that_can_be_tapped(
    shop: Shop, browse: Browse, titles: list[str]
) -> None:
    visit = opened(shop, browse, "phone")
    x, y = at(visit, titles.index("Pulp Fiction (1994)"), shop)
    visit.page.locator("#map-canvas").scroll_into_view_if_needed()
    visit.page.touchscreen.tap(x, y)
    expect(visit.page.locator("#map-card")).to_be_visible()
    assert "/console/items/" in (visit.page.locator("#map-card").get_attribute("href") or "")
    visit.show("console-map-card")


def test_two_fingers_zoom(shop: Shop, browse: Browse) -> None:
    visit = opened(shop, browse, "phone")
    box = visit.page.locator("#map-canvas").bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    fingers = visit.page.context.new_cdp_session(visit.page)

    def touch(kind: str, *apart: int) -> None:
        points = [{"x": x + side * far, "y": y, "id": side} for far in apart for side in (-1, 1)]
        fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    whole = drawn(visit)
    touch("touchStart", 40)
    for apart in (60, 90, 120):
        touch("touchMove", apart)
    touch("touchEnd")
    visit.page.wait_for_timeout(300)
    assert drawn(visit) != whole
    visit.show("console-map-near")
    visit.page.get_by_role("button", name="Show all").click()
    visit.page.wait_for_timeout(400)
    assert drawn(visit) == whole


def test_nothing_glides_where_that_is_not_wanted(shop: Shop, browse: Browse) -> None:
    visit = opened(shop, browse, reduced_motion="reduce")
    pictures = visit.page.evaluate(
        """async () => {
          const canvas = document.getElementById("map-canvas");
          const found = new Set([canvas.toDataURL()]);
          document.querySelector("[data-zoom=in]").click();
          for (let n = 0; n < 30; n += 1) {
            await new Promise(requestAnimationFrame);
            found.add(canvas.toDataURL());
          }
          return found.size;
        }"""
    )
    assert pictures == 2  # before and after


def test_keys_move_the_map_and_name_what_is_in_the_middle(shop: Shop, browse: Browse) -> None:
    visit = opened(shop, browse)
    for _ in range(40):
        visit.page.keyboard.press("Tab")
        if visit.page.evaluate("document.activeElement.id") == "map-canvas":
            break
    said = visit.page.locator("#map-said")
    expect(said).not_to_be_empty()
    for key in ("+", "+", "ArrowRight", "ArrowRight", "ArrowDown"):
        visit.page.keyboard.press(key)
    expect(visit.page.locator("#map-card")).to_be_visible()
    first = said.text_content()
    visit.page.keyboard.press("Home")
    for _ in range(4):
        visit.page.keyboard.press("ArrowLeft")
        visit.page.wait_for_timeout(220)
    expect(said).not_to_have_text(first or "")
    visit.page.keyboard.press("Enter")
    visit.page.wait_for_url("**/console/items/*")
    visit.wrong.clear()


def test_the_legend_counts_and_dims_all_but_what_is_chosen(shop: Shop, browse: Browse) -> None:
    visit = opened(shop, browse)
    before = colours(visit)
    crime = visit.page.get_by_role("button", name=re.compile("^Crime"))
    crime.click()
    expect(crime).to_have_attribute("aria-pressed", "true")
    visit.page.mouse.move(5, 5)
    visit.page.wait_for_timeout(200)
    after = colours(visit)
    assert len(before & after) < len(before) and after - before
    visit.show("console-map-chosen")
    visit.page.get_by_role("button", name="Show all", exact=True).last.click()
    visit.page.mouse.move(5, 5)
    visit.page.wait_for_timeout(200)
    assert colours(visit) == before


def test_a_search_lights_up_titles_else_what_reads_nearest(shop: Shop, browse: Browse) -> None:
    visit = opened(shop, browse)
    field = visit.page.get_by_role("searchbox")
    field.fill("family film")
    expect(visit.page.locator("#map-found")).to_have_text("20 titles")
    field.press("Enter")
    visit.page.wait_for_timeout(300)
    visit.show("console-map-search")
    assert visit.barriers() == []
    field.fill("")
    expect(visit.page.locator("#map-found")).to_be_hidden()


def test_search_by_title_by_id_and_by_meaning(shop: Shop, titles: list[str]) -> None:
    found = asked(shop, "search", q="pulp FICTION").json()
    assert [titles[n] for n in found["at"]] == ["Pulp Fiction (1994)"]
    assert asked(shop, "search", q="296").json()["at"] == found["at"]
    assert asked(shop, "search", q=" ").json() == {"by": "title", "count": 0, "at": []}
    near = asked(shop, "search", q="an alien in a rocket").json()
    assert near["by"] == "meaning"
    genres = [titles[n].split()[0] for n in near["at"][:10]]
    assert genres.count("Space") >= 8


def test_points_come_packed_and_only_where_they_have_changed(shop: Shop) -> None:
    laid_out(shop)
    plain = asked(shop, "points")
    x, _, colour = decoded(plain.content)
    assert len(x) == 63 and (colour != 255).sum() >= 60
    assert {int(colour[n]) & 64 for n in range(63)} == {0, 64}  # some are not on offer
    assert plain.headers["content-encoding"] == "gzip"
    again = shop.client.get(
        f"{MAP}/points",
        params={"space": "text", "origin": origin(shop)},
        headers={"If-None-Match": plain.headers["etag"], "Accept-Encoding": "identity"},
    )
    assert again.status_code == 304 and not again.content
    whole = shop.client.get(
        f"{MAP}/points",
        params={"space": "text", "origin": origin(shop)},
        headers={"Accept-Encoding": "identity"},
    )
    assert "content-encoding" not in whole.headers and whole.content == plain.content
    assert len(gzip.compress(whole.content)) < len(whole.content)


def test_clusters_of_genres_stay_together(shop: Shop, titles: list[str]) -> None:
    laid_out(shop)
    x, y, colour = decoded(asked(shop, "points").content)
    films = [n for n, title in enumerate(titles) if " film " in title and colour[n] != 255]
    places = np.stack([x, y], axis=1)[films]
    genre = np.array([titles[n].split()[0] for n in films])
    away = ((places[:, None] - places[None]) ** 2).sum(axis=2)
    np.fill_diagonal(away, np.inf)
    near = np.argsort(away, axis=1)[:, :5]
    assert (genre[near] == genre[:, None]).mean() > 0.8


def test_what_is_said_of_points(shop: Shop, titles: list[str]) -> None:
    item = titles.index("Pulp Fiction (1994)")
    [card] = asked(shop, "items", at=f"{item},-1,x,99999").json()
    assert card["title"] == "Pulp Fiction (1994)" and "Crime" in card["categories"]
    assert shop.client.get(card["picture"]).status_code == 200
    assert card["href"] == "/console/items/296"


def test_a_page_over_another_snapshot_is_told(shop: Shop) -> None:
    answer = asked(shop, "points", origin="20200101T000000-000000")
    assert answer.status_code == 503 and "load the page anew" in answer.text


def test_a_space_that_is_not_there_is_told(shop: Shop, browse: Browse) -> None:
    visit = browse(f"{shop.url}{MAP}?space=smell")
    expect(visit.page.get_by_text("There is no map of 'smell'")).to_be_visible()
    expect(visit.page.get_by_role("link", name="Text")).to_be_visible()
    assert asked(shop, "points", space="smell").status_code == 422


def test_an_unbuilt_shop_says_so(unbuilt: Shop, browse: Browse, size: str) -> None:
    visit = browse(unbuilt.url + MAP, size)
    expect(visit.page.get_by_text("recsys rebuild")).to_be_visible()
    visit.show("console-map-unbuilt")
    assert visit.barriers() == []
