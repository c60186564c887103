"""The vectors of one encoder on disk, by the hash of what was embedded.

Addressed by content, not by item: a renamed item, a second item with the same text or an edit taken back
cost nothing. A killed run loses at most the batch in hand.
"""

import hashlib
import uuid
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from recsys.identity import Floats

Key = bytes
"""16 bytes that stand for a content."""


def content_key(content: bytes) -> Key:
    """The BLAKE2 hash of a content."""
    return hashlib.blake2b(content, digest_size=16).digest()


class VectorStore:
    """Content hash -> vector of one encoder, as `part-*.npz` files in a folder.

    One job at a time: to open it sweeps away what another is writing, and may merge what it reads.
    """

    PART_ROWS = 50_000
    """Small parts are merged into parts of at most this many rows."""
    SMALL_PARTS = 50
    """More small parts than this are merged when the store is opened."""

    def __init__(self, folder: Path, dim: int, known: bool = True) -> None:
        """known: False reads nothing of what is there: this store knows only what it is given, and keeps it beside."""
        self._folder, self._dim = folder, dim
        self._parts: dict[Path, int] = {}
        self._where: dict[Key, tuple[Path, int]] = {}
        self.damaged: list[str] = []
        folder.mkdir(parents=True, exist_ok=True)
        if not known:
            return
        for leftover in folder.glob("*.tmp"):
            leftover.unlink()
        for path in sorted(folder.glob("part-*.npz")):
            self._open(path)
        self._compact()

    def __len__(self) -> int:
        return len(self._where)

    def __contains__(self, key: Key) -> bool:
        return key in self._where

    def add(self, keys: Sequence[Key], rows: Floats) -> None:
        """Keep these vectors; they are on disk, whole, when this returns."""
        path = self._folder / f"part-{uuid.uuid4().hex}.npz"
        flat = np.frombuffer(b"".join(keys), dtype=np.uint8).reshape(len(keys), -1)
        draft = path.with_suffix(".tmp")
        with draft.open("wb") as file:
            np.savez(file, keys=flat, rows=np.asarray(rows, dtype=np.float32))
        draft.replace(path)
        self._index(path, keys)

    def rows(self, keys: Sequence[Key]) -> Floats:
        """(len(keys), dim) vectors in the same order. Raises KeyError for a key that is not in the store."""
        found = np.empty((len(keys), self._dim), dtype=np.float32)
        wanted: dict[Path, list[tuple[int, int]]] = {}
        for n, key in enumerate(keys):
            path, position = self._where[key]
            wanted.setdefault(path, []).append((n, position))
        for path, places in wanted.items():
            to, position_in_part = np.array(places).T
            found[to] = self._read(path)[1][position_in_part]
        return found

    def _open(self, path: Path) -> None:
        """Read a part through once, checksums included, so that damage shows before it is relied on."""
        try:
            self._index(path, self._read(path)[0])
        except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, ValueError):
            self.damaged.append(path.name)
            path.unlink()

    def _read(self, path: Path) -> tuple[list[Key], Floats]:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as part:
            keys, rows = part["keys"], part["rows"]
        if rows.shape != (len(keys), self._dim) or not np.isfinite(rows).all():
            raise ValueError(f"{path} does not hold {self._dim} finite numbers for each key")
        return [key.tobytes() for key in keys], rows

    def _index(self, path: Path, keys: Sequence[Key]) -> None:
        self._parts[path] = len(keys)
        self._where.update((key, (path, position)) for position, key in enumerate(keys))

    def _compact(self) -> None:
        """Merge small parts. The merged part is written before the small ones go: a kill costs only space."""
        small = [path for path, count in self._parts.items() if count < self.PART_ROWS // 2]
        if len(small) <= self.SMALL_PARTS:
            return
        among = set(small)
        keys = [key for key, (path, _) in self._where.items() if path in among]
        for start in range(0, len(keys), self.PART_ROWS):
            chunk = keys[start : start + self.PART_ROWS]
            self.add(chunk, self.rows(chunk))
        for path in small:
            del self._parts[path]
            path.unlink()
