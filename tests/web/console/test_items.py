"""The pages of items: found by id or title, and each with its neighbours, its events and how well it is known."""

import re
from datetime import date
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import worlds
from storefronts import Browse, Shop

from recsys.catalogue.activity import Tally
from recsys.web.console.timeline import timeline, totals


def page(shop: Shop, path: str, status: int = 200) -> str:
    reply = httpx.get(shop.url + path, timeout=30)
    assert reply.status_code == status, reply.text
    text = reply.text
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|<script(?![^>]*\ssrc=)", text)
    return text


def linked(text: str) -> list[str]:
    return re.findall(r'href="/console/items/([^"]+)"', text)


def column(text: str, source: str) -> str:
    return text[text.index(f"<h3>{source.capitalize()}</h3>") :].partition("</section>")[0]


def section(text: str, name: str) -> str:
    return text[text.index(f'id="{name}"') :].partition("</section>")[0]


def test_items_are_found_by_id_and_by_words_of_the_title(shop: Shop) -> None:
    assert linked(page(shop, "/console/items?q=296")) == ["296"]
    assert linked(page(shop, "/console/items?q=fiction+PULP")) == ["296"]
    assert len(linked(page(shop, "/console/items?q=space+film"))) == 20
    text = page(shop, "/console/items?q=%3Cb%3E%25")
    assert "No item has this id" in text and "&lt;b&gt;%" in text


def test_items_to_start_from(shop: Shop, browse: Browse, size: str) -> None:
    visit = browse(shop.url + "/console/items", size, dark=size == "desktop")
    headings = visit.page.locator(".card h2").all_inner_texts()
    assert headings == ["Popular", "Newest", "Cold"]
    visit.show("console-items")
    assert visit.barriers() == []
    assert visit.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    visit.page.fill("#q", "Pulp")
    visit.page.keyboard.press("Enter")
    visit.page.get_by_role("link", name="Pulp Fiction").click()
    assert visit.page.locator("h1").inner_text() == "Pulp Fiction (1994)"


def test_an_item_as_seen_in_a_browser(shop: Shop, browse: Browse, size: str) -> None:
    visit = browse(shop.url + "/console/items/space-1", size, dark=size == "phone")
    visit.page.wait_for_selector("#plot-events .main-svg")
    visit.show("console-item")
    assert visit.barriers() == []
    assert visit.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    twice = visit.page.locator(".columns a:has(.times)").first
    twice.hover() if size == "desktop" else twice.focus()
    key = twice.get_attribute("data-alike")
    marked = visit.page.locator(".columns a.alike")
    assert marked.count() > 1
    assert {one.get_attribute("data-alike") for one in marked.all()} == {key}


def test_neighbours_by_content_are_the_nearest_and_leave_out_the_item(shop: Shop) -> None:
    text = page(shop, "/console/items/space-1")
    for by in ("text", "image"):
        ask = {"by": by, "limit": 10, "hide_seen": False}
        said = shop.client.get("/v1/items/space-1/similar", params=ask | {"explain": True}).json()
        near = [p["item_id"] for p in said["items"] if any(p["parts"].values())]
        assert linked(column(text, by))[: len(near)] == near[:10]
        scores = [float(s) for s in re.findall(r'class="score">([\d.]+)<', column(text, by))]
        assert scores == sorted(scores, reverse=True)
        assert 0 < scores[-1] <= scores[0] <= 1
    for source in ("co-occurrence", "linear"):
        there = linked(column(text, source))
        assert sum(key.startswith("space") for key in there) > len(there) / 2 > 0
        assert "space-1" not in there


def test_a_source_that_has_nothing_says_why(shop: Shop) -> None:
    assert "It has no picture." in column(page(shop, "/console/items/space-2"), "image")
    text = page(shop, "/console/items/hidden")
    assert "Nobody has done anything with it" in section(text, "events")
    assert "Not on offer" in text


def test_events_are_counted_by_type(shop: Shop) -> None:
    events = [
        {"user_id": f"t{n}", "item_id": "family-19", "type": "view", "time": f"2026-0{n}-03T10:00Z"}
        for n in range(1, 7)
    ]
    before = totals_of(page(shop, "/console/items/family-19"))
    assert shop.client.post("/v1/events", json=events).is_success
    after = totals_of(page(shop, "/console/items/family-19"))
    assert after["view"] == before.get("view", 0) + 6
    assert {k: n for k, n in after.items() if k != "view"} == {
        k: n for k, n in before.items() if k != "view"
    }


def totals_of(text: str) -> dict[str, int]:
    found = re.findall(r"([\w ]+) <b>([\d,]+)</b>", section(text, "events"))
    return {name.strip(): int(count) for name, count in found}


def test_an_id_may_hold_anything_and_a_new_item_says_that_it_is_new(shop: Shop) -> None:
    key = 'n/e w "ü" <i>'
    where = quote(key, safe="")
    assert shop.client.put(f"/v1/items/{where}", json={"title": "<b>Fresh</b>"}).is_success
    text = page(shop, f"/console/items/{where}")
    assert "&lt;b&gt;Fresh&lt;/b&gt;" in text and "<b>Fresh" not in text
    assert "Not in the snapshot yet" in text and "brings it in by itself" in text
    assert "On offer" in text
    assert f'href="/items/{where}"' in text
    assert linked(page(shop, "/console/items?q=" + where)) == [where]
    page(shop, "/console/items/n/e%20w%20%22%C3%BC%22%20%3Ci%3E")
    shop.client.delete(f"/v1/items/{where}")
    assert "There is no item" in page(shop, f"/console/items/{where}", 404)


def test_an_unknown_item_is_told_on_a_page(shop: Shop) -> None:
    assert "There is no item &lt;none&gt;" in page(shop, "/console/items/%3Cnone%3E", 404)
    assert "no such item" in page(shop, "/console/items/%FF", 404)


def test_an_item_that_was_withdrawn_since_the_build_says_so_and_is_no_neighbour(shop: Shop) -> None:
    near = linked(column(page(shop, "/console/items/space-1"), "text"))[0]
    was = shop.client.get(f"/v1/items/{near}").json()
    assert shop.client.patch(f"/v1/items/{near}", json={"available": False}).is_success
    try:
        text = page(shop, f"/console/items/{near}")
        assert "Withdrawn since the build" in text
        assert near not in linked(column(page(shop, "/console/items/space-1"), "text"))
    finally:
        assert shop.client.patch(f"/v1/items/{near}", json={"available": True}).is_success
    assert shop.client.get(f"/v1/items/{near}").json() == was
    assert "On offer" in page(shop, f"/console/items/{near}")


def test_rules_about_an_item_are_named(shop: Shop) -> None:
    assert "None." in section(page(shop, "/console/items/crime-5"), "standing")
    crime = {
        "name": "more <crime>",
        "action": "boost",
        "by": 1.5,
        "where": {"categories": ["Crime"]},
    }
    made = shop.client.post("/v1/rules", json=crime).json()
    try:
        text = section(page(shop, "/console/items/crime-5"), "standing")
        assert "more &lt;crime&gt;" in text and "boost by 1.5, in force" in text
        assert "None." in section(page(shop, "/console/items/space-5"), "standing")
    finally:
        assert shop.client.delete(f"/v1/rules/{made['id']}").is_success


def test_how_well_an_item_is_known_is_told_in_words(shop: Shop) -> None:
    liked = {event.user_id for event in worlds.events() if event.item_id == "space-0"}
    known = section(page(shop, "/console/items/space-0"), "standing")
    assert f"{len(liked)} people are known to like it" in known
    assert f"{len(liked) / (len(liked) + 5):.0%}".rstrip("%") in known
    cold = section(page(shop, "/console/items/hidden"), "standing")
    assert "Cold" in cold and "Nobody is known to like it." in cold


@pytest.mark.parametrize("path", ["/console/items", "/console/items/early%2Fone"])
def test_nothing_is_built_yet(unbuilt: Shop, browse: Browse, path: str) -> None:
    assert unbuilt.client.put("/v1/items/early%2Fone", json={"title": "Early"}).is_success
    visit = browse(unbuilt.url + path)
    assert "Early" in visit.page.inner_text("main")
    visit.show("console-items-unbuilt")
    assert visit.barriers() == []


def drawn(bars: dict[str, Any]) -> dict[str, int]:
    """Day -> how high its bar is, where there is one."""
    return {x[:10]: y for x, y in zip(bars["x"], bars["y"], strict=True) if y}


def test_bars_are_of_days_weeks_or_months_as_the_span_has_it() -> None:
    first = date(2026, 1, 1)  # a Thursday
    days = timeline([Tally(first, "view", 2), Tally(date(2026, 2, 3), "like", 1)])
    assert days.caption == "By day, from 2026-01-01 to 2026-02-03."
    assert [drawn(bar) for bar in days.figure["data"]] == [{"2026-01-01": 2}, {"2026-02-03": 1}]
    some = [
        Tally(first, "view", 2),
        Tally(date(2026, 1, 3), "view", 3),
        Tally(date(2026, 6, 1), "view", 1),
    ]
    (weeks,) = timeline(some).figure["data"]
    assert drawn(weeks) == {"2025-12-29": 5, "2026-06-01": 1}
    (months,) = timeline([*some, Tally(date(2028, 6, 30), "view", 4)]).figure["data"]
    assert drawn(months) == {"2026-01-01": 5, "2026-06-01": 1, "2028-06-01": 4}
    assert totals([*some, Tally(first, "like", 9)]) == [("like", 9), ("view", 6)]
