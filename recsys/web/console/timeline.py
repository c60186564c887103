"""The events of one item over time, as bars."""

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time, timedelta

from recsys.catalogue.activity import Tally
from recsys.evaluation.charts import Chart
from recsys.web.console.figures import COLOURS, bars

DAYS, WEEKS = 62, 2 * 366
"""Spans, in days, up to which each day, and each week, has a bar of its own."""


def totals(tallies: Sequence[Tally]) -> list[tuple[str, int]]:
    """Type -> events, the most frequent first."""
    counted = Counter[str]()
    for tally in tallies:
        counted[tally.type] += tally.events
    return sorted(counted.items(), key=lambda total: (-total[1], total[0]))


def timeline(tallies: Sequence[Tally]) -> Chart:
    """Of at least one tally: by day, week or month, whichever fits the span; of the most frequent types."""
    span = (tallies[-1].day - tallies[0].day).days
    name, start = next(made for most, made in STEPS if span <= most)
    counted = Counter[tuple[str, date]]()
    for tally in tallies:
        counted[tally.type, start(tally.day)] += tally.events
    days = sorted({day for _, day in counted})
    kinds = [kind for kind, _ in totals(tallies)][: len(COLOURS)]
    figure = bars(
        [datetime.combine(day, time(), UTC) for day in days],
        {kind.replace("_", " "): [counted[kind, day] for day in days] for kind in kinds},
    )
    caption = f"By {name}, from {tallies[0].day} to {tallies[-1].day}."
    return Chart("events", "Events over time", caption, figure)


def _same(day: date) -> date:
    return day


def _monday(day: date) -> date:
    return day - timedelta(days=day.weekday())


def _first(day: date) -> date:
    return day.replace(day=1)


STEPS: Sequence[tuple[float, tuple[str, Callable[[date], date]]]] = (
    (DAYS, ("day", _same)),
    (WEEKS, ("week", _monday)),
    (float("inf"), ("month", _first)),
)
