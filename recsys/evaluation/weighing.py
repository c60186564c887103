"""What events weigh, found on validation questions: what each type says of a taste, and how fast they age.

questions + settings -> histories;  events + settings -> models;  both -> Panel -> NDCG@20

Types weigh in what models learn, so co-occurrence judges them for all models: it is fitted in a moment. Age weighs
in histories alone: all models that sum rows judge it, once they are fitted and each has its own fading.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from recsys.catalogue.event_log import EventLog
from recsys.config import EventSettings, Settings
from recsys.evaluation.search import Panel, climb
from recsys.evaluation.split import Question
from recsys.preference.cooccurrence import fit_cooccurrence
from recsys.preference.interactions import interactions
from recsys.preference.models import Preference
from recsys.preference.sparse import Sparse

HALF_LIVES = (3.0, 10.0, 30.0, 90.0, 180.0, 365.0, 1000.0, 3000.0)
"""Days."""

MULTIPLES = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0, 2.0, 4.0, 8.0, 16.0)
"""Of the weight that a type has unsearched: it may say more or less, never the contrary, never nothing at all."""


def search_events(
    known: EventLog,
    questions: Sequence[Question],
    n_items: int,
    settings: Settings,
    start: EventSettings | None = None,
) -> EventSettings:
    """The weights of types that suit these questions, for models that know this log; those given stay.

    start: where an earlier search ended, how fast events age included.
    """
    events, own = settings.events, settings.preference
    scale = _Scale.of(known, events)
    ladders = _ladders(known, events, scale)
    if not own.search:
        return events
    begin = events if start is None else events.taking(start)
    if not questions or not ladders:
        return begin
    fit = lru_cache(1)(
        lambda weights: _cooccurrence(known, n_items, _weighing(events, weights), settings)
    )

    def judge(tried: EventSettings) -> float:
        meant = scale.kept(tried)
        panel = Panel.of([question.weighing(meant) for question in questions], n_items)
        return panel.of_rows(fit(tuple(meant.weights.items())), own.cooccurrence_fading)

    return scale.kept(climb(judge, begin, ladders))


def search_ageing(
    fitted: Preference, questions: Sequence[Question], settings: Settings
) -> EventSettings:
    """The events' settings with the half-life that suits these questions, for models as fitted; if given it stays."""
    events = settings.events
    if not settings.preference.search or "half_life_days" in events.given or not questions:
        return events

    def judge(tried: EventSettings) -> float:
        asked = [question.weighing(tried) for question in questions]
        panel = Panel.of(asked, len(fitted.support))
        return float(np.mean([panel.of_rows(W, fading) for W, fading in fitted.rows.values()]))

    return climb(judge, events, {"half_life_days": HALF_LIVES})


@dataclass(frozen=True)
class _Scale:
    """Weights mean something beside one another: the largest stays as large as the strongest type's is unsearched."""

    liking: tuple[str, ...]
    """Types that occur with a positive weight, the strongest first."""
    most: float
    """The weight of the strongest, 0 without any."""
    fixed: bool
    """Whether one of them was given, so that the others cannot be measured by another one."""

    @classmethod
    def of(cls, known: EventLog, events: EventSettings) -> "_Scale":
        counts = np.bincount(known.type, minlength=len(known.types))
        occur = {name: int(n) for name, n in zip(known.types, counts, strict=True) if n}
        liking = [name for name in occur if events.weights.get(name, 0) > 0]
        liking.sort(key=lambda name: (-events.weights[name], -occur[name]))
        most = events.weights[liking[0]] if liking else 0.0
        return cls(tuple(liking), most, any(f"weights.{name}" in events.given for name in liking))

    def kept(self, events: EventSettings) -> EventSettings:
        """The same with all likes lighter, where one has come to weigh more than the strongest did."""
        largest = max((events.weights[name] for name in self.liking), default=0.0)
        if largest <= self.most:
            return events
        lighter = {name: events.weights[name] * self.most / largest for name in self.liking}
        return events.model_copy(update={"weights": events.weights | lighter})

    def rungs(self, weight: float) -> tuple[float, ...]:
        """Multiples of a weight."""
        bounded = self.fixed or weight < 0
        within = [m for m in MULTIPLES if m <= 1 or not bounded or abs(weight * m) <= self.most]
        return tuple(weight * multiple for multiple in within)


def _cooccurrence(
    known: EventLog, n_items: int, events: EventSettings, settings: Settings
) -> Sparse:
    own = settings.preference
    return fit_cooccurrence(interactions(known, n_items, events, own.longest_history).matrix, own)


def _weighing(events: EventSettings, weights: Sequence[tuple[str, float]]) -> EventSettings:
    return events.model_copy(update={"weights": dict(weights)})


def _ladders(known: EventLog, events: EventSettings, scale: _Scale) -> dict[str, tuple[float, ...]]:
    """Setting -> values, in order, of the types that occur, but for the strongest and those that were given."""
    occur = [known.types[code] for code in np.unique(known.type)]
    ladders = {
        f"weights.{name}": scale.rungs(events.weights[name])
        for name in occur
        if events.weights.get(name) and name not in scale.liking[:1]
    }
    return {name: ladder for name, ladder in ladders.items() if name not in events.given}
