"""Two snapshots side by side in figures: metrics, counts, encoders, settings."""

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from recsys.evaluation.result import ALL, BLEND, HEADLINE, Estimate, Evaluation
from recsys.evaluation.words import COLUMNS, interval, slices
from recsys.gate import doubt
from recsys.snapshot import Manifest
from recsys.web.console.words import counted

DASH = "\N{EN DASH}"

COUNTS = {
    "items": "Items",
    "available": "Available items",
    "near_duplicates": "Near-duplicates",
    "actors": "People and sessions",
    "events": "Events",
}


class Line(NamedTuple):
    """A figure of both."""

    name: str
    one: str
    other: str
    change: str = ""
    """The second minus the first; "" where one of them has none."""
    tone: str = ""
    """Whether it is better or worse for sure: the class of a tag."""


def metrics(one: Evaluation | None, other: Evaluation | None) -> list[Line]:
    """Those of the blend on the main set of queries. Empty where neither was measured."""
    mine, theirs = (_slice(evaluation, ALL) for evaluation in (one, other))
    return [
        _line(
            column.name,
            mine.get(column.metric),
            theirs.get(column.metric),
            column.form,
            -1 if column.lower_is_better else 1,
        )
        for column in COLUMNS
        if column.metric in mine or column.metric in theirs
    ]


def segments(one: Evaluation | None, other: Evaluation | None) -> list[Line]:
    """NDCG@10 of each group of queries."""
    names = {
        name: label
        for evaluation in (one, other)
        if evaluation and evaluation.measured
        for name, label, _ in slices(evaluation)
    }
    return [
        _line(
            label[0].upper() + label[1:],
            _slice(one, name).get(HEADLINE),
            _slice(other, name).get(HEADLINE),
        )
        for name, label in names.items()
    ]


def counts(one: Manifest, other: Manifest) -> list[Line]:
    """What each was made from."""
    found = []
    for name, label in COUNTS.items():
        mine, theirs = one.counts.get(name), other.counts.get(name)
        if mine is None or theirs is None:
            found.append(Line(label, _count(mine), _count(theirs)))
        else:
            found.append(Line(label, _count(mine), _count(theirs), _signed(theirs - mine, ",")))
    return found


def settings(one: Evaluation | None, other: Evaluation | None) -> list[Line]:
    """Those that were set otherwise."""
    mine, theirs = (evaluation.settings if evaluation else {} for evaluation in (one, other))
    return _unlike(mine, theirs)


def learned(one: Evaluation | None, other: Evaluation | None) -> list[Line]:
    """What each found on validation, where they differ: settings of the models, and the weights of the blend."""
    mine, theirs = (
        {
            "preference": evaluation.preference,
            "events": evaluation.events,
            "weights": {segment: _heard(found) for segment, found in evaluation.weights.items()},
        }
        if evaluation
        else {}
        for evaluation in (one, other)
    )
    return _unlike(mine, theirs)


def _heard(weights: Mapping[str, float]) -> dict[str, float]:
    """A weight of 0 is as good as none."""
    return {name: weight for name, weight in weights.items() if weight}


def libraries(one: Manifest, other: Manifest) -> list[Line]:
    """Versions that differ."""
    return _unlike(one.libraries, other.libraries)


def _slice(evaluation: Evaluation | None, name: str) -> Mapping[str, Estimate]:
    """Metrics of the blend on a group of queries; empty where it was not asked."""
    if evaluation is None or not evaluation.measured:
        return {}
    found = evaluation.models[BLEND].slices.get(name)
    return found.metrics if found else {}


def _line(
    name: str, one: Estimate | None, other: Estimate | None, form: str = ".3f", sense: int = 1
) -> Line:
    """sense: -1 where less is better."""
    mine, theirs = (DASH if each is None else interval(each, form) for each in (one, other))
    if one is None or other is None:
        return Line(name, mine, theirs)
    change = other.value - one.value
    chance = math.hypot(doubt(one), doubt(other))
    sure = chance > 0 and abs(change) > chance
    tone = ("good" if change * sense > 0 else "bad") if sure else ""
    return Line(name, mine, theirs, _signed(change, form), tone)


def _signed(number: float, form: str) -> str:
    told = f"{number:+{form}}"
    return told.replace("-", "\N{MINUS SIGN}") if told.strip("+-0.%") else "0"


def _count(number: int | None) -> str:
    return DASH if number is None else counted(number)


def _unlike(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[Line]:
    mine, theirs = dict(_flat(one)), dict(_flat(other))
    return [
        Line(name, mine.get(name, DASH), theirs.get(name, DASH))
        for name in sorted(mine | theirs)
        if mine.get(name) != theirs.get(name)
    ]


def _flat(tree: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """Dotted names, as the settings have them, and their values in words."""
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{name}.")
        elif isinstance(value, float):
            yield above + name, f"{value:.4g}"
        else:
            yield above + name, str(value)
