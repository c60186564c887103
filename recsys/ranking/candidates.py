"""The question, and what passes between the steps of ranking.

    Query -> Source.consider -> Opinion.best -> Filter -> Opinion.scores -> blend -> diversify -> Slate

Sources find items; then *every* source scores everything that was found and kept, so that an item is
judged on all that is known of it, whichever way it came in.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import Protocol

import numpy as np

from recsys.catalogue.times import MICROSECOND, to_us
from recsys.identity import NOTHING, Floats, ItemId, Mask, Ordinals
from recsys.preference.interactions import faded

CONTEXT = "context"
"""The 'event type' of an item that the viewer is looking at right now."""


SHORT = 3
"""Up to this many liked items, a history is short."""

BREAK = timedelta(minutes=30)
"""Who did nothing for longer is coming back, and need not go on with what was begun: the usual end of a session."""


@dataclass(frozen=True)
class History:
    """What is known of a viewer's taste: distinct items, newest first.

    `weights` are signed (negative: less of this) and already decayed by age; `types` holds the event type
    that spoke loudest for each item.
    """

    items: Ordinals
    weights: Floats
    types: tuple[str, ...]
    visits: Floats | None = None
    """How often each was liked, on different days or with something else in between; None: once each."""
    newest: int | None = None
    """Microseconds: when the viewer last did something telling; None: not known."""

    def __len__(self) -> int:
        return len(self.items)

    def only(self, keep: Mask) -> "History":
        """The items for which the (n,) mask is True."""
        types = tuple(name for name, kept in zip(self.types, keep, strict=True) if kept)
        visits = None if self.visits is None else self.visits[keep]
        return History(self.items[keep], self.weights[keep], types, visits, self.newest)

    def faded(self, fading: float) -> "History":
        """Every item weighs exp(-fading) for each newer one."""
        return replace(self, weights=faded(self.weights, fading)) if fading else self


NO_HISTORY = History(NOTHING, np.empty(0, dtype=np.float32), ())


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

    def __bool__(self) -> bool:
        return self != Where()


@dataclass(frozen=True)
class Boost:
    """Adds `by` (in standard deviations of a source's score; negative buries) to items for which `where` holds."""

    where: Where
    by: float


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
    """Items deleted, hidden or run out since the snapshot was built."""
    words: Floats | None = None
    """(dim,) unit vector of a text query in the snapshot's text space."""
    rerank: Ordinals | None = None
    """Rank these and no others."""
    where: Where = Where()
    boosts: tuple[Boost, ...] = ()
    diversity: float = 0.0
    sources: frozenset[str] | None = None
    """Use only these sources; None: all."""

    @cached_property
    def seeds(self) -> History:
        """The taste before it fades: what reasons are named from."""
        return self.taste(0)

    def taste(self, fading: float) -> History:
        """Context and history as one: the page speaks loudest, the history, faded, gives the colour."""
        history = self.history.faded(fading)
        return _with_context(self.context, history) if len(self.context) else history

    @cached_property
    def segment(self) -> str:
        """Which blend weights apply: `search`, `page`, or by the history `newcomer`, `short`, `returning`, `history`.

        `returning`: more than a `BREAK` has passed since the newest event.
        """
        if self.words is not None:
            return "search"
        if len(self.context):
            return "page"
        liked = int((self.history.weights > 0).sum())
        if liked <= SHORT:
            return "short" if liked else "newcomer"
        newest = self.history.newest
        came_back = newest is not None and to_us(self.at) - newest > BREAK // MICROSECOND
        return "returning" if came_back else "history"


def _with_context(context: Ordinals, history: History) -> History:
    rest = ~np.isin(history.items, context)
    total = float(np.abs(history.weights[rest]).sum()) or 1.0
    return History(
        np.concatenate([context, history.items[rest]]),
        np.concatenate([np.ones(len(context)), history.weights[rest] / total]).astype(np.float32),
        (CONTEXT,) * len(context)
        + tuple(t for t, keep in zip(history.types, rest, strict=True) if keep),
    )


class Opinion(Protocol):
    """What one source makes of one query: worked out once, asked as often as needed."""

    def best(self, limit: int) -> Ordinals:
        """Up to `limit` distinct items, best first; empty when it has nothing to say. Never `ABSENT`."""

    def scores(self, items: Ordinals) -> Floats:
        """(len(items),) scores, higher is better; NaN where this source cannot judge."""

    def because(self, items: Ordinals) -> Ordinals:
        """(len(items),) position in `query.seeds` of what speaks most for each; `ABSENT` where nothing does."""


class Source(Protocol):
    """One way of finding items and of judging them. Stateless and thread-safe."""

    @property
    def name(self) -> str:
        """Names its part of every score."""

    def consider(self, query: Query) -> Opinion:
        """Read the query once."""


@dataclass(frozen=True)
class Filter:
    """Takes items out. `keep(query, items)` gives a mask of the same length, True for what stays."""

    name: str
    keep: Callable[[Query, Ordinals], Mask]


@dataclass(frozen=True)
class Candidates:
    """Items and what each source thinks of them."""

    items: Ordinals
    scores: dict[str, Floats]
    """Source name -> (n,); NaN where that source did not score an item."""
    own: Floats | None = None
    """(n,) 0 for an item that nobody is known to like, towards 1 the more do; None: 1 for all."""


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
    """Source -> items it found."""
    removed: dict[str, int]
    """Filter -> items it took out (each counted once, at the first filter that refused it)."""
    failed: tuple[str, ...]
    """Sources that raised; the slate was made without them."""
    widened: dict[str, int]
    """Where more items were taken from when the sources alone could not fill the slate, in that order."""
