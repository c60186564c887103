"""The past split by time: what models may learn from, and what they are then asked.

A question is put in the middle of what a person liked within a window. What came before is known, in the
window as well: in service an event counts in the very next request. What came after is what a good slate
would have held.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from recsys.catalogue.event_log import ByActor, EventLog
from recsys.catalogue.items import ItemTable
from recsys.catalogue.times import from_us
from recsys.config import EvaluationSettings, Settings
from recsys.identity import NOTHING, Floats, Ordinals
from recsys.preference.interactions import event_strength
from recsys.ranking.candidates import NO_HISTORY, Query
from recsys.ranking.filters import standard_filters
from recsys.ranking.viewer import Viewer, viewer_of

LIMIT = 20
"""Length of every slate measured: the deepest metric looks this far."""

PROTOCOL = """\
Global time split with live history: the newest {test:.0%} of the events are the test window, the \
{validation:.0%} before them the validation window, on which the blend's weights were fitted. A model \
knows only events from before the window.
Each person who liked something in the window is asked about once, in the middle of those likes: the \
first half has joined the history, as it would have in service, and the targets are the distinct items \
of the rest. The whole catalogue competes, no sample of it; items off sale or hidden as seen are \
masked, alike for every model, and are no targets.
First visits: people without any event before the window, asked without history for all they liked in \
it. New items: without any event before the window; there, the targets are those alone.
NDCG counts 1 per target and is perfect with min(targets, k) of them on top; recall divides by all \
targets. Where a baseline has nothing to say, or cannot tell items apart, the more popular comes first. \
Intervals: 95 %, {resamples:,} bootstrap resamples of the queries, seed {seed}."""


@dataclass(frozen=True)
class Window:
    """start <= time < end, in microseconds."""

    start: int
    end: int


@dataclass(frozen=True)
class Question:
    """A query at a moment of the past, and the items that the viewer then liked."""

    query: Query
    targets: Ordinals
    """Distinct, ascending, never empty; each could have been in the slate: on offer, and not hidden as seen."""


@dataclass(frozen=True)
class Exam:
    """The questions of one window."""

    window: Window
    main: list[Question]
    """One for each person who liked something."""
    visits: list[Question]
    """One without history for each of those who had never been seen before the window."""

    @property
    def questions(self) -> list[Question]:
        """All of them, the main ones first."""
        return self.main + self.visits


def make_exam(
    log: EventLog, window: Window, items: ItemTable, settings: Settings, most: int
) -> Exam:
    """At `most` so many questions of either kind, drawn by chance where there are more people."""
    past = _Past.of(log, window, settings)
    newcomers = np.setdiff1d(past.active, log.before(window.start).actor)
    main = (past.in_the_middle(actor) for actor in past.sample(past.active, most))
    visits = (past.on_arrival(actor) for actor in past.sample(newcomers, most))
    return Exam(window, list(_answerable(main, items)), list(_answerable(visits, items)))


def protocol(settings: EvaluationSettings) -> str:
    """How queries and targets are made, in words, a paragraph a line: belongs beside every figure."""
    return PROTOCOL.format(
        test=settings.test,
        validation=settings.validation,
        resamples=settings.bootstrap,
        seed=settings.seed,
    )


def windows(log: EventLog, settings: EvaluationSettings) -> tuple[Window, Window]:
    """The validation and the test window of a log with events. Events of one moment are never parted."""
    held_out = settings.test + settings.validation
    start, middle = (_moment(log, share) for share in (held_out, settings.test))
    return Window(start, middle), Window(middle, int(log.time[-1]) + 1)


def _moment(log: EventLog, newest_share: float) -> int:
    """When the newest share of the events begins; after the last event for a share of nothing."""
    first = len(log) - round(min(newest_share, 1) * len(log))
    return int(log.time[first]) if first < len(log) else int(log.time[-1]) + 1


def _answerable(asked: Iterator[Question], items: ItemTable) -> Iterator[Question]:
    """Questions with targets that the filters of every request let through."""
    filters = standard_filters(items)
    for question in asked:
        targets = question.targets
        for filter_ in filters:
            targets = targets[filter_.keep(question.query, targets)]
        if len(targets):
            yield Question(question.query, targets)


@dataclass(frozen=True, eq=False)
class _Past:
    """The events up to a window's end, person by person."""

    log: EventLog
    strength: Floats
    """(m,) of each event."""
    first: int
    """Position of the window's first event."""
    settings: Settings

    @classmethod
    def of(cls, log: EventLog, window: Window, settings: Settings) -> "_Past":
        log = log.before(window.end)
        strength = event_strength(log.type, log.value, log.types, settings.events)
        return cls(log, strength, len(log.before(window.start)), settings)

    @cached_property
    def active(self) -> Ordinals:
        """People who liked something within the window, ascending."""
        liked = self.strength[self.first :] > 0
        return np.unique(self.log.actor[self.first :][liked]).astype(np.int64)

    @cached_property
    def _by_actor(self) -> ByActor:
        return ByActor(self.log)

    def sample(self, actors: Ordinals, most: int) -> list[int]:
        """At `most` so many of them, ascending; the same for the same seed."""
        if len(actors) > most:
            rng = np.random.default_rng(self.settings.evaluation.seed)
            actors = np.sort(rng.choice(actors, most, replace=False))
        return [int(actor) for actor in actors]

    def in_the_middle(self, actor: int) -> Question:
        """The first half of the person's likes in the window is known, the rest is to be found."""
        events, likes = self._events(actor)
        rest = likes[len(likes) // 2 :]
        before = events[events < rest[0]]
        return self._question(rest, viewer_of(self.log, before, self.settings.events))

    def on_arrival(self, actor: int) -> Question:
        """Nothing is known, every like is to be found."""
        _, likes = self._events(actor)
        return self._question(likes, Viewer(NO_HISTORY, NOTHING))

    def _events(self, actor: int) -> tuple[Ordinals, Ordinals]:
        """Positions, oldest first, of a person's events and of the likes within the window."""
        events = self._by_actor.events_of(actor)
        return events, events[(events >= self.first) & (self.strength[events] > 0)]

    def _question(self, likes: Ordinals, viewer: Viewer) -> Question:
        """Put at the moment of the first of the likes that are to be found."""
        at = from_us(int(self.log.time[likes[0]]))
        query = Query(at, LIMIT, viewer.history, seen=viewer.seen)
        return Question(query, np.unique(self.log.item[likes]).astype(np.int64))
