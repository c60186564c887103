"""What a ranker is told of a query's candidates: what each source says of them, and what no source says.

The latter comes from the catalogue, the popularity and the query alone, as arrays made once per snapshot.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recsys.catalogue.item_table import ALWAYS, ItemTable
from recsys.identity import Floats, Ordinals
from recsys.preference.categories import categories_of
from recsys.preference.interactions import DAY
from recsys.preference.popularity import Popularity
from recsys.preference.sparse import Sparse
from recsys.ranking.blend import standardise
from recsys.ranking.candidates import Candidates, Query

CONTEXTUAL = ("blend", "age", "price", "category", "popularity", "trend", "history")
"""Columns of a table after those of the sources; none is a source's name."""


@dataclass(frozen=True, eq=False)
class Features:
    """n items as a ranker sees them. Immutable and thread-safe."""

    published: NDArray[np.int64]
    """(n,) microseconds; `ALWAYS` where no date was given."""
    price: Floats
    """(n,) logarithm; NaN where unknown, or nothing is to be paid."""
    categories: Sparse
    """(n, categories) an item's share in each of its categories; the row of an item without any is empty."""
    popularity: Floats
    """(n,) how popular each is, 1 on average over all."""
    trend: Floats
    """(n,)"""

    @classmethod
    def of(cls, items: ItemTable, popularity: Popularity) -> "Features":
        """Prepare what does not depend on a query."""
        with_price = np.where(items.price > 0, items.price, np.nan)
        popular = np.nan_to_num(popularity.popular)  # nobody's choice: 0, not unknown
        return cls(
            items.shown_from,
            np.log(with_price).astype(np.float32),
            categories_of(items),
            popular / (popular.mean() or np.float32(1)),
            np.nan_to_num(popularity.trending),
        )

    def table(
        self, sources: Sequence[str], query: Query, candidates: Candidates, blended: Floats
    ) -> Floats:
        """(candidates, sources + CONTEXTUAL) NaN where unknown; a source's opinion is standardised as in the blend.

        blended: (candidates,) the blend's score of each.
        """
        items = candidates.items
        silent = np.zeros(len(items), dtype=np.float32)
        said = [
            standardise(candidates.scores[name]) if name in candidates.scores else silent
            for name in sources
        ]
        liked = query.history.items[query.history.weights > 0]
        context = (
            blended,
            self._age(query, items),
            self.price[items] - _mean_of_known(self.price[liked]),
            self._affinity(query, items),
            self.popularity[items],
            self.trend[items],
            np.full(len(items), len(liked)),
        )
        return np.column_stack([*said, *context]).astype(np.float32)

    def _age(self, query: Query, items: Ordinals) -> NDArray[np.float64]:
        """log(1 + days) since each was published."""
        published = self.published[items]
        days = (query.at.timestamp() * 1e6 - published) / DAY
        return np.where(published == ALWAYS, np.nan, np.log1p(days.clip(min=0)))

    def _affinity(self, query: Query, items: Ordinals) -> Floats:
        """The share of what is liked that lies in an item's categories, on average over them."""
        history = query.history
        liked = np.flatnonzero(history.weights > 0)
        taste = history.weights[liked] @ self.categories[history.items[liked]]
        if not taste.any():
            return np.full(len(items), np.nan, dtype=np.float32)
        shares: Floats = self.categories[items] @ (taste / taste.sum())
        known = np.diff(self.categories.indptr)[items] > 0
        return np.where(known, shares, np.float32(np.nan))


def _mean_of_known(values: Floats) -> np.float32:
    """NaN where none is known."""
    known = values[np.isfinite(values)]
    return known.mean() if len(known) else np.float32(np.nan)
