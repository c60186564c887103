"""What an evaluation asks: questions to people of the past, and what models may know when they are put.

EventLog -> Asker -> Question -> Exam -> Plan: an exam to learn settings and weights on, and the test
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np

from recsys.catalogue.event_log import ByActor, EventLog
from recsys.catalogue.items import ItemTable
from recsys.catalogue.times import from_us
from recsys.config import EventSettings, Settings
from recsys.evaluation.words import MADE_NEW
from recsys.identity import NOTHING, Mask, Ordinals
from recsys.preference.interactions import DAY, event_strength
from recsys.ranking.candidates import Query
from recsys.ranking.filters import on_sale
from recsys.ranking.viewer import Viewer, viewer_of

LIMIT = 20
"""Length of every slate measured: the deepest metric looks this far."""

MOST_SCORED = 20_000_000
"""New items scored in all where they are ranked among themselves: bounds the time that takes."""


@dataclass(frozen=True)
class Question:
    """A query of the past, and the items that the viewer then liked."""

    query: Query
    """`seen` holds what the viewer had seen, whether or not that is going to be hidden."""
    targets: Ordinals
    """Distinct, ascending, never empty; each was on offer. A seen item that is liked again is one, hidden or not."""
    actor: int
    """Position in the log's actors."""
    viewer: Callable[[EventSettings], Viewer] | None = None
    """What is known of the viewer, for events that weigh otherwise; None: the history is all there is."""

    def weighing(self, events: EventSettings) -> "Question":
        """The same, of a viewer whose events weigh what these settings say."""
        if self.viewer is None:
            return self
        return replace(self, query=replace(self.query, history=self.viewer(events).history))


@dataclass(frozen=True, eq=False)
class Exam:
    """Questions, and what a model may be fitted on that is to answer them."""

    known: EventLog
    main: list[Question]
    """At most one for each person."""
    new: list[Question]
    """The main ones that new items answer, put to those items alone. New: no event on it is known."""
    firsts: list[Question]
    """One for each newcomer who went on: the first like is all that is known."""
    visits: list[Question]
    """One without history for each of those who had never been seen before."""

    @classmethod
    def of(
        cls,
        known: EventLog,
        n_items: int,
        main: Iterable[Question | None],
        firsts: Iterable[Question | None] = (),
        visits: Iterable[Question | None] = (),
    ) -> "Exam":
        """The questions that could be asked."""
        new = np.bincount(known.item, minlength=n_items) == 0
        put = asked(main)
        return cls(known, put, _among(new, put), asked(firsts), asked(visits))

    @property
    def parts(self) -> tuple[list[Question], ...]:
        """In the order in which all are asked."""
        return self.main, self.new, self.firsts, self.visits

    @property
    def questions(self) -> list[Question]:
        """All of them."""
        return [question for part in self.parts for question in part]

    def hiding_seen(self, hide: bool) -> "Exam":
        """As a shop asks that hides what its viewers have seen, or as one that does not. The targets are the same."""
        if hide:
            return self
        main, new, firsts = map(_with_nothing_seen, (self.main, self.new, self.firsts))
        return replace(self, main=main, new=new, firsts=firsts)

    def weighing(self, events: EventSettings) -> "Exam":
        """As it is asked where events weigh what these settings say. The targets are the same."""
        main, new, firsts = (
            [question.weighing(events) for question in questions]
            for questions in (self.main, self.new, self.firsts)
        )
        return replace(self, main=main, new=new, firsts=firsts)

    def forgetting(self, items: Mask) -> "Exam":
        """As if no event on these items were known, neither to models nor in histories. items: (n,)

        What a viewer has seen stays out of the slates, so that the targets are all there is to find.
        """
        known = self.known.where(~items[self.known.item])
        main, firsts = (
            [_forgetting(question, items) for question in questions]
            for questions in (self.main, self.firsts)
        )
        left = (question for question in firsts if len(question.query.history))
        return Exam.of(known, len(items), main, left, self.visits)


def _among(new: Mask, main: Sequence[Question]) -> list[Question]:
    """new: (n,). A large catalogue has many new items, and all are scored: then not every question is put."""
    items = np.flatnonzero(new)
    wanted = [replace(q, targets=q.targets[new[q.targets]]) for q in main]
    answered = [question for question in wanted if len(question.targets)]
    every = max(1, -(-len(answered) * len(items) // MOST_SCORED))
    return [replace(q, query=replace(q.query, rerank=items)) for q in answered[::every]]


def _forgetting(question: Question, items: Mask) -> Question:
    history = question.query.history
    left = replace(question.query, history=history.only(~items[history.items]))
    viewer = question.viewer and partial(_viewer_without, question.viewer, items)
    return replace(question, query=left, viewer=viewer)


def _viewer_without(
    viewer: Callable[[EventSettings], Viewer], items: Mask, events: EventSettings
) -> Viewer:
    known = viewer(events)
    return replace(known, history=known.history.only(~items[known.history.items]))


def _with_nothing_seen(asked: list[Question]) -> list[Question]:
    return [replace(q, query=replace(q.query, seen=NOTHING)) for q in asked]


@dataclass(frozen=True, eq=False)
class Plan:
    """All that is asked in one evaluation."""

    protocol: str
    """How queries and targets were made, in words, a paragraph a line: belongs beside every figure."""
    rehearsal: Exam
    """The validation part: settings and weights are learned here."""
    test: Exam
    """Models may know the validation part as well."""
    train_only: Exam | None
    """The test's questions for models that never saw the validation part, as papers report; None: not asked.

    It has the very `known` of the rehearsal, whose models then answer it too.
    """
    parts: Mapping[str, EventLog]
    """`training`, `validation` and `test`: the log in three, each event in one of them."""
    dated: bool = True
    """False: the events' times say nothing."""
    earlier: Exam | None = None
    """The window before the validation's: weights that suit both owe less to the habits of one. None: none is asked."""

    def forgetting(self, items: Mask) -> "Plan":
        """The same questions, as if no event on these items were known. items: (n,)"""
        rehearsal, test, alone = self.rehearsal.forgetting(items), self.test, self.train_only
        if alone is not None:
            alone = replace(alone.forgetting(items), known=rehearsal.known)
        return replace(
            self,
            protocol=f"{self.protocol}\n{MADE_NEW.format(share=items.mean())}",
            rehearsal=rehearsal,
            test=test.forgetting(items),
            train_only=alone,
            earlier=self.earlier and self.earlier.forgetting(items),
        )


@dataclass(frozen=True, eq=False)
class Asker:
    """Puts questions to the people of a log."""

    log: EventLog
    items: ItemTable
    settings: Settings

    @cached_property
    def liked(self) -> Mask:
        """(m,) events that speak for their item."""
        log = self.log
        return event_strength(log.type, log.value, log.types, self.settings.events) > 0

    @cached_property
    def _by_actor(self) -> ByActor:
        return ByActor(self.log)

    def events_of(self, actor: int) -> Ordinals:
        """Positions in the log, oldest first."""
        return self._by_actor.events_of(actor)

    def sample(self, actors: Ordinals, most: int) -> list[int]:
        """At `most` so many of them, ascending; the same for the same seed."""
        if len(actors) > most:
            rng = np.random.default_rng(self.settings.evaluation.seed)
            actors = np.sort(rng.choice(actors, most, replace=False))
        return [int(actor) for actor in actors]

    def ask(self, actor: int, before: Ordinals, likes: Ordinals) -> Question | None:
        """Put at the moment of the first of the likes; None if no item of them was on offer then.

        before, likes: positions in the log, ascending, of what is known of the person and of what is to be found.
        """
        at = from_us(int(self.log.time[likes[0]]))
        targets = np.unique(self.log.item[likes[~self._goes_on(before, likes)]]).astype(np.int64)
        targets = targets[on_sale(self.items, at, targets)]
        if not len(targets):
            return None
        read = partial(viewer_of, self.log, before)
        viewer = read(self.settings.events)
        query = Query(at, LIMIT, viewer.history, seen=viewer.seen)
        return Question(query, targets, actor, read)

    def _goes_on(self, before: Ordinals, likes: Ordinals) -> Mask:
        """(likes,) those that end what had begun within a day, as a purchase does after a view: no news to anybody."""
        log = self.log
        newest = {int(log.item[event]): int(log.time[event]) for event in before}
        known = [newest.get(int(log.item[like]), -DAY) for like in likes]
        begun = np.isin(log.item[likes], log.item[before])
        return begun & (log.time[likes] - np.array(known, dtype=np.int64) < DAY)


def asked(questions: Iterable[Question | None]) -> list[Question]:
    """Those that could be asked."""
    return [question for question in questions if question is not None]
