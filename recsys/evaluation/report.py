"""An evaluation for people: a table for the terminal, a self-contained page for the browser."""

from rich import box
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from recsys.evaluation.page import html
from recsys.evaluation.result import BLEND, HEADLINE, Evaluation
from recsys.evaluation.words import (
    COLUMNS,
    best_of_column,
    cell,
    evidence,
    footnotes,
    headline,
    interval,
    queries,
    slices,
)

__all__ = ["html", "table"]


def table(evaluation: Evaluation) -> RenderableType:
    """The outcome in words, all models, the slices, and how it was measured; fits 100 columns."""
    said = Text(headline(evaluation), style="bold")
    if not evaluation.measured:
        return said
    why = Text(evidence(evaluation))
    note = Text(
        f"n = {queries(evaluation):,} queries. {' '.join(footnotes(evaluation))}", style="dim"
    )
    return Group(said, why, _models(evaluation), _slices(evaluation), note)


def _models(evaluation: Evaluation) -> Table:
    """One row per model; the best figure of each column is bold."""
    grid = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), collapse_padding=True)
    grid.add_column("", no_wrap=True)
    for column in COLUMNS:
        grid.add_column(column.label, justify="right", no_wrap=True)
    best = [best_of_column(evaluation, column) for column in COLUMNS]
    for name in evaluation.models:
        figures = [
            f"[bold]{cell(evaluation, name, column)}[/]"
            if name in winners
            else cell(evaluation, name, column)
            for column, winners in zip(COLUMNS, best, strict=True)
        ]
        grid.add_row(escape(name), *figures)
    return grid


def _slices(evaluation: Evaluation) -> Table:
    """NDCG@10 of the blend and of the best baseline, group by group."""
    rival = evaluation.best_baseline
    grid = Table(box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0), collapse_padding=True)
    grid.add_column("NDCG@10", no_wrap=True)
    for name in ("queries", BLEND, rival):
        grid.add_column(escape(name), justify="right", no_wrap=True)
    for name, label, n in slices(evaluation):
        figures = (
            interval(evaluation.models[model].slices[name].metrics[HEADLINE])
            for model in (BLEND, rival)
        )
        grid.add_row(label, f"{n:,}", *map(escape, figures))
    return grid
