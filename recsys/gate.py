"""May a build be published? What it measured, against popularity and the snapshot that it would replace."""

import math
from datetime import datetime

import numpy as np

from recsys.config import Settings, SnapshotSettings
from recsys.evaluation.result import (
    BLEND,
    COLD_ALONE,
    FIRST_EVENT,
    FIRST_VISITS,
    HEADLINE,
    Estimate,
    Evaluation,
    Slice,
)
from recsys.evaluation.words import SLICES, interval
from recsys.ranking.candidates import Query
from recsys.ranking.recommender import Recommender
from recsys.snapshot import Artefacts, Manifest

FLOORS = (COLD_ALONE, FIRST_EVENT, FIRST_VISITS)
"""Slices of an evaluation that have a bar of their own."""


def gate(
    new: Manifest,
    current: Manifest | None,
    evaluation: Evaluation,
    rival: Evaluation | None,
    settings: SnapshotSettings,
) -> str | None:
    """Why the new build must not be published; None if it may be.

    evaluation: the new build's. rival: the current snapshot's; None where its figures are not comparable with the new
    ones. It was asked other queries: what lies within the interval of the difference may be chance and is no reason.
    """
    if not new.counts["available"]:
        return "no item is available, published and not expired: there would be nothing to show"
    if current is not None:
        least = (1 - settings.max_shrink) * current.counts["available"]
        if new.counts["available"] < least:
            return (
                f"the catalogue shrank from {current.counts['available']} available items to "
                f"{new.counts['available']}, more than snapshots.max_shrink = {settings.max_shrink:g} allows"
            )
    if not evaluation.measured:
        left = "too few events are left to measure this build, though the current one was measured"
        return left if rival and rival.measured else None
    mine = evaluation.models[BLEND].metrics[HEADLINE]
    bars = {"popularity": (evaluation.models["popularity"].metrics[HEADLINE], 0.0)}
    if rival and rival.measured:
        theirs = rival.models[BLEND].metrics[HEADLINE]
        bars["the current snapshot"] = theirs, math.hypot(doubt(mine), doubt(theirs))
    for name, (bar, chance) in bars.items():
        if not mine.value >= (1 - settings.tolerance) * bar.value - chance:  # also refuses NaN
            return (
                f"NDCG@10 on held-out events is {interval(mine, '.4f')}, that of {name} {interval(bar, '.4f')}: "
                f"lower by more than snapshots.tolerance = {settings.tolerance:g}"
            )
    return None


def doubt(estimate: Estimate) -> float:
    """Half of its interval; 0 where there is none."""
    if estimate.low is None or estimate.high is None:
        return 0.0
    return (estimate.high - estimate.low) / 2


def floors(new: Evaluation, current: Evaluation | None, settings: Settings) -> str | None:
    """Why those of whom little is known would be served too badly by the new build; None if they would not.

    They are few, so only what the whole interval says counts. Popularity answers the same queries; those of the current
    snapshot were others, so that its interval counts as well. Where none of n queries is answered, resampling knows of
    no doubt, and the mean may be 3 / n (the rule of three: Hanley and Lippman-Hand 1983).
    """
    least, tolerance = settings.evaluation.min_queries, settings.snapshots.tolerance
    bars = {"popularity": (new, "popularity"), "the current snapshot": (current, BLEND)}
    for name, (evaluation, model) in bars.items():
        for group in FLOORS:
            mine, other = _slice(new, BLEND, group), _slice(evaluation, model, group)
            if min(mine.n, other.n) < least:
                continue
            found, bar = mine.metrics[HEADLINE], other.metrics[HEADLINE]
            beaten = bar.value if evaluation is new else bar.low
            if found.high is None or beaten is None:
                continue
            if max(found.high, 0 if found.value else 3 / mine.n) < (1 - tolerance) * beaten:
                return (
                    f"NDCG@10 of {SLICES[group]} ({group}) on held-out events is {interval(found, '.4f')}, that "
                    f"of {name} {interval(bar, '.4f')}: lower by more than snapshots.tolerance = {tolerance:g}"
                )
    return None


def _slice(evaluation: Evaluation | None, model: str, group: str) -> Slice:
    """One without queries where it was not measured."""
    measured = evaluation.models.get(model) if evaluation else None
    return (measured.slices if measured else {}).get(group, Slice(n=0, metrics={}))


def probe(artefacts: Artefacts, settings: Settings, at: datetime) -> str | None:
    """Ask the very artefacts that would be served, as a newcomer and on the page of the best-known item.

    Why an answer is not sound, or None.
    """
    recommender = Recommender.of(artefacts, settings.ranking)
    best_known = np.array([int(artefacts.preference.support.argmax())])
    for query in (Query(at=at, limit=10), Query(at=at, limit=10, context=best_known)):
        slate = recommender.recommend(query)
        if slate.failed:
            return f"the sources {', '.join(slate.failed)} fail"
        if not all(np.isfinite(item.score) for item in slate.items):
            return "a score is not finite"
    return None
