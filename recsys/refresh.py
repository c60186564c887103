"""What changed in the catalogue since the snapshot being served was made, brought into it: a build that learns nothing.

    items that differ -> vectors of their texts and pictures -> the snapshot's arrays, extended -> probe -> published

New items stand behind the known ones, so every ordinal stays what it was. They borrow the behaviour of their content
neighbours, as a rebuild has them do; encoders, whitening, models, weights and figures are the snapshot's own. Which
items differ is told by comparing rows: nothing is remembered, so that any process may go on where another stopped.

Withdrawals are not a refresh's business: whoever serves a snapshot reads of them itself, sooner.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from sqlalchemy import Engine

from recsys.catalogue.database import reading
from recsys.catalogue.item_table import SCHEMA, ItemTable
from recsys.catalogue.items import changed_since, read_some
from recsys.config import Settings
from recsys.embedding.contents import Embeddable, contents
from recsys.embedding.encoder import Encoder, EncoderCard
from recsys.embedding.fetching import fetch
from recsys.embedding.finding import image_encoder_of, text_encoder_of, text_fields_of
from recsys.embedding.pictures import Pictures
from recsys.embedding.vectors import Embedded, embed_items
from recsys.errors import BuildError, NoSnapshot, Superseded
from recsys.gate import probe
from recsys.identity import ABSENT, IdMap, ItemId, Mask, Ordinals
from recsys.index.space import Space, extended
from recsys.preference.models import ContentPrior
from recsys.ranking.filters import on_sale
from recsys.snapshot import Artefacts, Manifest, Refreshed, Sealed, Snapshots, new_id

log = logging.getLogger(__name__)

OVERLAP = timedelta(seconds=10)
"""Each look at the catalogue reaches back this much before the last one: clocks differ, commits take time."""

THOROUGH = timedelta(seconds=60)
"""How often everything changed since the build is compared again: a long import commits what it dated minutes ago."""

AT_ONCE = 2_000
"""Items that one refresh brings in at most, the latest first: what comes after a long import need not wait for it."""

COMPARED_AT_ONCE = 1_000

MOST_TOLD = 10
"""Contents that cannot be used, of which the log tells at a time."""

IMPATIENT = {"seconds": 4.0, "tries": 1}
"""Settings of fetching: what does not come soon is left to the next rebuild, and the items need not wait for it."""

LONGEST_PAUSE = 300.0
"""Seconds, after many failures."""

LONG_AGO = datetime.min.replace(tzinfo=UTC)

OFFERED = ("available", "published_at", "expires_at")
"""Columns that say when an item is on offer."""

KEPT_BESIDE = ("evaluation.json", "report.html", "stages.json")
"""Files of the origin that a refresh hands on."""


class Refresher:
    """Refreshes the snapshots of one home folder, again and again. For one thread."""

    def __init__(
        self,
        engine: Engine,
        settings: Settings,
        text: Callable[[EncoderCard], Encoder[str]] | None = None,
    ) -> None:
        """text: gives the text encoder of a card; None: it is loaded when first needed, as that of pictures is."""
        self._engine, self._settings, self._text = engine, settings, text
        self._snapshots = Snapshots(settings.home / "snapshots")
        self._encoders: dict[str, Encoder[Any]] = {}
        self._sealed: Sealed | None = None
        self._read_at = self._read_all_at = LONG_AGO
        self._compared: dict[ItemId, int] = {}
        """When (microseconds) an item was last updated that the snapshot has as it was then."""

    def refresh(self) -> Manifest | None:
        """Publish what changed, `AT_ONCE` items at most; None if nothing did.

        Raises RecsysError or OSError for what stands in the way; then nothing changed. A rebuild may run meanwhile;
        should it publish first, Superseded is raised, and the next refresh is one of what it published.
        """
        now = datetime.now(UTC)
        sealed = self._current()
        if sealed is None:
            return None
        thorough = now - self._read_all_at > THOROUGH
        since = sealed.manifest.built_at if thorough else self._read_at
        changed = self._changed(since)
        rows = self._differing(sealed.artefacts.items, changed, now)
        manifest = None
        if len(rows):
            with self._snapshots.refreshing():
                manifest = self._publish(sealed, rows, now)
            self._compared |= {item: changed[item] for item in rows.ids}
        if (
            len(rows) < AT_ONCE
        ):  # else there may be more: the next look reaches back as far as this one
            self._read_at = now
            self._read_all_at = now if thorough else self._read_all_at
        return manifest

    def _current(self) -> Sealed | None:
        """What is being served; None where nothing is."""
        try:
            published = self._snapshots.current_id()
        except NoSnapshot:
            return None
        if self._sealed is None or self._sealed.manifest.id != published:
            manifest, artefacts = self._snapshots.load_current()
            if not (self._sealed and _goes_on_from(self._sealed.manifest, manifest)):
                self._read_all_at = LONG_AGO
                self._compared.clear()
            self._sealed = Sealed(self._snapshots.folder / manifest.id, manifest, artefacts)
        return self._sealed

    def _changed(self, since: datetime) -> dict[ItemId, int]:
        """Items not yet compared as they are now, and when they were updated; the latest first."""
        with reading(self._engine) as connection:
            found = changed_since(connection, since - OVERLAP)
        return {item: at for item, at in found.items() if self._compared.get(item) != at}

    def _differing(
        self, items: ItemTable, changed: Mapping[ItemId, int], now: datetime
    ) -> ItemTable:
        """Rows of those that are not in the snapshot as they are in the catalogue; the latest `AT_ONCE`."""
        waiting, rows = list(changed), list[dict[str, Any]]()
        while waiting and len(rows) < AT_ONCE:
            some, waiting = waiting[:COMPARED_AT_ONCE], waiting[COMPARED_AT_ONCE:]
            with reading(self._engine) as connection:
                found = read_some(connection, some)
            others = list(differing(items, found, now))
            rows += others
            same = set(some) - {ItemId(row["id"]) for row in others}
            self._compared |= {item: changed[item] for item in same}
        return ItemTable(pa.Table.from_pylist(rows[:AT_ONCE], SCHEMA))

    def _publish(self, sealed: Sealed, rows: ItemTable, now: datetime) -> Manifest:
        """Make, seal, probe and publish a refresh; one that is no good is deleted."""
        if self._snapshots.current_id() != sealed.manifest.id:
            raise Superseded(f"snapshot {sealed.manifest.id} is not served any more")
        artefacts = self._refreshed(sealed.artefacts, rows)
        extras = {
            name: (sealed.folder / name).read_text(encoding="utf-8")
            for name in KEPT_BESIDE
            if name in sealed.manifest.files
        }
        manifest = describe(sealed.manifest, artefacts, now)
        manifest = self._snapshots.seal(artefacts, manifest, extras, sealed)
        folder = self._snapshots.folder / manifest.id
        made = Sealed(folder, manifest, Artefacts.read(folder))  # mapped, as it is served
        try:
            if problem := probe(made.artefacts, self._settings, now):
                raise BuildError(f"the refreshed snapshot is no good: {problem}: run a rebuild")
            self._snapshots.publish(manifest.id, instead_of=sealed.manifest.id)
            self._sealed = made
        finally:
            self._snapshots.prune_refreshes()
        return manifest

    def _refreshed(self, last: Artefacts, rows: ItemTable) -> Artefacts:
        """The artefacts with these rows in them."""
        items = last.items.with_rows(rows)
        come = _Incoming.of(rows, last.items, items)
        fields = self._text_fields(last.spaces)
        changed = come.contents_changed(last.items, fields)
        spaces = {
            name: self._extended(name, space, len(items), come.only(changed[name]), fields)
            for name, space in last.spaces.items()
        }
        lacking = np.ones(len(items), dtype=bool)
        lacking[: len(last.items)] = last.preference.support == 0
        moved = come.new.copy()
        for name, space in spaces.items():
            moved |= changed[name] & (space is not last.spaces[name])
        borrowers = come.at[moved & lacking[come.at]]
        preference = last.preference
        if len(borrowers):
            priors = {
                name: ContentPrior(None, space.neighbours, space.similarity)
                for name, space in spaces.items()
            }
            preference = preference.with_new(len(items), borrowers, priors)
        return replace(last, items=items, spaces=spaces, preference=preference)

    def _text_fields(self, spaces: Mapping[str, Space]) -> Sequence[str]:
        """Those that made the snapshot's texts."""
        text = spaces.get("text")
        return text_fields_of(text.card) if text else self._settings.embedding.text_fields

    def _extended(
        self, name: str, space: Space, count: int, come: "_Incoming", fields: Sequence[str]
    ) -> Space:
        """The space with the contents of these items."""
        given = contents(come.rows, fields)[name]
        vectors = np.zeros((len(given), space.card.dim), dtype=np.float32)
        present = np.zeros(len(given), dtype=bool)
        if any(given):
            found = self._embedded(name, space, come.rows.ids, given)
            vectors, present = found.table.aligned(come.rows.ids)
            for item, problem in list(found.problems.items())[:MOST_TOLD]:
                log.warning("item %s: %s", item, problem)
        return extended(space, count, come.at, vectors, present)

    def _embedded(
        self, name: str, space: Space, ids: IdMap[ItemId], given: Sequence[Embeddable]
    ) -> Embedded:
        """The vectors of some contents. Raises EncoderError where the space's encoder is not to be had any more."""
        folder = self._settings.home / "vectors"
        encoder = self._encoder(name, space.card, folder)
        pictures = Pictures.of(self._settings)
        if name == "image":
            locations = (location for each in given for location in each or ())
            fetch(locations, pictures, self._settings.fetching.model_copy(update=IMPATIENT))
        return embed_items(ids, given, encoder, folder, pictures, known=False)

    def _encoder(self, name: str, card: EncoderCard, vectors: Path) -> Encoder[Any]:
        known = self._encoders.get(name)
        if known is not None and known.card == card:
            return known
        settings = self._settings.embedding
        if name == "image":
            found: Encoder[Any] = image_encoder_of(card, settings, vectors, lazily=True)
        elif self._text is not None:
            found = self._text(card)
        else:
            found = text_encoder_of(card, settings, vectors, lazily=True)
        self._encoders[name] = found
        return found


@dataclass(frozen=True)
class _Incoming:
    """Rows on their way into a snapshot."""

    rows: ItemTable
    at: Ordinals
    """(rows,) where they belong, ascending."""
    new: Mask
    """(rows,) False where the snapshot has the item already."""

    @classmethod
    def of(cls, rows: ItemTable, known: ItemTable, items: ItemTable) -> "_Incoming":
        """items: the known ones with these rows."""
        at = items.ids.ordinals(list(rows.ids))
        order = np.argsort(at)
        return cls(ItemTable(rows.data.take(order)), at[order], at[order] >= len(known))

    def only(self, some: Mask) -> "_Incoming":
        """Some of the rows."""
        picked = ItemTable(self.rows.data.take(np.flatnonzero(some)))
        return _Incoming(picked, self.at[some], self.new[some])

    def contents_changed(self, known: ItemTable, text_fields: Sequence[str]) -> dict[str, Mask]:
        """Kind of content -> (rows,) True where it is not that of the known item, and for every new item."""
        before = contents(ItemTable(known.data.take(self.at[~self.new])), text_fields)
        given = contents(self.rows, text_fields)
        found = {}
        for name, mine in given.items():
            theirs = iter(before[name])
            pairs = zip(mine, self.new, strict=True)
            found[name] = np.array([new or one != next(theirs) for one, new in pairs], dtype=bool)
        return found


def _goes_on_from(one: Manifest, other: Manifest) -> bool:
    """Whether all that was brought into one snapshot is in the other as well."""
    if one.id == other.id or one.refreshed is None:
        return one.origin == other.origin
    newer = other.refreshed is not None and other.refreshed.at > one.refreshed.at
    return one.origin == other.origin and newer


def differing(items: ItemTable, found: ItemTable, now: datetime) -> Iterator[dict[str, Any]]:
    """Rows to bring into a snapshot's items. One that is off offer keeps what the snapshot says of that:

    it is hidden by those who serve the snapshot, and can come back without a refresh.
    """
    was = items.ids.ordinals(list(found.ids))
    offered = on_sale(found, now, np.arange(len(found)))
    known = iter(items.data.take(was[was != ABSENT]).to_pylist())
    for row, at, is_offered in zip(found.data.to_pylist(), was, offered, strict=True):
        before = next(known) if at != ABSENT else None
        if before is not None and not is_offered:
            row |= {name: before[name] for name in OFFERED}
        if row != before:
            yield row


def describe(last: Manifest, artefacts: Artefacts, now: datetime) -> Manifest:
    """The manifest of a refresh, before the files are known."""
    items = artefacts.items
    counts = {
        "items": len(items),
        "available": int(on_sale(items, now, np.arange(len(items))).sum()),
        "near_duplicates": len(artefacts.facts.duplicates.items),
    }
    return last.model_copy(
        update={
            "id": new_id(now),
            "refreshed": Refreshed(of=last.origin, at=now),
            "counts": last.counts | counts,
            "files": {},
        }
    )


@dataclass(frozen=True)
class Watch:
    """Told how refreshes end."""

    made: Callable[[], None] = lambda: None
    failed: Callable[[], None] = lambda: None


def keep_fresh(refresher: Refresher, every: float, watch: Watch) -> None:
    """Refresh whenever something changed, until the process ends. every: seconds between looks, at the least.

    It rests half as long as it worked, and longer after each failure. The same failure is logged once.
    """
    pause, known = every, ""
    while True:
        time.sleep(pause)
        began = time.monotonic()
        try:
            if manifest := refresher.refresh():
                log.info("refreshed: serving snapshot %s", manifest.id)
                watch.made()
            known, pause = "", max(every, (time.monotonic() - began) / 2)
        except Superseded:
            pause = every
        except Exception as error:
            watch.failed()
            if str(error) != known:
                log.error("the snapshot is not refreshed; it is tried again: %s", error)
            known, pause = str(error), min(2 * pause, LONGEST_PAUSE)
