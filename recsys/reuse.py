"""What the next build may take from the snapshot being served: a stage whose inputs are the same is not made again.

    world, vectors -> Inputs -> a digest for each stage: of all it is made from, the settings and this code included
    the snapshot   -> Last   -> the stage that was made from the same, or None

A snapshot that is absent, damaged or of another version has nothing to take: then all is built anew.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recsys.catalogue.event_log import EventLog
from recsys.catalogue.item_table import ItemTable
from recsys.config import Settings
from recsys.embedding.vectors import Embedded, VectorTable
from recsys.errors import SnapshotError
from recsys.evaluation.past import MEASURED_SETTINGS, Found
from recsys.evaluation.result import Evaluation
from recsys.index.space import Space
from recsys.preference.models import Preference
from recsys.snapshot import Artefacts, Manifest, Snapshots, made_by

FILE = "stages.json"
"""Stage -> digest, kept in the snapshot."""

UNUSED_BY_A_BUILD = {"home", "threads", "database", "fetching", "snapshots", "serving"}
"""Settings that do not change what a build makes."""

TOLD_TO_PEOPLE = ["title", "description", "brand", "price", "currency", "images"]
"""Columns of items that no evaluation looks at, unless a ranker learns from them: texts count as vectors."""


@dataclass(frozen=True)
class Inputs:
    """Digests of what a build is made from."""

    items: str
    offered: str
    """Of the items' ids and categories, and of when each is on offer."""
    categories: str
    """Of the categories alone: models weigh kinds of content by them."""
    events: str
    """Of the items' ids as well: events name them by their ordinals."""
    vectors: Mapping[str, str]
    """Kind of content -> of the vectors and their items."""

    @classmethod
    def of(cls, items: ItemTable, log: EventLog, found: Mapping[str, Embedded]) -> "Inputs":
        """Reads everything once."""
        ids = _digest(_names(items.ids))
        offered = items.data.drop_columns([*TOLD_TO_PEOPLE, "attributes"])
        columns: tuple[NDArray[Any], ...] = (log.actor, log.item, log.type, log.value, log.time)
        names = (_names(log.actors), _names(log.types))
        return cls(
            items=_digest(_columns(items.data)),
            offered=_digest(_columns(offered)),
            categories=_digest(_columns(items.data.select(["categories"]))),
            events=_digest(
                (
                    ids.encode(),
                    *(b for n in names for b in n),
                    *(_bytes(column) for column in columns),
                )
            ),
            vectors={name: f"{ids} {_of_table(each.table)}" for name, each in found.items()},
        )

    def everything(self, settings: Settings) -> str:
        """Equal for two builds that would make the same snapshot."""
        told = settings.model_dump_json(exclude=UNUSED_BY_A_BUILD)
        return self._stage(told, _given(settings), self.items, self.events, *self._spaces)

    def space(self, name: str, settings: Settings) -> str:
        """Of a kind of content."""
        return self._stage(self.vectors[name], settings.index.model_dump_json())

    def evaluation(self, settings: Settings) -> str:
        """The prices and texts of items are looked at by a ranker that learns, else by nobody."""
        told = settings.model_dump_json(include=MEASURED_SETTINGS)
        about = self.offered if settings.ranking.ranker == "blend" else self.items
        return self._stage(told, _given(settings), about, self.events, *self._spaces)

    def preference(self, found: Found, settings: Settings) -> str:
        """Of models with these settings."""
        told = (found.preference.model_dump_json(), found.events.model_dump_json())
        seed = str(settings.evaluation.seed)
        return self._stage(
            *told,
            seed,
            settings.index.model_dump_json(),
            self.categories,
            self.events,
            *self._spaces,
        )

    @property
    def _spaces(self) -> list[str]:
        return [f"{name} {digest}" for name, digest in sorted(self.vectors.items())]

    @staticmethod
    def _stage(*parts: str) -> str:
        return _digest(f"{part}\0".encode() for part in (made_by(), *parts))


@dataclass(frozen=True)
class Last:
    """The snapshot being served, as far as it can be read; where that is a refresh, its origin."""

    manifest: Manifest
    evaluation: Evaluation | None
    """None where it is that of another version."""
    stages: Mapping[str, str]
    """Stage -> digest of what it was made from."""
    artefacts: Artefacts | None
    """None where they were made by another version."""

    @classmethod
    def of(cls, snapshots: Snapshots) -> "Last | None":
        """None if there is none, or none that is whole: then a rebuild mends it."""
        try:
            manifest = snapshots.verify(snapshots.origin(snapshots.current_id()))
        except SnapshotError:
            return None
        folder = snapshots.folder / manifest.id
        evaluation = Evaluation.beside(folder)
        stages = json.loads((folder / FILE).read_text("utf-8")) if FILE in manifest.files else {}
        ours = stages.get("made by") == made_by()
        return cls(manifest, evaluation, stages, Artefacts.read(folder) if ours else None)

    def space(self, name: str, digest: str) -> Space | None:
        """The same space, if it was made from the same."""
        if self.artefacts is None or self.stages.get(f"space {name}") != digest:
            return None
        return self.artefacts.spaces.get(name)

    def measured(self, digest: str) -> Evaluation | None:
        """The same evaluation."""
        return self.evaluation if self.stages.get("evaluation") == digest else None

    def fitted(self, digest: str) -> Preference | None:
        """The same models."""
        if self.artefacts is None or self.stages.get("preference") != digest:
            return None
        return self.artefacts.preference


def _given(settings: Settings) -> str:
    """What was set by hand: it is not searched, even where it is what a search would set out from."""
    return " ".join(sorted({*settings.preference.model_fields_set, *settings.events.given}))


def _of_table(table: VectorTable) -> str:
    taught = table.adapter.taught if table.adapter else ""
    told = f"{table.card.fingerprint}{taught}".encode()
    return _digest((told, *_names(table.ids), _bytes(table.rows)))


def _columns(table: pa.Table) -> Iterator[memoryview]:
    return (memoryview(batch.serialize()) for batch in table.to_batches())


def _names(names: Iterable[str]) -> tuple[bytes, bytes]:
    """As bytes that no other names have."""
    joined = "\0".join(names).encode()
    return f"{len(joined)} ".encode(), joined


def _bytes(array: NDArray[Any]) -> memoryview:
    return np.ascontiguousarray(array).data


def _digest(parts: Iterable[bytes | memoryview]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()
