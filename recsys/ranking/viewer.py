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
from recsys.identity import Ordinals
from recsys.preference.interactions import DAY, event_strength
from recsys.ranking import kernels
from recsys.ranking.block import ends
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
    order = np.argsort(-times, kind="stable")
    events = (items[order], types[order], values[order], times[order])
    return _read(np.array([0, len(items)]), *events, type_names, settings)[0]


def viewer_of(log: EventLog, events: Ordinals, settings: EventSettings) -> Viewer:
    """Make a viewer from events given by their positions in a log, ascending."""
    return viewers_of(log, [events], settings)[0]


def viewers_of(log: EventLog, events: Sequence[Ordinals], settings: EventSettings) -> list[Viewer]:
    """The same for several viewers."""
    starts = ends([len(some) for some in events])
    newest_first = np.concatenate([some[::-1] for some in events])
    return _read(
        starts,
        log.item[newest_first].astype(np.int64),
        log.type[newest_first],
        log.value[newest_first],
        log.time[newest_first],
        log.types,
        settings,
    )


def _read(
    starts: Ordinals,
    items: Ordinals,
    types: NDArray[np.integer],
    values: NDArray[np.float32],
    times: NDArray[np.int64],
    type_names: Sequence[str],
    settings: EventSettings,
) -> list[Viewer]:
    """A viewer from each list of events, newest first."""
    told = set(telling_types(settings))
    telling = np.array([name in told for name in type_names], dtype=bool)
    hides = np.array([name in settings.seen for name in type_names], dtype=bool)
    strengths = event_strength(types, values, type_names, settings)
    ends_, found, weights, loudest, visits, newest, seen_ends, seen = kernels.read_histories(
        starts,
        items,
        types.astype(np.int32),
        strengths,
        times,
        telling,
        hides,
        settings.half_life_days * DAY,
        DAY,
        LONGEST_READ,
        settings.history,
    )
    viewers = []
    names = [type_names[code] for code in loudest.tolist()]
    for n in range(len(starts) - 1):
        first, last = int(ends_[n]), int(ends_[n + 1])
        history = History(
            found[first:last],
            weights[first:last],
            tuple(names[first:last]),
            visits[first:last],
            int(newest[n]) if newest[n] != kernels.FREE else None,
        )
        viewers.append(Viewer(history, seen[seen_ends[n] : seen_ends[n + 1]]))
    return viewers
