"""The built artefacts as one sealed folder: write, verify, publish, load, roll back.

    <home>/snapshots/.building-<id>/   being written; worth nothing until renamed
    <home>/snapshots/<id>/             sealed: manifest.json names every file with its sha256
    <home>/snapshots/current           the id being served; replaced by one atomic rename
    <home>/snapshots/.hashes           what files hashed to since the machine was started
    <home>/snapshots/.lock             held by the one rebuild that may run
    <home>/snapshots/.refreshing-<id>/ being written by a refresh, which holds .refresh/.lock

A reader sees the old snapshot or the new one, never something between, at whatever moment a build dies.
No pickle anywhere: Arrow, npy, FAISS files, LightGBM's text and JSON.

A refresh is a snapshot made from another one: its items are newer, what was learned is the same. Only the one being
served is kept, and its origin, the snapshot of a rebuild, counts in its place wherever builds are compared or
gone back to.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from recsys.catalogue.item_table import ItemTable
from recsys.errors import (
    NoSnapshot,
    RebuildRunning,
    SnapshotCorrupt,
    SnapshotError,
    Superseded,
)
from recsys.facts import Facts
from recsys.hashes import Hashes
from recsys.index.space import Space
from recsys.locks import only_one
from recsys.preference.models import Preference
from recsys.threads import available_cores

FORMAT = 10
"""Raised whenever an older reader could misread a newer folder."""

LIBRARIES = (
    "recsys",
    "numpy",
    "scipy",
    "faiss-cpu",
    "implicit",
    "lightgbm",
    "torch",
    "sentence-transformers",
    "pyarrow",
)


class Refreshed(BaseModel):
    """How a refresh came about."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    of: str
    """The snapshot of a rebuild whose models, weights and figures these are."""
    at: datetime
    """When the newest items were read."""


class Manifest(BaseModel):
    """What a snapshot says of itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    format: int
    built_at: datetime
    """When the items and events were read; of a refresh, those of its origin. Whoever looks for what has been
    withdrawn since, or for how old a trend is, asks from here."""
    events_until: datetime | None
    """Time of the newest event used; None: there were none."""
    counts: dict[str, int]
    encoders: dict[str, dict[str, Any]]
    """Space name -> encoder card."""
    indexes: dict[str, dict[str, Any]]
    """Space name -> kind chosen and recall@10 against exact search."""
    models: dict[str, dict[str, int | str]]
    """Model of taste -> `items` it can recommend `of` all, and its size. A model that was not fitted is absent."""
    inputs_digest: str
    """Of the items, events, settings and library versions: equal means nothing would change."""
    libraries: dict[str, str]
    metrics: dict[str, float]
    """Held-out figures of the blend and of the baselines; empty when there was too little to measure."""
    files: dict[str, str]
    """Path within the folder -> sha256."""
    refreshed: Refreshed | None = None
    """None: it was made by a rebuild."""

    @property
    def origin(self) -> str:
        """The snapshot of a rebuild that this is, or is a refresh of."""
        return self.refreshed.of if self.refreshed else self.id


@dataclass(frozen=True)
class Artefacts:
    """Everything that ranking needs, in memory or memory-mapped."""

    items: ItemTable
    spaces: Mapping[str, Space]
    """`text` and `image`, where there is an encoder and content."""
    preference: Preference
    weights: Mapping[str, Mapping[str, float]]
    """Segment -> source -> weight, as learned; segments not learned are absent."""
    hides_seen: bool = True
    """Whether what a viewer has seen is left out of the slates, where a request does not say."""
    ranker: str | None = None
    """LightGBM's text of the ranker; None: the blend ranks alone."""

    @cached_property
    def facts(self) -> Facts:
        """What ranking asks of each item."""
        return Facts.of(self.items, self.spaces, self.preference)

    def write(self, folder: Path, last: "Sealed | None" = None) -> None:
        """Write the artefacts' files into an existing folder.

        last: a snapshot with which this shares objects; those files are linked, not written.
        """
        there = last.artefacts if last else None

        def links(mine: object, theirs: object, pattern: str) -> bool:
            return last is not None and mine is theirs and _linked(last.folder, folder, pattern)

        if not links(self.items, there and there.items, "items.arrow"):
            self.items.write(folder / "items.arrow")
        for name, space in self.spaces.items():
            if not links(space, there and there.spaces.get(name), f"{name}.*"):
                space.write(folder, name)
        if not links(self.preference, there and there.preference, "preference/*"):
            self.preference.write(folder / "preference")
        same = there is not None and self.facts.equals(there.facts)
        if not (same and last and _linked(last.folder, folder, "facts/*")):
            self.facts.write(folder / "facts")
        contents = {
            "spaces": sorted(self.spaces),
            "weights": self.weights,
            "hides_seen": self.hides_seen,
        }
        (folder / "ranking.json").write_text(json.dumps(contents, indent=1), encoding="utf-8")
        if self.ranker is not None:
            (folder / "ranker.txt").write_text(self.ranker, encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> "Artefacts":
        """Memory-map what `write` wrote."""
        contents = json.loads((folder / "ranking.json").read_text(encoding="utf-8"))
        ranker = folder / "ranker.txt"
        found = cls(
            ItemTable.read(folder / "items.arrow"),
            {name: Space.load(folder, name) for name in contents["spaces"]},
            Preference.load(folder / "preference"),
            contents["weights"],
            contents["hides_seen"],
            ranker.read_text(encoding="utf-8") if ranker.exists() else None,
        )
        vars(found)["facts"] = Facts.load(folder / "facts")  # no field: another one's facts differ
        return found


@dataclass(frozen=True)
class Sealed:
    """A snapshot as it was loaded."""

    folder: Path
    manifest: Manifest
    artefacts: Artefacts


@dataclass(frozen=True)
class Snapshots:
    """The snapshots of one home folder."""

    folder: Path

    @cached_property
    def _hashes(self) -> Hashes:
        return Hashes(self.folder / ".hashes")

    def ids(self) -> list[str]:
        """Sealed snapshots, oldest first."""
        return sorted(path.parent.name for path in self.folder.glob("[!.]*/manifest.json"))

    def current_id(self) -> str:
        """The id being served. Raises NoSnapshot."""
        pointer = self.folder / "current"
        told = pointer.read_bytes() if pointer.is_file() else b""
        published = told.decode(errors="replace").strip("\0\n ")  # zeros: the power went
        if not published:
            raise NoSnapshot(f"nothing is published in {self.folder}: run `recsys rebuild`")
        return published

    def manifest(self, snapshot: str) -> Manifest:
        """Read what a snapshot says of itself. Raises SnapshotError, SnapshotCorrupt."""
        path = self.folder / snapshot / "manifest.json"
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise SnapshotError(
                f"there is no snapshot {snapshot!r}; there are: {', '.join(self.ids()) or 'none'}"
            ) from None
        except (OSError, ValueError, RecursionError) as error:
            raise SnapshotCorrupt(
                f"{path} is not readable ({error}): roll back or rebuild"
            ) from None
        if isinstance(content, dict) and content.get("format") != FORMAT:
            raise SnapshotError(
                f"snapshot {snapshot} has format {content.get('format')}, this version reads {FORMAT}: rebuild"
            )
        try:
            return Manifest.model_validate(content)
        except ValidationError as error:
            raise SnapshotCorrupt(f"{path} is not a manifest: {error.errors()[0]['msg']}") from None

    def verify(self, snapshot: str, anew: bool = False) -> Manifest:
        """Compare every file with its sha256. Raises SnapshotCorrupt naming each file that differs.

        anew: read also what was read since the machine was started, and has not changed by its size and time.
        """
        if anew:
            self._hashes.forget()
        manifest, folder = self.manifest(snapshot), self.folder / snapshot
        there = [name for name in manifest.files if (folder / name).is_file()]
        with ThreadPoolExecutor(available_cores()) as pool:
            found = dict(
                zip(there, pool.map(self._hashes.of, (folder / n for n in there)), strict=True)
            )
        self._hashes.remember()
        wrong = [
            f"{name} is missing" if name not in found else f"{name} differs"
            for name, digest in manifest.files.items()
            if found.get(name) != digest
        ]
        if wrong:
            raise SnapshotCorrupt(f"snapshot {snapshot}: {'; '.join(wrong)}: roll back or rebuild")
        return manifest

    def load(self, snapshot: str) -> tuple[Manifest, Artefacts]:
        """Verify a snapshot, then memory-map it. Raises SnapshotError, also where it is deleted meanwhile."""
        try:
            manifest = self.verify(snapshot)
            return manifest, Artefacts.read(self.folder / snapshot)
        except FileNotFoundError as error:
            raise SnapshotError(
                f"snapshot {snapshot} is not there any more, or not whole: {error.filename} is missing"
            ) from None

    def load_current(self) -> tuple[Manifest, Artefacts]:
        """Load what is being served, also while another process publishes and prunes."""
        while True:
            snapshot = self.current_id()
            try:
                return self.load(snapshot)
            except SnapshotError:
                if self.current_id() == snapshot:
                    raise

    @contextmanager
    def rebuilding(self) -> Iterator[None]:
        """Hold the lock of the one rebuild; clears away what a killed one left. Raises RebuildRunning."""
        running = f"another rebuild is running in {self.folder}: wait for it to end"
        with only_one(self.folder, RebuildRunning(running)):
            for leftover in self.folder.glob(".building-*"):
                shutil.rmtree(leftover)
            yield

    @contextmanager
    def refreshing(self) -> Iterator[None]:
        """Hold the lock of the one refresh, for which it waits; clears away what a killed one left.

        A rebuild may run meanwhile: they touch only what is their own, and `publish` lets the rebuild win.
        """
        with only_one(self.folder / ".refresh"):
            for leftover in self.folder.glob(".refreshing-*"):
                shutil.rmtree(leftover)
            yield

    def seal(
        self,
        artefacts: Artefacts,
        manifest: Manifest,
        extras: Mapping[str, str],
        last: Sealed | None = None,
    ) -> Manifest:
        """Write a snapshot whole and rename it into place.

        extras: file name -> text kept beside it. last: files of what is shared with it are linked.
        """
        kind = "refreshing" if manifest.refreshed else "building"
        building = self.folder / f".{kind}-{manifest.id}"
        building.mkdir(parents=True)
        artefacts.write(building, last)
        for name, text in extras.items():
            (building / name).write_text(text, encoding="utf-8")
        files, folders = _files(building), [building, *filter(Path.is_dir, building.rglob("*"))]
        with ThreadPoolExecutor(1) as disk:  # which is waited for while the processor hashes
            written = disk.map(_sync, files)
            hashes = {
                path.relative_to(building).as_posix(): self._hashes.of(path) for path in files
            }
            list(written)
        self._hashes.remember()
        sealed = manifest.model_copy(update={"files": hashes})
        (building / "manifest.json").write_text(sealed.model_dump_json(indent=1), encoding="utf-8")
        for path in (building / "manifest.json", *folders):
            _sync(path)
        building.rename(self.folder / manifest.id)
        _sync(self.folder)
        return sealed

    def publish(self, snapshot: str, instead_of: str | None = None) -> None:
        """Serve this snapshot from now on: one atomic rename. Raises SnapshotError if it is not there.

        instead_of: raises Superseded, and changes nothing, unless that is what is being served now.
        """
        with only_one(self.folder / ".pointer"):
            if instead_of is not None and self.current_id() != instead_of:
                raise Superseded(f"snapshot {instead_of} is not served any more: refresh what is")
            self.manifest(snapshot)
            pointer = self.folder / f".current-{snapshot}"
            pointer.write_text(snapshot + "\n", encoding="utf-8")
            _sync(pointer)
            pointer.replace(self.folder / "current")
            _sync(self.folder)

    def origin(self, snapshot: str) -> str:
        """The snapshot of a rebuild that this is, or is a refresh of; itself where it cannot say."""
        try:
            return self.manifest(snapshot).origin
        except SnapshotError:
            return snapshot

    def rollback(self, to: str | None = None) -> str:
        """Serve an older snapshot: `to`, else the newest one of a rebuild older than the current that verifies."""
        if to is not None:
            if to not in self.ids():
                raise SnapshotError(
                    f"there is no snapshot {to!r}; there are: {', '.join(self.ids())}"
                )
            self.verify(to, anew=True)
            self.publish(to)
            return to
        current = self.origin(self.current_id())
        for snapshot in reversed([s for s in self.ids() if s < current and self.origin(s) == s]):
            try:
                self.verify(snapshot, anew=True)
            except SnapshotError:
                continue
            self.publish(snapshot)
            return snapshot
        raise SnapshotError(f"there is no sound snapshot older than {current} to go back to")

    def prune(self, keep: int) -> list[str]:
        """Delete all but the newest `keep` of rebuilds, and every refresh; what is served stays, and its origin.

        Returns the deleted ids. To be called while `rebuilding`: what a rebuild has sealed and not yet published
        must not go.
        """
        with self.refreshing():
            stays = self.origin(self.current_id())
            others = [s for s in self.ids() if s != stays and self.origin(s) == s]
            gone = others[: max(0, len(others) - (keep - 1))]
            return sorted(self._delete(gone) + self.prune_refreshes())

    def prune_refreshes(self) -> list[str]:
        """Delete every refresh but the one being served. To be called while `refreshing`."""
        current = self.current_id()
        return self._delete([s for s in self.ids() if s != current and self.origin(s) != s])

    def _delete(self, snapshots: list[str]) -> list[str]:
        """Half deleted, one is a leftover like any other."""
        for snapshot in snapshots:
            doomed = self.folder / f".refreshing-{snapshot}"
            (self.folder / snapshot).rename(doomed)
            shutil.rmtree(doomed)
        return snapshots


def new_id(at: datetime) -> str:
    """An id that sorts by time and does not collide."""
    return f"{at.astimezone(UTC):%Y%m%dT%H%M%S}-{at.microsecond:06d}"


def library_versions() -> dict[str, str]:
    """The versions of what made a snapshot."""
    return {name: version(name) for name in LIBRARIES}


@cache
def made_by() -> str:
    """A digest of the libraries and of this package's own source: what was made by another is not reused."""
    digest = hashlib.sha256(f"{FORMAT} {sorted(library_versions().items())}".encode())
    folder = Path(__file__).parent
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _sync(path: Path) -> None:
    """Make a file or a folder's entries survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _linked(source: Path, target: Path, pattern: str) -> bool:
    """Give files of a snapshot a second name in another one. False where the file system has no such links."""
    made: list[Path] = []
    try:
        for path in source.glob(pattern):
            link = target / path.relative_to(source)
            link.parent.mkdir(exist_ok=True)
            link.hardlink_to(path)
            made.append(link)
    except OSError:
        for link in made:
            link.unlink()
        return False
    return bool(made)
