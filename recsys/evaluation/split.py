"""The past split into what models may learn from and what they are then asked, under one of three protocols.

by_time         the newest events are held out: what service is like, and what a build is judged by
leave_one_out   everybody's last two likes are held out: what papers on sequences report
by_parts        a split that somebody else made: what papers on collaborative filtering report
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from recsys.catalogue.event_log import EventLog
from recsys.catalogue.items import ItemTable
from recsys.config import EvaluationSettings, Settings
from recsys.evaluation.exam import LIMIT, Asker, Exam, Plan, Question
from recsys.evaluation.words import BY_PARTS, BY_TIME, GIVEN_SPLIT, LEAVE_ONE_OUT, MEASURED_HOW
from recsys.identity import NOTHING, Mask, Ordinals

__all__ = [
    "LIMIT",
    "Exam",
    "Plan",
    "Question",
    "by_parts",
    "by_time",
    "leave_one_out",
    "make_plan",
    "windows",
]

FITTED_ON = 3_000
"""Validation queries that the weights are fitted on at the most: enough for eight numbers, and it bounds memory."""

LEAST_LIKES = 3
"""One to know, one to learn from, one to find."""

TRAINING, VALIDATION, TEST = 0, 1, 2
"""Parts of a given split."""


def make_plan(log: EventLog, items: ItemTable, settings: Settings) -> Plan:
    """What the protocol that the settings name asks."""
    make = {"time": by_time, "leave-one-out": leave_one_out}[settings.evaluation.protocol]
    return make(log, items, settings)


@dataclass(frozen=True)
class Window:
    """start <= time < end, in microseconds."""

    start: int
    end: int


def by_time(log: EventLog, items: ItemTable, settings: Settings) -> Plan:
    """Ask about the newest events; a question is put in the middle of what a person liked within a window.

    What came before is known, in the window as well: in service an event counts in the very next request.
    What came after is what a good slate would have held.
    """
    earlier, validation, test = windows(log, settings.evaluation)
    asker = Asker(log, items, settings)
    parts = {
        "training": log.before(validation.start),
        "validation": log.between(validation.start, validation.end),
        "test": log.between(test.start, test.end),
    }
    return Plan(
        _words(BY_TIME, settings.evaluation),
        rehearsal=window_exam(asker, validation, _most_rehearsed(settings)),
        test=window_exam(asker, test, settings.evaluation.max_queries),
        train_only=None,
        parts=parts,
        earlier=_earlier_exam(asker, earlier, len(parts["training"])),
    )


def windows(log: EventLog, settings: EvaluationSettings) -> tuple[Window, Window, Window]:
    """An earlier, the validation and the test window. Events of one moment are never parted."""
    held_out = settings.test + settings.validation
    shares = (held_out + settings.validation, held_out, settings.test, 0)
    first, second, third, end = (_moment(log, share) for share in shares)
    return Window(first, second), Window(second, third), Window(third, end)


def _earlier_exam(asker: Asker, window: Window, training: int) -> Exam | None:
    """None where its models would know less than half of the training part: they would be too unlike those served."""
    if 2 * len(asker.log.before(window.start)) < max(training, 1):
        return None
    return window_exam(asker, window, _most_rehearsed(asker.settings))


def _moment(log: EventLog, newest_share: float) -> int:
    """When the newest share of the events begins; after the last event for a share of nothing."""
    first = len(log) - round(min(newest_share, 1) * len(log))
    if first < len(log):
        return int(log.time[first])
    return int(log.time[-1]) + 1 if len(log) else 0


def window_exam(asker: Asker, window: Window, most: int) -> Exam:
    """At `most` so many questions of either kind, drawn by chance where there are more people."""
    log = asker.log
    first, end = (int(n) for n in np.searchsorted(log.time, [window.start, window.end]))
    active = _people(log, asker.liked & _between(first, end, len(log)))
    newcomers = np.setdiff1d(active, log.actor[:first])
    arrived = asker.sample(newcomers, most)
    return Exam.of(
        log.before(window.start),
        len(asker.items),
        main=(_in_the_middle(asker, a, first, end) for a in asker.sample(active, most)),
        firsts=(_after_the_first(asker, a, first, end) for a in arrived),
        visits=(_on_arrival(asker, a, first, end) for a in arrived),
    )


def _in_the_middle(asker: Asker, actor: int, first: int, end: int) -> Question | None:
    """The first half of the person's likes in the window is known, the rest is to be found."""
    events = asker.events_of(actor)
    likes = events[asker.liked[events] & (events >= first) & (events < end)]
    rest = likes[len(likes) // 2 :]
    return asker.ask(actor, events[events < rest[0]], rest)


def _after_the_first(asker: Asker, actor: int, first: int, end: int) -> Question | None:
    """The person's first like is all that is known, every later one is to be found."""
    events = asker.events_of(actor)
    likes = events[asker.liked[events] & (events >= first) & (events < end)]
    return asker.ask(actor, likes[:1], likes[1:]) if len(likes) > 1 else None


def _on_arrival(asker: Asker, actor: int, first: int, end: int) -> Question | None:
    """Nothing is known, every like is to be found."""
    events = asker.events_of(actor)
    likes = events[asker.liked[events] & (events >= first) & (events < end)]
    return asker.ask(actor, NOTHING, likes)


def leave_one_out(log: EventLog, items: ItemTable, settings: Settings) -> Plan:
    """Ask for everybody's last like, with all that came before it known; rehearse on the one before that."""
    asker = Asker(log, items, settings)
    people, previous, last = _last_two_likes(asker)
    in_training, known = _up_to(log, people, previous), _up_to(log, people, last)
    rehearsal = _next_like_exam(asker, in_training, people, previous, _most_rehearsed(settings))
    test = _next_like_exam(asker, known, people, last, settings.evaluation.max_queries)
    return Plan(
        _words(LEAVE_ONE_OUT, settings.evaluation),
        rehearsal=rehearsal,
        test=test,
        train_only=replace(test, known=rehearsal.known),
        parts={
            "training": rehearsal.known,
            "validation": log.where(known & ~in_training),
            "test": log.where(~known),
        },
    )


def _last_two_likes(asker: Asker) -> tuple[Ordinals, Ordinals, Ordinals]:
    """(people with enough likes, ascending; position of the last like but one of each; of the last)."""
    actor = asker.log.actor
    likes = np.flatnonzero(asker.liked)
    likes = likes[np.argsort(actor[likes], kind="stable")]
    counts = np.bincount(actor[likes], minlength=len(asker.log.actors))
    people = np.flatnonzero(counts >= LEAST_LIKES)
    end = np.cumsum(counts)[people]
    return people, likes[end - 2], likes[end - 1]


def _up_to(log: EventLog, people: Ordinals, position: Ordinals) -> Mask:
    """(m,) events but those that each of the people did at their position in the log or later."""
    first_hidden = np.full(len(log.actors), len(log), dtype=np.int64)
    first_hidden[people] = position
    return np.arange(len(log)) < first_hidden[log.actor]


def _next_like_exam(
    asker: Asker, known: Mask, people: Ordinals, position: Ordinals, most: int
) -> Exam:
    """Everybody is asked for the like at their position."""
    like = dict(zip(people.tolist(), position.tolist(), strict=True))
    questions = (
        asker.ask(actor, events[events < like[actor]], np.array([like[actor]]))
        for actor in asker.sample(people, most)
        for events in [asker.events_of(actor)]
    )
    return Exam.of(asker.log.where(known), len(asker.items), questions)


def by_parts(
    log: EventLog, part: NDArray[np.integer], items: ItemTable, settings: Settings
) -> Plan:
    """Ask for the likes of the test part. part: (m,) 0 training, 1 validation, 2 test of each event.

    Without a validation part, likes of the training part that are held back by chance take its place, and
    models for the test know them again.
    """
    asker = Asker(log, items, settings)
    given = bool((part == VALIDATION).any())
    part = part if given else _with_some_held_back(asker, part)
    most = settings.evaluation.max_queries
    names = {"training": TRAINING, "validation": VALIDATION, "test": TEST}
    rehearsal = _part_exam(asker, part, TRAINING, VALIDATION, _most_rehearsed(settings))
    alone = replace(_part_exam(asker, part, TRAINING, TEST, most), known=rehearsal.known)
    return Plan(
        _words(f"{BY_PARTS[given]}\n{GIVEN_SPLIT}", settings.evaluation),
        rehearsal=rehearsal,
        test=_part_exam(asker, part, VALIDATION, TEST, most),
        train_only=alone if given else None,
        parts={name: log.where(part == number) for name, number in names.items()},
        dated=False,
    )


def _part_exam(
    asker: Asker, part: NDArray[np.integer], last_known: int, wanted: int, most: int
) -> Exam:
    """Parts up to the last known one are history, likes of the wanted one are to be found."""
    likes = asker.liked & (part == wanted)
    known = part <= last_known
    questions = (
        asker.ask(actor, events[known[events]], events[likes[events]])
        for actor in asker.sample(_people(asker.log, likes), most)
        for events in [asker.events_of(actor)]
    )
    return Exam.of(asker.log.where(known), len(asker.items), questions)


def _with_some_held_back(asker: Asker, part: NDArray[np.integer]) -> NDArray[np.integer]:
    """The parts, with some of everybody's training as validation: the share of likes that the test has of all.

    A person's items are drawn, at least one of them and never all; every event on a drawn item goes with it.
    """
    log, liked, n = asker.log, asker.liked, len(asker.items)
    share = (liked & (part == TEST)).sum() / max(liked.sum(), 1)
    key = log.actor.astype(np.int64) * n + log.item
    pairs = np.unique(key[liked & (part == TRAINING)])
    rng = np.random.default_rng(asker.settings.evaluation.seed)
    pairs = pairs[np.lexsort((rng.random(len(pairs)), pairs // n))]
    _, start, group, counts = np.unique(
        pairs // n, return_index=True, return_inverse=True, return_counts=True
    )
    wanted = np.minimum(np.maximum(np.rint(counts * share), 1), counts - 1)
    held = pairs[np.arange(len(pairs)) - start[group] < wanted[group]]
    return np.where((part == TRAINING) & np.isin(key, held), VALIDATION, part)


def _people(log: EventLog, events: Mask) -> Ordinals:
    """Whose the events are, ascending."""
    return np.unique(log.actor[events]).astype(np.int64)


def _between(first: int, end: int, length: int) -> Mask:
    position = np.arange(length)
    return (position >= first) & (position < end)


def _most_rehearsed(settings: Settings) -> int:
    return min(settings.evaluation.max_queries, FITTED_ON)


def _words(protocol: str, settings: EvaluationSettings) -> str:
    """How queries and targets are made, and how they are measured."""
    return f"{protocol}\n{MEASURED_HOW}".format(
        test=settings.test,
        validation=settings.validation,
        resamples=settings.bootstrap,
        seed=settings.seed,
    )
