"""From the vectors of an encoder into a space in which nearness means what a catalogue needs it to mean.

rows of a catalogue --whitening--> Projection     what all items share says nothing
groups that belong together --taught--> Projection     what tells groups apart says the most
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from recsys.embedding.encoder import unit_rows
from recsys.identity import Floats

MOST_DIRECTIONS = 512
"""Numbers of a projected vector: those along which the catalogue varies the most. Memory and time go with them."""

BLOCK = 8_192
"""Rows looked at together."""

GROUP_POWER = 0.25
"""Groups count by their size to the power of 1 - 2 times this, and so do items by the number of their groups."""

SAME = 1e-12
"""Variance of unit rows up to which they are all the same."""

Wide = NDArray[np.float64]


@dataclass(frozen=True)
class Projection:
    """A linear map, after which every vector is brought to unit length."""

    mean: Floats
    """(dim,) float32, subtracted first."""
    matrix: Floats
    """(dim, k) float32."""
    taught: str = ""
    """A digest of the map, where it was taught what belongs together; empty for one of whitening alone."""

    @classmethod
    def whitening(cls, rows: Floats, eps: float = 0.1, most: int = MOST_DIRECTIONS) -> "Projection":
        """Partial ZCA: `V diag(1/sqrt(s + ridge * mean(s))) V'` of the covariance `V diag(s) V'`.

        The ridge is `eps + 5 * dim / n`: a covariance of few rows is mostly chance, and fully evened out
        it would push all items equally far apart. Rows that are all the same change nothing. The scale is
        left out, since `apply` gives unit rows. Of more than `most` directions the widest are kept (PCA).
        """
        count, dim = rows.shape
        mean = rows.mean(axis=0, dtype=np.float64) if count else np.zeros(dim)
        covariance = _covariance(rows, mean)
        if covariance.trace() < SAME:
            return cls(np.zeros(dim, np.float32), np.eye(dim, min(dim, most), dtype=np.float32))
        spread, directions = _widest(covariance, most)
        ridge = (eps + 5 * dim / count) * covariance.trace() / dim
        shrink = np.sqrt(ridge / np.maximum(spread + ridge, np.finfo(np.float64).tiny))
        matrix = directions * shrink
        if dim <= most:  # turned back, so that no number holds much more than the others
            matrix = matrix @ directions.T
        return cls(mean.astype(np.float32), matrix.astype(np.float32))

    def apply(self, rows: Floats) -> Floats:
        """(n, k) unit rows of (n, dim) ones; a row equal to the mean becomes zero."""
        return unit_rows((np.asarray(rows, dtype=np.float32) - self.mean) @ self.matrix)


@dataclass(frozen=True, eq=False)
class Teaching:
    """What a catalogue's groups say of which vectors belong together: a metric in closed form.

    A regression of what is in one group on vectors, as linear discriminant analysis (Fisher 1936) and Mahalanobis
    metrics learned from chunklets (Bar-Hillel et al. 2005) have it: the pairs of a group are more alike in the metric
    M = P (B'B - Z' diag(c) Z) P than chance has them, where Z are the centred rows, P = (Z'Z + ridge)^-1, B the sums
    of each group's rows and c takes out the pairs of an item with itself. Nothing n x n is made.
    """

    base: Projection
    """What the rows had gone through."""
    strength: Wide
    """(k,) eigenvalues of the metric, none negative: in it the mean taught item has the squared length 1."""
    directions: Wide
    """(k, k) its eigenvectors."""

    @classmethod
    def of(
        cls,
        base: Projection,
        rows: Floats,
        groups: Sequence[tuple[float, csr_array]],
        ridge: float,
    ) -> "Teaching":
        """rows: (n, k) as the base gives them, zero for an item without a vector.

        groups: how much they count, and (g, n) how much each item belongs to each group, 0 or more. ridge: of the
        regression, in mean variances of a direction; the more, the less is learned by heart.
        """
        total = np.zeros((rows.shape[1], rows.shape[1]))
        for weight, members in groups:
            total += weight * _metric(rows, members, ridge)
        strength, directions = np.linalg.eigh(total / sum(weight for weight, _ in groups))
        return cls(base, np.maximum(strength, 0), directions)

    def projection(self, floor: float) -> Projection:
        """Distances by the metric, and by the floor, above 0, as they were; the mean item has 1 of the metric."""
        most = min(len(self.strength), MOST_DIRECTIONS)
        scale = np.sqrt(self.strength + floor)[-most:]
        turned = self.directions[:, -most:] * scale
        if most == len(self.strength):
            turned = turned @ self.directions.T
        matrix = (self.base.matrix @ turned).astype(np.float32)
        digest = hashlib.blake2b(self.base.mean.tobytes() + matrix.tobytes(), digest_size=8)
        return Projection(self.base.mean, matrix, digest.hexdigest())


def _metric(rows: Floats, members: csr_array, ridge: float) -> Wide:
    """(k, k), of such a size that the mean item has the squared length 1 in it, its pair with itself counted."""
    members = _evened_out(members)
    taught = np.flatnonzero((members.sum(axis=0) > 0) & rows.any(axis=1))
    members, centred = members[:, taught], rows[taught].astype(np.float64)
    centred -= centred.mean(axis=0)
    gram = centred.T @ centred
    ridge = max(ridge * gram.trace() / len(gram), np.finfo(np.float64).tiny)
    P = np.linalg.inv(gram + ridge * np.eye(len(gram)))
    own = members.multiply(members).sum(axis=0)
    between = np.zeros_like(gram)
    for start in range(0, members.shape[0], BLOCK):
        sums = members[start : start + BLOCK] @ centred
        between += sums.T @ sums
    metric: Wide = P @ (between - centred.T @ (own[:, None] * centred)) @ P
    size = np.vdot(P @ between @ P, gram) / max(len(taught), 1)
    return np.asarray((metric + metric.T) / (2 * max(size, np.finfo(np.float64).tiny)))


def _evened_out(members: csr_array) -> csr_array:
    """Large groups, and items of many groups, say less of each pair than small and few."""
    out: Any = members.astype(np.float64)
    for axis in (1, 0):
        counted = np.maximum(out.astype(bool).sum(axis=axis), 1) ** -GROUP_POWER
        out = out.multiply(counted[:, None] if axis else counted[None, :]).tocsr()
    return csr_array(out)


def _widest(covariance: Wide, most: int) -> tuple[Wide, Wide]:
    """The largest eigenvalues, ascending, at `most` so many, and their eigenvectors in columns."""
    from scipy.linalg import eigh  # noqa: PLC0415  a quarter of a second to import: a server never does

    dim = len(covariance)
    if dim <= most:
        spread, directions = np.linalg.eigh(covariance)
    else:
        spread, directions = eigh(covariance, subset_by_index=[dim - most, dim - 1])
    return np.maximum(spread, 0), directions


def _covariance(rows: Floats, mean: Wide) -> Wide:
    """(dim, dim) float64, summed block by block."""
    total = np.zeros((rows.shape[1], rows.shape[1]))
    for start in range(0, len(rows), BLOCK):
        centred = rows[start : start + BLOCK] - mean
        total += centred.T @ centred
    return total / max(len(rows), 1)
