"""Snapshots: sealed, verified, published by one rename, rolled back, pruned; saved equals live."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import worlds

from recsys.config import RankingSettings
from recsys.errors import NoSnapshot, SnapshotCorrupt, SnapshotError
from recsys.ranking.candidates import History, Query
from recsys.ranking.ranker import Lesson, fit_ranker
from recsys.ranking.reasons import deeds
from recsys.ranking.recommender import Recommender
from recsys.snapshot import Artefacts, Snapshots

NOW = datetime(2026, 7, 1, tzinfo=UTC)


@pytest.fixture
def snapshots(tmp_path: Path) -> Snapshots:
    return Snapshots(tmp_path / "snapshots")


def publish(snapshots: Snapshots, artefacts: Artefacts, day: int) -> str:
    return worlds.publish(snapshots.folder.parent, artefacts, NOW + timedelta(days=day))


def test_saved_and_loaded_answers_like_the_live_one(
    artefacts: Artefacts, snapshots: Snapshots
) -> None:
    publish(snapshots, artefacts, 0)
    _, loaded = snapshots.load_current()
    live, saved = (Recommender.of(a, RankingSettings()) for a in (artefacts, loaded))
    for genre in worlds.GENRES:
        items = artefacts.items.ids.ordinals(worlds.film_ids(genre)[:4])
        history = History(items, np.ones(4, np.float32), deeds(["like"] * 4))
        query = Query(at=NOW, limit=20, history=history, diversity=0.3)
        one, other = live.recommend(query), saved.recommend(query)
        assert [item.item for item in one.items] == [item.item for item in other.items]
        assert [item.reason for item in one.items] == [item.reason for item in other.items]
        for mine, its in zip(one.items, other.items, strict=True):
            assert mine.parts == pytest.approx(its.parts, abs=1e-5)


def test_a_ranker_travels_with_the_snapshot_and_is_guarded_like_all_files(
    artefacts: Artefacts, snapshots: Snapshots
) -> None:
    lesson = Lesson(np.eye(8, dtype=np.float32), np.zeros(8, np.float32), np.arange(8) < 2)
    ranker = fit_ranker(["linear"], [lesson], seed=0)
    current = publish(snapshots, replace(artefacts, ranker=ranker), 0)
    _, loaded = snapshots.load_current()
    assert loaded.ranker == ranker
    served = Recommender.of(loaded, RankingSettings()).ranker
    assert served is not None
    assert served.sources == ("linear",)
    path = snapshots.folder / current / "ranker.txt"
    path.write_text(path.read_text().replace("num_leaves", "num_leeves", 1))
    with pytest.raises(SnapshotCorrupt, match=r"ranker\.txt differs"):
        snapshots.load(current)


def test_without_a_ranker_there_is_no_file_and_the_blend_ranks(
    artefacts: Artefacts, snapshots: Snapshots
) -> None:
    current = publish(snapshots, artefacts, 0)
    manifest, loaded = snapshots.load(current)
    assert "ranker.txt" not in manifest.files
    assert loaded.ranker is None
    assert Recommender.of(loaded, RankingSettings()).ranker is None


def test_nothing_is_loaded_into_memory_that_can_be_mapped(
    artefacts: Artefacts, snapshots: Snapshots
) -> None:
    publish(snapshots, artefacts, 0)
    _, loaded = snapshots.load_current()
    for array in (loaded.spaces["text"].rows, loaded.preference.cooccurrence.data):
        base = array
        while base is not None and not isinstance(base, np.memmap):
            base = base.base
        assert isinstance(base, np.memmap)


def test_nothing_published_is_said_so(snapshots: Snapshots) -> None:
    with pytest.raises(NoSnapshot, match="run `recsys rebuild`"):
        snapshots.load_current()


@pytest.mark.parametrize(
    "name", ["items.arrow", "text.rows.npy", "ranking.json", "preference/support.npy"]
)
@pytest.mark.parametrize("damage", ["changed", "cut", "deleted"])
def test_every_damaged_file_is_named(
    artefacts: Artefacts, snapshots: Snapshots, name: str, damage: str
) -> None:
    current = publish(snapshots, artefacts, 0)
    path = snapshots.folder / current / name
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    if damage == "deleted":
        path.unlink()
    else:
        path.write_bytes(content if damage == "changed" else content[:-1])
    with pytest.raises(SnapshotCorrupt, match=name):
        snapshots.load(current)


@pytest.mark.parametrize("text", ["", "not json", "[]", "{}", '{"format": 1}'])
def test_a_manifest_that_is_none_is_refused(
    artefacts: Artefacts, snapshots: Snapshots, text: str
) -> None:
    current = publish(snapshots, artefacts, 0)
    (snapshots.folder / current / "manifest.json").write_text(text)
    with pytest.raises(SnapshotError, match=current):
        snapshots.load(current)


def test_another_format_is_refused_with_what_to_do(
    artefacts: Artefacts, snapshots: Snapshots
) -> None:
    current = publish(snapshots, artefacts, 0)
    path = snapshots.folder / current / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 99}))
    with pytest.raises(SnapshotError, match="has format 99, this version reads 10: rebuild"):
        snapshots.load(current)


def test_rolling_back_passes_over_a_damaged_one(artefacts: Artefacts, snapshots: Snapshots) -> None:
    first, second, third = (publish(snapshots, artefacts, day) for day in range(3))
    (snapshots.folder / second / "items.arrow").unlink()
    assert snapshots.current_id() == third
    assert snapshots.rollback() == first
    assert snapshots.current_id() == first
    with pytest.raises(SnapshotError, match="no sound snapshot older"):
        snapshots.rollback()
    assert snapshots.rollback(third) == third


@pytest.mark.parametrize("name", ["..", "nowhere", "../snapshots", ""])
def test_rolling_back_to_what_is_not_there_changes_nothing(
    artefacts: Artefacts, snapshots: Snapshots, name: str
) -> None:
    current = publish(snapshots, artefacts, 0)
    with pytest.raises(SnapshotError, match="there is no snapshot"):
        snapshots.rollback(name)
    assert snapshots.current_id() == current


def test_pruning_keeps_the_newest_and_always_the_current(
    artefacts: Artefacts, snapshots: Snapshots
) -> None:
    made = [publish(snapshots, artefacts, day) for day in range(5)]
    snapshots.rollback(made[0])
    assert snapshots.prune(3) == [made[1], made[2]]
    assert snapshots.ids() == [made[0], made[3], made[4]]
    assert snapshots.prune(1) == [made[3], made[4]]
    assert snapshots.prune(1) == []


def test_a_lost_pointer_is_mended_by_naming_a_snapshot(
    artefacts: Artefacts, snapshots: Snapshots
) -> None:
    first, second = (publish(snapshots, artefacts, day) for day in range(2))
    (snapshots.folder / "current").write_text("")
    with pytest.raises(NoSnapshot, match="nothing is published"):
        snapshots.current_id()
    assert snapshots.ids() == [first, second]
    assert snapshots.rollback(first) == snapshots.current_id() == first


def test_what_is_not_there_cannot_be_published(artefacts: Artefacts, snapshots: Snapshots) -> None:
    current = publish(snapshots, artefacts, 0)
    with pytest.raises(SnapshotError, match="there is no snapshot 'gone'"):
        snapshots.publish("gone")
    assert snapshots.current_id() == current


def test_what_a_killed_build_left_is_cleared_away(snapshots: Snapshots) -> None:
    leftover = snapshots.folder / ".building-20260101T000000-000000"
    leftover.mkdir(parents=True)
    (leftover / "half.npy").write_bytes(b"half")
    assert snapshots.ids() == []
    with snapshots.rebuilding():
        assert not leftover.exists()


def test_what_is_deleted_while_it_is_read_is_told(
    artefacts: Artefacts, snapshots: Snapshots
) -> None:
    current = publish(snapshots, artefacts, 0)
    path = snapshots.folder / current / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["files"]["ranking.json"]  # verified, and then gone
    path.write_text(json.dumps(manifest))
    (snapshots.folder / current / "ranking.json").unlink()
    with pytest.raises(SnapshotError, match="not there any more"):
        snapshots.load(current)


def test_a_pointer_of_zeros_names_nothing_and_one_that_is_no_text_no_snapshot(
    artefacts: Artefacts, snapshots: Snapshots
) -> None:
    publish(snapshots, artefacts, 0)
    (snapshots.folder / "current").write_bytes(b"\0" * 23)
    with pytest.raises(NoSnapshot):
        snapshots.current_id()
    for damaged in (b"\xff\xfe\n", b"a\0b\n"):
        (snapshots.folder / "current").write_bytes(damaged)
        with pytest.raises(SnapshotError):
            snapshots.manifest(snapshots.current_id())


def test_a_manifest_that_cannot_be_opened_is_refused(
    artefacts: Artefacts, snapshots: Snapshots
) -> None:
    path = snapshots.folder / publish(snapshots, artefacts, 0) / "manifest.json"
    path.unlink()
    path.mkdir()
    with pytest.raises(SnapshotCorrupt, match="not readable"):
        snapshots.manifest(path.parent.name)
