"""New and changed items reach the snapshot being served within seconds, and nothing else in it changes."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from urllib.parse import quote

import apis
import httpx
import numpy as np
import pytest
from servers import started
from sqlalchemy import Engine

from recsys.batch import batch
from recsys.catalogue.database import connect, writing
from recsys.catalogue.events import Event, append_events
from recsys.catalogue.items import Item, delete_item, patch_item, upsert_items
from recsys.config import EmbeddingSettings, PreferenceSettings, Settings, SnapshotSettings
from recsys.embedding.encoder import EncoderCard
from recsys.embedding.finding import text_encoder_of
from recsys.embedding.text import TextEncoder, load_text_encoder
from recsys.errors import EncoderError, RebuildRunning, Superseded
from recsys.hashes import sha256
from recsys.ranking.candidates import History, Query
from recsys.ranking.reasons import deeds
from recsys.ranking.recommender import Recommender
from recsys.rebuild import rebuild
from recsys.refresh import Refresher, Watch, keep_fresh
from recsys.snapshot import Manifest, Snapshots

WORKERS = 2
PROMISED_SECONDS = 10

RAKE = Item(id="Garden/rake/long", title="Long plain rake", categories=("Garden",), price=12.0)


class Silent:
    def task(self, name: str, total: int | None = None) -> Callable[[int], None]:
        del name, total
        return lambda _: None


@pytest.fixture(scope="module")
def encoder() -> TextEncoder:
    found = load_text_encoder(EmbeddingSettings())
    assert found is not None
    return found


@pytest.fixture
def settings(home: Path) -> Settings:
    return Settings(
        home=home,
        preference=PreferenceSettings(search=False),
        snapshots=SnapshotSettings(tolerance=0.3),
    )


@pytest.fixture
def engine(settings: Settings) -> Iterator[Engine]:
    engine = connect(settings)
    yield engine
    engine.dispose()


@pytest.fixture
def snapshots(home: Path) -> Snapshots:
    return Snapshots(home / "snapshots")


@pytest.fixture
def refresher(engine: Engine, settings: Settings, encoder: TextEncoder) -> Refresher:
    return Refresher(engine, settings, lambda _: encoder)


def put(engine: Engine, *items: Item) -> None:
    with writing(engine) as connection:
        upsert_items(connection, items, datetime.now(UTC))


def refreshed(refresher: Refresher) -> Manifest:
    manifest = refresher.refresh()
    assert manifest is not None
    return manifest


def recommender(snapshots: Snapshots) -> Recommender:
    return Recommender.of(snapshots.load_current()[1], Settings().ranking)


def similar(found: Recommender, item: str, **asked: object) -> list[str]:
    page = found.items.ids.ordinals([item])  # type: ignore[list-item]
    query = Query(datetime.now(UTC), 10, context=page, **asked)  # type: ignore[arg-type]
    return [str(place.item) for place in found.recommend(query).items]


def everyones(found: Recommender, items: list[str]) -> list[list[tuple[str, float]]]:
    """Slates of viewers and pages of these items."""
    at = found.items.ids.ordinals(items)  # type: ignore[arg-type]
    asked = [Query(datetime.now(UTC), 10, context=at[n : n + 1]) for n in range(0, len(at), 7)]
    for n in range(0, len(at) - 3, 7):
        liked = History(at[n : n + 3], np.ones(3, np.float32), deeds(["purchase"] * 3))
        asked.append(Query(datetime.now(UTC), 10, history=liked, seen=at[n : n + 3]))
    slates = [found.recommend(query).items for query in asked]
    return [[(str(place.item), place.score) for place in slate] for slate in slates]


# what a running server does


@pytest.fixture(scope="module")
def server(built_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, str]]:
    """Process and address of `recsys serve --workers 2` over a shop, with its text encoder."""
    home = shutil.copytree(built_home, tmp_path_factory.mktemp("refreshed") / "home")
    with started(home, "--workers", str(WORKERS)) as (process, url):
        searched(url, "a spade")  # what is promised below needs the encoder
        yield process.pid, url
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0


until = partial(apis.until, seconds=PROMISED_SECONDS)


def everywhere(holds: Callable[[], bool]) -> bool:
    """Asked on connections of its own, so that every worker is heard."""
    return all(holds() for _ in range(12))


def titles(url: str, path: str, **params: object) -> dict[str, str]:
    found = httpx.get(f"{url}{path}", params=params, timeout=30)  # type: ignore[arg-type]
    return {place["item_id"]: place["title"] for place in found.raise_for_status().json()["items"]}


def searched(url: str, text: str) -> list[str]:
    asked = {"text": text, "limit": 5}
    found = httpx.post(f"{url}/v1/search", json=asked, timeout=90).raise_for_status().json()
    return [place["item_id"] for place in found["items"]]


def counted(url: str, name: str) -> float:
    line = rf"^recsys_{name}_total (\S+)$"
    return sum(map(float, re.findall(line, httpx.get(f"{url}/metrics").text, re.MULTILINE)))


def test_an_item_put_to_one_worker_is_recommended_by_all_found_and_shown_with_its_title(
    server: tuple[int, str],
) -> None:
    _, url = server
    path = f"{url}/v1/items/{quote(RAKE.id, safe='')}"
    body = RAKE.model_dump(mode="json", exclude={"id"})
    assert httpx.put(path, json=body).status_code == 201
    beside = f"/v1/items/{quote('Garden/rake/plain', safe='')}/similar"

    def everybody_knows() -> bool:
        return (
            titles(url, "/v1/items/new", limit=1) == {RAKE.id: RAKE.title}
            and RAKE.id in titles(url, beside, limit=10, by="text")
            and RAKE.id in searched(url, "a long rake for the garden")
        )

    until(everybody_knows)
    until(lambda: everywhere(everybody_knows), seconds=5)
    assert all(
        key.startswith("Garden/")
        for key in titles(url, f"/v1/items/{quote(RAKE.id, safe='')}/similar", limit=5)
    )
    httpx.patch(path, json={"title": "Plain rake of beech"}).raise_for_status()
    until(lambda: titles(url, "/v1/items/new", limit=1) == {RAKE.id: "Plain rake of beech"})
    until(
        lambda: everywhere(
            lambda: "Plain rake of beech" in titles(url, beside, limit=10, by="text").values()
        ),
        seconds=5,
    )
    assert counted(url, "refreshes") >= 2
    assert counted(url, "refreshes_failed") == 0


def test_a_deleted_item_is_gone_at_once_and_after_the_next_refresh(server: tuple[int, str]) -> None:
    _, url = server
    gone, other = "Kitchen/whisk/red", Item(id="Kitchen/tongs/new", title="Kitchen tongs")
    httpx.delete(f"{url}/v1/items/{quote(gone, safe='')}").raise_for_status()
    time.sleep(1)  # the other worker looks every half second
    beside = f"/v1/items/{quote('Kitchen/whisk/plain', safe='')}/similar"
    assert everywhere(lambda: gone not in titles(url, beside, limit=50))
    body = other.model_dump(mode="json", exclude={"id"})
    httpx.put(f"{url}/v1/items/{quote(other.id, safe='')}", json=body).raise_for_status()
    until(lambda: other.id in titles(url, "/v1/items/new", limit=5))
    until(lambda: everywhere(lambda: other.id in titles(url, "/v1/items/new", limit=5)), seconds=5)
    assert everywhere(lambda: gone not in titles(url, beside, limit=50))
    assert httpx.get(f"{url}/v1/items/{quote(gone, safe='')}/similar").status_code == 404


def test_the_process_that_refreshes_is_replaced_when_it_dies(server: tuple[int, str]) -> None:
    pid, url = server

    def children() -> set[int]:
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return {int(child) for child in found}

    def nice(child: int) -> bool:
        try:
            return os.getpriority(os.PRIO_PROCESS, child) > os.getpriority(os.PRIO_PROCESS, pid)
        except ProcessLookupError:
            return False

    until(lambda: len(children()) == WORKERS + 2)  # one encodes, one refreshes
    victim = next(child for child in children() if nice(child))
    os.kill(victim, signal.SIGKILL)
    until(lambda: any(nice(child) for child in children() - {victim}))
    item = Item(id="Cycling/lamp/new", title="Bicycle lamp")
    body = item.model_dump(mode="json", exclude={"id"})
    httpx.put(f"{url}/v1/items/{quote(item.id, safe='')}", json=body).raise_for_status()
    until(lambda: item.id in titles(url, "/v1/items/new", limit=5))


def test_one_worker_is_kept_fresh_too_and_nothing_outlives_a_server_that_is_killed(
    home: Path,
) -> None:
    with started(home) as (process, url):
        searched(url, "a spade")
        body = RAKE.model_dump(mode="json", exclude={"id"})
        httpx.put(f"{url}/v1/items/{quote(RAKE.id, safe='')}", json=body).raise_for_status()
        until(lambda: RAKE.id in titles(url, "/v1/items/new", limit=1))
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        assert len(children) == 3
        process.kill()
    until(lambda: not any(Path(f"/proc/{child}").exists() for child in children), seconds=15)


# what a refresh makes


def test_a_changed_price_leaves_every_slate_what_a_rebuild_makes_it_to_the_last_digit(
    engine: Engine, settings: Settings, snapshots: Snapshots, refresher: Refresher
) -> None:
    ids = [str(item) for item in recommender(snapshots).items.ids]
    with writing(engine) as connection:
        patch_item(connection, "Cycling/bell/red", {"price": 99.0}, datetime.now(UTC))
    refreshed(refresher)
    quick = everyones(recommender(snapshots), ids)
    rebuild(engine, settings, Silent())
    assert quick == everyones(recommender(snapshots), ids)


def test_slates_into_which_no_new_item_comes_keep_their_items(
    engine: Engine, snapshots: Snapshots, refresher: Refresher
) -> None:
    """It may be among the candidates all the same, and moves their z-scores a little."""
    before = recommender(snapshots)
    ids = [str(item) for item in before.items.ids]
    asked = everyones(before, ids)
    put(engine, strange := Item(id="zzz", title="Quantum chromodynamics lecture notes"))
    refreshed(refresher)
    pairs = zip(asked, everyones(recommender(snapshots), ids), strict=True)
    shared = [
        len(dict(one).keys() & dict(other).keys()) / 10
        for one, other in pairs
        if strange.id not in dict(other)
    ]
    assert len(shared) > len(asked) / 2
    assert np.mean(shared) > 0.97


def test_new_items_are_served_as_a_rebuild_with_the_same_models_serves_them(
    engine: Engine, settings: Settings, snapshots: Snapshots, refresher: Refresher
) -> None:
    put(engine, RAKE, Item(id="Kitchen/peeler/new", title="Professional peeler"))
    refreshed(refresher)
    quick = recommender(snapshots)
    rebuild(engine, settings, Silent(), force=True)
    thorough = recommender(snapshots)
    for item in (RAKE.id, "Kitchen/peeler/new"):
        mine, theirs = similar(quick, item), similar(thorough, item)
        assert len(set(mine) & set(theirs)) >= 6
    pages = [str(item) for item in thorough.items.ids][::6]
    shared = [set(similar(quick, page)) & set(similar(thorough, page)) for page in pages]
    assert np.mean([len(each) / 10 for each in shared]) > 0.9


def test_a_new_item_borrows_the_behaviour_of_its_neighbours(
    engine: Engine, settings: Settings, snapshots: Snapshots, refresher: Refresher
) -> None:
    """Both ways: what is recommended beside it, and beside what it is recommended."""
    put(engine, RAKE)
    refreshed(refresher)
    quick = snapshots.load_current()[1].preference
    at = snapshots.load_current()[1].items.ids.ordinal(RAKE.id)  # type: ignore[arg-type]
    rebuild(engine, settings, Silent(), force=True)
    artefacts = snapshots.load_current()[1]
    there = artefacts.items.ids.ordinal(RAKE.id)  # type: ignore[arg-type]
    for name in ("cooccurrence", "transitions"):
        mine, theirs = getattr(quick, name).toarray(), getattr(artefacts.preference, name).toarray()
        others = np.delete(np.arange(len(theirs)), there)
        for lent, fitted in (
            (np.delete(mine[at], at), theirs[there][others]),
            (np.delete(mine[:, at], at), theirs[others, there]),
        ):
            assert np.corrcoef(lent, fitted)[0, 1] > 0.95, name
            assert lent.sum() == pytest.approx(fitted.sum(), rel=0.2), name


def test_a_changed_text_moves_an_item_and_a_changed_price_moves_nothing(
    engine: Engine, snapshots: Snapshots, refresher: Refresher
) -> None:
    put(engine, RAKE)
    first = refreshed(refresher)
    assert similar(recommender(snapshots), RAKE.id)[0].startswith("Garden/")
    with writing(engine) as connection:
        patch_item(connection, RAKE.id, {"price": 1.0}, datetime.now(UTC))
    second = refreshed(refresher)
    differ = {name for name in first.files if first.files[name] != second.files[name]}
    assert differ == {"items.arrow"}
    change = {"title": "Bicycle saddle, soft", "categories": ["Cycling"]}
    with writing(engine) as connection:
        patch_item(connection, RAKE.id, change, datetime.now(UTC))
    refreshed(refresher)
    found = recommender(snapshots)
    assert similar(found, RAKE.id)[0].startswith("Cycling/")
    assert found.items.titles(found.items.ids.ordinals([RAKE.id]))[0] == change["title"]  # type: ignore[arg-type]
    assert RAKE.id not in similar(found, "Garden/rake/plain", sources=frozenset({"text"}))
    assert RAKE.id in similar(found, "Cycling/saddle/plain", sources=frozenset({"text"}))


def test_a_withdrawn_item_is_no_business_of_a_refresh_and_comes_back_as_changed(
    engine: Engine, snapshots: Snapshots, refresher: Refresher
) -> None:
    with writing(engine) as connection:
        patch_item(connection, "Garden/hose/red", {"available": False}, datetime.now(UTC))
        delete_item(connection, "Garden/hose/plain", datetime.now(UTC))
    assert refresher.refresh() is None
    put(engine, Item(id="Garden/hose/plain", title="Endless hose"))
    refreshed(refresher)
    items = recommender(snapshots).items
    assert items.titles(items.ids.ordinals(["Garden/hose/plain"]))[0] == "Endless hose"  # type: ignore[arg-type]
    assert (
        items.available.all()
    )  # those who serve it know better at once, and at once when it is back


def test_an_item_not_yet_published_waits_in_the_snapshot_for_its_moment(
    engine: Engine, snapshots: Snapshots, refresher: Refresher
) -> None:
    soon = datetime.now(UTC) + timedelta(hours=1)
    put(engine, RAKE.model_copy(update={"published_at": soon}))
    refreshed(refresher)
    found = recommender(snapshots)
    for at, shown in ((datetime.now(UTC), False), (soon, True)):
        query = Query(at, 200, context=found.items.ids.ordinals(["Garden/rake/red"]))  # type: ignore[list-item]
        assert (RAKE.id in [place.item for place in found.recommend(query).items]) is shown


def test_every_item_of_a_long_import_comes_in_the_latest_first(
    engine: Engine, snapshots: Snapshots, refresher: Refresher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recsys.refresh.AT_ONCE", 10)
    put(engine, *(Item(id=f"many-{n}", title=f"Garden gnome {n}") for n in range(25)))
    put(engine, RAKE)
    refreshed(refresher)
    assert RAKE.id in recommender(snapshots).items.ids
    assert len(recommender(snapshots).items) == 96 + 10
    refreshed(refresher)
    refreshed(refresher)
    assert len(recommender(snapshots).items) == 96 + 26
    assert refresher.refresh() is None


def test_what_was_committed_late_is_found_by_the_thorough_look(
    engine: Engine, snapshots: Snapshots, refresher: Refresher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recsys.refresh.OVERLAP", timedelta(0))
    begun = datetime.now(UTC)
    put(engine, RAKE)
    refreshed(refresher)
    with writing(engine) as connection:  # as a transaction does that took longer than the overlap
        upsert_items(connection, [Item(id="late", title="Late spade")], begun)
    assert refresher.refresh() is None
    monkeypatch.setattr("recsys.refresh.THOROUGH", timedelta(0))
    refreshed(refresher)
    assert "late" in recommender(snapshots).items.ids


def test_batch_and_single_agree_on_a_refreshed_snapshot(
    engine: Engine, settings: Settings, snapshots: Snapshots, refresher: Refresher, tmp_path: Path
) -> None:
    import pyarrow.parquet as pq

    put(engine, RAKE)
    with writing(engine) as connection:
        append_events(
            connection,
            [Event(user_id="c0", item_id=RAKE.id, type="purchase", time=datetime.now(UTC))],
        )
        delete_item(connection, "Garden/rake/plain", datetime.now(UTC))
    refreshed(refresher)
    done = batch(engine, settings, tmp_path / "slates", limit=8)
    rows = pq.read_table(tmp_path / "slates").to_pylist()
    from fastapi.testclient import TestClient

    from recsys.serving.app import create_app

    with TestClient(create_app(settings)) as client:
        for user in ("c0", "c1", "c2", "c3"):
            path = f"/v1/users/{user}/recommendations?limit=8"
            single = [p["item_id"] for p in client.get(path).json()["items"]]
            assert [row["item_id"] for row in rows if row["user_id"] == user] == single
            assert "Garden/rake/plain" not in single
    assert done.run.snapshot == snapshots.current_id()


# what it does to snapshots


def test_files_that_did_not_change_are_shared_and_what_was_sealed_stays_whole(
    engine: Engine, snapshots: Snapshots, refresher: Refresher
) -> None:
    base = snapshots.current_id()
    with writing(engine) as connection:
        patch_item(connection, "Garden/rake/red", {"price": 2.0}, datetime.now(UTC))
    made = refreshed(refresher)
    one, other = (snapshots.folder / each for each in (base, made.id))
    shared = {name for name in made.files if (one / name).samefile(other / name)}
    assert {"text.rows.npy", "preference/cooccurrence.data.npy", "facts/records.npy"} <= shared
    assert {name: sha256(other / name) for name in made.files} == made.files
    Snapshots(snapshots.folder).verify(base)


def test_only_the_refresh_being_served_is_kept_and_no_snapshot_of_a_rebuild_goes_for_it(
    engine: Engine, settings: Settings, snapshots: Snapshots, refresher: Refresher
) -> None:
    base = snapshots.current_id()
    for n in range(4):
        put(engine, RAKE.model_copy(update={"price": 20.0 + n}))
        made = refreshed(refresher)
        assert snapshots.ids() == [base, made.id]
        assert made.origin == base
    assert snapshots.prune(1) == []
    outcome = rebuild(engine, settings, Silent(), force=True)
    assert snapshots.ids() == [base, outcome.manifest.id]


def test_a_rollback_goes_behind_the_origin_of_what_is_served_and_new_items_come_to_that(
    engine: Engine, settings: Settings, snapshots: Snapshots, refresher: Refresher
) -> None:
    first = snapshots.current_id()
    second = rebuild(engine, settings, Silent(), force=True).manifest.id
    put(engine, RAKE)
    assert refreshed(refresher).origin == second
    assert snapshots.rollback() == first
    assert refreshed(refresher).origin == first
    assert RAKE.id in recommender(snapshots).items.ids


def test_a_rebuild_after_refreshes_takes_over_what_the_last_one_learned(
    engine: Engine, settings: Settings, snapshots: Snapshots, refresher: Refresher
) -> None:
    put(engine, RAKE)
    refreshed(refresher)
    outcome = rebuild(engine, settings, Silent())
    assert outcome.changed
    assert outcome.manifest.refreshed is None
    assert outcome.evaluation.basis is not None
    assert outcome.evaluation.basis.builds == 1
    assert RAKE.id in recommender(snapshots).items.ids
    assert refresher.refresh() is None


def test_a_rebuild_may_run_meanwhile_and_wins(
    engine: Engine,
    snapshots: Snapshots,
    refresher: Refresher,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    current, artefacts = snapshots.load_current()
    put(engine, RAKE)
    with snapshots.rebuilding():
        refreshed(refresher)
        with pytest.raises(RebuildRunning), snapshots.rebuilding():
            pass
    put(engine, RAKE.model_copy(update={"price": 3.0}))
    seal = Snapshots.seal

    def beaten(self: Snapshots, *given: object) -> Manifest:
        with monkeypatch.context() as here:
            here.setattr(Snapshots, "seal", seal)
            rebuilt = current.model_copy(update={"id": "29990101T000000-000000"})
            snapshots.publish(snapshots.seal(artefacts, rebuilt, {}).id)
        return seal(self, *given)  # type: ignore[arg-type]

    with monkeypatch.context() as here:
        here.setattr(Snapshots, "seal", beaten)
        with pytest.raises(Superseded):
            refresher.refresh()
    assert snapshots.current_id() == "29990101T000000-000000"
    assert refreshed(refresher).origin == "29990101T000000-000000"


KILLED = """
import os, sys
from pathlib import Path
from recsys import refresh, snapshot
from recsys.catalogue.database import connect
from recsys.config import Settings

settings = Settings(home=Path(sys.argv[1]))
at = sys.argv[2]
module, name = (refresh, "probe") if at == "probe" else (snapshot, "_sync")
setattr(module, name, lambda *_: os.kill(os.getpid(), 9))
refresh.Refresher(connect(settings), settings).refresh()
"""


@pytest.mark.parametrize("at", ["sync", "probe"])
def test_a_killed_refresh_leaves_the_old_snapshot_and_its_remains_are_cleared_away(
    engine: Engine, home: Path, snapshots: Snapshots, refresher: Refresher, at: str
) -> None:
    base = snapshots.current_id()
    with writing(engine) as connection:
        patch_item(connection, "Garden/rake/red", {"price": 2.0}, datetime.now(UTC))
    command = [sys.executable, "-c", KILLED, str(home), at]
    ended = subprocess.run(command, env=os.environ, check=False, timeout=180)
    assert ended.returncode == -signal.SIGKILL
    assert snapshots.current_id() == base
    Snapshots(snapshots.folder).verify(base)
    made = refreshed(refresher)
    assert snapshots.ids() == [base, made.id]
    assert not list(snapshots.folder.glob(".refreshing-*"))


def test_what_cannot_be_refreshed_leaves_the_old_snapshot_is_told_once_and_tried_again(
    engine: Engine, settings: Settings, snapshots: Snapshots, caplog: pytest.LogCaptureFixture
) -> None:
    base = snapshots.current_id()
    put(engine, RAKE)

    def gone(card: EncoderCard) -> TextEncoder:
        return text_encoder_of(replace(card, revision="another"), settings.embedding, Path())

    refresher = Refresher(engine, settings, gone)
    with pytest.raises(EncoderError, match=r"encodes otherwise by now"):
        refresher.refresh()
    failures = 0

    def failed() -> None:
        nonlocal failures
        failures += 1
        if failures == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        keep_fresh(refresher, 0.01, Watch(failed=failed))
    assert snapshots.current_id() == base
    assert len([r for r in caplog.records if "not refreshed" in r.getMessage()]) == 1


def test_a_new_item_is_encoded_as_the_snapshots_items_were_whatever_the_settings_say(
    engine: Engine,
    settings: Settings,
    snapshots: Snapshots,
    encoder: TextEncoder,
    tiny_reader: Path,
) -> None:
    """Another model and other fields are for the next rebuild."""
    put(engine, RAKE)
    other = EmbeddingSettings(text_model=str(tiny_reader), text_fields=("title",))
    refreshed(Refresher(engine, settings.model_copy(update={"embedding": other})))
    _, artefacts = snapshots.load_current()
    space, (place,) = artefacts.spaces["text"], artefacts.items.ids.ordinals([RAKE.id])  # type: ignore[list-item]
    expected = space.encode_query(encoder.encode(["Long plain rake. Garden"]))[0]
    np.testing.assert_allclose(space.rows[place], expected, atol=1e-2)
    assert space.card == encoder.card
    title = space.encode_query(encoder.encode(["Long plain rake"]))[0]
    assert np.abs(space.rows[place] - title).max() > 0.05, "else the fields told nothing"
