"""How good slates are: accuracy against what was liked, and what accuracy does not see.

Slates are (q, k) item ordinals, best first, padded with `ABSENT`; targets are one array of distinct
ordinals per query. Every metric is a (q,) vector, one value per query, so that it can be averaged over any
group of queries and resampled; NaN where a query has no value. Only coverage belongs to all queries at once.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from recsys.evaluation.result import Estimate
from recsys.identity import ABSENT, NOTHING, Floats, Mask, Ordinals
from recsys.ranking.blend import discount

K = TypeVar("K", bound=Hashable)

Vector = NDArray[np.float64]
"""(q,) one value per query."""

DEPTHS = (10, 20)
"""Accuracy is measured over so many places."""

SHOWN = 10
"""Everything else is measured over so many places."""

HEAD = 0.1
"""The share of the catalogue that counts as popular."""


def padded(slates: Iterable[Ordinals], k: int) -> Ordinals:
    """(q, k) slates of at most k items, padded with `ABSENT`."""
    rows = [np.pad(s, (0, k - len(s)), constant_values=ABSENT) for s in slates]
    return np.array(rows, dtype=np.int64).reshape(-1, k)


def accuracy(slates: Ordinals, targets: Sequence[Ordinals]) -> dict[str, Vector]:
    """NDCG, recall, hit rate and MRR at each depth."""
    hit = hits(slates, targets)
    wanted = np.array([len(items) for items in targets], dtype=np.int64)
    found: dict[str, Vector] = {}
    for k in DEPTHS:
        found[f"ndcg@{k}"] = ndcg(hit, wanted, k)
        found[f"recall@{k}"] = recall(hit, wanted, k)
        found[f"hit@{k}"] = hit_rate(hit, k)
        found[f"mrr@{k}"] = mrr(hit, k)
    return found


def hits(slates: Ordinals, targets: Sequence[Ordinals]) -> Mask:
    """(q, k) True where a target stands."""
    row = np.repeat(np.arange(len(targets)), [len(items) for items in targets])
    wanted = np.concatenate([NOTHING, *targets])
    wide = max(slates.max(initial=0), wanted.max(initial=0)) + 1
    places = np.arange(len(slates))[:, None] * wide + slates
    return np.isin(places, row * wide + wanted) & (slates >= 0)


def ndcg(hit: Mask, wanted: Ordinals, k: int) -> Vector:
    """A target gains 1; the ideal slate holds min(targets, k) of them in the first places."""
    ideal = np.cumsum(discount(k))[np.minimum(wanted, k) - 1]
    gained = hit[:, :k] @ discount(k)[: hit.shape[1]]
    return np.asarray(gained / ideal, dtype=np.float64)


def recall(hit: Mask, wanted: Ordinals, k: int) -> Vector:
    """Targets found, as a share of all targets."""
    return np.asarray(np.count_nonzero(hit[:, :k], axis=1) / wanted)


def hit_rate(hit: Mask, k: int) -> Vector:
    """1 if any target was found."""
    return np.asarray(np.any(hit[:, :k], axis=1), dtype=np.float64)


def mrr(hit: Mask, k: int) -> Vector:
    """1 / rank of the first target; 0 if none was found."""
    first = hit[:, :k].argmax(axis=1)
    return np.asarray(hit[:, :k].any(axis=1) / (1.0 + first), dtype=np.float64)


@dataclass(frozen=True, eq=False)
class Shelf:
    """What is known of the items when the slates are shown."""

    available: Mask
    """(n,) may be shown."""
    support: Floats
    """(n,) people who liked each, in training."""
    rows: Floats | None
    """(n, d) unit content vectors, zero where an item has none; None: there is no content."""

    def beyond_accuracy(self, slates: Ordinals) -> dict[str, Vector]:
        """Novelty, popularity share and, with content, diversity of the first places."""
        shown = slates[:, :SHOWN]
        found = {
            f"novelty@{SHOWN}": _mean_over(shown, self.information),
            f"popularity@{SHOWN}": _mean_over(shown, self.head),
        }
        if self.rows is not None:
            found[f"diversity@{SHOWN}"] = diversity(shown, self.rows)
        return found

    def coverage(self, slates: Ordinals) -> float:
        """Share of the available items that at least one slate shows in its first places."""
        shown = np.unique(slates[:, :SHOWN])
        return len(shown[shown >= 0]) / max(1, int(self.available.sum()))

    @property
    def information(self) -> Vector:
        """(n,) -log2 of the chance that a like is for this item, each item counted once more than it was."""
        likes = self.support.astype(np.float64) + 1
        return np.asarray(-np.log2(likes / likes.sum()))

    @property
    def head(self) -> Vector:
        """(n,) 1 for the most liked tenth of the catalogue; the lower ordinal among equals."""
        head = np.zeros(len(self.support))
        most = np.argsort(-self.support, kind="stable")[: int(np.ceil(HEAD * len(head)))]
        head[most] = self.support[most] > 0
        return head


def _mean_over(slates: Ordinals, values: Vector) -> Vector:
    """The mean value of what a slate holds; NaN for an empty slate."""
    there = slates >= 0
    total = np.where(there, values[slates], 0).sum(axis=1)
    return _ratio(total, there.sum(axis=1))


def diversity(slates: Ordinals, rows: Floats) -> Vector:
    """1 - the mean cosine of all pairs of a slate's items with content; NaN with fewer than two of them.

    The squared length of a sum of unit vectors is their number plus twice the sum of all pairs' cosines.
    """
    found = np.empty(len(slates))
    for start in range(0, len(slates), 1_000):
        block = slates[start : start + 1_000]
        vectors = np.where(block[..., None] >= 0, rows[block], 0).astype(np.float64)
        n = vectors.any(axis=2).sum(axis=1)
        pairs = (np.square(vectors.sum(axis=1)).sum(axis=1) - n) / 2
        found[start : start + 1_000] = 1 - _ratio(pairs, n * (n - 1) / 2)
    return found


def _ratio(above: Vector, below: NDArray[np.int64] | Vector) -> Vector:
    """above / below; NaN where nothing is below."""
    known = below > 0
    return np.where(known, above / np.where(known, below, 1), np.nan)


def estimates(vectors: Mapping[K, Vector], resamples: int, seed: int) -> dict[K, Estimate]:
    """The mean of each vector, with the 2.5 and 97.5 percentiles of the means of resampled queries.

    All vectors are resampled alike, so a vector of differences gives the paired interval. NaN entries do
    not count; a vector without any value is left out.
    """
    known = {name: v for name, v in vectors.items() if np.isfinite(v).any()}
    if not known:
        return {}
    table = np.stack(list(known.values()), axis=1)
    low, high = np.nanpercentile(_resampled_means(table, resamples, seed), [2.5, 97.5], axis=0)
    means = np.nanmean(table, axis=0)
    return {
        name: Estimate(float(means[n]), float(low[n]), float(high[n]))
        for n, name in enumerate(known)
    }


def _resampled_means(table: Vector, resamples: int, seed: int) -> Vector:
    """(resamples, columns) means over as many rows, drawn with replacement."""
    rng = np.random.default_rng(seed)
    n = len(table)
    there = np.isfinite(table)
    values, weight = np.where(there, table, 0), there.astype(np.float64)
    means = np.empty((resamples, table.shape[1]))
    for row in range(resamples):
        times = np.bincount(rng.integers(0, n, n), minlength=n).astype(np.float64)
        means[row] = _ratio(times @ values, times @ weight)
    return means
