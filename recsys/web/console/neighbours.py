"""What each source by itself leads to from one item, side by side."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np

from recsys.catalogue.items import Item
from recsys.identity import Ordinals
from recsys.ranking.block import Block, Lists
from recsys.ranking.candidates import Query
from recsys.ranking.sources import Alone
from recsys.serving.live import Served
from recsys.web.console.anatomy import named

SOURCES = ("cooccurrence", "transitions", "linear", "factors", "text", "image")
"""Those that can set out from an item, in the order in which they are shown."""

CONTENT = {"text": "text", "image": "picture"}
"""Those that compare, and what."""

MEANS = {
    "cooccurrence": "liked by the same people",
    "transitions": "what people turn to next",
    "linear": "what likes of it predict",
    "factors": "nearest in taste",
    "text": "cosine of the texts",
    "image": "cosine of the pictures",
}

SHOWN = 10


class Neighbour(NamedTuple):
    """An item that a source leads to."""

    item_id: str
    title: str
    score: float
    """In the source's own unit."""
    times: int
    """In how many columns it is."""


@dataclass(frozen=True)
class Column:
    """What one source leads to."""

    source: str
    means: str
    neighbours: Sequence[Neighbour]
    why_none: str
    """What keeps it from leading anywhere; "" where it does."""


def columns(item: Item, row: int, served: Served, has_events: bool) -> list[Column]:
    """One of each source that the snapshot knows. row: of the item. has_events: whether anything was done with it."""
    there = [name for name in SOURCES if name in served.recommender.sources]
    found = {name: _nearest(name, row, served) for name in there}
    times = Counter(place for items, _ in found.values() for place in items.tolist())
    made = []
    for name, (items, scores) in found.items():
        told = zip(named(items, served.recommender), scores, items.tolist(), strict=True)
        neighbours = [Neighbour(*who, score, times[place]) for who, score, place in told]
        why = "" if neighbours else _why_none(name, item, row, served, has_events)
        made.append(Column(name, MEANS[name], neighbours, why))
    return made


def _nearest(source: str, row: int, served: Served) -> tuple[Ordinals, list[float]]:
    """What may be shown now, the nearest first, and the source's own scores of it; rules and viewers aside."""
    about, page = served.recommender, np.array([row])
    only = frozenset({source})
    query = Query(datetime.now(UTC), SHOWN, context=page, withdrawn=served.withdrawn, sources=only)
    items = about.inspect(query).items[: 2 * SHOWN]
    scores = Alone(source, about.knowledge, Block((query,))).scores(Lists.of([items]))
    led = np.flatnonzero(scores > 0)[:SHOWN]
    return items[led], scores[led].tolist()


def _why_none(source: str, item: Item, row: int, served: Served, has_events: bool) -> str:
    if source in CONTENT:
        if served.recommender.spaces[source].present[row]:
            return "Nothing is near it."
        return _why_no_content(source, item)
    if not has_events:
        return "Nobody has done anything with it yet."
    return "Too few people like it to tell what goes with it."


def _why_no_content(kind: str, item: Item) -> str:
    if kind == "image":
        told = "Its picture was not there, or could not be read, when the snapshot was built."
        return told if item.images else "It has no picture."
    return "It had no text when the snapshot was built."
