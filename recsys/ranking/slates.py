"""What comes out of ranking: the slates of a block as arrays, and any one of them in words."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recsys.catalogue.item_table import ItemTable
from recsys.facts import SOURCES
from recsys.identity import Floats, ItemId, Mask, Ordinals
from recsys.ranking.block import Lists
from recsys.ranking.candidates import Slate, Suggestion
from recsys.ranking.filters import FILTERS, RULED
from recsys.ranking.reasons import PHRASES

Retrieved = dict[str, int] | tuple[Mask, NDArray[np.int64]]
"""Why items were looked at, and how many; or (sources,) who found some, and (sources,) how many each."""


class Ruled(NamedTuple):
    """What the filters take out where rules exclude something: rules are asked last."""

    removed: NDArray[np.int64]
    """(q, len(FILTERS))"""
    hidden: Sequence[int]
    """Of each query, items that rules took out."""


@dataclass(frozen=True)
class Account:
    """How the slates of a block came about."""

    retrieved: Sequence[Retrieved]
    """For each query."""
    removed: NDArray[np.int64]
    """(q, len(FILTERS)) items that each filter took out."""
    failed: tuple[str, ...]
    widened: Sequence[Mapping[str, int]] | None
    """For each query, where more items were taken from; None: nowhere."""
    ruled: Callable[[], Ruled] | None = None
    """Counts what rules take out, which needs a search of its own; None: they exclude nothing."""

    def of(self, n: int) -> "Accounted":
        """That of query n."""
        told = self.retrieved[n]
        if isinstance(told, dict):
            retrieved = told
        else:
            found = zip(SOURCES, *(each.tolist() for each in told), strict=True)
            retrieved = {name: count for name, finds, count in found if finds}
        ruled = self.ruled() if self.ruled else Ruled(self.removed, [0] * len(self.removed))
        removed = dict(zip(FILTERS, ruled.removed[n].tolist(), strict=True))
        removed[RULED] = ruled.hidden[n]
        widened = dict(self.widened[n]) if self.widened else {}
        return Accounted(retrieved, removed, self.failed, widened)


class Accounted(NamedTuple):
    """How one slate came about."""

    retrieved: dict[str, int]
    """Source -> items of it that were looked at."""
    removed: dict[str, int]
    """Filter -> items of those that it took out (each counted once, at the first filter that refused it)."""
    failed: tuple[str, ...]
    """Sources that raised; the slate was made without them."""
    widened: dict[str, int]
    """Where more items were taken from when the sources alone could not fill the slate, in that order."""


@dataclass(frozen=True, eq=False)
class Slates:
    """The answers to a block, one behind the other."""

    items: Lists
    """Best first."""
    scores: Floats
    """(m,)"""
    names: tuple[str, ...]
    """Of the parts."""
    parts: Floats
    """(names, m) they add up to the scores."""
    said: Sequence[frozenset[str]]
    """For each query, the parts that are told even if they are 0."""
    phrase: Ordinals
    """(m,) the reason: position in `PHRASES`."""
    named: Ordinals
    """(m,) the item that the reason names; `ABSENT`: none."""
    account: Account
    catalogue: ItemTable

    def span(self, n: int) -> slice:
        """Which of the places are the slate of query n."""
        return slice(*self.items.starts[n : n + 2].tolist())

    def slate(self, n: int) -> Slate:
        """The answer to query n, and the account of it."""
        span = self.span(n)
        said = zip(
            map(ItemId, self.catalogue.id_texts.of(self.items.items[span])),
            self.told(n),
            self._in_words(span),
            strict=True,
        )
        suggestions = tuple(
            Suggestion(item, sum(parts.values()), parts, reason) for item, parts, reason in said
        )
        return Slate(suggestions, *self.account.of(n))

    def told(self, n: int) -> list[dict[str, float]]:
        """The parts of each score of query n, by name."""
        parts = self.parts[:, self.span(n)]
        loud = [
            place
            for place, name in enumerate(self.names)
            if name in self.said[n] or parts[place].any()
        ]
        names = [self.names[p] for p in loud]
        return [dict(zip(names, place, strict=True)) for place in parts[loud].T.tolist()]

    def _in_words(self, span: slice) -> list[str]:
        """The reasons of these places, with titles."""
        named = self.named[span]
        titles = iter(self.catalogue.titles(named[named >= 0]))
        said = zip(self.phrase[span].tolist(), named.tolist(), strict=True)
        return [(next(titles) if item >= 0 else "").join(PHRASES[n]) for n, item in said]
