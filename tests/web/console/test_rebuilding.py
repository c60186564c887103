"""The process of a rebuild that was started in the console: its own, whatever becomes of the server's."""

import os
import signal
from pathlib import Path

import httpx
import worlds
from apis import until
from servers import started

from recsys.catalogue.database import connect, migrate
from recsys.config import Settings
from recsys.snapshot import Snapshots

INHERITS = """
import ctypes, runpy
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
runpy.run_module("recsys", run_name="__main__")
"""
"""What its children leave behind becomes its own, as with the first process of a container."""

NO_ENCODERS = {"RECSYS_EMBEDDING__TEXT_MODEL": "none", "RECSYS_EMBEDDING__IMAGE_MODEL": "none"}


def test_a_rebuild_outlives_the_worker_that_started_it(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    engine = connect(settings)
    migrate(engine)
    worlds.fill(engine)
    before = worlds.publish(tmp_path, worlds.build(engine, settings))
    engine.dispose()
    snapshots = Snapshots(tmp_path / "snapshots")
    with started(tmp_path, program=("-c", INHERITS), **NO_ENCODERS) as (process, url):
        reply = httpx.post(f"{url}/console/snapshots/rebuild", timeout=60)
        assert reply.status_code == 303
        worker = next(pid for pid in children_of(process.pid) if children_of(pid))
        (rebuilder,) = children_of(worker)
        assert not sockets_of(rebuilder)
        os.kill(worker, signal.SIGKILL)
        until(lambda: snapshots.current_id() != before)
        until(lambda: not Path(f"/proc/{rebuilder}").exists())
        until(lambda: ready(url) == snapshots.current_id())
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0


def children_of(pid: int) -> list[int]:
    """Of all its threads."""
    lists = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for each in lists for child in each.read_text().split()]


def sockets_of(pid: int) -> list[str]:
    found = (str(each.readlink()) for each in Path(f"/proc/{pid}/fd").iterdir())
    return [name for name in found if name.startswith("socket:")]


def ready(url: str) -> str:
    """The snapshot that is served; "" while nobody answers."""
    try:
        return str(httpx.get(f"{url}/health/ready").json()["snapshot"])
    except httpx.TransportError:
        return ""
