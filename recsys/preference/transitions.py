"""Directed co-occurrence: what people go on to after an item, and how many likes later.

    S_ij = sum over people of |u|^-g e^(-decay (t - s - 1)) for i their s-th and j their t-th like, s < t
    W = (diag(p)^-a (S + back S') diag(p)^-b)^sharpness,  entry by entry, zero diagonal

|u|: a person's likes, p: how often an item is liked. With decay 0 and back 1 it is plain co-occurrence. Likes of
one moment keep the order in which they arrived.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array

from recsys.catalogue.event_log import EventLog
from recsys.config import EventSettings, PreferenceSettings
from recsys.identity import Floats, Mask
from recsys.preference.interactions import DAY, event_strength
from recsys.preference.pruning import strongest
from recsys.preference.sparse import Sparse, power, scaled, sharpened, without_diagonal

ORDERED = 0.1
"""Share of a person's likes that must differ in time from the one before for their order to mean anything."""

_FAINT = 1e-3
"""Pairs whose weight has decayed below this are left out."""

_AT_ONCE = 5_000_000
"""Pairs added up at a time."""


@dataclass(frozen=True, eq=False)
class Sequences:
    """Likes person by person, oldest first; what is liked twice in a row within a day counts once."""

    actor: NDArray[np.int32]
    item: NDArray[np.int32]
    strength: Floats
    """In (0, 1]."""
    time: NDArray[np.int64]
    n_items: int

    @property
    def ordered(self) -> bool:
        """False where moments are too coarse, or made up: then there is no order to learn from."""
        follows = self.actor[1:] == self.actor[:-1]
        later = self.time[1:] > self.time[:-1]
        return bool(follows.any()) and float(later[follows].mean()) >= ORDERED


def sequences(log: EventLog, n_items: int, settings: EventSettings, longest: int) -> Sequences:
    """The likes of a log in their order; of each actor the newest `longest`."""
    strength = event_strength(log.type, log.value, log.types, settings)
    likes = np.flatnonzero(strength > 0)
    likes = likes[np.argsort(log.actor[likes], kind="stable")]
    likes = likes[~repeated(log.actor[likes], log.item[likes], log.time[likes])]
    actor = log.actor[likes]
    likes = likes[np.searchsorted(actor, actor, side="right") - np.arange(len(actor)) <= longest]
    found = (log.actor[likes], log.item[likes], strength[likes], log.time[likes])
    return Sequences(*found, n_items)


def repeated(
    actor: NDArray[np.integer], item: NDArray[np.integer], time: NDArray[np.int64]
) -> Mask:
    """(m,) True for an event that goes with the one before: the same item on the same day, as view and purchase do.

    Events are ordered by actor, and by time within one, in either direction.
    """
    again = np.zeros(len(item), dtype=bool)
    again[1:] = (actor[1:] == actor[:-1]) & (item[1:] == item[:-1])
    again[1:] &= np.abs(np.diff(time)) < DAY
    return again


def fit_transitions(found: Sequences, settings: PreferenceSettings) -> Sparse | None:
    """(n, n) weights, the row is the item come from; None where switched off or where nothing has an order."""
    if not settings.transitions_span or not found.ordered:
        return None
    n = found.n_items
    S = coo_array((n, n), dtype=np.float32).tocsr()
    for row, column, weight in _pairs(found, settings):
        S = S + coo_array((weight, (row, column)), shape=(n, n)).tocsr()
    both_ways = cast(Sparse, (S + settings.transitions_back * S.T).tocsr())
    likes = np.bincount(found.item, weights=found.strength, minlength=n)
    come_from = power(likes, -settings.transitions_from_exponent)
    go_to = power(likes, -settings.transitions_to_exponent)
    hollow = without_diagonal(scaled(both_ways, come_from, go_to))
    W = strongest(hollow, settings.transitions_neighbours)
    return sharpened(W, settings.transitions_sharpness)


_Part = tuple[NDArray[np.int32], NDArray[np.int32], Floats]
"""(come from, go to, weight) of some pairs."""


def _pairs(found: Sequences, settings: PreferenceSettings) -> Iterator[_Part]:
    """All pairs, some at a time."""
    length = np.bincount(found.actor)[found.actor] if len(found.actor) else found.actor
    weight = found.strength * power(length, -settings.transitions_user_exponent)
    waiting = 0
    parts: list[_Part] = []
    for gap in range(1, settings.transitions_span + 1):
        decay = float(np.exp(-settings.transitions_decay * (gap - 1)))
        near = _same(found.actor, gap)
        if decay < _FAINT or not near.any():
            break
        first, second = found.item[:-gap][near], found.item[gap:][near]
        both = decay * weight[:-gap][near] * found.strength[gap:][near]
        parts.append((first, second, both.astype(np.float32)))
        waiting += len(first)
        if waiting > _AT_ONCE:
            yield _joined(parts)
            waiting, parts = 0, []
    if parts:
        yield _joined(parts)


def _same(actor: NDArray[np.int32], gap: int) -> Mask:
    return np.asarray(actor[gap:] == actor[:-gap])


def _joined(parts: Sequence[_Part]) -> _Part:
    first, second, weight = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    return first, second, weight
