"""A real server under load while snapshots are published, rolled back and pruned: nobody notices."""

import http.client
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import worlds

from recsys.catalogue.database import connect, migrate
from recsys.config import Settings
from recsys.snapshot import Artefacts, Snapshots

REQUESTS = 10_000
CONNECTIONS = 8

ASKED = [
    ("GET", "/v1/users/42/recommendations?limit=5", None),
    ("GET", "/v1/users/nobody/recommendations?limit=5", None),
    ("GET", "/v1/items/296/similar?limit=5", None),
    ("POST", "/v1/recommendations", {"context_items": ["space-1"], "limit": 5}),
    *[("GET", "/v1/items/popular?limit=5", None)] * 4,
]


@pytest.fixture
def world(tmp_path: Path) -> tuple[Settings, Artefacts]:
    settings = Settings(home=tmp_path / "home")
    engine = connect(settings)
    migrate(engine)
    worlds.fill(engine)
    artefacts = worlds.build(engine, settings)
    engine.dispose()
    return settings, artefacts


@pytest.fixture
def server(world: tuple[Settings, Artefacts]) -> Iterator[tuple[int, int]]:
    """(process, port) of `recsys serve` on the world's first snapshot: the parent of one worker, and of who encodes."""
    settings, artefacts = world
    worlds.publish(settings.home, artefacts)
    own = {
        "RECSYS_HOME": str(settings.home),
        "RECSYS_EMBEDDING__TEXT_MODEL": "none",
        "RECSYS_EMBEDDING__IMAGE_MODEL": "none",
        "RECSYS_SERVING__POLL_SECONDS": "0.1",
        "RECSYS_SERVING__REFRESH_SECONDS": "0",
        "COLUMNS": "200",
    }
    command = [sys.executable, "-m", "recsys", "serve", "--port", "0"]
    with subprocess.Popen(
        command, env=os.environ | own, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            port = re.search(r"http://127\.0\.0\.1:(\d+)", process.stdout.readline())
            assert port is not None
            wait_until_ready(int(port[1]))
            yield process.pid, int(port[1])
        finally:
            process.terminate()


def wait_until_ready(port: int) -> None:
    end = time.monotonic() + 60
    while not is_ready(port):
        assert time.monotonic() < end, "the server did not become ready"
        time.sleep(0.05)


def is_ready(port: int) -> bool:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
        try:
            connection.request("GET", "/health/ready")
            return connection.getresponse().status == 200
        except OSError:
            return False


class Visitors:
    """Several keep-alive connections that ask one request after the other."""

    def __init__(self, port: int) -> None:
        self.answers: Counter[str] = Counter()
        """Snapshot -> replies that named it."""
        self.failures: list[str] = []
        self._enough = threading.Event()
        self._threads = [
            threading.Thread(target=self._visit, args=(port, n)) for n in range(CONNECTIONS)
        ]

    def __enter__(self) -> "Visitors":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        for thread in self._threads:
            thread.join()

    def _visit(self, port: int, turn: int) -> None:
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
            while not self._enough.is_set() and not self.failures:
                turn += 1
                try:
                    self._ask(connection, *ASKED[turn % len(ASKED)])
                except Exception as error:
                    self.failures.append(repr(error))

    def _ask(
        self, connection: http.client.HTTPConnection, method: str, path: str, body: object
    ) -> None:
        content = None if body is None else json.dumps(body)
        connection.request(method, path, content, {"Content-Type": "application/json"})
        reply = connection.getresponse()
        slate = json.loads(reply.read())
        if reply.status != 200 or len(slate["items"]) != 5:
            self.failures.append(f"{method} {path}: {reply.status} {slate}")
        else:
            self.answers[slate["snapshot"]] += 1

    def wait(self, holds: str | int) -> None:
        """Until a reply named this snapshot, or until so many replies came."""
        end = time.monotonic() + 120
        while not (
            self.answers[holds] if isinstance(holds, str) else self.answers.total() >= holds
        ):
            assert not self.failures
            assert time.monotonic() < end
            time.sleep(0.01)


def test_ten_thousand_requests_during_three_swaps_a_rollback_and_a_prune(
    world: tuple[Settings, Artefacts], server: tuple[int, int]
) -> None:
    (settings, artefacts), (process, port) = world, server
    snapshots = Snapshots(settings.home / "snapshots")
    published = [snapshots.current_id()]
    with Visitors(port) as visitors:
        for swap in range(1, 4):
            visitors.wait(swap * REQUESTS // 5)
            published.append(worlds.publish(settings.home, artefacts))
            visitors.wait(published[-1])
        visitors.wait(4 * REQUESTS // 5)
        before = visitors.answers[published[-2]]
        assert snapshots.rollback() == published[-2]
        while visitors.answers[published[-2]] == before:
            visitors.wait(visitors.answers.total() + 1)
        assert len(snapshots.prune(1)) == 3
        visitors.wait(REQUESTS)
    assert not visitors.failures
    assert visitors.answers.total() >= REQUESTS
    assert set(visitors.answers) == set(published)
    worker, _ = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    assert mapped(worker) == {published[-2]}


def mapped(process: str) -> set[str]:
    """Snapshots whose files this process still has in memory."""
    maps = Path(f"/proc/{process}/maps").read_text()
    return set(re.findall(r"/snapshots/([^/\s]+)/", maps))
