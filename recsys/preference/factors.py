"""Matrix factors by alternating least squares (Hu, Koren, Volinsky 2008), fitted by implicit.

An observed strength s has confidence 1 + alpha s, everything else confidence 1 that nobody cares. A person
is not stored: the taste vector is solved from the history at the time of asking, out of the items' factors
and their Gram matrix.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from implicit.cpu.als import AlternatingLeastSquares
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from recsys.compiling import compiled
from recsys.config import PreferenceSettings
from recsys.identity import Floats, Mask, Ordinals
from recsys.preference.sparse import Sparse, read_array, write_array
from recsys.threads import one_blas_thread


@dataclass(frozen=True)
class Factors:
    """What is needed to score any history."""

    items: Floats
    """(n, d) one row per item; NaN where nobody liked it."""
    gram: Floats
    """(d, d) Y'Y over the items that have factors."""
    alpha: float
    """Confidence that a strength of 1 adds."""
    ridge: float

    def fold_in(self, items: Ordinals, weights: Floats) -> Floats:
        """(d,) taste vector of a history of signed weights: the exact least squares solution.

        A negative weight is confidence that the item is not wanted. Items without factors are passed
        over; a history without a liked item that has factors gives zeros.
        """
        tastes, _ = self.fold_in_all(np.array([0, len(items)]), items, weights)
        return np.asarray(tastes[0])

    def fold_in_all(
        self, starts: Ordinals, items: Ordinals, weights: Floats
    ) -> tuple[Floats, Mask]:
        """(q, d) the same for q histories, one behind the other: that of n at starts[n]:starts[n + 1].

        And (q,) True where something liked has factors.
        """
        parts = (self.items, self.present, self._precision, self._inverse, self.alpha)
        return _fold_in(*parts, starts, items, weights)

    @cached_property
    def present(self) -> Mask:
        """(n,) True for items that have factors."""
        return ~np.isnan(self.items[:, 0])

    @cached_property
    def _precision(self) -> NDArray[np.float64]:
        """(d, d) what a history's own items are added to."""
        return self.gram.astype(np.float64) + self.ridge * np.eye(len(self.gram))

    @cached_property
    def _inverse(self) -> NDArray[np.float64]:
        return np.asarray(np.linalg.inv(self._precision), dtype=np.float64)

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
        """Write `factors.npy`, `gram.npy` and `confidence.npy` (alpha, ridge)."""
        write_array(self.items, folder / "factors.npy")
        write_array(self.gram, folder / "gram.npy")
        write_array(np.array([self.alpha, self.ridge]), folder / "confidence.npy")

    @classmethod
    def load(cls, folder: Path) -> "Factors":
        """Read what `write` wrote; the items' factors stay in their file until they are touched."""
        alpha, ridge = read_array(folder / "confidence.npy").tolist()
        items, gram = read_array(folder / "factors.npy"), read_array(folder / "gram.npy")
        return cls(items, gram, alpha, ridge)


def fit_factors(X: Sparse, settings: PreferenceSettings, seed: int) -> Factors | None:
    """Fit the items' factors to people x items; None when switched off or when nobody liked anything.

    Every row is solved alone, so the same matrix and seed give the same factors with any number of threads.
    """
    known = np.bincount(X.indices, minlength=X.shape[1]) > 0
    if not settings.factors or not known.any():
        return None
    items = _als(X, settings, seed)
    gram = items[known].T @ items[known]
    items[~known] = np.nan
    return Factors(items, gram, settings.factors_alpha, settings.factors_ridge)


def _als(X: Sparse, settings: PreferenceSettings, seed: int) -> Floats:
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
def _fold_in(
    factors: Floats,
    present: Mask,
    precision: NDArray[np.float64],
    inverse: NDArray[np.float64],
    alpha: float,
    starts: Ordinals,
    items: Ordinals,
    weights: Floats,
) -> tuple[Floats, Mask]:
    """Solve (P + Y' E Y) x = Y' v of each history: as it is, or for a short one by Woodbury's identity.

    With Z = Y P^-1 and K = Z Y', x = Z' (v - (E^-1 + K)^-1 K v): a system as small as the history.
    """
    d = factors.shape[1]
    found = np.zeros((len(starts) - 1, d), dtype=np.float32)
    known = np.zeros(len(starts) - 1, dtype=np.bool_)
    for n in range(len(starts) - 1):
        used = np.empty(starts[n + 1] - starts[n], dtype=np.int64)
        m = 0
        for k in range(starts[n], starts[n + 1]):
            if present[items[k]] and weights[k] != 0:
                used[m] = k
                m += 1
                known[n] |= weights[k] > 0
        if not known[n]:
            continue
        Y, extra, v = np.empty((m, d)), np.empty(m), np.zeros(m)
        for k in range(m):
            Y[k] = factors[items[used[k]]]
            extra[k] = alpha * abs(weights[used[k]])
            if weights[used[k]] > 0:
                v[k] = 1 + extra[k]
        if m < d:
            Z = Y @ inverse
            K = Z @ Y.T
            S = K.copy()
            for k in range(m):
                S[k, k] += 1 / extra[k]
            found[n] = Z.T @ (v - np.linalg.solve(S, K @ v))
        else:
            A = precision + (Y.T * extra) @ Y
            found[n] = np.linalg.solve(A, Y.T @ v)
    return found, known
