"""What everybody likes, and what they have lately begun to like.

    popular_i  = sum over people of s (1 + age / popular_days)^-2
    trending_i = (r_i - e_i) / sqrt(r_i + e_i + 10),  e_i = b_i R / B

s: a person's liking of the item, age: of the newest event behind it. The window is smooth and never ends, so
items that were last liked long ago still have their order. r, b: the likes of an item in the newest
`trending_days` and in as many days before (R, B: of all items); e is what r would be had the item only moved
with everything else. The 10 keeps the rare from winning by luck: 1 -> 3 is a weak sign, 100 -> 200 a strong one.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recsys.catalogue.event_log import EventLog
from recsys.config import Settings
from recsys.identity import Floats
from recsys.preference.interactions import DAY, Pairs, pairs

_DOUBT = 10.0
"""Likes that an item must gain before its trend counts."""


@dataclass(frozen=True)
class Popularity:
    """Two scores per item; NaN where no like is known."""

    popular: Floats
    """(n,) above 0."""
    trending: Floats
    """(n,) above 0: gaining, below 0: losing; NaN also without likes in both windows."""
    as_of: int
    """Microseconds: the moment at which both are so. Of a log, that of its newest event; 0 without events."""

    def grown(self, count: int) -> "Popularity":
        """The same of `count` items, those behind the known ones liked by nobody."""
        nobody = np.full(count - len(self.popular), np.nan, dtype=np.float32)
        popular, trending = np.append(self.popular, nobody), np.append(self.trending, nobody)
        return Popularity(popular, trending, self.as_of)


def fit_popularity(log: EventLog, n_items: int, settings: Settings) -> Popularity:
    """Likes, counted back from the newest event of the log."""
    newest = int(log.time[-1]) if len(log) else 0
    window = int(settings.preference.trending_days * DAY)
    found = pairs(log, n_items, settings.events)
    age = (newest - log.time[found.newest]) / DAY
    popular = _likes(found, n_items, (1 + age / settings.preference.popular_days) ** -2)
    last, earlier = (
        _likes(pairs(part, n_items, settings.events), n_items)
        for part in (
            log.between(newest - window + 1, newest + 1),
            log.between(newest - 2 * window + 1, newest - window + 1),
        )
    )
    return Popularity(
        np.where(popular > 0, popular, np.nan).astype(np.float32), trend(last, earlier), newest
    )


def trend(last: NDArray[np.float64], earlier: NDArray[np.float64]) -> Floats:
    """(n,) how surely each item gains on the others, from its likes in two windows of equal length."""
    growth = last.sum() / earlier.sum() if earlier.any() else 0.0
    expected = earlier * growth
    gain = (last - expected) / np.sqrt(last + expected + _DOUBT)
    return np.where(last + earlier > 0, gain, np.nan).astype(np.float32)


def _likes(
    found: Pairs, n_items: int, share: NDArray[np.float64] | float = 1.0
) -> NDArray[np.float64]:
    liking = np.maximum(found.strength, 0) * share
    return np.bincount(found.item, weights=liking, minlength=n_items).astype(np.float64)
