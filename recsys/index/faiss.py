"""FAISS where brute force is too slow: a graph (HNSW) or inverted lists (IVF), chosen by size.

FAISS finds the finalists, then they are compared with the query exactly: the scores are those that
`ExactIndex` gives. Search parameters go with each call; the index itself is never touched.
"""

from pathlib import Path
from typing import Any, Literal

import faiss
import numpy as np

from recsys.config import IndexSettings
from recsys.errors import SnapshotCorrupt
from recsys.identity import ABSENT, Floats, Ordinals
from recsys.index.exact import (
    ExactIndex,
    Neighbours,
    VectorIndex,
    checked,
    exact_search,
    nothing_found,
)

Kind = Literal["exact", "hnsw", "ivf"]

Handle = Any
"""An object of FAISS, whose type stubs know only part of what it offers."""
library: Any = faiss
"""FAISS without those stubs."""

LINKS = 32
"""HNSW: links per node. More finds more, and takes more memory."""
WANTED_RECALL = 0.97
"""Effort is doubled at build time until the measured recall@10 reaches this, or all lists are looked at."""
MOST_EFFORT = 2_048
"""HNSW: candidates kept while searching, at the most."""
NARROW_SHARE = 0.1
NARROW_ROWS = 20_000
"""A filter that leaves at most this share and this many rows is searched exactly: FAISS would walk past
most of what it may not return."""


class FaissIndex:
    """An approximate index over rows that it also holds, to judge finalists and narrow filters exactly."""

    def __init__(self, index: Handle, rows: Floats) -> None:
        self._index, self._rows = index, rows

    def __len__(self) -> int:
        return len(self._rows)

    def search(self, queries: Floats, k: int, allowed: Ordinals | None = None) -> Neighbours:
        """See `VectorIndex.search`."""
        queries = checked(queries, self._rows.shape[1])
        if allowed is not None and len(allowed) <= self._narrow():
            return exact_search(self._rows, queries, k, allowed)
        wanted = min(2 * k, len(self))
        if not wanted or not len(queries):
            return nothing_found(len(queries), k)
        _, ordinals = self._index.search(queries, wanted, params=self._parameters(wanted, allowed))
        if allowed is not None and (ordinals[:, : min(k, len(allowed))] == ABSENT).any():
            return exact_search(self._rows, queries, k, allowed)
        return self._judge(queries, ordinals, k)

    def write(self, path: Path) -> None:
        """Save the FAISS part; the rows are saved by whoever owns them."""
        faiss.write_index(self._index, str(path))

    def _narrow(self) -> float:
        return min(NARROW_ROWS, NARROW_SHARE * len(self))

    def _parameters(self, wanted: int, allowed: Ordinals | None) -> Handle:
        """Looks the further, the smaller the share that may be returned."""
        selector, share = None, 1.0
        if allowed is not None:
            mask = np.zeros(len(self), dtype=bool)
            mask[allowed] = True
            selector = library.IDSelectorBitmap(np.packbits(mask, bitorder="little"))
            share = len(allowed) / len(self)
        if isinstance(self._index, faiss.IndexIVF):
            lists = min(self._index.nlist, int(self._index.nprobe / share))
            return library.SearchParametersIVF(nprobe=lists, sel=selector)
        breadth = int(max(self._index.hnsw.efSearch, wanted) / share)
        return library.SearchParametersHNSW(efSearch=breadth, sel=selector)

    def _judge(self, queries: Floats, ordinals: Ordinals, k: int) -> Neighbours:
        """The k best finalists by their exact score. FAISS fills short rows with -1, as we do."""
        found = nothing_found(len(queries), k)
        for n, (query, row) in enumerate(zip(queries, ordinals, strict=True)):
            finalists = row[row != ABSENT]
            scores = self._rows[finalists] @ query
            best = np.lexsort((finalists, -scores))[:k]
            found.ordinals[n, : len(best)] = finalists[best]
            found.scores[n, : len(best)] = scores[best]
        return found


def choose_kind(count: int, settings: IndexSettings) -> Kind:
    """Exact while that is fast enough, a graph while it fits in memory, inverted lists above."""
    if count <= settings.exact_below:
        return "exact"
    return "hnsw" if count <= settings.hnsw_below else "ivf"


def build_index(rows: Floats, settings: IndexSettings) -> VectorIndex:
    """The index of these (n, dim) unit rows, of the kind that their number asks for."""
    kind = choose_kind(len(rows), settings)
    if kind == "exact":
        return ExactIndex(rows)
    index = _graph(rows) if kind == "hnsw" else _lists(rows)
    built = FaissIndex(index, rows)
    while measure_recall(built, rows) < WANTED_RECALL and _double_effort(index):
        pass
    return built


def load_index(kind: Kind, path: Path, rows: Floats) -> VectorIndex:
    """The index that `FaissIndex.write` saved over the same rows (exact: nothing was saved).

    Raises SnapshotCorrupt naming the file.
    """
    if kind == "exact":
        return ExactIndex(rows)
    try:
        index = library.read_index(str(path))
    except (RuntimeError, MemoryError) as error:
        reason = str(error).splitlines()[0]
        raise SnapshotCorrupt(f"{path} is not a readable FAISS index: {reason}") from None
    if (index.ntotal, index.d) != rows.shape:
        found = f"{index.ntotal} vectors of {index.d} numbers"
        raise SnapshotCorrupt(f"{path} holds {found}, its rows are {rows.shape}: rebuild")
    return FaissIndex(index, rows)


def measure_recall(
    index: VectorIndex, rows: Floats, k: int = 10, sample: int = 200, seed: int = 0
) -> float:
    """Share of the k nearest rows that `index` finds, over a sample of the rows as queries.

    A row as near as the k-th nearest counts as found: among duplicates, any will do.
    """
    k = min(k, len(rows))
    if not k:
        return 1.0
    chosen = np.random.default_rng(seed).choice(len(rows), min(sample, len(rows)), replace=False)
    queries = rows[np.sort(chosen)]
    last = exact_search(rows, queries, k).scores[:, -1:]
    return float((index.search(queries, k).scores >= last - 1e-5).mean())


def _graph(rows: Floats) -> Handle:
    index = library.IndexHNSWFlat(rows.shape[1], LINKS, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = 100
    index.hnsw.efSearch = 64
    index.add(np.ascontiguousarray(rows))
    return index


def _lists(rows: Floats) -> Handle:
    count, dim = rows.shape
    lists = max(1, int(2 * np.sqrt(count)))
    index = library.index_factory(dim, f"IVF{lists},SQ8", faiss.METRIC_INNER_PRODUCT)
    index.cp.min_points_per_centroid = 1  # it would otherwise print advice on small data
    index.nprobe = 16
    index.train(np.ascontiguousarray(rows))
    index.add(np.ascontiguousarray(rows))
    return index


def _double_effort(index: Handle) -> bool:
    """False where looking further would be no better than looking at everything."""
    if isinstance(index, faiss.IndexIVF):
        index.nprobe *= 2
        return bool(index.nprobe < index.nlist)
    index.hnsw.efSearch *= 2
    return bool(index.hnsw.efSearch < MOST_EFFORT)
