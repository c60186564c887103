"""The page: one file that opens anywhere, years later and without a network."""

import json
from collections.abc import Iterable, Mapping
from html import escape
from importlib.resources import files
from string import Template

from plotly.offline import get_plotlyjs

from recsys.evaluation.charts import Chart, charts
from recsys.evaluation.result import BLEND, HEADLINE, Evaluation, Period
from recsys.evaluation.words import (
    COLUMNS,
    Column,
    best_of_column,
    cell,
    evidence,
    footnotes,
    headline,
    interval,
    queries,
)


def html(evaluation: Evaluation, title: str) -> str:
    """The evaluation as one self-contained page; about 5 MB, nearly all of it Plotly."""
    drawn = charts(evaluation) if evaluation.measured else []
    page = Template(files(__package__).joinpath("page.html").read_text(encoding="utf-8"))
    return page.substitute(
        title=escape(title),
        headline=escape(headline(evaluation)),
        evidence=escape(evidence(evaluation)),
        facts=_facts(evaluation) if evaluation.measured else "",
        models=_models(evaluation) if evaluation.measured else "",
        charts="".join(map(_card, drawn)),
        footnotes="".join(f"<p>{escape(text)}</p>" for text in footnotes(evaluation)),
        windows=_windows(evaluation),
        details=_details(evaluation),
        figures=_embedded({chart.id: chart.figure for chart in drawn}),
        plotly=get_plotlyjs() if drawn else "",
    )


def _facts(evaluation: Evaluation) -> str:
    """The four figures to remember."""
    best = evaluation.best_baseline
    metrics = evaluation.models[BLEND].metrics
    facts = (
        ("NDCG@10", interval(metrics[HEADLINE])),
        (f"gain over {best}", interval(evaluation.difference[best], "+.3f")),
        ("catalogue shown", f"{metrics['coverage@10'].value:.1%}"),
        ("queries", f"{queries(evaluation):,}"),
    )
    return f'<dl class="facts">{"".join(_fact(*fact) for fact in facts)}</dl>'


def _fact(label: str, figure: str) -> str:
    value, _, rest = figure.partition(" ")
    range_ = f" <small>{escape(rest)}</small>" if rest else ""
    return f"<div><dt>{escape(label)}</dt><dd>{escape(value)}{range_}</dd></div>"


def _models(evaluation: Evaluation) -> str:
    """All models and metrics; the best of each column is bold."""
    best = [best_of_column(evaluation, column) for column in COLUMNS]
    head = "".join(_heading(column) for column in COLUMNS)
    body = ""
    for name in evaluation.models:
        figures = "".join(
            f"<td>{_strong(cell(evaluation, name, column), name in winners)}</td>"
            for column, winners in zip(COLUMNS, best, strict=True)
        )
        mark = ' class="ours"' if name == BLEND else ""
        body += f'<tr{mark}><th scope="row">{escape(name)}</th>{figures}</tr>'
    return (
        '<section class="wide"><h2>All models</h2><div class="scroll"><table><thead><tr><th></th>'
        f"{head}</tr></thead><tbody>{body}</tbody></table></div></section>"
    )


def _heading(column: Column) -> str:
    return f'<th scope="col" title="{escape(column.means)}">{escape(column.name)}</th>'


def _strong(figure: str, best: bool) -> str:
    value, _, rest = figure.partition(" ")
    value = f"<strong>{escape(value)}</strong>" if best else escape(value)
    return f"{value} <small>{escape(rest)}</small>" if rest else value


def _card(chart: Chart) -> str:
    name = escape(chart.id)
    return (
        f'<section><h2>{escape(chart.title)}</h2><p class="caption">{escape(chart.caption)}</p>'
        f'<div id="{name}" class="plot" role="img" aria-label="{escape(chart.caption)}"></div></section>'
    )


def _windows(evaluation: Evaluation) -> str:
    """What was in each part of the log, and when."""
    rows = (
        (
            name,
            _span(period),
            f"{period.events:,}",
            f"{period.actors:,}",
            f"{period.queries:,}" if period.queries else "",
            f"{period.first_visits:,}" if period.first_visits else "",
        )
        for name, period in evaluation.windows.items()
    )
    head = ("", "from, to", "events", "people", "queries", "first visits")
    return _grid(head, rows)


def _span(period: Period) -> str:
    if period.start is None or period.end is None:
        return ""
    return f"{period.start:%Y-%m-%d} to {period.end:%Y-%m-%d}"


def _grid(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    top = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(value)}</td>' for value in row)}</tr>" for row in rows
    )
    return f'<div class="scroll"><table class="plain"><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def _details(evaluation: Evaluation) -> str:
    """Settings, data and time taken, folded away."""
    parts = {
        "Settings": json.dumps(evaluation.settings, indent=2, ensure_ascii=False),
        "Data": evaluation.data_digest,
        "Seconds": "\n".join(f"{took:8.1f}  {step}" for step, took in evaluation.seconds.items()),
        "Metrics": "\n".join(f"{c.name}: {c.means}" for c in COLUMNS),
    }
    return "".join(
        f"<details><summary>{escape(name)}</summary><pre>{escape(text)}</pre></details>"
        for name, text in parts.items()
    )


def _embedded(figures: Mapping[str, object]) -> str:
    """JSON that cannot end the script element it stands in."""
    return json.dumps(figures, allow_nan=False).replace("<", "\\u003c")
