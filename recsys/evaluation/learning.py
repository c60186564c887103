"""What held-out time teaches before the test: settings of the models, weights of the blend, whether things come back.

rehearsal -> search_events, search -> models of what was known -> search_ageing -> candidates -> Learned
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import reduce
from typing import Protocol

import numpy as np

from recsys.config import EventSettings, PreferenceSettings, Settings
from recsys.evaluation.blending import Rehearsed, segments, with_history
from recsys.evaluation.new_items import learn_new_items
from recsys.evaluation.past import Found, Past, Weights
from recsys.evaluation.result import Evaluation, Trial
from recsys.evaluation.search import search, search_again
from recsys.evaluation.split import Exam, Plan, Question
from recsys.evaluation.trial import try_ranker
from recsys.evaluation.weighing import search_ageing, search_events
from recsys.preference.models import Preference
from recsys.ranking.blend import STARTING_WEIGHTS, Example, Stack
from recsys.ranking.blend import Weights as OfSources
from recsys.ranking.candidates import Candidates
from recsys.ranking.features import Features

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

    found: Found
    weights: Weights
    """Segments with too few questions are absent, and so are new items."""
    hides_seen: bool
    fitted: Preference | None = None
    """The models of the rehearsal; None where there was none."""
    trial: Trial | None = None
    """How a ranker did; None where none was to be tried."""

    @property
    def ranker(self) -> str | None:
        """LightGBM's text of the ranker that is to be used, if any."""
        return self.trial.served if self.trial else None


def taken_over(evaluation: Evaluation) -> Learned:
    """What an evaluation learned that measured something."""
    found = found_by(evaluation)
    if found is None:
        raise ValueError("an evaluation that measured nothing has learned nothing")
    return Learned(found, evaluation.weights, evaluation.hides_seen, trial=evaluation.ranker)


def found_by(evaluation: Evaluation) -> Found | None:
    """The settings that an evaluation found; None where nothing was measured."""
    if not evaluation.measured:
        return None
    preference = PreferenceSettings.model_validate(evaluation.preference)
    return Found(preference, EventSettings.model_validate(evaluation.events))


def learn(past: Past, plan: Plan, start: Found | None, steps: Steps) -> Learned:
    """Learn from the validation part all that it has enough questions for. start: where the last search ended."""
    given, rehearsal = past.settings, plan.rehearsal
    hide = given.ranking.hide_seen
    if not len(rehearsal.known) or not any(segments(past, rehearsal).values()):
        return Learned(past.found, {}, hides_seen=hide != "no")
    with steps("searching settings"):
        past = past.having(_searched(past, plan, start))
        rehearsal = rehearsal.weighing(past.settings.events)
    with steps("fitting models for validation"):
        preference = past.fit(rehearsal.known)
    if plan.dated:
        with steps("searching how events age"):
            events = search_ageing(preference, with_history(rehearsal), past.settings)
            past = past.having(replace(past.found, events=events))
            rehearsal, preference = rehearsal.weighing(events), replace(preference, events=events)
    with steps("asking about new items"):
        for_new = learn_new_items(past, rehearsal, preference)
    rehearsals = [_Rehearsal(rehearsal, preference)]
    if plan.earlier is not None:
        with steps("fitting models for an earlier window"):
            fitted = past.fit(plan.earlier.known)
            rehearsals += [_Rehearsal(plan.earlier.weighing(past.settings.events), fitted)]
    with steps("fitting the blend"):
        if hide == "yes" or (hide == "learn" and _returning(rehearsal) < RETURNS):
            asked = _asked(past, rehearsals, for_new)
            learned = Learned(past.found, asked.weights(), True, preference)
        else:
            learned, asked = _learn_to_show(past, rehearsals, for_new, given)
    if given.ranking.ranker == "blend":
        return learned
    with steps("trying the ranker"):
        features = Features.of(past.items, preference.popularity)
        trial = try_ranker(asked, learned.weights, features, plan.dated, given.evaluation)
    return replace(learned, trial=trial)


@dataclass(frozen=True)
class _Rehearsal:
    """Questions of one window, and the models of what was known before it."""

    exam: Exam
    fitted: Preference


def _asked(
    past: Past, rehearsals: Sequence[_Rehearsal], for_new: OfSources, beside: OfSources = NO_MORE
) -> Rehearsed:
    """The questions of all windows."""
    every = [Rehearsed.of(past, one.fitted, one.exam, for_new, beside) for one in rehearsals]
    return reduce(Rehearsed.joined, every)


def _searched(past: Past, plan: Plan, start: Found | None) -> Found:
    """What events weigh is found with the models of the last search, then the settings of each model."""
    known, asked, n = plan.rehearsal.known, with_history(plan.rehearsal), len(past.items)
    before = past if start is None else past.having(replace(start, events=past.settings.events))
    events = search_events(known, asked, n, before.settings, start.events if start else None)
    past = past.having(Found(past.settings.preference, events))
    asked = [question.weighing(events) for question in asked]
    content = (past.spaces, past.priors)
    first = start.preference if start else None
    return Found(search(known, asked, n, *content, past.settings, first), events)


def _learn_to_show(
    past: Past, rehearsals: Sequence[_Rehearsal], for_new: OfSources, given: Settings
) -> tuple[Learned, Rehearsed]:
    """With seen items in the slates, unless slates without them do as well and nobody asked to show them."""
    last, before = rehearsals[0], past.found
    asked = with_history(last.exam.hiding_seen(False))
    own = search_again(asked, last.fitted.returns, given, before.preference)
    found = replace(before, preference=own)
    past = past.having(found)
    rehearsals = [replace(one, fitted=replace(one.fitted, settings=own)) for one in rehearsals]
    open_ = [replace(one, exam=one.exam.hiding_seen(False)) for one in rehearsals]
    preference, asked_shown = rehearsals[0].fitted, _asked(past, open_, for_new, RETURNING)
    shown = asked_shown.weights()
    if given.ranking.hide_seen == "no":
        return Learned(found, shown, False, preference), asked_shown
    asked_hidden = _asked(past, rehearsals, for_new)
    hidden = asked_hidden.weights()
    if _gains(asked_shown, asked_hidden, shown, hidden):
        return Learned(found, shown, False, preference), asked_shown
    return Learned(found, hidden, True, preference), asked_hidden


def _returning(rehearsal: Exam) -> float:
    """Share of the targets that their viewers had seen."""
    seen = [np.isin(q.targets, q.query.seen).mean() for q in rehearsal.main]
    return float(np.mean(seen)) if seen else 0.0


def _gains(open_: Rehearsed, closed: Rehearsed, shown: Weights, hidden: Weights) -> bool:
    """Whether slates with seen items among them hold more of what was liked than slates without.

    The same questions, with seen items among the candidates and with the seen items named.
    """
    pairs = zip(open_.asked["history"], closed.asked["history"], strict=True)
    both = [(example, _without(example, question)) for (_, example), (question, _) in pairs]
    if not both:
        return False
    start = STARTING_WEIGHTS["history"]
    most = Stack.of([with_seen for with_seen, _ in both]).ndcg(shown.get("history", start))
    gain = most - Stack.of([left for _, left in both]).ndcg(hidden.get("history", start))
    return bool(gain.mean() > gain.std() / len(gain) ** 0.5)


def _without(example: Example, question: Question) -> Example:
    """The same had what was seen been hidden."""
    keep = ~np.isin(example.candidates.items, question.query.seen)
    scores = {name: values[keep] for name, values in example.candidates.scores.items()}
    left = Candidates(example.candidates.items[keep], scores)
    return Example(left, example.chosen[keep], example.targets)
