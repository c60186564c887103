"""The inner loops of ranking, compiled to machine code.

They work on a block of queries at a time, without the interpreter's lock. Lists of different length lie one
behind the other: those of query n are at `starts[n]:starts[n + 1]`.

    Held, Asked -> find -> judge -> blend -> choose -> explain

`find` keeps all that is said of an item of a query in one row of values, to be found by hashing with open addressing:
whatever leads to an item, it is met once.
"""

# ruff: noqa: PLR0912, PLR0915  loops are not calls here: a kernel is one function

import math
from heapq import heappop, heappush
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recsys.compiling import LINE, compiled, compiled_sum, holds_at, inlined, prefetch
from recsys.facts import (
    AGAIN,
    COOCCURRENCE,
    FACTORS,
    IMAGE,
    IMAGE_TASTE,
    LINEAR,
    NEW,
    POPULAR,
    SOURCES,
    TEXT,
    TEXT_TASTE,
    TRANSITIONS,
    TRENDING,
)
from recsys.identity import Floats, Mask, Ordinals
from recsys.preference.factors import inner, taste_of
from recsys.ranking.knowledge import (
    Again,
    Held,
    Near,
    Rows,
)

Items = NDArray[np.int32]
"""(m,) item ordinals, half as wide as `Ordinals`."""

FREE = -1
"""A place that holds no item; also the answer where there is none."""

NEWEST_SEEDS = 50
"""Content similarity looks at this many of the newest seeds: older ones add cost and hardly any accuracy."""

N_SOURCES = len(SOURCES)

ROUNDING = 2e-7
"""A smaller spread than this of the largest value is that of numbers rounded to float32: all are alike."""

SHORTLY = 12
"""So few are sorted by inserting."""

BAND, BANDS = 50, 512
"""How keys are laid out: 32 bands for each halving of the value, down to a 65,536th of the highest."""

STRETCH = 64
"""So many items of an order are put to a condition at a time."""

SHARE = 1.6
"""Of each source so many times its share of a pool is looked at, for sources share items; and if need be all."""

AHEAD = 8
"""Items for which memory is asked in advance."""

COLUMNS = 8
"""Of a row of values: a quarter to a half of what the cache fetches at once."""

(BY_COOCCURRENCE, BY_TRANSITIONS, BY_LINEAR, BY_AGAIN, BY_TEXT, BY_IMAGE, TEXT_SEED, IMAGE_SEED) = (
    range(COLUMNS)
)
"""What each source that leads somewhere says of an item (0: nothing), and which seed is nearest (from 1; 0: none)."""

Marks = NDArray[np.uint8]
"""Of each entry."""

POOLED, IS_EXCLUDED, IS_SEEN, MET, IS_GONE, BARRED = 1, 2, 4, 8, 16, 32
HIDDEN = IS_EXCLUDED | IS_SEEN
"""Marks: a candidate; excluded by the caller; seen by the viewer; not to be shown, but a source would have given it;
the same, and not available; not to be found."""

ALL = 0
"""Where no mask is."""

EMPTY = 0
"""A place of the hash table that holds no entry: entries are numbered from 1, and the one before them is no item's."""

UNAVAILABLE, EXCLUDED, SEEN, NOT_ALLOWED = range(4)
"""Why an item is left out, in the order in which it is asked."""


class Asked(NamedTuple):
    """q queries: what they set out from, (m,) seeds one behind the other, newest first behind what is on the page."""

    starts: Ordinals
    seeds: Ordinals
    weights: Floats
    newer: Ordinals
    """(m,) how many items of the history are newer than each; 0 on the page."""
    visits: Floats
    page: Ordinals
    """(q,) how many seeds are on the page."""
    at: Ordinals
    """(q,) microseconds."""


class Forbidden(NamedTuple):
    """What must not be shown to each query: lists of items, ascending, and what does not meet a condition."""

    withdrawn_starts: Ordinals
    withdrawn: Ordinals
    excluded_starts: Ordinals
    excluded: Ordinals
    seen_starts: Ordinals
    seen: Ordinals
    allowed: Ordinals
    """(q,) the address of a mask of all items (`holds_at`); `ALL`: everything is allowed."""


@compiled
def _size(entries: int, items: int) -> int:
    """Places for so many entries about so many items; a power of 2, at least half of them free."""
    size = 2
    while size < 2 * min(entries, items):
        size *= 2
    return size if entries else 0


@inlined
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


@compiled_sum
def _code_dot(codes: NDArray[np.int8], vector: Floats) -> np.float32:
    """Inner product of a coded vector and a plain one."""
    total = np.float32(0)
    for c in range(len(vector)):
        total += np.float32(codes[c]) * vector[c]
    return total


@compiled_sum
def _codes_dot(one: NDArray[np.int8], other: NDArray[np.int8]) -> int:
    """Inner product of two coded vectors. Each step stays as narrow as it is: numba would make it twice as wide."""
    total = np.int32(0)
    for c in range(len(one)):
        both = np.int32(np.int32(one[c]) * np.int32(other[c]))
        total = np.int32(total + both)
    return int(total)


@inlined
def _key(bits: int, item: int) -> int:
    """A number that is the lower, the higher the float32 of these bits; among equals, the lower the item."""
    if bits == -0x80000000:  # minus zero
        bits = 0
    ascending = np.int64(bits) ^ ((np.int64(bits) >> 31) & 0x7FFFFFFF)
    return np.int64((~ascending << 32) | item)  # type: ignore[return-value]


@compiled
def _parted(keys: Ordinals, places: Ordinals, low: int, high: int) -> tuple[int, int]:
    """Both from `low` to `high` parted by a key from the middle (Hoare): the higher from i on, the lower up to j."""
    pivot, i, j = keys[(low + high) // 2], low, high
    while i <= j:
        while keys[i] < pivot:
            i += 1
        while keys[j] > pivot:
            j -= 1
        if i <= j:
            keys[i], keys[j] = keys[j], keys[i]
            places[i], places[j] = places[j], places[i]
            i += 1
            j -= 1
    return i, j


@compiled
def _sort(keys: Ordinals, places: Ordinals, first: int, last: int) -> None:
    """Both in the order of the keys, in place, from `first` to before `last` (quicksort; the larger part waits).

    Parts of up to `SHORTLY` are left to `_insert`.
    """
    stack = np.empty(128, dtype=np.int64)
    stack[0], stack[1] = first, last - 1
    waiting = 2
    while waiting:
        waiting -= 2
        low, high = stack[waiting], stack[waiting + 1]
        while high - low >= SHORTLY:
            i, j = _parted(keys, places, low, high)
            if j - low > high - i:
                stack[waiting], stack[waiting + 1], low = low, j, i
            else:
                stack[waiting], stack[waiting + 1], high = i, high, j
            waiting += 2


@compiled
def _insert(keys: Ordinals, places: Ordinals, count: int) -> None:
    """Both in the order of the keys, in place, where each is near its place (insertion sort)."""
    for k in range(1, count):
        key, place, i = keys[k], places[k], k
        while i > 0 and keys[i - 1] > key:
            keys[i], places[i] = keys[i - 1], places[i - 1]
            i -= 1
        keys[i], places[i] = key, place


@compiled
def _select(keys: Ordinals, places: Ordinals, first: int, last: int, limit: int) -> None:
    """The `limit` lowest of the keys from `first` to before `last` to their front, in any order (quickselect)."""
    low, high, rank = first, last - 1, first + limit - 1
    while low < high:
        i, j = _parted(keys, places, low, high)
        if rank <= j:
            high = j
        elif rank >= i:
            low = i
        else:
            break


class Ranking(NamedTuple):
    """Room to bring the best forward: what is compared and where it is from, as it comes and by `BANDS`."""

    keys: Ordinals
    """(m,) of `_key`."""
    places: Ordinals
    """(m,)"""
    ranked: Ordinals
    """(m,) the keys of the best, in order."""
    best: Ordinals
    """(m,) their places."""
    ends: Ordinals
    """(`BANDS`,) where each band ends."""


@compiled
def _ranking(room: int) -> Ranking:
    """For so many."""
    return Ranking(
        np.empty(room, dtype=np.int64),
        np.empty(room, dtype=np.int64),
        np.empty(room, dtype=np.int64),
        np.empty(room, dtype=np.int64),
        np.empty(BANDS, dtype=np.int64),
    )


@inlined
def _band(key: int, lowest: int, last: int) -> int:
    """How many bands a key lies below the lowest; at most so many."""
    below = (np.uint64(key) - np.uint64(lowest)) >> np.uint64(BAND)
    return min(np.int64(below), np.int64(last))  # type: ignore[return-value]


@compiled
def _bring_forward(ranking: Ranking, count: int, limit: int) -> int:
    """The `limit` lowest of `count` keys into `ranked`, in order, and their places into `best`.

    A processor that has to guess how two keys compare is wrong every other time. So they are not compared: they are
    laid out in bands of equal width below the lowest, the last one for all the rest, and only within a band compared.
    """
    keys, places, ranked, best, ends = ranking
    limit = min(limit, count)
    if limit == 0:
        return 0
    lowest = keys[:count].min()
    ends[:] = 0
    for k in range(count):
        ends[_band(keys[k], lowest, BANDS - 1)] += 1
    total, last = 0, -1
    while total < limit:
        last += 1
        size = ends[last]
        ends[last] = total
        total += size
    beyond = min(last + 1, BANDS - 1)
    if last + 1 < BANDS:
        ends[beyond] = total
    for k in range(count):
        band = _band(keys[k], lowest, beyond)
        at = ends[band]
        ranked[at], best[at] = keys[k], places[k]
        ends[band] = at + 1
    first = 0
    for band in range(last + 1):
        end = ends[band]
        if end > limit:
            _select(ranked, best, first, end, limit - first)
            end = limit
        if end - first > SHORTLY:
            _sort(ranked, best, first, end)
        first = end
    _insert(ranked, best, limit)
    return limit


@compiled
def best_of_lists(
    starts: Ordinals, items: Ordinals, values: Floats, limit: int
) -> tuple[Ordinals, Ordinals]:
    """Lists of the positions of the at most `limit` highest finite values of each list, best first.

    The lower item comes first among equals. A value that is not finite never outranks one that is.
    """
    queries = len(starts) - 1
    ends, found = np.zeros(queries + 1, dtype=np.int64), np.empty(len(items), dtype=np.int64)
    bits, longest = values.view(np.int32), 0
    for n in range(queries):
        longest = max(longest, starts[n + 1] - starts[n])
    ranking = _ranking(longest)
    for n in range(queries):
        count = 0
        for k in range(starts[n], starts[n + 1]):
            ranking.keys[count], ranking.places[count] = _key(bits[k], items[k]), k
            count += np.isfinite(values[k])
        count = _bring_forward(ranking, count, limit)
        ends[n + 1] = ends[n] + count
        found[ends[n] : ends[n + 1]] = ranking.best[:count]
    return ends, found[: ends[queries]]


@compiled
def _fade(asked: Asked, n: int, fading: float, faded: Floats) -> None:
    """The weights of query n's seeds for a model in which a taste fades: exp(-fading) for each newer item.

    What is on the page weighs 1, and then all others together 1.
    """
    first, last = asked.starts[n], asked.starts[n + 1]
    head = first + asked.page[n]
    total = 0.0
    for k in range(head, last):
        faded[k - first] = asked.weights[k] * math.exp(-fading * asked.newer[k])
        total += abs(faded[k - first])
    if head > first:
        faded[: head - first] = 1
        for k in range(head, last):
            faded[k - first] = faded[k - first] / (total or 1.0)


@inlined
def _left(position: int, fading: float) -> float:
    """What fading leaves of a liked seed's likeness; never 0."""
    return math.exp(-min(fading * position, 60.0))


@inlined
def _judges(facts: NDArray[np.void], source: int, item: int) -> bool:
    """Whether a source knows an item at all."""
    return bool((facts[item].judged_by >> source) & 1)


@inlined
def _at(places: Items, size: int, items: Items, count: int, item: int) -> int:
    """Where among the `count` entries an item is; `count` if it was not: then it is put there.

    Known or new, the same is done: a processor that has to guess which would be wrong every other time.
    """
    place = _first_place(item, size)
    held = places[place]
    while (held != EMPTY) & (items[held] != item):
        place = (place + 1) & (size - 1)
        held = places[place]
    at = count if held == EMPTY else int(held)
    places[place] = at
    items[at] = item
    return at


@compiled
def _table_size(entries: int) -> int:
    """Places for at most so many entries, most of which are met several times; a power of 2."""
    size = 2
    while 3 * size < 4 * entries:
        size *= 2
    return size


@compiled
def _listen(rows: Rows, asked: Asked, n: int, faded: Floats, heard: Ordinals) -> int:
    """What the seeds of query n weigh for a matrix, and how many entries of each one's row are heard; gives the sum.

    A row begins with its largest entries, and a seed is heard in proportion to what is liked most: what half the
    weight leaves of the lower half of a row lifts no item above what others say. A dislike lifts none at all, so it
    makes nobody else less heard.
    """
    first, last = asked.starts[n], asked.starts[n + 1]
    _fade(asked, n, rows.fading, faded[first:last])
    loudest, total = np.float32(0), 0
    for k in range(first, last):
        loudest = max(loudest, faded[k])
    for k in range(first, last):
        width = rows.indptr[asked.seeds[k] + 1] - rows.indptr[asked.seeds[k]]
        share = width * abs(faded[k]) / loudest if loudest > 0 else np.float64(width)
        heard[k] = min(math.ceil(share), width)
        total += heard[k]
    return total


@compiled
def _fetch_rows(rows: Rows, asked: Asked, n: int, heard: Ordinals) -> None:
    """Ask for the memory of what the seeds of query n lead to."""
    for k in range(asked.starts[n], asked.starts[n + 1]):
        start = rows.indptr[asked.seeds[k]]
        for entry in range(start, start + heard[k], LINE // 4):
            prefetch(rows.indices, entry, 0)
            prefetch(rows.data, entry, 0)


@compiled
def _add_rows(
    rows: Rows,
    column: int,
    asked: Asked,
    n: int,
    faded: Floats,
    heard: Ordinals,
    places: Items,
    size: int,
    items: Items,
    values: Floats,
    count: int,
) -> int:
    """weights @ what is heard of W[seeds], into a column. Gives how many entries there are now."""
    for k in range(asked.starts[n], asked.starts[n + 1]):
        start = rows.indptr[asked.seeds[k]]
        for entry in range(start, start + heard[k]):
            at = _at(places, size, items, count, rows.indices[entry])
            count += at == count
            values[at, column] += faded[k] * rows.data[entry]
    return count


@compiled
def _fetch_near(near: Near, asked: Asked, n: int) -> None:
    """Ask for the memory of what the newest seeds of query n are near."""
    first = asked.starts[n]
    for k in range(first, min(first + NEWEST_SEEDS, asked.starts[n + 1])):
        for line in range(1 + 4 * near.kept // LINE):
            prefetch(near.neighbours, asked.seeds[k], line)
            prefetch(near.similarity, asked.seeds[k], line)


@compiled
def _add_near(
    near: Near,
    source: int,
    column: int,
    seed_column: int,
    facts: NDArray[np.void],
    asked: Asked,
    n: int,
    places: Items,
    size: int,
    items: Items,
    values: Floats,
    count: int,
) -> tuple[int, bool]:
    """The largest of what is left of a similarity to a liked seed, and which seed that is, into two columns.

    Gives how many entries there are now, and whether there was nothing to set out from.
    """
    first, last, liked = asked.starts[n], asked.starts[n + 1], 0
    for k in range(first, last):
        seed = asked.seeds[k]
        if asked.weights[k] <= 0 or not _judges(facts, source, seed):
            continue
        if liked == NEWEST_SEEDS:
            break
        liked += 1
        left = _left(k - first, near.fading)
        for c in range(near.kept):
            item = near.neighbours[seed, c]
            if item == FREE:
                break
            likeness = np.float32(left * near.similarity[seed, c])
            at = _at(places, size, items, count, item)
            count += at == count
            if values[at, seed_column] == 0 or likeness > values[at, column]:
                values[at, column], values[at, seed_column] = likeness, k - first + 1
    return count, liked == 0 or near.kept == 0


@compiled
def _add_again(
    again: Again,
    facts: NDArray[np.void],
    asked: Asked,
    n: int,
    places: Items,
    size: int,
    items: Items,
    values: Floats,
    count: int,
) -> tuple[int, bool]:
    """How much what was liked is wished for again, into its column; and as for `_add_near`."""
    nothing = True
    for k in range(asked.starts[n] + asked.page[n], asked.starts[n + 1]):
        if asked.weights[k] > 0:
            nothing = False
            wish = asked.weights[k] * math.exp(-again.fading * asked.newer[k])
            wish *= facts[asked.seeds[k]].returns * asked.visits[k] ** again.power
            if wish != 0:
                at = _at(places, size, items, count, asked.seeds[k])
                count += at == count
                values[at, BY_AGAIN] = wish
    return count, nothing


@compiled
def _bar(
    items: Items,
    marks: Marks,
    values: Floats,
    count: int,
    columns: Ordinals,
    available: Mask,
    allowed: int,
) -> None:
    """Mark entries that must not be shown as barred, and those of them as met that these columns lead to.

    What does not meet the condition is not counted as met: nobody would expect it.
    """
    for at in range(1, count):
        item = items[at]
        fits = allowed == ALL or holds_at(allowed, item)
        gone = not available[item]
        hidden = gone | (marks[at] & HIDDEN != 0)
        if fits & hidden:
            for column in columns:
                if values[at, column] > 0:
                    marks[at] |= MET | (IS_GONE if gone else 0)
        marks[at] |= BARRED * np.uint8(hidden | (not fits))


@compiled
def _best_of_column(
    column: int,
    items: Items,
    marks: Marks,
    values: Floats,
    count: int,
    limit: int,
    ranking: Ranking,
) -> int:
    """The entries with the highest values above 0 that are not barred, best first, into `best`; gives how many."""
    bits, found = values.view(np.int32), 0
    for at in range(1, count):
        ranking.keys[found], ranking.places[found] = _key(bits[at, column], items[at]), at
        found += (bits[at, column] > 0) & (marks[at] & BARRED == 0)
    return _bring_forward(ranking, found, limit)


@compiled
def _walk(
    order: Ordinals,
    first: int,
    allowed: int,
    limit: int,
    places: Items,
    size: int,
    items: Items,
    marks: Marks,
    values: Floats,
    count: int,
    found: Ordinals,
) -> tuple[int, int]:
    """From a place of an order on, the entries of the next items that may be shown. Gives entries, and how many."""
    taken, fitting = 0, np.empty(STRETCH, dtype=np.int64)
    for start in range(first, len(order), STRETCH):
        fit = 0
        for k in range(start, min(start + STRETCH, len(order))):
            fitting[fit] = order[k]
            fit += allowed == ALL or holds_at(allowed, order[k])
        for item in fitting[:fit]:
            if taken == limit:
                return count, taken
            at = _at(places, size, items, count, item)
            count += at == count
            if marks[at] & HIDDEN:
                marks[at] |= MET
            else:
                found[taken] = at
                taken += 1
    return count, taken


@compiled
def _room(
    cooccurrence: Rows,
    transitions: Rows,
    linear: Rows,
    text: Near,
    image: Near,
    facts: NDArray[np.void],
    asked: Asked,
    forbidden: Forbidden,
    n: int,
    wanted: Mask,
    finders: Mask,
    limit: int,
    listed: int,
    faded: Floats,
    heard: Ordinals,
) -> int:
    """Entries that a query may need at the most; at least 1. Listens to what the seeds lead to, matrix by matrix."""
    seeds = asked.starts[n + 1] - asked.starts[n]
    for k in range(asked.starts[n], asked.starts[n + 1]):
        prefetch(cooccurrence.indptr, asked.seeds[k], 0)
        prefetch(transitions.indptr, asked.seeds[k], 0)
        prefetch(linear.indptr, asked.seeds[k], 0)
        prefetch(facts, asked.seeds[k], 0)
    room = 1 + listed + forbidden.excluded_starts[n + 1] - forbidden.excluded_starts[n]
    room += forbidden.seen_starts[n + 1] - forbidden.seen_starts[n]
    if wanted[COOCCURRENCE]:
        room += _listen(cooccurrence, asked, n, faded[0], heard[0])
    if wanted[TRANSITIONS]:
        room += _listen(transitions, asked, n, faded[1], heard[1])
    if wanted[LINEAR]:
        room += _listen(linear, asked, n, faded[2], heard[2])
    if wanted[AGAIN]:
        room += seeds
    if wanted[TEXT]:
        room += min(seeds, NEWEST_SEEDS) * text.kept
    if wanted[IMAGE]:
        room += min(seeds, NEWEST_SEEDS) * image.kept
    for source in (POPULAR, TRENDING, NEW):
        if finders[source]:
            room += limit
    return int(min(room, len(facts) + 1))


class Trail(NamedTuple):
    """How the candidates of one query were found. An entry is an item that was met, the first one is none."""

    items: Items
    """(entries,)"""
    marks: Marks
    """(entries,)"""
    pooled: Ordinals
    """(m,) the entries that were to be candidates, before what cannot be shown at that moment was left out."""
    lists: Ordinals
    """(sources, limit) the best entries of each source."""
    lengths: Ordinals
    """(sources,) how many these are."""


@compiled
def trace(
    held: Held,
    asked: Asked,
    forbidden: Forbidden,
    voices: Ordinals,
    wants: Mask,
    finds: Mask,
    named: bool,
    limit: int,
    pool: int,
    given_starts: Ordinals,
    given: Ordinals,
    judged: Mask,
    sought_starts: Ordinals,
    sought: Ordinals,
) -> tuple[Ordinals, Ordinals, Floats, Mask, Ordinals, Ordinals, Trail]:
    """The same as `find`, and how the last of the queries came by its candidates."""
    knowledge = held.arrays
    facts, text, image = knowledge.facts, knowledge.text, knowledge.image
    cooccurrence, transitions, linear = (
        knowledge.cooccurrence,
        knowledge.transitions,
        knowledge.linear,
    )
    queries, seeds = len(asked.page), len(asked.seeds)
    searched = len(sought_starts) > 0
    faded, heard = np.empty((3, seeds), dtype=np.float32), np.empty((3, seeds), dtype=np.int64)
    needs, total = np.empty(queries, dtype=np.int64), 0
    for n in range(queries):
        listed = given_starts[n + 1] - given_starts[n]
        if searched:
            listed += sought_starts[n + 1] - sought_starts[n]
            listed += sought_starts[queries + n + 1] - sought_starts[queries + n]
        needs[n] = _room(
            cooccurrence,
            transitions,
            linear,
            text,
            image,
            facts,
            asked,
            forbidden,
            n,
            wants[voices[n]],
            finds[voices[n]],
            limit,
            listed,
            faded,
            heard,
        )
        total += given_starts[n + 1] - given_starts[n] if judged[n] else min(pool, needs[n])
    room = needs.max() + 1
    places = np.empty(_table_size(room), dtype=np.int32)
    items, values = np.empty(room, dtype=np.int32), np.empty((room, COLUMNS), dtype=np.float32)
    marks, pooled = np.empty(room, dtype=np.uint8), np.empty(max(room, total), dtype=np.int64)
    ranking = _ranking(room)
    lists, lengths = np.empty((N_SOURCES, limit), np.int64), np.zeros(N_SOURCES, np.int64)
    columns, items[EMPTY] = np.empty(COLUMNS, dtype=np.int64), FREE
    reach = np.empty(
        COLUMNS, dtype=np.int64
    )  # entries when a column was written: later ones it says nothing of
    starts = np.zeros(queries + 1, dtype=np.int64)
    kept, said = np.empty(total, np.int64), np.empty((total, COLUMNS), np.float32)
    silent = np.zeros((queries, N_SOURCES), dtype=np.bool_)
    retrieved = np.zeros((queries, N_SOURCES), dtype=np.int64)
    removed = np.zeros((queries, 4), dtype=np.int64)
    count, chosen, end = 1, 0, 0
    for n in range(-1, queries):
        if n + 1 < queries:
            wanted = wants[voices[n + 1]]
            for m, source, rows in (
                (0, COOCCURRENCE, cooccurrence),
                (1, TRANSITIONS, transitions),
                (2, LINEAR, linear),
            ):
                if wanted[source]:
                    _fetch_rows(rows, asked, n + 1, heard[m])
            if wanted[TEXT] and not searched:
                _fetch_near(text, asked, n + 1)
            if wanted[IMAGE] and not searched:
                _fetch_near(image, asked, n + 1)
        if n < 0:
            continue
        size = _table_size(needs[n])
        places[:size] = EMPTY
        values[: needs[n] + 1], marks[: needs[n] + 1] = 0, 0
        reach[:] = 0
        count, wanted, finders = 1, wants[voices[n]], finds[voices[n]]
        allowed = forbidden.allowed[n]
        for m, source, column, rows in (
            (0, COOCCURRENCE, BY_COOCCURRENCE, cooccurrence),
            (1, TRANSITIONS, BY_TRANSITIONS, transitions),
            (2, LINEAR, BY_LINEAR, linear),
        ):
            if wanted[source]:
                silent[n, source] = heard[m, asked.starts[n] : asked.starts[n + 1]].sum() == 0
                count = _add_rows(
                    rows, column, asked, n, faded[m], heard[m], places, size, items, values, count
                )
                reach[column] = count
        if wanted[AGAIN]:
            count, silent[n, AGAIN] = _add_again(
                knowledge.again, facts, asked, n, places, size, items, values, count
            )
            reach[BY_AGAIN] = count
        if wanted[TEXT] and not searched:
            count, silent[n, TEXT] = _add_near(
                knowledge.text,
                TEXT,
                BY_TEXT,
                TEXT_SEED,
                facts,
                asked,
                n,
                places,
                size,
                items,
                values,
                count,
            )
            reach[BY_TEXT] = count
        if wanted[IMAGE] and not searched:
            count, silent[n, IMAGE] = _add_near(
                knowledge.image,
                IMAGE,
                BY_IMAGE,
                IMAGE_SEED,
                facts,
                asked,
                n,
                places,
                size,
                items,
                values,
                count,
            )
            reach[BY_IMAGE] = count
        for k in range(forbidden.excluded_starts[n], forbidden.excluded_starts[n + 1]):
            at = _at(places, size, items, count, forbidden.excluded[k])
            count += at == count
            marks[at] |= IS_EXCLUDED
        for k in range(forbidden.seen_starts[n], forbidden.seen_starts[n + 1]):
            at = _at(places, size, items, count, forbidden.seen[k])
            count += at == count
            marks[at] |= IS_SEEN
        silent[n, TRENDING] = not named and asked.at[n] > knowledge.trending.until
        chosen = 0
        if judged[n]:
            for k in range(given_starts[n], given_starts[n + 1]):
                at = _at(places, size, items, count, given[k])
                count += at == count
                if marks[at] & HIDDEN:
                    marks[at] |= MET
                else:
                    pooled[chosen] = at
                    chosen += 1
        else:
            by_column = (
                (COOCCURRENCE, BY_COOCCURRENCE),
                (TRANSITIONS, BY_TRANSITIONS),
                (LINEAR, BY_LINEAR),
                (AGAIN, BY_AGAIN),
                (TEXT, BY_TEXT),
                (IMAGE, BY_IMAGE),
            )
            used = 0
            for source, column in by_column:
                if finders[source]:
                    columns[used] = column
                    used += 1
            _bar(items, marks, values, count, columns[:used], knowledge.available, allowed)
            rank = 0
            for depth in (min(limit, int(SHARE * pool / max(1, finders.sum()))), limit):
                lengths[:] = 0
                for source, column in by_column:
                    if finders[source]:
                        lengths[source] = _best_of_column(
                            column, items, marks, values, reach[column], depth, ranking
                        )
                        lists[source, : lengths[source]] = ranking.best[: lengths[source]]
                for source, place in ((TEXT, n), (IMAGE, queries + n)):
                    if not searched or not finders[source]:
                        continue
                    for k in range(sought_starts[place], sought_starts[place + 1]):
                        at = _at(places, size, items, count, sought[k])
                        count += at == count
                        if marks[at] & HIDDEN:
                            marks[at] |= MET
                        else:
                            lists[source, lengths[source]] = at
                            lengths[source] += 1
                for source in (POPULAR, TRENDING, NEW):
                    if not finders[source] or silent[n, source]:
                        continue
                    best, first = knowledge.newest, 0
                    if source == POPULAR:
                        best = knowledge.popular.order
                    elif source == TRENDING:
                        best = knowledge.trending.order
                    else:
                        first = np.searchsorted(knowledge.moments, -asked.at[n])
                    count, lengths[source] = _walk(
                        best,
                        first,
                        allowed,
                        depth,
                        places,
                        size,
                        items,
                        marks,
                        values,
                        count,
                        lists[source],
                    )
                while rank < depth and chosen < pool:
                    for source in range(N_SOURCES):
                        if rank < lengths[source] and chosen < pool:
                            at = lists[source, rank]
                            if not marks[at] & POOLED:
                                marks[at] |= POOLED
                                prefetch(knowledge.facts, items[at], 0)
                                pooled[chosen] = at
                                chosen += 1
                    rank += 1
                if chosen == pool or depth == limit or lengths.max() < depth:
                    break
            retrieved[n] = lengths
        gone, gone_end = forbidden.withdrawn_starts[n], forbidden.withdrawn_starts[n + 1]
        for k in range(chosen):
            at = pooled[k]
            item = int(items[at])
            fact = knowledge.facts[item]
            if (
                fact.shown_from > asked.at[n]
                or fact.expires_at <= asked.at[n]
                or _holds(forbidden.withdrawn, gone, gone_end, item)
            ):
                removed[n, UNAVAILABLE] += 1
            elif allowed != ALL and not holds_at(allowed, item):
                removed[n, NOT_ALLOWED] += 1
            else:
                kept[end] = item
                said[end] = values[at]
                end += 1
        for at in range(1, count):
            if marks[at] & IS_GONE:
                removed[n, UNAVAILABLE] += 1
            elif marks[at] & MET:
                removed[n, EXCLUDED if marks[at] & IS_EXCLUDED else SEEN] += 1
        starts[n + 1] = end
    trail = Trail(items[:count], marks[:count], pooled[:chosen], lists, lengths)
    return starts, kept[:end], said[:end], silent, retrieved, removed, trail


@compiled
def find(
    held: Held,
    asked: Asked,
    forbidden: Forbidden,
    voices: Ordinals,
    wants: Mask,
    finds: Mask,
    named: bool,
    limit: int,
    pool: int,
    given_starts: Ordinals,
    given: Ordinals,
    judged: Mask,
    sought_starts: Ordinals,
    sought: Ordinals,
) -> tuple[Ordinals, Ordinals, Floats, Mask, Ordinals, Ordinals]:
    """What the sources lead to, without what must not be shown.

    voices: (q,) who is heard by a query: a row of the (voices, sources) tables. wants: those whose opinion is asked;
    finds: those that find; each gives its best, at most `limit`, and in turns they fill a pool. named: whether they
    were asked for by name. given: for queries that are `judged` ((q,)), the items to be judged in place of any found;
    sought: for a search, a list of what the text source found for each query, and then those of the image source: these
    two look for nothing else then. No list at all where nothing is searched.
    Gives lists (starts, items), what was said of each item (m, COLUMNS), which sources have nothing to say to a query
    (q, sources), how many items of each source were looked at (q, sources), and how many were left out and why (q, 4).
    """
    starts, kept, told, silent, retrieved, removed, _ = trace(
        held,
        asked,
        forbidden,
        voices,
        wants,
        finds,
        named,
        limit,
        pool,
        given_starts,
        given,
        judged,
        sought_starts,
        sought,
    )
    return starts, kept, told, silent, retrieved, removed


@compiled
def _compare(
    near: Near,
    source: int,
    facts: NDArray[np.void],
    asked: Asked,
    n: int,
    items: Ordinals,
    scores: Floats,
) -> None:
    """Cosines of items to the sum of what is left of the liked seeds' vectors, into `scores`, if there is a sum."""
    taste = np.zeros(near.codes.shape[1], dtype=np.float32)
    first = asked.starts[n]
    for k in range(first, asked.starts[n + 1]):
        seed = asked.seeds[k]
        if asked.weights[k] > 0 and _judges(facts, source, seed):
            codes, left = near.codes[seed], np.float32(_left(k - first, near.fading))
            for c in range(len(taste)):
                taste[c] += left * np.float32(codes[c])
    square = inner(taste, taste)
    if square > 0:
        scale = np.float32(1 / (near.scale * math.sqrt(square)))
        for k in range(len(items)):
            if _judges(facts, source, items[k]):
                scores[k] = scale * _code_dot(near.codes[items[k]], taste)


@compiled
def judge(
    held: Held,
    asked: Asked,
    starts: Ordinals,
    items: Ordinals,
    said: Floats,
    silent: Mask,
    voices: Ordinals,
    wants: Mask,
) -> tuple[Floats, Floats]:
    """What each source that is heard thinks of each item: (sources, m), NaN where it cannot judge; and (m,) `own`.

    voices, wants: as for `find`.
    """
    knowledge = held.arrays
    facts, count = knowledge.facts, len(items)
    scores = np.full((N_SOURCES, count), np.nan, dtype=np.float32)
    own = np.empty(count, dtype=np.float32)
    taste = np.empty(knowledge.factors.items.shape[1], dtype=np.float32)
    faded = np.empty(len(asked.seeds), dtype=np.float32)
    for n in range(len(starts) - 1):
        first, last, at, heard = starts[n], starts[n + 1], asked.at[n], wants[voices[n]]
        for k in range(first, last):
            if k + AHEAD < last:
                prefetch(facts, items[k + AHEAD], 0)
            if heard[FACTORS]:
                for line in range((4 * len(taste) + LINE - 1) // LINE):
                    prefetch(knowledge.factors.items, items[k], line)
            if heard[TEXT_TASTE]:
                for line in range((knowledge.text.codes.shape[1] + LINE - 1) // LINE):
                    prefetch(knowledge.text.codes, items[k], line)
            if heard[IMAGE_TASTE]:
                for line in range((knowledge.image.codes.shape[1] + LINE - 1) // LINE):
                    prefetch(knowledge.image.codes, items[k], line)
            fact = facts[items[k]]
            own[k] = fact.own
            if heard[POPULAR]:
                scores[POPULAR, k] = fact.popular
            if heard[TRENDING] and not silent[n, TRENDING]:
                scores[TRENDING, k] = fact.trending
            if heard[NEW] and fact.published_at <= at:
                age = at - fact.published_at
                scores[NEW, k] = knowledge.half_life / (knowledge.half_life + age)
            if heard[AGAIN] and not silent[n, AGAIN]:
                scores[AGAIN, k] = said[k, BY_AGAIN]
            for source, column in (
                (COOCCURRENCE, BY_COOCCURRENCE),
                (TRANSITIONS, BY_TRANSITIONS),
                (LINEAR, BY_LINEAR),
                (TEXT, BY_TEXT),
                (IMAGE, BY_IMAGE),
            ):
                if heard[source] and not silent[n, source] and (fact.judged_by >> source) & 1:
                    scores[source, k] = said[k, column]
        if heard[FACTORS] and len(taste):
            seeds = asked.seeds[asked.starts[n] : asked.starts[n + 1]]
            weights = faded[: len(seeds)]
            _fade(asked, n, knowledge.factors.fading, weights)
            factors = knowledge.factors
            if taste_of(factors.items, factors.alpha, seeds, weights, taste):
                for k in range(first, last):
                    if _judges(knowledge.facts, FACTORS, items[k]):
                        scores[FACTORS, k] = inner(factors.items[items[k]], taste)
        if heard[TEXT_TASTE]:
            _compare(
                knowledge.text,
                TEXT,
                facts,
                asked,
                n,
                items[first:last],
                scores[TEXT_TASTE, first:last],
            )
        if heard[IMAGE_TASTE]:
            _compare(
                knowledge.image,
                IMAGE,
                facts,
                asked,
                n,
                items[first:last],
                scores[IMAGE_TASTE, first:last],
            )
    return scores, own


@compiled
def _listen_again(rows: Rows, asked: Asked, n: int, faded: Floats, heard: Ordinals) -> None:
    """The same as `_listen`, for what is then looked for in all the rows."""
    _listen(rows, asked, n, faded, heard)
    for k in range(asked.starts[n], asked.starts[n + 1]):
        start = rows.indptr[asked.seeds[k]]
        for entry in range(start, start + heard[k], LINE // 4):
            prefetch(rows.indices, entry, 0)


@compiled
def _where(items: Items, first: int, last: int, item: int) -> int:
    """The place from `first` to before `last` where an item is; `FREE`: none. All are compared: many at a time."""
    found = np.int32(FREE)
    for k in range(last - first):
        here = items[first + k] == np.int32(item)
        found = max(found, np.int32(k) if here else np.int32(FREE))
    return first + int(found) if found != FREE else FREE


@compiled
def _strongest_seed(
    rows: Rows, asked: Asked, n: int, faded: Floats, heard: Ordinals, item: int
) -> int:
    """The position of the seed with the largest positive weight * W[seed, item] that is heard; `FREE`: none."""
    first, most, found = asked.starts[n], 0.0, FREE
    for k in range(first, asked.starts[n + 1]):
        start = rows.indptr[asked.seeds[k]]
        if heard[k] == 0 or abs(faded[k] * rows.data[start]) < most:
            continue  # a row begins with its largest weight, of either sign
        entry = _where(rows.indices, start, start + heard[k], item)
        if entry != FREE:
            part = faded[k] * rows.data[entry]
            if part > 0 and part >= most:
                most, found = part, k - first
    return found


@compiled
def explain(
    held: Held,
    asked: Asked,
    starts: Ordinals,
    items: Ordinals,
    said: Floats,
    parts: Floats,
    sources: Ordinals,
    speaks: Mask,
    deeds: Items,
    phrases: Ordinals,
) -> tuple[Ordinals, Ordinals]:
    """For each of m items: the phrase of its reason, and the item that it names; `FREE` for none.

    parts: (p, m). sources: (p,) of which source each is; `FREE`: of none. The reason is the largest positive part that
    names a seed, or `speaks` for itself ((p,)). deeds: (seeds,). phrases: as in `reasons.Phrasing`.
    """
    knowledge = held.arrays
    count, n_parts = len(items), len(sources)
    phrase, about = np.full(count, phrases[n_parts, 0]), np.full(count, FREE, dtype=np.int64)
    seeds = len(asked.seeds)
    faded, heard = np.empty((3, seeds), dtype=np.float32), np.empty((3, seeds), dtype=np.int64)
    tried, listened = np.empty(n_parts, dtype=np.bool_), np.empty(3, dtype=np.bool_)
    for n in range(len(starts) - 1):
        listened[:] = False
        for m in range(starts[n], starts[n + 1]):
            tried[:] = False
            while True:
                loudest = FREE
                for p in range(n_parts):
                    if not tried[p] and parts[p, m] > (parts[loudest, m] if loudest >= 0 else 0):
                        loudest = p
                if loudest == FREE:
                    break
                tried[loudest] = True
                source, named = sources[loudest], FREE
                if speaks[loudest]:
                    phrase[m] = phrases[loudest, 0]
                    break
                if source in (COOCCURRENCE, TRANSITIONS, LINEAR):
                    if source == COOCCURRENCE:
                        rows, row = knowledge.cooccurrence, 0
                    elif source == TRANSITIONS:
                        rows, row = knowledge.transitions, 1
                    else:
                        rows, row = knowledge.linear, 2
                    if not listened[row]:
                        _listen_again(rows, asked, n, faded[row], heard[row])
                        listened[row] = True
                    named = _strongest_seed(rows, asked, n, faded[row], heard[row], items[m])
                elif source == TEXT:
                    named = int(said[m, TEXT_SEED]) - 1
                elif source == IMAGE:
                    named = int(said[m, IMAGE_SEED]) - 1
                elif source == AGAIN:
                    first = asked.starts[n]
                    for k in range(first + asked.page[n], asked.starts[n + 1]):
                        if asked.seeds[k] == items[m] and asked.weights[k] > 0:
                            named = k - first
                if named != FREE:
                    seed = asked.starts[n] + named
                    phrase[m], about[m] = phrases[loudest, 1 + deeds[seed]], asked.seeds[seed]
                    break
    return phrase, about


@compiled
def sieve(
    starts: Ordinals,
    items: Ordinals,
    at: Ordinals,
    available: Mask,
    shown_from: Ordinals,
    expires_at: Ordinals,
    forbidden: Forbidden,
) -> tuple[Ordinals, Ordinals]:
    """Lists of any items without what must not be shown at (q,) moments: what `find` does with what it finds."""
    queries, n_items = len(starts) - 1, len(available)
    ends, kept = np.zeros(queries + 1, dtype=np.int64), np.empty(len(items), dtype=np.int64)
    hidden, end = np.zeros(n_items, dtype=np.bool_), 0
    lists = (
        (forbidden.withdrawn_starts, forbidden.withdrawn),
        (forbidden.excluded_starts, forbidden.excluded),
        (forbidden.seen_starts, forbidden.seen),
    )
    for n in range(queries):
        for edges, those in lists:
            for k in range(edges[n], edges[n + 1]):
                hidden[those[k]] = True
        for k in range(starts[n], starts[n + 1]):
            item = items[k]
            if (
                available[item]
                and shown_from[item] <= at[n]
                and expires_at[item] > at[n]
                and not hidden[item]
                and (forbidden.allowed[n] == ALL or holds_at(forbidden.allowed[n], item))
            ):
                kept[end] = item
                end += 1
        for edges, those in lists:
            for k in range(edges[n], edges[n + 1]):
                hidden[those[k]] = False
        ends[n + 1] = end
    return ends, kept[:end]


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
                    found[k] = inner(rows[items[k]], vector)
    return found


@compiled_sum
def _summed(values: Floats, first: int, last: int) -> tuple[int, float, np.float32]:
    """Of the finite ones: how many, their sum, and the largest without its sign."""
    there, total, largest = np.int32(0), np.float64(0), np.float32(0)
    for k in range(first, last):
        finite = abs(values[k]) < np.inf
        value = values[k] if finite else np.float32(0)
        there = np.int32(there + np.int32(finite))
        total += np.float64(value)
        largest = max(largest, abs(value))
    return int(there), total, largest


@compiled_sum
def _squares(values: Floats, first: int, last: int, mean: np.float32) -> float:
    """The sum of squares of what the finite ones are away from their mean."""
    total = np.float64(0)
    for k in range(first, last):
        away = np.float64(values[k] - mean if abs(values[k]) < np.inf else np.float32(0))
        total += away * away
    return total


@compiled
def blend(
    starts: Ordinals,
    scores: Floats,
    own: Floats,
    voices: Ordinals,
    known: Floats,
    new: Floats,
    proven: Floats,
) -> Floats:
    """(sources, m) z-scores of the finite entries of each list, each times its weight; 0 for what is not finite.

    voices: (q,) which weights a query has: a row of the (voices, sources) tables. An item's weight is
    new + own * (known - new). All alike gives zeros. proven: (voices, 2) what it counts to be a known and a new item,
    as one more part; (voices, 0): no such part.
    """
    sources, unproven = scores.shape[0], proven.shape[1] > 0
    parts = np.zeros((sources + unproven, scores.shape[1]), dtype=np.float32)
    for p in range(sources):
        said = scores[p]
        for n in range(len(starts) - 1):
            for_new, difference = new[voices[n], p], known[voices[n], p] - new[voices[n], p]
            if for_new == 0 and difference == 0:
                continue
            first, last = starts[n], starts[n + 1]
            there, total, largest = _summed(said, first, last)
            if there == 0:
                continue
            mean = np.float32(total / there)
            spread = math.sqrt(_squares(said, first, last, mean) / there)
            if spread > ROUNDING * max(1.0, float(largest)):
                scale = np.float32(1 / spread)
                for k in range(first, last):
                    part = (for_new + own[k] * difference) * ((said[k] - mean) * scale)
                    parts[p, k] = part if abs(said[k]) < np.inf else np.float32(0)
    if unproven:
        for n in range(len(starts) - 1):
            for_known, for_new = proven[voices[n], 0], proven[voices[n], 1]
            for k in range(starts[n], starts[n + 1]):
                parts[sources, k] = for_new + own[k] * (for_known - for_new)
    return parts


@compiled
def spread_out(
    starts: Ordinals,
    chosen: Ordinals,
    items: Ordinals,
    scores: Floats,
    codes: NDArray[np.int8],
    scale: float,
    strength: float,
    group_ends: Ordinals,
    groups: Items,
    most: Items,
    limit: int,
) -> tuple[Ordinals, Ordinals, Floats]:
    """Of each list of positions in `items`, best first, at most `limit` one by one: the best after its penalty.

    The penalty is strength * (best - worst score) * largest cosine to what was taken before. Of a group g
    at most most[g] items are taken; item i is in groups[group_ends[i]:group_ends[i + 1]] (most empty: no groups).
    codes: (n, d) unit rows * scale. Gives the lists, and the penalties (<= 0).

    A penalty only grows. So an item is compared with what was taken only when its turn comes, and if that makes
    another the best, waits for the next (lazy greedy, Minoux 1978).
    """
    queries = len(starts) - 1
    ends = np.zeros(queries + 1, dtype=np.int64)
    found = np.empty(min(len(chosen), queries * limit), dtype=np.int64)
    penalties = np.empty(len(found), dtype=np.float32)
    taken = np.zeros(len(most), dtype=np.int32)
    value = np.zeros(1, dtype=np.float32)
    bits = value.view(np.int32)
    for n in range(queries):
        places = chosen[starts[n] : starts[n + 1]]
        end, count = ends[n], len(places)
        price = np.float32(0)
        if count:
            price = np.float32(strength * (scores[places[0]] - scores[places[count - 1]]))
        nearest, compared = np.zeros(count, dtype=np.float32), np.full(count, end)
        waiting = [_key(bits[0], k) for k in range(0)]  # what was compared, the best first
        following = 0  # the first that has not been
        while end - ends[n] < limit and (following < count or waiting):
            if following < count:
                value[0] = scores[places[following]]
            if following < count and (not waiting or _key(bits[0], following) < waiting[0]):
                pick = following
                following += 1
            else:
                pick = heappop(waiting) & 0xFFFFFFFF
            item = items[places[pick]]
            full = False
            if len(most):
                for g in range(group_ends[item], group_ends[item + 1]):
                    full = full or taken[groups[g]] >= most[groups[g]]
            if full:
                continue
            if price != 0 and compared[pick] < end:
                row = codes[item]
                for k in range(compared[pick], end):
                    likeness = _codes_dot(row, codes[items[found[k]]]) / (scale * scale)
                    nearest[pick] = max(nearest[pick], np.float32(likeness))
                compared[pick] = end
                value[0] = scores[places[pick]] - price * nearest[pick]
                heappush(waiting, _key(bits[0], pick))
                continue
            if len(most):
                for g in range(group_ends[item], group_ends[item + 1]):
                    taken[groups[g]] += 1
            found[end], penalties[end] = places[pick], -price * nearest[pick]
            end += 1
        ends[n + 1] = end
        if len(most):
            for k in range(ends[n], end):
                item = items[found[k]]
                for g in range(group_ends[item], group_ends[item + 1]):
                    taken[groups[g]] = 0
    return ends, found[: ends[queries]], penalties[: ends[queries]]


@compiled
def distinct(starts: Ordinals, items: Ordinals, alike: Items) -> Ordinals:
    """(q,) items of each list of distinct ones, where those of one group count once. alike: as for `choose`."""
    found = np.empty(len(starts) - 1, dtype=np.int64)
    for n in range(len(found)):
        found[n] = starts[n + 1] - starts[n]
        groups, count = np.empty(found[n], dtype=np.int32), 0
        for k in range(starts[n], starts[n + 1]):
            groups[count] = alike[items[k]]
            count += alike[items[k]] != FREE
        groups = np.sort(groups[:count])
        for k in range(1, count):
            found[n] -= groups[k] == groups[k - 1]
    return found


@compiled
def _best_of_groups(starts: Ordinals, items: Ordinals, totals: Floats, alike: Items) -> None:
    """Leave the finite total of the best item of each group alone, in each list; those of its others become NaN."""
    longest = 0
    for n in range(len(starts) - 1):
        longest = max(longest, starts[n + 1] - starts[n])
    places = np.empty(_size(longest, longest), dtype=np.int32)
    groups, best = np.empty(longest, dtype=np.int32), np.empty(longest, dtype=np.int64)
    grouped = np.empty(longest, dtype=np.int64)
    bits = totals.view(np.int32)
    for n in range(len(starts) - 1):
        count = 0
        for k in range(starts[n], starts[n + 1]):
            grouped[count] = k
            count += (alike[items[k]] != FREE) & np.isfinite(totals[k])
        size, met = _size(count, count), 0
        places[:size] = FREE
        for k in grouped[:count]:
            at = _entry(places, 0, size, groups, 0, met, alike[items[k]])
            if at == met:
                best[at], met = k, met + 1
                continue
            worse = k
            if _key(bits[k], items[k]) < _key(bits[best[at]], items[best[at]]):
                best[at], worse = k, best[at]
            totals[worse] = np.nan


@compiled
def choose(
    starts: Ordinals,
    items: Ordinals,
    parts: Floats,
    most: int,
    limit: int,
    strength: float,
    codes: NDArray[np.int8],
    scale: float,
    group_ends: Ordinals,
    groups: Items,
    most_of: Items,
    alike: Items,
) -> tuple[Ordinals, Ordinals, Floats, Floats]:
    """The best of each list, apart from one another: see `diversity.choose`.

    most: how many compete for its places. alike: (n,) the group of near-duplicates of an item, `FREE` for none;
    empty: all compete.
    """
    count = parts.shape[0]
    totals = np.zeros(len(items), dtype=np.float32)
    for p in range(count):
        for k in range(len(items)):
            totals[k] += parts[p, k]
    if len(alike):
        _best_of_groups(starts, items, totals, alike)
    ends, chosen = best_of_lists(starts, items, totals, most)
    penalties = np.empty(0, dtype=np.float32)
    if strength != 0 or len(most_of):
        ends, chosen, penalties = spread_out(
            ends, chosen, items, totals, codes, scale, strength, group_ends, groups, most_of, limit
        )
    told = np.empty((count + (strength != 0), len(chosen)), dtype=np.float32)
    total = np.empty(len(chosen), dtype=np.float32)
    for m in range(len(chosen)):
        total[m] = totals[chosen[m]]
        for p in range(count):
            told[p, m] = parts[p, chosen[m]]
        if strength != 0:
            told[count, m] = penalties[m]
            total[m] += penalties[m]
    return ends, chosen, told, total


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
    """Lists of events, newest first -> histories and what was seen. See `viewer.read_viewers`.

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
