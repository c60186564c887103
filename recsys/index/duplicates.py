"""Items that a viewer would take for one another: the same picture twice, or one item listed twice.

    items, spaces -> pairs that look alike, pairs that read alike -> Duplicates: groups of them

Pictures decide where there are any: items that look different are different, however alike they read. A picture that
more than `MOST` items share, such as "no image", tells nothing apart; of those that share it, and of items without a
picture, those are the same that read alike.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from recsys.catalogue.item_table import ItemTable, as_numpy
from recsys.compiling import fixed
from recsys.identity import ABSENT, Floats, Mask, Ordinals
from recsys.index.exact import blocks
from recsys.index.space import BLOCK, Space

THE_SAME_PICTURE = 0.998
"""Cosine from which two pictures are one, whatever is told of them."""

LOOKS_ALIKE = 0.98
"""Of items that are not told apart: above it a picture encoded or scaled anew, below it another colour of a thing."""

TAUGHT_ALIKE = 0.999
"""The same where an encoder was taught what belongs together, which then is nearer than it looks."""

TOLD_APART = 0.2
"""Cosine below which two texts are of different things, as those of pictures that show nothing but a title."""

READS_ALIKE = 0.85
"""Cosine from which two texts with the same words in the title, and the same numbers, are of one item."""

MOST = 12
"""Items of a group that only pictures, or only texts, join: what more of them share is a placeholder or a template."""

Labels = NDArray[np.int64]
"""(n,) a number for each item, the same for those that belong together."""


class Duplicates(NamedTuple):
    """Groups of near-duplicates among n items. Arrays are read-only."""

    group: NDArray[np.int32]
    """(n,) the group of each item; `ABSENT` where it has no near-duplicate."""
    ends: Ordinals
    """(groups + 1,) the items of group g are items[ends[g]:ends[g + 1]], ascending; at least two."""
    items: NDArray[np.int32]

    @classmethod
    def of(cls, labels: Labels, grouped: Ordinals) -> "Duplicates":
        """Items with the same label are a group. grouped: those that are in one, ascending."""
        _, first, code = np.unique(labels[grouped], return_index=True, return_inverse=True)
        number = np.argsort(np.argsort(first))[code]  # the group of the lowest item is the first
        group = np.full(len(labels), ABSENT, dtype=np.int32)
        group[grouped] = number
        ends = np.zeros(len(first) + 1, dtype=np.int64)
        ends[1:] = np.bincount(number, minlength=len(first)).cumsum()
        items = grouped[np.argsort(number, kind="stable")].astype(np.int32)
        return cls(fixed(group), fixed(ends), fixed(items))

    def __bool__(self) -> bool:
        return len(self.items) > 0

    def of_group(self, number: int) -> Ordinals:
        """The items of one group, ascending."""
        return self.items[self.ends[number] : self.ends[number + 1]].astype(np.int64)

    def with_others(self, items: Ordinals) -> Ordinals:
        """These items, and behind them all of their groups."""
        groups = set(self.group[items].tolist()) - {ABSENT}
        if not groups:
            return items
        return np.concatenate([items, *(self.of_group(number) for number in sorted(groups))])

    def first_of_each(self, items: Ordinals) -> Ordinals:
        """Positions of the first of each group among these items, and of those in none, ascending."""
        groups = self.group[items]
        there = np.flatnonzero(groups != ABSENT)
        _, first = np.unique(groups[there], return_index=True)
        return np.sort(np.concatenate([np.flatnonzero(groups == ABSENT), there[first]]))


def near_duplicates(items: ItemTable, spaces: Mapping[str, Space]) -> Duplicates:
    """Find them among the neighbours that the spaces know."""
    count = len(items)
    alone, looks = np.ones(count, dtype=bool), np.full(count, ABSENT)
    pairs = [np.empty((2, 0), dtype=np.int64)]
    text, image = spaces.get("text"), spaces.get("image")
    if image:
        least = TAUGHT_ALIKE if image.projection.taught else LOOKS_ALIKE
        alike, cosines = _pairs(image, least, np.where(image.present, 0, ABSENT))
        shown = _joined(count, alike)
        shared = np.bincount(shown)[shown] > MOST
        few = ~shared[alike[0]]
        alike, cosines = alike[:, few], cosines[few]
        if text:
            alike = alike[:, (cosines >= THE_SAME_PICTURE) | ~_told_apart(text, alike)]
        pairs.append(alike)
        alone, looks = ~image.present | shared, np.where(image.present, shown, ABSENT)
    if text:
        asked = np.flatnonzero(alone & (text.nearness[:, 0] >= READS_ALIKE))
        kinds = np.full(count, ABSENT)
        words = _words(items, asked)
        kinds[asked] = np.where(words == ABSENT, ABSENT, words * (count + 1) + looks[asked] + 1)
        pairs.append(_pairs(text, READS_ALIKE, kinds)[0])
    labels = _joined(count, np.concatenate(pairs, axis=1))
    size = np.bincount(labels)[labels]
    return Duplicates.of(labels, np.flatnonzero((size > 1) & ((size <= MOST) | (looks != ABSENT))))


def _pairs(space: Space, least: float, kinds: Labels) -> tuple[Ordinals, Floats]:
    """(2, m) neighbours of one kind with at least this cosine, and the (m,) cosines.

    kinds: `ABSENT` for an item that is to be in no pair.
    """
    pairs, cosines = [np.empty((2, 0), dtype=np.int64)], [np.empty(0, dtype=np.float32)]
    for some in blocks(len(kinds), BLOCK):
        row, column = np.nonzero(space.nearness[some] >= least)
        row += some.start
        pair = np.stack([row, space.nearest[row, column]])
        one, other = kinds[pair]
        fits = (one == other) & (one != ABSENT)
        pairs.append(pair[:, fits])
        cosines.append(space.nearness[row[fits], column[fits]])
    return np.concatenate(pairs, axis=1), np.concatenate(cosines)


def _told_apart(text: Space, pairs: Ordinals) -> Mask:
    """(m,) True where both have a text, and these are of different things."""
    one, other = pairs
    both = text.present[one] & text.present[other]
    return np.asarray(both & (np.vecdot(text.rows[one], text.rows[other]) < TOLD_APART))


def _joined(count: int, pairs: Ordinals) -> Labels:
    """Items that pairs join, over others too, have the same label."""
    edges = csr_array((np.ones(pairs.shape[1], dtype=bool), (pairs[0], pairs[1])), (count, count))
    return connected_components(edges, directed=False)[1].astype(np.int64)


def _words(items: ItemTable, some: Ordinals) -> Labels:
    """A number for the words of each title and the numbers of each description; `ABSENT` where there are no words.

    Whoever has no title is known by the description.
    """
    told: Any = items.data.select(["title", "description"]).take(some).combine_chunks()
    title = pc.utf8_lower(pc.coalesce(told["title"], told["description"], ""))
    words = _only(title, r"\pL\pM\pN")
    numbers = _only(pc.fill_null(told["description"], ""), r"\pN")
    both: Any = pc.binary_join_element_wise(words, numbers, "\n").combine_chunks()
    codes = as_numpy(both.dictionary_encode().indices).astype(np.int64)
    return np.where(as_numpy(pc.binary_length(words).combine_chunks()) > 0, codes, ABSENT)


def _only(texts: Any, letters: str) -> Any:  # noqa: ANN401  Arrow's types are those of its compute functions
    """What consists of these letters, with a space between two."""
    return pc.utf8_trim_whitespace(pc.replace_substring_regex(texts, f"[^{letters}]+", " "))
