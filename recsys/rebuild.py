"""The nightly rebuild: catalogue -> vectors -> index -> preference -> gate -> a published snapshot.

It works on a copy of the world as it is at one moment, in a folder of its own. Nothing a reader sees
changes until the one rename at the end; killed at any moment, the old snapshot still serves.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from sqlalchemy import Engine

from recsys.catalogue.database import check_schema, reading
from recsys.catalogue.event_log import EventLog
from recsys.catalogue.events import read_events
from recsys.catalogue.item_table import ItemTable
from recsys.catalogue.items import read_items
from recsys.catalogue.lists import catalogue_of, log_of, read_lists
from recsys.catalogue.times import to_us
from recsys.config import EventSettings, PreferenceSettings, Settings, SnapshotSettings
from recsys.embedding.encoder import Encoder
from recsys.embedding.image import load_image_encoder
from recsys.embedding.text import item_text, load_text_encoder
from recsys.embedding.vectors import Embedded, embed_items
from recsys.errors import BuildError, GateRefused, SnapshotError
from recsys.evaluation.backtest import Evaluation, backtest
from recsys.evaluation.past import Found
from recsys.evaluation.report import html
from recsys.evaluation.result import BLEND, COLD_ALONE, FIRST_EVENT, FIRST_VISITS, HEADLINE, Slice
from recsys.evaluation.split import TEST, Plan, by_parts
from recsys.evaluation.words import SLICES, interval
from recsys.index.space import Space, build_space
from recsys.preference.cold import ContentPrior
from recsys.preference.models import fit_preference
from recsys.ranking.candidates import Query
from recsys.ranking.filters import on_sale
from recsys.ranking.recommender import Recommender
from recsys.snapshot import FORMAT, Artefacts, Manifest, Snapshots, library_versions, new_id

UNUSED_BY_A_BUILD = {"home", "threads", "database", "snapshots", "serving"}
"""Settings that do not change what a build makes."""


FLOORS = (COLD_ALONE, FIRST_EVENT, FIRST_VISITS)
"""Slices of an evaluation that have a bar of their own."""


class Progress(Protocol):
    """Where a long job says how far it is."""

    def task(self, name: str, total: int | None = None) -> Callable[[int], None]:
        """Begin a step; call what it returns with the number of units done so far."""


@dataclass(frozen=True)
class World:
    """What a build is made from, read at one moment."""

    items: ItemTable
    log: EventLog


@dataclass(frozen=True)
class Content:
    """The vectors of a world."""

    spaces: dict[str, Space]
    priors: dict[str, ContentPrior]


@dataclass(frozen=True)
class Outcome:
    """How a rebuild ended."""

    manifest: Manifest
    evaluation: Evaluation
    vectors: Mapping[str, Embedded]
    """Kind of content -> what became of it, the items whose text or picture could not be used included."""
    changed: bool
    """False: the current snapshot already holds this world, and nothing was built."""
    overruled: str | None
    """Why the gate would have refused, had `force` not been given."""


def rebuild(engine: Engine, settings: Settings, progress: Progress, force: bool = False) -> Outcome:
    """Build, evaluate and publish. Raises GateRefused, RebuildRunning, BuildError; then nothing changed."""
    check_schema(engine)
    snapshots = Snapshots(settings.home / "snapshots")
    with snapshots.rebuilding():
        started = datetime.now(UTC)
        world = read_world(engine, progress)
        found = embed(world.items, settings, progress)
        current = current_manifest(snapshots)
        digest = inputs_digest(world, found, settings)
        if current is not None and current.inputs_digest == digest and not force:
            stored = stored_evaluation(snapshots, current.id)
            return Outcome(current, stored, found, changed=False, overruled=None)
        content = arrange(world.items, found, settings, progress)
        last = stored_evaluation(snapshots, current.id) if current else None
        start = found_by(last) if last else None
        evaluation = evaluate(world, content, settings, progress, start=start)
        artefacts = fit(world, content, evaluation, settings, started, progress)
        manifest = describe(new_id(started), started, digest, world, artefacts, evaluation)
        refusal = (
            gate(manifest, current, settings.snapshots)
            or floors(evaluation, last, settings)
            or probe(artefacts, settings, started)
        )
        if refusal and not force:
            raise GateRefused(
                f"{refusal}. {_kept(current)} `recsys rebuild --force` publishes it all the same"
            )
        sealed = publish(snapshots, artefacts, manifest, evaluation, progress)
        snapshots.prune(settings.snapshots.keep)
    return Outcome(sealed, evaluation, found, changed=True, overruled=refusal)


def publish(
    snapshots: Snapshots,
    artefacts: Artefacts,
    manifest: Manifest,
    evaluation: Evaluation,
    progress: Progress,
) -> Manifest:
    """Seal a build with its evaluation and its report beside it, and serve it."""
    progress.task("sealing the snapshot")
    extras = {
        "evaluation.json": evaluation.to_json(),
        "report.html": html(evaluation, f"Snapshot {manifest.id}"),
    }
    sealed = snapshots.seal(artefacts, manifest, extras)
    snapshots.publish(sealed.id)
    return sealed


def read_world(engine: Engine, progress: Progress) -> World:
    """Read the catalogue and all events. Raises BuildError for an empty catalogue."""
    progress.task("reading the catalogue and the events")
    with reading(engine) as session:
        items = read_items(session)
        if not len(items):
            raise BuildError("the catalogue is empty: run `recsys import items FILE` first")
        return World(items, read_events(session, items.ids))


def read_split(
    engine: Engine, paths: Sequence[Path], settings: Settings, progress: Progress
) -> tuple[World, Plan]:
    """Read lists of training, perhaps validation, and test instead of the events, and plan to measure on them."""
    progress.task("reading the catalogue and the lists")
    lists = read_lists(paths)
    with reading(engine) as session:
        items = catalogue_of(lists, read_items(session))
    log, file = log_of(lists, items.ids)
    part = np.where(file == len(paths) - 1, TEST, file)
    return World(items, log), by_parts(log, part, items, settings)


def embed(items: ItemTable, settings: Settings, progress: Progress) -> dict[str, Embedded]:
    """Vectors of every item that has a text or a picture; only what is new or changed is encoded."""
    names = settings.embedding.text_fields
    columns = dict.fromkeys(name.partition(".")[0] for name in names)
    texts = [item_text(row, names) for row in items.data.select(list(columns)).to_pylist()]
    images = [tuple(locations or ()) for locations in items.data["images"].to_pylist()]
    found: dict[str, Embedded] = {}
    if any(texts) and (encoder := load_text_encoder(settings.embedding)):
        found["text"] = _embed("texts", items, texts, encoder, settings, progress)
    if any(images) and (pictures := load_image_encoder(settings.embedding)):
        found["image"] = _embed("pictures", items, images, pictures, settings, progress)
    return found


def arrange(
    items: ItemTable, found: Mapping[str, Embedded], settings: Settings, progress: Progress
) -> Content:
    """Vectors -> spaces: whitened, indexed, with every item's neighbours."""
    spaces: dict[str, Space] = {}
    priors: dict[str, ContentPrior] = {}
    for name, vectors in found.items():
        if len(vectors.table.ids):
            advance = progress.task(f"finding neighbours: {name}", len(items))
            spaces[name] = build_space(items.ids, vectors.table, settings.index, advance)
            rows, _ = vectors.table.aligned(items.ids)
            priors[name] = ContentPrior(rows, spaces[name].neighbours, spaces[name].similarity)
    return Content(spaces, priors)


def _embed(
    name: str,
    items: ItemTable,
    contents: Sequence[str | Sequence[str] | None],
    encoder: Encoder[Any],
    settings: Settings,
    progress: Progress,
) -> Embedded:
    advance = progress.task(f"embedding {name}", len(items))
    folder = settings.home / "vectors"
    return embed_items(items.ids, contents, encoder, folder, settings.embedding, advance)


def evaluate(
    world: World,
    content: Content,
    settings: Settings,
    progress: Progress,
    plan: Plan | None = None,
    start: Found | None = None,
    beside: bool = True,
) -> Evaluation:
    """Measure what this world's models would have suggested. plan: None for what the settings ask.

    start: settings that the last build found. beside: with baselines.
    """
    return backtest(
        world.items,
        content.spaces,
        content.priors,
        world.log,
        settings,
        _named(progress, "evaluating: "),
        plan,
        start,
        beside,
    )


def fit(
    world: World,
    content: Content,
    evaluation: Evaluation,
    settings: Settings,
    at: datetime,
    progress: Progress,
) -> Artefacts:
    """Fit on everything, with the settings and the weights that the evaluation taught. at: when the world was so."""
    if found := found_by(evaluation):
        update = {"preference": found.preference, "events": found.events}
        settings = settings.model_copy(update=update)
    preference = fit_preference(
        world.log,
        len(world.items),
        content.priors,
        settings,
        _named(progress, "fitting on all events: "),
    )
    popularity = replace(preference.popularity, as_of=to_us(at))
    hides_seen = (
        evaluation.hides_seen if evaluation.measured else settings.ranking.hide_seen != "no"
    )
    ranker = evaluation.ranker.served if evaluation.ranker else None
    return Artefacts(
        world.items,
        content.spaces,
        replace(preference, popularity=popularity),
        evaluation.weights,
        hides_seen,
        ranker,
    )


def _named(progress: Progress, prefix: str) -> Callable[[str], None]:
    def begin(step: str) -> None:
        progress.task(prefix + step)

    return begin


def describe(
    snapshot: str,
    built_at: datetime,
    digest: str,
    world: World,
    artefacts: Artefacts,
    evaluation: Evaluation,
) -> Manifest:
    """The manifest, before the files are known."""
    newest = int(world.log.time[-1]) if len(world.log) else None
    return Manifest(
        id=snapshot,
        format=FORMAT,
        built_at=built_at,
        events_until=datetime.fromtimestamp(newest / 1e6, UTC) if newest is not None else None,
        counts={
            "items": len(world.items),
            "available": int(on_sale(world.items, built_at, np.arange(len(world.items))).sum()),
            "actors": len(world.log.actors),
            "events": len(world.log),
            "events_of_unknown_items": world.log.unknown_items,
        },
        encoders={name: space.card.to_json() for name, space in artefacts.spaces.items()},
        indexes={
            name: {"kind": s.kind, "recall@10": s.recall} for name, s in artefacts.spaces.items()
        },
        models=artefacts.preference.reach,
        inputs_digest=digest,
        libraries=library_versions(),
        metrics=evaluation.metrics(),
        files={},
    )


def gate(new: Manifest, current: Manifest | None, settings: SnapshotSettings) -> str | None:
    """Why the new build must not be published; None if it may be."""
    if not new.counts["available"]:
        return "no item is available, published and not expired: there would be nothing to show"
    if current is not None:
        least = (1 - settings.max_shrink) * current.counts["available"]
        if new.counts["available"] < least:
            return (
                f"the catalogue shrank from {current.counts['available']} available items to "
                f"{new.counts['available']}, more than snapshots.max_shrink = {settings.max_shrink:g} allows"
            )
        if current.metrics and not new.metrics:
            return (
                "too few events are left to measure this build, though the current one was measured"
            )
    if not new.metrics:
        return None
    mine, bars = new.metrics["blend.ndcg@10"], {"popularity": new.metrics["popularity.ndcg@10"]}
    if current is not None and current.metrics:
        bars["the current snapshot"] = current.metrics["blend.ndcg@10"]
    for name, bar in bars.items():
        if not mine >= (1 - settings.tolerance) * bar:  # also refuses NaN
            return (
                f"NDCG@10 on held-out events is {mine:.4f}, that of {name} {bar:.4f}: "
                f"lower by more than snapshots.tolerance = {settings.tolerance:g}"
            )
    return None


def floors(new: Evaluation, current: Evaluation | None, settings: Settings) -> str | None:
    """Why those of whom little is known would be served too badly by the new build; None if they would not.

    They are few, so only what their whole interval says counts.
    """
    least, tolerance = settings.evaluation.min_queries, settings.snapshots.tolerance
    bars = {"popularity": (new, "popularity"), "the current snapshot": (current, BLEND)}
    for name, (evaluation, model) in bars.items():
        for group in FLOORS:
            mine, other = _slice(new, BLEND, group), _slice(evaluation, model, group)
            if min(mine.n, other.n) < least:
                continue
            found, bar = mine.metrics[HEADLINE], other.metrics[HEADLINE].value
            if found.high is not None and found.high < (1 - tolerance) * bar:
                return (
                    f"NDCG@10 of {SLICES[group]} ({group}) on held-out events is {interval(found, '.4f')}, "
                    f"that of {name} {bar:.4f}: lower by more than snapshots.tolerance = {tolerance:g}"
                )
    return None


def _slice(evaluation: Evaluation | None, model: str, group: str) -> Slice:
    """One without queries where it was not measured."""
    measured = evaluation.models.get(model) if evaluation else None
    return (measured.slices if measured else {}).get(group, Slice(n=0, metrics={}))


def probe(artefacts: Artefacts, settings: Settings, at: datetime) -> str | None:
    """Ask the very artefacts that would be served, as a newcomer and on the page of the best-known item.

    Why an answer is not sound, or None.
    """
    recommender = Recommender.of(artefacts, settings.ranking)
    best_known = np.array([int(artefacts.preference.support.argmax())])
    for query in (Query(at=at, limit=10), Query(at=at, limit=10, context=best_known)):
        slate = recommender.recommend(query)
        if slate.failed:
            return f"the sources {', '.join(slate.failed)} fail"
        if not all(np.isfinite(item.score) for item in slate.items):
            return "a score is not finite"
    return None


def inputs_digest(world: World, found: Mapping[str, Embedded], settings: Settings) -> str:
    """Equal for two worlds, vectors and settings from which the same snapshot would be built."""
    digest = hashlib.sha256(settings.model_dump_json(exclude=UNUSED_BY_A_BUILD).encode())
    digest.update(repr(sorted(library_versions().items())).encode())
    for batch in world.items.data.to_batches():
        digest.update(batch.serialize())
    for name in sorted(found):
        table = found[name].table
        digest.update(f"{name} {table.card.fingerprint}".encode() + table.rows.tobytes())
        digest.update("\0".join(table.ids).encode())
    for actor in world.log.actors:
        digest.update(actor.encode() + b"\0")
    log = world.log
    for column in (log.actor, log.item, log.type, log.value, log.time):
        digest.update(np.ascontiguousarray(column).tobytes())
    return digest.hexdigest()


def current_manifest(snapshots: Snapshots) -> Manifest | None:
    """The manifest being served; None if there is none, or none that can be read: then a rebuild mends it."""
    try:
        return snapshots.verify(snapshots.current_id())
    except SnapshotError:
        return None


def stored_evaluation(snapshots: Snapshots, snapshot: str) -> Evaluation:
    """The evaluation that was sealed with a snapshot."""
    return Evaluation.from_json(
        (snapshots.folder / snapshot / "evaluation.json").read_text(encoding="utf-8")
    )


def found_by(evaluation: Evaluation) -> Found | None:
    """The settings that an evaluation found; None where nothing was measured."""
    if not evaluation.measured:
        return None
    preference = PreferenceSettings.model_validate(evaluation.preference)
    return Found(preference, EventSettings.model_validate(evaluation.events))


def _kept(current: Manifest | None) -> str:
    return f"{current.id} stays published." if current else "Nothing is published."
