"""Which items people come back to: groceries and songs, not films.

    rate_i = (likes of i by people who had liked it before + m r) / (likes of i + m)

r: the same share over all items; m likes of doubt. What one viewer comes back to is a matter of how often and
how lately, which is asked of the history at the time.
"""

import numpy as np

from recsys.identity import Floats
from recsys.preference.transitions import Sequences

_DOUBT = 20.0
"""Likes of an item at which its own rate and the general one weigh the same."""


def fit_returns(found: Sequences) -> Floats:
    """(n,) share of an item's likes that are returns; 0 everywhere where nobody ever returned to anything."""
    likes = np.bincount(found.item, minlength=found.n_items).astype(np.float64)
    key = found.actor.astype(np.int64) * found.n_items + found.item
    _, first = np.unique(key, return_index=True)
    returns = likes - np.bincount(found.item[first], minlength=found.n_items)
    general = returns.sum() / max(likes.sum(), 1)
    return np.asarray((returns + _DOUBT * general) / (likes + _DOUBT), dtype=np.float32)
