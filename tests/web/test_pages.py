"""Pages as they come, before any script: whole, and closed to what is not theirs."""

import re
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
import worlds
from apis import served_quickly
from storefronts import Shop, opened

from recsys.catalogue.database import connect, migrate
from recsys.config import Settings
from recsys.snapshot import Artefacts
from recsys.web.site import POLICY

ITEM = re.compile(r'data-item="([^"]+)"')
HEADING = re.compile(r"<h[12] id=\"row-\d\">(.*?)</h[12]>")


def page(shop: Shop, path: str, status: int = 200, **cookies: str) -> str:
    said = "; ".join(f"{name}={value}" for name, value in cookies.items())
    reply = httpx.get(shop.url + path, headers={"Cookie": said} if said else {})
    assert reply.status_code == status, reply.text
    assert reply.headers["content-type"] == "text/html; charset=utf-8"
    assert reply.headers["content-security-policy"] == POLICY
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.headers["referrer-policy"]
    return reply.text


def test_the_home_page_has_its_rows_without_javascript_and_no_item_twice(shop: Shop) -> None:
    text = page(shop, "/", recsys_user="42")
    headings = HEADING.findall(text)
    assert headings[0] == "For you"
    assert headings[1].startswith("Because you ")
    assert headings[2:] == ["Trending", "New"]
    shown = ITEM.findall(text)
    assert len(shown) == len(set(shown)) > 30


def test_a_newcomer_sees_what_is_popular(shop: Shop) -> None:
    text = page(shop, "/")
    assert HEADING.findall(text) == ["Popular right now", "Trending", "New"]
    popular = shop.client.post("/v1/recommendations", json={"limit": 13, "diversity": 0.3}).json()
    assert ITEM.findall(text)[:13] == [place["item_id"] for place in popular["items"]]


def test_what_the_shop_pins_leads_the_first_row_and_says_why_in_words_alone(shop: Shop) -> None:
    """Nothing scored it: there are no parts to show."""
    pinned = ITEM.findall(page(shop, "/", recsys_user="42"))[5]
    rule = {"name": "of the week", "action": "pin", "items": [pinned], "place": 1}
    kept = shop.client.post("/v1/rules", json=rule).json()
    try:
        text = page(shop, "/", recsys_user="42")
    finally:
        assert shop.client.delete(f"/v1/rules/{kept['id']}").is_success
    assert ITEM.findall(text)[0] == pinned
    lead = text[text.index(f'data-item="{pinned}"') :].partition("</article>")[0]
    assert "Picked by the shop" in lead
    assert "hero-parts" not in lead and "add up to" not in lead
    assert "hero-parts" in page(shop, "/", recsys_user="42")


def test_the_first_row_is_what_the_api_recommends(shop: Shop) -> None:
    ask = {"user_id": "42", "limit": 13, "diversity": 0.3}
    said = shop.client.post("/v1/recommendations", json=ask).json()
    shown = ITEM.findall(page(shop, "/", recsys_user="42"))[:13]
    assert shown == [place["item_id"] for place in said["items"]]


@pytest.mark.parametrize("path", ["/", "/items/space-1", "/items/none"])
def test_no_page_holds_a_script_or_a_style_of_its_own(shop: Shop, path: str) -> None:
    text = page(shop, path, 404 if "none" in path else 200)
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|<script(?![^>]*\ssrc=)", text)
    assert not re.search(r'(?:src|href)="(?:https?:)?//', text)


def test_files_are_kept_for_ever_under_an_address_that_changes_with_them(shop: Shop) -> None:
    for address in re.findall(r'"(/assets/[^"]+)"', page(shop, "/")):
        reply = shop.client.get(address)
        assert reply.status_code == 200
        assert "immutable" in reply.headers["cache-control"]
        assert reply.headers["x-content-type-options"] == "nosniff"
        name = address.rpartition("/")[2]
        old = shop.client.get(f"/assets/of-yesterday/{name}")
        assert (old.content, old.headers["cache-control"]) == (reply.content, "no-cache")
    page(shop, "/assets/x/none.css", 404)
    page(shop, "/assets/x/..%2Fsite.py", 404)


def test_an_item_has_a_page_with_what_is_similar_in_each_way(shop: Shop) -> None:
    text = page(shop, "/items/space-1")
    assert "<h1>Space film 1</h1>" in text
    for told in (
        "Studio 1",
        "<li>Space</li>",
        "<li>Drama</li>",
        "story 1",
        "6.00",
        "1991",
        "en, fr",
    ):
        assert told in text, told
    panels = re.split(r'<div class="panel" id="panel-', text)[1:]
    assert [panel.partition('"')[0] for panel in panels] == ["behaviour", "image", "text"]
    assert [" hidden>" in panel.partition("\n")[0] for panel in panels] == [False, True, True]
    for panel, by in zip(panels, ("behaviour", "image", "text"), strict=True):
        ask = {"by": by, "limit": 12, "hide_seen": False}
        said = shop.client.get("/v1/items/space-1/similar", params=ask).json()
        shown, told = ITEM.findall(panel), [place["item_id"] for place in said["items"]]
        assert shown[0] == told[0]
        assert shown == [key for key in told if key in shown]  # without what only fills the row


def test_a_way_of_being_similar_is_chosen_by_a_link(shop: Shop) -> None:
    text = page(shop, "/items/space-1?by=text")
    assert '<div class="panel" id="panel-text" role="region" aria-labelledby="tab-text">' in text
    for other in ("behaviour", "image"):
        assert f'aria-labelledby="tab-{other}" hidden>' in text


def test_an_item_without_a_picture_looks_like_nothing(shop: Shop) -> None:
    text = page(shop, "/items/space-2")
    assert "panel-image" not in text
    assert "panel-text" in text


def test_an_id_may_hold_anything(shop: Shop) -> None:
    key = 'a/b "c" <i>&?ü'
    where = quote(key, safe="")
    body = {
        "title": "<script>alert(1)</script>",
        "available": False,
        "price": 1234.5,
        "currency": "EUR",
    }
    assert shop.client.put(f"/v1/items/{where}", json=body).is_success
    text = page(shop, f"/items/{where}")
    assert "&lt;script&gt;" in text and "<script>alert" not in text
    assert "€1,234.50" in text and "Not available" in text
    assert f'src="/pictures/{where}?size=page"' in text
    assert shop.client.get(f"/pictures/{where}").is_success
    shop.client.put("/v1/items/plain%2Fslash", json={"title": "Slashed", "available": False})
    assert "Slashed" in page(shop, "/items/plain/slash")


def test_an_unknown_item_is_told_on_a_page(shop: Shop) -> None:
    assert "This item is not here" in page(shop, "/items/none", 404)
    assert "This item is not here" in page(shop, "/items/%FF", 404)


def test_an_unknown_address_is_told_to_people_on_a_page_and_to_programs_in_json(shop: Shop) -> None:
    for path in ("/elsewhere", "/items", "/v1/elsewhere"):
        asked = httpx.get(shop.url + path, headers={"Accept": "text/html,*/*;q=0.8"})
        assert asked.status_code == 404
        assert "There is nothing here" in asked.text
        assert asked.headers["content-security-policy"] == POLICY
        plain = httpx.get(shop.url + path)
        assert (plain.status_code, plain.json()["error"]["type"]) == (404, "not_found")
    asked = httpx.get(f"{shop.url}/v1/items/none", headers={"Accept": "text/html"})
    assert asked.json()["error"]["type"] == "unknown_item"


def test_a_shop_without_a_snapshot_says_what_to_run(unbuilt: Shop) -> None:
    assert "recsys rebuild" in page(unbuilt, "/", 503)
    assert unbuilt.client.put("/v1/items/1", json={"title": "Early"}).status_code == 201
    assert "<h1>Early</h1>" in page(unbuilt, "/items/1")
    assert "This item is not here" in page(unbuilt, "/items/2", 404)


def test_a_shop_with_nothing_on_offer_says_how_to_fill_it(
    artefacts: Artefacts, tmp_path: Path
) -> None:
    settings = served_quickly(Settings(home=tmp_path))
    engine = connect(settings)
    migrate(engine)
    worlds.fill(engine)
    engine.dispose()
    worlds.publish(settings.home, artefacts)
    with opened(settings) as emptied:
        assert "Trending" in page(emptied, "/")
        sold = [
            item.model_dump(mode="json", exclude_none=True) | {"available": False}
            for item in worlds.films()
        ]
        assert emptied.client.post("/v1/items", json=sold).is_success
        text = page(emptied, "/")
        assert "Nothing to show yet" in text
        assert "recsys import items" in text


def test_the_api_answers_as_before(shop: Shop) -> None:
    reply = shop.client.get("/nothing")
    assert reply.json()["error"]["type"] == "not_found"
    assert "/items/{item_id}" not in shop.client.get("/openapi.json").json()["paths"]


def test_nobody_can_choose_the_name_of_a_session(shop: Shop) -> None:
    reply = httpx.get(shop.url, headers={"Cookie": "recsys_session=mine"})
    [cookie] = reply.headers.get_list("set-cookie")
    assert re.match(r"recsys_session=[0-9a-f]{32}; HttpOnly; Path=/; SameSite=lax", cookie)
