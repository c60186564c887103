"""A viewer's events -> the taste and the seen items of a query.

The request path, batch scoring and evaluation all come through `read_viewer`, so that the same events
always make the same query.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recsys.catalogue.event_log import EventLog
from recsys.config import EventSettings
from recsys.identity import Floats, Ordinals
from recsys.preference.interactions import decay, event_strength
from recsys.preference.transitions import repeated
from recsys.ranking.candidates import History

LONGEST_READ = 5_000
"""A viewer's newest events that are read; beyond it even the seen items are forgotten."""


@dataclass(frozen=True)
class Viewer:
    """One viewer, ready for a `Query`."""

    history: History
    seen: Ordinals


def telling_types(settings: EventSettings) -> list[str]:
    """The event types that say something of taste or hide an item; impressions by themselves do neither."""
    return [name for name, weight in settings.weights.items() if weight or name in settings.seen]


def read_viewer(
    items: Ordinals,
    types: NDArray[np.integer],
    values: NDArray[np.float32],
    times: NDArray[np.int64],
    type_names: Sequence[str],
    settings: EventSettings,
) -> Viewer:
    """Make a viewer from (m,) events in any order; `items` may hold `ABSENT` (left out), `values` NaN.

    An item met several times counts once, with the sum of its strengths clipped to [-1, 1] and decayed by
    the age of its newest event against the viewer's newest: absolute time would only scale all alike.
    """
    telling = np.isin(type_names, telling_types(settings))
    known = np.flatnonzero((items >= 0) & telling[types])
    order = known[np.argsort(-times[known], kind="stable")][:LONGEST_READ]
    items, types, values, times = items[order], types[order], values[order], times[order]
    strength = event_strength(types, values, type_names, settings)
    distinct, first, group = np.unique(items, return_index=True, return_inverse=True)
    sums = np.bincount(group, weights=strength, minlength=len(distinct)).clip(-1, 1)
    weights = sums * decay(times[first], times[0] if len(times) else 0, settings.half_life_days)
    loudest = _loudest(group, strength, len(distinct))
    newest_first = np.argsort(first)
    newest_first = newest_first[weights[newest_first] != 0][: settings.history]
    history = History(
        distinct[newest_first],
        weights[newest_first].astype(np.float32),
        tuple(type_names[code] for code in types[loudest[newest_first]].tolist()),
        _visits(group, times, strength, len(distinct))[newest_first],
        int(times[0]) if len(times) else None,
    )
    hides = np.array([name in settings.seen for name in type_names], dtype=bool)
    return Viewer(history, np.unique(items[hides[types]]) if len(items) else items)


def _visits(group: Ordinals, times: NDArray[np.int64], strength: Floats, groups: int) -> Floats:
    """(groups,) visits on which each item was liked."""
    likes = np.flatnonzero(strength > 0)
    visits = likes[~repeated(np.zeros(len(likes), np.int8), group[likes], times[likes])]
    return np.bincount(group[visits], minlength=groups).astype(np.float32)


def viewer_of(log: EventLog, events: Ordinals, settings: EventSettings) -> Viewer:
    """Make a viewer from events given by their positions in a log, ascending."""
    newest_first = events[::-1]
    return read_viewer(
        log.item[newest_first].astype(np.int64),
        log.type[newest_first],
        log.value[newest_first],
        log.time[newest_first],
        log.types,
        settings,
    )


def _loudest(group: Ordinals, strength: NDArray[np.float32], groups: int) -> Ordinals:
    """(groups,) position of the event with the largest absolute strength; the newest among equals."""
    order = np.lexsort((-np.arange(len(group)), np.abs(strength), group))
    last = np.searchsorted(group[order], np.arange(groups), side="right") - 1
    return order[last]
