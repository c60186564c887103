"""Starts a rebuild in a process of its own, which outlives the server's workers and holds nothing of theirs."""

import os
import pickle
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from subprocess import DEVNULL, PIPE, Popen

from recsys.config import Settings
from recsys.errors import BuildError, RebuildRunning
from recsys.locks import only_one
from recsys.record import newest
from recsys.snapshot import Snapshots

REBUILDER = "recsys.web.console.rebuilder"

LOG = ".rebuild.log"
"""In the folder of snapshots: what the process had to say."""

PATIENCE = 60.0
"""Seconds that a process may take to begin: it imports much."""


def start(settings: Settings, full: bool = False, force: bool = False) -> None:
    """Start a rebuild with these settings; returns once it has begun.

    full, force: as of `rebuild`. Raises RebuildRunning where one runs, whoever started it, and BuildError where none
    began.
    """
    snapshots = Snapshots(settings.home / "snapshots")
    with _alone(snapshots):
        asked = datetime.now(UTC)
        process = _process(settings, full, force, snapshots)
        # it is waited for, whenever it ends: else it would stay in the list of processes
        threading.Thread(target=process.wait, name="recsys-rebuild", daemon=True).start()
        _await(process, snapshots, asked)


@contextmanager
def _alone(snapshots: Snapshots) -> Iterator[None]:
    """Raises RebuildRunning where one runs, or is being started by another click."""
    starting = RebuildRunning("a rebuild is being started")
    with only_one(snapshots.folder / ".starting", starting):
        with snapshots.rebuilding():
            pass
        yield


def _process(settings: Settings, full: bool, force: bool, snapshots: Snapshots) -> Popen[bytes]:
    """In a session of its own: what stops the server does not stop it."""
    paths = {"PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))}
    with (snapshots.folder / LOG).open("wb") as log:
        process = Popen(  # noqa: S603  nothing in it is from outside
            [sys.executable, "-P", "-m", REBUILDER],
            env=os.environ | paths,
            stdin=PIPE,
            stdout=DEVNULL,
            stderr=log,
            start_new_session=True,
        )
    assert process.stdin is not None
    told = pickle.dumps((settings, full, force))  # JSON would not tell what was set by hand
    with (
        suppress(BrokenPipeError),
        process.stdin,
    ):  # arguments can be seen by all, and a password is in it
        process.stdin.write(told)
    return process


def _await(process: Popen[bytes], snapshots: Snapshots, asked: datetime) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        over = process.poll() is not None
        last = newest(snapshots.folder)
        if last is not None and last.started >= asked:
            return
        if over:
            raise BuildError(f"the rebuild did not begin: {_last_words(snapshots)}")
        time.sleep(0.05)


def _last_words(snapshots: Snapshots) -> str:
    lines = (snapshots.folder / LOG).read_text(encoding="utf-8", errors="replace").splitlines()
    return lines[-1] if lines else "it ended without a word"
