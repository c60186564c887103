"""The snapshots that are kept, which of them is served, and the rebuild that makes the next one."""

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from recsys.errors import BuildError, RebuildRunning, SnapshotError
from recsys.record import ended, newest
from recsys.serving.slates import Services
from recsys.snapshot import Snapshots
from recsys.web.console.comparing import compare
from recsys.web.console.rebuilding import LOG, start
from recsys.web.console.shelf import current, kept
from recsys.web.console.site import Console, Making, field
from recsys.web.console.telling import Told, history, told
from recsys.web.console.words import counted

PATH = "/console/snapshots"

LONGEST = 700
"""Characters of what is said on the next page: a cookie holds no more, and a reader wants no more."""

ALONE = (
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
"""A report brings its scripts along: it runs them, but as a stranger to the console, and reaches nothing."""


def show(console: Console, request: Request, _: FormData) -> Response:
    """All that is kept, and all that was rebuilt."""
    services = console.services
    past = ended(services.snapshots.folder)
    return console.page(
        request,
        "snapshots.html",
        kept=kept(services.snapshots),
        published=current(services.snapshots),
        trouble=_trouble(services),
        history=history(past),
        log=services.snapshots.folder / LOG,
        last=_last(services),
    )


def progress(console: Console, request: Request, _: FormData) -> Response:
    """The part of the page that tells of the last rebuild."""
    services = console.services
    log = services.snapshots.folder / LOG
    return console.part(request, "rebuild.html", last=_last(services), log=log)


def rebuild(console: Console, request: Request, form: FormData) -> Response:
    """Start one."""
    full, force = (bool(field(form, name)) for name in ("full", "force"))
    try:
        start(console.services.settings, full, force)
    except RebuildRunning:
        return console.back(PATH, "A rebuild is running already. No other was started.")
    except BuildError as error:
        return console.back(PATH, _sentence(error))
    return console.back(PATH, "The rebuild was started.")


def verify(console: Console, request: Request, _: FormData) -> Response:
    """Read every file of a snapshot, and of the refresh of it that is being served."""
    snapshots, snapshot = console.services.snapshots, str(request.path_params["id"])
    served = current(snapshots)
    refreshes = [served] if served and snapshots.origin(served) == snapshot != served else []
    try:
        files = [len(snapshots.verify(one, anew=True).files) for one in [snapshot, *refreshes]]
    except SnapshotError as error:
        return console.back(PATH, _sentence(error))
    also = " and the refresh of it that is served" if refreshes else ""
    return console.back(
        PATH, f"Snapshot {snapshot}{also} is whole: {counted(sum(files))} files match."
    )


def serve(console: Console, request: Request, _: FormData) -> Response:
    """Go back, or forward, to a snapshot. This process serves it before it answers."""
    services, snapshot = console.services, str(request.path_params["id"])
    try:
        services.snapshots.rollback(snapshot)
        services.live.look()
        served = services.live.served().manifest.origin
    except SnapshotError as error:
        return console.back(PATH, _sentence(error))
    if served != snapshot:
        said = f"Snapshot {snapshot} is published, but this server still serves {served}: the log says why."
        return console.back(PATH, said)
    return console.back(PATH, f"Serving snapshot {snapshot}.{_next(services.snapshots, snapshot)}")


def report(console: Console, request: Request, _: FormData) -> Response:
    """The report that was sealed with a snapshot."""
    snapshots, snapshot = console.services.snapshots, str(request.path_params["id"])
    path = snapshots.folder / snapshot / "report.html"
    if snapshot not in snapshots.ids() or not path.is_file():
        return console.page(request, "missing.html", 404)
    return FileResponse(path, media_type="text/html", headers={"Content-Security-Policy": ALONE})


def _last(services: Services) -> Told | None:
    """The rebuild that is running, or ended last."""
    folder = services.snapshots.folder
    rebuild = newest(folder)
    return told(rebuild, ended(folder)) if rebuild else None


def _next(snapshots: Snapshots, served: str) -> str:
    """What becomes of it where there is a newer one, which was left for some reason."""
    if served == kept(snapshots)[0].id:
        return ""
    return (
        " The next rebuild publishes again once it passes the gate: mend the cause before it runs."
    )


def _trouble(services: Services) -> str:
    """Why this server serves another snapshot than is published; "" where it does not, or none is."""
    published = current(services.snapshots)
    if published is None:
        return ""
    try:
        served = services.live.served().manifest
    except SnapshotError as error:
        return _sentence(error)
    if served.origin == services.snapshots.origin(published):
        return ""
    return (
        f"This server still serves {served.id}, though {published} is published: the log says why."
    )


def _sentence(error: Exception) -> str:
    said = str(error)[:LONGEST]
    return f"{said[:1].upper()}{said[1:]}."


ROUTES: list[tuple[str, Making, tuple[str, ...]]] = [
    (PATH, show, ("GET",)),
    (f"{PATH}/rebuild", progress, ("GET",)),
    (f"{PATH}/rebuild", rebuild, ("POST",)),
    (f"{PATH}/compare", compare, ("GET",)),
    (f"{PATH}/{{id}}/report", report, ("GET",)),
    (f"{PATH}/{{id}}/verify", verify, ("POST",)),
    (f"{PATH}/{{id}}/serve", serve, ("POST",)),
]
