"""What rebuilds say of themselves, as whoever looks on meets it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import worlds
from apis import until

import recsys.record
from recsys.catalogue.database import connect, migrate
from recsys.config import EmbeddingSettings, PreferenceSettings, Settings
from recsys.errors import BuildError, GateRefused
from recsys.evaluation.result import ALL, BLEND, HEADLINE, Estimate, Evaluation, Measured, Slice
from recsys.rebuild import rebuild
from recsys.record import SILENT, Recording, ended, newest
from recsys.snapshot import Snapshots

FOUND = {HEADLINE: Estimate(0.2, 0.1, 0.3)}

EVALUATION = Evaluation(
    protocol="",
    settings={},
    data_digest="",
    measured=True,
    models={
        BLEND: Measured(slices={ALL: Slice(n=9, metrics=FOUND), "new": Slice(n=9, metrics=FOUND)}),
        "popularity": Measured(slices={ALL: Slice(n=9, metrics=FOUND)}),
    },
)


class Seen:
    """Progress, and what was passed on to it."""

    def __init__(self) -> None:
        self.done: list[tuple[str, int]] = []

    def task(self, name: str, _total: int | None = None) -> Callable[[int], None]:
        return lambda done: self.done.append((name, done))


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recsys.record, "EVERY", 0.01)


def test_a_reader_sees_where_a_rebuild_is(tmp_path: Path) -> None:
    assert newest(tmp_path) is None
    watcher = Seen()
    with Recording(tmp_path, watcher) as recording:
        found = newest(tmp_path)
        assert found is not None
        assert found.state_at(datetime.now(UTC)) == "running"
        recording.task("reading")
        recording.task("embedding", 10)(4)
        until(lambda: len(_steps(tmp_path)) == 2 and _steps(tmp_path)[1].done == 4)
        assert [(step.name, step.total) for step in _steps(tmp_path)] == [
            ("reading", None),
            ("embedding", 10),
        ]
        assert watcher.done == [("embedding", 4)]
        assert ended(tmp_path) == []


def test_a_rebuild_that_ends_well_leaves_its_figures(tmp_path: Path) -> None:
    with Recording(tmp_path, Seen()) as recording:
        recording.task("reading")
        recording.measured(EVALUATION)
        recording.ends("published", "20261129T101244-606025", None)
    found = newest(tmp_path)
    assert found is not None
    assert found == ended(tmp_path)[0]
    assert (found.outcome, found.snapshot, found.reason) == (
        "published",
        "20261129T101244-606025",
        "",
    )
    assert found.metrics == FOUND
    assert found.models == {BLEND: FOUND[HEADLINE], "popularity": FOUND[HEADLINE]}
    assert found.slices == {ALL: FOUND[HEADLINE], "new": FOUND[HEADLINE]}


def test_nothing_noted_is_lost_to_the_thread_that_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recsys.record, "EVERY", 0.0)
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(40):
            with Recording(tmp_path, Seen()) as recording:
                recording.measured(EVALUATION)
                recording.ends("published", "one", None)
    finally:
        sys.setswitchinterval(usual)
    assert all(one.metrics == FOUND and one.outcome == "published" for one in ended(tmp_path))


@pytest.mark.parametrize(
    ("error", "outcome", "reason"),
    [
        (GateRefused("it is worse"), "refused", "it is worse"),
        (BuildError("the catalogue is empty"), "failed", "the catalogue is empty"),
        (MemoryError(), "failed", "MemoryError"),
        (KeyboardInterrupt(), "failed", "KeyboardInterrupt"),
    ],
)
def test_a_rebuild_that_does_not_publish_says_why(
    tmp_path: Path, error: BaseException, outcome: str, reason: str
) -> None:
    with pytest.raises(type(error)), Recording(tmp_path, Seen()):
        raise error
    found = newest(tmp_path)
    assert found is not None
    assert (found.outcome, found.reason) == (outcome, reason)
    assert ended(tmp_path) == [found]


def test_a_line_that_was_cut_off_costs_no_other(tmp_path: Path) -> None:
    for name in ("one", "two"):
        with Recording(tmp_path, Seen()) as recording:
            recording.ends("published", name, None)
    path = tmp_path / ".rebuilds.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    with Recording(tmp_path, Seen()) as recording:
        recording.ends("published", "three", None)
    assert [one.snapshot for one in ended(tmp_path)] == ["one", "three"]


@pytest.mark.parametrize("left", [b"", b"{", b"null", b"\xff", b'{"started": 1}'])
def test_what_cannot_be_read_is_no_rebuild(tmp_path: Path, left: bytes) -> None:
    (tmp_path / ".rebuild.json").write_bytes(left)
    (tmp_path / ".rebuilds.jsonl").write_bytes(left + b"\n")
    assert newest(tmp_path) is None
    assert ended(tmp_path) == []
    with Recording(tmp_path, Seen()) as recording:
        recording.ends("unchanged", "one", None)
    assert [one.outcome for one in ended(tmp_path)] == ["unchanged"]


KILLED = """
import sys, time
from pathlib import Path
from recsys.record import Recording
from test_record import Seen

with Recording(Path(sys.argv[1]), Seen()) as recording:
    recording.task("embedding", 10)(3)
    time.sleep(60)
"""


def test_a_killed_rebuild_is_killed_once_it_has_been_silent_and_joins_the_history(
    tmp_path: Path,
) -> None:
    paths = os.pathsep.join([str(Path(__file__).parent), *map(os.path.abspath, sys.path)])
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    with subprocess.Popen(command, env=os.environ | {"PYTHONPATH": paths}) as process:
        until(lambda: len(_steps(tmp_path)) == 1)
        process.send_signal(signal.SIGKILL)
    found = newest(tmp_path)
    assert found is not None
    assert found.state_at(found.seen + SILENT / 2) == "running"
    assert found.state_at(found.seen + SILENT + timedelta(seconds=1)) == "killed"
    assert ended(tmp_path) == []
    with Recording(tmp_path, Seen()) as recording:
        recording.ends("published", "next", None)
    killed, after = ended(tmp_path)
    assert killed.state_at(killed.seen) == "killed"
    assert [step.name for step in killed.steps] == ["embedding"]
    assert after.outcome == "published"


def test_a_disk_that_is_away_for_a_while_does_not_end_a_rebuild(tmp_path: Path) -> None:
    folder, away = tmp_path / "here", tmp_path / "away"
    folder.mkdir()
    with Recording(folder, Seen()) as recording:
        folder.rename(away)
        time.sleep(0.05)
        away.rename(folder)
        recording.ends("published", "one", None)
    assert [one.snapshot for one in ended(folder)] == ["one"]


def test_what_rebuilds_said_outlives_their_snapshots(tmp_path: Path) -> None:
    settings = Settings(
        home=tmp_path,
        embedding=EmbeddingSettings(text_model="none", image_model="none"),
        preference=PreferenceSettings(search=False, factors=0),
    )
    engine = connect(settings)
    migrate(engine)
    worlds.fill(engine)
    made = [rebuild(engine, settings, Seen(), force=True).manifest.id for _ in range(2)]
    unchanged = rebuild(engine, settings, Seen())
    engine.dispose()
    snapshots = Snapshots(tmp_path / "snapshots")
    with snapshots.rebuilding():
        assert snapshots.prune(1) == made[:1]
    told = ended(snapshots.folder)
    assert [(one.outcome, one.snapshot) for one in told] == [
        ("published", made[0]),
        ("published", made[1]),
        ("unchanged", made[1]),
    ]
    assert not unchanged.changed
    assert told[0].metrics[HEADLINE].value == unchanged.evaluation.metrics()["blend.ndcg@10"]
    names = [step.name for step in told[0].steps]
    assert names[0] == "reading the catalogue and the events"
    assert names[-1] == "sealing the snapshot"
    lines = (snapshots.folder / ".rebuilds.jsonl").read_text().splitlines()
    assert all(json.loads(line)["started"] for line in lines)


def test_a_rebuild_that_cannot_write_down_where_it_is_ends_as_it_would(tmp_path: Path) -> None:
    for name in (".rebuild.json", ".rebuilds.jsonl"):
        (tmp_path / name).mkdir()
    assert (newest(tmp_path), ended(tmp_path)) == (None, [])
    with Recording(tmp_path, Seen()) as recording:
        recording.ends("published", "20261129T101244-606025", None)
    with pytest.raises(BuildError, match="no items"), Recording(tmp_path, Seen()):
        raise BuildError("there are no items")


def test_a_moment_without_a_zone_is_not_read(tmp_path: Path) -> None:
    told = '{"started":"2026-11-29T10:07:34","seen":"2026-11-29T10:08:40","outcome":"published"}'
    (tmp_path / ".rebuild.json").write_text(told)
    assert newest(tmp_path) is None


def test_of_thousands_of_rebuilds_the_newest_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recsys.record, "READ", 3)
    for number in range(5):
        with Recording(tmp_path, Seen()) as recording:
            recording.ends("unchanged", str(number), None)
    assert [each.snapshot for each in ended(tmp_path)] == ["2", "3", "4"]
    assert len((tmp_path / ".rebuilds.jsonl").read_text().splitlines()) == 5


def _steps(folder: Path) -> tuple[recsys.record.Step, ...]:
    found = newest(folder)
    return found.steps if found else ()
