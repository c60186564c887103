"""Matrix factors by alternating least squares (Hu, Koren, Volinsky 2008), fitted by implicit.

An observed strength s has confidence 1 + alpha s, everything else confidence 1 that nobody cares. A person
is not stored: the taste vector is solved from the history at the time of asking, out of the items' factors.
"""

# ruff: noqa: PLC0415  implicit takes a second to import: a server never does

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from recsys.compiling import compiled, compiled_sum
from recsys.config import PreferenceSettings
from recsys.identity import Floats, Mask, Ordinals
from recsys.preference.sparse import Sparse, read_array, write_array
from recsys.threads import one_blas_thread


@dataclass(frozen=True)
class Factors:
    """What is needed to score any history."""

    items: Floats
    """(n, d) one row per item, in a basis where Y'Y + ridge is 1; NaN where nobody liked it."""
    alpha: float
    """Confidence that a strength of 1 adds."""

    @classmethod
    def of(cls, rows: Floats, alpha: float, ridge: float) -> "Factors":
        """Item factors as they are fitted, (n, d), NaN where nobody liked an item, in another basis: scores stay.

        With Y'Y + ridge = L L', the rows become Y L'^-1: a taste is then solved without these matrices.
        """
        known = rows[~np.isnan(rows[:, 0])].astype(np.float64)
        L = np.linalg.cholesky(known.T @ known + ridge * np.eye(rows.shape[1]))
        return cls((rows @ np.linalg.inv(L).T).astype(np.float32), alpha)

    def fold_in(self, items: Ordinals, weights: Floats) -> Floats:
        """(d,) taste vector of a history of signed weights: the exact least squares solution.

        A negative weight is confidence that the item is not wanted. Items without factors are passed
        over; a history without a liked item that has factors gives zeros.
        """
        taste = np.empty(self.items.shape[1], dtype=np.float32)
        taste_of(self.items, self.alpha, items, weights.astype(np.float32, copy=False), taste)
        return taste

    @cached_property
    def present(self) -> Mask:
        """(n,) True for items that have factors."""
        return ~np.isnan(self.items[:, 0])

    def score(self, items: Ordinals, weights: Floats) -> Floats:
        """(n,) how well each item meets the taste; NaN for items without factors, or without a taste."""
        taste = self.fold_in(items, weights)
        scores = np.asarray(self.items @ taste)
        return scores if taste.any() else np.full_like(scores, np.nan)

    def grown(self, count: int) -> "Factors":
        """The same of `count` items, those behind the known ones without factors."""
        missing = np.full((count - len(self.items), self.items.shape[1]), np.nan, dtype=np.float32)
        return replace(self, items=np.concatenate([self.items, missing]))

    def write(self, folder: Path) -> None:
        """Write `factors.npy` and `confidence.npy` (alpha)."""
        write_array(self.items, folder / "factors.npy")
        write_array(np.array(self.alpha), folder / "confidence.npy")

    @classmethod
    def load(cls, folder: Path) -> "Factors":
        """Read what `write` wrote; the items' factors stay in their file until they are touched."""
        return cls(read_array(folder / "factors.npy"), float(read_array(folder / "confidence.npy")))


def fit_factors(X: Sparse, settings: PreferenceSettings, seed: int) -> Factors | None:
    """Fit the items' factors to people x items; None when switched off or when nobody liked anything.

    Every row is solved alone, so the same matrix and seed give the same factors with any number of threads.
    """
    known = np.bincount(X.indices, minlength=X.shape[1]) > 0
    if not settings.factors or not known.any():
        return None
    rows = _als(X, settings, seed)
    rows[~known] = np.nan
    return Factors.of(rows, settings.factors_alpha, settings.factors_ridge)


def _als(X: Sparse, settings: PreferenceSettings, seed: int) -> Floats:
    from implicit.cpu.als import AlternatingLeastSquares

    confidence = csr_matrix((1 + settings.factors_alpha * X.data, X.indices, X.indptr), X.shape)
    with one_blas_thread():
        model = AlternatingLeastSquares(
            factors=settings.factors,
            regularization=settings.factors_ridge,
            alpha=1.0,
            iterations=settings.factors_iterations,
            random_state=seed,
        )
        model.fit(confidence, show_progress=False)
    return np.asarray(model.item_factors, dtype=np.float32)


@compiled
def taste_of(
    factors: Floats, alpha: float, items: Ordinals, weights: Floats, taste: Floats
) -> bool:
    """Solve (1 + Y' E Y) x = Y' v of a history into `taste` ((d,)): as it is, or if short by Woodbury's identity.

    With K = Y Y', x = Y' (v - (E^-1 + K)^-1 K v): a system as small as the history. False, and zeros, where nothing
    liked has factors.
    """
    d = factors.shape[1]
    used = np.empty(len(items), dtype=np.int64)
    m, known = 0, False
    for k in range(len(items)):
        if weights[k] != 0 and not np.isnan(factors[items[k], 0]):
            used[m] = k
            m += 1
            known |= weights[k] > 0
    taste[:] = 0
    if not known:
        return False
    Y, extra, v = np.empty((m, d), np.float32), np.empty(m), np.zeros(m)
    for k in range(m):
        Y[k] = factors[items[used[k]]]
        extra[k] = alpha * abs(weights[used[k]])
        if weights[used[k]] > 0:
            v[k] = 1 + extra[k]
    taste[:] = _as_it_is(Y, extra, v) if m >= d else _as_short(Y, extra, v)
    return True


@compiled
def _as_it_is(
    Y: Floats, extra: NDArray[np.float64], v: NDArray[np.float64]
) -> NDArray[np.floating]:
    wide = Y.astype(np.float64)
    return np.linalg.solve(np.eye(Y.shape[1]) + (wide.T * extra) @ wide, wide.T @ v)


@compiled
def _as_short(Y: Floats, extra: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.float64]:
    m, d = Y.shape
    K, told, x = np.empty((m, m)), np.zeros(m), np.zeros(d)
    for i in range(m):
        for j in range(i + 1):
            K[i, j] = K[j, i] = inner(Y[i], Y[j])
    for i in range(m):
        for j in range(m):
            told[i] += K[i, j] * v[j]
    ridge = 1 / extra
    left = v - (_solved(K, ridge, told) if m <= FEW else np.linalg.solve(K + np.diag(ridge), told))
    for k in range(m):
        for c in range(d):
            x[c] += left[k] * Y[k, c]
    return x


FEW = 64
"""So many equations are solved at once: a library would first think about how."""


@compiled_sum
def inner(one: Floats, other: Floats) -> np.float32:
    """Inner product of two vectors."""
    total = np.float32(0)
    for c in range(len(one)):
        total += one[c] * other[c]
    return total


@compiled
def _solved(
    K: NDArray[np.float64], ridge: NDArray[np.float64], b: NDArray[np.float64]
) -> NDArray[np.float64]:
    """x of (K + diag(ridge)) x = b, by Cholesky's decomposition."""
    m = len(b)
    L, x = np.zeros((m, m)), b.copy()
    for i in range(m):
        for j in range(i + 1):
            rest = K[i, j]
            for k in range(j):
                rest -= L[i, k] * L[j, k]
            if i == j:
                L[i, i] = np.sqrt(rest + ridge[i])
            else:
                L[i, j] = rest / L[j, j]
    for i in range(m):
        for k in range(i):
            x[i] -= L[i, k] * x[k]
        x[i] /= L[i, i]
    for i in range(m - 1, -1, -1):
        for k in range(i + 1, m):
            x[i] -= L[k, i] * x[k]
        x[i] /= L[i, i]
    return x
