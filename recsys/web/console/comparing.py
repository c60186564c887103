"""Two snapshots side by side: their figures, and what each would show to one person now."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response

from recsys.catalogue.database import reading
from recsys.catalogue.items import gone_since
from recsys.config import RankingSettings
from recsys.errors import InputError, SnapshotError
from recsys.evaluation.result import Evaluation, comparable
from recsys.identity import ItemId, Ordinals
from recsys.ranking.recommender import Recommender
from recsys.ranking.viewer import Weighing, telling_types
from recsys.serving.live import Served
from recsys.serving.schemas import Ask
from recsys.serving.slates import Services, query
from recsys.serving.viewers import viewer
from recsys.snapshot import Manifest, Snapshots
from recsys.web.console import differing
from recsys.web.console.shelf import Kept, encoders_of, kept
from recsys.web.console.site import Console, asked
from recsys.web.people import Person, people

SHOWN = 12
"""Items of a slate."""


class Place(NamedTuple):
    """An item of one slate, beside the other slate."""

    item_id: ItemId
    title: str
    moved: int | None
    """Places that it stands higher than in the other slate; None: it is not there."""


@dataclass(frozen=True)
class Slates:
    """What both would show."""

    one: Sequence[Place]
    other: Sequence[Place]
    known: bool
    """Whether anything is known of who is asked for."""

    @property
    def shared(self) -> int:
        """Items of both."""
        return sum(place.moved is not None for place in self.one)

    @property
    def unmoved(self) -> int:
        """Items of both that stand where they stood."""
        return sum(place.moved == 0 for place in self.one)


class Shown(NamedTuple):
    """An item of a slate by itself."""

    item_id: ItemId
    title: str


@dataclass(frozen=True)
class Side:
    """One of the two."""

    manifest: Manifest
    evaluation: Evaluation | None

    @property
    def encoders(self) -> Sequence[str]:
        """In words."""
        return encoders_of(self.manifest)


def compare(console: Console, request: Request, _: FormData) -> Response:
    """Those that the address names; else the one being served and the one before it."""
    services, given = console.services, request.query_params
    shelf = kept(services.snapshots)
    sound = [one for one in shelf if one.manifest is not None]
    if len(sound) < 2 and not ("a" in given and "b" in given):
        return console.page(request, "compare.html", shelf=sound, sides=None)
    usual = _usual(sound)
    names = [given.get(name) or usual[place] for place, name in enumerate("ab")]
    one, other = (_side(services.snapshots, name) for name in names)
    user = asked(request, "user")
    slates, trouble = _slates_or_why(one, other, user, services)
    return console.page(
        request,
        "compare.html",
        shelf=sound,
        sides=(one, other),
        user=user,
        slates=slates,
        trouble=trouble,
        suggested=_suggested(services),
        comparable=_comparable(one.evaluation, other.evaluation),
        differing=differing,
    )


def side_by_side(one: Sequence[Shown], other: Sequence[Shown]) -> tuple[list[Place], list[Place]]:
    """Each slate with how far its items moved from the other one."""
    return _beside(one, other), _beside(other, one)


def _beside(mine: Sequence[Shown], theirs: Sequence[Shown]) -> list[Place]:
    stood = {shown.item_id: place for place, shown in enumerate(theirs)}
    return [
        Place(*shown, stood[shown.item_id] - place if shown.item_id in stood else None)
        for place, shown in enumerate(mine)
    ]


def _usual(sound: Sequence[Kept]) -> tuple[str, str]:
    """An older one first: what comes second is what became of it."""
    if len(sound) < 2:
        return "", ""
    at = next((place for place, one in enumerate(sound) if one.is_served), 0)
    before = at + 1 if at + 1 < len(sound) else at - 1
    return sound[before].id, sound[at].id


def _side(snapshots: Snapshots, snapshot: str) -> Side:
    """Raises InputError where it is not there, SnapshotError where it cannot be read."""
    if snapshot not in snapshots.ids():
        raise InputError(f"there is no snapshot {snapshot!r}: choose among those that are kept")
    return Side(snapshots.manifest(snapshot), Evaluation.beside(snapshots.folder / snapshot))


def _comparable(one: Evaluation | None, other: Evaluation | None) -> bool:
    """False only where both were measured, and were asked another kind of question."""
    if one is None or other is None or not (one.measured and other.measured):
        return True
    return comparable(one, other)


def _suggested(services: Services) -> list[Person]:
    try:
        return people(services.live.served(), services)
    except SnapshotError:
        return []


def _slates_or_why(
    one: Side, other: Side, user: str, services: Services
) -> tuple[Slates | None, str]:
    """The slates, or why there are none: a damaged snapshot can still be compared by its figures."""
    try:
        return _slates(one.manifest.id, other.manifest.id, user, services), ""
    except SnapshotError as error:
        return None, str(error)


def _slates(one: str, other: str, user: str, services: Services) -> Slates:
    first, second = (_opened(snapshot, services) for snapshot in (one, other))
    who = viewer(second, services.histories, (user or None, None))
    shown = [_slate(served, user, services) for served in (first, second)]
    return Slates(*side_by_side(*shown), known=bool(len(who.seen) or len(who.history.items)))


def _slate(served: Served, user: str, services: Services) -> list[Shown]:
    """As the API would answer, but for the shop's rules."""
    who = viewer(served, services.histories, (user or None, None))
    limit = min(SHOWN, services.settings.ranking.max_limit)
    question = query(Ask(), limit, who, None, served, services, "recommendations")
    found = served.recommender.recommend(question).items
    places = served.recommender.lookup.ordinals([each.item for each in found])
    titles = served.recommender.items.titles(places)
    return [Shown(each.item, title) for each, title in zip(found, titles, strict=True)]


def _opened(snapshot: str, services: Services) -> Served:
    """A snapshot as it would be served now, without rules. Raises SnapshotError."""
    served = services.live.served()
    if served.manifest.id == snapshot:
        return replace(served, rules=None)
    manifest, recommender = _loaded(services.snapshots, snapshot, services.settings.ranking)
    events = services.settings.events.taking(recommender.events)
    weighing = Weighing.of(tuple(events.weights), events)
    gone = _gone(recommender, manifest.built_at, services)
    return Served(manifest, recommender, gone, weighing, tuple(telling_types(events)), None)


@lru_cache(2)
def _loaded(
    snapshots: Snapshots, snapshot: str, settings: RankingSettings
) -> tuple[Manifest, Recommender]:
    """Two at the most are kept, in memory that is mapped from their files."""
    manifest, artefacts = snapshots.load(snapshot)
    return manifest, Recommender.of(artefacts, settings)


def _gone(recommender: Recommender, since: datetime, services: Services) -> Ordinals:
    """Items that have been withdrawn since."""
    with reading(services.engine) as connection:
        gone = gone_since(connection, since, datetime.now(UTC))
    ordinals = recommender.lookup.ordinals(gone)
    return np.sort(ordinals[ordinals >= 0])
