"""A linear model of items on items in closed form, drawn towards what the items' content says.

    EASE     P = (G + r I)^-1,  B = I - P diag(P)^-1              (Steck 2019); G = X'X, zero diagonal
    content  C = the same with FF' in place of G and a ridge f    F: (items, d) content vectors
    L3AE     P = (G + (r + w) I)^-1,  B = I + w P C - P diag(g)   (CIKM 2025)
             g_j = (1 + w (P C)_jj) / P_jj, so that the diagonal is zero again

The weights' sizes are then raised to a power (sharpness), as those of co-occurrence are.
With w = 0 it is EASE; texts and pictures each add a w P C of their own. C is never formed: with
M = (f I + F'F)^-1 (d x d) and h = diag(F M F'), C = F M F' diag(1 - h)^-1 - diag(h / (1 - h)), exactly. So P is
the only n x n matrix in memory.

X is scaled to a mean square of 1 per entry first: so a ridge means as many people where everything is a
view worth 0.2 as where everything is a purchase worth 1.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import lapack

from recsys.config import PreferenceSettings
from recsys.errors import BuildError
from recsys.identity import Floats, Ordinals
from recsys.preference.pruning import strongest_of_dense
from recsys.preference.sparse import Sparse, assemble, sharpened, stacked

_RUN = 512
"""Items handled at a time."""


def fit_linear(
    X: Sparse, contents: Mapping[str, Floats], settings: PreferenceSettings
) -> Sparse | None:
    """(n, n) weights of the most liked items, the row is the item come from; None if switched off.

    contents: "text", "image" -> (n, d) unit rows, zero where an item has none. What has neither behaviour nor
    content has no weights, and with more items than the settings allow, the least liked have none.
    """
    pulls = {"text": settings.linear_text_weight, "image": settings.linear_image_weight}
    priors = [(contents[kind], pull) for kind, pull in pulls.items() if pull and kind in contents]
    most = head_size(settings.linear_memory_gb)
    if not most:
        return None
    items = _head(X, [rows for rows, _ in priors], most)
    P = _inverse(_gram(X[:, items], settings.linear_ridge + sum(pull for _, pull in priors)))
    prior = _no_prior(len(items))
    for rows, pull in priors:
        prior += _prior(rows[items], P, pull, settings.linear_content_ridge)
    W = sharpened(_pruned(P, prior, settings.linear_neighbours), settings.linear_sharpness)
    return _spread(W, items, X.shape[1])


def reaches_new(settings: PreferenceSettings, contents: Sequence[str], n: int) -> bool:
    """Whether among n items those without behaviour have weights, by these kinds of content."""
    pulls = {"text": settings.linear_text_weight, "image": settings.linear_image_weight}
    return n <= head_size(settings.linear_memory_gb) and any(pulls[kind] for kind in contents)


def head_size(memory_gb: float) -> int:
    """How many items fit a dense solve: two square matrices of 4 bytes a number."""
    return int(math.sqrt(memory_gb * 1e9 / 8) + 1e-6)


def _head(X: Sparse, contents: Sequence[Floats], most: int) -> Ordinals:
    """At `most` so many items with behaviour or content, ascending; the more liked ones."""
    support = np.bincount(X.indices, minlength=X.shape[1])
    known = support > 0
    for rows in contents:
        known |= rows.any(axis=1)
    items = np.flatnonzero(known)
    return np.sort(items[np.argsort(-support[items], kind="stable")][:most])


@dataclass(frozen=True)
class _Prior:
    """w P C = left @ right - P diag(own), for the n items at hand."""

    left: Floats
    right: Floats
    own: Floats

    def __add__(self, other: "_Prior") -> "_Prior":
        return _Prior(
            np.concatenate([self.left, other.left], axis=1),
            np.concatenate([self.right, other.right]),
            self.own + other.own,
        )

    def diagonal(self, P: Floats) -> Floats:
        """(n,) the diagonal of w P C."""
        own = P.diagonal() * self.own
        return np.asarray(np.einsum("nd,dn->n", self.left, self.right) - own)


def _prior(F: Floats, P: Floats, pull: float, ridge: float) -> _Prior:
    wide = F.astype(np.float64)
    M = np.linalg.inv(wide.T @ wide + ridge * np.eye(F.shape[1]))
    h = np.einsum("nd,de,ne->n", wide, M, wide, optimize=True)
    left = P @ (pull * wide @ M).astype(np.float32)
    right = (wide / (1 - h)[:, None]).T.astype(np.float32)
    return _Prior(left, right, (pull * h / (1 - h)).astype(np.float32))


def _no_prior(n: int) -> _Prior:
    return _Prior(
        np.zeros((n, 0), np.float32), np.zeros((0, n), np.float32), np.zeros(n, np.float32)
    )


def _gram(X: Sparse, ridge: float) -> Floats:
    """(n, n) X'X / mean square of an entry + ridge I, dense, column-major."""
    n = X.shape[1]
    X = X / np.sqrt(np.mean(np.square(X.data))) if X.nnz else X
    G = np.empty((n, n), dtype=np.float32, order="F")
    transposed, columns = X.T.tocsr(), X.tocsc()
    for some in _runs(n):
        G[:, some] = (transposed @ columns[:, some]).toarray()
    G[np.diag_indices(n)] += ridge
    return G


def _inverse(G: Floats) -> Floats:
    """The inverse of a symmetric positive definite matrix, in its own memory."""
    if not len(G):
        return G
    factor, broken = lapack.spotrf(G, lower=1, overwrite_a=1, clean=0)
    if broken:
        raise BuildError(
            "the linear model's matrix is not positive definite: raise preference.linear_ridge"
        )
    inverse, _ = lapack.spotri(factor, lower=1, overwrite_c=1)
    for some in _runs(len(G)):
        block = inverse[some, some]
        inverse[some, some] = np.tril(block) + np.tril(block, -1).T
        inverse[some, some.stop :] = inverse[some.stop :, some].T
    return np.asarray(inverse)


def _pruned(P: Floats, prior: _Prior, k: int) -> Sparse:
    """The k largest weights per row of B, computed some rows at a time. P is symmetric: columns are rows."""
    g = (1 + prior.diagonal(P)) / P.diagonal()
    blocks = []
    for some in _runs(len(P)):
        B = prior.left[some] @ prior.right - P[:, some].T * (g + prior.own)
        B[np.arange(len(B)), np.arange(some.start, some.stop)] = 0
        blocks.append(strongest_of_dense(B, k))
    return stacked(blocks, len(P))


def _spread(W: Sparse, items: Ordinals, n: int) -> Sparse:
    """The matrix of some items in ascending order as one of all n."""
    size = np.zeros(n + 1, dtype=np.int64)
    size[items + 1] = np.diff(W.indptr)
    return assemble(W.data, items[W.indices], np.cumsum(size), (n, n))


def _runs(n: int) -> Iterator[slice]:
    return (slice(start, min(start + _RUN, n)) for start in range(0, n, _RUN))
