"""The ways of finding items and of judging them: one class each, all alike to the recommender.

Behaviour: `RowSource` (sums of sparse rows: co-occurrence, transitions, the linear model), `FactorSource` and
`AgainSource`. Content: `SpaceSource` and `TasteSource`. Nobody in particular: `StandingSource` and `NewSource`.
Nothing is searched while a viewer waits, but for words: what may be found lies in rows and lists made at build.
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.identity import ABSENT, NOTHING, Floats, Mask, Ordinals
from recsys.index.space import Space
from recsys.preference.factors import Factors
from recsys.preference.interactions import DAY, faded
from recsys.preference.sparse import Sparse
from recsys.ranking import kernels
from recsys.ranking.block import Block, Lists
from recsys.ranking.candidates import Query

NEWEST_SEEDS = 50
"""Content similarity looks at this many of the newest seeds: older ones add cost and hardly any accuracy."""

EVERY: Mask = np.empty(0, dtype=bool)
"""The mask of a request without a condition: every item is allowed."""


def best_of(scores: Floats, limit: int) -> Ordinals:
    """Positions of the `limit` highest finite scores, best first; the lower position wins a tie.

    A score that is not finite never outranks one that is.
    """
    every = np.arange(len(scores))
    return kernels.best_of_lists(np.array([0, len(scores)]), every, scores, limit)[1]


def _each(values: NDArray[Any], items: Lists) -> NDArray[Any]:
    """(m,) for each item the value of its query."""
    return np.repeat(values, np.diff(items.starts))


@dataclass(frozen=True)
class RowSource:
    """score = sum over the seeds of weight * W[seed]: item-to-item weights, sparse, fixed at build."""

    name: str
    weights: Sparse
    known: Mask
    """(n,) items that W can recommend at all; the others score NaN, not 0."""
    fading: float = 0.0

    @property
    def finder(self) -> str:
        """It finds for itself."""
        return self.name

    def consider(self, block: Block) -> "RowOpinion":
        """Add up the seeds' rows."""
        weights = block.tastes(self.fading)
        W, seeds = self.weights, block.seeds
        table = kernels.add_rows(W.indptr, W.indices, W.data, seeds.starts, seeds.items, weights)
        return RowOpinion(self, seeds, weights, table)


@dataclass(frozen=True, eq=False)
class RowOpinion:
    """The sums, in tables."""

    source: RowSource
    seeds: Lists
    weights: Floats
    table: kernels.Table

    def best(self, limit: int, allowed: Mask = EVERY) -> Lists:
        """The highest positive sums."""
        return Lists(*kernels.best_of_table(self.table, allowed, limit))

    def scores(self, items: Lists) -> Floats:
        """The sums; 0 for a known item that no seed leads to, NaN where no seed has a row."""
        return kernels.look_up(self.table, items.starts, items.items, self.source.known)

    def because(self, items: Lists, wanted: Mask) -> Ordinals:
        """The seed with the largest positive part."""
        W, seeds = self.source.weights, self.seeds
        return kernels.strongest_seeds(
            W.indptr,
            W.indices,
            W.data,
            seeds.starts,
            seeds.items,
            self.weights,
            items.starts,
            items.items,
            wanted,
        )


@dataclass(frozen=True)
class FactorSource:
    """score = factor of the folded-in viewer . factor of the item. It judges what others find."""

    name: str
    factors: Factors
    fading: float = 0.0
    finder: str = "cooccurrence"

    def consider(self, block: Block) -> "DirectionOpinion":
        """Fold the viewers in from their seeds."""
        seeds, weights = block.seeds, block.tastes(self.fading)
        viewers, known = self.factors.fold_in_all(seeds.starts, seeds.items, weights)
        return DirectionOpinion(self.factors.items, viewers, known, self.factors.present)


@dataclass(frozen=True, eq=False)
class DirectionOpinion:
    """A vector for each query, to which the vectors of items are compared. It has no single reason."""

    rows: Floats
    vectors: Floats
    """(q, d)"""
    known: Mask
    """(q,) False where there is no vector."""
    present: Mask
    """(n,)"""

    def best(self, limit: int, allowed: Mask = EVERY) -> Lists:
        """Another source finds for it."""
        return Lists.of([NOTHING] * len(self.known))

    def scores(self, items: Lists) -> Floats:
        """The products; NaN for items without a row, or without a vector to compare them to."""
        return kernels.dots(
            self.rows, self.vectors, self.known, items.starts, items.items, self.present
        )

    def because(self, items: Lists, wanted: Mask) -> None:
        """All that was liked, no single seed."""


@dataclass(frozen=True)
class AgainSource:
    """score = how much people come back to an item, for one the viewer has liked: often and lately count more."""

    name: str
    rates: Floats
    """(n,)"""
    fading: float
    power: float

    @property
    def finder(self) -> str:
        """It finds for itself."""
        return self.name

    def consider(self, block: Block) -> "AgainOpinion":
        """Look at what was liked."""
        wishes = [self._wishes(query) for query in block.queries]
        items, wish, positions = zip(*wishes, strict=True)
        every = tuple(np.concatenate(parts) for parts in (wish, positions))
        return AgainOpinion(Lists.of(items), *every)

    def _wishes(self, query: Query) -> tuple[Ordinals, Floats, Ordinals]:
        """What the viewer likes, ascending, how much it is wished for again, and where it is among the seeds."""
        history = query.history
        weights = faded(history.weights, self.fading)
        liked = np.flatnonzero(history.weights > 0)
        visits = np.ones(len(history)) if history.visits is None else history.visits
        wish = self.rates[history.items] * weights * visits**self.power
        order = liked[np.argsort(history.items[liked])]
        beside = ~np.isin(history.items, query.context)  # what is on the page is never suggested
        positions = len(query.context) + np.cumsum(beside) - 1
        return history.items[order], wish[order].astype(np.float32), positions[order]


@dataclass(frozen=True, eq=False)
class AgainOpinion:
    """What each viewer has liked, ascending, and how much it is wished for again."""

    liked: Lists
    wish: Floats
    positions: Ordinals

    def best(self, limit: int, allowed: Mask = EVERY) -> Lists:
        """The strongest wishes."""
        liked = self.liked
        wanted = self.wish > 0
        if len(allowed):
            wanted &= allowed[liked.items]
        wish = np.where(wanted, self.wish, np.float32(np.nan))
        starts, places = kernels.best_of_lists(liked.starts, liked.items, wish, limit)
        return Lists(starts, liked.items[places])

    def scores(self, items: Lists) -> Floats:
        """The wish; 0 for what was never liked, NaN where nothing was."""
        place = kernels.places_in(items.starts, items.items, self.liked.starts, self.liked.items)
        found = place >= 0
        scores = np.zeros(len(place), dtype=np.float32)
        scores[found] = self.wish[place[found]]
        scores[_each(np.diff(self.liked.starts) == 0, items)] = np.nan
        return scores

    def because(self, items: Lists, wanted: Mask) -> Ordinals:
        """The item itself."""
        place = kernels.places_in(items.starts, items.items, self.liked.starts, self.liked.items)
        return np.where(place >= 0, self.positions[place], ABSENT) if len(self.wish) else place


@dataclass(frozen=True)
class SpaceSource:
    """score = the largest similarity to a liked seed, less for those liked long ago; to the words, where there are any.

    The maximum finds what is like one of several tastes; `TasteSource` says how well an item suits all of them. What
    is near an item was found when the snapshot was built; what is not among its neighbours counts as not near it.
    """

    name: str
    space: Space
    understands_words: bool
    fading: float = 0.0

    @property
    def finder(self) -> str:
        """It finds for itself."""
        return self.name

    def consider(self, block: Block) -> "SpaceOpinion | WordsOpinion":
        """Look up what is near the liked seeds."""
        if block.first.words is not None and self.understands_words:
            return WordsOpinion(self.space, block)
        seeds, space = block.seeds, self.space
        starts, liked, positions, left = kernels.liked(
            seeds.starts, seeds.items, block.weights, space.present, self.fading, NEWEST_SEEDS
        )
        table = kernels.nearest_rows(space.neighbours, space.similarity, starts, liked, left)
        return SpaceOpinion(space, positions, table)


@dataclass(frozen=True, eq=False)
class SpaceOpinion:
    """What is near the liked seeds, and where each of them is among the query's seeds."""

    space: Space
    positions: Ordinals
    table: kernels.Table

    def best(self, limit: int, allowed: Mask = EVERY) -> Lists:
        """The seeds' neighbours, nearest first."""
        return Lists(*kernels.best_of_table(self.table, allowed, limit))

    def scores(self, items: Lists) -> Floats:
        """The largest of what is left of each similarity, 0 for what is not near; NaN for items without a vector."""
        return kernels.look_up(self.table, items.starts, items.items, self.space.present)

    def because(self, items: Lists, wanted: Mask) -> Ordinals:
        """The nearest seed."""
        at = kernels.find(self.table, items.starts, items.items)
        near = np.flatnonzero(at >= 0)
        reasons = np.full(len(at), ABSENT)
        reasons[near] = self.positions[self.table[-1][at[near]]]
        return reasons


@dataclass(frozen=True, eq=False)
class WordsOpinion:
    """Text queries in this space."""

    space: Space
    block: Block

    @cached_property
    def _words(self) -> Floats:
        return np.stack([query.words for query in self.block.queries if query.words is not None])

    def best(self, limit: int, allowed: Mask = EVERY) -> Lists:
        """The nearest items by the index."""
        among = np.flatnonzero(allowed) if len(allowed) else None
        found = self.space.search(self._words, limit, among).ordinals
        return Lists.of([row[row >= 0] for row in found])

    def scores(self, items: Lists) -> Floats:
        """The cosine; NaN for items without a vector."""
        asked = np.ones(len(self.block), dtype=bool)
        space = self.space
        return kernels.dots(
            space.rows, self._words, asked, items.starts, items.items, space.present
        )

    def because(self, items: Lists, wanted: Mask) -> None:
        """The words are the reason, no seed."""


@dataclass(frozen=True)
class TasteSource:
    """score = the similarity to all that was liked at once, less of what was liked long ago.

    A single similar like may be chance, many are none: of items that nobody is known to like, this tells the
    good from the bad far better than the largest similarity does. It judges what others find.
    """

    name: str
    space: Space
    finder: str
    fading: float = 0.0

    def consider(self, block: Block) -> DirectionOpinion:
        """Add up the liked seeds."""
        seeds, space = block.seeds, self.space
        starts, liked, _, left = kernels.liked(
            seeds.starts, seeds.items, block.weights, space.present, self.fading, len(seeds.items)
        )
        tastes, known = kernels.mean_directions(space.rows, starts, liked, left)
        return DirectionOpinion(space.rows, tastes, known, space.present)


@dataclass(frozen=True, eq=False)
class StandingSource:
    """The same for every viewer: one value per item. Silent after a moment, if there is one."""

    name: str
    values: Floats
    """(n,) NaN where unknown."""
    until: int | None = None
    """Microseconds: after this nobody knows what holds. Asked for by name, it still says what was."""
    _order: Ordinals = field(init=False)

    def __post_init__(self) -> None:
        worth = np.where(self.values > 0, self.values, np.nan)
        object.__setattr__(self, "_order", best_of(worth, len(worth)))

    @property
    def finder(self) -> str:
        """It finds for itself."""
        return self.name

    def consider(self, block: Block) -> "StandingOpinion":
        """See which moments it has a say in."""
        known = np.ones(len(block), dtype=bool)
        if self.until is not None and block.first.sources is None:
            known = block.at <= self.until
        first = np.where(known, 0, len(self._order))
        return StandingOpinion(self.values, self._order, first, known)


@dataclass(frozen=True, eq=False)
class StandingOpinion:
    """A standing source at the moments of some queries."""

    values: Floats
    order: Ordinals
    first: Ordinals
    """(q,) where in the order each begins."""
    known: Mask

    def best(self, limit: int, allowed: Mask = EVERY) -> Lists:
        """The head of the order."""
        return Lists(*kernels.walk(self.order, self.first, allowed, limit))

    def scores(self, items: Lists) -> Floats:
        """The values."""
        scores = self.values[items.items]
        if not self.known.all():
            scores[_each(~self.known, items)] = np.nan
        return scores

    def because(self, items: Lists, wanted: Mask) -> None:
        """Nothing the viewer did."""


@dataclass(frozen=True, eq=False)
class NewSource:
    """Items by the moment they were published: 1 when new, 1/2 after a half-life, 1/3 after two.

    It never fades to nothing, so that old items keep their order too. NaN for what is not published yet
    at the moment of the query.
    """

    name: str
    published: Ordinals
    """(n,) microseconds."""
    half_life_days: float
    _by_age: Ordinals = field(init=False)
    _moments: Ordinals = field(init=False)

    def __post_init__(self) -> None:
        by_age = np.argsort(-self.published, kind="stable")
        object.__setattr__(self, "_by_age", by_age)
        object.__setattr__(self, "_moments", -self.published[by_age])

    @property
    def finder(self) -> str:
        """It finds for itself."""
        return self.name

    def consider(self, block: Block) -> "NewOpinion":
        """Leave out what is not published yet."""
        first = np.searchsorted(self._moments, -block.at)
        return NewOpinion(self, self._by_age, first, block.at)


@dataclass(frozen=True, eq=False)
class NewOpinion:
    """What is new at the moments of some queries."""

    source: NewSource
    order: Ordinals
    first: Ordinals
    at: Ordinals

    def best(self, limit: int, allowed: Mask = EVERY) -> Lists:
        """The newest."""
        return Lists(*kernels.walk(self.order, self.first, allowed, limit))

    def scores(self, items: Lists) -> Floats:
        """How new each is."""
        half_life = self.source.half_life_days * DAY
        return kernels.freshness(
            self.source.published, half_life, self.at, items.starts, items.items
        )

    def because(self, items: Lists, wanted: Mask) -> None:
        """Nothing the viewer did."""
