"""A made-up shop: items with vectors, people whose tastes drift, and what they did. Pure numpy, from a seed.

    draw(items, users, events, dim, seed) -> Drawn: columns from which rows of a database are made
    vectors(items, dim, seed)             -> the vectors alone

Items lie in clusters of very different size, and within each the popularity falls by a power law. A person
likes a few clusters, moves from one to the next as time goes by, and now and then takes anything.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CATEGORIES = 20

SHARES = {"half": 0.5, "twentieth": 0.05, "two_hundredth": 0.005, "thousandth": 0.001}
"""Attribute -> share of the items that have it."""

TASTES = 3
"""Clusters that a person likes, one after the other."""

FAITHFUL = 0.8
"""Share of what a person does that is in the cluster liked at that time."""

SPREAD = 0.8
"""Length of what tells an item from its cluster's centre, whose length is 1."""

DAYS = 90

TYPES = ("view", "click", "purchase")
TYPE_SHARES = (0.7, 0.2, 0.1)


@dataclass(frozen=True, eq=False)
class Drawn:
    """n items and m events, in the order of time."""

    vectors: NDArray[np.float32]
    """(n, dim) unit rows."""
    category: NDArray[np.int64]
    """(n,) below `CATEGORIES`."""
    brand: NDArray[np.int64]
    """(n,)"""
    price: NDArray[np.float64]
    """(n,)"""
    age_days: NDArray[np.float64]
    """(n,) since it was published."""
    flags: dict[str, NDArray[np.bool_]]
    """Attribute of `SHARES` -> (n,)"""
    user: NDArray[np.int64]
    """(m,)"""
    item: NDArray[np.int64]
    """(m,)"""
    kind: NDArray[np.int64]
    """(m,) into `TYPES`."""
    ago_us: NDArray[np.int64]
    """(m,) microseconds before now, falling."""


def draw(items: int, users: int, events: int, dim: int, seed: int) -> Drawn:
    """The same shop for the same numbers."""
    rng = np.random.default_rng(seed)
    cluster, clusters = _clusters(rng, items)
    popularity = rng.permutation(_power_law(items, 0.8))
    user = np.sort(rng.choice(users, events, p=_power_law(users, 0.4)))
    item = _taken(rng, user, cluster, popularity, clusters)
    ago = _moments(rng, user)
    by_time = np.argsort(-ago, kind="stable")
    return Drawn(
        vectors=_vectors(rng, cluster, clusters, dim),
        category=cluster % CATEGORIES,
        brand=rng.integers(max(1, items // 200), size=items),
        price=np.round(rng.lognormal(3, 1, items), 2),
        age_days=rng.exponential(200, items),
        flags={name: rng.random(items) < share for name, share in SHARES.items()},
        user=user[by_time],
        item=item[by_time],
        kind=rng.choice(len(TYPES), events, p=TYPE_SHARES),
        ago_us=ago[by_time],
    )


def vectors(items: int, dim: int, seed: int) -> NDArray[np.float32]:
    """(items, dim) unit rows of such a shop, those of a cluster beside one another."""
    rng = np.random.default_rng(seed)
    return _vectors(rng, *_clusters(rng, items), dim)


def _clusters(rng: np.random.Generator, items: int) -> tuple[NDArray[np.int64], int]:
    """(items,) the cluster of each, ascending, and how many there are."""
    clusters = max(CATEGORIES, int(np.sqrt(items)))
    return np.sort(rng.choice(clusters, items, p=_power_law(clusters, 0.5))), clusters


def _power_law(n: int, exponent: float) -> NDArray[np.float64]:
    """(n,) probabilities, falling."""
    weights = np.arange(1, n + 1) ** -exponent
    return weights / weights.sum()


def _vectors(
    rng: np.random.Generator, cluster: NDArray[np.int64], clusters: int, dim: int
) -> NDArray[np.float32]:
    """(n, dim) unit rows around their clusters' centres."""
    centres = rng.normal(size=(clusters, dim)).astype(np.float32) / np.float32(np.sqrt(dim))
    rows = rng.standard_normal((len(cluster), dim), dtype=np.float32)
    rows *= np.float32(SPREAD / np.sqrt(dim))
    rows += centres[cluster]
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


def _taken(
    rng: np.random.Generator,
    user: NDArray[np.int64],
    cluster: NDArray[np.int64],
    popularity: NDArray[np.float64],
    clusters: int,
) -> NDArray[np.int64]:
    """(m,) the item of each event; a user's come in the order of time, items in that of their clusters."""
    reach = np.concatenate([[0], np.cumsum(popularity)])
    edges = reach[np.searchsorted(cluster, np.arange(clusters + 1))]
    share = np.diff(edges)
    tastes = rng.choice(clusters, (int(user.max()) + 1, TASTES), p=share / share.sum())
    first = np.searchsorted(user, user)
    count = np.searchsorted(user, user, side="right") - first
    stage = (np.arange(len(user)) - first) * TASTES // count
    liked = tastes[user, stage]
    faithful = rng.random(len(user)) < FAITHFUL
    low = np.where(faithful, edges[liked], 0)
    high = np.where(faithful, edges[liked + 1], reach[-1])
    place = low + rng.random(len(user)) * (high - low)
    return np.searchsorted(reach, place, side="right").clip(1, len(popularity)) - 1


def _moments(rng: np.random.Generator, user: NDArray[np.int64]) -> NDArray[np.int64]:
    """(m,) microseconds before now; those of a user fall."""
    ago = (rng.random(len(user)) * DAYS * 86_400e6).astype(np.int64) + 1_000_000
    return ago[np.lexsort((-ago, user))]
