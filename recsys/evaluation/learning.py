"""What held-out time teaches before the test: settings of the models, weights of the blend, whether things come back.

rehearsal -> search -> models of what was known -> candidates of every question -> Learned
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from recsys.catalogue.event_log import EventLog
from recsys.catalogue.items import ItemTable
from recsys.config import PreferenceSettings, Settings
from recsys.evaluation.search import search, search_again
from recsys.evaluation.split import Exam, Question
from recsys.identity import Floats
from recsys.index.space import Space
from recsys.preference.cold import ContentPrior
from recsys.preference.models import Preference, fit_preference
from recsys.ranking.blend import STARTING_WEIGHTS, Example, Stack, fit_weights
from recsys.ranking.candidates import Candidates
from recsys.ranking.recommender import Recommender
from recsys.snapshot import Artefacts
from recsys.threads import one_blas_thread

RETURNS = 0.01
"""Share of what is liked that viewers had seen before, from which on it is asked whether to show seen items."""

NO_MORE: Mapping[str, float] = {}
RETURNING: Mapping[str, float] = {"again": 0.5}
"""Joins the starting weights where seen items are shown."""

Weights = dict[str, dict[str, float]]
"""Segment -> source -> weight."""


class Steps(Protocol):
    """Names each step as it starts, and keeps how long it took."""

    def __call__(self, name: str) -> AbstractContextManager[None]:
        """Begin a step."""


@dataclass(frozen=True)
class Learned:
    """What a build takes over from its rehearsal."""

    preference: PreferenceSettings
    weights: Weights
    """Segments with too few questions are absent."""
    hides_seen: bool


@dataclass(frozen=True)
class Past:
    """A world of which models know only a part of the events."""

    items: ItemTable
    spaces: Mapping[str, Space]
    priors: Mapping[str, ContentPrior]
    settings: Settings

    @property
    def content(self) -> Floats | None:
        """(n, d) unit vectors of the text, else of the images; zero where an item has none."""
        space = self.spaces.get("text") or self.spaces.get("image")
        return None if space is None else space.rows

    def fit(self, known: EventLog) -> Preference:
        """The models that a rebuild would have made, had these been all events."""
        return fit_preference(known, len(self.items), self.priors, self.settings)

    def recommender(self, preference: Preference, weights: Weights) -> Recommender:
        """What would have been served."""
        artefacts = Artefacts(self.items, self.spaces, preference, weights)
        return Recommender.of(artefacts, self.settings.ranking)

    def having(self, found: PreferenceSettings) -> "Past":
        """The same with other settings of the models."""
        return replace(self, settings=self.settings.model_copy(update={"preference": found}))


def learn(past: Past, rehearsal: Exam, start: PreferenceSettings | None, steps: Steps) -> Learned:
    """Learn from the validation part all that it has enough questions for. start: where the last search ended."""
    given, hide = past.settings, past.settings.ranking.hide_seen
    if not len(rehearsal.known) or not any(_segments(past, rehearsal).values()):
        return Learned(given.preference, {}, hides_seen=hide != "no")
    with steps("searching settings"):
        asked = _with_history(rehearsal)
        content = (past.spaces, past.priors)
        past = past.having(search(rehearsal.known, asked, len(past.items), *content, given, start))
    with steps("fitting models for validation"):
        preference = past.fit(rehearsal.known)
    with steps("fitting the blend"):
        if hide == "yes" or (hide == "learn" and _returning(rehearsal) < RETURNS):
            weights = _fitted(past, preference, rehearsal)
            return Learned(past.settings.preference, weights, hides_seen=True)
        return _learn_to_show(past, preference, rehearsal, given)


def _learn_to_show(past: Past, preference: Preference, rehearsal: Exam, given: Settings) -> Learned:
    """With seen items in the slates, unless slates without them do as well and nobody asked to show them."""
    open_ = rehearsal.hiding_seen(False)
    asked, before = _with_history(open_), past.settings.preference
    found = search_again(asked, preference.returns, given, before)
    past, preference = past.having(found), replace(preference, settings=found)
    shown = _fitted(past, preference, open_, RETURNING)
    if given.ranking.hide_seen == "no":
        return Learned(found, shown, hides_seen=False)
    hidden = _fitted(past, preference, rehearsal)
    if _gains(past, preference, rehearsal, shown, hidden):
        return Learned(found, shown, hides_seen=False)
    return Learned(found, hidden, hides_seen=True)


def _segments(past: Past, exam: Exam) -> dict[str, list[Question]]:
    """The questions of each segment that has enough; `history` has those of short ones too."""
    asked = {
        "history": _with_history(exam),
        "short": [q for q in exam.main if q.query.segment == "short"],
        "newcomer": exam.visits,
    }
    least = past.settings.evaluation.min_queries
    return {segment: found if len(found) >= least else [] for segment, found in asked.items()}


def _with_history(exam: Exam) -> list[Question]:
    return [q for q in exam.main if q.query.segment in ("history", "short")]


def _returning(rehearsal: Exam) -> float:
    """Share of the targets that their viewers had seen."""
    seen = [np.isin(q.targets, q.query.seen).mean() for q in rehearsal.main]
    return float(np.mean(seen)) if seen else 0.0


def _fitted(
    past: Past, preference: Preference, exam: Exam, beside: Mapping[str, float] = NO_MORE
) -> Weights:
    """The weights of each segment; a short history starts from what all of them learned."""
    recommender = past.recommender(preference, {})
    weights: Weights = {}
    for segment, asked in _segments(past, exam).items():
        if asked:
            start = (
                weights["history"]
                if segment == "short"
                else {**STARTING_WEIGHTS[segment], **beside}
            )
            weights[segment] = fit_weights(_examples(recommender, asked), start)
    return weights


def _examples(recommender: Recommender, asked: Sequence[Question]) -> list[Example]:
    found = []
    with one_blas_thread():  # the products are too small to share
        for question in asked:
            candidates = recommender.candidates(question.query)
            chosen = np.isin(candidates.items, question.targets)
            found.append(Example(candidates, chosen, len(question.targets)))
    return found


def _gains(
    past: Past, preference: Preference, rehearsal: Exam, shown: Weights, hidden: Weights
) -> bool:
    """Whether slates with seen items among them hold more of what was liked than slates without."""
    recommender = past.recommender(preference, {})
    asked, start = _with_history(rehearsal), STARTING_WEIGHTS["history"]
    with_seen = _examples(recommender, _with_history(rehearsal.hiding_seen(False)))
    without = [_without(e, q) for e, q in zip(with_seen, asked, strict=True)]
    most = Stack.of(with_seen).ndcg(shown.get("history", start))
    gain = most - Stack.of(without).ndcg(hidden.get("history", start))
    return bool(gain.mean() > gain.std() / len(gain) ** 0.5)


def _without(example: Example, question: Question) -> Example:
    """The same had what was seen been hidden."""
    keep = ~np.isin(example.candidates.items, question.query.seen)
    scores = {name: values[keep] for name, values in example.candidates.scores.items()}
    left = Candidates(example.candidates.items[keep], scores)
    return Example(left, example.chosen[keep], example.targets)
