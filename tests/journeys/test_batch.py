"""Batch scoring: the API's slates for everyone, in files that an interruption does not spoil."""

import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from apis import running, served_quickly
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from recsys import batch as batch_module
from recsys.batch import batch
from recsys.catalogue.database import connect
from recsys.catalogue.tables import RecommendationRow
from recsys.config import Settings
from recsys.errors import InputError
from recsys.identity import UserId
from recsys.snapshot import Snapshots


@pytest.fixture
def shop(home: Path) -> Settings:
    return served_quickly(Settings(home=home))


@pytest.fixture
def database(shop: Settings) -> Iterator[Engine]:
    engine = connect(shop)
    yield engine
    engine.dispose()


def slates(out: Path) -> dict[str, list[tuple[str, str]]]:
    """User -> (item, reason) by rank."""
    found: dict[str, list[tuple[str, str]]] = {}
    for part in sorted(out.glob("part-*.parquet")):
        for row in pq.read_table(part).to_pylist():
            mine = found.setdefault(row["user_id"], [])
            mine.append((row["item_id"], row["reason"]))
            assert row["rank"] == len(mine)
    return found


def test_batch_and_api_give_the_same_slate(
    shop: Settings, database: Engine, tmp_path: Path
) -> None:
    done = batch(database, shop, tmp_path / "out", limit=7)
    found = slates(tmp_path / "out")
    assert len(found) == done.run.users == 160
    with running(shop) as client:
        for user in list(found)[::8]:
            reply = client.get(f"/v1/users/{user}/recommendations", params={"limit": 7}).json()
            assert reply["snapshot"] == done.run.snapshot
            assert [(item["item_id"], item["reason"]) for item in reply["items"]] == found[user]


def test_some_users_only_also_one_nobody_knows(
    shop: Settings, database: Engine, tmp_path: Path
) -> None:
    wanted = [UserId("c3"), UserId("nobody"), UserId("c3")]
    batch(database, shop, tmp_path / "out", limit=5, users=wanted)
    found = slates(tmp_path / "out")
    assert list(found) == ["c3", "nobody"]
    assert [len(slate) for slate in found.values()] == [5, 5]


def test_an_interrupted_run_goes_on_and_ends_like_an_undisturbed_one(
    shop: Settings, database: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_module, "USERS_PER_PART", 40)
    batch(database, shop, tmp_path / "undisturbed", limit=3)

    def pull_the_plug(done: int) -> None:
        if done == 80:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        batch(database, shop, tmp_path / "out", limit=3, started=lambda _: pull_the_plug)
    assert len(list((tmp_path / "out").glob("part-*"))) == 2
    done = batch(database, shop, tmp_path / "out", limit=3)
    assert (done.parts, done.resumed) == (4, 2)
    assert slates(tmp_path / "out") == slates(tmp_path / "undisturbed")


def test_a_finished_run_is_made_anew(shop: Settings, database: Engine, tmp_path: Path) -> None:
    out = tmp_path / "out"
    batch(database, shop, out, limit=3)
    again = batch(database, shop, out, limit=4)
    assert again.resumed == 0
    assert {len(slate) for slate in slates(out).values()} == {4}
    assert json.loads((out / "batch.json").read_text())["complete"] is True


def test_the_table_holds_what_the_files_hold(
    shop: Settings, database: Engine, tmp_path: Path
) -> None:
    batch(database, shop, tmp_path / "first", limit=6, table=True)
    batch(database, shop, tmp_path / "second", limit=4, table=True)
    with Session(database) as session:
        rows = session.execute(
            select(
                RecommendationRow.user_id, RecommendationRow.item_id, RecommendationRow.reason
            ).order_by(RecommendationRow.user_id, RecommendationRow.rank)
        ).all()
    stored: dict[str, list[tuple[str, str]]] = {}
    for user, item, reason in rows:
        stored.setdefault(user, []).append((item, reason))
    assert stored == slates(tmp_path / "second")


def test_a_folder_with_other_things_in_it_is_left_alone(
    shop: Settings, database: Engine, tmp_path: Path
) -> None:
    (tmp_path / "part-00000.parquet").write_bytes(b"somebody else's")
    with pytest.raises(InputError, match="holds files that are not a batch run's"):
        batch(database, shop, tmp_path, limit=3)
    assert (tmp_path / "part-00000.parquet").read_bytes() == b"somebody else's"


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
