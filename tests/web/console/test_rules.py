"""A merchandiser writes a rule in the console, sees what it would change, keeps it, changes it and takes it away."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.sync_api import expect
from storefronts import Browse, Shop, Visit

from recsys.catalogue.rule import Rule
from recsys.web.console.drafts import Draft

RULES = "/v1/rules"
PAGE = "/console/rules"
SPACE = {"name": "Space weeks", "action": "boost", "by": "30", "about": "where"}


@pytest.fixture(autouse=True)
def swept(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "shop" in request.fixturenames:
        client = request.getfixturevalue("shop").client
        for rule in client.get(RULES).json()["rules"]:
            client.delete(f"{RULES}/{rule['id']}")


def kept(shop: Shop, rule: dict[str, Any]) -> int:
    reply = shop.client.post(RULES, json=rule)
    assert reply.status_code == 201, reply.text
    return int(reply.json()["id"])


def rules(shop: Shop) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = shop.client.get(RULES).json()["rules"]
    return found


def fits(visit: Visit) -> bool:
    wide = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    return bool(visit.page.evaluate(wide))


def test_a_rule_is_written_tried_kept_changed_and_removed(
    shop: Shop, browse: Browse, size: str
) -> None:
    visit = browse(shop.url + PAGE, size)
    page = visit.page
    page.get_by_role("link", name="New rule").click()
    page.get_by_label("Name", exact=True).fill("Space weeks")
    page.get_by_label("How much").fill("30")
    page.get_by_label("Categories", exact=True).fill("Space")
    page.get_by_label("Categories", exact=True).press("Enter")
    after = page.locator("#preview section", has_text="With the rule")
    expect(page.locator("#preview")).to_contain_text("The rule is about 20 items")
    titles = after.locator(".slate-title").all_inner_texts()
    assert len(titles) == 10
    assert all(title.startswith("Space film") for title in titles)
    assert rules(shop) == []
    visit.show("console-rule")
    assert visit.barriers() == []
    assert fits(visit)
    page.get_by_role("button", name="Keep this rule").click()
    expect(page.locator(".said")).to_have_text("“Space weeks” is kept: it holds from now on.")
    expect(page.locator("li.rule")).to_contain_text("Boost by 30")

    page.goto(shop.url + "/")
    first = page.locator("main section").first.locator("article, li").first
    expect(first).to_contain_text("Space film")

    page.goto(shop.url + PAGE)
    page.get_by_role("link", name="Edit Space weeks").click()
    page.get_by_label("Name", exact=True).fill("No space")
    page.get_by_role("radio", name="Exclude").check()
    expect(page.get_by_label("How much")).to_be_hidden()
    expect(after).not_to_contain_text("Space film")
    page.get_by_role("button", name="Save changes").click()
    expect(page.locator("li.rule")).to_contain_text("No space")
    assert [rule["by"] for rule in rules(shop)] == [None]
    assert "space-1" not in shop.client.get("/v1/items/popular?limit=60").text

    page.once("dialog", lambda dialog: dialog.dismiss())
    page.get_by_role("button", name="Remove No space").click()
    assert len(rules(shop)) == 1, "it asks first"
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Remove No space").click()
    expect(page.locator(".said")).to_have_text("“No space” is removed.")
    assert rules(shop) == []


def test_an_item_is_found_by_its_title_and_pinned(shop: Shop, browse: Browse) -> None:
    popular = shop.client.get("/v1/items/popular?limit=40").json()["items"]
    chosen = max(popular[20:], key=lambda item: len(item["title"]))
    visit = browse(shop.url + f"{PAGE}/new", "phone", dark=True)
    page = visit.page
    page.get_by_role("radio", name="Pin").check()
    expect(page.get_by_label("Categories", exact=True)).to_be_hidden()
    page.get_by_label("Name", exact=True).fill("Film of the week")
    page.get_by_label("Items", exact=True).fill(chosen["title"].lower())
    page.locator(".found button").click()
    page.get_by_label("Place", exact=True).fill("2")
    page.get_by_label("Slate", exact=True).select_option("popular")
    expect(page.get_by_label("For user")).to_be_hidden()
    before, after = (page.locator("#preview section").nth(n).locator("li") for n in (0, 1))
    expect(after.nth(1).locator("b")).to_have_text(chosen["title"])
    expect(after.nth(1).locator("small")).to_have_text("new")
    expect(after.nth(2).locator("b")).to_have_text(popular[1]["title"])
    expect(after.locator("small")).to_have_text(["new", *(f"↓ from {n}" for n in range(2, 10))])
    expect(before.locator("small")).to_have_text(["gone"])
    expect(before.last.locator("b")).to_have_text(popular[9]["title"])
    visit.show("console-rule-pin")
    assert visit.barriers() == []
    assert fits(visit)
    page.get_by_role("button", name="Keep this rule").click()
    expect(page.locator("li.rule")).to_contain_text("Pin at place 2")
    assert [(rule["items"], rule["place"]) for rule in rules(shop)] == [([chosen["item_id"]], 2)]


def test_what_was_typed_and_not_added_yet_is_kept_as_well(shop: Shop, browse: Browse) -> None:
    page = browse(shop.url + f"{PAGE}/new?item=50").page
    page.get_by_label("Name", exact=True).fill("Recall")
    page.get_by_role("radio", name="Exclude").check()
    page.get_by_label("Items", exact=True).fill("318, 296")
    page.get_by_role("button", name="Keep this rule").click()
    expect(page.locator("li.rule")).to_contain_text("3 items")
    assert [rule["items"] for rule in rules(shop)] == [["50", "318", "296"]]


def test_the_list_says_what_each_rule_is_about_and_which_ids_are_unknown(
    shop: Shop, browse: Browse, size: str
) -> None:
    now = datetime.now(UTC)
    where = {"categories": ["Drama"], "without_categories": ["Horror"], "price_min": 5}
    where |= {"price_max": 20, "brands": ["Studio 1"], "attributes": {"year": ["1991", "1992"]}}
    kept(shop, {"name": "A", "action": "bury", "by": 0.5, "where": where})
    kept(shop, {"name": "B", "action": "exclude", "items": ["296", "no/such <b>item"]})
    dates = {"starts_at": (now + timedelta(days=1)).isoformat()}
    kept(shop, {"name": "C" * 90, "action": "pin", "items": ["50"], "place": 3} | dates)
    ended = {"starts_at": "2020-01-01T00:00:00Z", "ends_at": "2021-01-01T00:00:00Z"}
    kept(shop, {"name": "D", "action": "boost", "by": 2, "where": {"brands": ["none"]}} | ended)
    visit = browse(shop.url + PAGE, size, dark=size == "phone")
    groups = visit.page.locator(".rule-group")
    expect(groups.locator("h2")).to_have_text(["In force 2", "To come 1", "Ended 1"])
    entries = groups.nth(0).locator("li")
    about = "Drama, by Studio 1, from 5 to 20, year 1991 or 1992, without Horror"
    expect(entries.nth(0).locator(".rule-about")).to_have_text(about)
    expect(entries.nth(1)).to_contain_text("Not in the catalogue: no/such <b>item")
    expect(entries.nth(1).locator(".rule-about")).to_contain_text("Pulp Fiction (1994)")
    expect(groups.nth(1)).to_contain_text("all slates but search")
    groups.nth(2).locator("summary").click()
    expect(groups.nth(2)).to_contain_text("2020-01-01 00:00 to 2021-01-01 00:00 UTC")
    visit.show("console-rules")
    assert visit.barriers() == []
    assert fits(visit)


WRONG = [
    ({"name": ""}, "name", "This is needed"),
    ({"by": "lots"}, "by", "not a number"),
    ({"by": ""}, "by", "This is needed"),
    ({"categories": ""}, "where", "holds for every item"),
    ({"about": "items"}, "items", "Name at least one item"),
    ({"price_min": "20", "price_max": "5"}, "price_min", "above the highest"),
    ({"price_max": "5,50"}, "price_max", "not a number such as 1.5 (found"),
    ({"attributes": "year"}, "attributes", "no value: write it as name=value"),
    ({"starts_at": "2027-01-02T00:00", "ends_at": "2027-01-01T00:00"}, "ends_at", "not after"),
    ({"ends_at": "soon"}, "ends_at", "not a date and a time"),
    ({"about": "items", "items": "a\0b"}, "items", "holds a NUL character"),
    ({"action": "pin", "items": "1\n2", "place": "1"}, "items", "a pin is about one item"),
    ({"action": "pin", "items": "1", "place": "0"}, "place", "greater than or equal to 1"),
    ({"placements": "attic"}, "placements", "'recommendations'"),
    (
        {"about": "items", "items": "\n".join(map(str, range(5000)))},
        "items",
        "these are 5,000, and one rule takes 1,000",
    ),
]


@pytest.mark.parametrize(("typed", "place", "message"), WRONG, ids=lambda v: str(v)[:30])
def test_what_is_wrong_stands_beside_its_field_and_what_was_typed_stays(
    shop: Shop, typed: dict[str, str], place: str, message: str
) -> None:
    sent = SPACE | {"categories": "Space\nno <such> one"} | typed
    reply = shop.client.post(f"{PAGE}/new", data=sent)
    assert reply.status_code == 422
    beside = re.search(f'id="{place}-wrong">([^<]*)<', reply.text)
    assert beside is not None
    assert message.lower() in beside[1].replace("&#39;", "'").lower()
    for name in ("categories", "items", "attributes"):
        if text := sent.get(name):
            assert text.replace("<", "&lt;").replace(">", "&gt;") in reply.text
    for name in ("name", "by", "price_min", "price_max", "ends_at"):
        if name in sent:
            assert re.search(
                f'name="{name}" type="[^"]*" value="{re.escape(sent[name])}"', reply.text
            )
    assert rules(shop) == []


def test_many_brackets_are_a_name_like_any_other(shop: Shop) -> None:
    reply = shop.client.post(f"{PAGE}/new", data=SPACE | {"categories": "[" * 100_000})
    assert reply.status_code == 303
    assert rules(shop)[0]["where"]["categories"] == ["[" * 100_000]


def test_half_a_character_is_an_id_as_it_was_typed(shop: Shop) -> None:
    reply = shop.client.post(f"{PAGE}/new", data=SPACE | {"about": "items", "items": '"\\ud800"'})
    assert reply.status_code == 303
    (rule,) = rules(shop)
    assert rule["items"] == ['"\\ud800"']


def test_all_that_is_wrong_is_listed_in_the_order_of_the_form(shop: Shop) -> None:
    sent = SPACE | {"name": "", "by": "x", "price_min": "y", "ends_at": "z"}
    listed = shop.client.post(f"{PAGE}/new", data=sent).text.partition('role="alert"')[2]
    links = re.findall(r'href="#(\w+)"', listed.partition("</ul>")[0])
    assert links == ["name", "by", "price_min", "ends_at"]


def test_fields_that_do_not_apply_to_the_action_are_not_read(shop: Shop) -> None:
    sent = SPACE | {"action": "pin", "items": "50", "categories": "Space", "place": "4"}
    reply = shop.client.post(f"{PAGE}/new", data=sent | {"by": "nonsense", "price_min": "?"})
    assert reply.status_code == 303
    (rule,) = rules(shop)
    assert (rule["items"], rule["place"], rule["by"], rule["where"]) == (["50"], 4, None, None)


def test_dates_are_utc(shop: Shop) -> None:
    dates = {"starts_at": "2090-11-29T10:30", "ends_at": "2090-12-01T00:00"}
    reply = shop.client.post(f"{PAGE}/new", data=SPACE | {"categories": "Space"} | dates)
    (rule,) = rules(shop)
    assert rule["starts_at"] == "2090-11-29T10:30:00Z"
    said = shop.client.get(reply.headers["location"]).text
    assert "it holds from 2090-11-29 10:30 UTC" in said
    form = shop.client.get(f"{PAGE}/{rule['id']}").text
    assert 'value="2090-11-29T10:30"' in form


ODD = [
    {
        "name": "x",
        "action": "exclude",
        "items": ["a,b", " x ", "l\nm", '"q', "ok", "\u00e9/\u3042"],
    },
    {
        "name": "x",
        "action": "bury",
        "by": 0.1,
        "where": {
            "categories": ["Home, Garden", " c", "\u2028"],
            "attributes": {"a=b": ["c=d", " e"], "year": ["1990"], '"': ['"']},
            "price_min": 1e-7,
        },
        "starts_at": "2026-01-01T10:00:00Z",
        "ends_at": "2026-01-01T10:00:01.5Z",
        "placements": ["new", "search"],
    },
    {"name": "x", "action": "pin", "items": ["7"], "place": 12},
]


@pytest.mark.parametrize("said", ODD, ids=lambda said: said["action"])
def test_a_rule_that_is_opened_and_kept_unchanged_is_the_same(said: dict[str, Any]) -> None:
    rule = Rule.model_validate(said)
    assert Draft.of_rule(rule).checked() == (rule, {})


def test_the_preview_needs_no_script(shop: Shop, browse: Browse) -> None:
    visit = browse(shop.url + f"{PAGE}/new", java_script_enabled=False)
    page = visit.page
    page.get_by_label("Categories", exact=True).fill("Family\r\nSpace")
    page.get_by_label("Slate", exact=True).select_option("new")
    page.get_by_role("button", name="Preview").click()
    expect(page.locator("#preview")).to_contain_text("The rule is about 40 items")
    expect(page.get_by_label("Categories", exact=True)).to_have_value("Family\nSpace")
    expect(page.get_by_label("Slate", exact=True)).to_have_value("new")
    assert rules(shop) == []


TRIED = [
    ({"try_on": "similar", "try_item": "no such"}, "There is no item &#39;no such&#39;"),
    ({"try_on": "similar"}, "Give an item&#39;s id"),
    ({"try_on": "search"}, "Give words to search for"),
    ({"try_on": "popular", "placements": "new"}, "does not hold on popular"),
    ({"try_on": "popular", "number": "99"}, "There is no rule 99"),
    ({"try_on": "popular", "by": "x"}, "Mend the fields first"),
    ({"try_on": "popular", "categories": ""}, "Say which items the rule is about"),
]


@pytest.mark.parametrize(("typed", "message"), TRIED, ids=lambda v: str(v)[:40])
def test_a_preview_that_cannot_be_had_says_why(
    shop: Shop, typed: dict[str, str], message: str
) -> None:
    sent = SPACE | {"categories": "Space"} | typed
    reply = shop.client.post(f"{PAGE}/preview", data=sent, headers={"recsys-part": "preview"})
    assert reply.status_code == 200
    assert message in reply.text
    assert "<html" not in reply.text


def test_a_copy_has_everything_but_the_name(shop: Shop) -> None:
    number = kept(shop, {"name": "Top", "action": "pin", "items": ["50"], "place": 3})
    form = shop.client.get(f"{PAGE}/new", params={"like": number}).text
    assert 'value="Top (copy)"' in form
    assert f'action="{PAGE}/new"' in form
    assert re.search(r'name="items"[^>]*>\n50</textarea>', form)


def test_items_are_found_by_a_part_of_their_title_or_their_id(shop: Shop) -> None:
    def found(words: str) -> list[str]:
        return [one["id"] for one in shop.client.get(f"{PAGE}/items", params={"q": words}).json()]

    assert found("PULP fic") == ["296"]
    assert found("296") == ["296"]
    assert found("space film") == ["space-0", *(f"space-{n}" for n in range(1, 8))]
    assert found("no such words") == found("") == []


@pytest.mark.parametrize("key", ["7", "first", "0", "-1", "²", "9" * 30, "a%2Fb"])
def test_an_unknown_rule_is_told(shop: Shop, key: str) -> None:
    for reply in (
        shop.client.get(f"{PAGE}/{key}"),
        shop.client.post(f"{PAGE}/{key}", data=SPACE | {"categories": "Space"}),
        shop.client.post(f"{PAGE}/{key}/remove"),
        shop.client.get(f"{PAGE}/new", params={"like": key}),
    ):
        assert reply.status_code == 404
        assert "There is no such rule" in reply.text


def test_nobody_elses_page_keeps_a_rule(shop: Shop) -> None:
    elsewhere = {"sec-fetch-site": "cross-site"}
    sent = SPACE | {"categories": "Space"}
    assert shop.client.post(f"{PAGE}/new", data=sent, headers=elsewhere).status_code == 403
    assert rules(shop) == []


def test_rules_are_written_before_there_is_a_snapshot(unbuilt: Shop, browse: Browse) -> None:
    visit = browse(unbuilt.url + PAGE)
    visit.page.get_by_role("link", name="Write the first one").click()
    visit.page.get_by_label("Name", exact=True).fill("Recall")
    visit.page.get_by_role("radio", name="Exclude").check()
    visit.page.get_by_role("radio", name="One by one").check()
    visit.page.get_by_label("Items", exact=True).fill("50")
    visit.page.get_by_label("Items", exact=True).press("Enter")
    expect(visit.page.locator("#preview")).to_contain_text("snapshot")
    visit.show("console-rule-unbuilt")
    visit.page.get_by_role("button", name="Keep this rule").click()
    expect(visit.page.locator("li.rule")).to_contain_text("no snapshot")
    expect(visit.page.locator("li.rule")).to_contain_text("Not in the catalogue: 50")
