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
from scipy.sparse import diags_array

from recsys.config import PreferenceSettings
from recsys.identity import Floats, Ordinals
from recsys.preference.sparse import Sparse, assemble, scaled, strongest, strongest_product

_SHARPNESS = 4
"""Power of the similarity: a near twin lends far more than a relative."""


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
    T = _lenders(support, priors, settings)
    n0, k = settings.lend_until, settings.cooccurrence_neighbours
    own = np.where(np.diff(T.indptr) > 0, support / (support + n0), 1.0)
    lender = T.data @ support[T.indices] / max(T.data.sum(), 1)
    level = np.minimum(1, (support + n0) / (lender + n0)) ** growth
    come_from = _mixed(own, T, 1 - own)
    go_to = _mixed(own, T, (1 - own) * level)
    return strongest_product(strongest_product(come_from, W, k), go_to.T.tocsr(), k, hollow=True)


def _mixed(own: NDArray[np.float64], T: Sparse, borrowed: NDArray[np.float64]) -> Sparse:
    """diag(own) + diag(borrowed) T."""
    return (
        diags_array(own.astype(np.float32), format="csr") + scaled(T, borrowed, np.ones_like(own))
    ).tocsr()


def _lenders(
    support: Floats, priors: Sequence[ContentPrior], settings: PreferenceSettings
) -> Sparse:
    """(n, n) each row adds up to 1, or is empty where nothing similar has behaviour."""
    n = len(support)
    columns = np.zeros((n, settings.lend_neighbours), dtype=np.int64)
    weights = np.zeros((n, settings.lend_neighbours))
    for prior in priors:
        lacking = np.flatnonzero(~weights.any(axis=1))
        best, weight = _nearest(prior, lacking, support, settings)
        columns[lacking, : best.shape[1]] = best
        weights[lacking, : best.shape[1]] = weight
    weights /= np.maximum(weights.sum(axis=1, keepdims=True), np.finfo(np.float64).tiny)
    ends = np.arange(n + 1) * settings.lend_neighbours
    return strongest(assemble(weights.ravel(), columns.ravel(), ends, (n, n)), n)


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
