"""The settings in force are all there, and no secret is."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect
from pydantic import SecretStr
from storefronts import Browse, Shop, opened

from recsys.config import DatabaseSettings, RankingSettings, ServingSettings, Settings, documented
from recsys.evaluation.result import Evaluation
from recsys.web.console.settings import _groups, _weights

PAGE = "/console/settings"
KEY = "a-key-that-nobody-sees"
PASSWORD = "hunter2"


def test_every_setting_is_there_and_what_was_changed_is_marked(
    shop: Shop, browse: Browse, size: str
) -> None:
    visit = browse(shop.url + PAGE, size, dark=size == "phone")
    page = visit.page
    names = [name.rpartition(".")[2] for name, _ in documented()]
    assert page.locator(".setting h3 code").all_inner_texts() == names
    home = page.locator(".setting", has_text="Everything made lies in here")
    expect(home).to_contain_text(str(shop.settings.home))
    expect(home).to_contain_text("changed")
    visit.show("console-settings")
    assert visit.barriers() == []
    wide = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    assert page.evaluate(wide)


def test_the_filter_leaves_what_is_sought(shop: Shop, browse: Browse) -> None:
    page = browse(shop.url + PAGE).page
    page.get_by_label("Filter settings").fill("near-duplicates")
    assert visible(page.locator(".setting h3 code")) == ["diversity"]
    page.get_by_label("Filter settings").fill("")
    page.get_by_label("Only what was changed").check()
    assert visible(page.locator(".setting h3 code")) == [
        "home",
        "image_root",
        "search",
        "poll_seconds",
    ]


def visible(found) -> list[str]:  # type: ignore[no-untyped-def]
    return [one.inner_text() for one in found.all() if one.is_visible()]


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    serving = ServingSettings(admin_key=SecretStr(KEY))
    with opened(Settings(home=tmp_path_factory.mktemp("keyed"), serving=serving)) as shop:
        yield shop


def test_the_key_is_on_no_page(keyed: Shop) -> None:
    assert keyed.client.post("/console/sign-in", data={"key": KEY}).status_code == 303
    for path in (PAGE, "/console", "/console/rules", "/console/rules/new", "/console/rules/7"):
        reply = keyed.client.get(path)
        assert "Sign out" in reply.text, "signed in"
        assert KEY not in reply.text
        assert KEY not in str(reply.headers)
    assert "set, not shown" in keyed.client.get(PAGE).text


def told(settings: Settings, evaluation: Evaluation | None = None) -> dict[str, tuple[str, str]]:
    """Dotted name -> value, and what is served in its place."""
    return {
        f"{group.name}.{one.name}": (one.value, one.found)
        for group in _groups(settings, evaluation)
        for one in group.settings
    }


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (
            f"postgresql+psycopg://ann:{PASSWORD}@db/shop?password={PASSWORD}",
            "postgresql+psycopg://ann:***@db/shop",
        ),
        (f"nonsense {PASSWORD}", "set, not shown"),
        ("", "SQLite in data/recsys.db"),
    ],
)
def test_an_address_of_a_database_is_shown_without_its_password(url: str, shown: str) -> None:
    found = told(Settings(database=DatabaseSettings(url=SecretStr(url))))
    assert found["database.url"][0] == shown
    assert PASSWORD not in str(found)


def test_what_the_environment_set_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECSYS_RANKING__DIVERSITY", "0.3")
    settings = Settings(ranking=RankingSettings(diversity=0.3))
    ranking = next(group for group in _groups(settings, None) if group.name == "ranking")
    diversity = next(one for one in ranking.settings if one.name == "diversity")
    assert (diversity.value, diversity.default) == ("0.3", "0")
    assert diversity.source == "RECSYS_RANKING__DIVERSITY"
    assert [one.source for one in ranking.settings if one.name == "pool"] == [""]


def test_what_validation_found_stands_beside_what_is_set() -> None:
    evaluation = Evaluation(
        protocol="",
        settings={},
        data_digest="",
        measured=True,
        preference={"linear_ridge": 250.0, "factors": 128},
        events={"half_life_days": 60.0, "history": 7},
        hides_seen=False,
    )
    found = {name: served for name, (_, served) in told(Settings(), evaluation).items() if served}
    assert found == {
        "events.half_life_days": "60",
        "preference.linear_ridge": "250",
        "ranking.hide_seen": "no",
    }


def test_weights_are_shaded_by_the_largest_of_their_segment() -> None:
    names, rows = _weights(
        {
            "history": {"linear": 0.4, "text": 0.1, "new": 0.0},
            "newcomer": {"popular": 2.0, "text": -1.0},
        }
    )
    assert names == ["viewers with a history", "first visits"]
    shades = {name: [cell.shade for cell in cells] for name, cells in rows}
    assert shades == {"linear": [8, 0], "text": [2, 4], "popular": [0, 8]}
    assert next(iter(shades)) == "linear"


def test_a_shop_that_is_not_built_has_settings(unbuilt: Shop, browse: Browse) -> None:
    page = browse(unbuilt.url + PAGE).page
    expect(page.locator("#found + p")).to_have_text("Nothing is published yet.")
    assert re.search(r"numpy", page.locator("table").inner_text())
