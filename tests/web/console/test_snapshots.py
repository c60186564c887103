"""Snapshots in the console: kept, verified, served again, compared; and rebuilds, started and watched."""

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import unquote

import httpx
import pytest
import worlds
from playwright.sync_api import expect
from storefronts import Browse, Shop, Visit, opened

from recsys.catalogue.database import connect, migrate, writing
from recsys.catalogue.events import Event, append_events
from recsys.config import EmbeddingSettings, PreferenceSettings, ServingSettings, Settings
from recsys.errors import BuildError, GateRefused
from recsys.evaluation.result import ALL, BLEND, HEADLINE, Estimate, Evaluation, Measured, Slice
from recsys.identity import ItemId
from recsys.rebuild import rebuild
from recsys.record import Recording, newest
from recsys.snapshot import Snapshots
from recsys.web.console import differing
from recsys.web.console.comparing import Shown, side_by_side
from recsys.web.console.words import lasted

PATH = "/console/snapshots"

NEVER = 3_600.0
"""Seconds between two looks for a snapshot: within a test, none."""

BLENDED = {"limit": 13, "diversity": 0.3}
"""What the first row of the storefront asks."""


SOME = Estimate(0.3, 0.2, 0.4)


class Quiet:
    """Progress that nobody watches."""

    def task(self, _name: str, _total: int | None = None) -> Callable[[int], None]:
        return lambda _: None


def settings_at(home: Path, poll_seconds: float = 0.05) -> Settings:
    """Without encoders: a rebuild takes a second."""
    return Settings(
        home=home,
        embedding=EmbeddingSettings(text_model="none", image_model="none"),
        preference=PreferenceSettings(search=False, factors=0),
        serving=ServingSettings(poll_seconds=poll_seconds),
    )


@pytest.fixture(scope="module")
def twice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home that was built twice; in between, one film of each day was liked by everybody new."""
    home = tmp_path_factory.mktemp("twice") / "home"
    settings = settings_at(home)
    engine = connect(settings)
    migrate(engine)
    worlds.fill(engine)
    rebuild(engine, settings, Quiet())
    with writing(engine) as connection:
        append_events(connection, fashion())
    rebuild(engine, settings, Quiet(), force=True)
    engine.dispose()
    return home


def fashion() -> list[Event]:
    """Forty new people like the least liked films of each genre."""
    films = [f"{genre.lower()}-{n}" for genre in worlds.GENRES for n in (17, 18, 19)]
    return [
        Event(
            user_id=f"late-{person}",
            item_id=film,
            type="like",
            time=worlds.BUILT_AT + timedelta(hours=n, minutes=person),
        )
        for person in range(40)
        for n, film in enumerate(films)
    ]


@pytest.fixture
def home(twice: Path, tmp_path: Path) -> Path:
    return shutil.copytree(twice, tmp_path / "home")


@pytest.fixture
def rebuilt(home: Path) -> Iterator[Shop]:
    """Looks for no snapshot by itself."""
    with opened(settings_at(home, NEVER)) as running_shop:
        yield running_shop


def ids_of(shop: Shop) -> list[str]:
    return Snapshots(shop.settings.home / "snapshots").ids()


def popular(shop: Shop) -> list[str]:
    """What a newcomer is shown first, as the API says."""
    said = shop.client.post("/v1/recommendations", json=BLENDED).json()
    return [item["item_id"] for item in said["items"]]


def first_row(visit: Visit) -> list[str]:
    """The same, as the storefront shows it."""
    own = visit.page.locator('[data-placement="for you"] [data-item]')
    return [str(place.get_attribute("data-item")) for place in own.all()]


def said_after(shop: Shop, path: str, **form: str) -> str:
    """What a form of the console is answered."""
    reply = shop.client.post(path, data=form)
    assert reply.status_code == 303, reply.text
    return unquote(reply.cookies["recsys_said"])


class Asking:
    """A client that asks all the time, and what became of it."""

    def __init__(self, url: str) -> None:
        self._url, self._stop = url, threading.Event()
        self.answers: list[int] = []
        self._thread = threading.Thread(target=self._ask)

    def __enter__(self) -> "Asking":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _ask(self) -> None:
        with httpx.Client(base_url=self._url, timeout=30) as client:
            while not self._stop.is_set():
                for path in ("/v1/users/42/recommendations", "/v1/items/296/similar", "/"):
                    self.answers.append(client.get(path).status_code)


def test_an_older_snapshot_is_on_the_very_next_page(
    rebuilt: Shop, browse: Browse, size: str
) -> None:
    older, newer = ids_of(rebuilt)
    now = popular(rebuilt)
    visit = browse(rebuilt.url, size)
    assert first_row(visit) == now
    visit.page.on("dialog", lambda dialog: dialog.accept())
    visit.page.goto(rebuilt.url + PATH)
    visit.show("console-snapshots")
    assert visit.barriers() == []
    with Asking(rebuilt.url) as asking:
        visit.page.get_by_role("button", name=f"Serve {older}").click()
        expect(visit.page.locator(".said")).to_have_text(
            f"Serving snapshot {older}. The next rebuild publishes again once it passes the gate: "
            "mend the cause before it runs."
        )
        visit.page.goto(rebuilt.url)
        then = popular(rebuilt)
    assert first_row(visit) == then != now
    assert asking.answers
    assert set(asking.answers) == {200}
    visit.page.goto(rebuilt.url + PATH)
    expect(visit.page.locator("tr.ours")).to_contain_text(older)
    visit.page.get_by_role("button", name=f"Serve {newer}").click()
    expect(visit.page.locator(".said")).to_have_text(f"Serving snapshot {newer}.")
    visit.page.goto(rebuilt.url)
    assert first_row(visit) == now


def test_what_is_asked_before_it_is_done_can_be_refused(rebuilt: Shop, browse: Browse) -> None:
    older, newer = ids_of(rebuilt)
    visit = browse(rebuilt.url + PATH)
    asked: list[str] = []
    visit.page.on("dialog", lambda dialog: (asked.append(dialog.message), dialog.dismiss()))
    visit.page.get_by_role("button", name=f"Serve {older}").click()
    assert asked == [f"Serve snapshot {older} in place of {newer}? It is verified first."]
    assert Snapshots(rebuilt.settings.home / "snapshots").current_id() == newer


def test_a_snapshot_is_verified(rebuilt: Shop, browse: Browse) -> None:
    older, newer = ids_of(rebuilt)
    folder = rebuilt.settings.home / "snapshots"
    files = len(json.loads((folder / older / "manifest.json").read_text())["files"])
    visit = browse(rebuilt.url + PATH)
    visit.page.get_by_role("button", name=f"Verify {older}").click()
    expect(visit.page.locator(".said")).to_have_text(
        f"Snapshot {older} is whole: {files} files match."
    )
    (folder / older / "ranking.json").write_text("{}")
    (folder / older / "items.arrow").unlink()
    visit.page.get_by_role("button", name=f"Verify {older}").click()
    told = visit.page.locator(".said")
    expect(told).to_contain_text("items.arrow is missing")
    expect(told).to_contain_text("ranking.json differs")
    assert "ranking.json differs" in said_after(rebuilt, f"{PATH}/{older}/serve")
    assert rebuilt.client.get("/health/ready").json()["snapshot"] == newer


def test_what_a_snapshot_that_cannot_be_read_looks_like(rebuilt: Shop, browse: Browse) -> None:
    older, newer = ids_of(rebuilt)
    folder = rebuilt.settings.home / "snapshots"
    (folder / older / "manifest.json").write_text('{"format": 3}')
    broken = folder / "20200101T000000-000000"
    broken.mkdir()
    (broken / "manifest.json").write_text("{")
    visit = browse(rebuilt.url + PATH)
    rows = visit.page.locator("#kept tbody tr")
    expect(rows).to_have_count(3)
    expect(rows.nth(0)).to_contain_text(newer)
    expect(rows.nth(1)).to_contain_text("has format 3")
    expect(rows.nth(2)).to_contain_text("is not readable")
    assert rows.get_by_role("button", name=f"Serve {older}").count() == 0
    visit.show("console-snapshots-unreadable")
    assert visit.barriers() == []


def test_a_report_runs_as_a_stranger(rebuilt: Shop, browse: Browse) -> None:
    _, newer = ids_of(rebuilt)
    visit = browse(f"{rebuilt.url}{PATH}/{newer}/report")
    visit.page.wait_for_selector(".main-svg")
    assert visit.page.evaluate("self.origin") == "null"
    readable = "() => { try { return document.cookie } catch (error) { return error.name } }"
    assert visit.page.evaluate(readable) == "SecurityError"
    for name in ("20990101T000000-000000", "..", "%2e%2e%2f.."):
        assert rebuilt.client.get(f"{PATH}/{name}/report").status_code == 404


def test_two_snapshots_side_by_side(rebuilt: Shop, browse: Browse, size: str) -> None:
    older, newer = ids_of(rebuilt)
    now = slate(rebuilt, "42")
    said_after(rebuilt, f"{PATH}/{older}/serve")
    then = slate(rebuilt, "42")
    said_after(rebuilt, f"{PATH}/{newer}/serve")
    visit = browse(f"{rebuilt.url}{PATH}/compare?user=42", size)
    shown = [column.locator("img").all() for column in visit.page.locator(".slate").all()]
    pictures = [[str(each.get_attribute("src")) for each in column] for column in shown]
    assert pictures == [[f"/pictures/{item}" for item in each] for each in (then, now)]
    expect(visit.page.locator(".slate .only")).to_have_count(2 * len(set(now) - set(then)))
    assert visit.page.locator("#a").input_value() == older
    assert visit.page.locator("#b").input_value() == newer
    visit.show("console-compare")
    assert visit.barriers() == []
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= visit.page.evaluate(
        "innerWidth"
    )


def slate(shop: Shop, user_id: str) -> list[str]:
    said = shop.client.get(f"/v1/users/{user_id}/recommendations?limit=12").json()
    return [item["item_id"] for item in said["items"]]


@pytest.mark.parametrize("user_id", ["nobody/knows me", "\N{SNOWMAN}", "x" * 2_000])
def test_a_stranger_is_compared_as_a_newcomer(rebuilt: Shop, user_id: str) -> None:
    page = rebuilt.client.get(f"{PATH}/compare", params={"user": user_id}).text
    assert "Nothing is known of this user" in page
    newcomer = rebuilt.client.get(f"{PATH}/compare").text
    assert page.count('class="thumb"') == newcomer.count('class="thumb"') == 24
    assert "Slates for a newcomer" in newcomer


def test_a_damaged_snapshot_is_still_compared_by_its_figures(rebuilt: Shop) -> None:
    older, newer = ids_of(rebuilt)
    (rebuilt.settings.home / "snapshots" / older / "ranking.json").write_text("{}")
    page = rebuilt.client.get(f"{PATH}/compare?a={older}&b={newer}")
    assert page.status_code == 200
    assert "ranking.json differs" in page.text
    assert "Metrics of the blend" in page.text
    unknown = rebuilt.client.get(f"{PATH}/compare?a=../..&b={newer}")
    assert unknown.status_code == 422
    assert "There is no snapshot" in unknown.text


def test_items_move_by_how_much_higher_they_stand() -> None:
    one, other = ([Shown(ItemId(key), key) for key in keys] for keys in ("abcd", "caxb"))
    mine, theirs = side_by_side(one, other)
    assert [(place.title, place.moved) for place in theirs] == [
        ("c", 2),
        ("a", -1),
        ("x", None),
        ("b", -2),
    ]
    assert [place.moved for place in mine] == [1, 2, -2, None]


def test_a_difference_is_told_as_sure_only_where_chance_does_not_explain_it() -> None:
    one, close, far = (measured(Estimate(v, v - 0.1, v + 0.1)) for v in (0.3, 0.35, 0.6))
    assert differing.metrics(one, close)[0].tone == ""
    assert differing.metrics(one, close)[0].change == "+0.050"
    assert differing.metrics(one, far)[0].tone == "good"
    assert differing.metrics(far, one)[0].tone == "bad"
    assert differing.metrics(None, None) == []
    assert differing.metrics(None, one)[0].change == ""


def test_settings_that_differ_are_named_as_they_are_set() -> None:
    one = measured(settings={"index": {"neighbours": 50}, "events": {"half_life_days": 180.0}})
    other = measured(settings={"index": {"neighbours": 20}, "events": {"half_life_days": 180.0}})
    assert differing.settings(one, other) == [differing.Line("index.neighbours", "50", "20")]
    assert differing.settings(one, one) == []


def measured(ndcg: Estimate = SOME, settings: dict[str, object] | None = None) -> Evaluation:
    blend = Measured(slices={ALL: Slice(n=9, metrics={HEADLINE: ndcg})})
    return Evaluation(
        protocol="",
        settings=settings or {},
        data_digest="",
        measured=True,
        models={BLEND: blend},
    )


def test_a_shop_is_built_from_its_console(tmp_path: Path, browse: Browse) -> None:
    with opened(settings_at(tmp_path / "new")) as shop:
        worlds.fill(shop.engine)
        visit = browse(shop.url + PATH, "phone")
        expect(visit.page.locator("#kept")).to_contain_text("Nothing is built yet")
        visit.show("console-snapshots-unbuilt")
        assert visit.barriers() == []
        visit.page.get_by_role("button", name="Rebuild").click()
        expect(visit.page.locator(".said")).to_have_text("The rebuild was started.")
        expect(visit.page.locator("#kept tbody tr")).to_have_count(1, timeout=60_000)
        assert shop.client.get("/health/ready").json()["snapshot"] == ids_of(shop)[0]


def test_a_rebuild_is_watched_to_its_end_and_the_table_grows(home: Path, browse: Browse) -> None:
    with opened(settings_at(home)) as shop:
        visit = browse(shop.url + PATH)
        visit.page.get_by_label("Publish whatever is found").check()
        visit.page.get_by_role("button", name="Rebuild").click()
        expect(visit.page.locator("#kept tbody tr")).to_have_count(3, timeout=60_000)
        expect(visit.page.locator("#history tbody tr")).to_have_count(3)
        expect(visit.page.locator("tr.ours")).to_contain_text(ids_of(shop)[-1])
        expect(visit.page.locator("#rebuild .tag")).to_have_text("published")
        expect(visit.page.locator("#rebuild-said")).to_have_text(
            "The last rebuild published a snapshot"
        )
        expect(visit.page.locator("#rebuild")).to_contain_text("before")


def test_whoever_started_it_a_rebuild_is_watched_and_no_second_one_begins(
    rebuilt: Shop, browse: Browse, size: str
) -> None:
    snapshots = Snapshots(rebuilt.settings.home / "snapshots")
    older, newer = snapshots.ids()
    with snapshots.rebuilding(), Recording(snapshots.folder, Quiet()) as recording:
        recording.task("reading the catalogue")
        recording.task("embedding texts", 100)(40)
        visit = browse(rebuilt.url + PATH, size)
        bar = visit.page.get_by_role("progressbar", name="embedding texts")
        expect(bar).to_have_js_property("value", 40)
        expect(visit.page.get_by_role("button", name="Rebuild")).to_be_disabled()
        visit.show("console-snapshots-running")
        assert visit.barriers() == []
        assert said_after(rebuilt, f"{PATH}/rebuild").startswith("A rebuild is running already")
        visit.page.locator("summary").click()
        recording.task("measuring")
        expect(visit.page.locator("#rebuild-said")).to_have_text("measuring")
        expect(visit.page.locator(".steps")).to_be_visible()
        recording.ends("published", newer, None)
    expect(visit.page.locator("#rebuild .tag")).to_have_text("published")
    expect(visit.page.get_by_role("button", name="Rebuild")).to_be_enabled()
    assert snapshots.ids() == [older, newer]


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (GateRefused("NDCG@10 is too low"), ("refused", "NDCG@10 is too low.")),
        (BuildError("the disk is full"), ("failed", "The disk is full.")),
    ],
)
def test_a_rebuild_that_came_to_nothing_says_why(
    rebuilt: Shop, error: BuildError, told: tuple[str, str]
) -> None:
    folder = rebuilt.settings.home / "snapshots"
    with pytest.raises(BuildError), Recording(folder, Quiet()):
        raise error
    page = rebuilt.client.get(f"{PATH}/rebuild").text
    assert all(part in page for part in told)
    assert all(rebuilt.client.get(PATH).text.count(part) > 1 for part in told)


def test_a_rebuild_that_fell_silent_was_killed(rebuilt: Shop) -> None:
    folder = rebuilt.settings.home / "snapshots"
    last = newest(folder)
    assert last is not None
    long_ago = datetime.now(UTC) - timedelta(minutes=5)
    silent = last.model_copy(update={"outcome": None, "started": long_ago, "seen": long_ago})
    (folder / ".rebuild.json").write_text(silent.model_dump_json())
    page = rebuilt.client.get(f"{PATH}/rebuild").text
    assert 'data-state="killed"' in page
    assert ".rebuild.log" in page


def test_a_rebuild_that_does_not_begin_says_why(rebuilt: Shop) -> None:
    (rebuilt.settings.home / "recsys.db").write_text("no database")
    assert "did not begin" in said_after(rebuilt, f"{PATH}/rebuild")
    assert rebuilt.client.get("/v1/items/popular").status_code == 200


def test_a_shop_without_anything_has_its_pages(unbuilt: Shop) -> None:
    assert "Nothing is built yet" in unbuilt.client.get(PATH).text
    assert "there is nothing to compare" in unbuilt.client.get(f"{PATH}/compare").text
    assert "there is no snapshot" in said_after(unbuilt, f"{PATH}/none/serve").lower()
    assert "there is no snapshot" in said_after(unbuilt, f"{PATH}/none/verify").lower()
    assert unbuilt.client.get(f"{PATH}/compare?a=1&b=2").status_code == 422


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0.04, "0.0 s"), (8.31, "8.3 s"), (72, "1 min 12 s"), (7_512, "2 h 5 min")],
)
def test_how_long_something_took(seconds: float, told: str) -> None:
    assert lasted(seconds) == told
