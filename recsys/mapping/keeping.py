"""Layouts, kept from one look to the next, and made by a process of its own that nobody waits for.

    <home>/maps/<origin>-<kind>.npz    places of the items of a rebuild's snapshot, and the seconds that it took
    <home>/maps/.lock                  held by the one job that may work

What a refresh adds finds its place among its neighbours: see `ground.with_new`.
"""

import logging
import os
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen
from typing import Literal, NamedTuple
from weakref import finalize

import numpy as np

from recsys.identity import Floats
from recsys.mapping import FOLDER
from recsys.mapping.ground import Kind
from recsys.snapshot import Snapshots

log = logging.getLogger(__name__)

PLANE = 2
"""Coordinates of a place."""

State = Literal["kept", "coming", "failed"]


class Layout(NamedTuple):
    """Where the items of a snapshot lie."""

    places: Floats
    """(n, 2); NaN where an item has none."""
    seconds: float
    """That it took to find them."""


class Kept(NamedTuple):
    """The layouts of one home folder."""

    home: Path

    @property
    def folder(self) -> Path:
        """Where they are."""
        return self.home / FOLDER

    def path(self, origin: str, kind: Kind) -> Path:
        """Of one layout, whether it is there or not."""
        return self.folder / f"{origin}-{kind}.npz"

    def read(self, origin: str, kind: Kind) -> Layout | None:
        """One layout; None where it has not been made, or cannot be read: such a file is deleted, to be made anew."""
        path = self.path(origin, kind)
        if not path.is_file():
            return None
        try:
            with path.open("rb") as file:
                arrays = np.load(file, allow_pickle=False)
                places, seconds = arrays["places"], float(arrays["seconds"])
            if places.ndim != PLANE or places.shape[1] != PLANE:
                raise ValueError(f"places of shape {places.shape}")
        except Exception:  # whatever a damaged file leads zip and numpy into
            log.exception("%s cannot be read: it is made anew", path)
            with suppress(OSError):
                path.unlink()
            return None
        return Layout(places, seconds)

    def write(self, origin: str, kind: Kind, layout: Layout) -> None:
        """Keep one, and delete those of snapshots that are gone."""
        draft = self.folder / f".{origin}-{kind}.npz"
        np.savez(draft, places=layout.places, seconds=np.array(layout.seconds))
        draft.replace(self.path(origin, kind))
        there = set(Snapshots(self.home / "snapshots").ids())
        for path in self.folder.glob("*.npz"):
            if path.stem.rpartition("-")[0] not in there:
                path.unlink(missing_ok=True)


Jobs = dict[tuple[str, Kind], "Popen[bytes]"]


class Mapper:
    """Has layouts made. What is being made when nobody has it any more is not."""

    def __init__(self, kept: Kept) -> None:
        self.kept = kept
        self._jobs: Jobs = {}
        self._lock = threading.Lock()
        finalize(self, _stop, self._jobs)

    def begin(self, origin: str, kind: Kind) -> None:
        """Have this one made, unless it is there or being made."""
        with self._lock:
            if self.state(origin, kind) == "kept":
                return
            job = self._jobs.get((origin, kind))
            if job is None or _has_ended(job):
                self._jobs[origin, kind] = _started(self.kept.home, origin, kind)

    def state(self, origin: str, kind: Kind) -> State:
        """Whether it is there. What another process of the server has begun is coming too."""
        job = self._jobs.get((origin, kind))
        ended = job is not None and _has_ended(job)  # before the look: it may end meanwhile
        if self.kept.path(origin, kind).is_file():
            return "kept"
        return "failed" if ended else "coming"


def _has_ended(job: "Popen[bytes]") -> bool:
    if job.poll() is None:
        return False
    assert job.stdin is not None
    job.stdin.close()
    return True


def _stop(jobs: Jobs) -> None:
    for job in jobs.values():
        job.kill()
        job.wait()
        _has_ended(job)


def _started(home: Path, origin: str, kind: Kind) -> "Popen[bytes]":
    """It ends when its standard input does, and so with this process, however that ends."""
    paths: Mapping[str, str] = {"PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))}
    return Popen(  # noqa: S603  nothing in it is from outside
        [sys.executable, "-P", "-m", "recsys.mapping.job", str(home.resolve()), origin, kind],
        env=os.environ | paths,
        stdin=PIPE,
        stdout=DEVNULL,
        start_new_session=True,  # Ctrl-C is for this process
    )
