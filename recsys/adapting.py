"""An encoder learns what belongs together in this catalogue: by what the same people like, or by attributes.

    events before the validation window --Teaching--> a metric; its floor by the validation, its worth by the test
    attributes of half of the items     --Teaching--> a metric; its worth by the other half

What is taught is kept where it beats whitening by more than its interval, and then is a part of the encoder: the next
rebuild projects with it. One by events is kept as it was measured and never sees what came later: else the evaluations
of builds, which ask about the newest events, would be flattered.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from scipy.sparse import csr_array
from sqlalchemy import Engine

from recsys.catalogue.database import check_schema
from recsys.catalogue.event_log import EventLog
from recsys.catalogue.items import ItemTable
from recsys.config import Settings
from recsys.embedding import adapters
from recsys.embedding.encoder import EncoderCard, Modality
from recsys.embedding.image import load_image_encoder
from recsys.embedding.projection import Projection, Teaching
from recsys.embedding.text import load_text_encoder
from recsys.embedding.vectors import VectorTable
from recsys.errors import BuildError, InputError
from recsys.evaluation.exam import LIMIT, Question
from recsys.evaluation.metrics import Vector, accuracy, estimates
from recsys.evaluation.result import HEADLINE, Estimate
from recsys.evaluation.split import by_time
from recsys.evaluation.words import interval
from recsys.identity import ABSENT, Floats, Mask, Ordinals
from recsys.index.space import RIDGE
from recsys.preference.interactions import interactions
from recsys.ranking.block import best_of
from recsys.rebuild import Progress, World, embed, read_world

FLOORS = (0.003, 0.01, 0.03, 0.1, 0.3)
"""Of a metric by events: the validation chooses. Of one by attributes it is the least."""

NEWEST = 20
"""Likes of a history that are looked at."""

MOST_ASKED = 2_000
"""People asked in a window."""

FEW = 500
"""Enough of them to choose a floor by."""

FEWEST_ASKED = 50
"""With fewer, an interval says nothing."""

NEAREST = 10
"""Neighbours that are looked at for an attribute."""

LEARNED_FROM = "learned from"
"""The window before the validation: the metric knows its events."""

ALL_TOGETHER = "all, among themselves"
"""Attributes, each as much as it counts."""

RAW, WHITENED, TAUGHT, GAIN = "raw", "whitened", "taught", "gain"
"""Models; the last is taught minus whitened, question by question."""

Figures = Mapping[str, Estimate]
"""Model -> its figure."""


@dataclass(frozen=True)
class Lesson:
    """How teaching ended."""

    card: EncoderCard
    figures: Mapping[str, Figures]
    """What was asked -> figures. NDCG@10 of suggestions by likeness alone, or the share of 10 neighbours that agree."""
    decided_by: str
    """Which of these."""
    asked: int
    """Questions there."""
    kept: bool


def adapt(
    engine: Engine,
    settings: Settings,
    kind: Modality,
    attributes: Mapping[str, float],
    progress: Progress,
) -> Lesson:
    """Teach, measure, and keep what is better.

    attributes: brand, categories or attributes.NAME -> how much it counts; none: by events. Raises BuildError where
    there is too little to learn from, InputError for an attribute that no item has.
    """
    check_schema(engine)
    world = read_world(engine, progress)
    embedding = settings.embedding.model_copy(
        update={f"{other}_model": "none" for other in ("text", "image") if other != kind}
    )
    found = embed(world.items, settings.model_copy(update={"embedding": embedding}), progress)
    if kind not in found or len(found[kind].table.ids) < 2:
        raise BuildError(f"fewer than two items have a {kind} vector: there is nothing to teach")
    pupil = _Pupil.of(world.items, found[kind].table)
    progress.task("teaching")
    taught, lesson = (
        _by_attributes(pupil, world.items, attributes, settings)
        if attributes
        else _by_events(pupil, world, settings)
    )
    if lesson.kept:
        adapters.keep(taught, pupil.card, settings.home / "vectors")
    return lesson


def forget(settings: Settings, kind: Modality) -> bool:
    """Whether the encoder of the settings had been taught anything."""
    vectors = settings.home / "vectors"
    load = load_text_encoder if kind == "text" else load_image_encoder
    encoder = load(settings.embedding, vectors)
    return encoder is not None and adapters.forget(encoder.card, vectors)


@dataclass(frozen=True, eq=False)
class _Pupil:
    """Vectors of all items, as they are and whitened."""

    card: EncoderCard
    raw: Floats
    """(n, dim) zero where an item has none."""
    present: Mask
    whitening: Projection
    """Of all directions: what is to be taught must not have been cut off."""
    white: Floats
    """(n, dim)"""

    @classmethod
    def of(cls, items: ItemTable, table: VectorTable) -> "_Pupil":
        raw, present = table.aligned(items.ids)
        ridge = RIDGE[table.card.modality]
        whitening = Projection.whitening(table.rows, ridge, most=table.card.dim)
        return cls(table.card, raw, present, whitening, _only(present, whitening.apply(raw)))

    def projected(self, taught: Projection) -> Floats:
        """(n, k)"""
        return _only(self.present, taught.apply(self.raw))


def _only(present: Mask, rows: Floats) -> Floats:
    return np.where(present[:, None], rows, np.float32(0))


def _by_events(pupil: _Pupil, world: World, settings: Settings) -> tuple[Projection, Lesson]:
    plan = by_time(world.log, world.items, settings)
    validation, test = (
        _with_content(exam.main, pupil.present) for exam in (plan.rehearsal, plan.test)
    )
    if min(len(validation), len(test)) < FEWEST_ASKED:
        raise BuildError(
            f"{len(validation)} and {len(test)} people can be asked about the newest events, at least {FEWEST_ASKED} "
            "are needed: import more events, or teach by attributes (--by)"
        )
    teaching = Teaching.of(
        pupil.whitening, pupil.white, [(1.0, _people(plan.rehearsal.known, world.items, settings))]
    )
    made = [teaching.projection(floor) for floor in FLOORS]
    some = validation[:: max(1, len(validation) // FEW)]
    reached = [float(_ndcg(pupil.projected(each), pupil.present, some).mean()) for each in made]
    taught = made[int(np.argmax(reached))]
    asked = {"validation": validation, "test": test}
    if plan.earlier:
        asked = {LEARNED_FROM: _with_content(plan.earlier.main, pupil.present)} | asked
    rows = {RAW: pupil.raw, WHITENED: pupil.white, TAUGHT: pupil.projected(taught)}
    figures = {
        part: _figures(
            {name: _ndcg(some, pupil.present, questions) for name, some in rows.items()}, settings
        )
        for part, questions in asked.items()
        if questions
    }
    return taught, _lesson(pupil.card, figures, "test", len(test))


def _people(log: EventLog, items: ItemTable, settings: Settings) -> csr_array:
    """(people, n) what each likes."""
    longest = settings.preference.longest_history
    return interactions(log, len(items), settings.events, longest).matrix


def _with_content(questions: Sequence[Question], present: Mask) -> list[Question]:
    """Those that likeness can answer: a liked item with a vector is known, and one is to be found."""
    return [
        question
        for question in questions[:: max(1, len(questions) // MOST_ASKED)]
        if present[question.targets].any() and len(_liked(question, present))
    ]


def _liked(question: Question, present: Mask) -> Ordinals:
    history = question.query.history
    return history.items[(history.weights > 0) & present[history.items]][:NEWEST]


def _ndcg(rows: Floats, present: Mask, questions: Sequence[Question]) -> Vector:
    """(q,) NDCG@10 of what is most alike any of the newest likes, of all that has not been seen."""
    slates = np.full((len(questions), LIMIT), ABSENT, dtype=np.int64)
    for n, question in enumerate(questions):
        likeness = (rows[_liked(question, present)] @ rows.T).max(axis=0)
        likeness[~present] = -np.inf
        likeness[question.query.seen] = -np.inf
        best = best_of(likeness, LIMIT)
        slates[n, : len(best)] = best
    return accuracy(slates, [question.targets for question in questions])[HEADLINE]


def _by_attributes(
    pupil: _Pupil, items: ItemTable, attributes: Mapping[str, float], settings: Settings
) -> tuple[Projection, Lesson]:
    values = {name: _values(items, name) for name in attributes}
    able = np.flatnonzero(pupil.present)
    if len(able) < 2 * FEWEST_ASKED:
        raise BuildError(f"{len(able)} items have a vector, at least {2 * FEWEST_ASKED} are needed")
    drawn = np.random.default_rng(settings.evaluation.seed).permutation(able)
    half, others = np.sort(drawn[: len(drawn) // 2]), np.sort(drawn[len(drawn) // 2 :])
    measured = _attribute_teaching(pupil, values, attributes, half).projection(FLOORS[0])
    rows = {WHITENED: pupil.white, TAUGHT: pupil.projected(measured), RAW: pupil.raw}
    figures: dict[str, Figures] = {}
    for among, where in (("among themselves", others), ("among all", able)):
        agreed = {name: _agreeing(some, others, where, values) for name, some in rows.items()}
        for name in attributes:
            part = {model: each[name] for model, each in agreed.items()}
            figures[f"{name}, {among}"] = _figures(part, settings)
        if among == "among themselves":
            both = {
                model: np.average(list(each.values()), axis=0, weights=list(attributes.values()))
                for model, each in agreed.items()
            }
            figures[ALL_TOGETHER] = _figures(both, settings)
    taught = _attribute_teaching(pupil, values, attributes, able).projection(FLOORS[0])
    return taught, _lesson(pupil.card, figures, ALL_TOGETHER, len(others))


def _attribute_teaching(
    pupil: _Pupil,
    values: Mapping[str, csr_array],
    weights: Mapping[str, float],
    items: Ordinals,
) -> Teaching:
    """By these items alone."""
    known = np.zeros(len(pupil.present), dtype=np.float32)
    known[items] = 1
    groups = [
        (weights[name], csr_array(some.multiply(known[None, :]))) for name, some in values.items()
    ]
    return Teaching.of(pupil.whitening, pupil.white, groups)


def _values(items: ItemTable, name: str) -> csr_array:
    """(values, n) 1 where an item has the value of an attribute."""
    found = items.postings(name)
    if not found:
        raise InputError(
            f"no item has {name!r}: expected brand, categories or attributes.NAME, as the catalogue has them"
        )
    ends = np.cumsum([0, *map(len, found.values())])
    flat = np.concatenate(list(found.values()))
    return csr_array((np.ones(len(flat), np.float32), flat, ends), (len(found), len(items)))


def _agreeing(
    rows: Floats, asked: Ordinals, among: Ordinals, values: Mapping[str, csr_array]
) -> dict[str, Vector]:
    """Attribute -> (asked,) the share of the 10 nearest that have a value of it in common."""
    near = np.empty((len(asked), min(NEAREST, len(among) - 1)), dtype=np.int64)
    for start in range(0, len(asked), 1_000):
        some = asked[start : start + 1_000]
        likeness = rows[some] @ rows[among].T
        likeness[some[:, None] == among[None, :]] = -np.inf
        nearest = np.argpartition(-likeness, near.shape[1] - 1, axis=1)[:, : near.shape[1]]
        near[start : start + 1_000] = among[nearest]
    found = {}
    for name, members in values.items():
        of_item = members.T.tocsr()
        pairs = of_item[np.repeat(asked, near.shape[1])].multiply(of_item[near.ravel()])
        found[name] = (pairs.sum(axis=1) > 0).reshape(near.shape).mean(axis=1)
    return found


def _figures(values: Mapping[str, Vector], settings: Settings) -> Figures:
    gain = {GAIN: values[TAUGHT] - values[WHITENED]}
    return estimates({**values, **gain}, settings.evaluation.bootstrap, settings.evaluation.seed)


def _lesson(card: EncoderCard, figures: Mapping[str, Figures], by: str, asked: int) -> Lesson:
    low = figures[by][GAIN].low
    return Lesson(card, figures, by, asked, kept=low is not None and low > 0)


def told(lesson: Lesson) -> RenderableType:
    """Figures, and what they mean."""
    grid = Table(box=box.SIMPLE_HEAD, header_style="dim")
    grid.add_column("")
    for name in (RAW, WHITENED, TAUGHT, "taught - whitened"):
        grid.add_column(name, justify="right")
    for part, figures in lesson.figures.items():
        models = [f"{figures[name].value:.4f}" for name in (RAW, WHITENED, TAUGHT)]
        grid.add_row(part, *models, interval(figures[GAIN], "+.4f"))
    return Group(grid, Text(_meaning(lesson)))


def _meaning(lesson: Lesson) -> str:
    gain = lesson.figures[lesson.decided_by][GAIN]
    measured = (
        f"{interval(gain, '+.4f')} on {lesson.asked:,} held-out questions ({lesson.decided_by})"
    )
    if not lesson.kept:
        return f"Not kept: {measured} is no gain beyond chance. Whitening stays, or what was taught before."
    seen = lesson.figures.get(LEARNED_FROM)
    overfit = (
        f" On what it learned from it gained {interval(seen[GAIN], '+.4f')}: what is more there was learned by heart."
        if seen
        else ""
    )
    return f"Kept: {measured}.{overfit} The next `recsys rebuild` uses it."
