"""How good are the suggestions: of a snapshot, against baselines, by segment, and over time."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response

from recsys.errors import SnapshotError
from recsys.evaluation.charts import Chart, charts
from recsys.evaluation.result import ALL, BLEND, HEADLINE, Evaluation
from recsys.evaluation.words import (
    COLUMNS,
    SLICES,
    best_of_column,
    cell,
    evidence,
    footnotes,
    headline,
    interval,
    queries,
)
from recsys.record import Figures, ended, figures
from recsys.snapshot import Manifest, Snapshots
from recsys.web.console.admission import FOLDER
from recsys.web.console.figures import COLOURS, estimates
from recsys.web.console.shelf import current
from recsys.web.console.site import Console
from recsys.web.console.words import share

RIVALS = 3
"""Models beside the blend that have a line over time: more cannot be told apart."""


class Build(NamedTuple):
    """What a rebuild measured, whether or not it was published."""

    at: datetime
    found: Figures


class Figure(NamedTuple):
    """A figure to remember."""

    name: str
    value: str
    about: str


class Line(NamedTuple):
    """A model in the table: its figures, and whether each is the best of its column."""

    name: str
    ours: bool
    cells: Sequence[tuple[str, str, bool]]
    """The figure, its interval and whether it is the best."""


def show(console: Console, request: Request, _: FormData) -> Response:
    """The page. `snapshot` says which; else the one being served."""
    snapshots = console.services.snapshots
    measured = _measured(snapshots)
    served = current(snapshots)
    asked = request.query_params.get("snapshot") or (served and snapshots.origin(served))
    chosen = asked if asked in measured else next(reversed(measured), None)
    evaluation = measured[chosen][1] if chosen else None
    return console.page(
        request,
        "evaluation.html",
        snapshots=[manifest for manifest, _ in reversed(measured.values())],
        chosen=chosen,
        asked=asked if asked != chosen else None,
        evaluation=evaluation,
        headline=headline(evaluation) if evaluation else "",
        evidence=evidence(evaluation) if evaluation else "",
        figures=_figures(evaluation) if evaluation and evaluation.measured else [],
        charts=charts(evaluation) if evaluation and evaluation.measured else [],
        over_time=_over_time(_builds(snapshots, measured)),
        columns=COLUMNS,
        lines=_lines(evaluation) if evaluation and evaluation.measured else [],
        footnotes=footnotes(evaluation) if evaluation else [],
    )


def _measured(snapshots: Snapshots) -> dict[str, tuple[Manifest, Evaluation]]:
    """Those of rebuilds that have an evaluation, oldest first."""
    found = {}
    for snapshot in snapshots.ids():
        evaluation = Evaluation.beside(snapshots.folder / snapshot)
        try:
            manifest = snapshots.manifest(snapshot)
        except SnapshotError:
            continue
        if evaluation and manifest.refreshed is None:
            found[snapshot] = (manifest, evaluation)
    return found


def _figures(evaluation: Evaluation) -> list[Figure]:
    best = evaluation.best_baseline
    mine = evaluation.models[BLEND].metrics
    told = (
        ("NDCG@10", interval(mine[HEADLINE])),
        (f"Gain over {best}", interval(evaluation.difference[best], "+.3f")),
        ("Catalogue shown", share(mine["coverage@10"].value)),
        ("Queries", f"{queries(evaluation):,}"),
    )
    parted = ((name, value.partition(" [")) for name, value in told)
    return [Figure(name, value, mark + about) for name, (value, mark, about) in parted]


def _builds(
    snapshots: Snapshots, measured: Mapping[str, tuple[Manifest, Evaluation]]
) -> list[Build]:
    """Oldest first: those that were written down, and snapshots from before that began."""
    written = [each for each in ended(snapshots.folder) if each.models]
    known = {each.snapshot for each in written}
    found = [Build(e.started, Figures(e.metrics, e.models, e.slices)) for e in written]
    found += [
        Build(manifest.built_at, figures(evaluation))
        for snapshot, (manifest, evaluation) in measured.items()
        if snapshot not in known and evaluation.measured
    ]
    return sorted(found, key=lambda build: build.at)


def _over_time(builds: Sequence[Build]) -> list[Chart]:
    """Nothing where there is one build or none: a point is no line."""
    if len(builds) < 2:
        return []
    times = [build.at for build in builds]
    newest = builds[-1].found
    rivals = sorted(newest.models, key=lambda name: -newest.models[name].value)
    names = [BLEND, *(name for name in rivals if name != BLEND)][: 1 + RIVALS]
    groups = [name for name in SLICES if name in newest.slices and name != ALL][: len(COLOURS)]
    models = {name: [build.found.models.get(name) for build in builds] for name in names}
    slices = {SLICES[name]: [build.found.slices.get(name) for build in builds] for name in groups}
    shown = {"coverage": [build.found.metrics.get("coverage@10") for build in builds]}
    return [
        Chart(
            "over-time",
            "Accuracy over time",
            "NDCG@10 of every build that was measured, refused ones included, with 95 % intervals: "
            "the blend, and the single models that are best now.",
            estimates(times, models),
        ),
        Chart(
            "segments",
            "By what is known of the viewer",
            "NDCG@10 of the blend.",
            estimates(times, slices),
        ),
        Chart(
            "coverage-time",
            "Catalogue shown",
            "Share of the available items that the blend showed to anyone.",
            estimates(times, shown),
        ),
    ]


def _lines(evaluation: Evaluation) -> list[Line]:
    best = [best_of_column(evaluation, column) for column in COLUMNS]
    found = []
    for name in evaluation.models:
        told = [cell(evaluation, name, column).partition(" ") for column in COLUMNS]
        cells = [(value, rest, name in of) for (value, _, rest), of in zip(told, best, strict=True)]
        found.append(Line(name, name == BLEND, cells))
    return found


ROUTES = ((f"{FOLDER}/evaluation", show, ("GET",)),)
