"""Several queries at a time, and what passes between the steps of ranking.

Requests that come at the same time are a block; batch scoring and evaluation ask in larger ones.
"""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.catalogue.times import to_us
from recsys.identity import Floats, Ordinals
from recsys.ranking import kernels
from recsys.ranking.candidates import SEGMENTS, Query

TOGETHER = 64
"""Queries of a block where there are many: a block has a price of its own, and of more the cache holds less."""

SEGMENT = {name: place for place, name in enumerate(SEGMENTS)}


@dataclass(frozen=True, eq=False)
class Lists:
    """One list of items for each query, one behind the other."""

    starts: Ordinals
    """(q + 1,) the list of query n is items[starts[n]:starts[n + 1]]."""
    items: Ordinals

    @classmethod
    def of(cls, lists: Sequence[Ordinals]) -> "Lists":
        """Put lists side by side."""
        if len(lists) == 1:
            return cls(np.array((0, len(lists[0]))), _joined(lists))
        return cls(ends([len(one) for one in lists]), _joined(lists))

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __iter__(self) -> Iterator[Ordinals]:
        return (self.items[a:b] for a, b in zip(self.starts, self.starts[1:], strict=False))

    def count(self, n: int) -> int:
        """Items in list n."""
        return int(self.starts[n + 1] - self.starts[n])


NO_SEARCH = Lists(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))
"""Not even empty lists: nothing was searched."""


def best_of(scores: Floats, limit: int) -> Ordinals:
    """Positions of the `limit` highest finite scores, best first; the lower position wins a tie.

    A score that is not finite never outranks one that is.
    """
    every = np.arange(len(scores))
    return kernels.best_of_lists(np.array([0, len(scores)]), every, scores, limit)[1]


def ends(lengths: Sequence[int] | Ordinals) -> Ordinals:
    """(q + 1,) where lists of these lengths start and end."""
    found = np.zeros(len(lengths) + 1, dtype=np.int64)
    found[1:] = lengths
    return found.cumsum(out=found)


class Block:
    """q queries of one kind: alike in all but the viewer, the moment, the condition and the lists of items."""

    def __init__(self, queries: Sequence[Query]) -> None:
        self.queries = queries
        self.first = queries[0]
        """One of them: for what is the same for all."""
        self.segments = np.array([SEGMENT[query.segment] for query in queries])
        """(q,) positions in `SEGMENTS`."""
        seeds = [query.seeds for query in queries]
        self.seeds = Lists.of([each.items for each in seeds])
        """What is on the page, and then the history, newest first: `Query.seeds` of each."""
        self.deeds = _joined([each.deeds for each in seeds])
        """What was done with each of them."""
        self.asked = kernels.Asked(
            self.seeds.starts,
            self.seeds.items,
            _joined([each.weights for each in seeds]),
            _joined([each.newer for each in seeds]),
            _joined([each.visits for each in seeds]),
            np.array([len(query.context) for query in queries]),
            np.array([to_us(query.at) for query in queries]),
        )

    def __len__(self) -> int:
        return len(self.queries)


def _joined(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Never read-only: to the compiler that would be another kind of array, and another program."""
    if len(parts) == 1 and parts[0].flags.writeable:
        return parts[0]
    return np.concatenate(parts)


def alike(queries: Sequence[Query], most: int = TOGETHER) -> Iterator[list[int]]:
    """Positions of queries that may be one block, at most so many at a time."""
    groups: dict[Hashable, list[int]] = {}
    for position, query in enumerate(queries):
        groups.setdefault(query.kind, []).append(position)
    for positions in groups.values():
        yield from (positions[n : n + most] for n in range(0, len(positions), most))
