"""What held-out time teaches before the test: settings of the models, weights of the blend, whether things come back.

rehearsal -> search_events, search -> models of what was known -> search_ageing -> candidates -> Learned
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from recsys.config import Settings
from recsys.evaluation.new_items import learn_new_items
from recsys.evaluation.past import Found, Past, Weights, examples
from recsys.evaluation.search import search, search_again
from recsys.evaluation.split import Exam, Plan, Question
from recsys.evaluation.weighing import search_ageing, search_events
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

LITTLE_KNOWN = {"popular": 1.0}
"""Where the weights for short histories set out from: after one like, popularity may still say most."""


class Steps(Protocol):
    """Names each step as it starts, and keeps how long it took."""

    def __call__(self, name: str) -> AbstractContextManager[None]:
        """Begin a step."""


@dataclass(frozen=True)
class Learned:
    """What a build takes over from its rehearsal."""

    found: Found
    weights: Weights
    """Segments with too few questions are absent, and so are new items."""
    hides_seen: bool
    fitted: Preference | None = None
    """The models of the rehearsal; None where it taught nothing."""


def learn(past: Past, plan: Plan, start: Found | None, steps: Steps) -> Learned:
    """Learn from the validation part all that it has enough questions for. start: where the last search ended."""
    given, rehearsal = past.settings, plan.rehearsal
    hide = given.ranking.hide_seen
    if not len(rehearsal.known) or not any(_segments(past, rehearsal).values()):
        return Learned(past.found, {}, hides_seen=hide != "no")
    with steps("searching settings"):
        past = past.having(_searched(past, plan, start))
        rehearsal = rehearsal.weighing(past.settings.events)
    with steps("fitting models for validation"):
        preference = past.fit(rehearsal.known)
    if plan.dated:
        with steps("searching how events age"):
            events = search_ageing(preference, _with_history(rehearsal), past.settings)
            past, rehearsal = (
                past.having(replace(past.found, events=events)),
                rehearsal.weighing(events),
            )
            preference = replace(preference, events=events)
    with steps("asking about new items"):
        for_new = learn_new_items(past, rehearsal, preference)
    with steps("fitting the blend"):
        if hide == "yes" or (hide == "learn" and _returning(rehearsal) < RETURNS):
            weights = _fitted(past, preference, rehearsal, for_new)
            return Learned(past.found, weights, True, preference)
        return _learn_to_show(past, preference, rehearsal, for_new, given)


def _searched(past: Past, plan: Plan, start: Found | None) -> Found:
    """What events weigh is found with the models of the last search, then the settings of each model."""
    known, asked, n = plan.rehearsal.known, _with_history(plan.rehearsal), len(past.items)
    before = past if start is None else past.having(replace(start, events=past.settings.events))
    events = search_events(known, asked, n, before.settings, start.events if start else None)
    past = past.having(Found(past.settings.preference, events))
    asked = [question.weighing(events) for question in asked]
    content = (past.spaces, past.priors)
    first = start.preference if start else None
    return Found(search(known, asked, n, *content, past.settings, first), events)


def _learn_to_show(
    past: Past, preference: Preference, rehearsal: Exam, for_new: OfSources, given: Settings
) -> Learned:
    """With seen items in the slates, unless slates without them do as well and nobody asked to show them."""
    open_ = rehearsal.hiding_seen(False)
    asked, before = _with_history(open_), past.found
    own = search_again(asked, preference.returns, given, before.preference)
    found = replace(before, preference=own)
    past, preference = past.having(found), replace(preference, settings=own)
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
    """The weights of each segment; short histories set out from popularity, or from what all of them learned."""
    recommender = past.recommender(preference, {})
    asked = _segments(past, exam)
    found = {segment: examples(recommender, questions) for segment, questions in asked.items()}
    weights: Weights = {}
    for segment in [segment for segment, some in found.items() if some]:
        usual = {**STARTING_WEIGHTS.get(segment, {}), **beside}
        starts = [usual] if segment != "short" else [LITTLE_KNOWN, weights.get("history", usual)]
        weights[segment] = _best_fit(found[segment], starts)
    if for_new and "history" in weights:
        known = [weights.get(q.query.segment, weights["history"]) for q in asked["history"]]
        weights[NEW_ITEMS] = fit_room(found["history"], known, for_new)
    return weights


def _best_fit(found: Sequence[Example], starts: Sequence[OfSources]) -> dict[str, float]:
    """From the first start, unless another one surely ends better."""
    best, *others = [fit_weights(found, start) for start in starts]
    for fit in others:
        stack = Stack.of(found)
        gain = stack.ndcg(fit) - stack.ndcg(best)
        if gain.mean() > gain.std() / len(gain) ** 0.5:
            best = fit
    return best


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
