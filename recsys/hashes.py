"""What files hash to. One that stays as it is, on a machine that stays on, is not read again for it."""

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path

MOST = 10_000
"""Files remembered: those of some hundred snapshots."""

BOOT = Path("/proc/sys/kernel/random/boot_id")

Place = tuple[int, ...]
"""Device, inode, size and time of change of a file: files with two names are hashed once."""


class Hashes:
    """The sha256 of files, remembered in a file of its own until the machine starts again.

    A loss of power, or another machine with the same disk, may change a file without a trace: after a start all is
    read again.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._known: dict[Place, str] | None = None

    def of(self, path: Path) -> str:
        """Hex digest of a file."""
        if self._known is None:
            self._known = self._remembered()
        place = _place(path)
        if place not in self._known:
            self._known[place] = sha256(path)
        return self._known[place]

    def forget(self) -> None:
        """Read all that is asked for anew."""
        self._known = {}

    def remember(self) -> None:
        """Let later processes know."""
        if (boot := _boot()) is None or not self._known:
            return
        kept = self._remembered() | self._known
        newest = list(kept.items())[-MOST:]
        told = {"boot": boot, "files": [[*place, digest] for place, digest in newest]}
        draft = self._file.with_name(f"{self._file.name}-{os.getpid()}")
        with suppress(OSError):  # a reader may not be allowed to write
            draft.write_text(json.dumps(told), encoding="utf-8")
            draft.replace(self._file)

    def _remembered(self) -> dict[Place, str]:
        try:
            told = json.loads(self._file.read_text(encoding="utf-8"))
            files = told["files"] if told["boot"] == _boot() else []
            return {tuple(place): digest for *place, digest in files}
        except (OSError, ValueError, KeyError, TypeError):
            return {}


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _place(path: Path) -> Place:
    at = path.stat()
    return at.st_dev, at.st_ino, at.st_size, at.st_mtime_ns


def _boot() -> str | None:
    """Names the time since this machine was started; None where it cannot say."""
    with suppress(OSError):
        return BOOT.read_text(encoding="utf-8").strip()
    return None
