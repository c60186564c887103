"""Who is near: the protocol of every index, and the brute-force index that specifies it.

    queries (q, dim), k -> Neighbours (q, k), best first

Scores are inner products; over unit rows that is the cosine.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from recsys.identity import ABSENT, Floats, Ordinals

BLOCK = 1 << 24
"""Scores held at once (64 MiB in float32)."""


@dataclass(frozen=True)
class Neighbours:
    """Best first; places that nothing fills hold `ABSENT` and -inf."""

    ordinals: NDArray[np.int64]
    """(q, k)"""
    scores: Floats
    """(q, k)"""


class VectorIndex(Protocol):
    """Finds the rows nearest to a query. Thread-safe and never changed: a new one is built and swapped."""

    def __len__(self) -> int:
        """Rows in the index."""

    def search(self, queries: Floats, k: int, allowed: Ordinals | None = None) -> Neighbours:
        """The k rows nearest to each query, among the distinct `allowed` ones if given.

        Raises ValueError for queries that are not (q, dim) or not finite: they would be near nothing.
        """


class ExactIndex:
    """Compares each query with every row: the answer that other kinds are measured against."""

    def __init__(self, rows: Floats) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def search(self, queries: Floats, k: int, allowed: Ordinals | None = None) -> Neighbours:
        """See `VectorIndex.search`. Equal scores come in the order of their ordinals."""
        queries = checked(queries, self._rows.shape[1])
        return exact_search(self._rows, queries, k, allowed)


def exact_search(
    rows: Floats, queries: Floats, k: int, allowed: Ordinals | None = None
) -> Neighbours:
    """Block by block, so that memory stays bounded however many queries there are."""
    pool = rows if allowed is None else rows[allowed]
    found = nothing_found(len(queries), k)
    for block in blocks(len(queries), BLOCK // max(1, len(pool))):
        ordinals, scores = _best(queries[block] @ pool.T, k)
        width = ordinals.shape[1]
        found.ordinals[block, :width] = ordinals if allowed is None else allowed[ordinals]
        found.scores[block, :width] = scores
    return found


@dataclass(frozen=True)
class Exam:
    """A sample of rows as queries, and how near their nearest others really are. A row itself is no finding."""

    rows: Floats
    """(n, dim)"""
    asked: Ordinals
    """(s,) the rows asked about, ascending."""
    truth: Floats
    """(s, k) cosines of the nearest others, best first."""

    @classmethod
    def of(cls, rows: Floats, k: int, sample: int = 500, seed: int = 0) -> "Exam":
        """k: others compared; all, where there are fewer."""
        size = min(sample, len(rows))
        asked = np.sort(np.random.default_rng(seed).choice(len(rows), size, replace=False))
        near = exact_search(rows, rows[asked], min(k + 1, len(rows)))
        return cls(rows, asked, near.scores[:, 1:])

    def recall(self, index: VectorIndex, k: int = 10) -> float:
        """Share of the k nearest others that `index` finds."""
        k = min(k, self.truth.shape[1])
        return self.share(index.search(self.rows[self.asked], k + 1).scores[:, 1:])

    def share(self, scores: Floats) -> float:
        """Share of (s, k) cosines that are of the k nearest. As near as the k-th will do: there are duplicates."""
        if not scores.size:
            return 1.0
        last = self.truth[:, scores.shape[1] - 1]
        return float((scores >= last[:, None] - 1e-5).mean())


def checked(queries: Floats, dim: int) -> Floats:
    """The queries as contiguous float32. Raises ValueError unless they are (q, dim) and finite."""
    queries = np.ascontiguousarray(queries, dtype=np.float32)
    if queries.ndim != 2 or queries.shape[1] != dim:
        raise ValueError(f"queries must be (q, {dim}), got {queries.shape}")
    if not np.isfinite(queries).all():
        raise ValueError("queries must be finite: NaN or infinity is near nothing")
    return queries


def nothing_found(queries: int, k: int) -> Neighbours:
    """(queries, k) places that nothing fills yet."""
    return Neighbours(
        np.full((queries, k), ABSENT, dtype=np.int64),
        np.full((queries, k), -np.inf, dtype=np.float32),
    )


def _best(scores: Floats, k: int) -> tuple[NDArray[np.int64], Floats]:
    """Columns of the k highest scores of each row, best first, ties by column."""
    width = min(k, scores.shape[1])
    if width < scores.shape[1]:
        columns = np.argpartition(-scores, width, axis=1)[:, :width]
    else:
        columns = np.broadcast_to(np.arange(width), scores.shape)
    values = np.take_along_axis(scores, columns, axis=1)
    order = np.lexsort((columns, -values), axis=1)
    return np.take_along_axis(columns, order, axis=1), np.take_along_axis(values, order, axis=1)


def blocks(count: int, size: int) -> Iterator[slice]:
    """Slices that cover `count` things, `size` at a time, or one at a time where that is 0."""
    size = max(1, size)
    return (slice(start, start + size) for start in range(0, count, size))
