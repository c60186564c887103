"""The overview: is it well, is it fresh, is it used?"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response

from recsys.catalogue.activity import (
    LOOKED_AT,
    events_by_type,
    items_met,
    newest_event,
    oldest_event,
)
from recsys.catalogue.database import reading
from recsys.catalogue.times import EPOCH
from recsys.errors import NoSnapshot, SnapshotError
from recsys.evaluation.charts import Chart
from recsys.record import newest
from recsys.serving.live import Served
from recsys.serving.pulse import KINDS, Stretch, together
from recsys.serving.slates import Services
from recsys.web.console.admission import FOLDER
from recsys.web.console.figures import COLOURS, bars, lines
from recsys.web.console.site import Console
from recsys.web.console.telling import told
from recsys.web.console.words import ago, counted, share

HOUR, DAY = timedelta(hours=1), timedelta(days=1)

POINTS = 96
"""Of a line, at most."""

WINDOWS = {"1h": HOUR, "6h": 6 * HOUR, "24h": DAY}
"""Of traffic."""

LATELY = 15 * 60
"""Seconds that the tiles look back."""

SHOWN = ("impression",)
"""Event types that say that an item was in sight."""

WIDTHS = (HOUR, DAY, 7 * DAY, 30 * DAY, 91 * DAY, 365 * DAY)

MOST_BARS = 140


class Tile(NamedTuple):
    """A figure to remember."""

    name: str
    value: str
    about: str = ""


class Span(NamedTuple):
    """Whose events are shown."""

    key: str
    name: str
    length: timedelta | None
    """None: since the first one."""
    width: timedelta | None
    """Of a bar; None: as fits."""


SPANS = (
    Span("2d", "2 days", 2 * DAY, HOUR),
    Span("30d", "30 days", 30 * DAY, DAY),
    Span("all", "All", None, None),
)


def show(console: Console, request: Request, _: FormData) -> Response:
    """The page. `window` and `span` say how far traffic and events go back."""
    within, now = console.services, datetime.now(UTC)
    window = request.query_params.get("window", "1h")
    window = window if window in WINDOWS else "1h"
    asked = request.query_params.get("span", "2d")
    span = next((one for one in SPANS if one.key == asked), SPANS[0])
    stretches = within.pulse.stretches(WINDOWS[window].total_seconds(), POINTS)
    rebuild = newest(within.snapshots.folder)
    last = told(rebuild) if rebuild else None
    return console.page(
        request,
        "overview.html",
        tiles=_tiles(within, now),
        trouble=_trouble(within),
        last=last if last and last.state != "published" else None,
        traffic=_traffic(stretches),
        errors=_errors(stretches),
        events=_events(within, span, now),
        windows=list(WINDOWS),
        window=window,
        spans=SPANS,
        span=span,
    )


def _trouble(within: Services) -> str:
    """What has to be seen to at once."""
    try:
        within.live.served()
    except NoSnapshot:
        return "Nothing is built yet, so nothing is served: start a rebuild."
    except SnapshotError as error:
        return str(error)
    return within.live.trouble


def _tiles(within: Services, now: datetime) -> list[Tile]:
    try:
        served = within.live.served()
    except SnapshotError:
        served = None
    fresh = _freshness(served, now) + _coverage(served, within, now) if served else []
    return _health(within) + fresh


def _health(within: Services) -> list[Tile]:
    lately = together(within.pulse.stretches(LATELY, 60))
    if lately is None:
        return [Tile("Requests a minute", "\N{EN DASH}", "the server was started just now")]
    asked = sum(lately.rate(kind) for kind in KINDS)
    slates = f"{share(lately.rate('slates') / asked if asked else 0, 0)} for slates"
    p50, p99 = lately.took(0.5), lately.took(0.99)
    slow = f"99 of 100 within {_milliseconds(p99)}" if p99 else "none was asked for"
    failed = lately.failed / lately.answered if lately.answered else 0.0
    minutes = f"last {max(1, round(lately.seconds / 60))} min"
    return [
        Tile("Requests a minute", f"{asked:,.{1 if asked < 100 else 0}f}", f"{slates}; {minutes}"),
        Tile("Slates, median", _milliseconds(p50), slow),
        Tile("Answers that failed", share(failed, 2), f"{lately.failed:,} of {lately.answered:,}"),
    ]


def _freshness(served: Served, now: datetime) -> list[Tile]:
    manifest = served.manifest
    items = manifest.refreshed.at if manifest.refreshed else manifest.built_at
    return [
        Tile("Snapshot built", ago(manifest.built_at, now), manifest.origin),
        Tile("Newest items read", ago(items, now), f"{counted(manifest.counts['items'])} items"),
    ]


def _coverage(served: Served, within: Services, now: datetime) -> list[Tile]:
    with reading(within.engine) as connection:
        shown = items_met(connection, now - DAY, SHOWN)
    available = max(1, served.manifest.counts.get("available", 1))
    measured = served.manifest.metrics.get("blend.coverage@10")
    about = "" if measured is None else f"; {share(measured)} when measured"
    return [Tile("Catalogue shown", share(shown / available), f"in sight within a day{about}")]


def _traffic(stretches: Sequence[Stretch]) -> list[Chart]:
    """None where the server was started just now."""
    if not stretches:
        return []
    times = _ends(stretches)
    asked = {kind: [each.rate(kind) for each in stretches] for kind in KINDS}
    asked = {kind: rates for kind, rates in asked.items() if any(rates)}
    took = {
        name: [each.took(quantile) for each in stretches]
        for name, quantile in (("median", 0.5), ("99 of 100", 0.99))
    }
    return [
        Chart(
            "traffic",
            "Traffic",
            "Requests a minute, times in UTC.",
            lines(times, asked, " a minute"),
        ),
        Chart(
            "latency",
            "Latency",
            "Of slates, until the first byte, in milliseconds.",
            lines(times, took, " ms"),
        ),
    ]


def _errors(stretches: Sequence[Stretch]) -> Chart | None:
    """None where there was none: that is said by the tile."""
    failed = [each.failed for each in stretches]
    if not any(failed):
        return None
    figure = bars(_ends(stretches), {"failed": failed})
    return Chart("errors", "Errors", "Answers of 500 and above.", figure)


def _ends(stretches: Sequence[Stretch]) -> list[datetime]:
    return [datetime.fromtimestamp(each.until, UTC) for each in stretches]


def _events(within: Services, span: Span, now: datetime) -> Chart:
    with reading(within.engine) as connection:
        first, last = oldest_event(connection), newest_event(connection)
        since = now - span.length if span.length else first or now
        width = span.width or _width(now - since)
        since = _floor(since, width)
        counts, is_whole = events_by_type(connection, since, now + DAY, width)
    totals: dict[str, int] = {}
    for _, kind, count in counts:
        totals[kind] = totals.get(kind, 0) + count
    kinds = sorted(totals, key=lambda kind: -totals[kind])[: len(COLOURS)]
    times = [since + n * width for n in range((now - since) // width + 1)]
    found = {(at, kind): count for at, kind, count in counts}
    values = {kind: [found.get((at, kind), 0) for at in times] for kind in kinds}
    about = f"{sum(totals.values()):,} events, by {_said(width)}, in UTC"
    about += "." if is_whole else f", of the newest {LOOKED_AT:,}."
    if not totals:
        about = f"None. The newest event was {ago(last, now)}." if last else "There are none yet."
    return Chart("events", "Events", about, bars(times, values))


def _width(length: timedelta) -> timedelta:
    """Of bars, so that there are not too many."""
    return next((width for width in WIDTHS if length / width <= MOST_BARS), WIDTHS[-1])


def _floor(moment: datetime, width: timedelta) -> datetime:
    """When the stretch of this width began that a moment is in; the first whole one there is, for one before it."""
    first = (datetime.min.replace(tzinfo=UTC) - EPOCH) // width + 1
    return EPOCH + max((moment - EPOCH) // width, first) * width


def _said(width: timedelta) -> str:
    words = {HOUR: "hour", DAY: "day", 7 * DAY: "week"}
    return words.get(width, f"{width.days} days")


def _milliseconds(value: float | None) -> str:
    return "\N{EN DASH}" if value is None else f"{value:,.3g} ms"


ROUTES = ((FOLDER, show, ("GET",)),)
