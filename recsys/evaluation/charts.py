"""The plots of the page, as Plotly figures in plain data.

A colour is the name of a style variable such as `--accent`: the page fills in its value, and does so anew
when the reader's system turns dark or light.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from textwrap import wrap
from typing import Any, NamedTuple

from recsys.evaluation.result import BLEND, HEADLINE, Estimate, Evaluation
from recsys.evaluation.words import SEGMENTS, slices, source_name

Figure = dict[str, Any]
"""`data` and `layout` as Plotly's JSON schema has them."""

ROW = 38
"""Pixels per row of a plot."""


WIDTH, HEIGHT = 360, 250
"""Pixels of a plot with labelled points, as narrow as it is going to be on most screens."""

SIDES = (
    *("middle right", "middle left", "top center", "bottom center"),
    *("top right", "bottom right", "top left", "bottom left"),
)
"""Of a point, where its label may stand; the first is the best."""


@dataclass(frozen=True)
class Chart:
    """One plot and what to see in it."""

    id: str
    title: str
    caption: str
    figure: Figure


def charts(evaluation: Evaluation) -> list[Chart]:
    """All plots, in reading order."""
    return [
        _accuracy(evaluation),
        _differences(evaluation),
        _slices(evaluation),
        *_weights(evaluation),
        _against(
            evaluation,
            "coverage@10",
            "Accuracy and coverage",
            "Right: more of the catalogue is ever shown. Up: more accurate.",
            "share of the available items shown",
        ),
        _against(
            evaluation,
            "popularity@10",
            "Accuracy and popularity",
            "Left: fewer items of the most liked tenth. Up: more accurate.",
            "share of popular items among those shown",
        ),
    ]


def _accuracy(evaluation: Evaluation) -> Chart:
    found = {name: model.metrics[HEADLINE] for name, model in evaluation.models.items()}
    names = sorted(found, key=lambda name: found[name].value)
    dots = [_dots([row], [found[name]], _colour(name)) for row, name in enumerate(names)]
    figure = _rows(names, dots, {"rangemode": "tozero"})
    return Chart(
        "accuracy",
        "Accuracy",
        "NDCG@10 of every model, with 95 % intervals over queries.",
        figure,
    )


def _differences(evaluation: Evaluation) -> Chart:
    found = evaluation.difference
    names = sorted(found, key=lambda name: -found[name].value)
    dots = _dots(range(len(names)), [found[name] for name in names], "--accent")
    figure = _rows(names, [dots], {"zeroline": True, "zerolinecolor": "--ink", "zerolinewidth": 1})
    return Chart(
        "differences",
        "Gain over each single model",
        "NDCG@10 of the blend minus that of the model, query by query. "
        "An interval clear of zero is a real difference.",
        figure,
    )


def _slices(evaluation: Evaluation) -> Chart:
    rival = evaluation.best_baseline
    groups = slices(evaluation)[::-1]
    traces = []
    for model, colour, shift in ((BLEND, "--accent", 0.14), (rival, "--quiet", -0.14)):
        measured = evaluation.models[model].slices
        found = [measured[name].metrics[HEADLINE] for name, _, _ in groups]
        rows = [row + shift for row in range(len(groups))]
        traces.append(_dots(rows, found, colour) | {"name": escape(model)})
    labels = [f"{label}<br>{n:,} queries" for _, label, n in groups]
    figure = _rows(labels, traces, {"rangemode": "tozero"}, row=ROW + 14)
    return Chart(
        "slices",
        "Who is served how well",
        f"NDCG@10 of the blend and of {rival}, the best single model, by what is known of the viewer.",
        with_legend(figure),
    )


def _against(evaluation: Evaluation, metric: str, title: str, caption: str, axis: str) -> Chart:
    models = {name: m.metrics for name, m in evaluation.models.items() if metric in m.metrics}
    across = [metrics[metric].value for metrics in models.values()]
    up = [metrics[HEADLINE].value for metrics in models.values()]
    trace = {
        "type": "scatter",
        "mode": "markers+text",
        "x": across,
        "y": up,
        "hovertext": [escape(name) for name in models],
        **_labels(list(models), across, up),
        "textfont": {"color": [_ink(name) for name in models], "size": 12},
        "marker": {"size": 11, "color": [_colour(name) for name in models]},
        "cliponaxis": False,
        "hovertemplate": "%{hovertext}<br>NDCG@10 %{y:.3f}, %{x:.1%}<extra></extra>",
    }
    layout = layout_of(320)
    layout["xaxis"] |= {
        "title": {"text": axis, "standoff": 8, "font": {"size": 13}},
        "tickformat": ".0%",
        "range": [0, (max(across) or 1) * 1.12],
    }
    layout["yaxis"] |= {
        "title": {"text": "NDCG@10", "standoff": 8, "font": {"size": 13}},
        "range": [0, (max(up) or 1) * 1.15],
        "showgrid": True,
        "gridcolor": "--line",
        "tickfont": {"color": "--muted"},
        "nticks": 6,
    }
    return Chart(metric.partition("@")[0], title, caption, {"data": [trace], "layout": layout})


def _labels(names: Sequence[str], across: Sequence[float], up: Sequence[float]) -> Figure:
    """Each point's label where it covers no other label and no point; without one where there is no room.

    What then has no label is named when it is pointed at, and in every other chart.
    """
    wide, high = (max(across) or 1) * 1.12, (max(up) or 1) * 1.15
    points = [(x / wide * WIDTH, y / high * HEIGHT) for x, y in zip(across, up, strict=True)]
    taken: list[_Box] = [_Box(x - 7, x + 7, y - 7, y + 7) for x, y in points]
    sides, shown = [], []
    for name, point in zip(names, points, strict=True):
        boxes = {side: _box(side, point, 7.0 * len(name)) for side in SIDES}
        free = [side for side, box in boxes.items() if box.within() and not box.meets(taken)]
        taken += [boxes[side] for side in free[:1]]
        sides.append(free[0] if free else SIDES[0])
        shown.append(escape(name) if free else "")
    return {"text": shown, "textposition": sides}


class _Box(NamedTuple):
    """Pixels from the lower left."""

    left: float
    right: float
    bottom: float
    top: float

    def within(self) -> bool:
        return self.left >= 0 and self.right <= WIDTH

    def meets(self, others: Iterable["_Box"]) -> bool:
        return any(
            self.left < b.right
            and b.left < self.right
            and self.bottom < b.top
            and b.bottom < self.top
            for b in others
        )


def _box(side: str, point: tuple[float, float], width: float) -> _Box:
    """Where a label of this width lies, on this side of its point."""
    vertical, _, horizontal = side.partition(" ")
    x = point[0] + {"right": 8, "left": -8 - width, "center": -width / 2}[horizontal]
    y = point[1] + {"middle": -7, "top": 8, "bottom": -22}[vertical]
    return _Box(x, x + width, y, y + 14)


def _weights(evaluation: Evaluation) -> list[Chart]:
    """One plot, or none where no weights were fitted."""
    fitted = [segment for segment in SEGMENTS if segment in evaluation.weights]
    if not fitted:
        return []
    found = [evaluation.weights[segment] for segment in fitted]
    heard = {name for weights in found for name, weight in weights.items() if weight}
    names = sorted(heard, key=lambda name: (found[0].get(name, 0), name))
    values = [[weights.get(name, 0) for weights in found] for name in names]
    largest = [max(map(abs, weights.values())) or 1 for weights in found]
    numbers = {
        "type": "scatter",
        "mode": "text",
        "x": [place for _ in names for place in range(len(fitted))],
        "y": [row for row in range(len(names)) for _ in fitted],
        "text": [f"{value:.2f}" if value else "" for row in values for value in row],
        "hoverinfo": "skip",
    }
    axis = {
        "side": "top",
        "showgrid": False,
        "tickvals": list(range(len(fitted))),
        "ticktext": ["<br>".join(wrap(SEGMENTS[segment], 9)) for segment in fitted],
        "range": [-0.5, len(fitted) - 0.5],
    }
    figure = _rows([source_name(name) for name in names], [numbers], axis)
    figure["layout"]["shapes"] = [
        _cell(place, row, abs(value) / most)
        for row, found in enumerate(values)
        for place, (value, most) in enumerate(zip(found, largest, strict=True))
        if value
    ]
    return [
        Chart(
            "weights",
            "What the blend listens to",
            "Weight of each source's standardised score for whom it was fitted, on validation.",
            figure,
        )
    ]


def _cell(place: int, row: int, depth: float) -> Figure:
    """A coloured cell of a grid, half the colour at the most, so that ink can be read on it."""
    return {
        "type": "rect",
        "layer": "below",
        "x0": place - 0.5,
        "x1": place + 0.5,
        "y0": row - 0.5,
        "y1": row + 0.5,
        "line": {"width": 0},
        "fillcolor": "--accent",
        "opacity": depth / 2,
    }


def with_legend(figure: Figure) -> Figure:
    """The names of the traces above the plot."""
    legend = {"orientation": "h", "x": 0, "xanchor": "left", "y": 1, "yanchor": "bottom"}
    layout = figure["layout"] | {"showlegend": True, "legend": legend}
    return figure | {"layout": layout | {"margin": layout["margin"] | {"t": 34}}}


def _dots(rows: Sequence[float], found: Sequence[Estimate], colour: str) -> Figure:
    """Estimates as dots with their intervals, one row each."""
    above = [(e.high if e.high is not None else e.value) - e.value for e in found]
    below = [e.value - (e.low if e.low is not None else e.value) for e in found]
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [e.value for e in found],
        "y": list(rows),
        "marker": {"size": 10, "color": colour},
        "error_x": {
            "array": above,
            "arrayminus": below,
            "color": colour,
            "thickness": 1.5,
            "width": 0,
        },
        "customdata": [
            [e.value - b, e.value + a] for e, a, b in zip(found, above, below, strict=True)
        ],
        "hovertemplate": "%{x:.3f}  [%{customdata[0]:.3f}, %{customdata[1]:.3f}]<extra></extra>",
    }


def _rows(labels: Sequence[str], traces: list[Figure], xaxis: Figure, row: int = ROW) -> Figure:
    """Traces over labelled rows; the first label is the lowest row. Labels are escaped but for line breaks."""
    layout = layout_of(row * len(labels) + 48)
    layout["xaxis"] |= xaxis
    layout["yaxis"] |= {
        "tickvals": list(range(len(labels))),
        "ticktext": [escape(label).replace("&lt;br&gt;", "<br>") for label in labels],
        "range": [-0.6, len(labels) - 0.4],
    }
    return {"data": traces, "layout": layout}


def layout_of(height: int) -> Figure:
    """What all plots have in common. height: pixels."""
    axis: Figure = {
        "zeroline": False,
        "fixedrange": True,
        "automargin": True,
        "color": "--muted",
        "ticklabelstandoff": 6,
    }
    return {
        "height": height,
        "margin": {"l": 8, "r": 16, "t": 8, "b": 30},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, sans-serif", "size": 13, "color": "--ink"},
        "hoverlabel": {"bgcolor": "--surface", "bordercolor": "--line", "font": {"color": "--ink"}},
        "showlegend": False,
        "dragmode": False,
        "xaxis": axis | {"gridcolor": "--line", "nticks": 6},
        "yaxis": axis | {"showgrid": False, "tickfont": {"color": "--ink"}},
    }


def _colour(model: str) -> str:
    return "--accent" if model == BLEND else "--quiet"


def _ink(model: str) -> str:
    return "--accent" if model == BLEND else "--ink"
