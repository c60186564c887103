"""The largest weights of every row, of a matrix or of a product that would not fit into memory.

What is kept is the same with any number of threads: every row is added up alone, in the order of its terms.
"""

import itertools
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recsys.compiling import compiled, fixed
from recsys.identity import Floats
from recsys.preference.sparse import Sparse, assemble
from recsys.threads import thread_count

_BLOCK = 20_000_000
"""Multiplications at a time: what a thread does before it takes up more."""

_LEADING = 20
"""Bits of a float32 that are left out where sizes are told apart roughly, each power of two in eight steps."""


def strongest(W: Sparse, k: int) -> Sparse:
    """The k entries of the largest magnitude of every row, of equals those further left; zeros go.

    Columns come out sorted, whatever their order in W.
    """
    rows = _Rows.of(W if W.has_sorted_indices else W.sorted_indices())
    kept = _Kept.of(np.minimum(np.diff(rows.starts), k))
    _prune(rows, k, kept)
    return kept.closed(W.shape)


def loudest_first(W: Sparse) -> Sparse:
    """The same, each row ordered by magnitude, the largest first; of equals those further left."""
    rows, indices, data = _Rows.of(W), np.empty(W.nnz, np.int32), np.empty(W.nnz, np.float32)

    def fill(some: slice) -> None:
        _order(rows, some.start, some.stop, indices, data)

    with ThreadPoolExecutor(thread_count()) as workers:
        deque(workers.map(fill, _runs(rows.starts)), maxlen=0)
    return assemble(data, indices, W.indptr, W.shape)


def strongest_of_dense(block: Floats, k: int) -> Sparse:
    """The same of a dense block of rows."""
    rows, n = block.shape
    k = min(k, n)
    columns = np.sort(np.argpartition(np.abs(block), n - k, axis=1)[:, n - k :], axis=1)
    values = np.take_along_axis(block, columns, axis=1)
    ends = np.arange(rows + 1) * k
    return strongest(assemble(values.ravel(), columns.ravel(), ends, (rows, n)), k)


def strongest_product(
    A: Sparse, B: Sparse, k: int, *, then: Sparse | None = None, hollow: bool = False
) -> Sparse:
    """The k strongest entries per row of A B, as `strongest` has them, without ever holding all of A B.

    then: the same of (what is kept of A B) times this, of which no more than a row is held either. hollow: leave
    the diagonal out.
    """
    left, right = _Rows.of(A), _Rows.of(B)
    last, columns = (right, B.shape[1]) if then is None else (_Rows.of(then), then.shape[1])
    work = _multiplications(left, right)
    kept = _Kept.of(np.minimum(work if then is None else k * work, min(k, columns)))
    width = max(B.shape[1], columns)

    def fill(rows: slice) -> None:
        most = int(work[rows].max())
        if then is None:
            _multiply(left, right, width, most, rows.start, rows.stop, k, hollow, kept)
        else:
            most = max(most, k * int(np.diff(last.starts).max(initial=0)))
            _multiply_twice(left, right, last, width, most, rows.start, rows.stop, k, hollow, kept)

    with ThreadPoolExecutor(thread_count()) as workers:
        deque(workers.map(fill, _runs(np.concatenate([[0], np.cumsum(work)]))), maxlen=0)
    return kept.closed((A.shape[0], columns))


def _runs(reach: NDArray[np.integer]) -> Iterator[slice]:
    """Cut rows into runs of about `_BLOCK` multiplications; `reach` is their running sum, from 0."""
    block = reach[:-1] // _BLOCK
    edges = [0, *(np.flatnonzero(np.diff(block)) + 1).tolist(), len(block)]
    return (slice(a, b) for a, b in itertools.pairwise(edges) if b > a)


class _Rows(NamedTuple):
    """A matrix as the kernels read it."""

    starts: NDArray[np.int64]
    indices: NDArray[np.int32]
    data: Floats

    @classmethod
    def of(cls, W: Sparse) -> "_Rows":
        """Nothing large is copied, but of a matrix with more entries than int32 counts."""
        starts, indices = W.indptr.astype(np.int64), W.indices.astype(np.int32, copy=False)
        return cls(fixed(starts), fixed(indices), fixed(W.data))


class _Kept(NamedTuple):
    """What is kept of each row, in a place that is wide enough for it."""

    starts: NDArray[np.int64]
    """(rows + 1,) where the place of each begins."""
    lengths: NDArray[np.int64]
    """(rows,) how much of it is used."""
    indices: NDArray[np.int32]
    data: Floats

    @classmethod
    def of(cls, most: NDArray[np.integer]) -> "_Kept":
        """most: (rows,) the width of each place."""
        starts = np.concatenate([[0], np.cumsum(most, dtype=np.int64)])
        indices, data = np.empty(starts[-1], np.int32), np.empty(starts[-1], np.float32)
        return cls(starts, np.zeros(len(most), np.int64), indices, data)

    def closed(self, shape: tuple[int, int]) -> Sparse:
        """The matrix. Rows move together within their memory, and what is left over is given back."""
        ends = np.concatenate([[0], np.cumsum(self.lengths)])
        _move_together(self, ends)
        for array in (self.indices, self.data):
            array.resize(ends[-1], refcheck=False)
        return assemble(self.data, self.indices, ends, shape)


@compiled
def _order(rows: _Rows, first: int, end: int, indices: NDArray[np.int32], data: Floats) -> None:
    """Write rows `first` to `end` in order: by a number of 31 bits for magnitude, 31 for column, 1 for sign."""
    keys = np.empty(np.diff(rows.starts[first : end + 1]).max(), dtype=np.int64)
    read, written = rows.data.view(np.int32), data.view(np.int32)
    for row in range(first, end):
        start, width = rows.starts[row], rows.starts[row + 1] - rows.starts[row]
        for n in range(width):
            bits, column = np.int64(read[start + n]), np.int64(rows.indices[start + n])
            smallness = 0x7FFFFFFF - (bits & 0x7FFFFFFF)
            keys[n] = (smallness << 32) | (column << 1) | (bits < 0)
        keys[:width].sort()
        for n in range(width):
            size, negative = 0x7FFFFFFF - (keys[n] >> 32), keys[n] & 1
            indices[start + n] = (keys[n] >> 1) & 0x7FFFFFFF
            written[start + n] = size - (negative << 31)


@compiled
def _prune(rows: _Rows, k: int, kept: _Kept) -> None:
    for row in range(len(kept.lengths)):
        entries = slice(rows.starts[row], rows.starts[row + 1])
        place = slice(kept.starts[row], kept.starts[row + 1])
        to = (kept.indices[place], kept.data[place])
        kept.lengths[row] = _pick(rows.indices[entries], rows.data[entries], k, *to)


@compiled
def _multiply(
    left: _Rows,
    right: _Rows,
    width: int,
    most: int,
    first: int,
    end: int,
    k: int,
    hollow: bool,
    kept: _Kept,
) -> None:
    """Rows `first` to `end` of a product. width: of a row that is added up; most: terms of one."""
    total = np.zeros(width, dtype=np.float32)
    seen, sums = np.empty(most + 1, dtype=np.int32), np.empty(most, dtype=np.float32)
    for row in range(first, end):
        mine = slice(left.starts[row], left.starts[row + 1])
        without = row if hollow and row < width else -1
        near = _added_up(left.indices[mine], left.data[mine], right, k, without, total, seen, sums)
        place = slice(kept.starts[row], kept.starts[row + 1])
        kept.lengths[row] = _pick(near, total[near], k, kept.indices[place], kept.data[place])
        total[near] = 0


@compiled
def _multiply_twice(
    left: _Rows,
    right: _Rows,
    last: _Rows,
    width: int,
    most: int,
    first: int,
    end: int,
    k: int,
    hollow: bool,
    kept: _Kept,
) -> None:
    """The same of (what is kept of a product) times `last`."""
    total = np.zeros(width, dtype=np.float32)
    seen, sums = np.empty(most + 1, dtype=np.int32), np.empty(most, dtype=np.float32)
    between, weights = np.empty(k, dtype=np.int32), np.empty(k, dtype=np.float32)
    for row in range(first, end):
        mine = slice(left.starts[row], left.starts[row + 1])
        near = _added_up(left.indices[mine], left.data[mine], right, k, -1, total, seen, sums)
        n = _pick(near, total[near], k, between, weights)
        total[near] = 0
        without = row if hollow and row < width else -1
        near = _added_up(between[:n], weights[:n], last, k, without, total, seen, sums)
        place = slice(kept.starts[row], kept.starts[row + 1])
        kept.lengths[row] = _pick(near, total[near], k, kept.indices[place], kept.data[place])
        total[near] = 0


@compiled
def _added_up(
    indices: NDArray[np.int32],
    data: Floats,
    rows: _Rows,
    k: int,
    without: int,
    total: Floats,
    seen: NDArray[np.int32],
    sums: Floats,
) -> NDArray[np.int32]:
    """The columns, ascending, of the k largest sums of weighted rows, and of their equals; the sums are in `total`.

    total: zeros, of which only those columns are changed. seen, sums: room for each term, and one more. Met is what is
    no longer 0: to ask a second array, or to branch, takes three times as long.
    """
    met = 0
    for one in range(len(indices)):
        for other in range(rows.starts[indices[one]], rows.starts[indices[one] + 1]):
            column = rows.indices[other]
            seen[met] = column  # once more where it has cancelled out meanwhile
            met += total[column] == 0
            total[column] += data[one] * rows.data[other]
    if without >= 0:
        total[without] = 0
    distinct = 0
    for n in range(met):
        column = seen[n]
        if total[column] != 0:
            seen[distinct], sums[distinct], total[column] = column, total[column], 0
            distinct += 1
    least, close = _largest(np.abs(sums[:distinct]), k), 0
    for n in range(distinct):
        if abs(sums[n]) >= least:
            seen[close], total[seen[n]] = seen[n], sums[n]
            close += 1
    return np.sort(seen[:close])


@compiled
def _pick(
    indices: NDArray[np.int32],
    data: Floats,
    k: int,
    to_indices: NDArray[np.int32],
    to_data: Floats,
) -> int:
    """Write the k entries of the largest magnitude, of equals the first, none of them 0. Gives how many there are."""
    least, equals = _largest(np.abs(data), k), k
    for value in data:
        equals -= abs(value) > least
    taken = 0
    for n in range(len(data)):
        size = abs(data[n])
        if size > least or (size == least > 0 and equals > 0):
            equals -= size == least
            to_indices[taken], to_data[taken] = indices[n], data[n]
            taken += 1
    return taken


@compiled
def _largest(sizes: Floats, k: int) -> np.float32:
    """The k-th largest, 0 where there are no more than k: by a count of the leading bits, then among a few."""
    if len(sizes) <= k:
        return np.float32(0)
    leading = sizes.view(np.int32) >> _LEADING
    counts = np.zeros(1 << (31 - _LEADING), dtype=np.int32)
    for bits in leading:
        counts[bits] += 1
    bits = len(counts) - 1
    while counts[bits] < k:
        k -= counts[bits]
        bits -= 1
    few, n = np.empty(counts[bits], dtype=np.float32), 0
    for place in range(len(sizes)):
        if leading[place] == bits:
            few[n] = sizes[place]
            n += 1
    return _selected(few, k)


@compiled
def _selected(sizes: Floats, k: int) -> np.float32:
    """The k-th largest, by Hoare's quickselect: they are left in another order."""
    low, high = 0, len(sizes) - 1
    while low < high:
        pivot, left, right = sizes[(low + high) // 2], low, high
        while left <= right:
            while sizes[left] > pivot:
                left += 1
            while sizes[right] < pivot:
                right -= 1
            if left <= right:
                sizes[left], sizes[right] = sizes[right], sizes[left]
                left += 1
                right -= 1
        if k - 1 <= right:
            high = right
        elif k - 1 >= left:
            low = left
        else:
            break
    return np.float32(sizes[k - 1])


@compiled
def _multiplications(left: _Rows, right: _Rows) -> NDArray[np.int64]:
    """(rows,) of the product."""
    work = np.zeros(len(left.starts) - 1, dtype=np.int64)
    for row in range(len(work)):
        for through in left.indices[left.starts[row] : left.starts[row + 1]]:
            work[row] += right.starts[through + 1] - right.starts[through]
    return work


@compiled
def _move_together(kept: _Kept, ends: NDArray[np.int64]) -> None:
    """Bring rows from their places to where the matrix has them, which is never further back."""
    for row in range(len(kept.lengths)):
        for n in range(kept.lengths[row]):
            kept.indices[ends[row] + n] = kept.indices[kept.starts[row] + n]
            kept.data[ends[row] + n] = kept.data[kept.starts[row] + n]
