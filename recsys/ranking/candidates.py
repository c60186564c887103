"""The question and the answer: what a `Query` says and a `Slate` holds, and the candidates between them."""

import itertools
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

import numpy as np

from recsys.catalogue.conditions import Condition
from recsys.catalogue.times import MICROSECOND, to_us
from recsys.identity import NOTHING, Floats, ItemId, Mask, Ordinals
from recsys.ranking.reasons import CONTEXT, Deeds, deeds

SHORT = 3
"""Up to this many liked items, a history is short."""

SEGMENTS = ("history", "short", "returning", "newcomer", "page", "search", "looks", "both")
"""Of queries, by what they set out from: each has weights of its own in the blend."""

SEARCHES = {
    frozenset({"text"}): "search",
    frozenset({"image"}): "looks",
    frozenset({"text", "image"}): "both",
}
"""The segments of searches, by the kinds of content in which something is sought."""

BREAK = timedelta(minutes=30) // MICROSECOND
"""Microseconds. Who did nothing for longer is coming back, not going on with what was begun: a session's usual end."""


@dataclass(frozen=True)
class History:
    """What is known of a viewer's taste: distinct items, newest first.

    `weights` are signed (negative: less of this) and already decayed by age; `deeds` holds what spoke loudest
    for each item.
    """

    items: Ordinals
    weights: Floats
    deeds: Deeds
    visits: Floats | None = None
    """How often each was liked, on different days or with something else in between; None: once each."""
    newest: int | None = None
    """Microseconds: when the viewer last did something telling; None: not known."""

    def __len__(self) -> int:
        return len(self.items)

    def only(self, keep: Mask) -> "History":
        """The items for which the (n,) mask is True."""
        visits = None if self.visits is None else self.visits[keep]
        return History(self.items[keep], self.weights[keep], self.deeds[keep], visits, self.newest)


class Seeds(NamedTuple):
    """What a slate sets out from: the page, and then the history, newest first."""

    items: Ordinals
    weights: Floats
    """As in the history; 1 for what is on the page."""
    newer: Ordinals
    """How many items of the history are newer; 0 for what is on the page."""
    visits: Floats
    """As in the history; 1 for what is on the page."""
    deeds: Deeds
    """As in the history; `CONTEXT` for what is on the page."""


NO_HISTORY = History(NOTHING, np.empty(0, dtype=np.float32), deeds(()))


@dataclass(frozen=True)
class Where:
    """A condition on items. Every given part must hold; within a part, any of the values will do."""

    categories: tuple[str, ...] = ()
    brands: tuple[str, ...] = ()
    price_min: float | None = None
    price_max: float | None = None
    attributes: tuple[tuple[str, tuple[str, ...]], ...] = ()
    without_categories: tuple[str, ...] = ()
    without_brands: tuple[str, ...] = ()

    @classmethod
    def of(cls, condition: Condition) -> "Where":
        """A condition as people write it."""
        return cls(**(condition.model_dump() | {"attributes": tuple(condition.attributes.items())}))

    def __bool__(self) -> bool:
        return self is not ANYTHING and self != ANYTHING


ANYTHING = Where()
"""No condition."""


@dataclass(frozen=True)
class Boost:
    """Adds `by` (in standard deviations of a source's score; negative buries) to items for which `where` holds."""

    where: Where
    by: float


@dataclass(frozen=True)
class Quota:
    """At most so many items of one brand, or of one category, in a slate; None: any number."""

    brand: int | None = None
    category: int | None = None

    def __bool__(self) -> bool:
        return self is not ANY_NUMBER and self != ANY_NUMBER


ANY_NUMBER = Quota()
"""No quota."""


class Pin(NamedTuple):
    """An item for one place of a slate, from 1."""

    place: int
    item: int
    """Its ordinal."""


@dataclass(frozen=True, eq=False)
class Ruling:
    """What the rules in force say of one kind of slates. Made once for all queries that it is about."""

    hidden: Mask
    """(n,) True for items that are not to be shown; empty: all may be."""
    lift: Floats
    """(n,) added to the score of each item; empty: nothing is."""
    pins: tuple[Pin, ...]
    """Those of the oldest rule first."""


@dataclass(frozen=True)
class Query:
    """Everything an answer depends on. No stage reads a clock or a database: the edge does, once."""

    at: datetime
    """The moment of the request, aware UTC."""
    limit: int
    history: History = NO_HISTORY
    context: Ordinals = field(default_factory=lambda: NOTHING)
    """Items on the page or in the basket; they steer the slate and are never in it."""
    seen: Ordinals = field(default_factory=lambda: NOTHING)
    """Items not to show again."""
    exclude: Ordinals = field(default_factory=lambda: NOTHING)
    withdrawn: Ordinals = field(default_factory=lambda: NOTHING)
    """Items deleted, hidden or run out since the snapshot was built, ascending."""
    sought: Mapping[str, Floats] | None = None
    """What a search is for: kind of content ("text", "image") -> (dim,) unit vector in that space, at least one."""
    rerank: Ordinals | None = None
    """Rank these and no others."""
    where: Where = ANYTHING
    boosts: tuple[Boost, ...] = ()
    diversity: float = 0.0
    quota: Quota = ANY_NUMBER
    sources: frozenset[str] | None = None
    """Use only these sources; None: all."""
    ruling: Ruling | None = None
    """What may not be shown, or is lifted, by a rule; None: no rule is in force."""
    pins: tuple[Pin, ...] = ()
    """Items for places of their own, seen or not, where they may be shown at all. None in a re-rank."""

    @property
    def seeds(self) -> Seeds:
        """Context and history as one. What is on the page is no part of the history."""
        history, newer = self.history, np.arange(len(self.history))
        visits = history.visits
        if visits is None:
            visits = np.ones(len(history), dtype=np.float32)
        if not len(self.context):
            return Seeds(history.items, history.weights, newer, visits, history.deeds)
        page, shown = self.context, deeds([CONTEXT] * len(self.context))
        if not len(history):
            ones = np.ones(len(page), dtype=np.float32)
            return Seeds(page, ones, np.zeros_like(page), ones, shown)
        rest = ~np.isin(history.items, page)
        left = history.only(rest)
        return Seeds(
            np.concatenate([page, left.items]),
            np.concatenate([np.ones(len(page), dtype=np.float32), left.weights]),
            np.concatenate([np.zeros(len(page), dtype=np.int64), newer[rest]]),
            np.concatenate([np.ones(len(page), dtype=np.float32), visits[rest]]),
            np.concatenate([shown, left.deeds]),
        )

    @property
    def segment(self) -> str:
        """Which blend weights apply: those of a search (`SEARCHES`) or of a `page`; else by the history `newcomer`,
        `short`, `returning` or `history`.

        `returning`: more than a `BREAK` has passed since the newest event.
        """
        if self.sought:
            return SEARCHES[frozenset(self.sought)]
        if len(self.context):
            return "page"
        liked = np.count_nonzero(self.history.weights > 0)
        if liked <= SHORT:
            return "short" if liked else "newcomer"
        newest = self.history.newest
        came_back = newest is not None and to_us(self.at) - newest > BREAK
        return "returning" if came_back else "history"

    @property
    def kind(self) -> Hashable:
        """Queries of one kind may be answered together; one with a quota only alone, for it may ask for everything."""
        if self.quota:
            return object()
        search = (self.segment, self.where) if self.sought else None
        given = self.rerank is not None
        ruled = (self.ruling, self.pins)
        return (self.limit, given, search, self.boosts, self.diversity, self.sources, ruled)


@dataclass(frozen=True)
class Candidates:
    """Items and what each source thinks of them."""

    items: Ordinals
    """(m,)"""
    scores: dict[str, Floats]
    """Source name -> (m,); NaN where that source did not score an item."""
    own: Floats | None = None
    """(m,) 0 for an item that nobody is known to like, towards 1 the more do; None: 1 for all."""
    starts: Ordinals | None = None
    """(q + 1,) those of query n are at starts[n]:starts[n + 1]; None: all are of one query."""

    @property
    def edges(self) -> Ordinals:
        """`starts`, also of one query."""
        return np.array([0, len(self.items)]) if self.starts is None else self.starts

    def apart(self) -> list["Candidates"]:
        """Those of each query."""
        edges = self.edges.tolist()
        return [self._cut(a, b) for a, b in itertools.pairwise(edges)]

    def _cut(self, a: int, b: int) -> "Candidates":
        scores = {name: values[a:b] for name, values in self.scores.items()}
        return Candidates(self.items[a:b], scores, None if self.own is None else self.own[a:b])


@dataclass(frozen=True)
class Suggestion:
    """One place of a slate. `parts` add up to `score`."""

    item: ItemId
    score: float
    parts: dict[str, float]
    reason: str


@dataclass(frozen=True)
class Slate:
    """The answer and the account of how it came about."""

    items: tuple[Suggestion, ...]
    retrieved: dict[str, int]
    """Source -> items of it that were looked at."""
    removed: dict[str, int]
    """Filter -> items of those that it took out (each counted once, at the first filter that refused it)."""
    failed: tuple[str, ...]
    """Sources that raised; the slate was made without them."""
    widened: dict[str, int]
    """Where more items were taken from when the sources alone could not fill the slate, in that order."""
