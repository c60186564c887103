"""The command line: one command per job, one clear line per error."""

import gc
import json
import math
import os
import socket
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from recsys.config import Section, Settings, documented, load_settings
from recsys.errors import GateRefused, InputError, RecsysError
from recsys.progress import Bars
from recsys.threads import limit_threads

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from recsys.catalogue.columns import Kind
    from recsys.catalogue.importing import FeedOptions, Summary
    from recsys.catalogue.rule import Rule
    from recsys.embedding.vectors import Embedded
    from recsys.evaluation.result import Evaluation
    from recsys.identity import ItemId
    from recsys.snapshot import Snapshots

out = Console(highlight=False, width=None if sys.stdout.isatty() else 110)
err = Console(stderr=True, highlight=False, width=None if sys.stderr.isatty() else 110)

MOST_NAMED = 5
"""Items of a rule, named on the terminal."""

MOST_TOLD = 20
"""Items with contents that cannot be used, named on the terminal."""

app = typer.Typer(
    help="Documents in, good recommendations out: import a catalogue and its events, rebuild, serve.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
imports = typer.Typer(
    help="Read items or events from CSV, Parquet or JSON lines files.", no_args_is_help=True
)
snapshots_app = typer.Typer(
    help="List, verify, roll back and prune what was built.", no_args_is_help=True
)
app.add_typer(imports, name="import")
encoders_app = typer.Typer(
    help="Compare encoders before one takes over from another.", no_args_is_help=True
)
app.add_typer(snapshots_app, name="snapshots")
app.add_typer(encoders_app, name="encoders")
rules_app = typer.Typer(
    help="List, add and remove what merchandisers boost, bury, pin or exclude.",
    no_args_is_help=True,
)
app.add_typer(rules_app, name="rules")

_chosen: dict[str, Path | None] = {"config": None}


@app.callback()
def _common(
    config: Annotated[
        Path | None,
        typer.Option(help="Settings file", show_default="$RECSYS_CONFIG, else ./recsys.toml"),
    ] = None,
) -> None:
    _chosen["config"] = config


def main() -> None:
    """Run a command; an error that a user can cause is one message and exit code 1 (3: refused by the gate)."""
    try:
        app(prog_name="recsys")
    except GateRefused as error:
        _fail(f"not published: {error}", 3)
    except RecsysError as error:
        _fail(str(error), 1)
    except OSError as error:
        _fail(f"{error.filename or 'input/output'}: {error.strerror or error}", 1)
    except KeyboardInterrupt:
        _fail("interrupted", 130)


def _fail(message: str, code: int) -> None:
    err.print(f"[bold red]error:[/] {escape(message)}", soft_wrap=True)
    sys.exit(code)


def _settings() -> Settings:
    settings = load_settings(_chosen["config"])
    limit_threads(settings.threads)
    return settings


def _settings_for_slates() -> Settings:
    """One thread per library: a slate's products are too small to share, and waiting for helpers costs more."""
    settings = load_settings(_chosen["config"])
    limit_threads(1)
    return settings


@contextmanager
def _database(settings: Settings) -> Iterator["Engine"]:
    from recsys.catalogue.database import connect

    engine = connect(settings)
    gc.freeze()  # else all that is loaded is gone through again for every few thousand rows read
    try:
        yield engine
    finally:
        engine.dispose()


def _snapshots(settings: Settings) -> "Snapshots":
    from recsys.snapshot import Snapshots

    return Snapshots(settings.home / "snapshots")


@app.command()
def migrate() -> None:
    """Create the database, or bring its schema up to this version."""
    from recsys.catalogue.database import migrate as run

    with _database(_settings()) as engine:
        run(engine)
    out.print("the database is up to date")


Files = Annotated[
    list[Path], typer.Argument(help="CSV, TSV, Parquet or JSON lines; .gz too", show_default=False)
]
Mapping_ = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        metavar="FIELD=COLUMN",
        help="Where a field comes from; repeat a field to join columns",
    ),
]
Strict = Annotated[
    bool,
    typer.Option("--strict", help="One bad row fails the import and leaves the database as it was"),
]
Rejects = Annotated[
    Path | None, typer.Option(help="Where bad rows go", show_default="<home>/rejects/")
]


@imports.command("items")
def import_items(
    files: Files,
    mapping: Mapping_ = None,
    split: Annotated[
        str, typer.Option(help="Separator of categories and pictures within a column")
    ] = "|",
    image: Annotated[
        str | None,
        typer.Option(
            metavar="TEMPLATE",
            help="Where pictures lie, such as 'posters/{item_id}.jpg'; may lead through a .tar",
        ),
    ] = None,
    rejects: Rejects = None,
    strict: Strict = False,
) -> None:
    """Add or update items. Well-known column names are recognised; other columns become attributes."""
    from recsys.catalogue.importing import FeedOptions

    options = FeedOptions(split=split, image=image, rejects=rejects, strict=strict)
    _import("items", files, options, mapping)


@imports.command("events")
def import_events(
    files: Files,
    mapping: Mapping_ = None,
    type_: Annotated[
        str | None, typer.Option("--type", help="Event type, where no column says it")
    ] = None,
    rejects: Rejects = None,
    strict: Strict = False,
) -> None:
    """Add events. The same event is added once, however often it is imported."""
    from recsys.catalogue.importing import FeedOptions

    _import("events", files, FeedOptions(type=type_, rejects=rejects, strict=strict), mapping)


def _import(
    kind: "Kind", files: list[Path], options: "FeedOptions", mapping: list[str] | None
) -> None:
    from recsys.catalogue.columns import parse_map
    from recsys.catalogue.database import check_schema
    from recsys.catalogue.importing import import_file

    options = replace(options, columns=parse_map(mapping or []))
    settings, at_addresses = _settings(), False
    with _database(settings) as engine, Bars(out, err) as bars:
        check_schema(engine)
        for file in files:
            advance = bars.task(f"importing {kind} from {file.name}")
            summary = import_file(engine, kind, file, options, settings, advance)
            at_addresses |= summary.at_addresses > 0 and settings.embedding.image_model != "none"
            bars.done()
            bars.print(_described(file, kind, summary))
        problems = _fetch(engine, settings, bars) if at_addresses else {}
    _tell(problems, settings)


def _fetch(engine: "Engine", settings: Settings, bars: Bars) -> "dict[ItemId, str]":
    """Fetch the pictures of the catalogue that are not here yet. Gives the items where one did not come, and why."""
    from recsys.catalogue.database import reading
    from recsys.catalogue.items import read_items
    from recsys.embedding.pictures import Pictures
    from recsys.rebuild import fetch_pictures

    with reading(engine) as connection:
        items = read_items(connection)
    images = [tuple(locations or ()) for locations in items.data["images"].to_pylist()]
    asked = set(fetch_pictures(images, settings, bars))
    fetched = Pictures.of(settings).fetched
    bars.print(
        f"{sum(address in fetched for address in asked):,} of {len(asked):,} pictures fetched"
    )
    missed = {address: why for address in asked if (why := fetched.problem(address))}
    return {
        item: "; ".join(missed[location] for location in mine if location in missed)
        for item, mine in zip(items.ids, images, strict=True)
        if not missed.keys().isdisjoint(mine)
    }


def _described(file: Path, kind: "Kind", summary: "Summary") -> str:
    """What became of a file, in a few lines."""
    known = "unchanged" if kind == "items" else "already known"
    counts = [f"{summary.added:,} added", f"{summary.unchanged:,} {known}"]
    if kind == "items":
        counts.insert(1, f"{summary.updated:,} updated")
        counts.append(f"{summary.images:,} with pictures")
    if summary.rejected:
        counts.append(f"[yellow]{summary.rejected:,} rejected: {escape(str(summary.rejects))}[/]")
    mapped = ", ".join(
        field if columns == (field,) else f"{field} ← {' + '.join(columns)}"
        for field, columns in summary.columns.items()
    )
    head = f"{escape(file.name)}: {summary.rows:,} rows: {', '.join(counts)}"
    return f"{head}\n  [dim]columns: {escape(mapped)}[/]"


@app.command()
def rebuild(
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Build and publish although nothing changed or the gate refuses"
        ),
    ] = False,
    full: Annotated[
        bool,
        typer.Option(
            "--full", help="Build everything anew, as if there were no snapshot; vectors are kept"
        ),
    ] = False,
) -> None:
    """Build a snapshot from the catalogue and its events, measure it, and publish it if it is good."""
    from recsys.evaluation.report import table
    from recsys.rebuild import rebuild as run

    settings = _settings()
    with _database(settings) as engine, Bars(out, err) as bars:
        outcome = run(engine, settings, bars, force=force, full=full)
    out.print(table(outcome.evaluation))
    _tell_problems(outcome.vectors, settings)
    if outcome.overruled:
        err.print(
            f"[yellow]published by --force although {escape(outcome.overruled)}[/]", soft_wrap=True
        )
    manifest = outcome.manifest
    if not outcome.changed:
        out.print(
            f"unchanged: snapshot [bold]{manifest.id}[/] already holds this catalogue, these events and these settings"
        )
        return
    report = settings.home / "snapshots" / manifest.id / "report.html"
    embedded = sum(each.embedded for each in outcome.vectors.values())
    reused = sum(each.reused for each in outcome.vectors.values())
    out.print(f"{embedded} contents embedded, {reused} reused from earlier builds")
    if twice := manifest.counts["near_duplicates"]:
        out.print(f"{twice:,} items are near-duplicates of others: `recsys duplicates` lists them")
    out.print(f"published snapshot [bold]{manifest.id}[/]; report: {report}", soft_wrap=True)


@app.command()
def duplicates(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a line of JSON for each group instead of a table")
    ] = False,
) -> None:
    """List the near-duplicates in the snapshot being served: of each group, a slate shows one item."""
    _, artefacts = _snapshots(_settings()).load_current()
    found = artefacts.facts.duplicates
    table = Table("items", "titles", box=None, header_style="dim", pad_edge=False)
    for number in range(len(found.ends) - 1):
        items = found.of_group(number)
        ids, titles = artefacts.items.id_texts.of(items), artefacts.items.title_texts.of(items)
        if as_json:
            print(json.dumps({"items": ids, "titles": titles}, ensure_ascii=False))  # noqa: T201 - plain, for other programs to read
        else:
            table.add_row(escape("\n".join(ids)), escape("\n".join(titles)), end_section=True)
    if not as_json:
        out.print(table)


def _tell_problems(vectors: "Mapping[str, Embedded]", settings: Settings) -> None:
    """Which items' texts or pictures could not be used."""
    from recsys.embedding.vectors import report

    problems: dict[ItemId, str] = {}
    for each in vectors.values():
        for item, why in each.problems.items():
            report(problems, item, why)
    _tell(problems, settings)
    for file in (file for each in vectors.values() for file in each.damaged):
        err.print(f"[yellow]{escape(file)} was damaged; its contents were embedded again[/]")


def _tell(problems: "Mapping[ItemId, str]", settings: Settings) -> None:
    """Items and what is wrong with their contents: the first of them here, all of them in a file."""
    if not problems:
        return
    for item, why in list(problems.items())[:MOST_TOLD]:
        err.print(f"[yellow]item {escape(item)}:[/] {escape(why)}", soft_wrap=True)
    file = settings.home / "rejects" / "contents.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", encoding="utf-8", errors="backslashreplace") as lines:
        for item, why in problems.items():
            print(json.dumps({"item": item, "problem": why}, ensure_ascii=False), file=lines)
    more = f", and {len(problems) - MOST_TOLD:,} more" if len(problems) > MOST_TOLD else ""
    err.print(f"[yellow]these{more}, are listed in {escape(str(file))}[/]", soft_wrap=True)


@app.command()
def refresh(
    every: Annotated[
        float | None,
        typer.Option(min=0.1, help="Go on, with a look so often, in seconds", show_default="once"),
    ] = None,
) -> None:
    """Bring new and changed items into the snapshot being served, as `recsys serve` does by itself."""
    from recsys.catalogue.database import check_schema
    from recsys.refresh import Refresher, Watch, keep_fresh

    settings = _settings()
    with _database(settings) as engine:
        check_schema(engine)
        _snapshots(settings).current_id()
        refresher = Refresher(engine, settings)
        manifest = None
        while done := refresher.refresh():
            manifest = done
        if manifest is None:
            out.print("the snapshot being served holds every item as it is")
        else:
            out.print(f"published snapshot [bold]{manifest.id}[/], a refresh of {manifest.origin}")
        if every is not None:
            keep_fresh(refresher, every, Watch())


@app.command()
def evaluate(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="FILES",
            help="With --split: TRAIN [VALID] TEST, of lines 'user item item ...'; .gz too",
            show_default=False,
        ),
    ] = None,
    protocol: Annotated[
        Literal["time", "leave-one-out"] | None,
        typer.Option(help="What is held out", show_default="evaluation.protocol"),
    ] = None,
    split: Annotated[
        bool,
        typer.Option("--split", help="Measure on the lists in these files instead of the events"),
    ] = False,
    cold_items: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Share of the items made new, to measure how those fare",
            show_default="evaluation.cold_items",
        ),
    ] = None,
    report: Annotated[Path, typer.Option(help="Where to write the HTML report")] = Path(
        "report.html"
    ),
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the figures as JSON instead of a table")
    ] = False,
) -> None:
    """Measure the blend and its baselines on held-out events; publishes nothing."""
    from recsys.evaluation.report import html, table

    paths = _split_files(files or [], split, protocol)
    measured = {"protocol": protocol, "cold_items": cold_items}
    evaluation = _evaluated(_measured_by(_settings(), measured), paths)
    report.parent.mkdir(parents=True, exist_ok=True)
    report.write_text(html(evaluation, "Evaluation on held-out events"), encoding="utf-8")
    if as_json:
        print(evaluation.to_json())  # noqa: T201 - plain, for other programs to read
    else:
        out.print(table(evaluation))
        out.print(f"report: {report}", soft_wrap=True)


def _split_files(files: list[Path], split: bool, protocol: str | None) -> list[Path]:
    """The files of a given split; none without one. Raises InputError for what does not fit together."""
    if split and protocol:
        raise InputError(
            "--split brings its own protocol, the parts in its files: leave out --protocol"
        )
    if split and len(files) not in {2, 3}:
        raise InputError(
            f"--split needs two or three files, TRAIN [VALID] TEST: found {len(files)}"
        )
    if files and not split:
        raise InputError(
            f"found the file {files[0]} without --split: write `recsys evaluate --split TRAIN [VALID] TEST`"
        )
    return files


def _measured_by(settings: Settings, given: Mapping[str, object]) -> Settings:
    """The settings with what was given on the command line; None: not given."""
    chosen = {name: value for name, value in given.items() if value is not None}
    evaluation = settings.evaluation.model_copy(update=chosen)
    return settings.model_copy(update={"evaluation": evaluation})


def _evaluated(settings: Settings, files: list[Path]) -> "Evaluation":
    """Measure on the lists in these files; on the database's events where there are none."""
    from recsys.catalogue.database import check_schema
    from recsys.rebuild import arrange, embed, read_split, read_world
    from recsys.rebuild import evaluate as run

    with _database(settings) as engine, Bars(out, err) as bars:
        check_schema(engine)
        if files:
            world, plan = read_split(engine, files, settings, bars)
        else:
            world, plan = read_world(engine, bars), None
        found = embed(world.items, settings, bars)
        content = arrange(world.items, found, settings, bars)
        return run(world, content, settings, bars, plan)


@app.command()
def batch(
    to: Annotated[Path, typer.Option("--out", help="Folder for the Parquet files")],
    limit: Annotated[int, typer.Option(help="Items per user")] = 20,
    users: Annotated[
        Path | None,
        typer.Option(
            help="File with one user id per line", show_default="every user with an event"
        ),
    ] = None,
    table: Annotated[
        bool, typer.Option("--table", help="Also write the database table `recommendations`")
    ] = False,
) -> None:
    """Score every user into Parquet files, with the same pipeline as the API. Resumes where it was interrupted."""
    from recsys.batch import batch as run
    from recsys.batch import read_users

    settings = _settings_for_slates()
    wanted = read_users(users) if users is not None else None
    with _database(settings) as engine, Bars(out, err) as bars:
        bars.task("loading the snapshot and the events")
        done = run(
            engine,
            settings,
            to,
            limit=limit,
            users=wanted,
            table=table,
            started=lambda n: bars.task("scoring users", n),
            say=bars.print,
        )
    resumed = f", {done.resumed} of them from the interrupted run" if done.resumed else ""
    written = f"{len(done.run.users):,} users in {done.parts} files{resumed}"
    out.print(f"{written}, from snapshot [bold]{done.run.snapshot}[/]: {escape(str(to))}")


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address", show_default="serving.host")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65_535, help="Port", show_default="serving.port")
    ] = None,
    workers: Annotated[
        int, typer.Option(min=1, help="Processes that answer; they share one snapshot in memory")
    ] = 1,
) -> None:
    """Serve the HTTP API and the storefront. New items and new snapshots are picked up without a restart."""
    settings = _settings_for_slates()
    with tempfile.TemporaryDirectory() as counted:
        # before it is imported, prometheus_client wants to know where processes count
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = counted
        gc.disable()  # of what is loaded all stays; the workers collect
        try:
            _serve(settings, host, port, workers)
        finally:
            del os.environ["PROMETHEUS_MULTIPROC_DIR"]
            gc.enable()


def _serve(settings: Settings, host: str | None, port: int | None, workers: int) -> None:
    from recsys.serving.app import create_app
    from recsys.serving.encoding import Shared
    from recsys.serving.workers import run
    from recsys.web.console.pages import add_console
    from recsys.web.pages import add_pages

    host, port = host or settings.serving.host, settings.serving.port if port is None else port
    shared = Shared(settings.embedding, settings.home / "vectors")
    with closing(shared) as encoding, _listen(host, port) as listening:
        application = create_app(settings, encoding)
        add_pages(application)
        if settings.serving.console:
            add_console(application)
        port = listening.getsockname()[1]
        out.print(f"recsys answers on [bold]http://{host}:{port}[/] (Ctrl-C stops it)")
        if settings.serving.console and not settings.serving.admin_key.get_secret_value():
            err.print(
                "serving.admin_key is not set: /console and /v1/rules are for this machine alone; set it before a "
                "proxy stands in front",
                soft_wrap=True,
            )
        run(application, encoding, listening, workers)


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), family=_family(host))
    except OSError as error:
        raise InputError(
            f"cannot listen on {host}:{port}: {error.strerror}; choose another with --port or serving.port"
        ) from None


def _family(host: str) -> socket.AddressFamily:
    return socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][0]


@snapshots_app.command("list")
def list_snapshots() -> None:
    """Show every snapshot; the current one is marked."""
    from recsys.errors import NoSnapshot, SnapshotError

    snapshots = _snapshots(_settings())
    try:
        current = snapshots.current_id()
    except NoSnapshot as error:
        out.print(escape(str(error)), soft_wrap=True)
        current = ""
    if not snapshots.ids():
        return
    table = Table(
        "",
        "snapshot",
        "items",
        "events",
        "events until",
        "NDCG@10",
        "popularity",
        "linear model",
        "refresh of",
        box=None,
        header_style="dim",
    )
    for snapshot in snapshots.ids():
        mark = "[green]●[/]" if snapshot == current else ""
        try:
            manifest = snapshots.manifest(snapshot)
        except SnapshotError as error:
            table.add_row(mark, snapshot, f"[red]{escape(str(error))}[/]")
            continue
        figures = [manifest.metrics.get(name) for name in ("blend.ndcg@10", "popularity.ndcg@10")]
        table.add_row(
            mark,
            snapshot,
            f"{manifest.counts['items']:,}",
            f"{manifest.counts['events']:,}",
            f"{manifest.events_until:%Y-%m-%d %H:%M}" if manifest.events_until else "-",
            *(f"{figure:.4f}" if figure is not None else "-" for figure in figures),
            _reach(manifest.models.get("linear")),
            manifest.refreshed.of if manifest.refreshed else "",
        )
    out.print(table)


def _reach(model: "Mapping[str, int | str] | None") -> str:
    """How many items a model knows."""
    if model is None:
        return "-"
    items, whole = model["items"], model["of"]
    return "all items" if items == whole else f"{items:,} of {whole:,}"


Name = Annotated[str | None, typer.Argument(help="Snapshot id", show_default="the current one")]


@snapshots_app.command()
def verify(snapshot: Name = None) -> None:
    """Compare every file of a snapshot with its manifest."""
    snapshots = _snapshots(_settings())
    manifest = snapshots.verify(snapshot or snapshots.current_id(), anew=True)
    out.print(f"snapshot [bold]{manifest.id}[/] is sound: {len(manifest.files)} files match")


@snapshots_app.command()
def rollback(
    snapshot: Annotated[
        str | None,
        typer.Argument(help="Snapshot id", show_default="the newest older one that is sound"),
    ] = None,
) -> None:
    """Serve an older snapshot; running servers pick it up within a second."""
    out.print(f"serving snapshot [bold]{_snapshots(_settings()).rollback(snapshot)}[/]")
    out.print(
        "the next rebuild publishes again once it passes the gate: mend the cause before it runs"
    )


@snapshots_app.command()
def prune(
    keep: Annotated[
        int | None, typer.Option(min=1, help="How many to keep", show_default="snapshots.keep")
    ] = None,
) -> None:
    """Delete the oldest snapshots; the current one always stays."""
    settings = _settings()
    snapshots = _snapshots(settings)
    snapshots.current_id()
    with snapshots.rebuilding():
        gone = snapshots.prune(keep or settings.snapshots.keep)
    out.print(f"deleted {len(gone)}: {', '.join(gone)}" if gone else "nothing to delete")


MODEL = "What embedding.text_model or embedding.image_model takes: a hub id, a folder, or offline"


@encoders_app.command()
def compare(
    one: Annotated[str, typer.Argument(metavar="A", help=MODEL)],
    other: Annotated[str, typer.Argument(metavar="B", help=MODEL)],
    kind: Annotated[Literal["text", "image"], typer.Option(help="Which encoder it is")] = "text",
) -> None:
    """Embed the catalogue with both, and tell how alike their neighbours are and which suggests better.

    On the same held-out events. Nothing is published; the next rebuild with either embeds nothing again.
    """
    from recsys.encoders import compare as run
    from recsys.encoders import told

    settings = _settings()
    with _database(settings) as engine, Bars(out, err) as bars:
        comparison = run(engine, settings, kind, one, other, bars)
    _tell(comparison.problems, settings)
    out.print(told(comparison))


@app.command()
def adapt(
    kind: Annotated[Literal["text", "image"], typer.Option(help="Which encoder it is")] = "text",
    by: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[=WEIGHT]",
            help="brand, categories or attributes.NAME, and how much it counts; repeat for several",
            show_default="what the same people like",
        ),
    ] = None,
    forget: Annotated[
        bool, typer.Option("--forget", help="Go back to whitening alone, from the next rebuild on")
    ] = False,
    fine_tune: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Train the text encoder itself instead, and write it to a new folder; needs recsys[tune]",
        ),
    ] = None,
    steps: Annotated[
        int, typer.Option(min=1, help="Of fine-tuning, at most; some seconds each without a GPU")
    ] = 300,
) -> None:
    """Teach an encoder what belongs together here, and keep that if held-out events or items show a gain.

    The next rebuild uses it. Teach again when the catalogue or the taste of its people has become another.
    """
    from recsys import adapting

    settings = _settings()
    if fine_tune:
        _fine_tune(settings, fine_tune, steps, bool(forget or by or kind != "text"))
        return
    if forget:
        known = adapting.forget(settings, kind)
        out.print("forgotten: the next rebuild whitens" if known else "there was nothing to forget")
        return
    with _database(settings) as engine, Bars(out, err) as bars:
        lesson = adapting.adapt(engine, settings, kind, _weighed(by or []), bars)
    out.print(adapting.told(lesson))


def _fine_tune(settings: Settings, folder: Path, steps: int, otherwise: bool) -> None:
    from recsys import adapting
    from recsys.tuning import tune

    if otherwise:
        raise InputError(
            "--fine-tune is for texts and by events: leave out --kind, --by and --forget"
        )
    with _database(settings) as engine, Bars(out, err) as bars:
        lesson = tune(engine, settings, folder, steps, bars)
    then = f"With embedding.text_model = {str(folder.resolve())!r} the next `recsys rebuild` embeds with it."
    out.print(adapting.told(lesson, then))


def _weighed(given: list[str]) -> dict[str, float]:
    """Name -> weight; 1 where none is given. Raises InputError."""
    found: dict[str, float] = {}
    for each in given:
        name, _, weight = each.partition("=")
        try:
            found[name] = float(weight or 1)
        except ValueError:
            found[name] = 0
        if not 0 < found[name] < math.inf:
            raise InputError(f"--by {each}: expected NAME or NAME=WEIGHT, a number above 0")
    return found


@rules_app.command("list")
def list_rules(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a line of JSON for each rule instead of a table")
    ] = False,
) -> None:
    """Show all rules, the oldest first: those in force, those to come, and those that have ended."""
    from recsys.catalogue.database import reading
    from recsys.catalogue.items import unknown_items
    from recsys.catalogue.rules import read_rules

    with _database(_settings()) as engine, reading(engine) as connection:
        kept = read_rules(connection)
        unknown = set(unknown_items(connection, [item for rule in kept for item in rule.items]))
    now = datetime.now(UTC)
    heads = ("id", "name", "rule", "items", "slates", "from", "until", "")
    table = Table(*heads, box=None, header_style="dim", pad_edge=False)
    for rule in kept:
        state, missing = rule.state_at(now), [item for item in rule.items if item in unknown]
        if as_json:
            said = rule.model_dump(mode="json") | {"state": state, "unknown": missing}
            said["where"] = rule.where and rule.where.model_dump(mode="json", exclude_defaults=True)
            print(json.dumps(said, ensure_ascii=False))  # noqa: T201 - plain, for other programs to read
            continue
        table.add_row(
            *(str(rule.id), escape(rule.name), _says(rule), escape(_about(rule, missing))),
            *(", ".join(rule.placements) or "all", *map(_day, (rule.starts_at, rule.ends_at))),
            f"[green]{state}[/]" if state == "in force" else state,
        )
    if not as_json:
        out.print(table if kept else "there are no rules")


def _says(rule: "Rule") -> str:
    return f"{rule.action} {rule.by or rule.place or ''}".rstrip()


def _about(rule: "Rule", unknown: Sequence[str]) -> str:
    """What a rule is about, in a few words."""
    if rule.where is not None:
        said = rule.where.model_dump(mode="json", exclude_defaults=True)
        return ", ".join(f"{name} {_value(value)}" for name, value in said.items())
    named = ", ".join(rule.items[:MOST_NAMED]) + ", ..." * (len(rule.items) > MOST_NAMED)
    return f"{named} ({len(unknown)} unknown)" if unknown else named


def _value(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _day(moment: datetime | None) -> str:
    return "-" if moment is None else f"{moment:%Y-%m-%d %H:%M}"


@rules_app.command("add")
def add_rules(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="A rule in JSON, or a list of them; - reads standard input"
        ),
    ],
) -> None:
    """Add rules: all of them, or none if one is wrong. Running servers follow within a second."""
    from recsys.catalogue.database import check_schema, writing
    from recsys.catalogue.items import unknown_items
    from recsys.catalogue.rules import add_rule, rules_of

    name = "standard input" if str(file) == "-" else str(file)
    said = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    rules = rules_of(said, name)
    with _database(_settings()) as engine:
        check_schema(engine)
        with writing(engine) as connection:
            kept = [add_rule(connection, rule, datetime.now(UTC)) for rule in rules]
            unknown = [unknown_items(connection, rule.items) for rule in kept]
    for rule, missing in zip(kept, unknown, strict=True):
        out.print(f"added rule [bold]{rule.id}[/]: {escape(rule.name)}", soft_wrap=True)
        if missing:
            named = ", ".join(missing[:MOST_NAMED]) + ", ..." * (len(missing) > MOST_NAMED)
            about = f"{len(missing)} of its {len(rule.items)} items are not in the catalogue"
            err.print(f"[yellow]rule {rule.id}: {about}: {escape(named)}[/]", soft_wrap=True)


@rules_app.command("remove")
def remove_rule(
    rule: Annotated[int, typer.Argument(metavar="ID", help="As `recsys rules list` shows it")],
) -> None:
    """Remove a rule. Running servers follow within a second."""
    from recsys.catalogue.database import check_schema, writing
    from recsys.catalogue.rules import remove_rule as run

    with _database(_settings()) as engine:
        check_schema(engine)
        with writing(engine) as connection:
            run(connection, rule)
    out.print(f"removed rule [bold]{rule}[/]")


@app.command()
def config() -> None:
    """Print every setting in force as a documented TOML file; passwords are hidden."""
    print(as_toml(load_settings(_chosen["config"])), end="")  # noqa: T201 - plain, to be redirected into a file


def as_toml(settings: Settings) -> str:
    """The settings as TOML that `load_settings` reads back, each under its line of documentation."""
    docs = dict(documented())
    values = settings.model_dump(mode="json")
    if settings.database.url.get_secret_value():
        from sqlalchemy import make_url

        values["database"]["url"] = make_url(settings.database_url).render_as_string(
            hide_password=True
        )
    lines: list[str] = []
    for name, value in values.items():
        if not isinstance(getattr(settings, name), Section):
            lines += [f"# {docs[name]}", f"{name} = {json.dumps(value)}", ""]
    for name, section in values.items():
        if isinstance(getattr(settings, name), Section):
            lines += [f"[{name}]"]
            for key, value in section.items():
                said = f"{key} = {_toml(value)}"
                if (name, key) == ("serving", "admin_key") and value:
                    said = (
                        f"# {key} is set, and not shown"  # a file with stars in it would set them
                    )
                lines += [f"# {docs[f'{name}.{key}']}", said, ""]
    return "\n".join(lines)


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return (
            "{ "
            + ", ".join(f"{json.dumps(key)} = {json.dumps(item)}" for key, item in value.items())
            + " }"
        )
    return json.dumps(value)
