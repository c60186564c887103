"""Events -> who likes what: one signed strength per person and item, of which models learn the likes.

The events of one person on one item add up, bounded to [-1, 1]; a like that was taken back cancels out.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recsys.catalogue.event_log import EventLog
from recsys.config import EventSettings
from recsys.identity import Floats
from recsys.preference.sparse import Sparse, assemble

RATING = "rating"
"""The event type whose value is on the rating scale; other types may carry a value that means something else."""

DAY = 86_400_000_000
"""Microseconds."""


@dataclass(frozen=True)
class Interactions:
    """People x items, at most one entry per pair."""

    matrix: Sparse
    """(actors, items) how much somebody likes an item, in (0, 1]."""

    @property
    def support(self) -> Floats:
        """(items,) people who like each item."""
        counts = np.bincount(self.matrix.indices, minlength=self.matrix.shape[1])
        return counts.astype(np.float32)


@dataclass(frozen=True)
class Pairs:
    """Aligned arrays, ordered by actor and then item: what became of each actor's events on an item."""

    actor: NDArray[np.int32]
    item: NDArray[np.int32]
    strength: Floats
    """In [-1, 1]."""
    newest: NDArray[np.int64]
    """Position in the log of the pair's newest event."""


def event_strength(
    codes: NDArray[np.integer], values: Floats, names: Sequence[str], settings: EventSettings
) -> Floats:
    """(m,) signed weight of each event: that of its type, for a rating times its place on the scale.

    A rating without a value, and a type that has lost its weight, say nothing: 0.
    """
    weights = np.array([settings.weights.get(name, 0.0) for name in names], dtype=np.float32)
    ratings = np.array([name == RATING for name in names], dtype=bool)
    place = (values - settings.rating_neutral) / (settings.rating_best - settings.rating_neutral)
    graded = np.where(ratings[codes], np.clip(np.nan_to_num(place), -1, 1), 1)
    return np.asarray(weights[codes] * graded, dtype=np.float32)


def faded(weights: Floats, fading: float) -> Floats:
    """What is left of the weights of a history, newest first: exp(-fading) for each newer one."""
    return np.asarray(weights * np.exp(-fading * np.arange(len(weights))), dtype=np.float32)


def pairs(log: EventLog, n_items: int, settings: EventSettings) -> Pairs:
    """Add up each actor's events on each item."""
    strength = event_strength(log.type, log.value, log.types, settings)
    key = log.actor.astype(np.int64) * n_items + log.item
    order = np.argsort(key, kind="stable")
    starts = np.flatnonzero(np.diff(key[order], prepend=-1))
    if not len(starts):
        nothing = np.empty(0, dtype=np.int64)
        return Pairs(log.actor, log.item, strength, nothing)
    total = np.add.reduceat(strength[order].astype(np.float64), starts)
    newest = order[np.append(starts[1:], len(order)) - 1]
    bounded = np.clip(total, -1, 1).astype(np.float32)
    return Pairs(log.actor[newest], log.item[newest], bounded, newest)


def interactions(
    log: EventLog, n_items: int, settings: EventSettings, longest_history: int
) -> Interactions:
    """The likes in a log; of each actor the newest `longest_history`."""
    found = pairs(log, n_items, settings)
    likes = _newest(found, found.strength > 0, longest_history)
    return Interactions(_matrix(found, likes, (len(log.actors), n_items)))


def _newest(found: Pairs, wanted: NDArray[np.bool_], longest: int) -> NDArray[np.int64]:
    """Positions among the wanted pairs of the newest `longest` per actor, in the pairs' order."""
    position = np.flatnonzero(wanted)
    by_age = position[np.lexsort((-found.newest[position], found.actor[position]))]
    actor = found.actor[by_age]
    first = np.searchsorted(actor, actor, side="left")
    return np.sort(by_age[np.arange(len(by_age)) - first < longest])


def _matrix(found: Pairs, position: NDArray[np.int64], shape: tuple[int, int]) -> Sparse:
    starts = np.searchsorted(found.actor[position], np.arange(shape[0] + 1))
    return assemble(found.strength[position], found.item[position], starts, shape)
