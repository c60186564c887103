"""One request for a slate -> one `Query` -> one reply. Every route that answers with a slate comes through here."""

from asyncio import Semaphore
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from secrets import token_hex
from typing import Any

import orjson
from fastapi import Request, Response
from fastapi.concurrency import run_in_threadpool
from sqlalchemy import Engine

from recsys.catalogue.histories import Histories
from recsys.catalogue.rule import Placement
from recsys.config import Settings
from recsys.errors import QueryError
from recsys.identity import ABSENT, NOTHING, Ordinals
from recsys.ranking.candidates import Query
from recsys.ranking.viewer import Viewer
from recsys.serving.live import Live, Served
from recsys.serving.metrics import Metrics
from recsys.serving.paging import Page, asked_of, follow, read, written
from recsys.serving.pulse import Pulse
from recsys.serving.schemas import DEEPEST, Ask, Paged
from recsys.serving.searching import Searching
from recsys.serving.together import Together, Wish
from recsys.serving.viewers import viewer
from recsys.serving.writing import DECIMALS
from recsys.snapshot import Snapshots

NO_MORE: Mapping[str, Any] = {}

WRITERS = 8
"""Writes at once. One that waits for the database holds a thread; the rest are left to those who read."""


@dataclass(frozen=True)
class Services:
    """What the routes work with."""

    settings: Settings
    engine: Engine
    live: Live
    searching: Searching
    metrics: Metrics
    histories: Histories
    pulse: Pulse
    writers: Semaphore = field(default_factory=lambda: Semaphore(WRITERS))

    @property
    def snapshots(self) -> Snapshots:
        """Those that are kept."""
        return Snapshots(self.settings.home / "snapshots")

    @cached_property
    def together(self) -> Together:
        """Those who wait for a slate."""
        return Together(self.live, self.histories)


def services_of(request: Request) -> Services:
    """The services of the app that got this request."""
    found: Services = request.app.state.services
    return found


async def services(request: Request) -> Services:
    """The same, for routes that are told what they depend on."""
    return services_of(request)


def known(served: Served, ids: Sequence[str]) -> Ordinals:
    """The distinct ordinals of those ids that are in the snapshot, in the order given."""
    if not ids:
        return NOTHING
    ordinals = served.recommender.lookup.ordinals(list(dict.fromkeys(ids)))
    return ordinals[ordinals >= 0]


def unknown(served: Served, ids: Iterable[str]) -> list[str]:
    """Those ids that are not in the snapshot."""
    distinct = list(dict.fromkeys(ids))
    found = served.recommender.lookup.ordinals(distinct).tolist()
    return [key for key, place in zip(distinct, found, strict=True) if place == ABSENT]


def query(
    ask: Ask,
    limit: int,
    who: Viewer,
    hide_seen: bool | None,
    served: Served,
    within: Services,
    placement: Placement,
    context: Ordinals = NOTHING,
    sources: frozenset[str] | None = None,
) -> Query:
    """What every request says, and rules of such slates; the routes add what is theirs.

    hide_seen: None for what the rebuild learned. context, sources: as in the query. Raises QueryError for too long a
    slate.
    """
    if hide_seen is None:
        hide_seen = served.recommender.hides_seen
    ranking = within.settings.ranking
    if limit > ranking.max_limit:
        raise QueryError(f"limit: {limit} is more than ranking.max_limit = {ranking.max_limit}")
    now = datetime.now(UTC)
    ruling = served.rules.at(now, placement) if served.rules else None
    return Query(
        at=now,
        limit=limit,
        history=who.history,
        context=context,
        seen=who.seen if hide_seen else NOTHING,
        exclude=known(served, ask.exclude),
        withdrawn=served.withdrawn,
        where=ask.condition(),
        boosts=ask.boosted(),
        quota=ask.quota(),
        diversity=ranking.diversity if ask.diversity is None else ask.diversity,
        sources=sources,
        ruling=ruling,
        pins=ruling.pins if ruling else (),
    )


async def reply(wish: Wish, ask: Paged, about: tuple[str, str], within: Services) -> Response:
    """Answer what is wished for. A database that may keep us waiting is not waited for together."""
    if ask.cursor is None and within.engine.dialect.name == "sqlite":
        served, question, page = await within.together.ask(wish)
        return _in_words(page, [], asked_of(*about, ask), question, ask, served, within)

    def alone() -> Response:
        served = within.live.served()
        question = wish.make(served, viewer(served, within.histories, wish.who))
        return answer(question, ask, about, served, within)

    return await run_in_threadpool(alone)


def answer(
    question: Query,
    ask: Paged,
    about: tuple[str, str],
    served: Served,
    within: Services,
    missing: Sequence[str] | None = None,
    more: Mapping[str, Any] = NO_MORE,
) -> Response:
    """Ask the recommender for the page that is wanted, and put it into words.

    about: the route and what its address names: a cursor of another one is refused. more: joins the answer.
    """
    asked = asked_of(*about, ask)
    shown = [] if ask.cursor is None else read(ask.cursor, asked, served, within.snapshots)
    page = follow(question, shown, served.recommender)
    return _in_words(page, shown, asked, question, ask, served, within, missing, more)


def _in_words(
    page: Page,
    shown: list[int],
    asked: int,
    question: Query,
    ask: Paged,
    served: Served,
    within: Services,
    missing: Sequence[str] | None = None,
    more: Mapping[str, Any] = NO_MORE,
) -> Response:
    """shown: what the pages before this one show. asked: a checksum of the question."""
    within.metrics.suggested(*page.account)
    said = {"snapshot": served.manifest.id} | told(page, ask.explain, missing)
    said |= more
    items = page.items
    shown += items
    goes_on = len(items) == question.limit and len(shown) < _most(question)
    said["next"] = written(shown, asked, served.manifest.origin) if goes_on else None
    return as_json(said)


def _most(question: Query) -> int:
    """Items that a chain of pages can show."""
    return DEEPEST if question.rerank is None else min(DEEPEST, len(question.rerank))


def told(page: Page, explain: bool, missing: Sequence[str] | None) -> dict[str, Any]:
    """A page in words."""
    places = b"[%b]" % page.text
    said: dict[str, Any] = {
        "recommendation_id": token_hex(16),
        "items": _explained(places, page) if explain else orjson.Fragment(places),
    }
    if missing is not None:
        said["unknown"] = missing
    if explain:
        account, n = page.account
        said["account"] = account.of(n)._asdict()
    return said


def _explained(places: bytes, page: Page) -> list[dict[str, Any]]:
    """With the parts of each score."""
    return [
        place | {"parts": {name: round(part, DECIMALS) for name, part in parts.items()}}
        for place, parts in zip(orjson.loads(places), page.parts, strict=True)
    ]


def as_json(content: object, status: int = 200) -> Response:
    """Plain JSON bytes: checking a reply against its model again would take longer than making it."""
    body = orjson.dumps(content, option=orjson.OPT_UTC_Z)
    return Response(body, status, media_type="application/json")
