"""Several queries at a time, and what passes between the steps of ranking.

    Block -> Source.consider -> Opinion.best -> Sieve -> Opinion.scores -> blend -> diversity -> Slates

Sources find items; then *every* source scores everything that was found and kept, so that an item is judged on
all that is known of it, whichever way it came in. A request is a block of one; batch scoring and evaluation ask in
larger ones.
"""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from recsys.catalogue.times import to_us
from recsys.identity import Floats, Mask, Ordinals
from recsys.ranking import kernels
from recsys.ranking.candidates import Query

TOGETHER = 16
"""Queries of a block where there are many: what is known of them stays in the processor's cache."""


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
            return cls(np.array([0, len(lists[0])]), lists[0])
        return cls(ends([len(one) for one in lists]), np.concatenate(lists))

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __iter__(self) -> Iterator[Ordinals]:
        return (self.items[a:b] for a, b in zip(self.starts, self.starts[1:], strict=False))

    def count(self, n: int) -> int:
        """Items in list n."""
        return int(self.starts[n + 1] - self.starts[n])


def ends(lengths: Sequence[int] | Ordinals) -> Ordinals:
    """(q + 1,) where lists of these lengths start and end."""
    found = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=found[1:])
    return found


class Block:
    """q queries that are alike in all but the viewer, the moment and the lists of items."""

    def __init__(self, queries: Sequence[Query]) -> None:
        self.queries = queries
        self.first = queries[0]
        """One of them: for what is the same for all."""
        seeds = [query.seeds for query in queries]
        self.seeds = Lists.of([each.items for each in seeds])
        """What is on the page, and then the history, newest first: `Query.seeds` of each."""
        self.weights: Floats = _joined([each.weights for each in seeds])
        """(m,) of the seeds, before any fading."""
        self.newer: Ordinals = _joined([each.newer for each in seeds])
        """(m,) how many items of the history are newer than each seed."""
        self.page: Ordinals = np.array([len(query.context) for query in queries])
        """(q,) how many seeds are on the page."""
        self.at: Ordinals = np.array([to_us(query.at) for query in queries])
        """(q,) microseconds."""

    def __len__(self) -> int:
        return len(self.queries)

    def tastes(self, fading: float) -> Floats:
        """(m,) what each seed weighs for a model in which a taste fades like this."""
        return kernels.fade(self.seeds.starts, self.page, self.weights, self.newer, fading)


def _joined(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def alike(queries: Sequence[Query], most: int = TOGETHER) -> Iterator[list[int]]:
    """Positions of queries that may be one block, at most so many at a time."""
    groups: dict[Hashable, list[int]] = {}
    for position, query in enumerate(queries):
        groups.setdefault(query.kind, []).append(position)
    for positions in groups.values():
        yield from (positions[n : n + most] for n in range(0, len(positions), most))


class Opinion(Protocol):
    """What one source makes of the queries of a block: worked out once, asked as often as needed."""

    def best(self, limit: int, allowed: Mask) -> Lists:
        """Up to `limit` distinct items for each query, best first; none where it has nothing to say.

        allowed: (n,) only these; empty: all.
        """

    def scores(self, items: Lists) -> Floats:
        """(m,) scores of all items, higher is better; NaN where this source cannot judge."""

    def because(self, items: Lists, wanted: Mask) -> Ordinals | None:
        """(m,) position in its query's `seeds` of what speaks most for each; `ABSENT` where nothing does.

        wanted: (m,) False where it need not be found out. None from a source that never names a seed.
        """


class Source(Protocol):
    """One way of finding items and of judging them. Stateless and thread-safe."""

    @property
    def name(self) -> str:
        """Names its part of every score."""

    @property
    def finder(self) -> str:
        """The source that finds for it: itself, or another one if it only judges."""

    def consider(self, block: Block) -> Opinion:
        """Read the queries once."""
