"""Plots over time, as Plotly figures in plain data."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from html import escape

from recsys.evaluation.charts import Figure, layout_of, with_legend
from recsys.evaluation.result import Estimate

COLOURS = ("--one", "--two", "--three", "--four", "--five", "--six", "--seven", "--eight")
"""Of what stands side by side, the first one foremost; there are no more than these."""

HEIGHT = 260
"""Pixels."""

FEW = 5
"""Of fewer than these, each has a line of its own: there are no halves."""

NAMES = 4
"""So many names of lines have room above a plot of HEIGHT, on a phone too."""

ASIDE = timedelta(minutes=1)
"""What is seen before and after a moment that stands alone."""

MINUTE, DAY = 60_000, 86_400_000

TICKS = (
    (None, MINUTE - 1, "%H:%M:%S\n%-d %b"),
    (MINUTE, DAY - 1, "%H:%M\n%-d %b"),
    (DAY, "M1", "%-d %b\n%Y"),
    ("M1", "M12", "%b\n%Y"),
    ("M12", None, "%Y"),
)
"""How moments are written below a plot: milliseconds or months between two of them, from and to."""

BY_THE_DOZEN = frozenset({"impression"})
"""Event types beside which all others would be flat."""

Times = Sequence[datetime]


def lines(times: Times, values: Mapping[str, Sequence[float | None]], unit: str = "") -> Figure:
    """A line for each name; None leaves a gap. unit: behind a value that is pointed at."""
    traces = [
        {
            "type": "scatter",
            "mode": "lines" if len(times) > 1 else "markers",
            "name": escape(name),
            "x": _told(times),
            "y": list(found),
            "line": {"color": colour, "width": 2},
            "hovertemplate": f"%{{y:,.3~s}}{unit}",
        }
        for (name, found), colour in zip(values.items(), COLOURS, strict=False)
    ]
    figure = _over_time(traces)
    if len(times) == 1:
        figure["layout"]["xaxis"] |= {"range": _told([times[0] - ASIDE, times[0] + ASIDE])}
    return figure


def bars(times: Times, values: Mapping[str, Sequence[float]]) -> Figure:
    """Bars of counts upon each other; what comes by the dozen stands in the legend, and is drawn when it is clicked."""
    seen = {name: found for name, found in values.items() if name not in BY_THE_DOZEN} or values
    traces = [
        {
            "type": "bar",
            "name": escape(name),
            "x": _told(times),
            "y": list(found),
            "marker": {"color": colour},
            "hovertemplate": "%{y:,}",
            "visible": True if name in seen else "legendonly",
        }
        for (name, found), colour in zip(values.items(), COLOURS, strict=False)
    ]
    figure = _over_time(traces)
    figure["layout"] |= {"barmode": "stack", "bargap": 0.12}
    if max(map(sum, zip(*seen.values(), strict=True)), default=0) < FEW:
        figure["layout"]["yaxis"] |= {"dtick": 1}
    if len(traces) > 1:
        figure["layout"]["legend"] |= {"traceorder": "normal"}
    return figure


def estimates(times: Times, values: Mapping[str, Sequence[Estimate | None]]) -> Figure:
    """A line of dots with their intervals for each name; None leaves a gap."""
    traces = []
    for place, ((name, found), colour) in enumerate(zip(values.items(), COLOURS, strict=False)):
        known = [(at, one) for at, one in zip(times, found, strict=True) if one is not None]
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "zorder": -place,
                "name": escape(name),
                "x": _told([at for at, _ in known]),
                "y": [one.value for _, one in known],
                "line": {"color": colour, "width": 1.5},
                "marker": {"color": colour, "size": 8},
                "error_y": {
                    "array": [(one.high or one.value) - one.value for _, one in known],
                    "arrayminus": [one.value - (one.low or one.value) for _, one in known],
                    "color": colour,
                    "thickness": 1.2,
                    "width": 0,
                },
                "hovertemplate": "%{y:.3f}",
            }
        )
    return _over_time(traces)


def _over_time(traces: list[Figure]) -> Figure:
    layout = layout_of(HEIGHT + 20 * max(0, len(traces) - NAMES)) | {"hovermode": "x unified"}
    layout["xaxis"] |= {
        "type": "date",
        "showgrid": False,
        "nticks": 5,
        "tickangle": 0,
        "tickformatstops": [
            {"dtickrange": [least, most], "value": form} for least, most, form in TICKS
        ],
        "hoverformat": "%-d %b %Y, %H:%M UTC",
    }
    layout["yaxis"] |= {
        "showgrid": True,
        "gridcolor": "--line",
        "rangemode": "tozero",
        "nticks": 5,
        "tickfont": {"color": "--muted"},
    }
    figure: Figure = {"data": traces, "layout": layout}
    return with_legend(figure) if len(traces) > 1 else figure


def _told(times: Times) -> list[str]:
    """Plotly knows no zones: all are told in UTC."""
    return [at.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "seconds") for at in times]
