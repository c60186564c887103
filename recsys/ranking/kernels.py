"""The inner loops of ranking, compiled to machine code.

They work on a block of queries at a time, without the interpreter's lock. Lists of different length lie one
behind the other: those of query n are at `starts[n]:starts[n + 1]`. What a source says of items is kept in one
`Table` for each query, to be found by item.
"""

# ruff: noqa: PLR0912, PLR0915  loops are not calls here: a kernel is one function

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.compiling import compiled, compiled_sum
from recsys.identity import Floats, Mask, Ordinals

Items = NDArray[np.int32]
"""(m,) item ordinals, half as wide as `Ordinals`."""

FREE = -1
"""A place of a table that holds no item; also the answer where there is none."""

Table = tuple[Ordinals, Items, Ordinals, Ordinals, Items, Floats, Items]
"""Items and what is said of them, for each query, found by hashing with open addressing.

edges (q + 1,), places: the places of query n are at edges[n]:edges[n + 1]; each holds where in its entries an item
is, or `FREE`. starts (q,), counts (q,): its entries are at starts[n]:starts[n] + counts[n] of items, values and, where
one seed stands for each item, seeds (its position in the list of seeds). Of a query without places nothing is known.
"""


@compiled
def _size(entries: int, items: int) -> int:
    """Places for so many entries about so many items; a power of 2, at least half of them free."""
    size = 2
    while size < 2 * min(entries, items):
        size *= 2
    return size if entries else 0


@compiled
def _first_place(item: int, size: int) -> int:
    """Where to look for an item first."""
    spread = np.uint64(item) * np.uint64(0x9E3779B97F4A7C15)
    return np.int64(spread >> np.uint64(33)) & (size - 1)  # type: ignore[return-value]


@compiled
def _entry(
    places: Items,
    edge: int,
    size: int,
    items: NDArray[Any],
    first: int,
    count: int,
    item: int,
) -> int:
    """Where among the `count` entries from `first` on an item is; `count` if it is not, and then it is put there."""
    place = _first_place(item, size)
    while places[edge + place] != FREE:
        at = int(places[edge + place])
        if items[first + at] == item:
            return at
        place = (place + 1) & (size - 1)
    places[edge + place] = count
    items[first + count] = item
    return count


@compiled_sum
def _dot(one: Floats, other: Floats) -> np.float32:
    """Inner product of two vectors."""
    total = np.float32(0)
    for c in range(len(one)):
        total += one[c] * other[c]
    return total


@compiled
def fade(
    starts: Ordinals, fixed: Ordinals, weights: Floats, newer: Ordinals, fading: float
) -> Floats:
    """(m,) weights of histories after their fading: exp(-fading) for each newer item.

    The first `fixed[n]` of each list are on the page: they weigh 1, and all others together 1.
    """
    faded = np.empty(len(weights), dtype=np.float32)
    for n in range(len(starts) - 1):
        head = starts[n] + fixed[n]
        total = 0.0
        for k in range(head, starts[n + 1]):
            faded[k] = weights[k] * math.exp(-fading * newer[k])
            total += abs(faded[k])
        if fixed[n]:
            for k in range(starts[n], head):
                faded[k] = 1
            for k in range(head, starts[n + 1]):
                faded[k] = faded[k] / (total or 1.0)
    return faded


@compiled
def liked(
    starts: Ordinals, seeds: Ordinals, weights: Floats, there: Mask, fading: float, limit: int
) -> tuple[Ordinals, Ordinals, Ordinals, Floats]:
    """Of each list, the first at most `limit` seeds that are liked and of which something is known (there: (n,)).

    Gives the lists, each one's position in the given list, and what fading has left of it, never 0.
    """
    ends = np.zeros(len(starts), dtype=np.int64)
    found, left = np.empty(len(seeds), np.int64), np.empty(len(seeds), np.float32)
    positions = np.empty(len(seeds), np.int64)
    end = 0
    for n in range(len(starts) - 1):
        for k in range(starts[n], starts[n + 1]):
            if weights[k] > 0 and there[seeds[k]] and end - ends[n] < limit:
                position = k - starts[n]
                found[end], positions[end] = seeds[k], position
                left[end] = math.exp(-min(fading * position, 60.0))
                end += 1
        ends[n + 1] = end
    return ends, found[:end], positions[:end], left[:end]


@compiled
def add_rows(
    indptr: NDArray[Any],
    indices: NDArray[Any],
    data: Floats,
    starts: Ordinals,
    seeds: Ordinals,
    weights: Floats,
) -> Table:
    """weights @ W[seeds] of each query, W in CSR form. It names no seeds: see `strongest_seeds`."""
    queries, width = len(starts) - 1, len(indptr) - 1
    edges, firsts = np.zeros(queries + 1, dtype=np.int64), np.zeros(queries + 1, dtype=np.int64)
    for n in range(queries):
        entries = 0
        for k in range(starts[n], starts[n + 1]):
            entries += indptr[seeds[k] + 1] - indptr[seeds[k]]
        edges[n + 1] = edges[n] + _size(entries, width)
        firsts[n + 1] = firsts[n] + min(entries, width)
    places = np.full(edges[queries], FREE, dtype=np.int32)
    items = np.empty(firsts[queries], dtype=np.int32)
    values = np.empty(firsts[queries], dtype=np.float32)
    counts = np.zeros(queries, dtype=np.int64)
    for n in range(queries):
        edge, size, first, count = edges[n], edges[n + 1] - edges[n], firsts[n], 0
        for k in range(starts[n], starts[n + 1]):
            weight = weights[k]
            for entry in range(indptr[seeds[k]], indptr[seeds[k] + 1]):
                at = _entry(places, edge, size, items, first, count, indices[entry])
                if at == count:
                    values[first + at] = 0
                    count += 1
                values[first + at] += weight * data[entry]
        counts[n] = count
    return edges, places, firsts[:queries], counts, items, values, np.empty(0, dtype=np.int32)


@compiled
def nearest_rows(
    neighbours: Items,
    similarity: Floats,
    starts: Ordinals,
    seeds: Ordinals,
    left: Floats,
) -> Table:
    """The largest left[k] * similarity to a seed of what is among the neighbours of one, and which seed that is."""
    queries, width = len(starts) - 1, neighbours.shape[1]
    edges, firsts = np.zeros(queries + 1, dtype=np.int64), np.zeros(queries + 1, dtype=np.int64)
    for n in range(queries):
        entries = (starts[n + 1] - starts[n]) * width
        edges[n + 1] = edges[n] + _size(entries, len(neighbours))
        firsts[n + 1] = firsts[n] + min(entries, len(neighbours))
    places = np.full(edges[queries], FREE, dtype=np.int32)
    items = np.empty(firsts[queries], dtype=np.int32)
    values = np.empty(firsts[queries], dtype=np.float32)
    nearest = np.empty(firsts[queries], dtype=np.int32)
    counts = np.zeros(queries, dtype=np.int64)
    for n in range(queries):
        edge, size, first, count = edges[n], edges[n + 1] - edges[n], firsts[n], 0
        for k in range(starts[n], starts[n + 1]):
            for c in range(width):
                item = neighbours[seeds[k], c]
                if item == FREE:
                    break
                near = np.float32(left[k] * similarity[seeds[k], c])
                at = _entry(places, edge, size, items, first, count, item)
                if at == count or near > values[first + at]:
                    values[first + at], nearest[first + at] = near, k
                count = max(count, at + 1)
        counts[n] = count
    return edges, places, firsts[:queries], counts, items, values, nearest


@compiled
def find(table: Table, starts: Ordinals, items: Ordinals) -> Items:
    """(m,) for items of lists, where among all entries each is; `FREE`: nowhere."""
    edges, places, firsts, _, known, _, _ = table
    found = np.full(len(items), FREE, dtype=np.int32)
    for n in range(len(starts) - 1):
        edge, size, first = edges[n], edges[n + 1] - edges[n], firsts[n]
        if size:
            for k in range(starts[n], starts[n + 1]):
                place = _first_place(items[k], size)
                at = places[edge + place]
                while at != FREE and known[first + at] != items[k]:
                    place = (place + 1) & (size - 1)
                    at = places[edge + place]
                if at != FREE:
                    found[k] = first + at
    return found


@compiled
def look_up(table: Table, starts: Ordinals, items: Ordinals, known: Mask) -> Floats:
    """(m,) what a table says of lists of items; 0 for a known item that is not in it, NaN for an unknown one.

    NaN where nothing is known of a query.
    """
    edges, values = table[0], table[5]
    at = find(table, starts, items)
    found = np.empty(len(items), dtype=np.float32)
    for n in range(len(starts) - 1):
        silent = edges[n] == edges[n + 1]
        for k in range(starts[n], starts[n + 1]):
            if silent or not known[items[k]]:
                found[k] = np.nan
            else:
                found[k] = values[at[k]] if at[k] != FREE else np.float32(0)
    return found


@compiled
def _threshold(values: Floats, count: int, rank: int) -> float:
    """The value at this rank (0: the highest) of the first `count`; reorders them (Hoare's quickselect)."""
    low, high = 0, count - 1
    while low < high:
        pivot = values[(low + high) // 2]
        i, j = low, high
        while i <= j:
            while values[i] > pivot:
                i += 1
            while values[j] < pivot:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if rank <= j:
            high = j
        elif rank >= i:
            low = i
        else:
            break
    return float(values[rank])


@compiled
def _before(values: Floats, items: NDArray[Any], one: int, other: int) -> bool:
    """The order of every list, of two places: the higher value first, the lower item among equals."""
    if values[one] == values[other]:
        return bool(items[one] < items[other])
    return bool(values[one] > values[other])


@compiled
def _sort(places: Ordinals, count: int, values: Floats, items: NDArray[Any]) -> None:
    """Best first, in place (heapsort)."""
    for last in range(count // 2 - 1, -count, -1):
        root, end = last, count
        if last < 0:  # the heap is made: its top, the last in order, goes behind
            root, end = 0, count + last
            places[0], places[end] = places[end], places[0]
        while 2 * root + 1 < end:
            child = 2 * root + 1
            if child + 1 < end and _before(values, items, places[child], places[child + 1]):
                child += 1
            if not _before(values, items, places[root], places[child]):
                break
            places[root], places[child] = places[child], places[root]
            root = child


@compiled
def _best(
    places: Ordinals, count: int, values: Floats, items: NDArray[Any], limit: int, spare: Floats
) -> int:
    """Brings the `limit` best of the first `count` places to the front, best first. Gives how many there are."""
    if count > limit:
        for k in range(count):
            spare[k] = values[places[k]]
        least = _threshold(spare, count, limit - 1)
        above, equal = 0, 0
        for k in range(count):
            above += values[places[k]] > least
        wanted = limit - above
        ties = np.empty(count, dtype=np.int64)
        kept = 0
        for k in range(count):
            if values[places[k]] > least:
                places[kept] = places[k]
                kept += 1
            elif values[places[k]] == least:
                ties[equal] = places[k]
                equal += 1
        if equal > wanted:
            _sort(ties, equal, values, items)
        for k in range(wanted):
            places[kept + k] = ties[k]
        count = limit
    _sort(places, count, values, items)
    return count


@compiled
def best_of_table(table: Table, allowed: Mask, limit: int) -> tuple[Ordinals, Ordinals]:
    """Lists of the at most `limit` items with the highest values above 0, best first. allowed: (n,); empty: all."""
    _, _, firsts, counts, items, values, _ = table
    queries = len(firsts)
    most = 0
    for n in range(queries):
        most = max(most, counts[n])
    starts, found = np.zeros(queries + 1, np.int64), np.empty(queries * min(limit, most), np.int64)
    places, spare = np.empty(most, np.int64), np.empty(most, np.float32)
    for n in range(queries):
        count = 0
        for at in range(firsts[n], firsts[n] + counts[n]):
            if values[at] > 0 and (len(allowed) == 0 or allowed[items[at]]):
                places[count] = at
                count += 1
        count = _best(places, count, values, items, limit, spare)
        starts[n + 1] = starts[n] + count
        for k in range(count):
            found[starts[n] + k] = items[places[k]]
    return starts, found[: starts[queries]]


@compiled
def best_of_lists(
    starts: Ordinals, items: Ordinals, values: Floats, limit: int
) -> tuple[Ordinals, Ordinals]:
    """Lists of the positions of the at most `limit` highest finite values of each list, best first.

    The lower item comes first among equals. A value that is not finite never outranks one that is.
    """
    queries = len(starts) - 1
    ends, found = np.zeros(queries + 1, dtype=np.int64), np.empty(len(items), dtype=np.int64)
    places, spare = np.empty(len(items), np.int64), np.empty(len(items), np.float32)
    for n in range(queries):
        count = 0
        for k in range(starts[n], starts[n + 1]):
            if np.isfinite(values[k]):
                places[count] = k
                count += 1
        count = _best(places, count, values, items, limit, spare)
        ends[n + 1] = ends[n] + count
        found[ends[n] : ends[n + 1]] = places[:count]
    return ends, found[: ends[queries]]


@compiled
def walk(order: Ordinals, first: Ordinals, allowed: Mask, limit: int) -> tuple[Ordinals, Ordinals]:
    """A list for each entry of `first`: from there on, the next at most `limit` allowed items of an order."""
    starts = np.zeros(len(first) + 1, dtype=np.int64)
    found = np.empty(len(first) * limit, dtype=np.int64)
    for n in range(len(first)):
        size, k = starts[n], first[n]
        while size < starts[n] + limit and k < len(order):
            if len(allowed) == 0 or allowed[order[k]]:
                found[size] = order[k]
                size += 1
            k += 1
        starts[n + 1] = size
    return starts, found[: starts[len(first)]]


@compiled
def merge(starts: Ordinals, items: Ordinals, limit: int) -> tuple[Ordinals, Ordinals]:
    """The union of several sources' lists: each gives its best first, at most `limit` items a query.

    starts: (sources, queries + 1) into the items of all.
    """
    sources, queries = starts.shape[0], starts.shape[1] - 1
    ends = np.zeros(queries + 1, dtype=np.int64)
    found = np.empty(min(len(items), queries * limit), dtype=np.int64)
    for n in range(queries):
        longest, total = 0, 0
        for s in range(sources):
            length = starts[s, n + 1] - starts[s, n]
            longest, total = max(longest, length), total + length
        size = _size(total, total)
        places = np.full(size, FREE, dtype=np.int32)
        count = 0
        for rank in range(longest):
            for s in range(sources):
                if starts[s, n] + rank < starts[s, n + 1] and count < limit:
                    item = items[starts[s, n] + rank]
                    count = max(count, 1 + _entry(places, 0, size, found, ends[n], count, item))
        ends[n + 1] = ends[n] + count
    return ends, found[: ends[queries]]


@compiled
def places_in(starts: Ordinals, items: Ordinals, set_starts: Ordinals, sets: Ordinals) -> Ordinals:
    """(m,) for items of a list, their position in the set of their query, each set ascending; `FREE`: not in it."""
    found = np.full(len(items), FREE, dtype=np.int64)
    for n in range(len(starts) - 1):
        first, last = set_starts[n], set_starts[n + 1]
        if first < last:
            for k in range(starts[n], starts[n + 1]):
                place = first + np.searchsorted(sets[first:last], items[k])
                if place < last and sets[place] == items[k]:
                    found[k] = place
    return found


@compiled
def _holds(sets: Ordinals, first: int, last: int, item: int) -> bool:
    """Whether an item is in the ascending set sets[first:last]."""
    while first < last:
        middle = (first + last) // 2
        if sets[middle] < item:
            first = middle + 1
        elif sets[middle] > item:
            last = middle
        else:
            return True
    return False


@compiled
def sieve(
    starts: Ordinals,
    items: Ordinals,
    at: Ordinals,
    available: Mask,
    shown_from: Ordinals,
    expires_at: Ordinals,
    withdrawn_starts: Ordinals,
    withdrawn: Ordinals,
    excluded_starts: Ordinals,
    excluded: Ordinals,
    seen_starts: Ordinals,
    seen: Ordinals,
    allowed: Mask,
) -> tuple[Ordinals, Ordinals, Ordinals]:
    """Lists without what must not be shown at (q,) moments. Withdrawn, excluded and seen items are ascending lists.

    Gives the lists, and (q, 4) how many items are unavailable, excluded, seen, not allowed ((n,); empty: all are).
    """
    queries = len(starts) - 1
    ends, kept = np.zeros(queries + 1, dtype=np.int64), np.empty(len(items), dtype=np.int64)
    removed = np.zeros((queries, 4), dtype=np.int64)
    end = 0
    for n in range(queries):
        for k in range(starts[n], starts[n + 1]):
            item = items[k]
            if (
                not available[item]
                or shown_from[item] > at[n]
                or expires_at[item] <= at[n]
                or _holds(withdrawn, withdrawn_starts[n], withdrawn_starts[n + 1], item)
            ):
                removed[n, 0] += 1
            elif _holds(excluded, excluded_starts[n], excluded_starts[n + 1], item):
                removed[n, 1] += 1
            elif _holds(seen, seen_starts[n], seen_starts[n + 1], item):
                removed[n, 2] += 1
            elif len(allowed) and not allowed[item]:
                removed[n, 3] += 1
            else:
                kept[end] = item
                end += 1
        ends[n + 1] = end
    return ends, kept[:end], removed


@compiled
def freshness(
    published: Ordinals, half_life: float, at: Ordinals, starts: Ordinals, items: Ordinals
) -> Floats:
    """(m,) 1 for what is published right now, 1/2 after a half-life, 1/3 after two; NaN for what is not yet."""
    found = np.empty(len(items), dtype=np.float32)
    for n in range(len(starts) - 1):
        for k in range(starts[n], starts[n + 1]):
            age = at[n] - published[items[k]]
            found[k] = half_life / (half_life + age) if age >= 0 else np.nan
    return found


@compiled
def dots(
    rows: Floats, vectors: Floats, known: Mask, starts: Ordinals, items: Ordinals, present: Mask
) -> Floats:
    """(m,) inner products of each query's vector and the rows of its items.

    NaN where a query has no vector (known: (q,)) or an item has no row (present: (n,)).
    """
    found = np.full(len(items), np.nan, dtype=np.float32)
    for n in range(len(starts) - 1):
        if known[n]:
            vector = vectors[n]
            for k in range(starts[n], starts[n + 1]):
                if present[items[k]]:
                    found[k] = _dot(rows[items[k]], vector)
    return found


@compiled
def mean_directions(
    rows: Floats, starts: Ordinals, seeds: Ordinals, weights: Floats
) -> tuple[Floats, Mask]:
    """(q, d) for each list the sum of weights[k] * rows[seeds[k]] as a unit vector; and (q,) where there is one."""
    width = rows.shape[1]
    sums = np.zeros((len(starts) - 1, width), dtype=np.float32)
    there = np.zeros(len(starts) - 1, dtype=np.bool_)
    for n in range(len(starts) - 1):
        for k in range(starts[n], starts[n + 1]):
            row, weight = rows[seeds[k]], weights[k]
            for c in range(width):
                sums[n, c] += weight * row[c]
        square = _dot(sums[n], sums[n])
        if square > 0:
            there[n] = True
            sums[n] /= np.float32(math.sqrt(square))
    return sums, there


@compiled
def strongest_seeds(
    indptr: NDArray[Any],
    indices: NDArray[Any],
    data: Floats,
    starts: Ordinals,
    seeds: Ordinals,
    weights: Floats,
    item_starts: Ordinals,
    items: Ordinals,
    wanted: Mask,
) -> Ordinals:
    """(m,) for each item, which seed of its query has the largest positive weight * W[seed, item]; `FREE`: none.

    Not looked for where it is not wanted ((m,)).
    """
    found = np.full(len(items), FREE, dtype=np.int64)
    for n in range(len(starts) - 1):
        for m in range(item_starts[n], item_starts[n + 1]):
            if not wanted[m]:
                continue
            most = 0.0
            for k in range(starts[n], starts[n + 1]):
                first, last = indptr[seeds[k]], indptr[seeds[k] + 1]
                place = first + np.searchsorted(indices[first:last], items[m])
                if place < last and indices[place] == items[m]:
                    part = weights[k] * data[place]
                    if part > 0 and part >= most:
                        most = part
                        found[m] = k - starts[n]
    return found


@compiled
def standardise(
    starts: Ordinals, scores: Floats, known: Floats, new: Floats, own: Floats
) -> Floats:
    """(sources, m) z-scores of the finite entries of each list, each times its weight; 0 for what is not finite.

    The weight of source s for an item is new[s] + own * (known[s] - new[s]). All alike gives zeros.
    """
    found = np.zeros_like(scores)
    for s in range(scores.shape[0]):
        difference = known[s] - new[s]
        for n in range(len(starts) - 1):
            count, total, largest = 0, 0.0, np.float32(0)
            for k in range(starts[n], starts[n + 1]):
                value = scores[s, k]
                if np.isfinite(value):
                    count += 1
                    total += value
                    largest = max(largest, abs(value))
            if count == 0:
                continue
            mean = np.float32(total / count)
            squares = 0.0
            for k in range(starts[n], starts[n + 1]):
                away = scores[s, k] - mean
                if np.isfinite(away):
                    squares += away * away
            spread = math.sqrt(squares / count)
            if spread > 1e-6 * max(1.0, float(largest)):
                scale = np.float32(1 / spread)
                for k in range(starts[n], starts[n + 1]):
                    away = scores[s, k] - mean
                    if np.isfinite(away):
                        found[s, k] = (new[s] + own[k] * difference) * (away * scale)
    return found


@compiled
def spread_out(
    starts: Ordinals,
    chosen: Ordinals,
    items: Ordinals,
    scores: Floats,
    rows: Floats,
    strength: float,
    group_ends: Ordinals,
    groups: Items,
    most: Items,
    limit: int,
) -> tuple[Ordinals, Ordinals, Floats]:
    """Of each list of positions in `items`, best first, at most `limit` one by one: the best after its penalty.

    The penalty is strength * (best - worst score) * largest cosine of `rows` to what was taken before. Of a group g
    at most most[g] items are taken; item i is in groups[group_ends[i]:group_ends[i + 1]] (most empty: no groups).
    Gives the lists, and the penalties (<= 0).
    """
    queries = len(starts) - 1
    ends = np.zeros(queries + 1, dtype=np.int64)
    found = np.empty(min(len(chosen), queries * limit), dtype=np.int64)
    penalties = np.empty(len(found), dtype=np.float32)
    taken = np.zeros(len(most), dtype=np.int32)
    for n in range(queries):
        places = chosen[starts[n] : starts[n + 1]]
        end, count = ends[n], len(places)
        scale = np.float32(0)
        if count:
            scale = np.float32(strength * (scores[places[0]] - scores[places[count - 1]]))
        nearest = np.zeros(count, dtype=np.float32)
        open_ = np.ones(count, dtype=np.bool_)
        while end - ends[n] < limit:
            pick, best = -1, np.float32(-np.inf)
            for k in range(count):
                if open_[k]:
                    value = np.float32(scores[places[k]] - scale * nearest[k])
                    if value > best:
                        pick, best = k, value
            if pick < 0:
                break
            open_[pick] = False
            item = items[places[pick]]
            full = False
            if len(most):
                for g in range(group_ends[item], group_ends[item + 1]):
                    full = full or taken[groups[g]] >= most[groups[g]]
            if full:
                continue
            if len(most):
                for g in range(group_ends[item], group_ends[item + 1]):
                    taken[groups[g]] += 1
            found[end], penalties[end] = places[pick], -scale * nearest[pick]
            end += 1
            if scale != 0:
                row = rows[item]
                for k in range(count):
                    if open_[k]:
                        nearest[k] = max(nearest[k], _dot(row, rows[items[places[k]]]))
        ends[n + 1] = end
        if len(most):
            for k in range(ends[n], end):
                item = items[found[k]]
                for g in range(group_ends[item], group_ends[item + 1]):
                    taken[groups[g]] = 0
    return ends, found[: ends[queries]], penalties[: ends[queries]]


@compiled
def reasons(parts: Floats, seeds: Ordinals, speaks: Mask) -> tuple[Ordinals, Ordinals]:
    """For each of m items: which part is the reason, and which seed; `FREE` for none.

    parts, seeds: (p, m). The largest positive part that names a seed, or `speaks` for itself ((p,)).
    """
    count = parts.shape[1]
    part, seed = np.full(count, FREE, dtype=np.int64), np.full(count, FREE, dtype=np.int64)
    for m in range(count):
        most = np.float32(0)
        for p in range(parts.shape[0]):
            if parts[p, m] > most and (seeds[p, m] >= 0 or speaks[p]):
                most, part[m], seed[m] = parts[p, m], p, seeds[p, m]
    return part, seed


@compiled
def read_histories(
    starts: Ordinals,
    items: Ordinals,
    types: Items,
    values: Floats,
    times: Ordinals,
    says: Floats,
    rating: Mask,
    telling: Mask,
    hides: Mask,
    neutral: float,
    scale: float,
    half_life_us: float,
    visit_us: int,
    longest_read: int,
    longest: int,
) -> tuple[Ordinals, Ordinals, Floats, Items, Floats, Ordinals, Ordinals, Ordinals]:
    """Lists of events, newest first -> histories and what was seen. See `viewer.read_viewer`.

    says, rating, telling, hides: (types,) what an event says, whether its value is a rating (that is `scale` above
    `neutral` at best), whether it is read at all, and whether it makes an item seen. Of each list the first
    `longest_read` telling events of known items are read, and `longest` distinct items with a weight kept.
    Gives the lists (starts, items, weights, loudest types, visits on which each was liked), the moment of the newest
    event of each (`FREE`: none), and the lists of seen items (starts, items), ascending.
    """
    queries = len(starts) - 1
    ends, seen_ends = np.zeros(queries + 1, dtype=np.int64), np.zeros(queries + 1, dtype=np.int64)
    found, weights = np.empty(len(items), np.int64), np.empty(len(items), np.float32)
    loudest, visits = np.empty(len(items), np.int32), np.empty(len(items), np.float32)
    seen, moments = np.empty(len(items), np.int64), np.full(queries, FREE, np.int64)
    for n in range(queries):
        count = starts[n + 1] - starts[n]
        size = _size(count, count)
        places = np.full(size, FREE, dtype=np.int32)
        own, sums = np.empty(count, np.int64), np.zeros(count, np.float64)
        newest, kinds = np.empty(count, np.int64), np.empty(count, np.int32)
        loud, liked_on = np.zeros(count, np.float32), np.zeros(count, np.float32)
        hidden = np.zeros(count, np.bool_)
        distinct, read, last_like, last_time = 0, 0, FREE, 0
        for k in range(starts[n], starts[n + 1]):
            if items[k] < 0 or not telling[types[k]]:
                continue
            if read == longest_read:
                break
            if read == 0:
                moments[n] = times[k]
            read += 1
            strength = says[types[k]]
            if rating[types[k]]:
                place_on_scale = np.float32((values[k] - neutral) / scale)
                if np.isnan(place_on_scale):
                    place_on_scale = np.float32(0)  # a rating without a value says nothing
                strength *= min(max(place_on_scale, np.float32(-1)), np.float32(1))
            slot = _entry(places, 0, size, own, 0, distinct, items[k])
            if slot == distinct:
                newest[slot], kinds[slot], loud[slot] = times[k], types[k], abs(strength)
                distinct += 1
            sums[slot] += strength
            hidden[slot] |= hides[types[k]]
            if abs(strength) > loud[slot]:
                loud[slot], kinds[slot] = abs(strength), types[k]
            if strength > 0:
                if items[k] != last_like or abs(times[k] - last_time) >= visit_us:
                    liked_on[slot] += 1
                last_like, last_time = items[k], times[k]
        end, seen_end = ends[n], seen_ends[n]
        for slot in range(distinct):
            if hidden[slot]:
                seen[seen_end] = own[slot]
                seen_end += 1
            age = max(moments[n] - newest[slot], 0)
            left = np.float32(2.0 ** (-age / half_life_us))
            weight = np.float32(min(max(sums[slot], -1.0), 1.0) * left)
            if weight != 0 and end - ends[n] < longest:
                found[end], weights[end] = own[slot], weight
                loudest[end], visits[end] = kinds[slot], liked_on[slot]
                end += 1
        seen[seen_ends[n] : seen_end].sort()
        ends[n + 1], seen_ends[n + 1] = end, seen_end
    last = ends[queries]
    history = (ends, found[:last], weights[:last], loudest[:last], visits[:last])
    return (*history, moments, seen_ends, seen[: seen_ends[queries]])
