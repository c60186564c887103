"""Merchandisers' rules, over the items of one snapshot: what they say at a moment of one kind of slates.

kept rules, items -> Rules -> at a moment, of a placement -> Ruling
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import numpy as np

from recsys.catalogue.item_table import ItemTable
from recsys.catalogue.rule import PLACEMENTS, KeptRule, Placement
from recsys.catalogue.times import to_us
from recsys.identity import Floats, Mask, Ordinals
from recsys.index.duplicates import Duplicates
from recsys.lookup import Lookup
from recsys.ranking.candidates import Pin, Ruling, Where
from recsys.ranking.filters import matches

Rulings = Mapping[Placement, Ruling | None]
"""None: no rule in force is about an item of the snapshot."""


class Rules:
    """The kept rules of a shop. Thread-safe; other rules, or another snapshot, are another object."""

    def __init__(
        self,
        items: ItemTable,
        lookup: Lookup,
        duplicates: Duplicates,
        kept: Sequence[KeptRule],
    ) -> None:
        self._items, self._lookup, self._duplicates = items, lookup, duplicates
        self._kept = sorted(kept, key=lambda rule: rule.id)
        edges = {moment for rule in kept for moment in (rule.starts_at, rule.ends_at) if moment}
        self._edges = sorted(map(to_us, edges))
        self._found: Mapping[int, Rulings] = {}
        self._about: dict[tuple[int, datetime], Ordinals] = {}

    def having(self, kept: Sequence[KeptRule]) -> "Rules":
        """Other rules over the same items. What those that stay are about is not looked up again."""
        other = Rules(self._items, self._lookup, self._duplicates, kept)
        keys = [(rule.id, rule.updated_at) for rule in kept]
        other._about |= {key: self._about[key] for key in keys if key in self._about}
        return other

    def at(self, moment: datetime, placement: Placement) -> Ruling | None:
        """What the rules in force say; None: nothing, of no item of the snapshot.

        Worked out once for each stretch of time in which the same rules are in force.
        """
        stretch = bisect_right(self._edges, to_us(moment))
        rulings = self._found.get(stretch)
        if rulings is None:
            rulings = self._at(moment)
            lately = {n: told for n, told in self._found.items() if n >= stretch - 1}
            self._found = lately | {stretch: rulings}
        return rulings[placement]

    def about(self, rule: KeptRule) -> Ordinals:
        """The items of the snapshot that a rule is about, ascending."""
        key = (rule.id, rule.updated_at)
        if key not in self._about:
            self._about[key] = self._looked_up(rule)
        return self._about[key]

    def _looked_up(self, rule: KeptRule) -> Ordinals:
        if rule.where is not None:
            every = np.arange(len(self._items))
            return np.flatnonzero(matches(self._items, Where.of(rule.where), every))
        found = self._lookup.ordinals(rule.items)
        found = found[found >= 0]
        if rule.action == "exclude":
            found = self._duplicates.with_others(found)
        return np.unique(found)

    def _at(self, moment: datetime) -> Rulings:
        now = [rule for rule in self._kept if rule.state_at(moment) == "in force"]
        made: dict[tuple[int, ...], Ruling | None] = {(): None}
        rulings: dict[Placement, Ruling | None] = {}
        for placement in PLACEMENTS:
            some = [rule for rule in now if rule.holds_on(placement)]
            key = tuple(rule.id for rule in some)
            if key not in made:
                made[key] = self._ruling(some)
            rulings[placement] = made[key]
        return rulings

    def _ruling(self, rules: Sequence[KeptRule]) -> Ruling | None:
        pins = [
            Pin(rule.place, item)
            for rule in rules
            if rule.place is not None
            for item in self.about(rule).tolist()
        ]
        hidden, lift = self._hidden(rules), self._lift(rules)
        return Ruling(hidden, lift, tuple(pins)) if len(hidden) or len(lift) or pins else None

    def _hidden(self, rules: Iterable[KeptRule]) -> Mask:
        excluded = [self.about(rule) for rule in rules if rule.action == "exclude"]
        if not any(map(len, excluded)):
            return np.empty(0, dtype=bool)
        hidden = np.zeros(len(self._items), dtype=bool)
        hidden[np.concatenate(excluded)] = True
        return hidden

    def _lift(self, rules: Iterable[KeptRule]) -> Floats:
        scored = [rule for rule in rules if rule.by is not None and len(self.about(rule))]
        if not scored:
            return np.empty(0, dtype=np.float32)
        lift = np.zeros(len(self._items), dtype=np.float32)
        for rule in scored:
            lift[self.about(rule)] += (rule.by or 0) * (1 if rule.action == "boost" else -1)
        return lift
