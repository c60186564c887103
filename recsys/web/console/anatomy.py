"""One slate taken apart for a page: its places, the candidates behind them, and what filters took out."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from recsys.catalogue.database import reading
from recsys.catalogue.items import get_items
from recsys.facts import SOURCES
from recsys.identity import Floats, Ordinals
from recsys.ranking.candidates import Query
from recsys.ranking.inspection import Inspection
from recsys.ranking.recommender import Recommender
from recsys.serving.live import Served
from recsys.serving.paging import follow
from recsys.serving.slates import Services, told
from recsys.web.cards import LEAST_PART, PARTS, Bar, Card, cards

MOST_ROWS = 500
"""Candidates that are shown: settings may ask for larger pools."""

MOST_TOLD = 200
"""Items that are told of one filter."""

SHADES = 5
"""Strengths of a cell's colour, each way."""

FILTERS = {
    "unavailable": "deleted, not available, not published yet, or expired",
    "excluded": "on the page, or excluded by the request, and their near-duplicates",
    "seen": "this viewer has seen them",
    "where": "do not meet the condition of the request",
    "rules": "a rule of the shop excludes them",
}
"""Filter -> what it takes out."""


class Segment(NamedTuple):
    """A piece of a stacked bar, in hundredths of its width."""

    name: str
    words: str
    value: float
    x: float
    width: float


class Stack(NamedTuple):
    """The parts of one score, side by side: those below 0 to the left of the zero, the others to its right."""

    zero: float
    segments: Sequence[Segment]


class Placed(NamedTuple):
    """A place of the slate."""

    card: Card
    stack: Stack


class Cell(NamedTuple):
    """What one part adds to the score of one candidate."""

    value: float
    shade: int
    """-`SHADES` to `SHADES`."""
    is_found: bool
    """Whether the item is among the best of this source."""

    @property
    def is_nothing(self) -> bool:
        """Whether there is hardly anything to show."""
        return abs(self.value) < LEAST_PART


class Candidate(NamedTuple):
    """A row of the table."""

    item_id: str
    title: str
    score: float
    place: int | None
    """In the slate, from 1."""
    cells: Sequence[Cell]


class Told(NamedTuple):
    """An item by its name."""

    item_id: str
    title: str


class Removed(NamedTuple):
    """What one filter took out."""

    filter: str
    means: str
    total: int
    items: Sequence[Told]
    """The first `MOST_TOLD` by id."""


@dataclass(frozen=True)
class Anatomy:
    """All of it."""

    slate: Sequence[Placed]
    legend: Mapping[str, str]
    """Part -> what it stands for, of those that are in a bar."""
    account: Mapping[str, Any]
    """As the API tells it."""
    columns: Sequence[str]
    """Parts of the candidates' scores."""
    candidates: Sequence[Candidate]
    count: int
    """Of candidates; more than there are rows, if they are too many."""
    removed: Sequence[Removed]
    known: Sequence[Bar]
    """What the blend listens to, of items that people are known to like."""
    new: Sequence[Bar]
    """The same of items that nobody is known to like; none where the weights are the same."""


def anatomy(question: Query, served: Served, within: Services) -> Anatomy:
    """Of the slate that the API would answer with."""
    about = served.recommender
    page = follow(question, (), about)
    said = told(page, explain=True, missing=None)
    found = about.inspect(question)
    slate = _places(said["items"], within)
    columns = _columns(found)
    return Anatomy(
        slate,
        _legend(slate),
        said["account"],
        columns,
        _candidates(found, columns, page.items, about),
        len(found.items),
        [
            Removed(name, FILTERS[name], len(items), named(items[:MOST_TOLD], about))
            for name, items in found.removed.items()
        ],
        _bars(found.known),
        [] if found.new == found.known else _bars(found.new),
    )


def named(items: Ordinals, about: Recommender) -> list[Told]:
    """Items of the snapshot by id and title."""
    ids, titles = about.items.id_texts.of(items), about.items.titles(items)
    return [Told(key, title) for key, title in zip(ids, titles, strict=True)]


def words(part: str) -> str:
    """What a part of a score stands for."""
    return PARTS.get(part, part.replace("_", " ").capitalize())


def _places(said: Sequence[Mapping[str, Any]], within: Services) -> list[Placed]:
    with reading(within.engine) as connection:
        known = get_items(connection, [place["item_id"] for place in said])
    parts = {place["item_id"]: _telling(place["parts"]) for place in said}
    low = max((_sum(part, -1) for part in parts.values()), default=0.0)
    high = max((_sum(part, 1) for part in parts.values()), default=0.0)
    unit = 100 / ((low + high) or 1.0)
    return [
        Placed(card, Stack(low * unit, list(_stacked(parts[card.item.id], low * unit, unit))))
        for card in cards(said, known)
    ]


def _telling(parts: Mapping[str, float]) -> dict[str, float]:
    """The larger ones, the largest first."""
    large = [(name, value) for name, value in parts.items() if abs(value) >= LEAST_PART]
    return dict(sorted(large, key=lambda part: -abs(part[1])))


def _sum(parts: Mapping[str, float], sign: int) -> float:
    return sum(max(sign * value, 0) for value in parts.values())


def _stacked(parts: Mapping[str, float], zero: float, unit: float) -> Iterator[Segment]:
    left = right = zero
    for name, value in parts.items():
        width = abs(value) * unit
        if value < 0:
            left -= width
        yield Segment(name, words(name), value, left if value < 0 else right, width)
        if value > 0:
            right += width


def _legend(slate: Iterable[Placed]) -> dict[str, str]:
    shown = {segment.name: segment.words for place in slate for segment in place.stack.segments}
    return {name: shown[name] for name in PARTS if name in shown} | shown


def _columns(found: Inspection) -> list[str]:
    """Sources that find something or have a say, in their order, and then what else adds to a score."""
    telling = {name for name, part in found.parts.items() if part.any()}
    telling |= {name for name, mask in found.found_by.items() if mask.any()}
    others = [name for name in found.parts if name not in SOURCES]
    return [name for name in (*SOURCES, *others) if name in telling]


def _candidates(
    found: Inspection, columns: Sequence[str], shown: Sequence[int], about: Recommender
) -> list[Candidate]:
    some = slice(MOST_ROWS)
    nothing = np.zeros(len(found.items), dtype=np.float32)
    nobody = nothing > 0
    rows = [found.parts.get(name, nothing)[some] for name in columns] or [nothing[some]]
    parts: Floats = np.stack(rows)
    most = float(np.abs(parts).max(initial=0)) or 1.0
    shades = np.rint(SHADES * parts / most).astype(int)
    marks = [found.found_by.get(name, nobody)[some] for name in columns] or [nobody[some]]
    table = zip(parts.T.tolist(), shades.T.tolist(), np.stack(marks).T.tolist(), strict=True)
    place = {item: n for n, item in enumerate(shown, start=1)}
    items = found.items[some]
    return [
        Candidate(
            *name,
            score,
            place.get(item),
            [Cell(*cell) for cell in zip(*row, strict=True)][: len(columns)],
        )
        for name, score, item, row in zip(
            named(items, about), found.scores[some].tolist(), items.tolist(), table, strict=True
        )
    ]


def _bars(weights: Mapping[str, float]) -> list[Bar]:
    """The largest first."""
    most = max(map(abs, weights.values()), default=1.0)
    largest = sorted(weights.items(), key=lambda weight: -abs(weight[1]))
    return [Bar(words(name), value, value / most) for name, value in largest]
