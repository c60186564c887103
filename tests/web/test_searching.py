"""Search in the browser: by words as they are typed, by a photo, and what is told where it cannot be done."""

from base64 import b64encode
from collections.abc import Iterator

import pytest
import worlds
from apis import served_quickly, until
from photos import file_of
from playwright.sync_api import expect
from storefronts import Browse, Shop, opened, photo_of

from recsys.catalogue.database import connect, migrate
from recsys.config import Settings
from recsys.snapshot import Artefacts

DROP = """(data) => {
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  const dragged = new DataTransfer();
  dragged.items.add(new File([bytes], "photo.jpg", { type: "image/jpeg" }));
  for (const type of ["dragenter", "dragover", "drop"]) {
    document.body.dispatchEvent(new DragEvent(type, { dataTransfer: dragged, bubbles: true, cancelable: true }));
  }
}"""


@pytest.fixture(scope="module")
def wordless(artefacts: Artefacts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """A shop whose vectors are of encoders that nobody has any more."""
    settings = served_quickly(Settings(home=tmp_path_factory.mktemp("wordless")))
    engine = connect(settings)
    migrate(engine)
    worlds.fill(engine)
    engine.dispose()
    worlds.publish(settings.home, artefacts)
    with opened(settings) as shop:
        yield shop


def test_words_find_items_while_they_are_typed(shop: Shop, browse: Browse, size: str) -> None:
    visit = browse(shop.url, size)
    page = visit.page
    field = page.get_by_role("combobox", name="Search")
    field.press_sequentially("a rocket to a far planet")
    options = page.get_by_role("option")
    expect(options).to_have_count(7)
    assert field.get_attribute("aria-expanded") == "true"
    said = shop.client.post(
        "/v1/search", json={"text": "a rocket to a far planet", "limit": 7}
    ).json()
    expect(options).to_have_text([item["title"] for item in said["items"]])
    visit.show("suggestions")
    assert visit.barriers() == []


def test_the_suggestions_are_moved_through_by_keys(shop: Shop, browse: Browse) -> None:
    page = browse(shop.url).page
    field = page.get_by_role("combobox", name="Search")
    field.press_sequentially("puppy")
    options = page.get_by_role("option")
    expect(options).to_have_count(7)
    field.press("ArrowUp")
    expect(options.last).to_have_attribute("aria-selected", "true")
    field.press("ArrowDown")
    field.press("ArrowDown")
    second = options.nth(1)
    expect(second).to_have_attribute("aria-selected", "true")
    assert field.get_attribute("aria-activedescendant") == second.get_attribute("id")
    field.press("Escape")
    expect(page.get_by_role("listbox")).not_to_be_visible()
    assert field.input_value() == "puppy"
    field.press("y")
    field.press("Backspace")
    expect(options).to_have_count(7)
    field.press("ArrowDown")
    title = options.first.inner_text()
    field.press("Enter")
    page.wait_for_url("**/items/*")
    assert page.locator("h1").inner_text() == title


def test_enter_alone_goes_to_all_that_is_found(shop: Shop, browse: Browse, size: str) -> None:
    visit = browse(shop.url, size)
    page = visit.page
    page.get_by_role("combobox", name="Search").fill("heist")
    page.keyboard.press("Enter")
    page.wait_for_url("**/search?q=heist")
    assert page.locator("h1").inner_text() == "heist"
    assert page.locator(".grid .card").count() == 36
    visit.show("search")
    assert visit.barriers() == []


def test_the_page_of_results_needs_no_script(shop: Shop) -> None:
    said = shop.client.post("/v1/search", json={"text": "puppy", "limit": 36}).json()
    text = shop.client.get("/search", params={"q": " puppy "}).text
    places = [text.index(f'data-item="{item["item_id"]}"') for item in said["items"]]
    assert places == sorted(places)
    assert "What are you looking for?" in shop.client.get("/search").text
    escaped = shop.client.get("/search", params={"q": "<script>" * 500}).text
    assert "<script>&" not in escaped and "&lt;script&gt;" in escaped


def test_a_chosen_photo_finds_what_looks_like_it(shop: Shop, browse: Browse, size: str) -> None:
    visit = browse(shop.url, size)
    page = visit.page
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Search by a photo").click()
    photo = file_of(photo_of("space-1", "Space"), "JPEG")
    chooser.value.set_files({"name": "a.jpg", "mimeType": "image/jpeg", "buffer": photo})
    cards = page.locator(".grid .card")
    expect(cards.first).to_have_attribute("data-item", "space-1")
    expect(cards.first.get_by_role("link")).to_have_text("Space film 1")
    assert "most alike first" in page.get_by_role("status").last.inner_text()
    visit.show("photo")
    assert visit.barriers() == []
    cards.first.get_by_role("button", name="Why this?").click()
    expect(page.get_by_role("dialog")).to_contain_text("Looks alike")
    page.keyboard.press("Escape")
    cards.first.get_by_role("link").click()
    page.wait_for_url("**/items/space-1")
    page.go_back()
    expect(page.locator("h1")).to_have_text("What are you looking for?")


def test_a_photo_may_be_dropped_anywhere(shop: Shop, browse: Browse) -> None:
    page = browse(f"{shop.url}/items/family-2").page
    photo = file_of(photo_of("crime", "Crime"), "JPEG")
    page.evaluate(DROP, b64encode(photo).decode())
    expect(page.locator("h1")).to_have_text("Looks like your photo")
    expect(page.locator(".grid .card").first).to_be_visible()


def test_what_is_no_photo_is_told_in_a_sentence(shop: Shop, browse: Browse) -> None:
    visit = browse(shop.url)
    page = visit.page
    page.locator("#photo").set_input_files(
        {"name": "a.jpg", "mimeType": "image/jpeg", "buffer": b"no photo at all"}
    )
    expect(page.get_by_role("status").last).to_contain_text("Not a readable picture")
    visit.forgive("422")


def test_where_words_cannot_be_read_a_sentence_says_so(
    wordless: Shop, browse: Browse, size: str
) -> None:
    visit = browse(wordless.url, size)
    page = visit.page
    page.get_by_role("combobox", name="Search").press_sequentially("robot")
    sentence = page.locator("#search-status")
    expect(sentence).to_have_text("This shop cannot be searched by words at the moment.")
    visit.show("wordless")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("Nothing can be found just now")
    visit.forgive("503")


def test_where_nothing_has_a_picture_no_photo_is_asked_for(unbuilt: Shop) -> None:
    text = unbuilt.client.get("/search").text
    assert "Search by a photo" not in text


def test_a_click_on_a_suggestion_is_told(shop: Shop, browse: Browse) -> None:
    page = browse(shop.url).page
    page.locator(".viewer-button").click()
    page.get_by_label("User id").fill("searcher")
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.body.dataset.user === 'searcher'")
    page.get_by_role("combobox", name="Search").press_sequentially("alien")
    option = page.get_by_role("option").nth(2)
    option.click()
    page.wait_for_url("**/items/*")
    until(lambda: any(event["type"] == "click" for event in shop.events("searcher")), 10)
    [click] = [event for event in shop.events("searcher") if event["type"] == "click"]
    assert (click["context"]["placement"], click["context"]["position"]) == ("suggestions", 3)
    assert len(click["context"]["recommendation_id"]) == 32
