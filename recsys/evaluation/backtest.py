"""What would the engine have suggested? Fit on the past, ask about the time after, compare with what was liked.

events before validation -> models -> questions of the validation window -> weights of the blend
events before test -> models, blend, baselines -> questions of the test window -> Evaluation
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter

import numpy as np

from recsys.catalogue.event_log import EventLog
from recsys.catalogue.items import ItemTable
from recsys.catalogue.times import from_us
from recsys.config import Settings
from recsys.evaluation.baselines import WHY_LEFT_OUT, baseline_slates
from recsys.evaluation.judge import Slates, differences, judge
from recsys.evaluation.metrics import Shelf
from recsys.evaluation.result import BLEND, Evaluation, Period
from recsys.evaluation.split import LIMIT, Exam, Question, make_exam, protocol, windows
from recsys.identity import ABSENT, Floats, Ordinals
from recsys.index.space import Space
from recsys.preference.baselines import fit_baselines
from recsys.preference.cold import ContentPrior
from recsys.preference.models import Preference, fit_preference
from recsys.ranking.blend import STARTING_WEIGHTS, Example, fit_weights
from recsys.ranking.recommender import Recommender
from recsys.snapshot import Artefacts

__all__ = ["Evaluation", "backtest"]

FITTED_ON = 3_000
"""Validation queries that the weights are fitted on at the most: enough for eight numbers, and it bounds memory."""

MEASURED_SETTINGS = {"events", "embedding", "index", "preference", "ranking", "evaluation"}
"""Sections of the settings that figures depend on; no other is copied, least of all the database's."""

Weights = dict[str, dict[str, float]]
"""Segment -> source -> weight."""


def backtest(
    items: ItemTable,
    spaces: Mapping[str, Space],
    priors: Mapping[str, ContentPrior],
    log: EventLog,
    settings: Settings,
    progress: Callable[[str], None] | None = None,
) -> Evaluation:
    """Measure on the newest events what models of the earlier ones suggest.

    progress is told the name of each step as it starts. Equal inputs give an equal outcome, but for `seconds`.
    """
    past = _Past(items, spaces, priors, log, settings)
    steps = _Steps(progress)
    outcome = _nothing_yet(past)
    if not len(log):
        return outcome.model_copy(update={"reason": "there are no events"})
    most = settings.evaluation.max_queries
    validation, test = windows(log, settings.evaluation)
    with steps("making the questions"):
        rehearsal = make_exam(log, validation, items, settings, min(most, FITTED_ON))
        exam = make_exam(log, test, items, settings, most)
    periods = _periods(log, rehearsal, exam)
    if reason := _too_little(past, exam):
        return outcome.model_copy(update={"reason": reason, "windows": periods})
    weights = _learn(past, rehearsal, steps)
    slates, preference = _answer(past, exam, weights, steps)
    with steps("measuring"):
        shelf = Shelf(items.available, preference.support, past.content)
        known = np.bincount(log.before(test.start).item, minlength=len(items)) > 0
        models = judge(exam, slates, shelf, known, settings.evaluation)
        difference = differences(exam, slates, settings.evaluation)
    found = {
        "measured": True,
        "windows": periods,
        "weights": weights,
        "models": models,
        "left_out": {name: why for name, why in WHY_LEFT_OUT.items() if name not in models},
        "difference": difference,
        "seconds": steps.seconds,
    }
    return outcome.model_copy(update=found)


@dataclass(frozen=True)
class _Steps:
    """Names each step as it starts, and keeps how long it took."""

    progress: Callable[[str], None] | None
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        if self.progress:
            self.progress(name)
        started = perf_counter()
        yield
        self.seconds[name] = perf_counter() - started


@dataclass(frozen=True)
class _Past:
    """A world of which only what came before some moment is looked at."""

    items: ItemTable
    spaces: Mapping[str, Space]
    priors: Mapping[str, ContentPrior]
    log: EventLog
    settings: Settings

    @property
    def content(self) -> Floats | None:
        """(n, d) unit vectors of the text, else of the images; zero where an item has none."""
        space = self.spaces.get("text") or self.spaces.get("image")
        return None if space is None else space.rows

    def fit(self, before: int) -> Preference:
        """The models that a rebuild at this moment would have made."""
        return fit_preference(self.log.before(before), len(self.items), self.priors, self.settings)

    def recommender(self, preference: Preference, weights: Weights) -> Recommender:
        """What would have been served."""
        artefacts = Artefacts(self.items, self.spaces, preference, weights)
        return Recommender.of(artefacts, self.settings.ranking)


def _too_little(past: _Past, exam: Exam) -> str:
    """Why an exam would tell nothing; empty if it would."""
    least = past.settings.evaluation.min_queries
    if not len(past.log.before(exam.window.start)):
        return "no event is older than the test window"
    if len(exam.main) < least:
        return (
            f"the test window gives {len(exam.main)} queries, "
            f"the setting evaluation.min_queries asks for {least}"
        )
    return ""


def _learn(past: _Past, exam: Exam, steps: _Steps) -> Weights:
    """Fit the blend on the validation window, for each segment with enough queries there."""
    with_history = [q for q in exam.main if q.query.segment == "history"]
    asked = {"history": with_history, "newcomer": exam.visits}
    least = past.settings.evaluation.min_queries
    asked = {segment: found for segment, found in asked.items() if len(found) >= least}
    if not asked or not len(past.log.before(exam.window.start)):
        return {}
    with steps("fitting models for validation"):
        recommender = past.recommender(past.fit(exam.window.start), {})
    with steps("fitting the blend"):
        return {
            segment: fit_weights(
                [_example(recommender, question) for question in found], STARTING_WEIGHTS[segment]
            )
            for segment, found in asked.items()
        }


def _example(recommender: Recommender, question: Question) -> Example:
    candidates = recommender.candidates(question.query)
    chosen = np.isin(candidates.items, question.targets)
    return Example(candidates, chosen, len(question.targets))


def _answer(past: _Past, exam: Exam, weights: Weights, steps: _Steps) -> tuple[Slates, Preference]:
    """Let the blend and every baseline answer every question."""
    queries = [question.query for question in exam.questions]
    with steps("fitting models for test"):
        preference = past.fit(exam.window.start)
    with steps("fitting baselines"):
        known = past.log.before(exam.window.start)
        scorers = fit_baselines(known, preference, past.content, past.settings)
    with steps("asking the blend"):
        recommender = past.recommender(preference, weights)
        blend = np.stack([_served(recommender, question) for question in exam.questions])
    with steps("asking the baselines"):
        popular = preference.popularity.popular
        others = baseline_slates(scorers, popular, past.items, queries)
    return {BLEND: blend} | others, preference


def _served(recommender: Recommender, question: Question) -> Ordinals:
    """(LIMIT,) the items of the very slate that a request would get."""
    ids = [suggestion.item for suggestion in recommender.recommend(question.query).items]
    slate = np.full(LIMIT, ABSENT, dtype=np.int64)
    slate[: len(ids)] = recommender.items.ids.ordinals(ids)
    return slate


def _periods(log: EventLog, rehearsal: Exam, exam: Exam) -> dict[str, Period]:
    """The three stretches of time, left out where they hold no event."""
    asked = {"validation": rehearsal, "test": exam}
    stretches = {"training": log.before(rehearsal.window.start)} | {
        name: log.between(part.window.start, part.window.end) for name, part in asked.items()
    }
    return {
        name: Period(
            start=from_us(int(stretch.time[0])),
            end=from_us(int(stretch.time[-1])),
            events=len(stretch),
            actors=len(np.unique(stretch.actor)),
            queries=len(asked[name].main) if name in asked else 0,
            first_visits=len(asked[name].visits) if name in asked else 0,
        )
        for name, stretch in stretches.items()
        if len(stretch)
    }


def _nothing_yet(past: _Past) -> Evaluation:
    """How it is measured and on what, before anything is found."""
    return Evaluation(
        protocol=protocol(past.settings.evaluation),
        settings=past.settings.model_dump(mode="json", include=MEASURED_SETTINGS),
        data_digest=_digest(past.items, past.log),
    )


def _digest(items: ItemTable, log: EventLog) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for name in (*items.ids, *log.actors, *log.types):
        digest.update(name.encode() + b"\0")
    for column in (log.actor, log.item, log.type, log.value, log.time):
        digest.update(np.ascontiguousarray(column).tobytes())
    return digest.hexdigest()
