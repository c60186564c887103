"""A viewer's events -> the taste and the seen items of a query.

The request path, batch scoring and evaluation all come through `read_viewers`, so that the same events
always make the same query.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recsys.catalogue.event_log import EventLog
from recsys.config import EventSettings
from recsys.identity import Floats, Mask, Ordinals
from recsys.preference.interactions import DAY, RATING
from recsys.ranking import kernels
from recsys.ranking.block import ends
from recsys.ranking.candidates import History
from recsys.ranking.reasons import Deeds, deeds

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


@dataclass(frozen=True, eq=False)
class Weighing:
    """What each type of event says, as arrays over the types: made once, used for many viewers."""

    names: tuple[str, ...]
    codes: Mapping[str, int]
    """Name -> position."""
    weights: Floats
    ratings: Mask
    """Whether the event's value is on the rating scale."""
    telling: Mask
    hides: Mask
    """Whether an event of the type makes its item a seen one."""
    deeds: Deeds
    settings: EventSettings

    @classmethod
    def of(cls, names: Sequence[str], settings: EventSettings) -> "Weighing":
        """names: of all types that may occur."""
        told = set(telling_types(settings))
        return cls(
            tuple(names),
            {name: code for code, name in enumerate(names)},
            np.array([settings.weights.get(name, 0.0) for name in names], dtype=np.float32),
            np.array([name == RATING for name in names], dtype=bool),
            np.array([name in told for name in names], dtype=bool),
            np.array([name in settings.seen for name in names], dtype=bool),
            deeds(names),
            settings,
        )


def viewer_of(log: EventLog, events: Ordinals, settings: EventSettings) -> Viewer:
    """Make a viewer from events given by their positions in a log, ascending."""
    return viewers_of(log, [events], settings)[0]


def viewers_of(log: EventLog, events: Sequence[Ordinals], settings: EventSettings) -> list[Viewer]:
    """The same for several viewers."""
    starts = ends([len(some) for some in events])
    newest_first = np.concatenate([some[::-1] for some in events])
    return read_viewers(
        starts,
        log.item[newest_first].astype(np.int64),
        log.type[newest_first],
        log.value[newest_first],
        log.time[newest_first],
        Weighing.of(log.types, settings),
    )


def read_viewers(
    starts: Ordinals,
    items: Ordinals,
    types: NDArray[np.integer],
    values: NDArray[np.float32],
    times: NDArray[np.int64],
    weighing: Weighing,
) -> list[Viewer]:
    """Make viewers from (m,) events: those of viewer n are at starts[n]:starts[n + 1], newest first.

    types: positions in `weighing.names`. `items` may hold `ABSENT` (left out), `values` NaN. An item met several times
    counts once, with the sum of its strengths clipped to [-1, 1] and decayed by the age of its newest event against
    the viewer's newest: absolute time would only scale all alike.
    """
    settings = weighing.settings
    history_ends, found, weights, loudest, visits, newest, seen_ends, seen = kernels.read_histories(
        starts,
        items,
        types.astype(np.int32, copy=False),
        values,
        times,
        weighing.weights,
        weighing.ratings,
        weighing.telling,
        weighing.hides,
        settings.rating_neutral,
        settings.rating_best - settings.rating_neutral,
        settings.half_life_days * DAY,
        DAY,
        LONGEST_READ,
        settings.history,
    )
    done = weighing.deeds[loudest]
    edges, seen_edges = history_ends.tolist(), seen_ends.tolist()
    return [
        Viewer(
            History(
                found[edges[n] : edges[n + 1]],
                weights[edges[n] : edges[n + 1]],
                done[edges[n] : edges[n + 1]],
                visits[edges[n] : edges[n + 1]],
                None if moment == kernels.FREE else moment,
            ),
            seen[seen_edges[n] : seen_edges[n + 1]],
        )
        for n, moment in enumerate(newest.tolist())
    ]
