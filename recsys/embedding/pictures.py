"""Where pictures lie, and their bytes: a file, a file within a tar, or what was fetched from an address.

    location --Pictures.read--> bytes

A location is a path, a path through an uncompressed tar (`posters.tar/posters/1.jpg`), or an address (`https://...`).
What comes from an address lies in a folder by the hash of its content: the same photo at two addresses is kept once.
"""

import json
import os
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import IO

from recsys.catalogue.images import is_address
from recsys.config import Settings
from recsys.errors import ContentError

MOST_BYTES = 200_000_000
"""Of one picture or video: it is read whole."""

ABANDONED = 3_600
"""Seconds after which nobody writes to a draft any more."""


@dataclass(frozen=True)
class Pictures:
    """What locations lead to."""

    root: Path
    """Relative paths start here."""
    fetched: "Fetched"

    @classmethod
    def of(cls, settings: Settings) -> "Pictures":
        """Those of an installation."""
        return cls(settings.embedding.image_root, Fetched(settings.home / "pictures"))

    def read(self, location: str) -> bytes:
        """The bytes at this location. Raises ContentError if there are none, or too many."""
        if is_address(location):
            return self.fetched.read(location)
        path = self.root / location
        try:
            if archive := next((part for part in path.parents if _is_tar(part)), None):
                return _read_member(archive, path.relative_to(archive).as_posix())
            if not path.is_file():
                raise ContentError(f"{path} is not a file")
            _check_size(path.stat().st_size)
            return path.read_bytes()
        except (OSError, ValueError, tarfile.TarError) as error:
            raise ContentError(f"{path} cannot be read: {error}") from None

    def version(self, location: str) -> str:
        """Another one once what lies there may have changed. Raises ContentError if there is nothing."""
        if is_address(location):
            return self.fetched.version(location)
        path = self.root / location
        file = next((part for part in path.parents if _is_tar(part)), path)
        try:
            about = file.stat()
        except (OSError, ValueError) as error:
            raise ContentError(f"{path} cannot be read: {error}") from None
        return f"{about.st_mtime_ns} {about.st_size}"


class Fetched:
    """What came from addresses, or why it did not come."""

    def __init__(self, folder: Path) -> None:
        """The folder is made when something is kept."""
        self._folder = folder

    def __contains__(self, address: str) -> bool:
        """Whether it is here; False where it did not come, or was lost."""
        content = self._told(address).get("content")
        return content is not None and self._content(content).is_file()

    def read(self, address: str) -> bytes:
        """Its bytes. Raises ContentError saying why they are not here."""
        if problem := self.problem(address):
            raise ContentError(problem)
        try:
            return self._content(self._told(address)["content"]).read_bytes()
        except OSError as error:
            raise ContentError(f"{address}: what was fetched cannot be read: {error}") from None

    def version(self, address: str) -> str:
        """The name of its content. Raises ContentError saying why it is not here."""
        if problem := self.problem(address):
            raise ContentError(problem)
        return self._told(address)["content"]

    def problem(self, address: str) -> str:
        """Why it is not here; empty if it is."""
        told = self._told(address)
        if "content" in told:
            return ""
        why = told.get("problem") or "it has not been fetched: `recsys rebuild` does"
        return f"{address}: {why}"

    def tidy(self) -> None:
        """Take away drafts that were left by who was killed."""
        for draft in self._folder.glob("*.part"):
            with suppress(FileNotFoundError):
                if time.time() - draft.stat().st_mtime > ABANDONED:
                    draft.unlink()

    @contextmanager
    def draft(self) -> Iterator[IO[bytes]]:
        """A file to write what comes into; gone afterwards, unless it was kept."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=self._folder, suffix=".part", delete=False) as file:
            try:
                yield file
            finally:
                with suppress(FileNotFoundError):
                    os.unlink(file.name)  # noqa: PTH108  a name, and no more than that

    def keep(self, address: str, draft: IO[bytes]) -> None:
        """Keep a draft as what is at this address."""
        draft.flush()
        draft.seek(0)
        content = _digest(draft)
        place = self._content(content)
        place.parent.mkdir(parents=True, exist_ok=True)
        made = Path(draft.name)
        made.chmod(0o644)
        made.replace(place)
        self._tell(address, {"content": content})

    def miss(self, address: str, problem: str) -> None:
        """Keep why nothing came from this address."""
        self._tell(address, {"problem": problem})

    def _told(self, address: str) -> dict[str, str]:
        try:
            told = json.loads(self._note(address).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        known = told.items() if isinstance(told, dict) else ()
        return {name: value for name, value in known if isinstance(value, str)}

    def _tell(self, address: str, told: dict[str, str]) -> None:
        note = self._note(address)
        note.parent.mkdir(parents=True, exist_ok=True)
        with self.draft() as draft:
            draft.write(json.dumps({"address": address} | told).encode())
            draft.flush()
            Path(draft.name).replace(note)

    def _note(self, address: str) -> Path:
        name = blake2b(address.encode(errors="surrogatepass"), digest_size=20).hexdigest()
        return self._folder / "addresses" / name[:2] / f"{name}.json"

    def _content(self, name: str) -> Path:
        return self._folder / "contents" / name[:2] / name


def _digest(file: IO[bytes]) -> str:
    digest = blake2b(digest_size=20)
    while piece := file.read(1 << 20):
        digest.update(piece)
    return digest.hexdigest()


def _check_size(size: int) -> None:
    if size > MOST_BYTES:
        raise ContentError(f"it has {size:,} bytes: expected at most {MOST_BYTES:,}")


def _is_tar(path: Path) -> bool:
    return path.suffix == ".tar" and path.is_file()


def _read_member(archive: Path, member: str) -> bytes:
    about = archive.stat()
    place = _members(archive, about.st_mtime_ns, about.st_size).get(member)
    if place is None:
        raise ContentError(f"{archive} holds no file {member}")
    offset, size = place
    _check_size(size)
    with archive.open("rb") as file:
        file.seek(offset)
        return file.read(size)


@lru_cache(maxsize=16)
def _members(archive: Path, _changed_at: int, _size: int) -> dict[str, tuple[int, int]]:
    """Name -> (offset, size): the archive is walked through once, not once per picture."""
    with tarfile.open(archive, "r:") as tar:
        return {entry.name: (entry.offset_data, entry.size) for entry in tar if entry.isreg()}
