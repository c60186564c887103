"""The routes that answer with a slate: for a user, for a page, for a search, for everybody."""

from dataclasses import replace
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Body, Depends, Request, Response

from recsys.catalogue.database import reading
from recsys.catalogue.items import get_item
from recsys.errors import InputError, QueryError, UnknownItem
from recsys.identity import Ordinals
from recsys.ranking.candidates import Query
from recsys.ranking.viewer import Viewer
from recsys.serving import examples, uploads
from recsys.serving.addresses import ItemPath, UserPath
from recsys.serving.asking import Asking, asked, in_query
from recsys.serving.live import Served
from recsys.serving.paging import follow
from recsys.serving.problems import (
    CURSOR_GONE,
    NO_SNAPSHOT,
    UNKNOWN_ITEM,
    check_events,
    error_body,
)
from recsys.serving.schemas import (
    ListKind,
    ListParams,
    ListPlacement,
    Placement,
    PlacementsBody,
    PlacementsReply,
    RecommendBody,
    RecommendPlacement,
    SearchBody,
    SimilarParams,
    SimilarPlacement,
    SlateReply,
    UserParams,
)
from recsys.serving.slates import (
    Services,
    answer,
    as_json,
    known,
    query,
    reply,
    services,
    services_of,
    told,
    unknown,
)
from recsys.serving.together import Wish
from recsys.serving.viewers import NOBODY, viewer

router = APIRouter(tags=["Slates"], responses=NO_SNAPSHOT, route_class=Asking)

Within = Annotated[Services, Depends(services)]

A_LIST: dict[str, Any] = {
    "response_model": SlateReply,
    "responses": CURSOR_GONE,
    "openapi_extra": in_query(ListParams),
}

SOURCES = {
    "blend": None,
    "behaviour": frozenset({"cooccurrence", "linear", "factors"}),
    "text": frozenset({"text"}),
    "image": frozenset({"image"}),
}
"""`by` -> the sources that may speak; None: all."""


@router.get(
    "/v1/users/{user_id:path}/recommendations",
    response_model=SlateReply,
    responses=CURSOR_GONE,
    openapi_extra=in_query(UserParams),
)
async def recommend_to_user(user_id: UserPath, request: Request) -> Response:
    """Recommend items to a user, by all that is known of the user up to now.

    A user nobody has heard of gets what is popular.
    """
    ask, within = asked(UserParams, request), services_of(request)

    def question(served: Served, who: Viewer) -> Query:
        return query(ask, ask.limit, who, ask.hide_seen, served, within, "recommendations")

    return await reply(Wish((user_id, ask.session_id), question), ask, ("user", user_id), within)


@router.get(
    "/v1/items/{item_id:path}/similar",
    response_model=SlateReply,
    responses=UNKNOWN_ITEM | CURSOR_GONE,
    openapi_extra=in_query(SimilarParams),
)
async def similar(item_id: ItemPath, request: Request) -> Response:
    """List what goes with an item, sold out or not; with `user_id`, to this viewer's taste."""
    ask, within = asked(SimilarParams, request), services_of(request)

    def question(served: Served, who: Viewer) -> Query:
        return _like(item_id, ask, who, served, within)

    wish = Wish((ask.user_id, ask.session_id), question)
    return await reply(wish, ask, ("similar", item_id), within)


@router.post("/v1/recommendations", response_model=SlateReply, responses=CURSOR_GONE)
def recommend(
    ask: Annotated[RecommendBody, Body(openapi_examples=examples.RECOMMEND)], within: Within
) -> Response:
    """Recommend for a user, a session, a page or a basket, under conditions; or rank given items.

    Say as much as is known: `user_id` and `session_id` bring in what is stored, `events` what is not,
    `context_items` what the viewer is looking at. `candidates` are put in the best order, and no other
    items are added.
    """
    served = within.live.served()
    check_events(ask.events, ("body", "events"), within.settings.events)
    who = viewer(served, within.histories, (ask.user_id, ask.session_id), ask.events)
    given = ask.candidates
    limit = ask.limit or (
        10 if given is None else min(len(given), within.settings.ranking.max_limit)
    )
    hide_seen = False if ask.hide_seen is None and given is not None else ask.hide_seen
    page = known(served, ask.context_items)
    question = query(ask, max(limit, 1), who, hide_seen, served, within, "recommendations", page)
    if given is not None:
        question = replace(question, rerank=known(served, given), pins=())
    missing = unknown(served, [*(given or ()), *ask.context_items])
    return answer(question, ask, ("recommendations", ""), served, within, missing)


@router.post(
    "/v1/search",
    response_model=SlateReply,
    responses=CURSOR_GONE | UNKNOWN_ITEM,
    openapi_extra=uploads.DOCUMENTED,
)
def search(ask: Annotated[SearchBody, Depends(uploads.search_asked)], within: Within) -> Response:
    """Find items by words, by a picture or a part of one, by other items, or by any mix of them.

    For a known viewer, those to the viewer's taste come first. A picture may come as a file, in a form.
    """
    served = within.live.served()
    check_events(ask.events, ("body", "events"), within.settings.events)
    who = viewer(served, within.histories, (ask.user_id, ask.session_id), ask.events)
    question = sought(ask, who, served, within)
    more: dict[str, Any] = {}
    picture, begins = ask.shown, ask.crop is None and ask.cursor is None
    if picture is not None and begins and within.searching.detects:
        more["regions"] = [region._asdict() for region in within.searching.regions(picture)]
    return answer(question, ask, ("search", ""), served, within, more=more)


@router.post("/v1/placements", response_model=PlacementsReply)
def fill_placements(
    ask: Annotated[PlacementsBody, Body(openapi_examples=examples.PLACEMENTS)], within: Within
) -> Response:
    """Fill all placements of a page, no item twice: each as if asked alone, without what those before it show.

    The first one chooses first. One that cannot be filled says why, has no items and holds up no other.
    """
    served = within.live.served()
    check_events(ask.events, ("body", "events"), within.settings.events)
    who = viewer(served, within.histories, (ask.user_id, ask.session_id), ask.events)
    shown: list[int] = []
    filled: list[dict[str, Any]] = []
    for placement in ask.placements:
        try:
            question = wanted(placement, who, served, within)
        except InputError as error:
            kind = "unknown_item" if isinstance(error, UnknownItem) else "invalid_request"
            filled.append({"name": placement.name, "items": []} | error_body(kind, str(error)))
            continue
        exclude = np.concatenate([question.exclude, np.array(shown, dtype=np.int64)])
        question = replace(question, exclude=exclude)
        page = follow(question, (), served.recommender)
        within.metrics.suggested(*page.account)
        shown += page.items
        missing = None
        if isinstance(placement, RecommendPlacement):
            missing = unknown(served, placement.context_items)
        said = told(page, placement.explain, missing)
        filled.append({"name": placement.name} | said)
    return as_json({"snapshot": served.manifest.id, "placements": filled})


@router.get("/v1/items/popular", **A_LIST)
async def popular(request: Request) -> Response:
    """List what is liked most, lately more than long ago. The same for everybody."""
    return await _standing("popular", request)


@router.get("/v1/items/trending", **A_LIST)
async def trending(request: Request) -> Response:
    """List what has lately gained the most. The same for everybody."""
    return await _standing("trending", request)


@router.get("/v1/items/new", **A_LIST)
async def new(request: Request) -> Response:
    """List what was published last. The same for everybody."""
    return await _standing("new", request)


async def _standing(source: ListKind, request: Request) -> Response:
    ask, within = asked(ListParams, request), services_of(request)

    def question(served: Served, _: Viewer) -> Query:
        return _listed(source, ask, served, within)

    return await reply(Wish((None, None), question), ask, (source, ""), within)


def sought(ask: SearchBody, who: Viewer, served: Served, within: Services) -> Query:
    """What a search asks. Raises QueryError, UnknownItem, and what the encoder does."""
    like = [(int(_page(served, each.item_id, within)[0]), each.weight) for each in ask.items]
    spaces, said = served.recommender.spaces, (ask.text.strip(), ask.shown, ask.crop)
    meant = within.searching.sought(spaces, ask.by, *said, like)
    question = query(ask, ask.limit, who, ask.hide_seen, served, within, "search")
    own = np.array([item for item, _ in like], dtype=np.int64)
    return replace(question, sought=meant, exclude=np.concatenate([question.exclude, own]))


def wanted(placement: Placement, who: Viewer, served: Served, within: Services) -> Query:
    """What a placement asks. Raises QueryError, UnknownItem."""
    match placement:
        case RecommendPlacement():
            page = known(served, placement.context_items)
            hide_seen = placement.hide_seen
            kind = placement.kind
            return query(placement, placement.limit, who, hide_seen, served, within, kind, page)
        case SimilarPlacement():
            return _like(placement.item_id, placement, who, served, within)
        case ListPlacement():
            return _listed(placement.kind, placement, served, within)


def _like(
    item_id: str,
    ask: SimilarParams | SimilarPlacement,
    who: Viewer,
    served: Served,
    within: Services,
) -> Query:
    """What goes with an item. Raises QueryError, UnknownItem."""
    page, sources = _page(served, item_id, within), _sources(ask.by, served)
    return query(ask, ask.limit, who, ask.hide_seen, served, within, "similar", page, sources)


def _listed(
    source: ListKind, ask: ListParams | ListPlacement, served: Served, within: Services
) -> Query:
    """What one source says to everybody."""
    return query(ask, ask.limit, NOBODY, False, served, within, source, sources=frozenset({source}))


def _sources(by: str, served: Served) -> frozenset[str] | None:
    """Raises QueryError for a kind of likeness that the snapshot does not have."""
    wanted = SOURCES[by]
    there = served.recommender.sources
    if wanted is not None and not wanted & there:
        raise QueryError(
            f"by: {by!r} cannot be had: snapshot {served.manifest.id} has no {by} vectors; "
            f"it has {', '.join(sorted(there))}"
        )
    return wanted


def _page(served: Served, item_id: str, within: Services) -> Ordinals:
    """The item to start from. Raises UnknownItem for one deleted, or not in the snapshot."""
    place = served.recommender.lookup.ordinal(item_id)
    page = np.array([place])
    if place >= 0 and not (served.withdrawn == place).any():
        return page
    with reading(within.engine) as connection:
        if get_item(connection, item_id) is None:
            raise UnknownItem(f"there is no item {item_id!r}: check the id, or add the item first")
    if place < 0:
        raise UnknownItem(
            f"item {item_id!r} is known, but not yet in snapshot {served.manifest.id}: "
            "ask again in a few seconds, when it has been refreshed"
        )
    return page
