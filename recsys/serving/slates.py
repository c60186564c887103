"""One request for a slate -> one `Query` -> one reply. Every route that answers with a slate comes through here."""

from asyncio import Semaphore
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import numpy as np
import orjson
from fastapi import Request, Response
from fastapi.concurrency import run_in_threadpool
from sqlalchemy import Engine

from recsys.catalogue.histories import Histories, Told
from recsys.catalogue.times import to_us
from recsys.config import Settings
from recsys.errors import QueryError
from recsys.identity import NOTHING, ItemId, Ordinals
from recsys.ranking.block import Block
from recsys.ranking.candidates import NO_HISTORY, Query
from recsys.ranking.slates import Slates, in_words
from recsys.ranking.viewer import LONGEST_READ, Viewer, read_viewer
from recsys.serving.live import Live, Served
from recsys.serving.metrics import Metrics
from recsys.serving.schemas import Ask, InlineEvent
from recsys.serving.words import Words

NOBODY = Viewer(NO_HISTORY, NOTHING)

WRITERS = 8
"""Writes at once. One that waits for the database holds a thread; the rest are left to those who read."""

DIGITS = 6
"""Decimals of scores in a reply."""


@dataclass(frozen=True)
class Services:
    """What the routes work with."""

    settings: Settings
    engine: Engine
    live: Live
    words: Words
    metrics: Metrics
    histories: Histories
    writers: Semaphore = field(default_factory=lambda: Semaphore(WRITERS))

    async def soon(self, reply: Callable[[], Response]) -> Response:
        """A reply that reads one history. SQLite reads it in less time than it takes to hand over to a thread."""
        if self.engine.dialect.name == "sqlite":
            return reply()
        return await run_in_threadpool(reply)


def services_of(request: Request) -> Services:
    """The services of the app that got this request."""
    found: Services = request.app.state.services
    return found


async def services(request: Request) -> Services:
    """The same, for routes that are told what they depend on."""
    return services_of(request)


def viewer(
    served: Served,
    within: Services,
    user_id: str | None,
    session_id: str | None,
    inline: Sequence[InlineEvent] = (),
) -> Viewer:
    """The taste of a user, a session and the events given with the request, as of now."""
    if user_id is None and session_id is None and not inline:
        return NOBODY
    given = [Told(ItemId(e.item_id), e.type, e.value, to_us(e.time)) for e in inline]
    stored = within.histories.newest(user_id, session_id, LONGEST_READ, served.telling)
    return _read([*given, *stored], served)


def _read(events: Sequence[Told], served: Served) -> Viewer:
    if not events:
        return NOBODY
    items, types, values, times = zip(*events, strict=True)
    codes = served.weighing.codes
    return read_viewer(
        served.recommender.items.ids.ordinals(items),
        np.array([codes[name] for name in types], dtype=np.int32),
        np.array(values, dtype=np.float32),
        np.array(times, dtype=np.int64),
        served.weighing,
    )


def known(served: Served, ids: Iterable[str]) -> Ordinals:
    """The distinct ordinals of those ids that are in the snapshot, in the order given."""
    distinct = list(dict.fromkeys(map(ItemId, ids)))
    ordinals = served.recommender.items.ids.ordinals(distinct)
    return ordinals[ordinals >= 0]


def unknown(served: Served, ids: Iterable[str]) -> list[str]:
    """Those ids that are not in the snapshot."""
    return [key for key in dict.fromkeys(ids) if key not in served.recommender.items.ids]


def query(
    ask: Ask, limit: int, who: Viewer, hide_seen: bool | None, served: Served, within: Services
) -> Query:
    """What every request says; the routes add what is theirs. Raises QueryError for too long a slate.

    hide_seen: None for what the rebuild learned.
    """
    if hide_seen is None:
        hide_seen = served.recommender.hides_seen
    ranking = within.settings.ranking
    if limit > ranking.max_limit:
        raise QueryError(f"limit: {limit} is more than ranking.max_limit = {ranking.max_limit}")
    return Query(
        at=datetime.now(UTC),
        limit=limit,
        history=who.history,
        seen=who.seen if hide_seen else NOTHING,
        exclude=known(served, ask.exclude),
        withdrawn=served.withdrawn,
        where=ask.condition(),
        boosts=ask.boosted(),
        quota=ask.quota(),
        diversity=ranking.diversity if ask.diversity is None else ask.diversity,
    )


def answer(
    question: Query,
    ask: Ask,
    served: Served,
    within: Services,
    missing: Sequence[str] | None = None,
) -> Response:
    """Ask the recommender, and put its slate into words."""
    slates = served.recommender.answer(Block((question,)))
    within.metrics.suggested(slates.account)
    reply: dict[str, Any] = {
        "snapshot": served.manifest.id,
        "recommendation_id": uuid4().hex,
        "items": _places(slates, served, ask.explain),
    }
    if missing is not None:
        reply["unknown"] = missing
    if ask.explain:
        reply["account"] = slates.account.of(0)._asdict()
    return as_json(reply)


def as_json(content: object, status: int = 200) -> Response:
    """Plain JSON bytes: checking a reply against its model again would take longer than making it."""
    body = orjson.dumps(content, option=orjson.OPT_UTC_Z)
    return Response(body, status, media_type="application/json")


def _places(slates: Slates, served: Served, explain: bool) -> list[dict[str, Any]]:
    items, found = served.recommender.items, slates.items.items
    places = [
        {
            "item_id": key,
            "rank": rank,
            "score": round(score, DIGITS),
            "reason": reason,
            "title": title,
        }
        for rank, (key, score, reason, title) in enumerate(
            zip(
                items.ids.external(found),
                slates.scores.tolist(),
                in_words(*slates.reasons, items),
                map(items.title, found.tolist()),
                strict=True,
            ),
            start=1,
        )
    ]
    if explain:
        for place, parts in zip(places, slates.parts.T.tolist(), strict=True):
            named = zip(slates.names, parts, strict=True)
            place["parts"] = {name: round(part, DIGITS) for name, part in named}
    return places
