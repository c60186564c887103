"""The pages of users: found by their ids, and each with a history, a slate, and all that led to it."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote

import httpx
import pytest
from storefronts import Browse, Shop, opened

from recsys.config import Settings

CANDIDATE = re.compile(r'<tr( class="ours")?>\s*<th scope="row"><a href="/console/items/([^"]+)"')
PLACE = re.compile(
    r'<td class="number">(\d+)</td>\s*<th scope="row"><a class="row-item" href="([^"]+)"'
)


def page(shop: Shop, path: str, status: int = 200) -> str:
    reply = httpx.get(shop.url + path, timeout=30)
    assert reply.status_code == status, reply.text
    text = reply.text
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|<script(?![^>]*\ssrc=)", text)
    return text


def section(text: str, name: str) -> str:
    return text[text.index(f'id="{name}"') :].partition("</section>")[0]


def placed(text: str) -> list[str]:
    """The items of the slate, by rank."""
    found = PLACE.findall(section(text, "slate"))
    assert [int(rank) for rank, _ in found] == list(range(1, len(found) + 1))
    return [href.removeprefix("/console/items/") for _, href in found]


def removed(text: str) -> dict[str, int]:
    told = section(text, "removed")
    found = re.findall(r'<b>(\w+)</b><span>.*?</span><span class="count">([\d,]+)</span>', told)
    return {name: int(count.replace(",", "")) for name, count in found}


def asked(shop: Shop, user: str) -> dict:
    told = {"user_id": user, "limit": 20, "explain": True}
    reply: dict = shop.client.post("/v1/recommendations", json=told).json()
    return reply


@contextmanager
def kept(shop: Shop, **rule: object) -> Iterator[None]:
    made = shop.client.post("/v1/rules", json={"name": "for a test"} | rule).json()
    try:
        yield
    finally:
        assert shop.client.delete(f"/v1/rules/{made['id']}").is_success


def test_users_are_found_by_how_their_ids_begin(shop: Shop) -> None:
    text = page(shop, "/console/users?q=4")
    found = re.findall(r'href="/console/users/([^"]+)"', text)
    assert found == [
        str(n) for n in sorted(map(str, range(1, 61))) if n == "4" or n.startswith("4")
    ]
    assert "8 events, the newest" in text
    text = page(shop, "/console/users?q=%3Cnone%3E")
    assert "Nobody whose id begins with “&lt;none&gt;” has done anything" in text
    assert 'href="/console/users/%3Cnone%3E"' in text


def test_a_list_of_users_to_start_from(shop: Shop, browse: Browse, size: str) -> None:
    visit = browse(shop.url + "/console/users", size, dark=size == "phone")
    assert visit.page.locator(".rows a").count() > 8
    visit.show("console-users")
    assert visit.barriers() == []
    assert visit.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    visit.page.fill("#q", "42")
    visit.page.keyboard.press("Enter")
    visit.page.get_by_role("link", name="42").click()
    assert visit.page.locator("h1").inner_text() == "42"


def test_a_user_as_seen_in_a_browser(shop: Shop, browse: Browse, size: str) -> None:
    visit = browse(shop.url + "/console/users/42", size, dark=size == "desktop")
    visit.show("console-user")
    assert visit.barriers() == []
    assert visit.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    visit.page.locator("#removed summary", has_text="seen").click()
    assert visit.page.locator("#removed details[open] .chips a").count() > 3
    visit.page.get_by_role("button", name="See the shop as this user").click()
    visit.page.wait_for_url(shop.url + "/")
    assert visit.page.get_by_role("heading", name="For you").count() == 1


def test_the_slate_and_its_account_are_those_of_the_api(shop: Shop) -> None:
    text, said = page(shop, "/console/users/42"), asked(shop, "42")
    assert placed(text) == [place["item_id"] for place in said["items"]]
    assert removed(text) == said["account"]["removed"]
    rows = CANDIDATE.findall(section(text, "candidates"))
    assert {key for ours, key in rows if ours} == set(placed(text))
    assert len(rows) == len({key for _, key in rows}) > 20
    assert "8 liked" in text and "8 events" in text


def test_rules_are_in_force_and_what_they_exclude_is_named(shop: Shop) -> None:
    first = placed(page(shop, "/console/users/42"))
    out, up = first[0], first[15]
    with kept(shop, action="exclude", items=[out]), kept(shop, action="pin", items=[up], place=1):
        text, said = page(shop, "/console/users/42"), asked(shop, "42")
    assert placed(text) == [place["item_id"] for place in said["items"]]
    assert (placed(text)[0], out in placed(text)) == (up, False)
    assert removed(text) == said["account"]["removed"]
    assert removed(text)["rules"] == 1
    told = section(text, "removed").partition("<b>rules</b>")[2]
    assert f'href="/console/items/{out}"' in told
    assert "Nothing scores it" in section(text, "slate")


def test_a_history_says_what_happened_where_and_what_it_weighs(shop: Shop) -> None:
    user = "a/b ü <i>?"
    events = [
        {"item_id": "space-1", "type": "like", "context": {"placement": "home", "position": 3}},
        {"item_id": "family-1", "type": "rating", "value": 1.5},
        {"item_id": "not/there", "type": "view"},
    ]
    every = [{"user_id": user} | event for event in events]
    assert shop.client.post("/v1/events", json=every).is_success
    text = page(shop, "/console/users/" + quote(user, safe=""))
    assert "<h1>a/b ü &lt;i&gt;?</h1>" in text
    told = section(text, "history")
    assert "home at 3" in told
    assert re.search(r"family-1.*?</span> 1\.5", told, re.S)
    assert re.search(r"not/there<small>not in the catalogue", told)
    assert "+" in told and "\N{MINUS SIGN}" in told
    assert "<dd>short<small>" in text
    assert "3 events, the newest" in text
    assert "3 events, the newest" in page(shop, "/console/users/a/b%20%C3%BC%20%3Ci%3E%3F")
    assert f'href="/console/users/{quote(user, safe="")}"' in page(shop, "/console/users?q=a%2F")


def test_of_a_long_history_the_newest_are_shown(shop: Shop) -> None:
    events = [
        {"user_id": "busy", "item_id": f"space-{n % 20}", "type": "view", "event_id": f"busy {n}"}
        for n in range(60)
    ]
    assert shop.client.post("/v1/events", json=events).is_success
    text = page(shop, "/console/users/busy")
    assert "The newest 50 of 60 events." in text
    assert section(text, "history").count("<tr>") == 51
    text = page(shop, "/console/users/busy?events=all")
    assert section(text, "history").count("<tr>") == 61


def test_whoever_is_not_known_is_a_newcomer(shop: Shop) -> None:
    text = page(shop, "/console/users/nobody%20here")
    assert "Nobody of this id has done anything here: a newcomer" in text
    assert "<dd>newcomer<small>" in text
    assert placed(text) == [place["item_id"] for place in asked(shop, "nobody here")["items"]]
    assert "No events." in text
    assert "is no id" in page(shop, "/console/users/" + "x" * 600, 422)
    assert "is no id" in page(shop, "/console/users/%FF", 422)


@pytest.mark.parametrize("path", ["/console/users", "/console/users/1", "/console/users?q=1"])
def test_nothing_is_built_yet(unbuilt: Shop, browse: Browse, path: str) -> None:
    visit = browse(unbuilt.url + path)
    visit.show("console-users-unbuilt")
    assert visit.barriers() == []
    if path.endswith("/1"):
        assert "Nothing can be recommended yet" in visit.page.inner_text("main")


@pytest.mark.parametrize("path", ["users?q=a%00b", "items?q=a%00b", "users?q=%FF"])
def test_what_no_database_holds_is_not_found(migrated_settings: Settings, path: str) -> None:
    with opened(migrated_settings) as shop:
        assert shop.client.get(f"/console/{path}").status_code == 200


LONG = "x" * 512


def test_long_words_are_broken_where_the_window_ends(shop: Shop, browse: Browse, size: str) -> None:
    item = {"title": LONG, "categories": [LONG], "brand": LONG, "price": 1e300}
    assert shop.client.put(f"/v1/items/{LONG}", json=item).is_success
    visit = browse(f"{shop.url}/console/items/{LONG}", size)
    for path in (f"users/{LONG}", f"users?q={LONG}", f"items?q={LONG}", f"items/{LONG[1:]}"):
        assert visit.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
        visit.page.goto(f"{shop.url}/console/{path}")
    assert visit.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    visit.forgive("404")
    assert shop.client.delete(f"/v1/items/{LONG}").is_success
