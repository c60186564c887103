"""From many dimensions to two: at once by the directions that differ most, then by neighbours (UMAP)."""

# ruff: noqa: PLC0415  umap takes seconds to import, and compiles itself: a server never does either

import warnings
from typing import Any

import numpy as np

from recsys.identity import ABSENT, Floats
from recsys.mapping.ground import Ground
from recsys.threads import one_blas_thread

SAMPLE = 5_000
"""Rows by which the directions are found."""

FEW = 16
"""Items: below it there is no more to say of neighbours than a sketch says."""

MANY = 10_000
"""Items: above it places are found in fewer rounds, each of which moves more of them."""

ROUNDS, ROUNDS_OF_MANY = 400, 200

APART = 0.3
"""How near to one another items may lie, of a unit: less makes tighter knots."""

CORE, SHRINK = 0.9, 0.4
"""Share of the items that stay where they are, and how slowly the distance of the others grows."""

JITTER = 1e-3
"""Of the spread: what is alike does not lie quite in one place, where nobody could tell that it is two."""


def sketch(rows: Floats, seed: int = 0) -> Floats:
    """(m, 2) places of (m, d) rows along the two directions that differ most (PCA), in units of their spread."""
    rng = np.random.default_rng(seed)
    some = rows[np.sort(rng.choice(len(rows), min(SAMPLE, len(rows)), replace=False))]
    mean = some.mean(axis=0)
    away = (some - mean).astype(np.float64)
    _, directions = np.linalg.eigh(away.T @ away)
    axes = directions[:, :-3:-1]
    axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
    places = np.zeros((len(rows), 2))
    places[:, : axes.shape[1]] = rows @ axes.astype(np.float32) - mean @ axes
    spread = places.std() or 1.0
    return (places / spread + rng.normal(0, JITTER, places.shape)).astype(np.float32)


def laid_out(ground: Ground, seed: int = 0) -> Floats:
    """(m, 2) places in which neighbours stay together. The same ground and seed give the same ones."""
    first = sketch(ground.rows, seed)
    count = len(first)
    if count < FEW:
        return first
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what it could do with TensorFlow
        from umap import umap_
    a, b = umap_.find_ab_params(1.0, APART)
    with one_blas_thread(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        places, _ = umap_.simplicial_set_embedding(
            ground.rows,
            _graph(ground, seed),
            n_components=2,
            initial_alpha=1.0,
            a=a,
            b=b,
            gamma=1.0,
            negative_sample_rate=5,
            n_epochs=ROUNDS if count <= MANY else ROUNDS_OF_MANY,
            init=first,
            random_state=np.random.RandomState(seed),
            metric="euclidean",
            metric_kwds={},
            densmap=False,
            densmap_kwds={},
            output_dens=False,
            parallel=False,  # threads would race, and every layout be another one
        )
    return _drawn_in(np.asarray(places, dtype=np.float32))


def _drawn_in(places: Floats) -> Floats:
    """What lies far out, nearer, in the same direction: a few islands would make the rest small."""
    middle = np.median(places, axis=0)
    far = np.linalg.norm(places - middle, axis=1)
    usual = np.quantile(far, CORE) or 1.0
    times = np.maximum(far / usual, 1)
    nearer = (1 + SHRINK * np.log(times)) / times
    return np.asarray(middle + (places - middle) * nearer[:, None], dtype=np.float32)


def _graph(ground: Ground, seed: int) -> Any:  # noqa: ANN401  of scipy, by a library without types
    """How much each belongs to each, symmetric."""
    from umap import umap_

    own = np.arange(len(ground.rows))[:, None]
    nearest = np.hstack([own, ground.nearest]).astype(np.int32)
    apart = np.where(ground.nearest == ABSENT, np.inf, np.maximum(0, 1 - ground.nearness))
    apart = np.hstack([np.zeros_like(own), apart]).astype(np.float32)
    graph, _, _ = umap_.fuzzy_simplicial_set(
        ground.rows,
        nearest.shape[1],
        np.random.RandomState(seed),
        "cosine",
        knn_indices=nearest,
        knn_dists=apart,
    )
    return graph
