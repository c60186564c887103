"""The ways of finding items: one class each, all alike to the recommender.

Behaviour: `RowSource` (co-occurrence and the linear model: sums of sparse rows) and `FactorSource`.
Content: `SpaceSource` (text and image). Nobody in particular: `StandingSource` (popular, trending, new).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from recsys.catalogue.times import to_us
from recsys.identity import ABSENT, NOTHING, Floats, Mask, Ordinals
from recsys.index.space import Space
from recsys.preference.factors import Factors
from recsys.preference.sparse import Sparse
from recsys.ranking.candidates import Query

NEWEST_SEEDS = 50
"""Content similarity looks at this many of the newest seeds: older ones add cost and hardly any accuracy."""


def best_of(scores: Floats, limit: int) -> Ordinals:
    """Positions of the `limit` highest finite scores, best first; the lower position wins a tie.

    This is the one place that says: a score that is not finite never outranks one that is.
    """
    finite = np.flatnonzero(np.isfinite(scores))
    values = scores[finite]
    if len(values) > limit:
        least = np.partition(values, -limit)[-limit]
        above, equal = np.flatnonzero(values > least), np.flatnonzero(values == least)
        chosen = np.sort(np.concatenate([above, equal[: limit - len(above)]]))
        finite, values = finite[chosen], values[chosen]
    return finite[np.argsort(-values, kind="stable")]


def no_reasons(items: Ordinals) -> Ordinals:
    """`ABSENT` for every item."""
    return np.full(len(items), ABSENT, dtype=np.int64)


@dataclass(frozen=True)
class RowSource:
    """score = sum over the seeds of weight * W[seed]: item-to-item weights, sparse, fixed at build."""

    name: str
    weights: Sparse
    known: Mask
    """(n,) items that W can recommend at all; the others score NaN, not 0."""
    fading: float = 0.0

    def consider(self, query: Query) -> "RowOpinion":
        """Gather the seeds' rows and add them up."""
        seeds = query.taste(self.fading)
        starts, ends = self.weights.indptr[seeds.items], self.weights.indptr[seeds.items + 1]
        lengths = (ends - starts).astype(np.int64)
        offsets = np.repeat(starts - np.concatenate([[0], np.cumsum(lengths)[:-1]]), lengths)
        entries = np.arange(len(offsets)) + offsets
        seed = np.repeat(np.arange(len(seeds)), lengths)
        item = self.weights.indices[entries].astype(np.int64)
        part = self.weights.data[entries] * seeds.weights[seed]
        touched, group = np.unique(item, return_inverse=True)
        sums = np.bincount(group, weights=part, minlength=len(touched)).astype(np.float32)
        return RowOpinion(self.known, touched, sums, seed, item, part, silent=not len(entries))


@dataclass(frozen=True)
class RowOpinion:
    """The sums, and the entries they came from."""

    known: Mask
    touched: Ordinals
    sums: Floats
    seed: Ordinals
    item: Ordinals
    part: Floats
    silent: bool
    """No seed has a row: this source knows nothing of the viewer."""

    def best(self, limit: int) -> Ordinals:
        """The highest positive sums."""
        return self.touched[best_of(np.where(self.sums > 0, self.sums, np.nan), limit)]

    def scores(self, items: Ordinals) -> Floats:
        """The sums; 0 for a known item that no seed leads to."""
        if self.silent:
            return np.full(len(items), np.nan, dtype=np.float32)
        place = np.searchsorted(self.touched, items).clip(max=len(self.touched) - 1)
        scores = np.where(self.touched[place] == items, self.sums[place], np.float32(0))
        return np.where(self.known[items], scores, np.float32(np.nan))

    def because(self, items: Ordinals) -> Ordinals:
        """The seed with the largest positive part."""
        reasons = no_reasons(items)
        wanted = np.isin(self.item, items) & (self.part > 0)
        seed, item, part = self.seed[wanted], self.item[wanted], self.part[wanted]
        order = np.lexsort((part, item))
        last = np.searchsorted(item[order], items, side="right") - 1
        found = (
            (last >= 0) & (item[order][last] == items) if len(item) else np.zeros(len(items), bool)
        )
        reasons[found] = seed[order[last[found]]]
        return reasons


@dataclass(frozen=True)
class FactorSource:
    """score = factor of the folded-in viewer . factor of the item."""

    name: str
    factors: Factors
    fading: float = 0.0

    def consider(self, query: Query) -> "FactorOpinion":
        """Fold the viewer in from the seeds."""
        seeds = query.taste(self.fading)
        usable = np.isfinite(self.factors.items[seeds.items, 0])
        if not (usable & (seeds.weights > 0)).any():
            return FactorOpinion(self.factors.items, None)
        viewer = self.factors.fold_in(seeds.items[usable], seeds.weights[usable])
        return FactorOpinion(self.factors.items, viewer)


@dataclass(frozen=True)
class FactorOpinion:
    """The viewer's factor, or None for an unknown viewer."""

    factors: Floats
    viewer: Floats | None

    def best(self, limit: int) -> Ordinals:
        """The highest products over the whole catalogue."""
        return NOTHING if self.viewer is None else best_of(self.factors @ self.viewer, limit)

    def scores(self, items: Ordinals) -> Floats:
        """The products; NaN for items without a factor."""
        if self.viewer is None:
            return np.full(len(items), np.nan, dtype=np.float32)
        return self.factors[items] @ self.viewer

    def because(self, items: Ordinals) -> Ordinals:
        """A factor has no single reason."""
        return no_reasons(items)


@dataclass(frozen=True)
class AgainSource:
    """score = how much people come back to an item, for one the viewer has liked: often and lately count more."""

    name: str
    rates: Floats
    """(n,)"""
    fading: float
    power: float

    def consider(self, query: Query) -> "AgainOpinion":
        """Look at what was liked."""
        history = query.history.faded(self.fading)
        liked = np.flatnonzero(history.weights > 0)
        visits = np.ones(len(history)) if history.visits is None else history.visits
        wish = self.rates[history.items] * history.weights * visits**self.power
        order = liked[np.argsort(history.items[liked])]
        beside = ~np.isin(history.items, query.context)  # what is on the page is never suggested
        positions = len(query.context) + np.cumsum(beside) - 1
        return AgainOpinion(history.items[order], wish[order].astype(np.float32), positions[order])


@dataclass(frozen=True)
class AgainOpinion:
    """What the viewer has liked, ascending, and how much it is wished for again."""

    items: Ordinals
    wish: Floats
    positions: Ordinals

    def best(self, limit: int) -> Ordinals:
        """The strongest wishes."""
        return self.items[best_of(np.where(self.wish > 0, self.wish, np.nan), limit)]

    def scores(self, items: Ordinals) -> Floats:
        """The wish; 0 for what was never liked, NaN where nothing was."""
        if not len(self.items):
            return np.full(len(items), np.nan, dtype=np.float32)
        place = np.searchsorted(self.items, items).clip(max=len(self.items) - 1)
        return np.where(self.items[place] == items, self.wish[place], np.float32(0))

    def because(self, items: Ordinals) -> Ordinals:
        """The item itself."""
        reasons = no_reasons(items)
        if len(self.items):
            place = np.searchsorted(self.items, items).clip(max=len(self.items) - 1)
            known = self.items[place] == items
            reasons[known] = self.positions[place[known]]
        return reasons


@dataclass(frozen=True)
class SpaceSource:
    """score = the largest similarity to a liked seed, less for those liked long ago; to the words, where there are any.

    The maximum finds what is like one of several tastes; `TasteSource` says how well an item suits all of them.
    """

    name: str
    space: Space
    understands_words: bool
    fading: float = 0.0

    def consider(self, query: Query) -> "SpaceOpinion | WordsOpinion":
        """Choose the seeds that have a vector."""
        if query.words is not None and self.understands_words:
            return WordsOpinion(self.space, query.words)
        seeds = query.seeds
        usable = np.flatnonzero((seeds.weights > 0) & self.space.present[seeds.items])[
            :NEWEST_SEEDS
        ]
        left = np.exp(-np.minimum(self.fading * usable, 60)).astype(np.float32)  # never 0
        return SpaceOpinion(self.space, seeds.items[usable], usable, left)


@dataclass(frozen=True)
class SpaceOpinion:
    """The liked seeds: their ordinals, and their positions in the query."""

    space: Space
    seeds: Ordinals
    positions: Ordinals
    left: Floats
    """What fading has left of each."""

    def best(self, limit: int) -> Ordinals:
        """The seeds' precomputed neighbours, nearest first."""
        near = self.space.neighbours[self.seeds].ravel().astype(np.int64)
        similarity = self.space.similarity[self.seeds] * self.left[:, None]
        order = np.argsort(-similarity.ravel(), kind="stable")
        nearest_first = near[order][near[order] >= 0]
        distinct, first = np.unique(nearest_first, return_index=True)
        return distinct[np.argsort(first)][:limit]

    def scores(self, items: Ordinals) -> Floats:
        """The largest of what is left of each cosine; NaN for items without a vector."""
        if not len(self.seeds):
            return np.full(len(items), np.nan, dtype=np.float32)
        nearest: Floats = self._cosine(items).max(axis=1)
        return nearest

    def because(self, items: Ordinals) -> Ordinals:
        """The nearest seed."""
        reasons = no_reasons(items)
        if len(self.seeds):
            present = self.space.present[items]
            nearest = self._cosine(items[present]).argmax(axis=1)
            reasons[present] = self.positions[nearest]
        return reasons

    def _cosine(self, items: Ordinals) -> Floats:
        """(len(items), len(seeds)); an item does not speak for itself."""
        cosine = self.space.cosine(items, self.seeds)
        return np.where(items[:, None] == self.seeds, np.float32(-1), cosine * self.left)


@dataclass(frozen=True)
class WordsOpinion:
    """A text query in this space."""

    space: Space
    words: Floats

    def best(self, limit: int) -> Ordinals:
        """The nearest items by the index."""
        found: Ordinals = self.space.search(self.words[None, :], limit).ordinals[0]
        return found[found >= 0]

    def scores(self, items: Ordinals) -> Floats:
        """The cosine; NaN for items without a vector."""
        return np.where(
            self.space.present[items], self.space.rows[items] @ self.words, np.float32(np.nan)
        )

    def because(self, items: Ordinals) -> Ordinals:
        """The words are the reason, no seed."""
        return no_reasons(items)


@dataclass(frozen=True)
class TasteSource:
    """score = the similarity to all that was liked at once, less of what was liked long ago.

    A single similar like may be chance, many are none: of items that nobody is known to like, this tells the
    good from the bad far better than the largest similarity does.
    """

    name: str
    space: Space
    fading: float = 0.0

    def consider(self, query: Query) -> "TasteOpinion":
        """Add up the liked seeds."""
        seeds = query.seeds
        liked = np.flatnonzero(seeds.weights > 0)
        left = np.exp(-np.minimum(self.fading * liked, 60)).astype(np.float32)
        taste = left @ self.space.rows[seeds.items[liked]]
        length = float(np.linalg.norm(taste))
        return TasteOpinion(self.space, taste / np.float32(length) if length else None)


@dataclass(frozen=True)
class TasteOpinion:
    """The sum of what was liked, as a unit vector; None where nothing liked has one."""

    space: Space
    taste: Floats | None

    def best(self, limit: int) -> Ordinals:
        """The nearest items by the index."""
        if self.taste is None:
            return NOTHING
        found: Ordinals = self.space.search(self.taste[None, :], limit).ordinals[0]
        return found[found >= 0]

    def scores(self, items: Ordinals) -> Floats:
        """The cosine; NaN for items without a vector."""
        if self.taste is None:
            return np.full(len(items), np.nan, dtype=np.float32)
        cosine = self.space.rows[items] @ self.taste
        return np.where(self.space.present[items], cosine, np.float32(np.nan))

    def because(self, items: Ordinals) -> Ordinals:
        """All that was liked, no single seed."""
        return no_reasons(items)


@dataclass(frozen=True)
class StandingSource:
    """The same for every viewer: one value per item, perhaps depending on the moment."""

    name: str
    values: Callable[[Query], Floats]
    """(n,) values; NaN where unknown."""
    order: Callable[[Query], Ordinals]
    """Items with a value worth showing, best first."""

    def consider(self, query: Query) -> "StandingOpinion":
        """Nothing to work out."""
        return StandingOpinion(self, query)


@dataclass(frozen=True)
class StandingOpinion:
    """A standing source at one moment."""

    source: StandingSource
    query: Query

    def best(self, limit: int) -> Ordinals:
        """The head of the order."""
        return self.source.order(self.query)[:limit]

    def scores(self, items: Ordinals) -> Floats:
        """The values."""
        return self.source.values(self.query)[items]

    def because(self, items: Ordinals) -> Ordinals:
        """Nothing the viewer did."""
        return no_reasons(items)


def standing(name: str, values: Floats) -> StandingSource:
    """A standing source whose values never change, such as popularity."""
    order = best_of(np.where(values > 0, values, np.nan), len(values))
    return StandingSource(name, lambda _: values, lambda _: order)


def trending(values: Floats, until: int) -> StandingSource:
    """A standing source that is silent after `until` (microseconds): by then nobody knows what is trending.

    Asked for by name, it still says what was.
    """
    lasting = standing("trending", values)
    unknown = np.full_like(values, np.nan)

    def known(query: Query) -> bool:
        return query.sources is not None or to_us(query.at) <= until

    return StandingSource(
        "trending",
        lambda query: values if known(query) else unknown,
        lambda query: lasting.order(query) if known(query) else NOTHING,
    )


def newest(published: Ordinals, half_life_days: float) -> StandingSource:
    """Items by the moment they were published ((n,) microseconds): 1 when new, 1/2 after a half-life, 1/3 after two.

    It never fades to nothing, so that old items keep their order too. NaN for what is not published yet
    at the moment of the query.
    """
    by_age = np.argsort(-published, kind="stable")
    microseconds = half_life_days * 86_400e6

    def values(query: Query) -> Floats:
        age = query.at.timestamp() * 1e6 - published
        fresh = microseconds / (microseconds + age.clip(min=0))
        return np.where(age >= 0, fresh, np.nan).astype(np.float32)

    def order(query: Query) -> Ordinals:
        first = np.searchsorted(-published[by_age], -int(query.at.timestamp() * 1e6))
        return by_age[first:]

    return StandingSource("new", values, order)
