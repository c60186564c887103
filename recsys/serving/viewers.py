"""What is stored of people, and what a request says of them -> viewers, as of now."""

from collections.abc import Sequence

import numpy as np

from recsys.catalogue.histories import Histories, Told
from recsys.catalogue.times import to_us
from recsys.identity import NOTHING, ItemId
from recsys.ranking.block import ends
from recsys.ranking.candidates import NO_HISTORY
from recsys.ranking.viewer import LONGEST_READ, Viewer, read_viewers
from recsys.serving.live import Served
from recsys.serving.schemas import InlineEvent

Who = tuple[str | None, str | None]
"""A user, a session, or both."""

NOBODY = Viewer(NO_HISTORY, NOTHING)


def viewer(
    served: Served, histories: Histories, who: Who, inline: Sequence[InlineEvent] = ()
) -> Viewer:
    """The taste of a user, a session and the events given with the request. Raises DatabaseError."""
    given = [(ItemId(e.item_id), e.type, e.value, to_us(e.time)) for e in inline]
    told = [*given, *stored(served, histories, who)]
    if given:
        told.sort(key=lambda event: -event[-1])
    return viewers(served, [told])[0]


def stored(served: Served, histories: Histories, who: Who) -> list[Told]:
    """Newest first. Raises DatabaseError."""
    return histories.newest(*who, LONGEST_READ, served.telling)


def viewers(served: Served, told: Sequence[Sequence[Told]]) -> list[Viewer]:
    """Those of whom these events are told, newest first."""
    every = [event for events in told for event in events]
    if not every:
        return [NOBODY] * len(told)
    items, types, values, times = zip(*every, strict=True)
    codes = served.weighing.codes
    return read_viewers(
        ends([len(events) for events in told]),
        served.recommender.lookup.ordinals(items),
        np.array([codes[name] for name in types], dtype=np.int32),
        np.array(values, dtype=np.float32),
        np.array(times, dtype=np.int64),
        served.weighing,
    )
