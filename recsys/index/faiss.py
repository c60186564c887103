"""FAISS where brute force is too slow: inverted lists (IVF) of vectors in a byte per number.

FAISS finds the finalists, then they are compared with the query exactly: the scores are those that
`ExactIndex` gives. Search parameters go with each call; the index itself is never touched.
"""

from pathlib import Path
from typing import Any, Literal

import faiss
import numpy as np
from numpy.typing import NDArray

from recsys.config import IndexSettings
from recsys.errors import SnapshotCorrupt
from recsys.identity import ABSENT, NOTHING, Floats, Ordinals
from recsys.index.exact import (
    ExactIndex,
    Exam,
    Neighbours,
    VectorIndex,
    checked,
    exact_search,
    nothing_found,
)
from recsys.index.neighbours import Lists

Kind = Literal["exact", "ivf"]

Handle = Any
"""An object of FAISS, whose type stubs know only part of what it offers."""
library: Any = faiss
"""FAISS without those stubs."""

SAMPLED = 64
"""Vectors per list that its centre is learned from. More find centres that are hardly better."""
PASSES = 8
"""Of k-means over that sample."""
LEAST_EFFORT = 4
"""Lists looked at for a query, at the least."""
WANTED_RECALL = 0.99
"""Effort is doubled at build time until the measured recall@10 reaches this, or all lists are looked at: above
the .98 that is promised, since a few queries on the border between lists lose much, and a sample may miss them."""
CHOICE = 10
"""Vectors looked at for each that is wanted, at the least."""
NARROW_SHARE = 0.1
NARROW_ROWS = 20_000
"""A filter that leaves at most this share and this many rows is searched exactly: FAISS would walk past
most of what it may not return."""


class FaissIndex:
    """An approximate index over rows that it also holds, to judge finalists and narrow filters exactly."""

    def __init__(self, index: Handle, rows: Floats) -> None:
        self._index, self._rows = index, np.ascontiguousarray(rows)

    def __len__(self) -> int:
        return len(self._rows)

    def search(self, queries: Floats, k: int, allowed: Ordinals | None = None) -> Neighbours:
        """See `VectorIndex.search`."""
        queries = checked(queries, self._rows.shape[1])
        if allowed is not None and len(allowed) <= self._narrow():
            return exact_search(self._rows, queries, k, allowed)
        wanted = min(k + k // 5 + 10, len(self))
        if not k or not wanted or not len(queries):
            return nothing_found(len(queries), k)
        parameters = self._parameters(wanted, allowed)
        _, ordinals = self._index.search(queries, wanted, params=parameters)
        if allowed is not None and (ordinals[:, : min(k, len(allowed))] == ABSENT).any():
            return exact_search(self._rows, queries, k, allowed)
        return self._judge(queries, ordinals, k)

    def write(self, path: Path) -> None:
        """Save the FAISS part; the rows are saved by whoever owns them."""
        draft = path.with_name(f".{path.name}")
        faiss.write_index(self._index, str(draft))
        draft.replace(path)  # the index may lie in the file that was there

    def lists(self) -> Lists:
        """Into which list each row fell."""
        count = self._index.nlist
        members = [_contents(self._index, n)[0] for n in range(count)]
        bounds = np.cumsum([0, *map(len, members)])
        return Lists(self._index.quantizer.reconstruct_n(0, count), np.concatenate(members), bounds)

    def work_enough(self, exam: Exam) -> None:
        """Raise the effort to the wanted recall. For whoever builds it, before anyone else has it."""
        while exam.recall(self) < WANTED_RECALL and self._index.nprobe < self._index.nlist:
            self._index.nprobe *= 2

    def succeeded_by(
        self, rows: Floats, places: Ordinals, exam: Exam | None = None
    ) -> "FaissIndex":
        """An index of other rows, among which this one's are found at `places` (`ABSENT`: they are gone).

        The lists' centres stay; only what is new is sorted in. exam: of the other rows; None keeps the effort.
        """
        index = library.clone_index(self._index)
        lists = library.ArrayInvertedLists(index.nlist, index.code_size)
        lists.this.disown()
        index.replace_invlists(lists, True)  # its own may lie in a file
        index.ntotal = 0
        for n in range(index.nlist):
            ordinals, codes = _contents(self._index, n)
            kept = places[ordinals] != ABSENT
            if kept.any():
                ids, codes = places[ordinals[kept]], np.ascontiguousarray(codes[kept])
                index.invlists.add_entries(n, len(ids), faiss.swig_ptr(ids), faiss.swig_ptr(codes))
        index.ntotal = int((places != ABSENT).sum())
        stays = np.zeros(len(rows), dtype=bool)
        stays[places[places != ABSENT]] = True
        new = np.flatnonzero(~stays)
        index.add_with_ids(rows[new], new)
        successor = FaissIndex(index, rows)
        if exam is not None:
            successor.work_enough(exam)
        return successor

    def _narrow(self) -> float:
        return min(NARROW_ROWS, NARROW_SHARE * len(self))

    def _parameters(self, wanted: int, allowed: Ordinals | None) -> Handle:
        """Looks the further, the more is wanted and the smaller the share that may be returned."""
        selector, share = None, 1.0
        if allowed is not None:
            mask = np.zeros(len(self), dtype=bool)
            mask[allowed] = True
            selector = library.IDSelectorBitmap(np.packbits(mask, bitorder="little"))
            share = len(allowed) / len(self)
        length = len(self) / self._index.nlist
        lists = max(self._index.nprobe, int(CHOICE * wanted / length)) / share
        return library.SearchParametersIVF(nprobe=min(self._index.nlist, int(lists)), sel=selector)

    def _judge(self, queries: Floats, ordinals: Ordinals, k: int) -> Neighbours:
        """The k best finalists by their exact score. FAISS fills short rows with -1, as we do."""
        scores = _products(queries, self._rows, ordinals)
        best = np.lexsort((ordinals, -scores), axis=1)[:, :k]
        found = nothing_found(len(queries), k)
        found.ordinals[:, : best.shape[1]] = np.take_along_axis(ordinals, best, axis=1)
        found.scores[:, : best.shape[1]] = np.take_along_axis(scores, best, axis=1)
        return found


def choose_kind(count: int, settings: IndexSettings) -> Kind:
    """Exact while that is fast enough, inverted lists above."""
    return "exact" if count <= settings.exact_below else "ivf"


def build_index(rows: Floats, settings: IndexSettings, exam: Exam | None = None) -> VectorIndex:
    """The index of these (n, dim) unit rows, of the kind that their number asks for.

    exam: of these rows, if one has been made.
    """
    if choose_kind(len(rows), settings) == "exact":
        return ExactIndex(rows)
    built = FaissIndex(_lists(rows), rows)
    built.work_enough(exam or Exam.of(rows, 10))
    return built


def load_index(kind: Kind, path: Path, rows: Floats) -> VectorIndex:
    """The index that `FaissIndex.write` saved over the same rows (exact: nothing was saved).

    It stays on disk until it is used. Raises SnapshotCorrupt naming the file.
    """
    if kind == "exact":
        return ExactIndex(rows)
    try:
        index = library.read_index(str(path), library.IO_FLAG_MMAP_IFC)
    except (RuntimeError, MemoryError) as error:
        reason = str(error).splitlines()[0]
        raise SnapshotCorrupt(f"{path} is not a readable FAISS index: {reason}") from None
    if not isinstance(index, faiss.IndexIVF):
        raise SnapshotCorrupt(
            f"{path} holds no inverted lists, but {type(index).__name__}: rebuild"
        )
    if (index.ntotal, index.d) != rows.shape:
        found = f"{index.ntotal} vectors of {index.d} numbers"
        raise SnapshotCorrupt(f"{path} holds {found}, its rows are {rows.shape}: rebuild")
    return FaissIndex(index, rows)


def _lists(rows: Floats) -> Handle:
    count, dim = rows.shape
    lists = max(1, int(2 * np.sqrt(count)))
    index = library.index_factory(dim, f"IVF{lists},SQ8", faiss.METRIC_INNER_PRODUCT)
    index.cp.min_points_per_centroid = 1  # it would otherwise print advice on small data
    index.cp.max_points_per_centroid = SAMPLED
    index.cp.niter = PASSES
    index.nprobe = LEAST_EFFORT
    sample = np.random.default_rng(0).choice(count, min(count, SAMPLED * lists), replace=False)
    index.train(rows[np.sort(sample)])
    index.add(rows)
    return index


def _contents(index: Handle, number: int) -> tuple[Ordinals, NDArray[np.uint8]]:
    """(m,) the rows of one list and (m, bytes) what is kept of each; both belong to the index."""
    count, lists = index.invlists.list_size(number), index.invlists
    if not count:
        return NOTHING, np.empty((0, index.code_size), dtype=np.uint8)
    codes = faiss.rev_swig_ptr(lists.get_codes(number), count * index.code_size)
    ordinals: Ordinals = faiss.rev_swig_ptr(lists.get_ids(number), count)
    return ordinals, codes.reshape(count, index.code_size)


def _products(queries: Floats, rows: Floats, ordinals: Ordinals) -> Floats:
    """(q, k) inner products of each query with the rows named beside it; -inf for `ABSENT`."""
    found = np.full(ordinals.shape, -np.inf, dtype=np.float32)
    pointers = (faiss.swig_ptr(array) for array in (found, queries, rows, ordinals))
    library.fvec_inner_products_by_idx(*pointers, rows.shape[1], *ordinals.shape)
    return found
