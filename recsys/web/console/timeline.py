"""The events of one item over time, as bars."""

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from html import escape
from itertools import chain, repeat

from recsys.catalogue.activity import Tally
from recsys.evaluation.charts import Chart, Figure

DAYS, WEEKS = 62, 2 * 366
"""Spans, in days, up to which each day, and each week, has a bar of its own."""

HEIGHT = 260

FEW = 5
"""Lines of a scale."""

COLOURS = (
    "--hue-linear",
    "--hue-cooccurrence",
    "--hue-text",
    "--hue-factors",
    "--hue-image",
    "--hue-transitions",
    "--hue-again",
    "--hue-standing",
)
"""Of types, the most frequent first."""


def totals(tallies: Sequence[Tally]) -> list[tuple[str, int]]:
    """Type -> events, the most frequent first."""
    counted = Counter[str]()
    for tally in tallies:
        counted[tally.type] += tally.events
    return sorted(counted.items(), key=lambda total: (-total[1], total[0]))


def timeline(tallies: Sequence[Tally]) -> Chart:
    """Of at least one tally: by day, week or month, whichever fits the span."""
    span = (tallies[-1].day - tallies[0].day).days
    name, start = next(made for most, made in STEPS if span <= most)
    bars = [
        _bars(kind, _counted([tally for tally in tallies if tally.type == kind], start), colour)
        for (kind, _), colour in zip(
            totals(tallies), chain(COLOURS, repeat(COLOURS[-1])), strict=False
        )
    ]
    caption = f"By {name}, from {tallies[0].day} to {tallies[-1].day}."
    layout = _layout(max(_counted(tallies, start).values()))
    return Chart("events", "Events over time", caption, {"data": bars, "layout": layout})


def _counted(tallies: Sequence[Tally], start: Callable[[date], date]) -> Counter[date]:
    """Events by the day on which their stretch of time begins."""
    counted = Counter[date]()
    for tally in tallies:
        counted[start(tally.day)] += tally.events
    return counted


def _bars(kind: str, counted: Counter[date], colour: str) -> Figure:
    return {
        "type": "bar",
        "name": escape(kind.replace("_", " ")),
        "x": [day.isoformat() for day in counted],
        "y": list(counted.values()),
        "marker": {"color": colour},
        "hovertemplate": "%{fullData.name}, %{x}: %{y:,}<extra></extra>",
    }


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


def _layout(highest: int) -> Figure:
    """highest: events of a bar. Of few each has a line of its own: there are no halves."""
    axis: Figure = {"fixedrange": True, "automargin": True, "color": "--muted", "zeroline": False}
    return {
        "height": HEIGHT,
        "barmode": "stack",
        "bargap": 0.15,
        "margin": {"l": 8, "r": 8, "t": 8, "b": 30},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, sans-serif", "size": 13, "color": "--ink"},
        "hoverlabel": {"bgcolor": "--surface", "bordercolor": "--line", "font": {"color": "--ink"}},
        "showlegend": False,
        "dragmode": False,
        "xaxis": axis | {"type": "date", "showgrid": False, "nticks": 8},
        "yaxis": axis
        | {"gridcolor": "--line", "nticks": 5, "rangemode": "tozero", "tickformat": ",d"},
    }
