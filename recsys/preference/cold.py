"""Behaviour lent to items that have little of their own, by the items whose content is nearest.

    W' = L W R',  L = diag(own) + diag(1 - own) T,  R = diag(own) + diag((1 - own) level) T

    own = support / (support + n0),  level = min(1, (support + n0) / (m + n0))^g

T has one row per item: its content neighbours, weighted by similarity^4 and by how much behaviour they have
to lend, adding up to 1. So a person who liked a new item is served what its neighbours lead to (L), and a new
item is recommended where its neighbours are (R); both fade out as the item gathers support. Lenders are
well known, m people like the average one, and a column of W grows with popularity^g: `level` takes that
part back, since nobody has shown yet that the new item will be liked as often.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, diags_array

from recsys.config import PreferenceSettings
from recsys.identity import Floats, Ordinals
from recsys.preference.pruning import loudest_first, strongest, strongest_product
from recsys.preference.sparse import (
    Sparse,
    assemble,
    scaled,
    weakest,
    with_rows,
    without,
)

_SHARPNESS = 4
"""Power of the similarity: a near twin lends far more than a relative."""

SAMPLED = 2_000
"""Items of which the average lender is worked out, where a few are to be lent to."""


@dataclass(frozen=True)
class ContentPrior:
    """What one kind of content (text or image) says of the items, as the models of taste use it."""

    rows: Floats | None
    """(n, d) raw unit vectors, zero where an item has no such content; None keeps them out of the linear model."""
    neighbours: NDArray[np.int32]
    """(n, k) the nearest items by content, best first, the item itself left out; `ABSENT` where there are fewer."""
    similarity: Floats
    """(n, k) their similarity; -inf where absent."""


def lend(
    W: Sparse,
    support: Floats,
    priors: Sequence[ContentPrior],
    settings: PreferenceSettings,
    growth: float,
) -> Sparse:
    """(n, n) W with borrowed rows and columns mixed in; rows first, pruned before their columns spread.

    support: (n,) people who like each item. growth: power of popularity that is in a column of W.
    An item borrows by the first prior in which it has a lender.
    """
    T = _lenders(np.arange(len(support)), support, priors, settings)
    n0, k = settings.lend_until, settings.cooccurrence_neighbours
    own = np.where(np.diff(T.indptr) > 0, support / (support + n0), 1.0)
    level = np.minimum(1, (support + n0) / (_lending(T, support) + n0)) ** growth
    come_from = _mixed(own, T, 1 - own)
    go_to = _mixed(own, T, (1 - own) * level)
    return strongest_product(come_from, W, k, then=go_to.T.tocsr(), hollow=True)


def lend_to(
    W: Sparse,
    items: Ordinals,
    support: Floats,
    priors: Sequence[ContentPrior],
    settings: PreferenceSettings,
    growth: float,
    k: int,
) -> Sparse:
    """W with rows and columns for items (ascending) that nobody has liked: all they have is lent.

    W: as `lend` made it, each row by size, and so it stays.
    Their lenders lend what W holds of them, and not their own behaviour alone: the same for the well known.
    k: entries kept per row.
    """
    n0 = settings.lend_until
    T = _lenders(items, support, priors, settings)
    some = np.arange(0, len(support), max(1, len(support) // SAMPLED))
    lender = _lending(_lenders(some, support, priors, settings), support)
    level = min(1.0, n0 / (lender + n0)) ** growth
    W = without(W, items)
    W = with_rows(W, items, loudest_first(strongest_product(T, W, k)))
    come = (W @ (level * T).T.tocsr()).tocoo()
    gains = (come.row != items[come.col]) & (np.abs(come.data) > weakest(W, k)[come.row])
    who, place = np.unique(come.row[gains], return_inverse=True)
    entries = (come.data[gains], (place, items[come.col[gains]]))
    heard = strongest(W[who] + coo_array(entries, (len(who), W.shape[1])), k)
    return with_rows(W, who, loudest_first(heard))


def _lending(T: Sparse, support: Floats) -> float:
    """How many people like the average lender."""
    return float(T.data @ support[T.indices] / max(T.data.sum(), 1))


def _mixed(own: NDArray[np.float64], T: Sparse, borrowed: NDArray[np.float64]) -> Sparse:
    """diag(own) + diag(borrowed) T."""
    return (
        diags_array(own.astype(np.float32), format="csr") + scaled(T, borrowed, np.ones_like(own))
    ).tocsr()


def _lenders(
    items: Ordinals,
    support: Floats,
    priors: Sequence[ContentPrior],
    settings: PreferenceSettings,
) -> Sparse:
    """(items, n) each row adds up to 1, or is empty where nothing similar has behaviour."""
    shape = (len(items), len(support))
    columns = np.zeros((len(items), settings.lend_neighbours), dtype=np.int64)
    weights = np.zeros((len(items), settings.lend_neighbours))
    for prior in priors:
        lacking = np.flatnonzero(~weights.any(axis=1))
        best, weight = _nearest(prior, items[lacking], support, settings)
        columns[lacking, : best.shape[1]] = best
        weights[lacking, : best.shape[1]] = weight
    weights /= np.maximum(weights.sum(axis=1, keepdims=True), np.finfo(np.float64).tiny)
    ends = np.arange(len(items) + 1) * settings.lend_neighbours
    return strongest(assemble(weights.ravel(), columns.ravel(), ends, shape), len(support))


def _nearest(
    prior: ContentPrior, items: Ordinals, support: Floats, settings: PreferenceSettings
) -> tuple[Ordinals, NDArray[np.float64]]:
    """The best lenders of some items and their weights, (items, at most lend_neighbours)."""
    near = np.maximum(prior.neighbours[items].astype(np.int64), 0)
    similarity = np.clip(prior.similarity[items].astype(np.float64), 0, 1)  # 0 where absent
    trust = support / (support + settings.lend_until)
    weight = similarity**_SHARPNESS * trust[near]
    best = np.argsort(-weight, axis=1, kind="stable")[:, : settings.lend_neighbours]
    return np.take_along_axis(near, best, 1), np.take_along_axis(weight, best, 1)
