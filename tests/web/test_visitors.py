"""Who looks, and what is told of it: users and newcomers, impressions, clicks and views, and the reasons shown."""

import re
from collections import Counter
from typing import Any

import httpx
from apis import until
from playwright.sync_api import Page, expect
from storefronts import Browse, Shop

CARD = re.compile(r'data-item="([^"]+)"')


def switch(page: Page, user_id: str) -> None:
    page.locator(".viewer-button").click()
    page.get_by_label("User id").fill(user_id)
    page.keyboard.press("Enter")
    page.wait_for_function("id => document.body.dataset.user === id", arg=user_id)


def kinds(shop: Shop, user_id: str) -> Counter[str]:
    return Counter(event["type"] for event in shop.events(user_id))


def of_type(shop: Shop, user_id: str, kind: str) -> list[dict[str, Any]]:
    return [event for event in shop.events(user_id) if event["type"] == kind]


def first_row(text: str) -> list[str]:
    return CARD.findall(text)[:10]


def test_the_shop_is_seen_as_any_user(shop: Shop, browse: Browse, size: str) -> None:
    visit = browse(shop.url, size)
    page = visit.page
    assert page.locator("h1").inner_text() == "Popular right now"
    switch(page, "42")
    assert page.locator("h1").inner_text() == "For you"
    assert page.get_by_role("heading", name=re.compile("^Because you ")).is_visible()
    visit.show("home-42")
    page.locator(".viewer-button").click()
    assert page.get_by_role("dialog", name="Whose shop is it?").is_visible()
    visit.show("viewer")
    assert visit.barriers() == []
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).not_to_be_visible()
    page.locator(".viewer-button").click()
    page.get_by_role("button", name="Be a newcomer").click()
    page.wait_for_function("() => document.body.dataset.user === undefined")
    assert page.locator("h1").inner_text() == "Popular right now"


def test_some_known_users_are_suggested_each_with_a_taste(shop: Shop, browse: Browse) -> None:
    page = browse(shop.url).page
    page.locator(".viewer-button").click()
    known = page.locator(".people button")
    assert known.count() == 6
    told = known.first.locator(".person").inner_text().split("\n")
    assert told[0] == "1"
    assert told[1].split(", ")[0] in {"Crime", "Family", "Space"}
    known.first.click()
    page.wait_for_function("() => document.body.dataset.user === '1'")


def test_a_user_nobody_knows_is_told_so(shop: Shop, browse: Browse) -> None:
    page = browse(shop.url).page
    switch(page, "ü/nobody <b>")
    assert page.get_by_text("Nothing is known of ü/nobody <b> yet").is_visible()


def test_a_switch_works_without_javascript_and_not_from_another_site(shop: Shop) -> None:
    with httpx.Client(base_url=shop.url, follow_redirects=True) as client:
        assert "For you" in client.post("/viewer", data={"user_id": " 42 "}).text
        elsewhere = {"Sec-Fetch-Site": "cross-site"}
        assert "For you" in client.post("/viewer", data={}, headers=elsewhere).text
        first = client.cookies["recsys_session"]
        assert "Popular right now" in client.post("/viewer", data={}).text
        assert client.cookies["recsys_session"] != first
        assert "recsys_user" not in client.cookies
        assert "Popular right now" in client.post("/viewer", data={"user_id": "x" * 5_000}).text


def test_three_clicks_of_a_newcomer_change_the_first_row(
    shop: Shop, browse: Browse, size: str
) -> None:
    page = browse(shop.url, size).page
    before = first_row(page.content())
    for _ in range(3):
        page.goto(shop.url)
        page.locator('[data-item^="family-"] a').last.click()
        page.wait_for_url("**/items/*")
    page.goto(shop.url)
    after = first_row(page.content())
    assert page.locator("h1").inner_text() == "For you"
    assert page.get_by_role("heading", name=re.compile("^Because you viewed Family film")).count()
    family = [sum(key.startswith("family") for key in some) for some in (before, after)]
    assert family[1] >= 7 > family[0]


def test_what_is_seen_for_a_second_is_an_impression_and_what_is_not_is_none(
    shop: Shop, browse: Browse
) -> None:
    page = browse(shop.url).page
    switch(page, "looker")
    until(lambda: kinds(shop, "looker")["impression"] > 0, 10)
    page.wait_for_timeout(300)
    told = of_type(shop, "looker", "impression")
    assert all(event["session_id"] for event in told)
    contexts = [event["context"] for event in told]
    assert {context["placement"] for context in contexts} == {"for you"}
    hero = page.locator(".hero")
    assert {context["recommendation_id"] for context in contexts} == {
        hero.get_attribute("data-recommendation")
    }
    shown = {
        context["position"]: event["item_id"] for context, event in zip(contexts, told, strict=True)
    }
    assert shown[1] == hero.locator("[data-item]").get_attribute("data-item")
    assert 1 < len(shown) < 13, "those beyond the edge of the window were not seen"
    assert kinds(shop, "looker").keys() == {"impression"}


def test_who_looks_for_less_than_a_second_has_seen_nothing(shop: Shop, browse: Browse) -> None:
    page = browse(shop.url).page
    switch(page, "hasty")
    page.wait_for_timeout(400)
    page.goto("about:blank")
    page.wait_for_timeout(1_500)
    assert not shop.events("hasty")


def test_a_click_is_told_with_its_recommendation_and_the_page_as_a_view(
    shop: Shop, browse: Browse, size: str
) -> None:
    page = browse(shop.url, size).page
    user = f"clicker on a {size}"
    switch(page, user)
    shelf = page.locator(".shelf").first
    recommendation = shelf.get_attribute("data-recommendation")
    card = shelf.locator(".card").first
    item = card.get_attribute("data-item")
    card.locator("a").click()
    page.wait_for_url("**/items/*")
    until(lambda: kinds(shop, user)["view"] == 1, 10)
    [click] = of_type(shop, user, "click")
    assert click["item_id"] == item
    assert click["context"] == {
        "placement": "for you",
        "position": 2,
        "recommendation_id": recommendation,
    }
    [view] = of_type(shop, user, "view")
    assert view["item_id"] == item


def test_why_an_item_is_shown_is_told_in_words_and_in_parts(
    shop: Shop, browse: Browse, size: str
) -> None:
    visit = browse(shop.url, size)
    page = visit.page
    switch(page, "42")
    card = page.locator(".shelf .card").first
    button = card.get_by_role("button", name="Why this?")
    button.focus()
    page.keyboard.press("Enter")
    sheet = card.get_by_role("dialog")
    assert sheet.is_visible()
    visit.show("why")
    assert visit.barriers() == []
    title = card.locator(".title").inner_text()
    assert sheet.locator(".why-title").inner_text() == f"Why {title}?"
    assert sheet.locator(".why-reason").inner_text().startswith(("Because you", "Matches"))
    ask = {"user_id": "42", "limit": 13, "diversity": 0.3, "explain": True}
    said = shop.client.post("/v1/recommendations", json=ask).json()["items"][1]
    largest = max(said["parts"].values(), key=abs)
    assert f"{abs(largest):.2f}" in sheet.locator(".bars dd").first.inner_text()
    box = sheet.bounding_box()
    window = page.viewport_size
    assert box and window
    assert box["x"] >= 0 and box["x"] + box["width"] <= window["width"]
    assert box["y"] >= 0 and box["y"] + box["height"] <= window["height"]
    page.keyboard.press("Escape")
    expect(sheet).not_to_be_visible()
    assert button.evaluate("(one) => one === document.activeElement")
