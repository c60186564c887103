"""Keep near-duplicates apart, and no brand or category too frequent.

Likeness: maximal marginal relevance (Carbonell & Goldstein 1998) over item vectors. Quotas: at most so many items
of one brand or of one category in a slate.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc

from recsys.catalogue.item_table import ItemTable
from recsys.identity import Floats, Ordinals
from recsys.ranking import kernels
from recsys.ranking.block import Lists, ends
from recsys.ranking.candidates import Quota

Items = kernels.Items


@dataclass(frozen=True, eq=False)
class Groups:
    """The brand and the categories of every item, numbered through."""

    ends: Ordinals
    """(n + 1,) those of item i are codes[ends[i]:ends[i + 1]]."""
    codes: Items
    brands: int
    """Codes below this are brands, the others categories."""
    count: int

    @classmethod
    def of(cls, items: ItemTable) -> "Groups":
        """Number them."""
        lists = items.data["categories"].combine_chunks()
        item = pc.list_parent_indices(lists).to_numpy(zero_copy_only=False).astype(np.int64)
        names = pc.list_flatten(lists).dictionary_encode()
        code = names.indices.to_numpy(zero_copy_only=False).astype(np.int64)
        branded = np.flatnonzero(items.brand_codes >= 0)
        pairs = np.concatenate(
            [
                np.stack([branded, items.brand_codes[branded]]),
                np.stack([item, code + len(items.brands)]),
            ],
            axis=1,
        )
        pairs = np.unique(pairs, axis=1)  # a category named twice counts once
        counts = np.bincount(pairs[0], minlength=len(items))
        total = len(items.brands) + len(names.dictionary)
        return cls(ends(counts), pairs[1].astype(np.int32), len(items.brands), total)

    def most(self, quota: Quota) -> Items:
        """(count,) how many items of each group a slate may hold."""
        free = np.iinfo(np.int32).max
        most = np.full(self.count, free if quota.category is None else quota.category, np.int32)
        most[: self.brands] = free if quota.brand is None else quota.brand
        return most


def diversify(
    chosen: Lists,
    items: Ordinals,
    scores: Floats,
    rows: Floats,
    strength: float,
    limit: int,
    groups: Groups | None = None,
    quota: Quota | None = None,
) -> tuple[Lists, Floats]:
    """Choose at most `limit` of each list one by one, each time the best after its penalty that the quota allows.

    chosen: positions in `items` and `scores`, best first. The penalty is strength * (best score - worst score) *
    largest cosine of `rows` ((n, d) unit rows; zero: no vector, no penalty) to what was chosen before, never
    negative. Gives the positions, and their penalties (<= 0). A candidate's value only falls as others are chosen,
    so score + penalty never rises along a slate.
    """
    if groups is not None and quota is not None:
        own = (groups.ends, groups.codes, groups.most(quota))
    else:
        own = (np.zeros(1, np.int64), np.empty(0, np.int32), np.empty(0, np.int32))
    starts, picks, penalties = kernels.spread_out(
        chosen.starts, chosen.items, items, scores, rows, strength, *own, limit
    )
    return Lists(starts, picks), penalties
