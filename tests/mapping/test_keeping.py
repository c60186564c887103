"""Layouts of a published snapshot: made once by a process of their own, kept, and grown with a refresh."""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import worlds
from sqlalchemy import Engine

from recsys.catalogue.database import connect, migrate
from recsys.config import Settings
from recsys.identity import ABSENT
from recsys.index.space import extended
from recsys.locks import only_one
from recsys.mapping.ground import ground_of, rows_of, with_new
from recsys.mapping.job import make
from recsys.mapping.keeping import Kept, Layout, Mapper
from recsys.snapshot import Artefacts, Snapshots


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, Artefacts]:
    home = tmp_path_factory.mktemp("maps")
    settings = Settings(home=home)
    engine: Engine = connect(settings)
    migrate(engine)
    worlds.fill(engine)
    artefacts = worlds.build(engine, settings)
    engine.dispose()
    return home, worlds.publish(home, artefacts), artefacts


def test_a_layout_is_made_in_another_process_and_then_kept(
    built: tuple[Path, str, Artefacts],
) -> None:
    home, snapshot, artefacts = built
    mapper = Mapper(Kept(home))
    assert mapper.state(snapshot, "text") == "coming"
    mapper.begin(snapshot, "text")
    mapper.begin(snapshot, "text")  # the one that works already does
    limit = time.monotonic() + 60
    while mapper.state(snapshot, "text") == "coming" and time.monotonic() < limit:
        time.sleep(0.05)
    assert mapper.state(snapshot, "text") == "kept"
    layout = mapper.kept.read(snapshot, "text")
    assert layout is not None and layout.seconds > 0
    assert layout.places.shape == (len(artefacts.items), 2)
    np.testing.assert_array_equal(np.isnan(layout.places[:, 0]), ~artefacts.spaces["text"].present)


def test_a_layout_that_cannot_be_made_is_told(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    mapper = Mapper(Kept(tmp_path))
    mapper.begin("20200101T000000-000000", "text")
    limit = time.monotonic() + 60
    while mapper.state("20200101T000000-000000", "text") == "coming" and time.monotonic() < limit:
        time.sleep(0.05)
    assert mapper.state("20200101T000000-000000", "text") == "failed"
    assert "ranking.json" in capfd.readouterr().err


def test_many_who_ask_at_once_start_one_job(built: tuple[Path, str, Artefacts]) -> None:
    home, origin, _ = built
    before = children()
    mapper = Mapper(Kept(home))
    with only_one(mapper.kept.folder), ThreadPoolExecutor(16) as pool:
        asked = [pool.submit(mapper.begin, origin, "taste") for _ in range(64)]
        assert [one.result() for one in asked] == [None] * 64
        assert len(children() - before) == 1


def test_a_job_that_waits_for_its_turn_takes_little_memory() -> None:
    imports = "import sys, recsys.mapping.job; print(*sys.modules)"
    run = [sys.executable, "-c", imports]
    told = subprocess.run(run, capture_output=True, text=True, check=True)
    assert {"numpy", "pyarrow", "faiss", "sqlalchemy"}.isdisjoint(told.stdout.split())


def children() -> set[int]:
    """Processes that this one has started and that run."""
    told = Path(f"/proc/{os.getpid()}/task").glob("*/children")
    return {int(child) for task in told for child in task.read_text().split()}


def test_who_asks_no_more_ends_the_job(built: tuple[Path, str, Artefacts]) -> None:
    home, snapshot, _ = built
    mapper = Mapper(Kept(home))
    mapper.begin(snapshot, "taste")
    [job] = mapper._jobs.values()
    assert job.stdin is not None
    job.stdin.close()  # as the system does when a process ends
    assert job.wait(timeout=30) == 1
    assert mapper.state(snapshot, "taste") == "failed"
    assert mapper.kept.read(snapshot, "taste") is None


def test_an_unknown_kind_of_a_snapshot_is_refused(
    built: tuple[Path, str, Artefacts], tmp_path: Path
) -> None:
    _, _, artefacts = built
    snapshots = Snapshots(tmp_path / "snapshots")
    bare = Artefacts(artefacts.items, {}, artefacts.preference, {})
    snapshot = worlds.publish(tmp_path, bare)
    assert snapshots.ids() == [snapshot]
    with pytest.raises(ValueError, match="knows nothing of text"):
        make(tmp_path, snapshot, "text")


def test_layouts_of_snapshots_that_are_gone_are_deleted(
    built: tuple[Path, str, Artefacts],
) -> None:
    home, snapshot, _ = built
    kept = Kept(home)
    kept.folder.mkdir(exist_ok=True)
    layout = Layout(np.zeros((3, 2), dtype=np.float32), 1.5)
    kept.write("20200101T000000-000000", "image", layout)
    kept.write(snapshot, "image", layout)
    assert kept.read("20200101T000000-000000", "image") is None
    found = kept.read(snapshot, "image")
    assert found is not None and found.seconds == 1.5
    np.testing.assert_array_equal(found.places, layout.places)


def written(**arrays: object) -> bytes:
    """As numpy packs it."""
    file = BytesIO()
    np.savez(file, **arrays)  # type: ignore[arg-type]
    return file.getvalue()


def one_array() -> bytes:
    """As numpy writes an array by itself."""
    file = BytesIO()
    np.save(file, np.zeros((3, 2)))
    return file.getvalue()


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"PK\x03\x04",
        written(places=np.zeros((3, 2)), seconds=1.0)[:-40],
        written(places=np.zeros((3, 2)), seconds=1.0).replace(b"\0\0\0\0", b"\1\0\1\0"),
        written(places=np.zeros((3, 2))),
        written(places=np.zeros(3), seconds=1.0),
        one_array(),
    ],
)
def test_a_file_that_is_damaged_counts_as_none_and_is_made_anew(
    tmp_path: Path, damaged: bytes
) -> None:
    kept = Kept(tmp_path)
    kept.folder.mkdir()
    kept.path("s", "text").write_bytes(damaged)
    assert kept.read("s", "text") is None
    assert Mapper(kept).state("s", "text") == "coming"


def test_neighbours_are_those_that_the_space_knows(built: tuple[Path, str, Artefacts]) -> None:
    spaces = built[2].spaces
    rows = rows_of("image", spaces, None)
    assert rows is not None and len(rows.items) < rows.total  # some have no picture
    ground = ground_of("image", rows, spaces)
    there = ground.nearest != ABSENT
    assert there.mean() > 0.9
    cosines = np.einsum("md,mkd->mk", ground.rows, ground.rows[ground.nearest])
    np.testing.assert_allclose(cosines[there], ground.nearness[there], atol=1e-5)


def test_items_of_a_refresh_lie_amid_their_neighbours(
    built: tuple[Path, str, Artefacts],
) -> None:
    space = built[2].spaces["text"]
    count = len(space.present)
    rng = np.random.default_rng(0)
    places = rng.normal(size=(count, 2)).astype(np.float32)
    raw = np.zeros((1, space.projection.matrix.shape[0]), dtype=np.float32)
    raw[0, :3] = 1
    new = extended(space, count + 1, np.array([count]), raw, np.array([True]))
    found = with_new(places, count + 1, new)
    np.testing.assert_array_equal(found[:count], places)
    np.testing.assert_allclose(
        found[count], places[new.nearest[count, :14]].mean(axis=0), atol=1e-5
    )
