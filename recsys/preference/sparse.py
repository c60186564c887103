"""Sparse matrices of items: the form in which the models of taste keep what they learned.

W[i, j] says how much a taste for item i speaks for item j, so a history q scores items as q W. The models
prune W to the largest weights per row and keep it as three plain arrays, memory-mapped when read back.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from recsys.identity import NOTHING, Floats, Ordinals

Sparse = csr_array[np.float32, tuple[int, int]]
"""In row order, no entry twice; each row sorted by column, but where something else is said."""

_PARTS = ("data", "indices", "indptr", "shape")


def assemble(
    data: NDArray[np.floating],
    indices: NDArray[np.integer],
    indptr: NDArray[np.integer],
    shape: tuple[int, int],
) -> Sparse:
    """A matrix of float32 from the three arrays of the CSR form; int32 positions where they suffice.

    Matrices may share what is not copied here: change none of them in place.
    """
    wide = max(len(data), *shape) > np.iinfo(np.int32).max
    index: Any = np.int64 if wide else np.int32
    values = data.astype(np.float32, copy=False)
    places = (indices.astype(index, copy=False), indptr.astype(index, copy=False))
    return csr_array((values, *places), shape=shape)


def rows_of(W: Sparse) -> NDArray[np.int64]:
    """(nnz,) the row of each entry, beside `W.indices`."""
    return np.repeat(np.arange(W.shape[0]), np.diff(W.indptr))


def scaled(W: Sparse, row: NDArray[np.floating], column: NDArray[np.floating]) -> Sparse:
    """diag(row) W diag(column)."""
    data = W.data * row[rows_of(W)] * column[W.indices]
    return assemble(data, W.indices, W.indptr, W.shape)


def power(base: NDArray[Any], exponent: float) -> NDArray[np.float64]:
    """base^exponent, 0 where the base is 0: what nobody liked has no weights."""
    known = np.maximum(base.astype(np.float64), np.finfo(np.float64).tiny)
    return np.where(base > 0, known**exponent, 0.0)


def sharpened(W: Sparse, exponent: float) -> Sparse:
    """The size of every entry to a power; signs stay."""
    return assemble(np.sign(W.data) * np.abs(W.data) ** exponent, W.indices, W.indptr, W.shape)


def without_diagonal(W: Sparse, first: int = 0) -> Sparse:
    """W with W[i, first + i] = 0; `first` is the item of the first row where W is a block of rows."""
    data = np.where(W.indices == rows_of(W) + first, np.float32(0), W.data)
    return assemble(data, W.indices, W.indptr, W.shape)


def stacked(blocks: Iterable[Sparse], columns: int) -> Sparse:
    """Blocks of rows on top of one another, in order."""
    parts = [assemble(np.empty(0), NOTHING, np.zeros(1, dtype=np.int64), (0, columns)), *blocks]
    ends = np.cumsum([part.nnz for part in parts])
    indptr = [
        part.indptr[1:].astype(np.int64) + end - part.nnz
        for part, end in zip(parts, ends, strict=True)
    ]
    return assemble(
        np.concatenate([part.data for part in parts]),
        np.concatenate([part.indices for part in parts]),
        np.concatenate([[0], *indptr]),
        (sum(part.shape[0] for part in parts), columns),
    )


def weakest(W: Sparse, k: int) -> Floats:
    """(n,) the smallest magnitude in a row; 0 where it holds fewer than k entries."""
    least = np.zeros(W.shape[0], dtype=np.float32)
    filled = np.flatnonzero(np.diff(W.indptr))
    if len(filled):
        least[filled] = np.minimum.reduceat(np.abs(W.data), W.indptr[filled])
    least[np.diff(W.indptr) < k] = 0
    return least


def without(W: Sparse, items: Ordinals) -> Sparse:
    """W with empty rows and columns for these items."""
    gone = np.zeros(W.shape[0], dtype=bool)
    gone[items] = True
    drop = gone[W.indices]
    for item in items:
        drop[W.indptr[item] : W.indptr[item + 1]] = True
    if not drop.any():
        return W
    ends = np.concatenate([[0], np.cumsum(~drop)])[W.indptr]
    return assemble(W.data[~drop], W.indices[~drop], ends, W.shape)


def with_rows(W: Sparse, rows: Ordinals, block: Sparse) -> Sparse:
    """W with these rows (ascending) in place of its own."""
    size = np.diff(W.indptr).astype(np.int64)
    size[rows] = np.diff(block.indptr)
    ends = np.concatenate([[0], np.cumsum(size)])
    data, indices = np.empty(ends[-1], np.float32), np.empty(ends[-1], W.indices.dtype)
    for new, old in ((data, (W.data, block.data)), (indices, (W.indices, block.indices))):
        first = 0
        for n, row in enumerate(rows.tolist()):
            new[ends[first] : ends[row]] = old[0][W.indptr[first] : W.indptr[row]]
            new[ends[row] : ends[row + 1]] = old[1][block.indptr[n] : block.indptr[n + 1]]
            first = row + 1
        new[ends[first] :] = old[0][W.indptr[first] :]
    return assemble(data, indices, ends, W.shape)


def grown(W: Sparse, n: int) -> Sparse:
    """(n, n) W with empty rows and columns behind its own; its entries are not copied."""
    ends = np.full(n - W.shape[0], W.nnz)
    return assemble(W.data, W.indices, np.append(W.indptr, ends), (n, n))


def score(W: Sparse, items: Ordinals, weights: Floats) -> Floats:
    """(n,) q W for a history q of distinct items."""
    picked = W[items]
    parts = picked.data * weights[rows_of(picked)]
    return np.bincount(picked.indices, weights=parts, minlength=W.shape[1]).astype(np.float32)


def write_sparse(W: Sparse, folder: Path, name: str) -> None:
    """Write `<name>.data.npy`, `.indices.npy`, `.indptr.npy` and `.shape.npy`."""
    for part in _PARTS:
        write_array(np.asarray(getattr(W, part)), folder / f"{name}.{part}.npy")


def read_sparse(folder: Path, name: str) -> Sparse:
    """Read what `write_sparse` wrote; the arrays stay in their files until they are touched."""
    data, indices, indptr, shape = (read_array(folder / f"{name}.{part}.npy") for part in _PARTS)
    W: Any = csr_array((int(shape[0]), int(shape[1])), dtype=np.float32)
    W.data, W.indices, W.indptr = data, indices, indptr
    return cast(Sparse, W)


def write_array(array: NDArray[Any], path: Path) -> None:
    """Write one .npy file."""
    np.save(path, array, allow_pickle=False)


def read_array(path: Path) -> NDArray[Any]:
    """A read-only array that stays in its file until it is touched."""
    return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
