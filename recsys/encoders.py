"""Two encoders side by side, before one takes over from the other: publishes nothing.

    world --each encoder--> vectors -> spaces -> the same held-out questions -> Comparison -> told

The vectors are kept as a rebuild keeps them, so that the next one with either encoder embeds nothing again.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from PIL import Image
from rich import box
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text
from sqlalchemy import Engine

from recsys.catalogue.database import check_schema
from recsys.config import Settings
from recsys.embedding.contents import contents
from recsys.embedding.encoder import Encoder, EncoderCard, Modality
from recsys.embedding.image import load_image_encoder
from recsys.embedding.pictures import Pictures
from recsys.embedding.text import load_text_encoder
from recsys.embedding.vectors import Embedded, embed_items, report
from recsys.errors import BuildError, InputError
from recsys.evaluation.backtest import Sitting, sit
from recsys.evaluation.judge import gains
from recsys.evaluation.learning import found_by
from recsys.evaluation.past import Found
from recsys.evaluation.result import ALL, COLD_ALONE, COLD_ITEMS, HEADLINE, Estimate
from recsys.evaluation.split import Plan, make_plan
from recsys.evaluation.words import SLICES, interval
from recsys.identity import Floats, ItemId
from recsys.index.space import Space
from recsys.rebuild import Content, World, arrange, embed, fetch_pictures, read_world
from recsys.record import Progress
from recsys.reuse import Last
from recsys.snapshot import Snapshots

NEAREST = 10
"""Neighbours of an item that are compared."""

CALLED: dict[Modality, str] = {"text": "a text", "image": "a picture"}

SHOWN = {HEADLINE: "NDCG@10", "recall@10": "Recall@10"}
"""Metric -> what it is called."""


@dataclass(frozen=True)
class Side:
    """What became of one encoder."""

    embedded: Embedded
    seconds: float
    """What embedding took, without loading the model."""
    sitting: Sitting

    @property
    def card(self) -> EncoderCard:
        """What its vectors mean."""
        return self.embedded.table.card


@dataclass(frozen=True)
class Comparison:
    """Two encoders of one kind of content on one world."""

    kind: Modality
    named: tuple[str, str]
    """As the settings would name them."""
    sides: tuple[Side, Side]
    overlap: float
    """Mean share of the `NEAREST` neighbours in common; NaN where no item has any."""
    items: int
    """Items with vectors of both, over which it is the mean."""
    gained: Mapping[str, Mapping[str, Mapping[str, Estimate]]]
    """Slice -> model -> metric -> that of the second minus that of the first, query by query; empty: not measured."""

    @property
    def reason(self) -> str:
        """Why nothing but neighbours could be compared; empty where more was."""
        return self.sides[0].sitting.evaluation.reason

    @property
    def problems(self) -> dict[ItemId, str]:
        """Items whose content one of them could not use, and why."""
        found: dict[ItemId, str] = {}
        one, other = (side.embedded.problems for side in self.sides)
        for item, why in (
            *one.items(),
            *(each for each in other.items() if each not in one.items()),
        ):
            report(found, item, why)
        return found


def compare(
    engine: Engine, settings: Settings, kind: Modality, one: str, other: str, progress: Progress
) -> Comparison:
    """Embed the catalogue with both and measure both as a rebuild would, each with settings that it learns itself.

    one, other: what `embedding.text_model`, or for kind "image" `embedding.image_model`, takes. Raises InputError
    where they are one model or none, BuildError where there is nothing to embed, EncoderError for a model that
    cannot be loaded.
    """
    if one == other:
        raise InputError(f"A and B are both {one!r}: name two models")
    if "none" in (one, other):
        raise InputError("'none' embeds nothing: name two models")
    check_schema(engine)
    world = read_world(engine, progress)
    given = contents(world.items, settings.embedding.text_fields)[kind]
    if not any(given):
        raise BuildError(f"no item has {CALLED[kind]}: there is nothing to compare")
    asked = [_naming(settings, kind, named) for named in (one, other)]
    encoders = [_load(kind, each) for each in asked]
    if encoders[0].card == encoders[1].card:
        raise InputError(f"{one!r} and {other!r} are the same model, {encoders[0].card.model}")
    if kind == "image":
        fetch_pictures(given, settings, progress)
    embed_with = partial(_embedded, world, given, settings, progress)
    (found_a, seconds_a), (found_b, seconds_b) = map(embed_with, encoders)
    del encoders  # the models are large
    beside = embed(world.items, _naming(settings, kind, "none"), progress)
    rest = arrange(world.items, beside, settings, progress)
    content_a, content_b = (
        _joined(rest, arrange(world.items, {kind: found}, settings, progress))
        for found in (found_a, found_b)
    )
    plan, start = make_plan(world.log, world.items, settings), _last_found(settings)
    sitting_a, sitting_b = (
        _sit(world, content, each, kind, plan, start, progress)
        for content, each in zip((content_a, content_b), asked, strict=True)
    )
    shared, items = overlap(content_a.spaces[kind], content_b.spaces[kind])
    sides = Side(found_a, seconds_a, sitting_a), Side(found_b, seconds_b, sitting_b)
    gained = _gained(sitting_a, sitting_b, len(world.items), settings)
    return Comparison(kind, (one, other), sides, shared, items, gained)


def overlap(one: Space, other: Space) -> tuple[float, int]:
    """The mean share of an item's nearest neighbours in common, and of how many items: those with vectors in both.

    Of shorter lists the share of the longer one; NaN where nobody has neighbours.
    """
    both = np.flatnonzero(one.present & other.present)
    mine, theirs = (space.neighbours[both, :NEAREST] for space in (one, other))
    common = np.zeros(len(both))
    for column in mine.T:
        common += (column >= 0) & (theirs == column[:, None]).any(axis=1)
    most = np.maximum((mine >= 0).sum(axis=1), (theirs >= 0).sum(axis=1))
    shares = common[most > 0] / most[most > 0]
    return float(shares.mean()) if len(shares) else float("nan"), len(both)


def told(comparison: Comparison) -> RenderableType:
    """A comparison for the terminal: neighbours, figures, and what they mean in a sentence each."""
    a, b = comparison.sides
    share = f"Neighbours: {comparison.overlap:.1%} of the {NEAREST} nearest in common"
    said = [f"{share}, over {comparison.items:,} items with vectors of both."]
    said += sentences(comparison)
    setting, other = f"embedding.{comparison.kind}_model", comparison.named[1]
    switch = (
        f"Nothing was published. With {setting} = {other!r} the next `recsys rebuild` switches in one snapshot and "
        "embeds nothing again; `recsys snapshots rollback` switches back."
    )
    grid = Table(box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0), collapse_padding=True)
    grid.add_column("")
    grid.add_column("queries", justify="right")
    for column in (f"A: {a.card.model}", f"B: {b.card.model}", "B - A"):
        grid.add_column(escape(column), justify="right")
    grid.add_row("dimension", "", f"{a.card.dim:,}", f"{b.card.dim:,}", "")
    grid.add_row("embedding 1,000", "", *map(_speed, comparison.sides), "")
    for row in _rows(comparison):
        grid.add_row(*map(escape, row))
    return Group(grid, *map(Text, said), Text(switch, style="dim"))


def sentences(comparison: Comparison) -> list[str]:
    """What the figures mean: no more than their intervals allow."""
    if comparison.reason:
        return [f"Accuracy was not measured: {comparison.reason}."]
    return [
        f"{_called(model, ALL)}: {_verdict(metrics[HEADLINE])}."
        for model, metrics in comparison.gained[ALL].items()
    ]


def _verdict(gain: Estimate) -> str:
    value, low, high = gain
    if low is not None and low > 0:
        return f"B is better by {value:.3f} NDCG@10, beyond its interval"
    if high is not None and high < 0:
        return f"B is worse by {-value:.3f} NDCG@10, beyond its interval"
    return "no difference that these events can show"


def _rows(comparison: Comparison) -> list[tuple[str, ...]]:
    """Name, queries, the figure of each and their difference."""
    a, b = (side.sitting.evaluation.models for side in comparison.sides)
    rows: list[tuple[str, ...]] = []
    for part in (ALL, COLD_ITEMS, COLD_ALONE):
        for model, metrics in comparison.gained.get(part, {}).items():
            one, other = (models[model].slices[part] for models in (a, b))
            for metric, label in SHOWN.items():
                figures = interval(one.metrics[metric]), interval(other.metrics[metric])
                name = f"{_called(model, part)}: {label}"
                rows.append((name, f"{one.n:,}", *figures, interval(metrics[metric], "+.3f")))
    return rows


def _called(model: str, part: str) -> str:
    return model if part == ALL else f"{model}, {SLICES[part]}"


def _speed(side: Side) -> str:
    """Seconds per 1,000 contents, as far as any were embedded."""
    embedded = side.embedded.embedded
    return f"{1_000 * side.seconds / embedded:.2f} s" if embedded else "reused"


def _naming(settings: Settings, kind: Modality, model: str) -> Settings:
    embedding = settings.embedding.model_copy(update={f"{kind}_model": model})
    return settings.model_copy(update={"embedding": embedding})


@dataclass
class _Ready:
    """An encoder that counts what loading its model takes."""

    encoder: Encoder[Any]
    load: Callable[[], object]
    loading: float | None = None
    """Seconds; None: not loaded."""
    _turn: threading.Lock = field(default_factory=threading.Lock)

    @property
    def card(self) -> EncoderCard:
        """What the vectors mean."""
        return self.encoder.card

    def encode(self, contents: Sequence[Any]) -> Floats:
        """(len(contents), card.dim) unit rows."""
        with self._turn:  # pictures are encoded on all cores
            if self.loading is None:
                began = time.perf_counter()
                self.load()
                self.loading = time.perf_counter() - began
        return self.encoder.encode(contents)


def _load(kind: Modality, settings: Settings) -> _Ready:
    vectors = settings.home / "vectors"
    if kind == "text":
        reader = load_text_encoder(settings.embedding, vectors)
        assert reader is not None, "'none' was refused"
        return _Ready(reader, reader.prepare)
    viewer = load_image_encoder(settings.embedding, vectors)
    assert viewer is not None, "'none' was refused"
    return _Ready(viewer, partial(viewer.encode, [Image.new("RGB", (32, 32))]))


def _embedded(
    world: World,
    given: Sequence[Any],
    settings: Settings,
    progress: Progress,
    encoder: _Ready,
) -> tuple[Embedded, float]:
    """Vectors of all items, and the seconds that took. Raises BuildError where there are none."""
    advance = progress.task(f"embedding: {encoder.card.model}", len(world.items))
    folder, pictures = settings.home / "vectors", Pictures.of(settings)
    began = time.perf_counter()
    found = embed_items(world.items.ids, given, encoder, folder, pictures, advance)
    took = time.perf_counter() - began - (encoder.loading or 0.0)
    if not len(found.table.ids):
        why = next(iter(found.problems.values()), "every content is empty")
        raise BuildError(f"{encoder.card.model} gave no item a vector: {why}")
    return found, took


def _joined(one: Content, other: Content) -> Content:
    """In the order in which a rebuild has them."""
    spaces, priors = {**one.spaces, **other.spaces}, {**one.priors, **other.priors}
    order = [name for name in ("text", "image") if name in spaces]
    return Content({name: spaces[name] for name in order}, {name: priors[name] for name in order})


def _last_found(settings: Settings) -> Found | None:
    """Where a rebuild would set out from."""
    last = Last.of(Snapshots(settings.home / "snapshots"))
    return found_by(last.evaluation) if last and last.evaluation else None


def _sit(
    world: World,
    content: Content,
    settings: Settings,
    kind: Modality,
    plan: Plan,
    start: Found | None,
    progress: Progress,
) -> Sitting:
    model = content.spaces[kind].card.model

    def begin(step: str) -> None:
        progress.task(f"evaluating {model}: {step}")

    return sit(
        world.items,
        content.spaces,
        content.priors,
        world.log,
        settings,
        begin,
        plan,
        start,
        beside=False,
        alone=kind,
    )


def _gained(
    one: Sitting, other: Sitting, n_items: int, settings: Settings
) -> dict[str, dict[str, dict[str, Estimate]]]:
    if not one.slates:
        return {}
    known = np.bincount(one.exam.known.item, minlength=n_items) > 0
    return gains(one.exam, one.slates, other.slates, known, settings.evaluation)
