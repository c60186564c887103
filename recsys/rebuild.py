"""The nightly rebuild: catalogue -> vectors -> index -> preference -> gate -> a published snapshot.

It works on a copy of the world as it is at one moment, in a folder of its own. Nothing a reader sees
changes until the one rename at the end; killed at any moment, the old snapshot still serves.
"""

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import Engine

from recsys.catalogue.database import check_schema, reading
from recsys.catalogue.event_log import EventLog
from recsys.catalogue.events import read_events
from recsys.catalogue.item_table import ItemTable
from recsys.catalogue.items import any_changed_since, read_items
from recsys.catalogue.lists import catalogue_of, log_of, read_lists
from recsys.catalogue.times import to_us
from recsys.config import Settings
from recsys.embedding.apart import Apart
from recsys.embedding.contents import Embeddable, contents
from recsys.embedding.encoder import Encoder
from recsys.embedding.fetching import fetch, wanted
from recsys.embedding.image import load_image_encoder
from recsys.embedding.pictures import Pictures
from recsys.embedding.text import load_text_encoder
from recsys.embedding.vectors import Embedded, VectorTable, embed_items
from recsys.errors import BuildError, GateRefused, SnapshotError
from recsys.evaluation.backtest import Evaluation, backtest
from recsys.evaluation.learning import found_by
from recsys.evaluation.past import Found
from recsys.evaluation.report import html
from recsys.evaluation.result import FILE as EVALUATION
from recsys.evaluation.result import comparable
from recsys.evaluation.split import TEST, Plan, by_parts
from recsys.gate import floors, gate, probe
from recsys.identity import Floats, IdMap, ItemId
from recsys.index.space import Space, build_space
from recsys.preference.categories import categories_of
from recsys.preference.cold import ContentPrior
from recsys.preference.models import Preference, fit_preference
from recsys.ranking.filters import on_sale
from recsys.record import Progress, Recording
from recsys.reuse import FILE as STAGES
from recsys.reuse import Inputs, Last
from recsys.snapshot import (
    FORMAT,
    Artefacts,
    Manifest,
    Snapshots,
    library_versions,
    made_by,
    new_id,
)


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


def rebuild(
    engine: Engine,
    settings: Settings,
    progress: Progress,
    force: bool = False,
    full: bool = False,
) -> Outcome:
    """Build, evaluate and publish. Raises GateRefused, RebuildRunning, BuildError; then nothing changed.

    force: although nothing changed, or the gate refuses. full: with nothing taken from the snapshot being served,
    as if it were the first build; only vectors are kept, which lie apart, each beside its content's hash.
    """
    check_schema(engine)
    snapshots = Snapshots(settings.home / "snapshots")
    with snapshots.rebuilding(), Recording(snapshots.folder, progress) as recording:
        outcome = _rebuilt(engine, settings, snapshots, recording, force, full)
        recording.ends(
            "published" if outcome.changed else "unchanged", outcome.manifest.id, outcome.overruled
        )
    return outcome


def _rebuilt(
    engine: Engine,
    settings: Settings,
    snapshots: Snapshots,
    recording: Recording,
    force: bool,
    full: bool,
) -> Outcome:
    started = datetime.now(UTC)
    with _apart(engine, settings, snapshots) as encoder:
        world = read_world(engine, recording)
        found = embed(world.items, settings, recording, encoder)
    last = Last.of(snapshots)
    inputs = Inputs.of(world.items, world.log, found)
    unchanged = last is not None and last.manifest.inputs_digest == inputs.everything(settings)
    if last and last.evaluation and unchanged and not (force or full):
        return Outcome(last.manifest, last.evaluation, found, changed=False, overruled=None)
    making = _Making(world, found, inputs, settings, started, recording)
    build = making.build(None if full else last)
    refusal = build.refusal(last, settings)
    if refusal and build.evaluation.takes_over:
        recording.task("learning again: what an earlier build learned does no longer do")
        build = making.build(None if full else last, anew=True)
        refusal = build.refusal(last, settings)
    recording.measured(build.evaluation)
    if refusal and not force:
        raise GateRefused(
            f"{refusal}. {_kept(last)} `recsys rebuild --force` publishes it all the same"
        )
    sealed = publish(
        snapshots, build.artefacts, build.manifest, build.evaluation, recording, build.stages
    )
    snapshots.prune(settings.snapshots.keep)
    return Outcome(sealed, build.evaluation, found, changed=True, overruled=refusal)


@dataclass(frozen=True)
class _Build:
    """What is ready to be published, once the gate lets it."""

    artefacts: Artefacts
    evaluation: Evaluation
    manifest: Manifest
    stages: Mapping[str, str]
    """Stage -> digest of what it was made from."""

    def refusal(self, last: Last | None, settings: Settings) -> str | None:
        """Why it must not be published; None if it may be."""
        then = last.evaluation if last else None
        rival = then if then and comparable(self.evaluation, then) else None
        current = last.manifest if last else None
        return (
            gate(self.manifest, current, self.evaluation, rival, settings.snapshots)
            or floors(self.evaluation, rival, settings)
            or probe(self.artefacts, settings, self.manifest.built_at)
        )


@dataclass(frozen=True)
class _Making:
    """A world with its vectors, on the way to a build."""

    world: World
    found: Mapping[str, Embedded]
    inputs: Inputs
    settings: Settings
    started: datetime
    progress: Progress

    def build(self, last: Last | None, anew: bool = False) -> _Build:
        """Make every stage, or take it from the last snapshot. anew: settings and weights are learned again."""
        content = arrange(
            self.world.items, self.found, self.settings, self.progress, self.inputs, last
        )
        measuring = self.inputs.evaluation(self.settings)
        evaluation = self._evaluation(content, last, measuring, anew)
        fitting = self.inputs.preference(_found(evaluation, self.settings), self.settings)
        fitted = last.fitted(fitting) if last else None
        artefacts = fit(
            self.world,
            content,
            evaluation,
            self.settings,
            self.started,
            self.progress,
            fitted,
        )
        manifest = describe(
            new_id(self.started),
            self.started,
            self.inputs.everything(self.settings),
            self.world,
            artefacts,
            evaluation,
        )
        spaces = {
            f"space {name}": self.inputs.space(name, self.settings) for name in content.spaces
        }
        stages = {"made by": made_by(), "evaluation": measuring, "preference": fitting, **spaces}
        return _Build(artefacts, evaluation, manifest, stages)

    def _evaluation(
        self, content: Content, last: Last | None, digest: str, anew: bool
    ) -> Evaluation:
        known = last.evaluation if last else None
        if last and not anew and (same := last.measured(digest)):
            return same
        return evaluate(
            self.world,
            content,
            self.settings,
            self.progress,
            start=found_by(known) if known else None,
            last=None if anew else known,
        )


def publish(
    snapshots: Snapshots,
    artefacts: Artefacts,
    manifest: Manifest,
    evaluation: Evaluation,
    progress: Progress,
    stages: Mapping[str, str] | None = None,
) -> Manifest:
    """Seal a build with its evaluation and its report beside it, and serve it.

    stages: what each was made from; None: the next build makes all of them anew.
    """
    progress.task("sealing the snapshot")
    extras = {
        EVALUATION: evaluation.to_json(),
        "report.html": html(evaluation, f"Snapshot {manifest.id}"),
        STAGES: json.dumps(stages or {}, indent=1),
    }
    sealed = snapshots.seal(artefacts, manifest, extras)
    snapshots.publish(sealed.id)
    return sealed


def read_world(engine: Engine, progress: Progress) -> World:
    """Read the catalogue and all events. Raises BuildError for an empty catalogue."""
    progress.task("reading the catalogue and the events")
    with reading(engine) as connection:
        items = read_items(connection)
        if not len(items):
            raise BuildError("the catalogue is empty: run `recsys import items FILE` first")
        return World(items, read_events(connection, items.ids))


def read_split(
    engine: Engine, paths: Sequence[Path], settings: Settings, progress: Progress
) -> tuple[World, Plan]:
    """Read lists of training, perhaps validation, and test instead of the events, and plan to measure on them."""
    progress.task("reading the catalogue and the lists")
    lists = read_lists(paths)
    with reading(engine) as connection:
        items = catalogue_of(lists, read_items(connection))
    log, file = log_of(lists, items.ids)
    part = np.where(file == len(paths) - 1, TEST, file)
    return World(items, log), by_parts(log, part, items, settings)


def _apart(
    engine: Engine, settings: Settings, snapshots: Snapshots
) -> AbstractContextManager[Apart | None]:
    """A text encoder that loads beside what is done within; None where it seems that there is nothing to encode.

    None also where torch is here already, which takes the longest, or where Python cannot be started.
    """
    if settings.embedding.text_model == "none" or "torch" in sys.modules or not sys.executable:
        return nullcontext()
    try:
        last = snapshots.manifest(snapshots.current_id()).built_at
    except SnapshotError:
        last = datetime.fromtimestamp(0, UTC)
    with reading(engine) as connection:
        if not any_changed_since(connection, last):
            return nullcontext()
    return closing(Apart(settings.embedding, settings.home / "vectors"))


def embed(
    items: ItemTable, settings: Settings, progress: Progress, encoder: Apart | None = None
) -> dict[str, Embedded]:
    """Vectors of every item that has a text or a picture; only what is new or changed is encoded.

    encoder: of texts; None: it is loaded when there is a text to encode.
    """
    texts, images = contents(items, settings.embedding.text_fields).values()
    vectors = settings.home / "vectors"
    found: dict[str, Embedded] = {}
    progress.task("embedding")
    if any(texts) and (reader := encoder or load_text_encoder(settings.embedding, vectors)):
        found["text"] = _embed("texts", items, texts, reader, settings, progress)
    if any(images) and (viewer := load_image_encoder(settings.embedding, vectors)):
        fetch_pictures(images, settings, progress)
        found["image"] = _embed("pictures", items, images, viewer, settings, progress)
    return found


def fetch_pictures(
    images: Iterable[Embeddable], settings: Settings, progress: Progress
) -> list[str]:
    """Fetch the pictures among these that lie at addresses and are not here yet. Gives the addresses asked."""
    pictures = Pictures.of(settings)
    missing = wanted((location for each in images for location in each or ()), pictures)
    if missing:
        advance = progress.task("fetching pictures", len(missing))
        fetch(missing, pictures, settings.fetching, advance)
    return missing


def arrange(
    items: ItemTable,
    found: Mapping[str, Embedded],
    settings: Settings,
    progress: Progress,
    inputs: Inputs | None = None,
    last: Last | None = None,
) -> Content:
    """Vectors -> spaces: whitened, indexed, with every item's neighbours.

    inputs, last: what they are made from, and a snapshot that may hold the same; None: nothing is reused.
    """
    spaces: dict[str, Space] = {}
    priors: dict[str, ContentPrior] = {}
    for name, vectors in found.items():
        if len(vectors.table.ids):
            advance = progress.task(f"finding neighbours: {name}", len(items))
            same = last.space(name, inputs.space(name, settings)) if inputs and last else None
            spaces[name] = same or build_space(
                items.ids, vectors.table, settings.index, advance, *_before(name, last)
            )
            near = spaces[name].neighbours, spaces[name].similarity
            priors[name] = ContentPrior(_raw(items.ids, vectors.table), *near)
    return Content(spaces, priors)


def _raw(ids: IdMap[ItemId], table: VectorTable) -> Floats:
    """(n, dim) vectors as they were encoded, zero where an item has none; the table's own where all have one."""
    return table.rows if list(table.ids) == list(ids) else table.aligned(ids)[0]


def _before(name: str, last: Last | None) -> tuple[Space | None, IdMap[ItemId] | None]:
    """A kind of content as the last snapshot has it, and its items; neither where there is none."""
    if last is None or last.artefacts is None:
        return None, None
    return last.artefacts.spaces.get(name), last.artefacts.items.ids


def _embed(
    name: str,
    items: ItemTable,
    given: Sequence[Embeddable],
    encoder: Encoder[Any],
    settings: Settings,
    progress: Progress,
) -> Embedded:
    advance = progress.task(f"embedding {name}", len(items))
    folder = settings.home / "vectors"
    return embed_items(items.ids, given, encoder, folder, Pictures.of(settings), advance)


def evaluate(
    world: World,
    content: Content,
    settings: Settings,
    progress: Progress,
    plan: Plan | None = None,
    start: Found | None = None,
    beside: bool = True,
    last: Evaluation | None = None,
) -> Evaluation:
    """Measure what this world's models would have suggested. plan: None for what the settings ask.

    start: settings that the last build found. beside: with baselines. last: what it learned is taken over
    while it holds.
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
        last,
    )


def fit(
    world: World,
    content: Content,
    evaluation: Evaluation,
    settings: Settings,
    at: datetime,
    progress: Progress,
    fitted: Preference | None = None,
) -> Artefacts:
    """Fit on everything, with the settings and the weights that the evaluation taught. at: when the world was so.

    fitted: models that were fitted on the very same; None: there are none.
    """
    found = _found(evaluation, settings)
    update = {"preference": found.preference, "events": found.events}
    preference = fitted or fit_preference(
        world.log,
        len(world.items),
        content.priors,
        settings.model_copy(update=update),
        _named(progress, "fitting on all events: "),
        categories_of(world.items),
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


def _found(evaluation: Evaluation, settings: Settings) -> Found:
    """The settings that an evaluation found; those given where nothing was measured."""
    return found_by(evaluation) or Found(settings.preference, settings.events)


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
            "near_duplicates": len(artefacts.facts.duplicates.items),
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


def inputs_digest(world: World, found: Mapping[str, Embedded], settings: Settings) -> str:
    """Equal for two worlds, vectors and settings from which the same snapshot would be built."""
    return Inputs.of(world.items, world.log, found).everything(settings)


def _kept(last: Last | None) -> str:
    return f"{last.manifest.id} stays published." if last else "Nothing is published."
