"""Slates and what was liked -> figures: every model on every group of queries, and how far apart they are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from recsys.config import EvaluationSettings
from recsys.evaluation.exam import Exam
from recsys.evaluation.metrics import Shelf, accuracy, estimates
from recsys.evaluation.result import (
    ALL,
    BLEND,
    COLD_ALONE,
    COLD_ITEMS,
    FIRST_EVENT,
    FIRST_VISITS,
    HEADLINE,
    Estimate,
    Measured,
    Slice,
)
from recsys.identity import Mask, Ordinals

HISTORIES = {
    "history 1": (1, 1),
    "history 2-4": (2, 4),
    "history 5-19": (5, 19),
    "history 20+": (20, np.inf),
}
"""Slice -> fewest and most liked items known at the moment of the query."""

Slates = Mapping[str, Ordinals]
"""Model -> (q, k) items, best first, padded with `ABSENT`; one row per question of an exam."""


@dataclass(frozen=True, eq=False)
class Group:
    """Some of an exam's questions, and what is wanted there."""

    rows: Ordinals
    """Positions among the questions."""
    targets: list[Ordinals]


def groups(exam: Exam, known: Mask) -> dict[str, Group]:
    """The slices. known: (n,) items with an event that models know."""
    targets = [question.targets for question in exam.questions]
    main = np.arange(len(exam.main))
    liked = np.array([(q.query.history.weights > 0).sum() for q in exam.main], dtype=np.int64)
    found = {ALL: main}
    for name, (fewest, most) in HISTORIES.items():
        found[name] = main[(liked >= fewest) & (liked <= most)]
    rows = np.split(np.arange(len(targets)), np.cumsum([len(part) for part in exam.parts])[:-1])
    _, found[COLD_ALONE], found[FIRST_EVENT], found[FIRST_VISITS] = rows
    grouped = {name: Group(rows, [targets[row] for row in rows]) for name, rows in found.items()}
    fresh = [items[~known[items]] for items in targets[: len(main)]]
    cold = np.flatnonzero([len(items) > 0 for items in fresh])
    return grouped | {COLD_ITEMS: Group(cold, [fresh[row] for row in cold])}


def measure(
    group: Group, slates: Slates, shelf: Shelf, settings: EvaluationSettings
) -> dict[str, Slice]:
    """Model -> its metrics on one group. All models are resampled alike."""
    if not len(group.rows):
        return {model: Slice(n=0, metrics={}) for model in slates}
    vectors = {
        (model, metric): values
        for model, slate in slates.items()
        for metric, values in (
            accuracy(slate[group.rows], group.targets) | shelf.beyond_accuracy(slate[group.rows])
        ).items()
    }
    found = estimates(vectors, settings.bootstrap, settings.seed)
    return {
        model: Slice(
            n=len(group.rows),
            metrics={metric: e for (name, metric), e in found.items() if name == model}
            | {"coverage@10": Estimate(shelf.coverage(slates[model][group.rows]), None, None)},
        )
        for model in slates
    }


def judge(
    exam: Exam, slates: Slates, shelf: Shelf, known: Mask, settings: EvaluationSettings
) -> dict[str, Measured]:
    """Every model on every slice."""
    slices = {
        name: measure(group, slates, shelf, settings) for name, group in groups(exam, known).items()
    }
    return {
        model: Measured(slices={name: found[model] for name, found in slices.items()})
        for model in slates
    }


def judge_alone(
    exam: Exam, slate: Ordinals, shelf: Shelf, settings: EvaluationSettings
) -> dict[str, Estimate]:
    """One model's metrics on the main questions, of which the slate has a row each."""
    everybody = Group(np.arange(len(exam.main)), [question.targets for question in exam.main])
    return measure(everybody, {BLEND: slate}, shelf, settings)[BLEND].metrics


def gains(
    exam: Exam,
    one: Slates,
    other: Slates,
    known: Mask,
    settings: EvaluationSettings,
    slices: Sequence[str] = (ALL, COLD_ITEMS, COLD_ALONE),
) -> dict[str, dict[str, dict[str, Estimate]]]:
    """Slice -> model -> metric -> what the other slates have more than the one, query by query.

    Both of the same questions; models and slices that only one knows, or nobody was asked for, are absent.
    """
    found: dict[str, dict[str, dict[str, Estimate]]] = {}
    for name, group in groups(exam, known).items():
        if name not in slices or not len(group.rows):
            continue
        of_one, of_other = (
            {
                (model, metric): values
                for model, slate in slates.items()
                for metric, values in accuracy(slate[group.rows], group.targets).items()
            }
            for slates in (one, other)
        )
        vectors = {key: of_other[key] - values for key, values in of_one.items() if key in of_other}
        found[name] = {model: {} for model, _ in vectors}
        for (model, metric), e in estimates(vectors, settings.bootstrap, settings.seed).items():
            found[name][model][metric] = e
    return found


def differences(exam: Exam, slates: Slates, settings: EvaluationSettings) -> dict[str, Estimate]:
    """Baseline -> NDCG@10 of the blend minus that of the baseline, on the main questions, paired."""
    targets = [question.targets for question in exam.main]
    ndcg = {
        model: accuracy(slate[: len(targets)], targets)[HEADLINE] for model, slate in slates.items()
    }
    mine = ndcg.pop(BLEND)
    vectors = {name: mine - other for name, other in ndcg.items()}
    return estimates(vectors, settings.bootstrap, settings.seed)
