"""What is being served now: the snapshot in use, what has been withdrawn since it was built, and the shop's rules.

A background thread looks for a newly published snapshot, loads it beside the old one and swaps one
reference. A request keeps the `Served` it began with, so none sees half of each; the old one goes when the
last of its requests ends. A snapshot that cannot be used is refused, and the old one stays until it can.
"""

import logging
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np
from sqlalchemy import Engine

from recsys.catalogue.database import reading
from recsys.catalogue.items import gone_since, withdrawn_since
from recsys.catalogue.rule import KeptRule
from recsys.catalogue.rules import read_rules, rules_stamp, stamp_of
from recsys.config import Settings
from recsys.errors import DatabaseError, NoSnapshot, SnapshotError
from recsys.identity import ItemId, Ordinals
from recsys.ranking.block import Block, ends
from recsys.ranking.candidates import History, Pin, Query, Quota, Where
from recsys.ranking.reasons import deeds
from recsys.ranking.recommender import Recommender
from recsys.ranking.rules import Rules
from recsys.ranking.viewer import Weighing, read_viewers, telling_types
from recsys.serving.metrics import Metrics
from recsys.serving.searching import Searching
from recsys.serving.writing import in_json
from recsys.snapshot import Artefacts, Manifest, Snapshots

log = logging.getLogger(__name__)

OVERLAP = timedelta(seconds=10)
"""Each look at the catalogue reaches back this much before the last one: clocks differ, commits take time."""

THOROUGH = timedelta(seconds=60)
"""How often everything changed since the build is read again.

A long import commits what it dated minutes ago; and what was given a date to appear or to run out after the
build follows it this much later at most.
"""

RETRY = timedelta(seconds=30)
"""How often a refused snapshot is tried again: it may have been repaired."""


@dataclass(frozen=True)
class Served:
    """One snapshot in use."""

    manifest: Manifest
    recommender: Recommender
    withdrawn: Ordinals
    """Items deleted, or no longer on offer, by a change since it was built."""
    weighing: Weighing
    """What events weigh."""
    telling: tuple[str, ...]
    """Event types that are read of a history."""
    rules: Rules | None
    """Those of merchandisers; None where there is none that holds or will hold."""


class Live:
    """Keeps `served` up to date. Every method may be called from any thread."""

    def __init__(
        self, engine: Engine, settings: Settings, searching: Searching, metrics: Metrics
    ) -> None:
        self._engine, self._settings, self._searching, self._metrics = (
            engine,
            settings,
            searching,
            metrics,
        )
        self._snapshots = Snapshots(settings.home / "snapshots")
        self._served: Served | None = None
        self._refused: str | None = None
        self._refused_at = datetime.now(UTC)
        self._trouble: SnapshotError = NoSnapshot("no snapshot has been looked for yet")
        self._unreachable: DatabaseError | None = None
        self._gone: set[ItemId] = set()
        self._rules: Sequence[KeptRule] = ()
        self._read_at = self._read_all_at = datetime.now(UTC)
        self._lock = threading.Lock()
        self._looking = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="recsys-live", daemon=True)

    def prepare(self) -> None:
        """Load what is published."""
        self._look_calmly()

    def start(self) -> None:
        """Load what is published, unless that is done, then go on looking in the background."""
        if self._served is None:
            self.prepare()
        if self._served is not None:
            self._prepare_search(self._served.recommender)
        self._thread.start()

    def stop(self) -> None:
        """End the background thread."""
        self._stop.set()
        self._thread.join()

    def served(self) -> Served:
        """The snapshot in use. Raises NoSnapshot or SnapshotError while there is none."""
        if self._served is None:
            raise self._trouble
        return self._served

    def ready(self) -> Served:
        """The snapshot in use, if requests can be answered. Raises what stands in the way."""
        if self._unreachable is not None:
            raise self._unreachable
        return self.served()

    @property
    def trouble(self) -> str:
        """Why what is published is not what is served, or why the database is not used; "": all is well."""
        if self._unreachable is not None:
            return str(self._unreachable)
        refused = self._served is None or self._refused is not None
        return str(self._trouble) if refused else ""

    def note(self, gone: Iterable[ItemId], back: Iterable[ItemId]) -> None:
        """Tell of items just committed by this process: the next slate knows."""
        with self._lock:
            self._withdraw(set(gone), set(back))

    def look_at_rules(self) -> None:
        """Look once for changed rules: after a change by this process, the next slate knows. Raises DatabaseError."""
        with self._lock, reading(self._engine) as connection:
            if rules_stamp(connection) == stamp_of(self._rules):
                return
            self._rules = read_rules(connection)
            if self._served is not None:
                rules = self._ruled(self._served.recommender)
                self._served = replace(self._served, rules=rules)

    def look(self) -> None:
        """Look once for catalogue changes, changed rules and a new snapshot; what is published then is served."""
        self._look_ahead()
        try:
            self._look_at_catalogue()
            self.look_at_rules()
            self._look_for_snapshot()
            self._unreachable = None
        except DatabaseError as error:
            if self._unreachable is None:
                log.error("the database does not answer: %s", error)
            self._unreachable = error

    def _watch(self) -> None:
        while not self._stop.wait(self._settings.serving.poll_seconds):
            self._look_calmly()

    def _look_calmly(self) -> None:
        try:
            self.look()
        except Exception:
            log.exception("looking for a new snapshot failed; it is tried again")

    def _look_at_catalogue(self) -> None:
        """Read under the lock: what `note` is told meanwhile is newer than what is read here."""
        now = datetime.now(UTC)
        with self._lock:
            built_at = self._served.manifest.built_at if self._served else now
            thorough = now - self._read_all_at > THOROUGH
            gone, back = self._changed(built_at if thorough else self._read_at)
            self._withdraw(set(gone), set(back))
            self._read_at = now
            if thorough:
                self._read_all_at = now

    def _changed(self, since: datetime) -> tuple[list[ItemId], list[ItemId]]:
        with reading(self._engine) as connection:
            return withdrawn_since(connection, since - OVERLAP, datetime.now(UTC))

    def _withdraw(self, gone: set[ItemId], back: set[ItemId]) -> None:
        if gone <= self._gone and self._gone.isdisjoint(back):
            return
        self._gone = (self._gone | gone) - back
        if self._served is not None:
            self._served = replace(self._served, withdrawn=self._ordinals(self._served.recommender))

    def _ordinals(self, recommender: Recommender) -> Ordinals:
        ordinals = recommender.lookup.ordinals(list(self._gone))
        return np.sort(ordinals[ordinals >= 0])

    def _ruled(self, recommender: Recommender) -> Rules | None:
        """The rules as they are now, over what is to be served."""
        now = datetime.now(UTC)
        if all(rule.state_at(now) == "ended" for rule in self._rules):
            return None
        rules = self._over(recommender)
        rules.at(now, "recommendations")
        if len(recommender.items) and any(rule.action == "pin" for rule in self._rules):
            recommender.due(Query(at=now, limit=1, pins=(Pin(1, 0),)))  # loads what pins ask for
        return rules

    def _over(self, recommender: Recommender) -> Rules:
        before = self._served
        if before is not None and before.rules is not None and before.recommender is recommender:
            return before.rules.having(self._rules)
        return Rules(recommender.items, recommender.lookup, recommender.duplicates, self._rules)

    def _look_ahead(self) -> None:
        """Have worked out what rules say when the next of them begins or ends: nobody is to wait for it."""
        if self._served is not None and self._served.rules is not None:
            soon = timedelta(seconds=2 * self._settings.serving.poll_seconds)
            self._served.rules.at(datetime.now(UTC) + soon, "recommendations")

    def _look_for_snapshot(self) -> None:
        """One at a time: what was loaded first must not be swapped in last."""
        with self._looking:
            self._look_at_pointer()

    def _look_at_pointer(self) -> None:
        try:
            published = self._snapshots.current_id()
        except NoSnapshot as error:
            self._trouble = error
            return
        if self._served is not None and published == self._served.manifest.id:
            self._refused = None
        elif published != self._refused or datetime.now(UTC) - self._refused_at > RETRY:
            self._try(published)

    def _try(self, published: str) -> None:
        """Whatever is wrong with the new one, the old one goes on."""
        try:
            self._use(*self._snapshots.load_current())
        except DatabaseError:
            raise
        except SnapshotError as error:
            log.error("the old snapshot stays: %s", error)
            self._refuse(published, error)
        except Exception:
            log.exception("snapshot %s cannot be used; the old one stays", published)
            self._refuse(
                published, SnapshotError(f"snapshot {published} cannot be used: see the log")
            )

    def _refuse(self, published: str, why: SnapshotError) -> None:
        if published != self._refused:
            self._metrics.refused.inc()
        self._refused, self._refused_at, self._trouble = published, datetime.now(UTC), why

    def _use(self, manifest: Manifest, artefacts: Artefacts) -> None:
        """Warm the new one up, then swap. The first one waits for no encoder: slates come first."""
        recommender = Recommender.of(artefacts, self._settings.ranking)
        events = self._settings.events.taking(recommender.events)
        weighing = Weighing.of(tuple(events.weights), events)
        _warm_up(recommender, weighing)
        first = self._served is None
        if not first:
            self._searching.prepare([space.card for space in artefacts.spaces.values()])
        with self._lock:
            before = self._served.manifest.origin if self._served else None
            if manifest.origin != before:  # else all that was withdrawn since then is known
                with reading(self._engine) as connection:
                    since = manifest.built_at - OVERLAP
                    self._gone = set(gone_since(connection, since, datetime.now(UTC)))
                self._read_all_at = datetime.now(UTC)
            withdrawn = self._ordinals(recommender)
            self._metrics.serves(manifest)
            self._served = Served(
                manifest,
                recommender,
                withdrawn,
                weighing,
                tuple(telling_types(events)),
                self._ruled(recommender),
            )
        if first and self._thread.is_alive():  # before, nobody may be there to answer
            self._prepare_search(recommender)
        log.info("serving snapshot %s", manifest.id)

    def _prepare_search(self, recommender: Recommender) -> None:
        """In the background."""
        cards = [space.card for space in recommender.spaces.values()]
        threading.Thread(target=self._searching.prepare, args=(cards,), daemon=True).start()


def _warm_up(recommender: Recommender, weighing: Weighing) -> None:
    """Ask in each of the ways there are, so that nobody waits for what is loaded or compiled when first used."""
    some = np.arange(min(4, len(recommender.items)))
    types, values = np.zeros(len(some), np.int32), np.ones(len(some), np.float32)
    read_viewers(ends([len(some)]), some, types, values, np.zeros(len(some), np.int64), weighing)
    history = History(some, np.ones(len(some), dtype=np.float32), deeds(["view"] * len(some)))
    plain = Query(at=datetime.now(UTC), limit=10)
    known = replace(plain, history=history, seen=some, diversity=0.5)
    asked = [plain, known, replace(plain, context=some[:1]), replace(known, quota=Quota(brand=2))]
    asked += [replace(known, where=Where(price_min=0))]
    sought = {
        kind: np.eye(1, space.rows.shape[1], dtype=np.float32)[0]
        for kind, space in recommender.spaces.items()
        if len(space.index)
    }
    if sought:
        asked += [replace(known, sought=sought), replace(plain, sought=sought)]
    for query in asked:
        in_json(recommender.answer(Block((query,))))
