"""The nightly rebuild as an operator meets it: through the command line, on a real database."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from command_line import Ended, Recsys
from PIL import Image
from sqlalchemy import func, select

from recsys.catalogue.database import connect, reading
from recsys.catalogue.tables import RecommendationRow
from recsys.config import Settings
from recsys.embedding.apart import Apart
from recsys.snapshot import Snapshots

KILLS = 20

Shop = Callable[..., Ended]


@pytest.fixture
def shop(recsys: Recsys, home: Path) -> Callable[..., Ended]:
    """The command line on a shop of one's own."""
    return partial(recsys, RECSYS_HOME=str(home), RECSYS_PREFERENCE__SEARCH="false")


def start(home: Path, *arguments: str, **settings: str) -> subprocess.Popen[bytes]:
    given = {"RECSYS_HOME": str(home), "RECSYS_PREFERENCE__SEARCH": "false"} | settings
    return subprocess.Popen(
        [sys.executable, "-m", "recsys", *arguments],
        env=os.environ | given,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def test_a_rebuild_publishes_a_measured_and_sound_snapshot(home: Path) -> None:
    snapshots = Snapshots(home / "snapshots")
    manifest = snapshots.verify(snapshots.current_id())
    assert manifest.counts["items"] == 96
    assert manifest.counts["events"] == 1600
    assert manifest.metrics["blend.ndcg@10"] > 2 * manifest.metrics["popularity.ndcg@10"]
    assert manifest.encoders["text"]["dim"] == 384
    assert manifest.indexes["text"] == {"kind": "exact", "recall@10": 1.0}


def test_a_snapshot_says_which_models_it_holds(home: Path, shop: Shop) -> None:
    snapshots = Snapshots(home / "snapshots")
    models = snapshots.manifest(snapshots.current_id()).models
    assert set(models) == {"cooccurrence", "transitions", "linear", "factors"}
    assert all(model["items"] == model["of"] == 96 for model in models.values())
    assert models["linear"]["solve"] == "dense"
    assert "all items" in shop("snapshots", "list").stdout


def test_nothing_is_built_when_nothing_changed(shop: Shop, home: Path) -> None:
    before = Snapshots(home / "snapshots").ids()
    again = shop("rebuild")
    assert again.returncode == 0, again.stderr
    assert "unchanged" in again.stdout
    assert Snapshots(home / "snapshots").ids() == before


def test_only_new_content_is_embedded(shop: Shop, home: Path, tmp_path: Path) -> None:
    feed = tmp_path / "more.csv"
    feed.write_text("id,title,category\nnew/1,Blue kettle,Kitchen\nnew/2,Copper teapot,Kitchen\n")
    assert shop("import", "items", str(feed)).returncode == 0
    done = shop("rebuild")
    assert done.returncode == 0, done.stderr
    assert "2 contents embedded, 96 reused" in done.stdout


def test_the_encoder_loads_beside_only_where_an_item_changed(
    shop: Shop, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Apart] = []

    def apart(*given: Any) -> Apart:
        made.append(Apart(*given))
        return made[-1]

    monkeypatch.setattr("recsys.rebuild.Apart", apart)
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    poison(shop, home, tmp_path)
    assert "96 reused" in shop("rebuild", "--force").stdout
    assert not made
    feed = tmp_path / "more.csv"
    feed.write_text("id,title,category\nnew/1,Blue kettle,Kitchen\n")
    assert shop("import", "items", str(feed)).returncode == 0
    done = shop("rebuild", "--force")
    assert "1 contents embedded, 96 reused" in done.stdout, done.stderr
    assert [each._process.returncode for each in made] == [-signal.SIGKILL]


def poison(shop: Shop, home: Path, tmp_path: Path) -> None:
    """Purchases that mean nothing, later than all others and more of them."""
    rng = random.Random(0)
    snapshots = Snapshots(home / "snapshots")
    _, artefacts = snapshots.load_current()
    ids = list(artefacts.items.ids)
    feed = tmp_path / "poison.csv"
    rows = [
        f"c{rng.randrange(160)},{rng.choice(ids)},purchase,{1_710_000_000 + n * 60}"
        for n in range(3_000)
    ]
    feed.write_text("user_id,item_id,type,time\n" + "\n".join(rows) + "\n")
    done = shop("import", "events", str(feed))
    assert done.returncode == 0, done.stderr


def test_a_worse_build_is_refused_and_the_old_one_keeps_serving(
    shop: Shop, home: Path, tmp_path: Path
) -> None:
    snapshots = Snapshots(home / "snapshots")
    before = snapshots.current_id()
    poison(shop, home, tmp_path)
    refused = shop("rebuild")
    assert refused.returncode == 3
    assert "NDCG@10 on held-out events is" in refused.stderr
    assert f"{before} stays published" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert snapshots.current_id() == before
    assert snapshots.ids() == [before]

    forced = shop("rebuild", "--force")
    assert forced.returncode == 0, forced.stderr
    assert "published by --force although" in forced.stderr
    assert snapshots.current_id() != before

    back = shop("snapshots", "rollback")
    assert back.returncode == 0, back.stderr
    assert snapshots.current_id() == before


def test_a_build_that_lost_the_catalogue_is_refused(shop: Shop, home: Path, tmp_path: Path) -> None:
    _, artefacts = Snapshots(home / "snapshots").load_current()
    feed = tmp_path / "gone.csv"
    rows = [f'"{item}",false' for item in list(artefacts.items.ids)[:60]]
    feed.write_text("id,available\n" + "\n".join(rows) + "\n")
    assert shop("import", "items", str(feed)).returncode == 0
    refused = shop("rebuild")
    assert refused.returncode == 3
    assert "the catalogue shrank from 96 available items to 36" in refused.stderr


def test_a_build_with_nothing_to_show_is_refused(shop: Shop, home: Path, tmp_path: Path) -> None:
    _, artefacts = Snapshots(home / "snapshots").load_current()
    feed = tmp_path / "expired.csv"
    rows = [f'"{item}",2020-01-01' for item in artefacts.items.ids]
    feed.write_text("id,expires_at\n" + "\n".join(rows) + "\n")
    assert shop("import", "items", str(feed)).returncode == 0
    refused = shop("rebuild")
    assert refused.returncode == 3
    assert "there would be nothing to show" in refused.stderr


def test_a_picture_that_appears_later_is_noticed(shop: Shop, home: Path, tmp_path: Path) -> None:
    """The catalogue's row does not change, only the file that it names."""
    picture = tmp_path / "new.png"
    feed = tmp_path / "pictured.csv"
    feed.write_text(f"id,title,images\nnew/1,Blue kettle,{picture}\n")
    assert shop("import", "items", str(feed)).returncode == 0
    missing = shop("rebuild")
    assert missing.returncode == 0, missing.stderr
    assert "item new/1:" in missing.stderr
    Image.new("RGB", (64, 64), "navy").save(picture)
    found = shop("rebuild")
    assert found.returncode == 0, found.stderr
    assert "1 contents embedded" in found.stdout


def test_the_second_of_two_rebuilds_refuses(shop: Shop, home: Path) -> None:
    with Snapshots(home / "snapshots").rebuilding():
        second = shop("rebuild", "--force")
        prune = shop("snapshots", "prune", "--keep", "1")
    for refused in (second, prune):
        assert refused.returncode == 1
        assert "another rebuild is running" in refused.stderr


def test_a_damaged_snapshot_is_found_and_left_by_rolling_back(shop: Shop, home: Path) -> None:
    snapshots = Snapshots(home / "snapshots")
    first = snapshots.current_id()
    assert shop("rebuild", "--force").returncode == 0
    second = snapshots.current_id()
    damaged = snapshots.folder / second / "items.arrow"
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    found = shop("snapshots", "verify")
    assert found.returncode == 1
    assert "items.arrow differs" in found.stderr
    assert shop("snapshots", "rollback").returncode == 0
    assert snapshots.current_id() == first
    assert shop("snapshots", "verify").returncode == 0


def test_killed_at_any_moment_a_rebuild_leaves_a_sound_snapshot_serving(
    shop: Shop, home: Path
) -> None:
    """`kill -9` at 20 moments spread at random over the length of a rebuild.

    Without texts: most moments would fall into the loading of the encoder, where nothing is written yet.
    """
    snapshots = Snapshots(home / "snapshots")
    started = partial(start, home, "rebuild", "--full", RECSYS_EMBEDDING__TEXT_MODEL="none")
    began = time.monotonic()
    assert started().wait() == 0
    length = time.monotonic() - began
    rng = random.Random(0)
    for n in range(KILLS):
        before = snapshots.current_id()
        process = started()
        time.sleep(length * (n + rng.random()) / KILLS)
        process.send_signal(signal.SIGKILL)
        process.wait()
        current = snapshots.current_id()
        snapshots.verify(current)
        assert current >= before
    assert shop("rebuild", "--force").returncode == 0
    assert not list(snapshots.folder.glob(".building-*"))
    assert len(snapshots.ids()) <= 5


@pytest.mark.parametrize("command", ["rebuild", "evaluate"])
def test_an_empty_catalogue_is_one_clear_message(recsys: Recsys, command: str) -> None:
    unmigrated = recsys(command)
    assert unmigrated.returncode == 1
    assert "run `recsys migrate`" in unmigrated.stderr
    assert recsys("migrate").returncode == 0
    empty = recsys(command)
    assert empty.returncode == 1
    assert "the catalogue is empty: run `recsys import items FILE` first" in empty.stderr
    assert "Traceback" not in unmigrated.stderr + empty.stderr


def test_from_files_to_slates_on_either_database(
    recsys: Recsys, home: Path, tmp_path: Path, migrated_settings: Settings
) -> None:
    """The whole journey through the command line; vectors are there already, all else is made anew."""
    new = tmp_path / "new"
    shutil.copytree(home / "vectors", new / "vectors")
    url = migrated_settings.database_url
    for line in (
        ("import", "items", str(home / "feeds" / "items.csv")),
        ("import", "events", str(home / "feeds" / "events.csv")),
        ("rebuild",),
        ("batch", "--out", str(new / "slates"), "--limit", "5", "--table"),
    ):
        done = recsys(*line, RECSYS_HOME=str(new), RECSYS_DATABASE__URL=url)
        assert done.returncode == 0, done.stderr
    assert "160 users in 1 files" in done.stdout
    engine = connect(migrated_settings)
    with reading(engine) as connection:
        assert connection.scalar(select(func.count()).select_from(RecommendationRow)) == 800
    engine.dispose()
