"""What people do in the shop, in a real browser, at the size of a phone and of a desktop."""

import pytest
from storefronts import Browse, Shop

from recsys.web.covers import WIDTH, cover


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize(
    ("name", "path"), [("home", "/"), ("item", "/items/space-1"), ("item-cover", "/items/space-2")]
)
def test_every_page_is_open_to_everybody(
    shop: Shop, browse: Browse, size: str, dark: bool, name: str, path: str
) -> None:
    visit = browse(shop.url + path, size, dark)
    visit.show(name)
    assert visit.barriers() == []
    wide = visit.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert wide, "the page is wider than the window"


def test_an_unknown_item_and_an_unbuilt_shop_are_open_to_everybody(
    shop: Shop, unbuilt: Shop, browse: Browse, size: str
) -> None:
    for name, url in (("missing", f"{shop.url}/items/none"), ("unbuilt", f"{unbuilt.url}/")):
        visit = browse(url, size)
        visit.show(name)
        assert visit.barriers() == []
        visit.forgive("404" if name == "missing" else "503")


def test_from_the_home_page_to_an_item_and_on(shop: Shop, browse: Browse, size: str) -> None:
    page = browse(shop.url, size).page
    first = page.locator(".shelf a").first
    title = first.inner_text()
    first.click()
    page.wait_for_url("**/items/*")
    assert page.locator("h1").inner_text() == title
    page.locator(".panel:not([hidden]) a").first.click()
    page.wait_for_function("title => document.querySelector('h1').innerText !== title", arg=title)


def test_the_ways_of_being_similar_are_tabs(shop: Shop, browse: Browse) -> None:
    page = browse(f"{shop.url}/items/space-1").page
    tabs = page.get_by_role("tab")
    assert tabs.all_inner_texts() == ["People also liked", "Looks like", "Reads like"]
    tabs.first.focus()
    page.keyboard.press("ArrowRight")
    assert page.get_by_role("tab", selected=True).inner_text() == "Looks like"
    assert page.get_by_role("tabpanel").get_attribute("id") == "panel-image"
    page.keyboard.press("End")
    assert page.get_by_role("tab", selected=True).inner_text() == "Reads like"
    assert page.url.endswith("?by=text")
    page.reload()
    assert page.get_by_role("tab", selected=True).inner_text() == "Reads like"


def test_without_javascript_all_of_it_is_there(shop: Shop, browse: Browse, size: str) -> None:
    page = browse(f"{shop.url}/items/space-1", size, java_script_enabled=False).page
    assert page.locator(".panel").count() == 3
    page.get_by_role("link", name="Looks like").click()
    assert page.locator("#panel-image").is_visible()
    assert not page.locator("#panel-behaviour").is_visible()


def test_the_home_page_is_light(shop: Shop, browse: Browse) -> None:
    sizes: dict[str, int] = {}
    page = browse("about:blank").page
    page.on("response", lambda got: sizes.update({got.url: len(got.body())}))
    page.goto(shop.url)
    page.wait_for_load_state("networkidle")
    photos = {url for url in sizes if "/pictures/" in url}
    assert sum(size for url, size in sizes.items() if url not in photos) < 150_000
    assert sum(sizes.values()) < 300_000


def test_no_title_runs_out_of_its_cover(browse: Browse) -> None:
    page = browse("about:blank").page
    titles = ["Heat (1995)", "Wuthering Heights", "Pneumonoultramicroscopicsilicovolcanoconiosis"]
    titles += [
        "MWMWMWMWMWMWMW",
        "千と千尋の神隠し",
        "The Lord of the Rings: The Return of the King (2003)",
    ]
    for n, title in enumerate(titles * 4):
        page.set_content(cover(title + " " * (n // len(titles)), "Adventures and their makers"))
        edges = page.locator("text").evaluate_all(
            "texts => texts.map((one) => one.getBBox()).map((box) => [box.x + box.width, box.y])"
        )
        assert max(right for right, _ in edges) <= WIDTH
        assert min(top for _, top in edges) >= 0
