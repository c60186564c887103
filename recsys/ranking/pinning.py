"""Pinned items in their places: the others are ranked as if they were not there, and make room for them.

A place counts from the top of the whole slate, over all pages of a chain. So an item that is pinned to a place of a
later page is on no earlier one, and one whose place has passed is ranked like any other.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import NamedTuple, TypeVar

import numpy as np

from recsys.identity import ABSENT, Ordinals
from recsys.index.duplicates import Duplicates
from recsys.ranking.block import Lists, ends
from recsys.ranking.candidates import Pin
from recsys.ranking.reasons import PINNED
from recsys.ranking.slates import Slates

T = TypeVar("T")


class Due(NamedTuple):
    """What pins make of a page."""

    places: Mapping[int, int]
    """Place, from 0 at the top of this page, on it or behind it -> the item that is pinned to it."""
    held: Ordinals
    """What is not to be ranked: these items and their near-duplicates."""


NOT_DUE = Due({}, np.empty(0, dtype=np.int64))


def due(pins: Sequence[Pin], allowed: Ordinals, shown: Ordinals, duplicates: Duplicates) -> Due:
    """What is pinned to the places after those that are shown.

    pins: the oldest first. allowed: those of their items that may be shown.
    """
    already, before = set(shown.tolist()), set(duplicates.with_others(shown).tolist())
    may = already | (set(allowed.tolist()) - before)
    fit = [pin for pin in pins if pin.item in may]
    first = duplicates.first_of_each(np.array([pin.item for pin in fit], dtype=np.int64))
    found = _placed(_distinct([fit[n] for n in first.tolist()]))
    ahead = {
        place - len(shown) - 1: item
        for place, item in found.items()
        if place > len(shown) and item not in already
    }
    if not ahead:
        return NOT_DUE
    held = duplicates.with_others(np.array(list(ahead.values()), dtype=np.int64))
    return Due(ahead, held)


def _distinct(pins: Iterable[Pin]) -> list[Pin]:
    """The first one of each item."""
    found: dict[int, Pin] = {}
    for pin in pins:
        found.setdefault(pin.item, pin)
    return list(found.values())


def _placed(pins: Sequence[Pin]) -> dict[int, int]:
    """Place -> item: of several for one place the first has it, and the others have the next that are free."""
    taken: dict[int, int] = {}
    late = [pin for pin in pins if taken.setdefault(pin.place, pin.item) != pin.item]
    onward: dict[int, int] = {}  # from a place that is taken, over others that are, to a later one
    for pin in late:
        place, passed = pin.place, list[int]()
        while place in taken:
            passed.append(place)
            place = onward.get(place, place + 1)
        taken[place] = pin.item
        onward |= dict.fromkeys(passed, place + 1)
    return taken


def arranged(others: Iterable[T], pinned: Mapping[int, T], limit: int) -> Iterator[T]:
    """At most `limit`, each that is pinned at its place; where the others have run out, as near to it as can be."""
    rest, left = iter(others), dict(sorted(pinned.items()))
    for place in range(limit):
        if place in left:
            yield left.pop(place)
            continue
        try:
            yield next(rest)
        except StopIteration:
            yield from islice(left.values(), limit - place)
            return


def with_pins(slates: Slates, dues: Sequence[Due], limit: int) -> Slates:
    """The slates of a block without what is held, and with what is pinned, each at most so long."""
    items, rows = slates.items.items.tolist(), list[list[int]]()
    for n, wanted in enumerate(dues):
        held, span = set(wanted.held.tolist()), slates.span(n)
        others = (at for at in range(span.start, span.stop) if items[at] not in held)
        rows.append(list(arranged(others, {p: ~item for p, item in wanted.places.items()}, limit)))
    places = np.array([place for row in rows for place in row], dtype=np.int64)
    return _taken(slates, places, ends([len(row) for row in rows]))


def pins_alone(slates: Slates, items: Sequence[int]) -> Slates:
    """One slate of these items, as they would be pinned in others."""
    return _taken(slates, ~np.array(items, dtype=np.int64), ends([len(items)]))


def _taken(slates: Slates, places: Ordinals, starts: Ordinals) -> Slates:
    """places: positions in the slates; below 0, the complement of an item that is pinned: nothing scores it."""
    pinned = places < 0
    ranked, total = places[~pinned], len(places)
    items, named = ~places, np.full(total, ABSENT)
    phrase, scores = np.full(total, PINNED), np.zeros(total, slates.scores.dtype)
    parts = np.zeros((len(slates.names), total), slates.parts.dtype)
    items[~pinned], named[~pinned] = slates.items.items[ranked], slates.named[ranked]
    phrase[~pinned], scores[~pinned] = slates.phrase[ranked], slates.scores[ranked]
    parts[:, ~pinned] = slates.parts[:, ranked]
    shown = Lists(starts, items)
    return replace(slates, items=shown, scores=scores, parts=parts, phrase=phrase, named=named)
