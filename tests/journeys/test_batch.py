"""Batch scoring: the API's slates for everyone, in files that an interruption does not spoil."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apis import running, served_quickly
from sqlalchemy import Engine, select

from recsys import batch as batch_module
from recsys.batch import COLUMNS, Part, Scorer, batch, read_users
from recsys.catalogue.database import connect, reading, writing
from recsys.catalogue.events import Event, append_events
from recsys.catalogue.items import delete_item, patch_item
from recsys.catalogue.rule import Rule
from recsys.catalogue.rules import add_rule
from recsys.catalogue.tables import RecommendationRow
from recsys.config import EventSettings, RankingSettings, Settings
from recsys.errors import BatchError, InputError
from recsys.identity import UserId
from recsys.locks import only_one
from recsys.ranking.ranker import Lesson, fit_ranker
from recsys.snapshot import Snapshots


@pytest.fixture
def shop(home: Path) -> Settings:
    return served_quickly(Settings(home=home))


@pytest.fixture
def database(shop: Settings) -> Iterator[Engine]:
    engine = connect(shop)
    yield engine
    engine.dispose()


Slates = dict[str, list[tuple[str, str]]]
"""User -> (item, reason) by rank."""


def slates(out: Path) -> Slates:
    """What the files hold."""
    found: Slates = {}
    for part in sorted(out.glob("part-*.parquet")):
        for row in pq.read_table(part).to_pylist():
            mine = found.setdefault(row["user_id"], [])
            mine.append((row["item_id"], row["reason"]))
            assert row["rank"] == len(mine)
    return found


def from_the_api(settings: Settings, users: Iterable[str], limit: int) -> Slates:
    """What a server gives these users."""
    found: Slates = {}
    with running(settings) as client:
        for user in users:
            reply = client.get(f"/v1/users/{user}/recommendations", params={"limit": limit}).json()
            found[user] = [(item["item_id"], item["reason"]) for item in reply["items"]]
    return found


def buys(engine: Engine, user: str, *items: str, time: datetime | None = None) -> None:
    bought = [
        Event(user_id=user, item_id=item, type="purchase", time=time or datetime.now(UTC))
        for item in items
    ]
    with writing(engine) as connection:
        append_events(connection, bought)


def interrupt(
    engine: Engine,
    settings: Settings,
    out: Path,
    *,
    limit: int = 3,
    users: Sequence[UserId] | None = None,
) -> None:
    """A batch that is killed when it has written two parts, in one process: several would have begun more."""
    alone = settings.model_copy(update={"threads": 1})

    def pull_the_plug(done: int) -> None:
        if done == 80:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        batch(engine, alone, out, limit=limit, users=users, started=lambda _: pull_the_plug)
    assert len(list(out.glob("part-*"))) == 2


def test_batch_and_api_give_the_same_slate(
    shop: Settings, database: Engine, tmp_path: Path
) -> None:
    done = batch(database, shop, tmp_path / "out", limit=7)
    found = slates(tmp_path / "out")
    assert len(found) == len(done.run.users) == 160
    assert found.items() >= from_the_api(shop, list(found)[::8], 7).items()


def test_batch_and_api_weigh_events_as_the_build_found(
    shop: Settings, database: Engine, tmp_path: Path
) -> None:
    """With a half-life of seconds, the newest purchase alone is left of a taste."""
    for n, item in enumerate(("Garden/rake/red", "Garden/hose/red", "Kitchen/whisk/red")):
        buys(database, "ann", item, time=datetime.now(UTC) - timedelta(hours=3 - n))
    snapshots = Snapshots(shop.home / "snapshots")
    manifest, artefacts = snapshots.load_current()
    found = artefacts.preference.events.model_copy(update={"half_life_days": 1e-3})
    forgetful = replace(artefacts, preference=replace(artefacts.preference, events=found))
    with snapshots.rebuilding():
        sealed = snapshots.seal(forgetful, manifest.model_copy(update={"id": "9"}), {})
    for snapshot in (manifest.id, sealed.id):
        snapshots.publish(snapshot)
        out = tmp_path / snapshot
        batch(database, shop, out, limit=7, users=[UserId("ann")])
        assert slates(out) == from_the_api(shop, ["ann"], 7)
    assert slates(tmp_path / manifest.id) != slates(tmp_path / "9")
    assert {item.partition("/")[0] for item, _ in slates(tmp_path / "9")["ann"]} == {"Kitchen"}


def test_what_was_withdrawn_since_the_rebuild_is_in_no_slate(
    shop: Settings, database: Engine, tmp_path: Path
) -> None:
    batch(database, shop, tmp_path / "before", limit=7)
    before = slates(tmp_path / "before")
    deleted, sold_out, run_out = withdrawn = [item for item, _ in before["c3"][:3]]
    now = datetime.now(UTC)
    with writing(database) as connection:
        delete_item(connection, deleted, now)
        patch_item(connection, sold_out, {"available": False}, now)
        patch_item(connection, run_out, {"expires_at": now.isoformat()}, now)
    batch(database, shop, tmp_path / "after", limit=7)
    after = slates(tmp_path / "after")
    assert set(withdrawn).isdisjoint(item for slate in after.values() for item, _ in slate)
    assert after.items() >= from_the_api(shop, ["c3", *list(after)[::8]], 7).items()


def test_batch_and_api_know_the_same_rules(
    shop: Settings, database: Engine, tmp_path: Path
) -> None:
    now = datetime.now(UTC)
    top, gone = "Kitchen/whisk/red", {"where": {"categories": ["Garden"]}}
    said = [
        {"name": "top", "action": "pin", "items": [top], "place": 2},
        {"name": "gone", "action": "exclude", **gone},
        {"name": "lifted", "action": "boost", "by": 3, "items": ["Cycling/bell/red"]},
        {"name": "elsewhere", "action": "pin", "items": ["Cycling/pedal/red"], "place": 1}
        | {"placements": ["similar", "popular"]},
        {"name": "over", "action": "exclude", "items": [top], "ends_at": now},
    ]
    with writing(database) as connection:
        for rule in said:
            add_rule(connection, Rule.model_validate(rule), now)
    batch(database, shop, tmp_path / "out", limit=7)
    found = slates(tmp_path / "out")
    assert {slate[1] for slate in found.values()} == {(top, "picked by the shop")}
    assert not [item for slate in found.values() for item, _ in slate if item.startswith("Garden")]
    assert found.items() >= from_the_api(shop, ["c3", *list(found)[::8]], 7).items()


def test_of_events_at_one_moment_the_last_to_arrive_is_the_newest_as_in_the_api(
    shop: Settings, database: Engine, tmp_path: Path
) -> None:
    shop = shop.model_copy(update={"events": EventSettings(history=1)})
    moment = datetime.now(UTC)
    buys(database, "ann", "Garden/rake/red", "Kitchen/whisk/red", "Cycling/bell/red", time=moment)
    batch(database, shop, tmp_path / "out", limit=7, users=[UserId("ann")])
    assert slates(tmp_path / "out") == from_the_api(shop, ["ann"], 7)


def test_some_users_only_also_one_nobody_knows(
    shop: Settings, database: Engine, tmp_path: Path
) -> None:
    wanted = [UserId("c3"), UserId("nobody"), UserId("c3")]
    batch(database, shop, tmp_path / "out", limit=5, users=wanted)
    found = slates(tmp_path / "out")
    assert list(found) == ["c3", "nobody"]
    assert [len(slate) for slate in found.values()] == [5, 5]


def test_users_nobody_knows_are_counted(shop: Settings, database: Engine, tmp_path: Path) -> None:
    said: list[str] = []
    wanted = [UserId("c3"), UserId("nobody"), UserId("no one")]
    batch(database, shop, tmp_path / "out", limit=5, users=wanted, say=said.append)
    assert said == ["2 of 3 users unknown: they get what newcomers get"]


def test_a_file_of_users_is_read_line_by_line(tmp_path: Path) -> None:
    file = tmp_path / "users.txt"
    file.write_bytes("\ufeffann\r\n\n bob jr \t\r\n  \nzo\u00eb\u2028x\x0by\rz".encode())
    assert read_users(file) == ["ann", " bob jr", "zo\u00eb\u2028x\x0by\rz"]


def test_a_file_of_users_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "users.txt"
    file.write_bytes("zo\u00eb\n".encode("latin-1"))
    with pytest.raises(InputError, match=r"users\.txt is not UTF-8"):
        read_users(file)


def test_an_interrupted_run_ends_like_an_undisturbed_one_whatever_happened_since(
    shop: Settings, database: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_module, "USERS_PER_PART", 40)
    batch(database, shop, tmp_path / "undisturbed", limit=3)
    interrupt(database, shop, tmp_path / "out")
    buys(database, "a newcomer", "Garden/rake/red")
    last = list(slates(tmp_path / "undisturbed"))[-1]
    buys(database, last, *(f"{each}/red" for each in ("Garden/rake", "Kitchen/whisk")))
    done = batch(database, shop, tmp_path / "out", limit=3)
    assert (done.parts, done.resumed) == (4, 2)
    assert slates(tmp_path / "out") == slates(tmp_path / "undisturbed")


def with_a_ranker(settings: Settings) -> None:
    """Publish a snapshot that has one, and have LightGBM begin threads of its own."""
    lesson = Lesson(np.eye(8, dtype=np.float32), np.zeros(8, np.float32), np.arange(8) < 2)
    ranker = fit_ranker(["linear"], [lesson], seed=0)
    lightgbm.Booster(model_str=ranker).predict(np.ones((100_000, 8)), num_threads=4)
    snapshots = Snapshots(settings.home / "snapshots")
    manifest, artefacts = snapshots.load_current()
    with snapshots.rebuilding():
        sealed = snapshots.seal(
            replace(artefacts, ranker=ranker), manifest.model_copy(update={"id": "9"}), {}
        )
    snapshots.publish(sealed.id)


@pytest.mark.parametrize("prepare", [lambda _: None, with_a_ranker], ids=["blend", "ranker"])
def test_several_processes_write_what_one_does(
    shop: Settings,
    database: Engine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    prepare: Callable[[Settings], None],
) -> None:
    prepare(shop)
    monkeypatch.setattr(batch_module, "USERS_PER_PART", 20)
    for processes in (1, 3):
        settings, out = shop.model_copy(update={"threads": processes}), tmp_path / f"{processes}"
        done: list[int] = []
        batch(database, settings, out, limit=7, table=True, started=lambda _, to=done: to.append)
        assert done == list(range(20, 161, 20))
        assert table(database) == slates(out)
    assert slates(tmp_path / "3") == slates(tmp_path / "1")


@pytest.fixture
def in_three(shop: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A batch of everybody is then eight parts, written by three processes."""
    monkeypatch.setattr(batch_module, "USERS_PER_PART", 20)
    return shop.model_copy(update={"threads": 3})


def test_an_error_in_one_process_ends_the_batch_and_leaves_no_half_a_part(
    in_three: Settings, database: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, written = tmp_path / "out", Scorer.write

    def fails(scorer: Scorer, part: Part) -> None:
        if part.path.name == "part-00003.parquet":
            raise OSError("no space left on device")
        written(scorer, part)

    with monkeypatch.context() as failing:
        failing.setattr(Scorer, "write", fails)
        with pytest.raises(OSError, match="no space left"):
            batch(database, in_three, out, limit=3)
    assert not (out / "part-00003.parquet").exists()
    assert batch(database, in_three, out, limit=3).resumed >= 3
    assert len(slates(out)) == 160


def test_a_process_that_is_killed_ends_the_batch_which_can_go_on(
    in_three: Settings, database: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, written = tmp_path / "out", Scorer.write

    def dies(scorer: Scorer, part: Part) -> None:
        if part.path.name == "part-00003.parquet":
            os.kill(os.getpid(), signal.SIGKILL)
        written(scorer, part)

    with monkeypatch.context() as dying:
        dying.setattr(Scorer, "write", dies)
        with pytest.raises(BatchError, match="was ended from outside: is there enough memory"):
            batch(database, in_three, out, limit=3)
    batch(database, in_three, out, limit=3)
    assert len(slates(out)) == 160


def test_a_process_that_may_have_no_children_does_it_all(
    in_three: Settings, database: Engine, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    daemon = get_context("fork").Process(
        target=batch, args=(database, in_three, out), kwargs={"limit": 3}, daemon=True
    )
    daemon.start()
    daemon.join()
    assert daemon.exitcode == 0
    assert len(slates(out)) == 160


def test_killed_it_leaves_no_process_behind_and_can_go_on(
    in_three: Settings, database: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, written = tmp_path / "out", Scorer.write

    def slowly(scorer: Scorer, part: Part) -> None:
        time.sleep(0.2)
        written(scorer, part)

    def ignores_sigterm() -> None:
        """As a server might; those who write must not."""
        signal.signal(signal.SIGTERM, lambda *_: None)
        batch(database, in_three, out, limit=3)

    with monkeypatch.context() as slower:
        slower.setattr(Scorer, "write", slowly)
        running = get_context("fork").Process(target=ignores_sigterm)
        running.start()
        while not list(out.glob("part-*.parquet")):
            time.sleep(0.01)
        running.kill()
        running.join()
    with only_one(out):  # each of them holds the lock until it ends
        left = len(list(out.glob("part-*.parquet")))
    assert left < 8
    assert batch(database, in_three, out, limit=3).resumed == left
    assert len(slates(out)) == 160


C = [UserId(f"c{n}") for n in range(160)]


@pytest.mark.parametrize(
    ("asked", "changed", "why"),
    [
        ({"limit": 4}, {}, "the limit changed from 3 to 4"),
        ({"users": C[::-1]}, {}, "the users asked for changed"),
        ({"users": None}, {}, "the users asked for changed"),
        ({}, {"ranking": RankingSettings(diversity=0.9)}, "settings of ranking or events changed"),
        ({}, {"events": EventSettings(seen=())}, "settings of ranking or events changed"),
    ],
)
def test_another_run_than_the_interrupted_one_begins_anew_and_says_so(
    shop: Settings,
    database: Engine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    asked: dict[str, Any],
    changed: dict[str, Any],
    why: str,
) -> None:
    monkeypatch.setattr(batch_module, "USERS_PER_PART", 40)
    interrupt(database, shop, tmp_path / "out", limit=3, users=C)
    settings, asked = shop.model_copy(update=changed), {"limit": 3, "users": C} | asked
    said: list[str] = []
    done = batch(database, settings, tmp_path / "out", say=said.append, **asked)
    assert done.resumed == 0
    assert said == [f"beginning anew: since the interrupted run, {why}"]
    batch(database, settings, tmp_path / "undisturbed", **asked)
    assert slates(tmp_path / "out") == slates(tmp_path / "undisturbed")


def test_settings_that_no_slate_depends_on_do_not_stop_a_run_from_going_on(
    shop: Settings, database: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_module, "USERS_PER_PART", 40)
    interrupt(database, shop, tmp_path / "out")
    changed = shop.model_copy(update={"threads": 1})
    assert batch(database, changed, tmp_path / "out", limit=3, table=True).resumed == 2
    assert table(database) == slates(tmp_path / "out")


def test_two_batches_do_not_write_into_one_folder(
    shop: Settings, database: Engine, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    refused: list[str] = []

    def begin_another(_: int) -> Callable[[int], None]:
        with pytest.raises(InputError, match="another batch is writing to") as error:
            batch(database, shop, out, limit=4)
        refused.append(str(error.value))
        return lambda _: None

    batch(database, shop, out, limit=3, started=begin_another)
    assert len(refused) == 1
    assert {len(slate) for slate in slates(out).values()} == {3}
    batch(database, shop, out, limit=4)


def test_the_folder_reads_as_one_dataset(
    shop: Settings, database: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_module, "USERS_PER_PART", 40)
    batch(database, shop, tmp_path / "out", limit=3)
    read = pq.read_table(tmp_path / "out")
    assert read.num_rows == 160 * 3
    assert read.schema.equals(pa.schema(COLUMNS))


def test_a_finished_run_is_made_anew(shop: Settings, database: Engine, tmp_path: Path) -> None:
    out = tmp_path / "out"
    batch(database, shop, out, limit=3)
    again = batch(database, shop, out, limit=4)
    assert again.resumed == 0
    assert {len(slate) for slate in slates(out).values()} == {4}
    assert json.loads((out / "_batch.json").read_text())["complete"] is True


def table(engine: Engine) -> Slates:
    """What the database holds."""
    columns = RecommendationRow.user_id, RecommendationRow.item_id, RecommendationRow.reason
    by_rank = select(*columns).order_by(RecommendationRow.user_id, RecommendationRow.rank)
    found: Slates = {}
    with reading(engine) as connection:
        for user, item, reason in connection.execute(by_rank):
            found.setdefault(user, []).append((item, reason))
    return found


def test_the_table_holds_what_the_files_hold(
    shop: Settings, database: Engine, tmp_path: Path
) -> None:
    batch(database, shop, tmp_path / "first", limit=6, table=True)
    batch(database, shop, tmp_path / "second", limit=4, table=True)
    assert table(database) == slates(tmp_path / "second")


def test_a_user_to_whom_nothing_can_be_shown_any_more_leaves_the_table(
    shop: Settings, database: Engine, tmp_path: Path
) -> None:
    batch(database, shop, tmp_path / "first", limit=4, table=True)
    buys(database, "c3", *Snapshots(shop.home / "snapshots").load_current()[1].items.ids)
    batch(database, shop, tmp_path / "second", limit=4, table=True)
    assert "c3" not in table(database)
    assert table(database) == slates(tmp_path / "second")


def test_a_folder_with_other_things_in_it_is_left_alone(
    shop: Settings, database: Engine, tmp_path: Path
) -> None:
    (tmp_path / "part-00000.parquet").write_bytes(b"somebody else's")
    with pytest.raises(InputError, match="holds files that are not a batch run's"):
        batch(database, shop, tmp_path, limit=3)
    assert (tmp_path / "part-00000.parquet").read_bytes() == b"somebody else's"
    assert not (tmp_path / ".lock").exists()


@pytest.mark.parametrize("limit", [0, -1, 501])
def test_a_limit_out_of_bounds_is_refused(
    shop: Settings, database: Engine, tmp_path: Path, limit: int
) -> None:
    with pytest.raises(InputError, match="between 1 and"):
        batch(database, shop, tmp_path / "out", limit=limit)
    assert not (tmp_path / "out").exists()


def test_a_run_takes_the_snapshot_that_is_published(
    shop: Settings, database: Engine, tmp_path: Path
) -> None:
    done = batch(database, shop, tmp_path / "out", limit=1)
    assert done.run.snapshot == Snapshots(shop.home / "snapshots").current_id()
