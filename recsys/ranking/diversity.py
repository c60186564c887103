"""Keep what is alike apart, near-duplicates out, and no brand or category too frequent.

Likeness: maximal marginal relevance (Carbonell & Goldstein 1998) over item vectors. Near-duplicates: one of a group.
Quotas: at most so many items of one brand or of one category in a slate.
"""

import numpy as np

from recsys.compiling import fixed
from recsys.facts import Groups
from recsys.identity import Floats
from recsys.index.duplicates import Duplicates
from recsys.ranking import kernels
from recsys.ranking.block import Lists
from recsys.ranking.candidates import Quota
from recsys.ranking.knowledge import Near

Items = kernels.Items


NO_GROUPS = (fixed(np.zeros(1, np.int64)), fixed(np.empty(0, np.int32)), np.empty(0, np.int32))

NO_DUPLICATES = fixed(np.empty(0, np.int32))


def choose(
    items: Lists,
    parts: Floats,
    limit: int,
    strength: float,
    near: Near,
    groups: Groups | None,
    quota: Quota,
    duplicates: Duplicates | None,
) -> tuple[Lists, Floats, Floats]:
    """Choose at most `limit` of each list one by one, each time the best after its penalty that the quota allows.

    Of near-duplicates only the best of a list is a candidate for a place; None: every item is one.
    parts: (p, m) of the items' scores. The penalty is strength * (best score - worst score among the candidates for
    a place) * largest cosine to what was chosen before, never negative; nothing for an item without a vector. Gives
    positions among the m, best first, their parts (with the penalties behind them, where there is a strength), and
    their scores. A candidate's value only falls as others are chosen, so scores never rise along a slate.
    """
    most = len(items.items) if groups else max(50, 3 * limit) if strength else limit
    ends, codes, most_of = NO_GROUPS
    if groups:
        ends, codes, most_of = groups.ends, groups.codes, _most(groups, quota)
    starts, chosen, told, total = kernels.choose(
        items.starts,
        items.items,
        parts,
        most,
        limit,
        strength,
        near.codes,
        near.scale,
        ends,
        codes,
        most_of,
        duplicates.group if duplicates else NO_DUPLICATES,
    )
    return Lists(starts, chosen), told, total


def _most(groups: Groups, quota: Quota) -> Items:
    """(groups,) how many items of each a slate may hold."""
    free = np.iinfo(np.int32).max
    most = np.full(groups.total, free if quota.category is None else quota.category, np.int32)
    most[: groups.brands] = free if quota.brand is None else quota.brand
    return most
