"""Users: who there are, what each of them did, what each is served at this moment, and why."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pydantic import TypeAdapter, ValidationError
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response

from recsys.catalogue.activity import Activity, activity_of, lately_active, users_like
from recsys.catalogue.database import reading
from recsys.catalogue.events import StoredEvent, user_events
from recsys.catalogue.items import Item, get_items
from recsys.errors import InputError, SnapshotError
from recsys.identity import ItemId, UserId
from recsys.ranking.candidates import Query
from recsys.ranking.viewer import Viewer
from recsys.serving.addresses import UserPath
from recsys.serving.live import Served
from recsys.serving.schemas import UserParams
from recsys.serving.slates import Services, query
from recsys.serving.viewers import viewer
from recsys.web.console.anatomy import anatomy, words
from recsys.web.console.site import Console, asked
from recsys.web.people import people

FOUND, ACTIVE = 50, 12
"""Users that are listed at the most: found by their ids, and lately active ones."""

PLACES = 20
"""Of the slate that is shown."""

EVENTS, ALL_EVENTS = 50, 1_000
"""Of a history, shown at first, and at the most."""

SEGMENTS = {
    "newcomer": "Nothing is known of a taste yet.",
    "short": "Up to 3 liked items are known.",
    "returning": "More than 30 minutes since the newest event: coming back.",
    "history": "Active in the last 30 minutes.",
}
"""Segment -> who is in it."""

_ID = TypeAdapter[str](UserPath)


class Known(NamedTuple):
    """A user in a list."""

    user_id: str
    activity: Activity | None
    taste: str = ""


@dataclass(frozen=True)
class Deed:
    """An event of a history."""

    event: StoredEvent
    item: Item | None
    """None: it is not in the catalogue, or no longer."""
    weight: float | None
    """What all events on the item weigh together now, at the newest of them; None: nothing, or told above."""

    @property
    def place(self) -> str:
        """Where it happened, in words; "" where nobody said."""
        told = self.event.context or {}
        place, position = told.get("placement", ""), told.get("position")
        return place if position is None else f"{place} at {position}".strip()


@dataclass(frozen=True)
class Viewed:
    """A user as the snapshot sees them."""

    question: Query
    who: Viewer
    hides_seen: bool
    liked: int
    """Items of the history."""


def find(console: Console, request: Request, _: FormData) -> Response:
    """Those whose ids begin as asked; some to start from where nothing is asked."""
    within, words = console.services, asked(request, "q")
    with reading(within.engine) as connection:
        found = users_like(connection, words, FOUND) if words else lately_active(connection, ACTIVE)
        known = activity_of(connection, found)
    listed = [Known(user, known.get(user)) for user in found]
    tasty = [] if words else _tasty(within)
    return console.page(request, "users.html", asked=words, users=listed, tasty=tasty, most=FOUND)


def show(console: Console, request: Request, _: FormData) -> Response:
    """One user. Whoever is not known is a newcomer. Raises InputError for what is no id."""
    user_id = _named(request)
    within = console.services
    most = ALL_EVENTS if request.query_params.get("events") == "all" else EVENTS
    with reading(within.engine) as connection:
        known = activity_of(connection, [user_id]).get(UserId(user_id))
        told = user_events(connection, user_id, most)
        items = get_items(connection, [event.item_id for event in told])
    try:
        served = within.live.served()
    except SnapshotError as error:
        served, trouble = None, str(error)
    else:
        trouble = ""
    viewed = None if served is None else _viewed(user_id, served, within)
    return console.page(
        request,
        "user.html",
        user_id=user_id,
        known=known,
        trouble=trouble,
        viewed=viewed,
        segments=SEGMENTS,
        words=words,
        deeds=_deeds(told, items, viewed, served),
        found=anatomy(viewed.question, served, within) if viewed and served else None,
    )


def _named(request: Request) -> str:
    try:
        return _ID.validate_python(request.path_params["user_id"])
    except ValidationError:
        raise InputError("this is no id of a user: ids are text of 1 to 512 characters") from None


def _tasty(within: Services) -> list[Known]:
    """Users whose tastes can be told; nobody where nothing is built."""
    try:
        found = people(within.live.served(), within)
    except SnapshotError:
        return []
    return [Known(person.user_id, None, person.taste) for person in found]


def _viewed(user_id: str, served: Served, within: Services) -> Viewed:
    """What GET /v1/users/ID/recommendations would ask now."""
    who = viewer(served, within.histories, (user_id, None))
    limit = min(PLACES, within.settings.ranking.max_limit)
    question = query(UserParams(), limit, who, None, served, within, "recommendations")
    liked = int((who.history.weights > 0).sum())
    return Viewed(question, who, served.recommender.hides_seen, liked)


def _deeds(
    told: Sequence[StoredEvent],
    items: Mapping[ItemId, Item],
    viewed: Viewed | None,
    served: Served | None,
) -> list[Deed]:
    weights: dict[str, float] = {}
    if viewed and served:
        history = viewed.who.history
        ids = served.recommender.items.id_texts.of(history.items)
        weights = dict(zip(ids, history.weights.tolist(), strict=True))
    return [
        Deed(event, items.get(event.item_id), weights.pop(event.item_id, None)) for event in told
    ]


ROUTES = (
    ("/console/users", find, ("GET",)),
    ("/console/users/{user_id:path}", show, ("GET",)),
)
