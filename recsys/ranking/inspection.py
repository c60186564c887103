"""A slate taken apart: what it was chosen from, who found each item, and what each filter took out.

It is asked for by people who look at one slate, so it may take several times as long as the slate itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from recsys.catalogue.item_table import ItemTable
from recsys.facts import SOURCES
from recsys.identity import Floats, Mask, Ordinals
from recsys.ranking import kernels
from recsys.ranking.blend import Weights
from recsys.ranking.candidates import Query
from recsys.ranking.filters import FILTERS, on_sale


@dataclass(frozen=True, eq=False)
class Inspection:
    """The m candidates of one query, and how they came about."""

    items: Ordinals
    """(m,) by score, best first."""
    scores: Floats
    """(m,) before diversity and near-duplicates."""
    parts: Mapping[str, Floats]
    """Part -> (m,); they add up to the scores."""
    found_by: Mapping[str, Mask]
    """Source that finds -> (m,) True for what is among its best. Nobody finds what is given, or fills up."""
    removed: Mapping[str, Ordinals]
    """Filter -> the items that it took out, ascending, each at the first one that refused it; as the account counts."""
    known: Weights
    """Source -> what its opinion weighs, of items that people are known to like; those that are heard."""
    new: Weights
    """The same of items that nobody is known to like."""


@dataclass(frozen=True, eq=False)
class Trace:
    """How one query came by its candidates."""

    query: Query
    kept: Ordinals
    trail: kernels.Trail

    def found_by(self, finders: Mask, items: Ordinals) -> dict[str, Mask]:
        """Source -> (len(items),) True for its best. finders: (sources,)"""
        trail = self.trail
        lists = zip(SOURCES, trail.lists, trail.lengths.tolist(), finders.tolist(), strict=True)
        return {
            name: np.isin(items, trail.items[best[:length]])
            for name, best, length, finds in lists
            if finds
        }

    def removed(self, items: ItemTable) -> dict[str, Ordinals]:
        """What each of `FILTERS` took out, ascending."""
        entries, marks = self.trail.items, self.trail.marks
        pooled = entries[self.trail.pooled].astype(np.int64)
        late = pooled[~np.isin(pooled, self.kept)]
        gone = ~on_sale(items, self.query.at, late) | np.isin(late, self.query.withdrawn)
        hidden = marks & (kernels.MET | kernels.IS_GONE) == kernels.MET
        excluded = marks & kernels.IS_EXCLUDED != 0
        unavailable = [entries[marks & kernels.IS_GONE != 0], late[gone]]
        found: Sequence[Ordinals] = (
            np.concatenate(unavailable),
            entries[hidden & excluded],
            entries[hidden & ~excluded],
            late[~gone],
        )
        ordered = (np.sort(some.astype(np.int64)) for some in found)
        return dict(zip(FILTERS, ordered, strict=True))
