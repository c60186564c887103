"""What must not be shown: availability, exclusions, seen items, the caller's condition, what rules exclude."""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np

from recsys.catalogue.item_table import ItemTable
from recsys.identity import NOTHING, Mask, Ordinals
from recsys.index.duplicates import Duplicates
from recsys.ranking import kernels
from recsys.ranking.block import Block, Lists
from recsys.ranking.candidates import Query, Ruling, Where

REMEMBERED = 64
"""Conditions whose masks are kept, the latest ones: a byte for each item of the catalogue."""


FILTERS = ("unavailable", "excluded", "seen", "where")
"""In the order in which they are asked: an item is counted at the first one that refuses it."""

RULED = "rules"
"""The filter that is asked last; and the part of a score that rules add."""


@dataclass(frozen=True, eq=False)
class Sieve:
    """The filters of every request, over the items of one snapshot."""

    items: ItemTable
    conditions: "Conditions"
    duplicates: Duplicates | None = None
    """Those of what is excluded or on the page are excluded too, unless the items to rank are given. None: nobody's."""

    def allowed(self, block: Block) -> "list[Allowed]":
        """What meets the condition of each query of a block, and no rule excludes."""
        return [self.conditions.of(query.where, query.ruling) for query in block.queries]

    def forbidden(self, block: Block, allowed: "Sequence[Allowed]") -> kernels.Forbidden:
        """What must not be shown to each query of a block.

        It holds the addresses of what is allowed: keep that as long as this.
        """
        queries = block.queries
        withdrawn = Lists.of([query.withdrawn for query in queries])
        excluded = Lists.of([self._excluded(query) for query in queries])
        seen = Lists.of([query.seen for query in queries])
        return kernels.Forbidden(
            withdrawn.starts,
            withdrawn.items,
            excluded.starts,
            excluded.items,
            seen.starts,
            seen.items,
            np.array([some.address for some in allowed]),
        )

    def _excluded(self, query: Query) -> Ordinals:
        given = _joined(query.exclude, query.context)
        if self.duplicates and len(given) and query.rerank is None:
            return self.duplicates.with_others(given)
        return given

    def keep(self, block: Block, found: Lists) -> Lists:
        """What every filter lets pass of any items."""
        items, at, allowed = self.items, block.asked.at, self.allowed(block)
        dates = (items.available, items.shown_from, items.expires_at)
        told = self.forbidden(block, allowed)
        return Lists(*kernels.sieve(found.starts, found.items, at, *dates, told))


def nothing_forbidden(block: Block) -> kernels.Forbidden:
    """Everything may be shown to everybody."""
    none = (np.zeros(len(block) + 1, dtype=np.int64), np.empty(0, dtype=np.int64))
    return kernels.Forbidden(*none, *none, *none, np.full(len(block), kernels.ALL))


def _joined(one: Ordinals, other: Ordinals) -> Ordinals:
    return np.concatenate((one, other)) if len(other) else one


@dataclass(frozen=True, eq=False)
class Allowed:
    """What meets a condition, or what no rule excludes, or both."""

    mask: Mask
    """(n,); empty: everything is allowed."""
    items: Ordinals
    """Ascending; meaningless where everything is allowed."""
    address: int
    """Of the mask in memory; `kernels.ALL`: everything is allowed."""

    @classmethod
    def of(cls, mask: Mask) -> "Allowed":
        """What this mask says."""
        return cls(mask, np.flatnonzero(mask), mask.ctypes.data)


EVERYTHING = Allowed(np.empty(0, dtype=bool), NOTHING, kernels.ALL)


@dataclass(frozen=True, eq=False)
class Conditions:
    """Conditions on the items of one snapshot, the latest ones remembered: nothing of a snapshot changes."""

    items: ItemTable
    _known: OrderedDict[tuple[Where, Ruling | None], Allowed] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def of(self, where: Where, ruling: Ruling | None = None) -> Allowed:
        """What meets a condition, without what is hidden by a ruling."""
        ruling = ruling if hides(ruling) else None
        if not (where or ruling):
            return EVERYTHING
        asked = (where, ruling)
        with self._lock:
            if (found := self._known.get(asked)) is not None:
                self._known.move_to_end(asked)
                return found
        mask = matches(self.items, where, np.arange(len(self.items)))
        if ruling is not None:
            mask &= ~ruling.hidden
        made = Allowed.of(mask)
        with self._lock:
            self._known[asked] = made
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return made


def hides(ruling: Ruling | None) -> bool:
    """Whether a ruling excludes anything."""
    return ruling is not None and len(ruling.hidden) > 0


def on_sale(items: ItemTable, at: datetime, found: Ordinals) -> Mask:
    """(len(found),) True for what is available, published and not expired at this moment."""
    now = int(at.timestamp() * 1e6)
    shown = (items.shown_from[found] <= now) & (items.expires_at[found] > now)
    return items.available[found] & shown


def matches(items: ItemTable, where: Where, found: Ordinals) -> Mask:
    """(len(found),) True where every given part of the condition holds."""
    keep = np.ones(len(found), dtype=bool)
    if not where:
        return keep
    if where.categories:
        keep &= _in_any(found, [items.with_category(name) for name in where.categories])
    if where.without_categories:
        keep &= ~_in_any(found, [items.with_category(name) for name in where.without_categories])
    if where.brands:
        keep &= np.isin(items.brand_codes[found], items.brands.ordinals(where.brands)) & (
            items.brand_codes[found] >= 0
        )
    if where.without_brands:
        banned = items.brands.ordinals(where.without_brands)
        keep &= ~np.isin(items.brand_codes[found], banned[banned >= 0])
    for key, values in where.attributes:
        keep &= _in_any(found, [items.with_attribute(key, value) for value in values])
    return keep & _price_between(items, where, found)


def _in_any(found: Ordinals, postings: list[Ordinals]) -> Mask:
    return np.isin(found, np.concatenate(postings))


def _price_between(items: ItemTable, where: Where, found: Ordinals) -> Mask:
    """An item without a price fails any bound: NaN compares false."""
    keep = np.ones(len(found), dtype=bool)
    if where.price_min is not None:
        keep &= items.price[found] >= where.price_min
    if where.price_max is not None:
        keep &= items.price[found] <= where.price_max
    return keep
