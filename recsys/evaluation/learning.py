"""What held-out time teaches before the test: settings of the models, weights of the blend, whether things come back.

rehearsal -> search -> models of what was known -> candidates of every question -> Learned
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from recsys.config import PreferenceSettings, Settings
from recsys.evaluation.new_items import learn_new_items
from recsys.evaluation.past import Past, Weights, examples
from recsys.evaluation.search import search, search_again
from recsys.evaluation.split import Exam, Question
from recsys.preference.models import Preference
from recsys.ranking.blend import (
    LED_BY_HISTORY,
    NEW_ITEMS,
    STARTING_WEIGHTS,
    Example,
    Stack,
    fit_room,
    fit_weights,
)
from recsys.ranking.blend import Weights as OfSources
from recsys.ranking.candidates import Candidates

RETURNS = 0.01
"""Share of what is liked that viewers had seen before, from which on it is asked whether to show seen items."""

NO_MORE: Mapping[str, float] = {}
RETURNING: Mapping[str, float] = {"again": 0.5}
"""Joins the starting weights where seen items are shown."""


class Steps(Protocol):
    """Names each step as it starts, and keeps how long it took."""

    def __call__(self, name: str) -> AbstractContextManager[None]:
        """Begin a step."""


@dataclass(frozen=True)
class Learned:
    """What a build takes over from its rehearsal."""

    preference: PreferenceSettings
    weights: Weights
    """Segments with too few questions are absent, and so are new items."""
    hides_seen: bool
    fitted: Preference | None = None
    """The models of the rehearsal; None where it taught nothing."""


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
    with steps("asking about new items"):
        for_new = learn_new_items(past, rehearsal)
    with steps("fitting the blend"):
        if hide == "yes" or (hide == "learn" and _returning(rehearsal) < RETURNS):
            weights = _fitted(past, preference, rehearsal, for_new)
            return Learned(past.settings.preference, weights, True, preference)
        return _learn_to_show(past, preference, rehearsal, for_new, given)


def _learn_to_show(
    past: Past, preference: Preference, rehearsal: Exam, for_new: OfSources, given: Settings
) -> Learned:
    """With seen items in the slates, unless slates without them do as well and nobody asked to show them."""
    open_ = rehearsal.hiding_seen(False)
    asked, before = _with_history(open_), past.settings.preference
    found = search_again(asked, preference.returns, given, before)
    past, preference = past.having(found), replace(preference, settings=found)
    shown = _fitted(past, preference, open_, for_new, RETURNING)
    if given.ranking.hide_seen == "no":
        return Learned(found, shown, False, preference)
    hidden = _fitted(past, preference, rehearsal, for_new)
    if _gains(past, preference, rehearsal, shown, hidden):
        return Learned(found, shown, False, preference)
    return Learned(found, hidden, True, preference)


def _segments(past: Past, exam: Exam) -> dict[str, list[Question]]:
    """The questions of each segment that has enough; `history` has those of short ones too."""
    asked = {
        "history": _with_history(exam),
        "short": [q for q in exam.main + exam.firsts if q.query.segment == "short"],
        "newcomer": exam.visits,
    }
    least = past.settings.evaluation.min_queries
    return {segment: found if len(found) >= least else [] for segment, found in asked.items()}


def _with_history(exam: Exam) -> list[Question]:
    return [q for q in exam.main if q.query.segment in LED_BY_HISTORY]


def _returning(rehearsal: Exam) -> float:
    """Share of the targets that their viewers had seen."""
    seen = [np.isin(q.targets, q.query.seen).mean() for q in rehearsal.main]
    return float(np.mean(seen)) if seen else 0.0


def _fitted(
    past: Past,
    preference: Preference,
    exam: Exam,
    for_new: OfSources,
    beside: Mapping[str, float] = NO_MORE,
) -> Weights:
    """The weights of each segment; a short history starts from what all of them learned."""
    recommender = past.recommender(preference, {})
    asked = _segments(past, exam)
    found = {segment: examples(recommender, questions) for segment, questions in asked.items()}
    weights: Weights = {}
    for segment in [segment for segment, some in found.items() if some]:
        usual = "history" if segment == "short" else segment
        start = weights.get(usual, {**STARTING_WEIGHTS[usual], **beside})
        weights[segment] = fit_weights(found[segment], start)
    if for_new and "history" in weights:
        known = [weights.get(q.query.segment, weights["history"]) for q in asked["history"]]
        weights[NEW_ITEMS] = fit_room(found["history"], known, for_new)
    return weights


def _gains(
    past: Past, preference: Preference, rehearsal: Exam, shown: Weights, hidden: Weights
) -> bool:
    """Whether slates with seen items among them hold more of what was liked than slates without."""
    recommender = past.recommender(preference, {})
    asked, start = _with_history(rehearsal), STARTING_WEIGHTS["history"]
    with_seen = examples(recommender, _with_history(rehearsal.hiding_seen(False)))
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
