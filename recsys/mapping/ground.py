"""What of a catalogue can be put on a map, and who is near whom there."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recsys.config import IndexSettings
from recsys.embedding.encoder import unit_rows
from recsys.identity import ABSENT, NOTHING, Floats, Ordinals
from recsys.index.exact import Exam, blocks
from recsys.index.faiss import FaissIndex, build_index
from recsys.index.neighbours import Lists, enough_lists, nearest_others
from recsys.index.space import BLOCK, Space

Kind = Literal["text", "image", "taste"]

NEAR = 14
"""Neighbours of each item that its place depends on."""


class Rows(NamedTuple):
    """m of n items, and what tells them apart."""

    total: int
    """n"""
    items: Ordinals
    """(m,) ascending."""
    rows: Floats
    """(m, d) of unit length."""

    def spread(self, places: Floats) -> Floats:
        """(n, 2) of (m, 2) places; NaN for the items that have none."""
        found = np.full((self.total, 2), np.nan, dtype=np.float32)
        found[self.items] = places
        return found


class Ground(NamedTuple):
    """The same with the neighbours of each: (m, `NEAR`) or fewer, nearest first, `ABSENT` where no more are known."""

    rows: Floats
    nearest: Ordinals
    """Places among the m rows."""
    nearness: Floats
    """Cosines; anything where there is no neighbour."""


def rows_of(kind: Kind, spaces: Mapping[str, Space], factors: Floats | None) -> Rows | None:
    """What there is to be seen of a kind; None where nothing is.

    factors: (n, d) of the items, NaN where one has none; None where nobody liked anything.
    """
    if kind == "taste":
        there = NOTHING if factors is None else np.flatnonzero(~np.isnan(factors[:, 0]))
        if factors is None or not len(there):
            return None
        return Rows(len(factors), there, unit_rows(factors[there]))
    space = spaces.get(kind)
    if space is None or not space.present.any():
        return None
    there = np.flatnonzero(space.present)
    rows = space.rows if len(there) == len(space.rows) else space.rows[there]
    return Rows(len(space.rows), there, rows)


def ground_of(kind: Kind, rows: Rows, spaces: Mapping[str, Space]) -> Ground:
    """The neighbours of these: those that a space knows already, of taste looked for here."""
    if kind == "taste":
        return _compared(rows.rows)
    space = spaces[kind]
    place = np.full(rows.total + 1, ABSENT)  # `ABSENT` finds the last one
    place[rows.items] = np.arange(len(rows.items))
    nearest = place[space.nearest[rows.items, :NEAR]]
    return Ground(rows.rows, nearest, space.nearness[rows.items, :NEAR])


def _compared(rows: Floats) -> Ground:
    index = build_index(rows, IndexSettings())
    lists = index.lists() if isinstance(index, FaissIndex) else Lists.one(rows)
    enough = enough_lists(Exam.of(rows, NEAR), lists)
    found = nearest_others(rows, lists, np.arange(len(rows)), min(NEAR, len(rows) - 1), enough)
    return Ground(rows, found.ordinals, found.scores)


def with_new(places: Floats, count: int, space: Space | None) -> Floats:
    """(count, 2) places where items have come since behind those that have one: amid their neighbours.

    NaN for one of which no neighbour is on the map, and where there is no space to know any.
    """
    before = len(places)
    found = np.full((max(count, before), 2), np.nan, dtype=np.float32)
    found[:before] = places
    if space is not None:
        for some in blocks(count - before, BLOCK):
            new = np.arange(before, count)[some]
            found[new] = _amid(places, space.nearest[new, :NEAR])
    return found[:count]


def _amid(places: Floats, nearest: NDArray[np.int32]) -> Floats:
    """(q, 2) the mean place of each one's (q, k) neighbours, of those that have one."""
    there = (nearest != ABSENT) & (nearest < len(places))
    near = places[np.where(there, nearest, 0)]
    there &= ~np.isnan(near[..., 0])
    total = np.where(there[..., None], near, 0).sum(axis=1)
    known = there.sum(axis=1, keepdims=True)
    return np.where(known > 0, total / np.maximum(known, 1), np.nan).astype(np.float32)
