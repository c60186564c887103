"""Is it well, is it fresh, is it used: the first page of the console, and how good the suggestions are."""

import json
import re
from datetime import UTC, datetime
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from storefronts import Browse, Shop, opened

from recsys.config import Settings
from recsys.evaluation.result import BLEND, HEADLINE, Evaluation
from recsys.record import ended
from recsys.web.console.figures import bars
from recsys.web.console.words import typeset


def figure(page: str, name: str) -> dict[str, Any]:
    """The plot of this name."""
    (found,) = [part for part in page.split('id="plot-')[1:] if part.startswith(f'{name}"')]
    told: dict[str, Any] = json.loads(unescape(found.split("data-figure='")[1].split("'")[0]))
    return told


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("name", ["overview", "evaluation"])
def test_pages_are_open_to_everybody(
    shop: Shop, browse: Browse, size: str, dark: bool, name: str
) -> None:
    path = "" if name == "overview" else f"/{name}"
    visit = browse(f"{shop.url}/console{path}", size, dark)
    visit.page.wait_for_selector(".plot .main-svg")
    visit.show(f"console-{name}")
    assert visit.barriers() == []
    wide = visit.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert wide, "the page is wider than the window"
    assert visit.page.locator(".menu [aria-current]").inner_text().lower() == name


def test_events_are_counted_by_the_hour(shop: Shop) -> None:
    now = datetime.now(UTC)
    told = [
        {"user_id": "overview", "item_id": "50", "type": "view", "time": now.isoformat()},
        {"user_id": "overview", "item_id": "296", "type": "view"},
        {"user_id": "overview", "item_id": "296", "type": "purchase"},
    ]
    before = figure(shop.client.get("/console").text, "events")["data"]
    assert shop.client.post("/v1/events", json=told).status_code == 200
    after = figure(shop.client.get("/console").text, "events")["data"]

    def total(traces: list[dict[str, Any]], kind: str) -> float:
        return sum(sum(trace["y"]) for trace in traces if trace["name"] == kind)

    assert total(after, "view") - total(before, "view") == 2
    assert total(after, "purchase") - total(before, "purchase") == 1
    newest = next(trace for trace in after if trace["name"] == "purchase")
    assert newest["x"][newest["y"].index(max(newest["y"]))] >= f"{now:%Y-%m-%d %H}:00:00"


def test_all_events_are_there_however_old(shop: Shop) -> None:
    traces = figure(shop.client.get("/console", params={"span": "all"}).text, "events")["data"]
    (likes,) = [trace for trace in traces if trace["name"] == "like"]
    old = {at: count for at, count in zip(likes["x"], likes["y"], strict=True) if at < "2026-06-01"}
    assert sum(old.values()) == 120  # of 60 people, every fourth of their 8 events
    assert len(likes["x"]) <= 140


@pytest.mark.parametrize("year", [1, 1601, 1969])
def test_an_event_of_the_distant_past_is_shown_as_well(tmp_path: Path, year: int) -> None:
    with opened(Settings(home=tmp_path)) as shop:
        for time in (datetime(year, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)):
            told = {"user_id": "a", "item_id": "b", "type": "view", "time": time.isoformat()}
            assert shop.client.post("/v1/events", json=told).status_code == 200
        reply = shop.client.get("/console", params={"span": "all"})
        assert reply.status_code == 200
        (views,) = figure(reply.text, "events")["data"]
        assert views["y"][-1] + views["y"][-2] == 1
        assert re.match(rf"{year - 1:04}|{year:04}|{year + 1:04}", views["x"][0])


def test_what_cannot_be_understood_is_as_if_it_were_not_asked(shop: Shop) -> None:
    assert shop.client.get("/console?window=x&span=y").status_code == 200


def test_an_unbuilt_shop_says_what_to_do(unbuilt: Shop, browse: Browse) -> None:
    visit = browse(f"{unbuilt.url}/console")
    assert "Nothing is built yet" in visit.page.get_by_role("alert").inner_text()
    visit.page.goto(f"{unbuilt.url}/console/evaluation")
    assert visit.page.get_by_text("Nothing has been measured yet").is_visible()


def test_figures_are_those_of_the_snapshot(shop: Shop) -> None:
    snapshot = shop.client.get("/health/ready").json()["snapshot"]
    path = shop.settings.home / "snapshots" / snapshot / "evaluation.json"
    evaluation = Evaluation.from_json(path.read_text())
    page = shop.client.get("/console/evaluation").text
    assert f"{evaluation.models[BLEND].metrics[HEADLINE].value:.3f}" in page
    assert figure(page, "accuracy")["data"]
    (written,) = ended(shop.settings.home / "snapshots")
    assert written.models[BLEND] == evaluation.models[BLEND].metrics[HEADLINE]


def test_a_snapshot_that_is_gone_is_named(shop: Shop) -> None:
    reply = shop.client.get("/console/evaluation", params={"snapshot": "of yesterday"})
    assert reply.status_code == 200
    assert "of yesterday has no evaluation" in reply.text


def test_figures_are_printed_with_a_minus_sign_and_a_space_before_the_percent_sign() -> None:
    assert (
        typeset("-0.5% [-4, +2] of item-2, 95 %")
        == "\u22120.5\u202f% [\u22124, +2] of item-2, 95\u202f%"
    )


def test_impressions_wait_in_the_legend_where_there_is_more_to_see() -> None:
    times = [datetime(2026, 1, 1, tzinfo=UTC)]
    both = bars(times, {"impression": [900], "view": [3]})
    assert [trace["visible"] for trace in both["data"]] == ["legendonly", True]
    assert both["layout"]["yaxis"]["dtick"] == 1, "of 3 views each has a line"
    (alone,) = bars(times, {"impression": [900]})["data"]
    assert alone["visible"] is True
