"""Every item's nearest others, by dense products of the lists into which the rows fall.

    rows, Lists, some rows that ask -> Neighbours of each, none of which is the row itself

Rows that look into the same lists are taken together, so that BLAS does most of the work. The scores are
exact; a neighbour is missed only where it lies in a list that was not looked into.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from recsys.identity import ABSENT, Floats, Ordinals
from recsys.index.exact import BLOCK, Exam, Neighbours, blocks
from recsys.threads import one_blas_thread

AT_ONCE = 8_192
"""Rows that one thread asks for together."""
WANTED_RECALL = 0.965
"""The lists looked into are doubled until this share of the nearest is found: above the .95 that is promised."""
LEAST_LISTS = 4

Progress = Callable[[int], None]
"""Called with the number of items done so far."""

library: Any = faiss
"""FAISS without its type stubs, which know only part of what it offers."""


@dataclass(frozen=True)
class Lists:
    """n rows in c lists, each of rows near one another."""

    centres: Floats
    """(c, dim)"""
    order: Ordinals
    """(n,) the rows, list after list."""
    bounds: Ordinals
    """(c + 1,) where each list begins in `order`."""

    @classmethod
    def one(cls, rows: Floats) -> "Lists":
        """A single list of all rows: whoever looks into it compares everything."""
        centre = np.zeros((1, rows.shape[1]), dtype=np.float32)
        return cls(centre, np.arange(len(rows)), np.array([0, len(rows)]))

    def __len__(self) -> int:
        return len(self.centres)

    def members(self, number: int) -> Ordinals:
        """The rows of one list."""
        return self.order[self.bounds[number] : self.bounds[number + 1]]

    def sorted(self, asking: Ordinals) -> Ordinals:
        """The same rows, those of a list beside one another."""
        place = np.empty(len(self.order), dtype=np.int64)
        place[self.order] = np.arange(len(self.order))
        return asking[np.argsort(place[asking])]


@dataclass(frozen=True)
class Entries:
    """Pairs of rows, the second near enough to the first to be among its neighbours."""

    row: Ordinals
    neighbour: Ordinals
    score: Floats


def enough_lists(exam: Exam, lists: Lists) -> int:
    """How many lists each row must look into for the `WANTED_RECALL` of its nearest others, as the exam has them."""
    count = min(LEAST_LISTS, len(lists))
    while count < len(lists):
        found = nearest_others(exam.rows, lists, exam.asked, exam.truth.shape[1], count)
        if exam.share(found.scores) >= WANTED_RECALL:
            break
        count = min(2 * count, len(lists))
    return count


def nearest_others(
    rows: Floats,
    lists: Lists,
    asking: Ordinals,
    k: int,
    count: int,
    progress: Progress | None = None,
) -> Neighbours:
    """(len(asking), k) the nearest others of these distinct rows, in the `count` lists nearest to each."""
    found = Neighbours(
        np.empty((len(asking), k), dtype=np.int64), np.empty((len(asking), k), dtype=np.float32)
    )
    place = np.empty(len(rows), dtype=np.int64)
    place[asking] = np.arange(len(asking))
    together = lists.sorted(asking)
    parts = [together[some] for some in blocks(len(asking), AT_ONCE)]
    done = 0
    with one_blas_thread(), _workers() as workers:
        for part, near in zip(
            parts, workers.map(lambda p: _nearest(rows, lists, p, k, count), parts), strict=True
        ):
            found.ordinals[place[part]], found.scores[place[part]] = near.ordinals, near.scores
            done += len(part)
            if progress:
                progress(done)
    return found


def entries(rows: Floats, lists: Lists, asking: Ordinals, least: Floats, count: int) -> Entries:
    """Who gets which of these rows as a neighbour: all pairs nearer than the `least` (n,) of the one who gets.

    Only the `count` lists nearest to each row are looked into.
    """
    parts = []
    with one_blas_thread():  # the products are too small to share
        for part in (asking[some] for some in blocks(len(asking), AT_ONCE)):
            for mine, members, scores in _meetings(rows, lists, part, count):
                near, who = np.nonzero(scores > least[members])
                parts.append((members[who], part[mine[near]], scores[near, who]))
    if not parts:
        nothing = np.empty(0, dtype=np.int64)
        return Entries(nothing, nothing, np.empty(0, dtype=np.float32))
    return Entries(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def with_entries(
    neighbours: NDArray[np.int32], similarity: Floats, new: Entries
) -> tuple[Ordinals, NDArray[np.int32], Floats]:
    """The rows that get new neighbours, ascending, and these rows' (m, k) lists with the new ones in their places."""
    order = np.lexsort((-new.score, new.row))
    who, first, times = np.unique(new.row[order], return_index=True, return_counts=True)
    width = neighbours.shape[1]
    rank = np.arange(len(order)) - np.repeat(first, times)
    fits = order[rank < width]
    line, column = np.repeat(np.arange(len(who)), times)[rank < width], rank[rank < width]
    shape = (len(who), int(column.max(initial=-1)) + 1)
    ordinals, scores = np.full(shape, ABSENT, np.int32), np.full(shape, -np.inf, np.float32)
    ordinals[line, column], scores[line, column] = new.neighbour[fits], new.score[fits]
    ordinals = np.concatenate([neighbours[who], ordinals], axis=1)
    scores = np.concatenate([similarity[who], scores], axis=1)
    best = np.argsort(-scores, axis=1, kind="stable")[:, :width]
    return who, np.take_along_axis(ordinals, best, 1), np.take_along_axis(scores, best, 1)


def _workers() -> ThreadPoolExecutor:
    """As many threads as FAISS may use, within each of which it uses one."""
    return ThreadPoolExecutor(
        library.omp_get_max_threads(), initializer=library.omp_set_num_threads, initargs=(1,)
    )


def _nearest(rows: Floats, lists: Lists, asking: Ordinals, k: int, count: int) -> Neighbours:
    best = library.ResultHeap(len(asking), k + 1, keep_max=True)
    for mine, members, scores in _meetings(rows, lists, asking, count):
        best.add_result_subset(mine, scores, members)
    best.finalize()
    best.D[best.I == ABSENT] = -np.inf
    others = _without(asking, best.I)
    return Neighbours(
        np.take_along_axis(best.I, others, axis=1), np.take_along_axis(best.D, others, axis=1)
    )


_Meeting = tuple[Ordinals, Ordinals, Floats]
"""(a,) places among those who ask, (m,) rows of a list, (a, m) their inner products."""


def _meetings(rows: Floats, lists: Lists, asking: Ordinals, count: int) -> Iterator[_Meeting]:
    """Those who ask against the members of every list that they look into."""
    queries = rows[asking]
    _, visited = library.knn(queries, lists.centres, count, metric=faiss.METRIC_INNER_PRODUCT)
    order = np.argsort(visited, axis=None, kind="stable")
    bounds = np.searchsorted(visited.ravel()[order], np.arange(len(lists) + 1))
    for number in np.flatnonzero(np.diff(bounds)):
        whole = len(lists) == 1  # then nothing is copied
        members = np.arange(len(rows)) if whole else lists.members(int(number))
        content = (rows if whole else rows[members]).T
        mine = order[bounds[number] : bounds[number + 1]] // count
        for some in blocks(len(mine), BLOCK // max(1, len(members))):
            yield mine[some], members, queries[mine[some]] @ content


def _without(own: Ordinals, ordinals: Ordinals) -> NDArray[np.intp]:
    """Columns left when each row drops its own ordinal, or its last where duplicates crowded that out."""
    return np.argsort(ordinals == own[:, None], axis=1, kind="stable")[:, :-1]
