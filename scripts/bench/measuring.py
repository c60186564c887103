"""One folder of public data through the product: import, embed, evaluate, publish.

folder -> Interactions, Texts -> database (never the test) -> World, Content -> Evaluation -> snapshot
"""

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter

import numpy as np
import pyarrow.parquet as pq
from feeding import Feeder, must_be_same, whole_log
from formats import read_interactions
from interactions import Interactions, Protocol
from pydantic import SecretStr
from sqlalchemy import Engine
from texts import find_texts, picture_template

from recsys.batch import batch
from recsys.catalogue.database import connect, migrate
from recsys.catalogue.event_log import EventLog
from recsys.catalogue.items import ItemTable
from recsys.config import DatabaseSettings, Settings, load_settings
from recsys.errors import FeedError
from recsys.evaluation.result import Evaluation
from recsys.evaluation.split import Plan, by_parts, by_time, leave_one_out
from recsys.identity import UserId
from recsys.rebuild import (
    Content,
    Progress,
    World,
    arrange,
    describe,
    embed,
    evaluate,
    fit,
    inputs_digest,
    publish,
    read_world,
)
from recsys.snapshot import Snapshots, new_id
from recsys.threads import limit_threads, one_blas_thread

SLATE = 20
"""Length of the slates written."""


@dataclass(frozen=True)
class Wanted:
    """What to measure, and what to leave behind."""

    folder: Path
    home: Path
    publish: bool = False
    slates: Path | None = None
    """Where everybody's slate goes; needs `publish`."""


@dataclass(frozen=True)
class Outcome:
    """What was measured, and how."""

    found: Interactions
    settings: Settings
    evaluation: Evaluation
    texts: Path | None
    """The file that the items' texts came from."""
    refused: int
    """Items whose text the product refused."""
    embed_seconds: float
    catalogue: int
    """Items that compete."""


def measure(found: Interactions, wanted: Wanted, settings: Settings, progress: Progress) -> Outcome:
    """Raises FeedError for data of which too little can be asked, InputError for a home in other use."""
    settings = in_home(settings, wanted.folder, wanted.home, len(found.users))
    texts = find_texts(wanted.folder, found, everything=found.protocol == "time")
    engine = connect(settings)
    try:
        with feeding(engine, settings) as feeder:
            progress.task("importing items")
            refused = feeder.items(found, texts, picture_template(wanted.folder))
            items = read_world(engine, progress).items
            log = whole_log(found, items.ids)
            plan = _plan(found, log, items, settings)
            progress.task("importing events")
            feeder.events(plan.test.known, items.ids)
        world = read_world(engine, progress)
        must_be_same(world.log, plan.test.known, wanted.home)
        evaluation, seconds = _evaluated(found, world, log, plan, settings, wanted, progress)
        if wanted.slates is not None:
            progress.task("writing slates", len(found.users))
            write_slates(engine, settings, found.users, wanted.slates)
    finally:
        engine.dispose()
    file = texts.file if texts else None
    return Outcome(found, settings, evaluation, file, refused, seconds, len(items))


def read(folder: Path, protocol: Protocol | None) -> Interactions:
    """Under the protocol asked for (None: the data's own), of which only `time` looks at ratings.

    Raises FeedError for a folder that cannot be measured like that.
    """
    found = read_interactions(folder)
    protocol = protocol or found.protocol
    if protocol == "time" and not found.dated:
        raise FeedError(f"{folder}: events without times, --protocol time needs them")
    if protocol == "parts" and found.part is None:
        raise FeedError(f"{folder}: data that is not split, --protocol parts needs a split")
    found = replace(found, protocol=protocol)
    return found if protocol == "time" else found.without_ratings()


def in_home(settings: Settings, folder: Path, home: Path, users: int) -> Settings:
    """In this home, with this folder's pictures, and everybody asked."""
    embedding = settings.embedding.model_copy(update={"image_root": folder.resolve()})
    database = DatabaseSettings(url=SecretStr(""))
    update = {"home": home, "embedding": embedding, "database": database}
    return measured_by(settings.model_copy(update=update), {"max_queries": users})


@contextmanager
def feeding(engine: Engine, settings: Settings) -> Iterator[Feeder]:
    """What fills a database, whose tables are made."""
    migrate(engine)
    with tempfile.TemporaryDirectory() as scratch:
        yield Feeder(engine, settings, Path(scratch))


@contextmanager
def whole_world(
    folder: Path, home: Path | None, evaluation: Mapping[str, object], progress: Progress
) -> Iterator[tuple[Engine, Settings]]:
    """A database of all items and events of a folder, measured as its data asks for but for what is given.

    home: where it is kept; None: it is gone in the end. Raises FeedError for a folder that cannot be read.
    """
    found = read(folder, None)
    with tempfile.TemporaryDirectory() as scratch:
        settings = in_home(load_settings(), folder, home or Path(scratch), len(found.users))
        settings = measured_by(settings, {"protocol": found.protocol, **evaluation})
        limit_threads(settings.threads)
        engine = connect(settings)
        try:
            with feeding(engine, settings) as feeder:
                progress.task("importing")
                texts = find_texts(folder, found, everything=found.protocol == "time")
                feeder.items(found, texts, picture_template(folder))
                ids = read_world(engine, progress).items.ids
                feeder.events(whole_log(found, ids), ids)
            yield engine, settings
        finally:
            engine.dispose()


def measured_by(settings: Settings, update: Mapping[str, object]) -> Settings:
    """With other settings of the evaluation."""
    evaluation = settings.evaluation.model_copy(update=update)
    return settings.model_copy(update={"evaluation": evaluation})


def _plan(found: Interactions, log: EventLog, items: ItemTable, settings: Settings) -> Plan:
    if found.protocol == "time":
        return by_time(log, items, settings)
    if found.protocol == "leave-one-out":
        return replace(leave_one_out(log, items, settings), dated=found.dated)
    assert found.part is not None
    by_time_then_arrival = np.argsort(found.us, kind="stable")
    return by_parts(log, found.part[by_time_then_arrival], items, settings)


def _evaluated(
    found: Interactions,
    world: World,
    log: EventLog,
    plan: Plan,
    settings: Settings,
    wanted: Wanted,
    progress: Progress,
) -> tuple[Evaluation, float]:
    """The evaluation, with baselines where no published figures lie beside it, and the seconds that embedding took."""
    started = perf_counter()
    vectors = embed(world.items, settings, progress)
    seconds = perf_counter() - started
    content = arrange(world.items, vectors, settings, progress)
    beside = found.protocol == "time" or wanted.publish  # a snapshot keeps its whole report
    whole = replace(world, log=log)
    evaluation = evaluate(whole, content, settings, progress, plan, beside=beside)
    if not evaluation.measured:
        raise FeedError(f"{wanted.folder}: {evaluation.reason}")
    if wanted.publish:
        digest = inputs_digest(world, vectors, settings)
        publish_ungated(world, content, evaluation, digest, settings, progress)
    return evaluation, seconds


def publish_ungated(
    world: World,
    content: Content,
    evaluation: Evaluation,
    digest: str,
    settings: Settings,
    progress: Progress,
) -> None:
    """Seal and serve what a rebuild would have made, whatever the gate would say of it."""
    snapshots, started = Snapshots(settings.home / "snapshots"), datetime.now(UTC)
    with snapshots.rebuilding():
        artefacts = fit(world, content, evaluation, settings, started, progress)
        manifest = describe(new_id(started), started, digest, world, artefacts, evaluation)
        publish(snapshots, artefacts, manifest, evaluation, progress)


def write_slates(engine: Engine, settings: Settings, users: Sequence[str], file: Path) -> None:
    """Everybody's slate from the published snapshot, a JSON line each, by the product's batch scoring."""
    slates: dict[str, list[str]] = {user: [] for user in users}
    with tempfile.TemporaryDirectory() as folder, one_blas_thread():
        batch(engine, settings, Path(folder), limit=SLATE, users=[UserId(u) for u in users])
        for part in sorted(Path(folder).glob("*.parquet")):
            table = pq.read_table(part, columns=["user_id", "item_id"])
            for user, item in zip(*(c.to_pylist() for c in table.columns), strict=True):
                slates[user].append(item)
    with file.open("w", encoding="utf-8") as out:
        for user, items in slates.items():
            out.write(json.dumps({"user": user, "items": items}) + "\n")
