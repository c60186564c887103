"""Does a ranker beat the blend on questions later than those it learned from? Only then is it worth its time.

Rehearsed -> the earlier questions teach a blend and a ranker -> the later ones judge both -> Trial

A ranker learns the habits of a window as readily as those of people. Judged on people of the same window it
won by 5 % on MovieLens-1M, and lost on the next window.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from recsys.config import EvaluationSettings
from recsys.evaluation.blending import Rehearsed, blended
from recsys.evaluation.exam import LIMIT, Question
from recsys.evaluation.metrics import accuracy, estimates, padded
from recsys.evaluation.past import Weights
from recsys.evaluation.result import Trial
from recsys.identity import Floats, Ordinals
from recsys.ranking.blend import Example
from recsys.ranking.features import Features
from recsys.ranking.ranker import Lesson, Ranker, fit_ranker

EARLIER = 0.6
"""Share of the questions that teach; the later ones judge."""

METRIC = "ndcg@20"
"""What the blend's weights are fitted to as well."""

Pairs = Sequence[tuple[Question, Example]]


def try_ranker(
    asked: Rehearsed,
    weights: Weights,
    features: Features,
    dated: bool,
    settings: EvaluationSettings,
) -> Trial:
    """Learn a ranker, and use it where it surely wins.

    weights: of the blend that all questions taught. dated: whether the moments of questions say anything.
    """
    pairs = asked.asked["history"]
    is_earlier = _earlier([question for question, _ in pairs], dated, settings.seed)
    earlier, later = asked.only(is_earlier), [pair for pair in pairs if not is_earlier(pair[0])]
    telling = _telling(earlier.asked["history"])
    if min(len(telling), len(later)) < settings.min_queries:
        return Trial(used=False, queries=0)
    first = earlier.weights()
    model = _taught(telling, first, features, settings.seed)
    gains = _gains(Ranker.read(model, features), later, first)
    gain = estimates({METRIC: gains}, settings.bootstrap, settings.seed)[METRIC]
    used = gain.low is not None and gain.low > 0
    whole = _taught(_telling(pairs), weights, features, settings.seed) if used else ""
    return Trial(used=used, queries=len(later), gain=gain, model=whole)


def _earlier(asked: Sequence[Question], dated: bool, seed: int) -> Callable[[Question], bool]:
    """Whether a question is among the earlier ones; where times say nothing, among those of people drawn by chance."""
    if dated:
        moments = sorted(question.query.at for question in asked)
        end = moments[int(EARLIER * len(moments))] if moments else None
        return lambda question: end is not None and question.query.at < end
    people = np.unique([question.actor for question in asked])
    drawn = np.random.default_rng(seed).permutation(people)[: round(EARLIER * len(people))]
    chosen = frozenset(drawn.tolist())
    return lambda question: question.actor in chosen


def _telling(pairs: Pairs) -> Pairs:
    """Those where something that was then liked is among the candidates."""
    return [(question, example) for question, example in pairs if example.chosen.any()]


def _taught(pairs: Pairs, weights: Weights, features: Features, seed: int) -> str:
    sources = sorted({name for _, example in pairs for name in example.candidates.scores})
    lessons = []
    for question, example in pairs:
        scores = blended(question, example, weights)
        table = features.table(sources, question.query, example.candidates, scores)
        lessons.append(Lesson(table, scores, example.chosen))
    return fit_ranker(sources, lessons, seed)


def _gains(ranker: Ranker, pairs: Pairs, weights: Weights) -> NDArray[np.float64]:
    """(questions,) what the ranker adds to the metric of the blend."""
    alone, lifted = [], []
    for question, example in pairs:
        scores = blended(question, example, weights)
        lift = ranker.judge(question.query, example.candidates, scores)
        alone.append(_slate(example, scores))
        lifted.append(_slate(example, scores + lift.scores))
    targets = [question.targets for question, _ in pairs]
    of_blend, of_ranker = (accuracy(padded(s, LIMIT), targets)[METRIC] for s in (alone, lifted))
    return of_ranker - of_blend


def _slate(example: Example, scores: Floats) -> Ordinals:
    """At most LIMIT of the best candidates, as a request would get them."""
    items = example.candidates.items
    return items[np.lexsort((items, -scores))[:LIMIT]]
