"""What comes out of ranking: the slates of a block as arrays, and any one of them in words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recsys.catalogue.item_table import ItemTable
from recsys.identity import ABSENT, Floats, ItemId, Mask, Ordinals
from recsys.ranking.block import Block, Lists
from recsys.ranking.candidates import CONTEXT, Slate, Suggestion
from recsys.ranking.filters import FILTERS
from recsys.ranking.knowledge import SOURCES

FALLBACK = ("popular", "trending", "new")
"""Where more items come from, in this order, when the sources cannot fill a slate; then the whole catalogue."""


class Phrase(NamedTuple):
    """A reason in words; the title of an item stands between the two, if it names one."""

    before: str
    after: str = ""


_DONE = {
    "purchase": Phrase("because you bought *", "*"),
    "view": Phrase("because you viewed *", "*"),
    "click": Phrase("because you clicked *", "*"),
    "like": Phrase("because you liked *", "*"),
    "rating": Phrase("because you liked *", "*"),
    "add_to_cart": Phrase("because you put *", "* in the cart"),
}
_DID = Phrase("because of *", "*")
_STANDING = {
    "popular": Phrase("popular right now"),
    "trending": Phrase("trending right now"),
    "new": Phrase("a new arrival"),
    "factors": Phrase("matches your taste"),
    "text_taste": Phrase("matches your taste"),
    "image_taste": Phrase("matches your taste"),
    "text": Phrase("matches your search"),
    "boost": Phrase("promoted"),
}
_PAGE = {"text": Phrase("reads like *", "*"), "image": Phrase("looks like *", "*")}
_ON_PAGE = Phrase("goes with *", "*")
_NOTHING = Phrase("from the catalogue")


def speaks_for_itself(source: str, searched: bool) -> bool:
    """Whether a part of a score is a reason without naming an item. searched: for words."""
    return source in _STANDING and (source != "text" or searched)


Retrieved = dict[str, int] | tuple[Mask, NDArray[np.int64]]
"""Why items were looked at, and how many; or (sources,) who found some, and (sources,) how many each."""


@dataclass(frozen=True)
class Account:
    """How the slates of a block came about."""

    retrieved: Sequence[Retrieved]
    """For each query."""
    removed: NDArray[np.int64]
    """(q, len(FILTERS)) items that each filter took out."""
    failed: tuple[str, ...]
    widened: Sequence[Mapping[str, int]] | None
    """For each query, where more items were taken from; None: nowhere."""

    def of(self, n: int) -> "Accounted":
        """That of query n."""
        told = self.retrieved[n]
        if isinstance(told, dict):
            retrieved = told
        else:
            found = zip(SOURCES, *(each.tolist() for each in told), strict=True)
            retrieved = {name: count for name, finds, count in found if finds}
        removed = dict(zip(FILTERS, self.removed[n].tolist(), strict=True))
        widened = dict(self.widened[n]) if self.widened else {}
        return Accounted(retrieved, removed, self.failed, widened)


class Accounted(NamedTuple):
    """How one slate came about."""

    retrieved: dict[str, int]
    """Source -> items of it that were looked at."""
    removed: dict[str, int]
    """Filter -> items of those that it took out (each counted once, at the first filter that refused it)."""
    failed: tuple[str, ...]
    """Sources that raised; the slate was made without them."""
    widened: dict[str, int]
    """Where more items were taken from when the sources alone could not fill the slate, in that order."""


DIGITS = 6
"""Decimals of a score, where it is shown."""


class Place(NamedTuple):
    """One place of a slate, as it is shown."""

    ordinal: int
    item: ItemId
    title: str
    score: float
    reason: str


@dataclass(frozen=True, eq=False)
class Slates:
    """The answers to a block, one behind the other."""

    block: Block
    items: Lists
    """Best first."""
    scores: Floats
    """(m,)"""
    names: tuple[str, ...]
    """Of the parts."""
    parts: Floats
    """(names, m) they add up to the scores."""
    said: Sequence[frozenset[str]]
    """For each query, the parts that are told even if they are 0."""
    part: Ordinals
    """(m,) which part is the reason; `ABSENT`: none."""
    seed: Ordinals
    """(m,) position in its query's seeds of the item that the reason names; `ABSENT`: none."""
    account: Account
    catalogue: ItemTable

    @cached_property
    def places(self) -> list[Place]:
        """All m of them: made together, as the texts of each lie anywhere."""
        items = self.items.items
        columns = (
            items.tolist(),
            self.catalogue.ids.external(items),
            self.catalogue.titles(items),
            self.scores.astype(np.float64).round(DIGITS).tolist(),
            self._in_words(),
        )
        return list(map(Place._make, zip(*columns, strict=True)))

    def span(self, n: int) -> range:
        """Which of the places are the slate of query n."""
        return range(*self.items.starts[n : n + 2].tolist())

    def of(self, n: int) -> list[Place]:
        """The slate of query n, best first."""
        span = self.span(n)
        return self.places[span.start : span.stop]

    def slate(self, n: int) -> Slate:
        """The answer to query n, and the account of it."""
        suggestions = tuple(
            Suggestion(place.item, sum(parts.values()), parts, place.reason)
            for place, parts in zip(self.of(n), self.told(n), strict=True)
        )
        return Slate(suggestions, *self.account.of(n))

    def told(self, n: int) -> list[dict[str, float]]:
        """The parts of each score of query n, by name."""
        span = self.span(n)
        parts = self.parts[:, span.start : span.stop]
        loud = [
            place
            for place, name in enumerate(self.names)
            if name in self.said[n] or parts[place].any()
        ]
        names = [self.names[p] for p in loud]
        return [dict(zip(names, place, strict=True)) for place in parts[loud].T.tolist()]

    def _in_words(self) -> list[str]:
        """The reasons of all places, with titles."""
        phrases, which, named = self.reasons
        titles = iter(self.catalogue.titles(named[named >= 0]))
        said = zip(which.tolist(), named.tolist(), strict=True)
        return [
            f"{phrases[n].before}{next(titles)}{phrases[n].after}"
            if item >= 0
            else phrases[n].before
            for n, item in said
        ]

    @cached_property
    def reasons(self) -> tuple[list[Phrase], Ordinals, Ordinals]:
        """Phrases; for each of the m places, which of them, and the item that it names (`ABSENT`: none)."""
        seeds = self.block.seeds
        kinds: dict[str | None, int] = {None: 0}
        done = [
            kinds.setdefault(kind, len(kinds))
            for query in self.block.queries
            for kind in query.seeds.types
        ]
        named, what = np.full(len(self.seed), ABSENT), np.zeros(len(self.seed), dtype=np.int64)
        naming = np.flatnonzero(self.seed >= 0)
        at = np.repeat(seeds.starts[:-1], np.diff(self.items.starts))[naming] + self.seed[naming]
        named[naming], what[naming] = seeds.items[at], np.array(done, dtype=np.int64)[at]
        codes = (self.part + 1) * len(kinds) + what
        there = np.bincount(codes) > 0
        events = list(kinds)
        reasons = (divmod(code, len(kinds)) for code in np.flatnonzero(there).tolist())
        phrases = [self._phrase(part - 1, events[kind]) for part, kind in reasons]
        return phrases, (np.cumsum(there) - 1)[codes], named

    def _phrase(self, part: int, event: str | None) -> Phrase:
        """event: what was done to the item that is named; None: none is."""
        if part < 0:
            return self._otherwise()
        name = self.names[part]
        return _STANDING[name] if event is None else _because(name, event)

    def _otherwise(self) -> Phrase:
        """Where no part speaks."""
        asked = self.block.first.sources or ()
        return next((_STANDING[name] for name in FALLBACK if name in asked), _NOTHING)


def _because(source: str, event: str) -> Phrase:
    if event == CONTEXT:
        return _PAGE.get(source, _ON_PAGE)
    return _DONE.get(event, _DID)
