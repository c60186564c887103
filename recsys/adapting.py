"""An encoder learns what belongs together in this catalogue: by what the same people like, or by attributes.

    events before the validation window --Teaching--> a metric, chosen by the validation, measured by the test
    attributes of half of the items     --Teaching--> a metric, chosen by some of them, measured by the other half

What counts is what it says of items that it never saw: those it learned of it may know by heart.

What is taught is kept where it beats whitening by more than its interval, and then is a part of the encoder: the next
rebuild projects with it. One by events is kept as it was measured and never sees what came later: else the evaluations
of builds, which ask about the newest events, would be flattered.
"""

from collections.abc import Callable, Mapping, Sequence
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
from recsys.evaluation.exam import LIMIT, Exam
from recsys.evaluation.metrics import Vector, accuracy, estimates
from recsys.evaluation.result import HEADLINE, Estimate
from recsys.evaluation.split import make_plan
from recsys.evaluation.words import interval
from recsys.identity import ABSENT, Floats, Mask, Ordinals
from recsys.index.space import RIDGE
from recsys.preference.interactions import interactions
from recsys.ranking.block import best_of
from recsys.rebuild import World, embed, read_world
from recsys.record import Progress

RIDGES = (0.3, 3.0, 30.0)
FLOORS = (0.01, 0.1, 1.0, 10.0)
"""Of a metric: what is held out for choosing chooses."""

HIDDEN = 0.2
"""Share of the items that nothing is learned of where it is measured what likeness says of new ones."""

NEWEST = 20
"""Likes of a history that are looked at."""

MOST_ASKED = 10_000
"""People asked in a window."""

FEW = 500
"""Enough of them to choose by."""

FEWEST_ASKED = 100
"""With fewer, an interval says nothing."""

FEWEST_HIDDEN = 50
"""Items: with fewer, who asks is many and what is found is few, and the interval of the many is not that of the few."""

NEAREST = 10
"""Neighbours that are looked at for an attribute."""

NEW, KNOWN, ANY = "items it never saw", "items it learned from", "all items"
"""What is suggested, of such items alone."""

AMONG_THEMSELVES, AMONG_ALL = "among themselves", "among all"
"""Where the neighbours of items that it never saw are looked for."""

EVERYTHING = "all attributes"
"""Each as much as it counts."""

RAW, WHITENED, TAUGHT, GAIN = "raw", "whitened", "taught", "gain"
"""Models; the last is how much better the last of the others is than the one before, question by question."""

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

    @property
    def kept(self) -> bool:
        """Whether the gain is more than its interval."""
        low = self.figures[self.decided_by][GAIN].low
        return low is not None and low > 0


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
    world, table = read_vectors(engine, settings, kind, progress)
    pupil = Pupil.of(world.items, table)
    progress.task("teaching")
    taught, lesson = (
        _by_attributes(pupil, world.items, attributes, settings)
        if attributes
        else _by_events(pupil, world, settings)
    )
    if lesson.kept:
        adapters.keep(taught, pupil.card, settings.home / "vectors")
    return lesson


def read_vectors(
    engine: Engine, settings: Settings, kind: Modality, progress: Progress
) -> tuple[World, VectorTable]:
    """The world, and what an encoder makes of its items. Raises BuildError where it has a vector of fewer than two."""
    check_schema(engine)
    world = read_world(engine, progress)
    embedding = settings.embedding.model_copy(
        update={f"{other}_model": "none" for other in ("text", "image") if other != kind}
    )
    found = embed(world.items, settings.model_copy(update={"embedding": embedding}), progress)
    if kind not in found or len(found[kind].table.ids) < 2:
        raise BuildError(f"fewer than two items have a {kind} vector: there is nothing to teach")
    return world, found[kind].table


def forget(settings: Settings, kind: Modality) -> bool:
    """Whether the encoder of the settings had been taught anything."""
    vectors = settings.home / "vectors"
    load = load_text_encoder if kind == "text" else load_image_encoder
    encoder = load(settings.embedding, vectors)
    return encoder is not None and adapters.forget(encoder.card, vectors)


@dataclass(frozen=True, eq=False)
class Pupil:
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
    def of(cls, items: ItemTable, table: VectorTable) -> "Pupil":
        """Those of a store, of the items that are in the catalogue."""
        raw, present = table.aligned(items.ids)
        ridge = RIDGE[table.card.modality]
        whitening = Projection.whitening(table.rows, ridge, most=table.card.dim)
        return cls(table.card, raw, present, whitening, _only(present, whitening.apply(raw)))

    def projected(self, taught: Projection) -> Floats:
        """(n, k)"""
        return _only(self.present, taught.apply(self.raw))


def _only(present: Mask, rows: Floats) -> Floats:
    return np.where(present[:, None], rows, np.float32(0))


@dataclass(frozen=True, eq=False)
class Asked:
    """Questions about some of the items, which likeness can answer."""

    likes: list[Ordinals]
    """The newest of each person."""
    seen: list[Ordinals]
    targets: list[Ordinals]
    among: Ordinals
    """What may be suggested."""

    @classmethod
    def about(cls, exam: Exam, some: Mask, present: Mask) -> "Asked":
        """Of those who then liked some of these. some: (n,)"""
        found = cls([], [], [], np.flatnonzero(some & present))
        for question in exam.main[:: max(1, len(exam.main) // MOST_ASKED)]:
            history = question.query.history
            likes = history.items[(history.weights > 0) & present[history.items]][:NEWEST]
            targets = question.targets[some[question.targets] & present[question.targets]]
            if len(likes) and len(targets):
                found.likes.append(likes)
                found.seen.append(np.setdiff1d(question.query.seen, targets))
                found.targets.append(targets)
        return found

    def __len__(self) -> int:
        return len(self.targets)

    def every(self, nth: int) -> "Asked":
        """Fewer of them."""
        return Asked(self.likes[::nth], self.seen[::nth], self.targets[::nth], self.among)


@dataclass(frozen=True, eq=False)
class HeldOut:
    """What an encoder may learn of, and what it is then asked."""

    learned: csr_array
    """(people, n) what each likes, before the validation window and of what is not hidden."""
    told: csr_array
    """The same with what is hidden."""
    validation: Asked
    """About what is hidden."""
    test: Mapping[str, Asked]
    """`NEW` is hidden, `KNOWN` is not, and `ANY`; where nobody can be asked there is none."""

    @classmethod
    def of(cls, pupil: Pupil, world: World, settings: Settings) -> "HeldOut":
        """Raises BuildError where too little can be asked."""
        n = len(world.items)
        hidden = np.random.default_rng(settings.evaluation.seed).random(n) < HIDDEN
        plan = make_plan(world.log, world.items, settings)
        learned, told = plan.forgetting(hidden).rehearsal.known, plan.rehearsal.known
        parts = {NEW: hidden, KNOWN: ~hidden, ANY: np.ones(n, dtype=bool)}
        validation = Asked.about(plan.rehearsal, hidden, pupil.present)
        test = {name: Asked.about(plan.test, some, pupil.present) for name, some in parts.items()}
        if len(validation.among) < FEWEST_HIDDEN:
            raise BuildError(
                f"{pupil.present.sum()} items have a {pupil.card.modality} vector, at least "
                f"{FEWEST_HIDDEN / HIDDEN:.0f} are needed: import more items, or teach by attributes (--by)"
            )
        if min(len(validation), len(test[NEW])) < FEWEST_ASKED:
            raise BuildError(
                f"{len(validation)} and {len(test[NEW])} people liked a hidden item among the newest events, at "
                f"least {FEWEST_ASKED} are needed: import more events, or teach by attributes (--by)"
            )
        return cls(
            _people(learned, world.items, settings),
            _people(told, world.items, settings),
            validation,
            {name: asked for name, asked in test.items() if len(asked)},
        )

    @property
    def few(self) -> Asked:
        """Enough of the validation to choose by."""
        return self.validation.every(max(1, len(self.validation) // FEW))

    def figures(self, rows: Mapping[str, Floats], settings: Settings) -> dict[str, Figures]:
        """Of each part. rows: model -> (n, k), the one that is to be judged last."""
        return {
            part: compared({name: ndcg(some, asked) for name, some in rows.items()}, settings)
            for part, asked in self.test.items()
        }


def _by_events(pupil: Pupil, world: World, settings: Settings) -> tuple[Projection, Lesson]:
    """Chosen and measured by what is hidden from it; then taught of all items, of the same events."""
    held_out = HeldOut.of(pupil, world, settings)
    best, ridge, floor = chosen_by_events(pupil, held_out)
    rows = {RAW: pupil.raw, WHITENED: pupil.white, TAUGHT: pupil.projected(best)}
    everything = [(1.0, held_out.told)]
    taught = Teaching.of(pupil.whitening, pupil.white, everything, ridge).projection(floor)
    figures = held_out.figures(rows, settings)
    return taught, Lesson(pupil.card, figures, NEW, len(held_out.test[NEW]))


def chosen_by_events(pupil: Pupil, held_out: HeldOut) -> tuple[Projection, float, float]:
    """The best that was taught nothing of what is hidden, with its ridge and its floor."""
    few = held_out.few
    return _chosen(pupil, [(1.0, held_out.learned)], lambda rows: float(ndcg(rows, few).mean()))


def _chosen(
    pupil: Pupil, groups: Sequence[tuple[float, csr_array]], worth: Callable[[Floats], float]
) -> tuple[Projection, float, float]:
    """The best of all, with its ridge and its floor."""
    found: list[tuple[float, Projection, float, float]] = []
    for ridge in RIDGES:
        teaching = Teaching.of(pupil.whitening, pupil.white, groups, ridge)
        for floor in FLOORS:
            made = teaching.projection(floor)
            found.append((worth(pupil.projected(made)), made, ridge, floor))
    return max(found, key=lambda each: each[0])[1:]


def _people(log: EventLog, items: ItemTable, settings: Settings) -> csr_array:
    """(people, n) what each likes."""
    longest = settings.preference.longest_history
    return interactions(log, len(items), settings.events, longest).matrix


def ndcg(rows: Floats, asked: Asked) -> Vector:
    """(q,) NDCG@10 of what is the most alike the newest likes, any of them and all, of what has not been seen."""
    slates = np.full((len(asked), LIMIT), ABSENT, dtype=np.int64)
    there = rows[asked.among]
    for n, (likes, seen) in enumerate(zip(asked.likes, asked.seen, strict=True)):
        cosines = rows[likes] @ there.T
        likeness = cosines.max(axis=0) + cosines.mean(axis=0)
        likeness[np.isin(asked.among, seen)] = -np.inf
        best = best_of(likeness, LIMIT)
        slates[n, : len(best)] = asked.among[best]
    return accuracy(slates, asked.targets)[HEADLINE]


def _by_attributes(
    pupil: Pupil, items: ItemTable, attributes: Mapping[str, float], settings: Settings
) -> tuple[Projection, Lesson]:
    values = {name: _values(items, name) for name in attributes}
    able = np.flatnonzero(pupil.present)
    if len(able) < 2 * FEWEST_ASKED:
        raise BuildError(f"{len(able)} items have a vector, at least {2 * FEWEST_ASKED} are needed")
    drawn = np.random.default_rng(settings.evaluation.seed).permutation(able)
    half, others = np.sort(drawn[: len(drawn) // 2]), np.sort(drawn[len(drawn) // 2 :])
    choosing = half[::4]

    _, ridge, floor = _chosen(
        pupil,
        _groups(values, attributes, np.setdiff1d(half, choosing)),
        lambda rows: float(_mean(_agreeing(rows, choosing, choosing, values), attributes).mean()),
    )
    measured, taught = (
        Teaching.of(
            pupil.whitening, pupil.white, _groups(values, attributes, items), ridge
        ).projection(floor)
        for items in (half, able)
    )
    models = {RAW: pupil.raw, WHITENED: pupil.white, TAUGHT: pupil.projected(measured)}
    figures: dict[str, Figures] = {}
    for where, among in ((AMONG_THEMSELVES, others), (AMONG_ALL, able)):
        found = {name: _agreeing(rows, others, among, values) for name, rows in models.items()}
        for name in attributes:
            alone = {model: each[name] for model, each in found.items()}
            figures[f"{name}, {where}"] = compared(alone, settings)
        together = {model: _mean(each, attributes) for model, each in found.items()}
        figures[f"{EVERYTHING}, {where}"] = compared(together, settings)
    return taught, Lesson(pupil.card, figures, f"{EVERYTHING}, {AMONG_THEMSELVES}", len(others))


def _mean(found: Mapping[str, Vector], weights: Mapping[str, float]) -> Vector:
    """(q,) over attributes, each as much as it counts."""
    total = sum(weights[name] * values for name, values in found.items())
    return np.asarray(total / sum(weights.values()))


def _groups(
    values: Mapping[str, csr_array], weights: Mapping[str, float], items: Ordinals
) -> list[tuple[float, csr_array]]:
    """Of these items alone."""
    found = []
    for name, members in values.items():
        known = np.zeros(members.shape[1], dtype=np.float32)
        known[items] = 1
        found.append((weights[name], csr_array(members.multiply(known[None, :]))))
    return found


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


def compared(values: Mapping[str, Vector], settings: Settings) -> Figures:
    """With the gain of the last model over the one before."""
    *_, before, last = values.values()
    gain = {GAIN: last - before}
    return estimates({**values, **gain}, settings.evaluation.bootstrap, settings.evaluation.seed)


def told(lesson: Lesson, then: str = "The next `recsys rebuild` uses it.") -> RenderableType:
    """Figures, and what they mean. then: what is to be done with what was kept."""
    models = [name for name in lesson.figures[lesson.decided_by] if name != GAIN]
    grid = Table(box=box.SIMPLE_HEAD, header_style="dim")
    grid.add_column("")
    for name in (*models, f"{models[-1]} - {models[-2]}"):
        grid.add_column(name, justify="right")
    for part, figures in lesson.figures.items():
        values = [f"{figures[name].value:.4f}" for name in models]
        grid.add_row(part, *values, interval(figures[GAIN], "+.4f"))
    return Group(grid, Text(_meaning(lesson, models[-2], then)))


def _meaning(lesson: Lesson, before: str, then: str) -> str:
    gain = lesson.figures[lesson.decided_by][GAIN]
    measured = (
        f"{interval(gain, '+.4f')} on {lesson.asked:,} held-out questions ({lesson.decided_by})"
    )
    if not lesson.kept:
        return f"Not kept: {measured} is no gain beyond chance. What was before stays."
    known = lesson.figures.get(KNOWN)
    heart = (
        f" That is {_share(lesson.figures[lesson.decided_by], before)} more; of {KNOWN} it is "
        f"{_share(known, before)} more."
        if known
        else ""
    )
    return f"Kept: {measured}.{heart} {then}"


def _share(figures: Figures, before: str) -> str:
    return f"{figures[GAIN].value / max(figures[before].value, 1e-9):.0%}"
