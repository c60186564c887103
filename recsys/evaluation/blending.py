"""Questions of each segment, with what the sources say to them -> the weights of the blend."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from recsys.evaluation.exam import Exam, Question
from recsys.evaluation.past import Past, Weights, examples
from recsys.identity import Floats
from recsys.preference.models import Preference
from recsys.ranking.blend import (
    LED_BY_HISTORY,
    NEW_ITEMS,
    STARTING_WEIGHTS,
    Example,
    blend,
    fit_room,
    fit_weights,
)
from recsys.ranking.blend import Weights as OfSources

LITTLE_KNOWN = {"popular": 1.0}
"""Where the weights for short histories set out from: after one like, popularity may still say most."""


@dataclass(frozen=True, eq=False)
class Rehearsed:
    """What the sources said to the questions of a validation part, and what was liked."""

    asked: Mapping[str, Sequence[tuple[Question, Example]]]
    """Segment -> its questions, none where they are too few; `history` has all that a history leads."""
    least: int
    """Fewer questions of a segment are too few."""
    for_new: OfSources
    """The weights for new items among themselves; empty: nothing is known of them."""
    beside: OfSources
    """Joins the starting weights."""

    @classmethod
    def of(
        cls,
        past: Past,
        preference: Preference,
        exam: Exam,
        for_new: OfSources,
        beside: OfSources,
    ) -> "Rehearsed":
        """Ask every source, whether or not it is going to have a weight."""
        wanted = segments(past, exam)
        every = list({id(q): q for questions in wanted.values() for q in questions}.values())
        told = examples(past.recommender(preference, {}), every)
        pairs = {id(q): (q, example) for q, example in zip(every, told, strict=True)}
        asked = {name: [pairs[id(q)] for q in questions] for name, questions in wanted.items()}
        return cls(asked, past.settings.evaluation.min_queries, for_new, beside)

    def joined(self, other: "Rehearsed") -> "Rehearsed":
        """With the questions of another window as well."""
        asked = {name: [*pairs, *other.asked[name]] for name, pairs in self.asked.items()}
        return replace(self, asked=asked)

    def only(self, keep: Callable[[Question], bool]) -> "Rehearsed":
        """The same had fewer questions been put."""
        kept = {
            segment: [pair for pair in pairs if keep(pair[0])]
            for segment, pairs in self.asked.items()
        }
        enough = {name: some if len(some) >= self.least else [] for name, some in kept.items()}
        return replace(self, asked=enough)

    def weights(self) -> Weights:
        """The weights of each segment that has questions.

        Short histories, and those of who comes back, set out from what all of them learned as well.
        """
        found: Weights = {}
        for segment in [segment for segment, pairs in self.asked.items() if pairs]:
            usual = {**STARTING_WEIGHTS.get(segment, STARTING_WEIGHTS["history"]), **self.beside}
            learned = found.get("history", usual)
            starts = {"short": (LITTLE_KNOWN, learned), "returning": (usual, learned)}
            told = [example for _, example in self.asked[segment]]
            found[segment] = fit_weights(told, *starts.get(segment, (usual,)))
        if self.for_new and "history" in found:
            pairs = self.asked["history"]
            known = [found.get(q.query.segment, found["history"]) for q, _ in pairs]
            found[NEW_ITEMS] = fit_room([example for _, example in pairs], known, self.for_new)
        return found


def segments(past: Past, exam: Exam) -> dict[str, list[Question]]:
    """The questions of each segment that has enough; `history` has all with one.

    Where all but a few come back, as where each moment is a day, `history` says all there is to say of it.
    """
    led, least = with_history(exam), past.settings.evaluation.min_queries
    going_on = [q for q in led if q.query.segment == "history"]
    returning = [q for q in led if q.query.segment == "returning"]
    asked = {
        "history": led,
        "returning": returning if len(going_on) >= least else [],
        "short": [q for q in exam.main + exam.firsts if q.query.segment == "short"],
        "newcomer": exam.visits,
    }
    return {segment: found if len(found) >= least else [] for segment, found in asked.items()}


def with_history(exam: Exam) -> list[Question]:
    """The main questions of people who like something."""
    return [q for q in exam.main if q.query.segment in LED_BY_HISTORY]


def blended(question: Question, example: Example, weights: Weights) -> Floats:
    """(candidates,) the scores of a blend with these weights, of a question led by a history."""
    known = weights.get(question.query.segment, weights["history"])
    total = np.zeros(len(example.candidates.items), dtype=np.float32)
    for part in blend(example.candidates, known, weights.get(NEW_ITEMS, known)).values():
        total += part
    return total
