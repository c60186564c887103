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
from scipy.sparse import coo_array, csr_array, diags_array

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


WELL_KNOWN = 20_000
"""Items at the most that say what tells best where they lead to."""

ALL_COUNT = 30
"""Items of which the whole catalogue counts as many in each category."""

TINY = np.finfo(np.float64).tiny

LEAST_SHARE = 1e-6
"""A kind of content without a share lends where there is no other."""


@dataclass(frozen=True)
class ContentPrior:
    """What one kind of content (text or image) says of the items, as the models of taste use it."""

    rows: Floats | None
    """(n, d) raw unit vectors, zero where an item has no such content; None keeps them out of the linear model."""
    neighbours: NDArray[np.int32]
    """(n, k) the nearest items by content, best first, the item itself left out; `ABSENT` where there are fewer."""
    similarity: Floats
    """(n, k) their similarity; -inf where absent."""


def fit_shares(
    W: Sparse,
    support: Floats,
    priors: Sequence[ContentPrior],
    categories: Sparse | None,
    settings: PreferenceSettings,
) -> Floats:
    """(n, kinds) how much each item borrows by each kind of content, adding up to 1.

    W: (n, n) without anything lent. categories: (n, categories), of `categories_of`; None: there are none.
    Least squares, none below 0: a well-known item's own row from the rows that its neighbours of each kind would lend
    it. All items of a category count together, and the less there are, the more all of the catalogue.
    """
    n, kinds = len(support), len(priors)
    even = np.full((n, kinds), 1 / max(kinds, 1), dtype=np.float32)
    known = np.flatnonzero((support >= settings.lend_until) & (np.diff(W.indptr) > 0))
    if kinds < 2 or not len(known):
        return even
    some = known[:: -(-len(known) // WELL_KNOWN)]
    own = W[some]
    lent = [
        _lenders(some, support, [prior], np.ones((n, 1), np.float32), settings) @ W
        for prior in priors
    ]
    size = np.asarray(own.multiply(own).sum(axis=1), dtype=np.float64)
    both = np.empty((len(some), kinds, kinds + 1))
    for i, one in enumerate(lent):
        for j, other in enumerate([*lent, own]):
            both[:, i, j] = one.multiply(other).sum(axis=1) / size
    sums = np.zeros((n, kinds, kinds + 1))
    if categories is not None:
        told = categories[some].T @ both.reshape(len(some), -1)
        sums += np.asarray(categories @ told).reshape(sums.shape)
    sums += ALL_COUNT * both.mean(axis=0)
    gram, wanted = sums[:, :, :kinds], sums[:, :, kinds:]
    ridge = 1e-6 * np.trace(gram, axis1=1, axis2=2)[:, None, None] + TINY
    shares = np.linalg.solve(gram + ridge * np.eye(kinds), wanted)[:, :, 0].clip(min=0)
    total = shares.sum(axis=1, keepdims=True)
    return np.where(total > 0, shares / np.maximum(total, 1e-12), even).astype(np.float32)


def lend(
    W: Sparse,
    support: Floats,
    priors: Sequence[ContentPrior],
    shares: Floats,
    settings: PreferenceSettings,
    growth: float,
) -> Sparse:
    """(n, n) W with borrowed rows and columns mixed in; rows first, pruned before their columns spread.

    support: (n,) people who like each item. shares: of `fit_shares`. growth: power of popularity that is in a
    column of W.
    """
    T = _lenders(np.arange(len(support)), support, priors, shares, settings)
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
    shares: Floats,
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
    T = _lenders(items, support, priors, shares, settings)
    some = np.arange(0, len(support), max(1, len(support) // SAMPLED))
    lender = _lending(_lenders(some, support, priors, shares, settings), support)
    level = min(1.0, n0 / (lender + n0)) ** growth
    W = without(W, items)
    W = with_rows(W, items, loudest_first(strongest_product(T, W, k)))
    come = (W @ (level * T).T.tocsr()).tocoo()
    gains = (come.row != items[come.col]) & (np.abs(come.data) > weakest(W, k)[come.row])
    who, place = np.unique(come.row[gains], return_inverse=True)
    entries = (come.data[gains], (place, items[come.col[gains]]))
    heard = strongest(W[who] + coo_array(entries, (len(who), W.shape[1])), k)
    return with_rows(W, who, loudest_first(heard))


def with_new_shares(
    shares: Floats,
    support: Floats,
    priors: Sequence[ContentPrior],
    settings: PreferenceSettings,
) -> Floats:
    """(n, kinds) with those of the items behind the known ones: what their neighbours have on average.

    shares: (known, kinds). support: (n,). The average of all where an item has no neighbour that somebody likes.
    """
    known, kinds = shares.shape
    new = np.arange(known, len(support))
    whole = np.append(shares, np.zeros((len(new), kinds), np.float32), axis=0)
    if kinds and len(new):
        T = _lenders(new, support, priors, np.ones_like(whole), settings)
        lent: Floats = np.asarray(T @ whole)
        found = lent.sum(axis=1, keepdims=True) > 0
        whole[new] = np.where(found, lent, shares.mean(axis=0) if known else 1 / kinds)
    return whole


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
    shares: Floats,
    settings: PreferenceSettings,
) -> Sparse:
    """(items, n) each row adds up to 1, or is empty where nothing similar has behaviour. shares: (n, priors)"""
    shape = (len(items), len(support))
    columns, weights = [], []
    for prior, share in zip(priors, shares[items].T, strict=True):
        near, weight = _nearest(prior, items, support, settings)
        weight *= np.maximum(share, LEAST_SHARE)[:, None] / np.maximum(
            weight.sum(axis=1, keepdims=True), TINY
        )
        columns.append(near)
        weights.append(weight)
    near, weight = np.concatenate(columns, axis=1), np.concatenate(weights, axis=1)
    weight /= np.maximum(weight.sum(axis=1, keepdims=True), TINY)
    row = np.repeat(np.arange(len(items)), near.shape[1])
    T = csr_array(coo_array((weight.ravel(), (row, near.ravel())), shape))
    return strongest(assemble(T.data, T.indices, T.indptr, shape), near.shape[1])


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
